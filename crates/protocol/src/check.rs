//! The limits of fields, checked by both codecs after decoding.

use crate::{
    ChatContent, ClientMessage, DecodeError, Delivered, DeviceId, Payload, PresenceSubscribe,
    PresenceUnsubscribe, Read, RequestId, SignalSignature, Target, UserRef,
    limits::{
        MAX_ENCRYPTED_CONTENT_BYTES, MAX_IDS_PER_RECEIPT, MAX_JSON_DEPTH, MAX_NOTE_CHARS,
        MAX_USERS_PER_SUBSCRIBE, SEQUENCE_LIMIT,
    },
    payload::depth_exceeds,
};

/// Checks the limits of the fields of a client's message.
pub(crate) fn client_message<'a>(
    id: Option<&RequestId>,
    message: ClientMessage<'a>,
) -> Result<ClientMessage<'a>, DecodeError> {
    match &message {
        ClientMessage::ChatMessage(chat) => chat_content(&chat.payload),
        ClientMessage::Message(_) if id.is_none() => Err(DecodeError::missing("id")),
        ClientMessage::Message(message) => encrypted_content(&message.encrypted_content),
        ClientMessage::History(history) => page(history.since_seq, history.limit),
        ClientMessage::Sync(sync) => page(sync.since_seq, sync.limit),
        ClientMessage::Received(received) => sequence("count", received.count),
        ClientMessage::Delivered(Delivered { message_ids }) | ClientMessage::Read(Read { message_ids }) => {
            at_most("message_ids", message_ids, MAX_IDS_PER_RECEIPT)
        }
        ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids })
        | ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids }) => {
            at_most("user_ids", user_ids, MAX_USERS_PER_SUBSCRIBE)
        }
        ClientMessage::Presence(presence) => note(presence.note.as_deref()),
        ClientMessage::AuthResponse(_)
        | ClientMessage::Auth(_)
        | ClientMessage::Signal(_)
        | ClientMessage::IceServers
        | ClientMessage::Join(_)
        | ClientMessage::Leave(_)
        | ClientMessage::Broadcast(_)
        | ClientMessage::Ping => Ok(()),
    }
    .map(|()| message)
}

/// A signal has one target: a device or a user.
pub(crate) fn target(device: Option<DeviceId>, user: Option<UserRef>) -> Result<Target, DecodeError> {
    match (device, user) {
        (Some(device), None) => Ok(Target::Device(device)),
        (None, Some(user)) => Ok(Target::User(user)),
        (Some(_), Some(_)) => {
            Err(DecodeError::bad_request("`target_device_id` and `target_user_id` cannot both be given"))
        }
        (None, None) => Err(DecodeError::bad_request("missing field `target_device_id` or `target_user_id`")),
    }
}

/// A signature comes with its time, or not at all.
pub(crate) fn signature(
    signature: Option<[u8; 64]>,
    created_at_ms: Option<u64>,
) -> Result<Option<SignalSignature>, DecodeError> {
    match (signature, created_at_ms) {
        (Some(signature), Some(created_at_ms)) => {
            sequence("created_at_ms", created_at_ms)?;
            Ok(Some(SignalSignature { signature, created_at_ms }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(DecodeError::bad_request("missing field `created_at_ms` beside `signature`")),
        (None, Some(_)) => Err(DecodeError::bad_request("missing field `signature` beside `created_at_ms`")),
    }
}

pub(crate) fn content_too_large() -> DecodeError {
    DecodeError::too_large(format!("`encrypted_content` is over {MAX_ENCRYPTED_CONTENT_BYTES} bytes"))
}

/// The error for a member that only servers may set.
pub(crate) fn server_field(name: &str) -> DecodeError {
    DecodeError::bad_request(format!("`{name}` is the server's to set"))
}

/// Cuts a `limit` to 32 bits; the server cuts it to its maximum later.
pub(crate) fn limit(asked: u64) -> u32 {
    u32::try_from(asked).unwrap_or(u32::MAX)
}

/// The levels around a payload in a `history`: the frame, the list and the message.
const LEVELS_AROUND_CHAT: usize = 3;

fn chat_content(payload: &Payload<'_>) -> Result<(), DecodeError> {
    if depth_exceeds(payload.as_bytes(), MAX_JSON_DEPTH - LEVELS_AROUND_CHAT) {
        return Err(DecodeError::bad_request("`payload` nests too deep to be kept"));
    }
    payload
        .parse::<ChatContent<'_>>()
        .map(|_| ())
        .map_err(|error| DecodeError::bad_request(format!("`payload` is {{\"content\": \"…\"}}: {error}")))
}

fn encrypted_content(content: &[u8]) -> Result<(), DecodeError> {
    if content.len() <= MAX_ENCRYPTED_CONTENT_BYTES { Ok(()) } else { Err(content_too_large()) }
}

fn page(since_seq: u64, limit: Option<u32>) -> Result<(), DecodeError> {
    sequence("since_seq", since_seq)?;
    if limit == Some(0) { Err(DecodeError::bad_request("`limit` is at least 1")) } else { Ok(()) }
}

fn sequence(field: &str, value: u64) -> Result<(), DecodeError> {
    if value < SEQUENCE_LIMIT {
        Ok(())
    } else {
        Err(DecodeError::bad_request(format!("`{field}` is below {SEQUENCE_LIMIT}")))
    }
}

fn at_most<T>(field: &str, entries: &[T], limit: usize) -> Result<(), DecodeError> {
    if entries.len() <= limit {
        Ok(())
    } else {
        Err(DecodeError::bad_request(format!("`{field}` has at most {limit} entries")))
    }
}

fn note(note: Option<&str>) -> Result<(), DecodeError> {
    let note = note.unwrap_or_default();
    if note.contains('\0') {
        return Err(DecodeError::bad_request("`note` has U+0000"));
    }
    if note.chars().count() > MAX_NOTE_CHARS {
        return Err(DecodeError::bad_request(format!("`note` has at most {MAX_NOTE_CHARS} characters")));
    }
    Ok(())
}
