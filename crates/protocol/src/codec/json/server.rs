//! What servers send, as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    InPayload,
    head::{Head, read_head},
    parse,
    scratch::Scratch,
    text_of,
    write::{NoMembers, Start, append_with, write, write_with},
};
#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{
    Ack, Alert, AuthRequired, DecodeError, DeviceId, ErrorReply, Fingerprint, History, HistoryMessage,
    MailboxMessage, MessageId, MessageKind, Payload, RelayedBroadcast, RelayedSignal, RequestId, RoomId,
    RoomUpdate, Sender, ServerFrame, ServerMessage, SignalKind, SignalSignature, StoredChatMessage,
    Timestamp, UnknownMessage, UnknownWord, UserId, binary, check,
};

pub(in crate::codec) fn decode_server(frame: &Bytes) -> Result<ServerFrame<'_>, DecodeError> {
    let text = text_of(frame)?;
    let head = read_head(text)?;
    match read_timed(&head) {
        Ok((timestamp, message)) => Ok(ServerFrame { id: head.id, timestamp, message }),
        Err(error) => Err(error.of_frame(head.id, head.kind)),
    }
}

fn read_timed<'a>(head: &Head<'a>) -> Result<(Timestamp, ServerMessage<'a>), DecodeError> {
    Ok((head.timestamp()?, read_message(head)?))
}

fn read_message<'a>(head: &Head<'a>) -> Result<ServerMessage<'a>, DecodeError> {
    let Some(kind) = head.kind else { return read_unknown(head) };
    Ok(match kind {
        MessageKind::AuthChallenge => ServerMessage::AuthChallenge(head.read()?),
        MessageKind::AuthSuccess => ServerMessage::AuthSuccess(head.read()?),
        MessageKind::AuthFailure => ServerMessage::AuthFailure(head.read()?),
        MessageKind::Connected => ServerMessage::Connected(head.read()?),
        MessageKind::AuthRequired => {
            ServerMessage::AuthRequired(head.read::<InPayload<AuthRequired<'_>>>()?.payload)
        }
        MessageKind::Ack => ServerMessage::Ack(head.read()?),
        MessageKind::Error => ServerMessage::Error(head.read::<InPayload<ErrorReply<'_>>>()?.payload),
        MessageKind::Offer => ServerMessage::Signal(read_signal(SignalKind::Offer, head)?),
        MessageKind::Answer => ServerMessage::Signal(read_signal(SignalKind::Answer, head)?),
        MessageKind::IceCandidate => ServerMessage::Signal(read_signal(SignalKind::IceCandidate, head)?),
        MessageKind::Signal => ServerMessage::Signal(read_signal(SignalKind::Signal, head)?),
        MessageKind::IceServers => ServerMessage::IceServers(head.read()?),
        MessageKind::RoomMembers => ServerMessage::RoomMembers(head.read()?),
        MessageKind::MemberJoined => ServerMessage::MemberJoined(head.read()?),
        MessageKind::MemberLeft => ServerMessage::MemberLeft(head.read()?),
        MessageKind::ChatMessage => ServerMessage::ChatMessage(read_chat(head)?),
        MessageKind::Broadcast => ServerMessage::Broadcast(read_broadcast(head)?),
        MessageKind::History => ServerMessage::History(read_history(head)?),
        MessageKind::RoomUpdate => ServerMessage::RoomUpdate(read_room_update(head)?),
        MessageKind::Message => ServerMessage::Message(read_mailbox_message(head)?),
        MessageKind::Synced => ServerMessage::Synced(head.read()?),
        MessageKind::Receipt => ServerMessage::Receipt(head.read()?),
        MessageKind::Presence => ServerMessage::Presence(head.read()?),
        MessageKind::Alert => ServerMessage::Alert(head.read::<InPayload<Alert>>()?.payload),
        MessageKind::ContactRequest => ServerMessage::ContactRequest(head.read()?),
        MessageKind::RoomInvite => ServerMessage::RoomInvite(head.read()?),
        MessageKind::ServerDraining => ServerMessage::ServerDraining(head.read()?),
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
        | MessageKind::Ping => return read_unknown(head),
    })
}

/// The members of a message that this version does not know.
#[derive(Deserialize)]
struct UnknownFields {
    uncounted: Option<bool>,
}

fn read_unknown<'a>(head: &Head<'a>) -> Result<ServerMessage<'a>, DecodeError> {
    let kind = UnknownWord::new(&head.name).ok_or_else(|| DecodeError::unknown_type(&head.name))?;
    let UnknownFields { uncounted } = head.read()?;
    Ok(ServerMessage::Unknown(UnknownMessage { kind, uncounted: uncounted.unwrap_or_default() }))
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

fn read_signal<'a>(kind: SignalKind, head: &Head<'a>) -> Result<RelayedSignal<'a>, DecodeError> {
    let fields: SignalFields<'_> = head.read()?;
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

fn read_chat<'a>(head: &Head<'a>) -> Result<StoredChatMessage<'a>, DecodeError> {
    Ok(head.read::<ChatFields<'_>>()?.into_entry().message)
}

impl<'a> ChatFields<'a> {
    fn into_entry(self) -> HistoryMessage<'a> {
        let sender = self.sender();
        let message = StoredChatMessage { room: self.room, seq: self.seq, sender, payload: self.payload };
        HistoryMessage { id: self.id, timestamp: self.timestamp, message }
    }
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

fn read_broadcast<'a>(head: &Head<'a>) -> Result<RelayedBroadcast<'a>, DecodeError> {
    let fields: BroadcastFields<'_> = head.read()?;
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

fn read_history<'a>(head: &Head<'a>) -> Result<History<'a>, DecodeError> {
    let fields: HistoryFields<'_> = head.read()?;
    let messages = fields
        .messages
        .into_iter()
        .map(|frame| Ok(parse::<ChatFields<'_>>(frame.get())?.into_entry()))
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

fn read_room_update<'a>(head: &Head<'a>) -> Result<RoomUpdate<'a>, DecodeError> {
    let RoomUpdateFields { room, payload } = head.read()?;
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

fn read_mailbox_message<'a>(head: &Head<'a>) -> Result<MailboxMessage<'a>, DecodeError> {
    let fields: MailboxFields<'_> = head.read()?;
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
    let name = match &frame.message {
        ServerMessage::Unknown(message) => message.kind.as_str(),
        message => message.kind().map_or_else(Default::default, MessageKind::as_str),
    };
    let start = Start { name, id: frame.id.as_ref(), timestamp: Some(frame.timestamp) };
    match &frame.message {
        ServerMessage::AuthChallenge(message) => write(start, message, None),
        ServerMessage::AuthSuccess(message) => write(start, message, None),
        ServerMessage::AuthFailure(message) => write(start, message, None),
        ServerMessage::Connected(message) => write(start, message, None),
        ServerMessage::AuthRequired(message) => write(start, &InPayload { payload: message }, None),
        ServerMessage::Ack(ack) => write_with(start, |head| put_ack(head, ack), None),
        ServerMessage::Error(message) => write(start, &InPayload { payload: message }, None),
        ServerMessage::Signal(signal) => {
            write_with(start, |head| put_signal(head, signal), Some(signal.payload.as_bytes()))
        }
        ServerMessage::IceServers(message) => write(start, message, None),
        ServerMessage::RoomMembers(message) => write(start, message, None),
        ServerMessage::MemberJoined(message) => write(start, message, None),
        ServerMessage::MemberLeft(message) => write(start, message, None),
        ServerMessage::ChatMessage(chat) => {
            write_with(start, |head| put_chat(head, chat), Some(chat.payload.as_bytes()))
        }
        ServerMessage::Broadcast(broadcast) => {
            write_with(start, |head| put_broadcast(head, broadcast), Some(broadcast.payload.as_bytes()))
        }
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
        ServerMessage::Unknown(UnknownMessage { uncounted: false, .. }) => write(start, &NoMembers {}, None),
        ServerMessage::Unknown(UnknownMessage { uncounted: true, .. }) => {
            write_with(start, |head| head.put_member("uncounted", &true), None)
        }
    }
    .into()
}

fn put_ack(head: &mut Scratch, ack: &Ack<'_>) {
    head.put_text("message", &ack.message);
    head.put_plain("status", ack.status.as_str());
    if let Some(seq) = ack.seq {
        head.put_number("seq", seq);
    }
    if let Some(id) = ack.message_id {
        head.put_plain("message_id", id.as_uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
    if let Some(devices) = &ack.devices {
        head.put_member("devices", devices);
    }
    if let Some(duplicate) = ack.duplicate {
        head.put_member("duplicate", &duplicate);
    }
}

fn put_signal(head: &mut Scratch, signal: &RelayedSignal<'_>) {
    put_sender(head, &signal.sender);
    if let Some(SignalSignature { signature, created_at_ms }) = &signal.signature {
        head.put_plain("signature", &binary::encode(signature));
        head.put_number("created_at_ms", *created_at_ms);
    }
}

fn put_chat(head: &mut Scratch, chat: &StoredChatMessage<'_>) {
    head.put_plain("room", chat.room.as_str());
    head.put_number("seq", chat.seq);
    put_sender(head, &chat.sender);
}

fn put_broadcast(head: &mut Scratch, broadcast: &RelayedBroadcast<'_>) {
    head.put_plain("room", broadcast.room.as_str());
    put_sender(head, &broadcast.sender);
}

fn put_sender(head: &mut Scratch, sender: &Sender) {
    let Sender { device_id, user_id, fingerprint } = sender;
    head.put_plain("sender_device_id", device_id.as_str());
    head.put_plain("sender_user_id", user_id.as_uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    if let Some(fingerprint) = fingerprint {
        head.put_member("sender_fingerprint", fingerprint);
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
        let HistoryMessage { id, timestamp, message } = entry;
        let start =
            Start { name: MessageKind::ChatMessage.as_str(), id: id.as_ref(), timestamp: Some(*timestamp) };
        append_with(&mut frame, start, |head| put_chat(head, message), Some(message.payload.as_bytes()));
    }
    frame.extend_from_slice(b"]}");
    frame
}

fn write_room_update(start: Start<'_>, update: &RoomUpdate<'_>) -> Vec<u8> {
    let put = |head: &mut Scratch| {
        head.put_plain("room", update.room.as_str());
        head.put(b",\"payload\":{\"state\":");
        head.put(update.state.as_bytes());
        head.put_number("revision", update.revision);
        head.put(b"}");
    };
    write_with(start, put, None)
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
