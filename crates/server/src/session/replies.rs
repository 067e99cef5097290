//! The replies that were given: the same request again gets the same reply, and is not carried out again.

use std::collections::{HashMap, VecDeque};

use aldis_protocol::{ClientMessage, RequestId, RoomId, Target, limits::REMEMBERED_REPLIES};
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// What a request asks for, in 16 bytes: its type, routing fields and content.
pub(super) type RequestDigest = [u8; 16];

/// The last replies of a session, by request id. Nothing is kept where there is none.
#[derive(Debug, Default)]
pub(super) struct Replies(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<RequestId, (RequestDigest, Bytes)>,
    order: VecDeque<RequestId>,
}

/// What is known of a request id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// The same request was carried out, and this was its `ack`.
    Answered(Bytes),
    /// Another request had this id.
    Conflict,
}

impl Replies {
    /// What is known of this request.
    pub(super) fn find(&self, id: &RequestId, digest: &RequestDigest) -> Known {
        match self.0.as_ref().and_then(|kept| kept.by_id.get(id)) {
            None => Known::New,
            Some((known, reply)) if known == digest => Known::Answered(reply.clone()),
            Some(_) => Known::Conflict,
        }
    }

    /// Keeps an `ack`; the oldest of 256 gives way.
    pub(super) fn keep(&mut self, id: RequestId, digest: RequestDigest, ack: Bytes) {
        let Kept { by_id, order } = &mut **self.0.get_or_insert_default();
        if order.len() >= REMEMBERED_REPLIES
            && let Some(oldest) = order.pop_front()
        {
            by_id.remove(&oldest);
        }
        order.push_back(id.clone());
        by_id.insert(id, (digest, ack));
    }
}

/// The digest of a request that an `ack` answers; none for those that are carried out each time.
pub(super) fn digest(message: &ClientMessage<'_>) -> Option<RequestDigest> {
    let hash = Sha256::new().chain_update(message.kind().as_str()).chain_update([0]);
    let hash = match message {
        ClientMessage::Signal(signal) => {
            let hash = match &signal.target {
                Target::Device(device) => field(hash, b"device", device.as_str().as_bytes()),
                Target::User(user) => field(hash, b"user", user.to_string().as_bytes()),
            };
            let hash = match &signal.signature {
                Some(signed) => field(hash, &signed.created_at_ms.to_be_bytes(), &signed.signature),
                None => hash,
            };
            field(hash, b"payload", signal.payload.as_bytes())
        }
        ClientMessage::Join(join) => in_room(hash, join.room.as_ref()),
        ClientMessage::Leave(leave) => in_room(hash, leave.room.as_ref()),
        ClientMessage::ChatMessage(chat) => {
            field(in_room(hash, chat.room.as_ref()), b"payload", chat.payload.as_bytes())
        }
        ClientMessage::Broadcast(broadcast) => {
            field(in_room(hash, broadcast.room.as_ref()), b"payload", broadcast.payload.as_bytes())
        }
        ClientMessage::Message(message) => {
            let hash = field(hash, b"recipient", message.recipient.to_string().as_bytes());
            field(hash, b"content", &message.encrypted_content)
        }
        ClientMessage::Delivered(delivered) => ids(hash, &delivered.message_ids),
        ClientMessage::Read(read) => ids(hash, &read.message_ids),
        ClientMessage::Presence(presence) => {
            let note = presence.note.as_deref().unwrap_or_default();
            field(field(hash, b"status", &[presence.status as u8]), b"note", note.as_bytes())
        }
        ClientMessage::PresenceSubscribe(watch) => ids(hash, &watch.user_ids),
        ClientMessage::PresenceUnsubscribe(watch) => ids(hash, &watch.user_ids),
        ClientMessage::AuthResponse(_)
        | ClientMessage::Auth(_)
        | ClientMessage::IceServers
        | ClientMessage::History(_)
        | ClientMessage::Sync(_)
        | ClientMessage::Received(_)
        | ClientMessage::Ping => return None,
    };
    let mut digest = RequestDigest::default();
    digest.copy_from_slice(&hash.finalize()[..16]);
    Some(digest)
}

/// A name and a value with its length, so that no two requests run together to the same bytes.
fn field(hash: Sha256, name: &[u8], value: &[u8]) -> Sha256 {
    hash.chain_update(name).chain_update((value.len() as u64).to_be_bytes()).chain_update(value)
}

fn in_room(hash: Sha256, room: Option<&RoomId>) -> Sha256 {
    field(hash, b"room", room.map_or("", |room| room.as_str()).as_bytes())
}

fn ids<T: ToString>(hash: Sha256, ids: &[T]) -> Sha256 {
    ids.iter().fold(hash, |hash, id| field(hash, b"id", id.to_string().as_bytes()))
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
        assert_eq!(replies.find(&id(0), &[1; 16]), Known::New);
        assert_eq!(replies.find(&id(1), &[1; 16]), Known::Answered("1".into()));
        assert_eq!(replies.find(&id(1), &[2; 16]), Known::Conflict);
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
