//! The replies of a session: a repeated request gets the same reply, and is not carried out again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hasher},
    sync::LazyLock,
};

use aldis_protocol::{ClientMessage, MessageKind, RequestId, RoomId, Target, limits::REMEMBERED_REPLIES};
use bytes::Bytes;
use rapidhash::{
    fast::GlobalState,
    quality::{RandomState, RapidHasher},
};

/// A digest of a request's type, routing fields and content, in 16 bytes.
pub(super) type RequestDigest = [u8; 16];

/// The last replies of a session, by request id. Allocates only if there are some.
#[derive(Debug, Default)]
pub(super) struct Replies(Option<Box<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// A fast keyed hash. Colliding ids slow down only the session that chose them, and it keeps at most 256.
    by_id: HashMap<RequestId, (RequestDigest, Bytes), GlobalState>,
    order: VecDeque<RequestId>,
}

/// What is known about a request id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The id is new.
    New,
    /// The same request was carried out and got this `ack`.
    Answered(Bytes),
    /// Another request had this id.
    Conflict,
}

impl Replies {
    /// Looks up a request.
    pub(super) fn find(&self, id: &RequestId, digest: &RequestDigest) -> Lookup {
        match self.0.as_ref().and_then(|kept| kept.by_id.get(id)) {
            None => Lookup::New,
            Some((known, reply)) if known == digest => Lookup::Answered(reply.clone()),
            Some(_) => Lookup::Conflict,
        }
    }

    /// Keeps an `ack`. Of 256, the oldest is dropped.
    pub(super) fn keep(&mut self, id: RequestId, digest: RequestDigest, ack: Bytes) {
        let Remembered { by_id, order } = &mut **self.0.get_or_insert_default();
        if order.len() >= REMEMBERED_REPLIES
            && let Some(oldest) = order.pop_front()
        {
            by_id.remove(&oldest);
        }
        order.push_back(id.clone());
        by_id.insert(id, (digest, ack));
    }
}

/// The digest of a request that an `ack` answers; `None` for requests that are carried out each time.
pub(super) fn digest(message: &ClientMessage<'_>) -> Option<RequestDigest> {
    let mut hash = Digest::of(message.kind());
    match message {
        ClientMessage::Signal(signal) => {
            match &signal.target {
                Target::Device(device) => hash.field(b"device", device.as_str().as_bytes()),
                Target::User(user) => hash.field(b"user", user.to_string().as_bytes()),
            }
            if let Some(signed) = &signal.signature {
                hash.field(&signed.created_at_ms.to_be_bytes(), &signed.signature);
            }
            hash.field(b"payload", signal.payload.as_bytes());
        }
        ClientMessage::Join(join) => hash.room(join.room.as_ref()),
        ClientMessage::Leave(leave) => hash.room(leave.room.as_ref()),
        ClientMessage::ChatMessage(chat) => {
            hash.room(chat.room.as_ref());
            hash.field(b"payload", chat.payload.as_bytes());
        }
        ClientMessage::Broadcast(broadcast) => {
            hash.room(broadcast.room.as_ref());
            hash.field(b"payload", broadcast.payload.as_bytes());
        }
        ClientMessage::Message(message) => {
            hash.field(b"recipient", message.recipient.to_string().as_bytes());
            hash.field(b"content", &message.encrypted_content);
        }
        ClientMessage::Delivered(delivered) => hash.ids(&delivered.message_ids),
        ClientMessage::Read(read) => hash.ids(&read.message_ids),
        ClientMessage::Presence(presence) => {
            hash.field(b"status", presence.status.as_str().as_bytes());
            hash.field(b"note", presence.note.as_deref().unwrap_or_default().as_bytes());
        }
        ClientMessage::PresenceSubscribe(watch) => hash.ids(&watch.user_ids),
        ClientMessage::PresenceUnsubscribe(watch) => hash.ids(&watch.user_ids),
        ClientMessage::AuthResponse(_)
        | ClientMessage::Auth(_)
        | ClientMessage::IceServers
        | ClientMessage::History(_)
        | ClientMessage::Sync(_)
        | ClientMessage::Received(_)
        | ClientMessage::Ping => return None,
    }
    Some(hash.finish())
}

/// The keys of this process. Digests are comparable only within it: moving a session with its replies to another
/// process needs the same keys.
static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// 128 bits of two fast keyed hashes that are not cryptographic. They need not be: digests are compared only within
/// one session, so a client that finds a collision gets a wrong `ack` itself and harms nobody else.
struct Digest([RapidHasher<'static>; 2]);

impl Digest {
    fn of(kind: MessageKind) -> Self {
        let mut hash = Self(KEYS.each_ref().map(RandomState::build_hasher));
        hash.field(b"type", kind.as_str().as_bytes());
        hash
    }

    /// Writes a name and a value with its length, so that different requests never give the same bytes.
    fn field(&mut self, name: &[u8], value: &[u8]) {
        for half in &mut self.0 {
            half.write(name);
            half.write_usize(value.len());
            half.write(value);
        }
    }

    fn room(&mut self, room: Option<&RoomId>) {
        self.field(b"room", room.map_or("", |room| room.as_str()).as_bytes());
    }

    fn ids<T: ToString>(&mut self, ids: &[T]) {
        for id in ids {
            self.field(b"id", id.to_string().as_bytes());
        }
    }

    fn finish(self) -> RequestDigest {
        let [high, low] = self.0.map(|half| u128::from(half.finish()));
        (high << 64 | low).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> RequestId {
        RequestId::new(&format!("r-{number}")).unwrap()
    }

    #[test]
    fn the_last_256_are_known() {
        let mut replies = Replies::default();
        for number in 0..=REMEMBERED_REPLIES {
            replies.keep(id(number), [1; 16], Bytes::from(number.to_string()));
        }
        assert_eq!(replies.find(&id(0), &[1; 16]), Lookup::New);
        assert_eq!(replies.find(&id(1), &[1; 16]), Lookup::Answered("1".into()));
        assert_eq!(replies.find(&id(1), &[2; 16]), Lookup::Conflict);
    }

    #[test]
    fn a_request_with_other_content_has_another_digest() {
        let digest_of = |text: &'static str| {
            let frame = Bytes::from_static(text.as_bytes());
            digest(&aldis_protocol::Codec::Json.decode_client(&frame).unwrap().message)
        };
        let first = digest_of(r#"{"type":"offer","id":"a","target_device_id":"b","payload":{"x":1}}"#);
        let same =
            digest_of(r#"{"payload":{"x":1},"timestamp":"now","type":"offer","target_device_id":"b"}"#);
        assert_eq!(first, same);
        for other in [
            r#"{"type":"answer","target_device_id":"b","payload":{"x":1}}"#,
            r#"{"type":"offer","target_device_id":"c","payload":{"x":1}}"#,
            r#"{"type":"offer","target_device_id":"b","payload":{"x": 1}}"#,
        ] {
            assert_ne!(first, digest_of(other), "{other}");
        }
        assert_eq!(digest_of(r#"{"type":"ping"}"#), None);
    }
}
