//! What servers send, as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    InPayload,
    head::{Head, read_head},
    parse, text_of,
    write::{NoMembers, Start, append, append_members, write},
};
#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{
    Alert, AuthRequired, DecodeError, DeviceId, ErrorReply, Fingerprint, History, HistoryMessage,
    MailboxMessage, MessageId, MessageKind, Payload, RelayedBroadcast, RelayedSignal, RequestId, RoomId,
    RoomUpdate, Sender, ServerFrame, ServerMessage, SignalKind, StoredChatMessage, Timestamp, UserId, binary,
    check,
};

pub(in crate::codec) fn decode_server(frame: &Bytes) -> Result<ServerFrame<'_>, DecodeError> {
    let text = text_of(frame)?;
    let head = read_head(text)?;
    match read_timed(&head, text) {
        Ok((timestamp, message)) => Ok(ServerFrame { id: head.id, timestamp, message }),
        Err(error) => Err(error.of_frame(head.id, Some(head.kind))),
    }
}

fn read_timed<'a>(head: &Head<'_>, text: &'a str) -> Result<(Timestamp, ServerMessage<'a>), DecodeError> {
    Ok((head.timestamp()?, read_message(head.kind, text)?))
}

fn read_message(kind: MessageKind, text: &str) -> Result<ServerMessage<'_>, DecodeError> {
    Ok(match kind {
        MessageKind::AuthChallenge => ServerMessage::AuthChallenge(parse(text)?),
        MessageKind::AuthSuccess => ServerMessage::AuthSuccess(parse(text)?),
        MessageKind::AuthFailure => ServerMessage::AuthFailure(parse(text)?),
        MessageKind::Connected => ServerMessage::Connected(parse(text)?),
        MessageKind::AuthRequired => {
            ServerMessage::AuthRequired(parse::<InPayload<AuthRequired<'_>>>(text)?.payload)
        }
        MessageKind::Ack => ServerMessage::Ack(parse(text)?),
        MessageKind::Error => ServerMessage::Error(parse::<InPayload<ErrorReply<'_>>>(text)?.payload),
        MessageKind::Offer => ServerMessage::Signal(read_signal(SignalKind::Offer, text)?),
        MessageKind::Answer => ServerMessage::Signal(read_signal(SignalKind::Answer, text)?),
        MessageKind::IceCandidate => ServerMessage::Signal(read_signal(SignalKind::IceCandidate, text)?),
        MessageKind::Signal => ServerMessage::Signal(read_signal(SignalKind::Signal, text)?),
        MessageKind::IceServers => ServerMessage::IceServers(parse(text)?),
        MessageKind::RoomMembers => ServerMessage::RoomMembers(parse(text)?),
        MessageKind::MemberJoined => ServerMessage::MemberJoined(parse(text)?),
        MessageKind::MemberLeft => ServerMessage::MemberLeft(parse(text)?),
        MessageKind::ChatMessage => ServerMessage::ChatMessage(read_chat(text)?),
        MessageKind::Broadcast => ServerMessage::Broadcast(read_broadcast(text)?),
        MessageKind::History => ServerMessage::History(read_history(text)?),
        MessageKind::RoomUpdate => ServerMessage::RoomUpdate(read_room_update(text)?),
        MessageKind::Message => ServerMessage::Message(read_mailbox_message(text)?),
        MessageKind::Synced => ServerMessage::Synced(parse(text)?),
        MessageKind::Receipt => ServerMessage::Receipt(parse(text)?),
        MessageKind::Presence => ServerMessage::Presence(parse(text)?),
        MessageKind::Alert => ServerMessage::Alert(parse::<InPayload<Alert>>(text)?.payload),
        MessageKind::ContactRequest => ServerMessage::ContactRequest(parse(text)?),
        MessageKind::RoomInvite => ServerMessage::RoomInvite(parse(text)?),
        MessageKind::ServerDraining => ServerMessage::ServerDraining(parse(text)?),
        MessageKind::Pong => ServerMessage::Pong,
        MessageKind::AuthResponse
        | MessageKind::Auth
        | MessageKind::Join
        | MessageKind::Leave
        | MessageKind::Sync
        | MessageKind::Delivered
        | MessageKind::Read
        | MessageKind::PresenceSubscribe
        | MessageKind::PresenceUnsubscribe
        | MessageKind::Received
        | MessageKind::Ping => return Err(DecodeError::unknown_type(kind.as_str())),
    })
}

/// A [`Sender`]'s members. They are spelled out in each message because `flatten` cannot pass a payload on unparsed.
macro_rules! with_sender {
    (
        $(#[$outer:meta])*
        struct $name:ident<'a> {
            $(#[$of_payload:meta])*
            payload,
            $($(#[$attribute:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub(crate) struct $name<'a> {
            /// The sender's device. The server sets it.
            sender_device_id: DeviceId,
            /// The sender.
            sender_user_id: UserId,
            /// The sender's identity, where there is one.
            sender_fingerprint: Option<Fingerprint>,
            $(#[$of_payload])*
            #[serde(borrow)]
            payload: Payload<'a>,
            $($(#[$attribute])* $field: $type,)*
        }

        impl $name<'_> {
            fn sender(&self) -> Sender {
                Sender {
                    device_id: self.sender_device_id.clone(),
                    user_id: self.sender_user_id,
                    fingerprint: self.sender_fingerprint,
                }
            }
        }
    };
}

with_sender! {
    /// The members of a relayed signal.
    struct SignalFields<'a> {
        /// The content, byte for byte as it was sent.
        payload,
        /// The sender's own signature, which the receiver verifies. It comes with `created_at_ms`.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>))]
        #[serde(with = "binary::array::option", default)]
        signature: Option<[u8; 64]>,
        /// When it was signed, in Unix milliseconds.
        created_at_ms: Option<u64>,
    }
}

fn read_signal(kind: SignalKind, text: &str) -> Result<RelayedSignal<'_>, DecodeError> {
    let fields: SignalFields<'_> = parse(text)?;
    Ok(RelayedSignal {
        kind,
        sender: fields.sender(),
        signature: check::signature(fields.signature, fields.created_at_ms)?,
        payload: fields.payload,
    })
}

with_sender! {
    /// The members of a stored chat message.
    struct ChatFields<'a> {
        /// `{content}`, byte for byte as it was sent.
        #[cfg_attr(feature = "openapi", schema(value_type = crate::ChatContent))]
        payload,
        /// The sender's id of it.
        id: Option<RequestId>,
        /// When it was committed.
        timestamp: Timestamp,
        /// The room.
        room: RoomId,
        /// Its number in the room.
        seq: u64,
    }
}

fn read_chat(text: &str) -> Result<StoredChatMessage<'_>, DecodeError> {
    read_history_message(text).map(|entry| entry.message)
}

fn read_history_message(text: &str) -> Result<HistoryMessage<'_>, DecodeError> {
    let fields: ChatFields<'_> = parse(text)?;
    let sender = fields.sender();
    let message = StoredChatMessage { room: fields.room, seq: fields.seq, sender, payload: fields.payload };
    Ok(HistoryMessage { id: fields.id, timestamp: fields.timestamp, message })
}

with_sender! {
    /// The members of a relayed broadcast.
    struct BroadcastFields<'a> {
        /// The content, byte for byte as it was sent.
        payload,
        /// The room.
        room: RoomId,
    }
}

fn read_broadcast(text: &str) -> Result<RelayedBroadcast<'_>, DecodeError> {
    let fields: BroadcastFields<'_> = parse(text)?;
    Ok(RelayedBroadcast { sender: fields.sender(), room: fields.room, payload: fields.payload })
}

/// The members of a page of a room's history.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct HistoryFields<'a> {
    /// The room.
    room: RoomId,
    /// Whether nothing newer than the last given is there.
    complete: bool,
    /// The number of the oldest message kept.
    first_seq: u64,
    /// The newest number that the room has given; lower than what was asked from after a restored backup.
    #[serde(default)]
    last_seq: Option<u64>,
    /// Each as its own frame, by rising number.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<openapi::ChatFrame>))]
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

fn read_history(text: &str) -> Result<History<'_>, DecodeError> {
    let fields: HistoryFields<'_> = parse(text)?;
    let messages = fields
        .messages
        .into_iter()
        .map(|frame| read_history_message(frame.get()))
        .collect::<Result<_, _>>()?;
    let HistoryFields { room, complete, first_seq, last_seq, .. } = fields;
    Ok(History { room, messages, complete, first_seq, last_seq })
}

/// The members of a room's state document, as it is told.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct RoomUpdateFields<'a> {
    /// The room.
    room: RoomId,
    /// The document with its number.
    #[serde(borrow)]
    payload: RoomState<'a>,
}

/// A room's state document.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct RoomState<'a> {
    /// Goes up with each change; 0 where none was set.
    revision: u64,
    /// The document; null where none was set.
    #[serde(borrow)]
    state: Payload<'a>,
}

fn read_room_update(text: &str) -> Result<RoomUpdate<'_>, DecodeError> {
    let RoomUpdateFields { room, payload } = parse(text)?;
    Ok(RoomUpdate { room, revision: payload.revision, state: payload.state })
}

/// The members of a message of the mailbox.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct MailboxFields<'a> {
    /// Its id, the same for everyone.
    message_id: MessageId,
    /// Its number in the mailbox of the user who gets it.
    seq: u64,
    /// The sender.
    sender_user_id: UserId,
    /// The sender's device.
    sender_device_id: DeviceId,
    /// The recipient.
    recipient_id: UserId,
    /// What only the recipient can read.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::EncryptedContent))]
    #[serde(borrow)]
    encrypted_content: Cow<'a, str>,
    /// When it was committed.
    created_at: Timestamp,
    /// When it first reached a device of the recipient.
    #[cfg_attr(feature = "openapi", schema(required))]
    delivered_at: Option<Timestamp>,
    /// When the recipient read it.
    #[cfg_attr(feature = "openapi", schema(required))]
    read_at: Option<Timestamp>,
}

fn read_mailbox_message(text: &str) -> Result<MailboxMessage<'_>, DecodeError> {
    let fields: MailboxFields<'_> = parse(text)?;
    let content = binary::decode(&fields.encrypted_content)
        .map_err(|error| DecodeError::bad_request(format!("`encrypted_content`: {error}")))?;
    Ok(MailboxMessage {
        message_id: fields.message_id,
        seq: fields.seq,
        sender_user_id: fields.sender_user_id,
        sender_device_id: fields.sender_device_id,
        recipient_id: fields.recipient_id,
        encrypted_content: content.into(),
        created_at: fields.created_at,
        delivered_at: fields.delivered_at,
        read_at: fields.read_at,
    })
}

pub(in crate::codec) fn encode_server(frame: &ServerFrame<'_>) -> Bytes {
    let start = Start { kind: frame.message.kind(), id: frame.id.as_ref(), timestamp: Some(frame.timestamp) };
    match &frame.message {
        ServerMessage::AuthChallenge(message) => write(start, message, None),
        ServerMessage::AuthSuccess(message) => write(start, message, None),
        ServerMessage::AuthFailure(message) => write(start, message, None),
        ServerMessage::Connected(message) => write(start, message, None),
        ServerMessage::AuthRequired(message) => write(start, &InPayload { payload: message }, None),
        ServerMessage::Ack(message) => write(start, message, None),
        ServerMessage::Error(message) => write(start, &InPayload { payload: message }, None),
        ServerMessage::Signal(signal) => {
            write(start, &RelayedFields::of(signal), Some(signal.payload.as_bytes()))
        }
        ServerMessage::IceServers(message) => write(start, message, None),
        ServerMessage::RoomMembers(message) => write(start, message, None),
        ServerMessage::MemberJoined(message) => write(start, message, None),
        ServerMessage::MemberLeft(message) => write(start, message, None),
        ServerMessage::ChatMessage(message) => write(start, message, Some(message.payload.as_bytes())),
        ServerMessage::Broadcast(message) => write(start, message, Some(message.payload.as_bytes())),
        ServerMessage::History(history) => write_history(start, history),
        ServerMessage::RoomUpdate(update) => write_room_update(start, update),
        ServerMessage::Message(message) => write(start, &mailbox_fields(message), None),
        ServerMessage::Synced(message) => write(start, message, None),
        ServerMessage::Receipt(message) => write(start, message, None),
        ServerMessage::Presence(message) => write(start, message, None),
        ServerMessage::Alert(message) => write(start, &InPayload { payload: message }, None),
        ServerMessage::ContactRequest(message) => write(start, message, None),
        ServerMessage::RoomInvite(message) => write(start, message, None),
        ServerMessage::ServerDraining(message) => write(start, message, None),
        ServerMessage::Pong => write(start, &NoMembers {}, None),
    }
    .into()
}

#[derive(Serialize)]
struct RelayedFields<'a> {
    #[serde(flatten)]
    sender: &'a Sender,
    #[serde(with = "binary::array::option", skip_serializing_if = "Option::is_none")]
    signature: Option<[u8; 64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_ms: Option<u64>,
}

impl<'a> RelayedFields<'a> {
    fn of(signal: &'a RelayedSignal<'_>) -> Self {
        Self {
            sender: &signal.sender,
            signature: signal.signature.map(|signature| signature.signature),
            created_at_ms: signal.signature.map(|signature| signature.created_at_ms),
        }
    }
}

#[derive(Serialize)]
struct HistoryHead<'a> {
    room: &'a RoomId,
    complete: bool,
    first_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<u64>,
}

fn write_history(start: Start<'_>, history: &History<'_>) -> Vec<u8> {
    let History { room, complete, first_seq, last_seq, .. } = history;
    let fields = HistoryHead { room, complete: *complete, first_seq: *first_seq, last_seq: *last_seq };
    let mut frame = write(start, &fields, None);
    frame.pop();
    frame.extend_from_slice(b",\"messages\":[");
    for (index, entry) in history.messages.iter().enumerate() {
        if index > 0 {
            frame.push(b',');
        }
        let start =
            Start { kind: MessageKind::ChatMessage, id: entry.id.as_ref(), timestamp: Some(entry.timestamp) };
        append(&mut frame, start, &entry.message, Some(entry.message.payload.as_bytes()));
    }
    frame.extend_from_slice(b"]}");
    frame
}

fn write_room_update(start: Start<'_>, update: &RoomUpdate<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Room<'a> {
        room: &'a RoomId,
    }
    #[derive(Serialize)]
    struct Revision {
        revision: u64,
    }
    let mut frame = write(start, &Room { room: &update.room }, None);
    frame.pop();
    frame.extend_from_slice(b",\"payload\":{\"state\":");
    frame.extend_from_slice(update.state.as_bytes());
    append_members(&mut frame, &Revision { revision: update.revision });
    frame.extend_from_slice(b"}}");
    frame
}

fn mailbox_fields(message: &MailboxMessage<'_>) -> MailboxFields<'static> {
    MailboxFields {
        message_id: message.message_id,
        seq: message.seq,
        sender_user_id: message.sender_user_id,
        sender_device_id: message.sender_device_id.clone(),
        recipient_id: message.recipient_id,
        encrypted_content: binary::encode(&message.encrypted_content).into(),
        created_at: message.created_at,
        delivered_at: message.delivered_at,
        read_at: message.read_at,
    }
}
