//! What clients send, as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    InPayload,
    head::{Head, read_head},
    text_of,
    write::{NoMembers, Start, write},
};
#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{
    Auth, ClientFrame, ClientMessage, DecodeError, DeviceId, EncryptedMessage, MessageKind, Payload, Signal,
    SignalKind, Target, UserRef, binary, check, limits::MAX_ENCRYPTED_CONTENT_BYTES, whole,
};

pub(in crate::codec) fn decode_client(frame: &Bytes) -> Result<ClientFrame<'_>, DecodeError> {
    let text = text_of(frame)?;
    let head = read_head(text)?;
    let Some(kind) = head.kind else {
        return Err(DecodeError::unknown_type(&head.name).of_frame(head.id, None));
    };
    match read_checked(kind, &head) {
        Ok(message) => Ok(ClientFrame { id: head.id, message }),
        Err(error) => Err(error.of_frame(head.id, Some(kind))),
    }
}

fn read_checked<'a>(kind: MessageKind, head: &Head<'a>) -> Result<ClientMessage<'a>, DecodeError> {
    if let Some(field) = &head.sender_field {
        return Err(check::server_field(field));
    }
    check::client_message(head.id.as_ref(), read_message(kind, head)?)
}

fn read_message<'a>(kind: MessageKind, head: &Head<'a>) -> Result<ClientMessage<'a>, DecodeError> {
    Ok(match kind {
        MessageKind::AuthResponse => ClientMessage::AuthResponse(head.read()?),
        MessageKind::Auth => ClientMessage::Auth(read_auth(head)?),
        MessageKind::Offer => ClientMessage::Signal(read_signal(SignalKind::Offer, head)?),
        MessageKind::Answer => ClientMessage::Signal(read_signal(SignalKind::Answer, head)?),
        MessageKind::IceCandidate => ClientMessage::Signal(read_signal(SignalKind::IceCandidate, head)?),
        MessageKind::Signal => ClientMessage::Signal(read_signal(SignalKind::Signal, head)?),
        MessageKind::IceServers => ClientMessage::IceServers,
        MessageKind::Join => ClientMessage::Join(head.read()?),
        MessageKind::Leave => ClientMessage::Leave(head.read()?),
        MessageKind::ChatMessage => ClientMessage::ChatMessage(head.read()?),
        MessageKind::Broadcast => ClientMessage::Broadcast(head.read()?),
        MessageKind::History => ClientMessage::History(head.read()?),
        MessageKind::Message => ClientMessage::Message(read_encrypted(head)?),
        MessageKind::Sync => ClientMessage::Sync(head.read()?),
        MessageKind::Delivered => ClientMessage::Delivered(head.read()?),
        MessageKind::Read => ClientMessage::Read(head.read()?),
        MessageKind::Presence => ClientMessage::Presence(head.read()?),
        MessageKind::PresenceSubscribe => ClientMessage::PresenceSubscribe(head.read()?),
        MessageKind::PresenceUnsubscribe => ClientMessage::PresenceUnsubscribe(head.read()?),
        MessageKind::Received => ClientMessage::Received(head.read()?),
        MessageKind::Ping => ClientMessage::Ping,
        MessageKind::AuthChallenge
        | MessageKind::AuthSuccess
        | MessageKind::AuthFailure
        | MessageKind::Connected
        | MessageKind::AuthRequired
        | MessageKind::Ack
        | MessageKind::Error
        | MessageKind::RoomMembers
        | MessageKind::MemberJoined
        | MessageKind::MemberLeft
        | MessageKind::RoomUpdate
        | MessageKind::Synced
        | MessageKind::Receipt
        | MessageKind::Alert
        | MessageKind::ContactRequest
        | MessageKind::RoomInvite
        | MessageKind::ServerDraining
        | MessageKind::Pong => return Err(DecodeError::unknown_type(kind.as_str())),
    })
}

#[derive(Deserialize)]
struct AuthFields<'a> {
    #[serde(borrow)]
    payload: Option<Auth<'a>>,
}

fn read_auth<'a>(head: &Head<'a>) -> Result<Auth<'a>, DecodeError> {
    Ok(head.read::<AuthFields<'_>>()?.payload.unwrap_or_default())
}

/// The members of a signal.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct SignalFields<'a> {
    /// The device it goes to. A signal has this or `target_user_id`, not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_device_id: Option<DeviceId>,
    /// The user to all of whose live devices it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_user_id: Option<UserRef>,
    /// Over the statement `aldis/v1/signal`, for the target to verify. It comes with `created_at_ms`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>))]
    #[serde(with = "binary::array::option", default, skip_serializing_if = "Option::is_none")]
    signature: Option<[u8; 64]>,
    /// When it was signed, in Unix milliseconds.
    #[serde(default, deserialize_with = "whole::optional", skip_serializing_if = "Option::is_none")]
    created_at_ms: Option<u64>,
    /// The content, relayed byte for byte.
    #[serde(borrow, skip_serializing)]
    payload: Payload<'a>,
}

fn read_signal<'a>(kind: SignalKind, head: &Head<'a>) -> Result<Signal<'a>, DecodeError> {
    let fields: SignalFields<'_> = head.read()?;
    Ok(Signal {
        kind,
        target: check::target(fields.target_device_id, fields.target_user_id)?,
        signature: check::signature(fields.signature, fields.created_at_ms)?,
        payload: fields.payload,
    })
}

/// The members of an encrypted message.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct EncryptedFields<'a> {
    /// The user it is for.
    recipient_id: UserRef,
    /// What only the recipient can read: at most 48,000 bytes before base64.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::EncryptedContent))]
    #[serde(borrow)]
    encrypted_content: Cow<'a, str>,
}

fn read_encrypted<'a>(head: &Head<'a>) -> Result<EncryptedMessage<'a>, DecodeError> {
    let fields: EncryptedFields<'_> = head.read()?;
    if fields.encrypted_content.len() > MAX_ENCRYPTED_CONTENT_BYTES.div_ceil(3) * 4 {
        return Err(check::content_too_large());
    }
    let content = binary::decode(&fields.encrypted_content)
        .map_err(|error| DecodeError::bad_request(format!("`encrypted_content`: {error}")))?;
    Ok(EncryptedMessage { recipient: fields.recipient_id, encrypted_content: content.into() })
}

pub(in crate::codec) fn encode_client(frame: &ClientFrame<'_>) -> Bytes {
    let start = Start { name: frame.message.kind().as_str(), id: frame.id.as_ref(), timestamp: None };
    match &frame.message {
        ClientMessage::AuthResponse(message) => write(start, message, None),
        ClientMessage::Auth(message) => write(start, &InPayload { payload: message }, None),
        ClientMessage::Signal(signal) => {
            write(start, &signal_fields(signal), Some(signal.payload.as_bytes()))
        }
        ClientMessage::IceServers | ClientMessage::Ping => write(start, &NoMembers {}, None),
        ClientMessage::Join(message) => write(start, message, None),
        ClientMessage::Leave(message) => write(start, message, None),
        ClientMessage::ChatMessage(message) => write(start, message, Some(message.payload.as_bytes())),
        ClientMessage::Broadcast(message) => write(start, message, Some(message.payload.as_bytes())),
        ClientMessage::History(message) => write(start, message, None),
        ClientMessage::Message(message) => write(start, &encrypted_fields(message), None),
        ClientMessage::Sync(message) => write(start, message, None),
        ClientMessage::Delivered(message) => write(start, message, None),
        ClientMessage::Read(message) => write(start, message, None),
        ClientMessage::Presence(message) => write(start, message, None),
        ClientMessage::PresenceSubscribe(message) => write(start, message, None),
        ClientMessage::PresenceUnsubscribe(message) => write(start, message, None),
        ClientMessage::Received(message) => write(start, message, None),
    }
    .into()
}

fn signal_fields<'a>(signal: &Signal<'a>) -> SignalFields<'a> {
    let (target_device_id, target_user_id) = match &signal.target {
        Target::Device(device) => (Some(device.clone()), None),
        Target::User(user) => (None, Some(*user)),
    };
    SignalFields {
        target_device_id,
        target_user_id,
        signature: signal.signature.map(|signature| signature.signature),
        created_at_ms: signal.signature.map(|signature| signature.created_at_ms),
        payload: signal.payload.clone(),
    }
}

fn encrypted_fields(message: &EncryptedMessage<'_>) -> EncryptedFields<'static> {
    EncryptedFields {
        recipient_id: message.recipient,
        encrypted_content: binary::encode(&message.encrypted_content).into(),
    }
}
