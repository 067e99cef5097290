//! What clients send, as protobuf.

use bytes::Bytes;
use prost::Message;

use super::{
    field::{array, parse, parse_all, parse_known, parse_optional, payload, texts},
    head::{Fields, Head, read_head},
    read_envelope,
    schema::{self, Envelope, envelope::Body},
};
use crate::{
    Auth, AuthResponse, Broadcast, ChatMessage, ClientFrame, ClientMessage, DecodeError, Delivered,
    EncryptedMessage, HistoryRequest, Join, Leave, MessageKind, PresenceSubscribe, PresenceUnsubscribe, Read,
    Received, Resume, RoomId, SetPresence, Signal, SignalKind, Sync, Target, check, limits::SEQUENCE_LIMIT,
};

pub(in crate::codec) fn decode_client(frame: &Bytes) -> Result<ClientFrame<'static>, DecodeError> {
    let head = read_head(frame)?;
    let Some(kind) = head.kind() else {
        return Err(DecodeError::unknown_type(&head.number.to_string()).of_frame(head.id, None));
    };
    match read_message(frame, kind, &head) {
        Ok(message) => Ok(ClientFrame { id: head.id, message }),
        Err(error) => Err(error.of_frame(head.id, Some(kind))),
    }
}

fn read_message(
    frame: &Bytes,
    kind: MessageKind,
    head: &Head<'_>,
) -> Result<ClientMessage<'static>, DecodeError> {
    refuse_messages_of_history(kind, head)?;
    let mut envelope = read_envelope(frame)?;
    refuse_sender(&envelope)?;
    let body = envelope.body.take().ok_or_else(|| DecodeError::missing("body"))?;
    check::client_message(head.id.as_ref(), read_body(kind, &envelope, body)?)
}

/// Refuses a history with messages: each of them is an envelope, and decoding empty ones takes a hundred times the
/// memory of the frame.
fn refuse_messages_of_history(kind: MessageKind, head: &Head<'_>) -> Result<(), DecodeError> {
    const MESSAGES: u64 = 3;
    let is_message =
        |field: Result<_, _>| field.is_ok_and(|field: super::head::Field<'_>| field.number == MESSAGES);
    if kind == MessageKind::History && Fields(head.body).any(is_message) {
        return Err(check::server_field("messages"));
    }
    Ok(())
}

fn refuse_sender(envelope: &Envelope) -> Result<(), DecodeError> {
    let fields = [
        ("sender_device_id", &envelope.sender_device_id),
        ("sender_user_id", &envelope.sender_user_id),
        ("sender_fingerprint", &envelope.sender_fingerprint),
    ];
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(check::server_field(name)),
        None => Ok(()),
    }
}

fn read_body(
    kind: MessageKind,
    envelope: &Envelope,
    body: Body,
) -> Result<ClientMessage<'static>, DecodeError> {
    Ok(match body {
        Body::AuthResponse(body) => ClientMessage::AuthResponse(read_auth_response(body)?),
        Body::Auth(body) => ClientMessage::Auth(read_auth(body)?),
        Body::Offer(body) => ClientMessage::Signal(read_signal(SignalKind::Offer, envelope, body)?),
        Body::Answer(body) => ClientMessage::Signal(read_signal(SignalKind::Answer, envelope, body)?),
        Body::IceCandidate(body) => {
            ClientMessage::Signal(read_signal(SignalKind::IceCandidate, envelope, body)?)
        }
        Body::Signal(body) => ClientMessage::Signal(read_signal(SignalKind::Signal, envelope, body)?),
        Body::IceServers(_) => ClientMessage::IceServers,
        Body::Join(_) => ClientMessage::Join(Join { room: room(envelope)? }),
        Body::Leave(_) => ClientMessage::Leave(Leave { room: room(envelope)? }),
        Body::ChatMessage(body) => ClientMessage::ChatMessage(read_chat(envelope, body)?),
        Body::Broadcast(body) => ClientMessage::Broadcast(read_broadcast(envelope, body)?),
        Body::History(body) => ClientMessage::History(read_history(envelope, &body)?),
        Body::Message(body) => ClientMessage::Message(read_encrypted(body)?),
        Body::Sync(body) => ClientMessage::Sync(read_sync(&body)),
        Body::Delivered(body) => ClientMessage::Delivered(Delivered { message_ids: ids(&body.message_ids)? }),
        Body::Read(body) => ClientMessage::Read(Read { message_ids: ids(&body.message_ids)? }),
        Body::Presence(body) => ClientMessage::Presence(read_presence(body)?),
        Body::PresenceSubscribe(body) => ClientMessage::PresenceSubscribe(PresenceSubscribe {
            user_ids: parse_all("user_ids", &body.user_ids)?,
        }),
        Body::PresenceUnsubscribe(body) => {
            let user_ids = parse_all("user_ids", &body.user_ids)?;
            ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids })
        }
        Body::Received(body) => ClientMessage::Received(Received { count: body.count }),
        Body::Ping(_) => ClientMessage::Ping,
        Body::AuthChallenge(_)
        | Body::AuthSuccess(_)
        | Body::AuthFailure(_)
        | Body::Connected(_)
        | Body::AuthRequired(_)
        | Body::Ack(_)
        | Body::Error(_)
        | Body::RoomMembers(_)
        | Body::MemberJoined(_)
        | Body::MemberLeft(_)
        | Body::RoomUpdate(_)
        | Body::Synced(_)
        | Body::Receipt(_)
        | Body::Alert(_)
        | Body::ContactRequest(_)
        | Body::RoomInvite(_)
        | Body::ServerDraining(_)
        | Body::Pong(_) => return Err(DecodeError::unknown_type(kind.as_str())),
    })
}

fn read_auth_response(body: schema::AuthResponse) -> Result<AuthResponse<'static>, DecodeError> {
    Ok(AuthResponse {
        public_key: array("public_key", &body.public_key)?,
        signature: array("signature", &body.signature)?,
        device_id: parse_optional("device_id", body.device_id.as_deref())?,
        totp_code: body.totp_code.map(Into::into),
        resume: body.resume.and_then(read_resume),
    })
}

fn read_auth(body: schema::Auth) -> Result<Auth<'static>, DecodeError> {
    Ok(Auth {
        token: body.token.map(Into::into),
        device_id: parse_optional("device_id", body.device_id.as_deref())?,
        resume: body.resume.and_then(read_resume),
    })
}

/// A malformed resume claim counts as an unknown one: the session begins afresh.
fn read_resume(resume: schema::Resume) -> Option<Resume<'static>> {
    let received = Some(resume.received).filter(|received| *received < SEQUENCE_LIMIT)?;
    Some(Resume { token: resume.token.into(), received })
}

fn read_signal(
    kind: SignalKind,
    envelope: &Envelope,
    body: schema::Signal,
) -> Result<Signal<'static>, DecodeError> {
    let device = parse_optional("target_device_id", envelope.target_device_id.as_deref())?;
    let user = parse_optional("target_user_id", envelope.target_user_id.as_deref())?;
    let signature = body.signature.as_deref().map(|signature| array("signature", signature)).transpose()?;
    Ok(Signal {
        kind,
        target: check::target(device, user)?,
        payload: payload("payload", body.payload)?,
        signature: check::signature(signature, body.created_at_ms)?,
    })
}

fn read_chat(envelope: &Envelope, body: schema::ChatMessage) -> Result<ChatMessage<'static>, DecodeError> {
    Ok(ChatMessage { room: room(envelope)?, payload: payload("payload", body.payload)? })
}

fn read_broadcast(envelope: &Envelope, body: schema::Broadcast) -> Result<Broadcast<'static>, DecodeError> {
    Ok(Broadcast { room: room(envelope)?, payload: payload("payload", body.payload)? })
}

fn read_history(envelope: &Envelope, body: &schema::History) -> Result<HistoryRequest, DecodeError> {
    Ok(HistoryRequest {
        room: room(envelope)?,
        since_seq: body.since_seq.unwrap_or_default(),
        limit: body.limit.map(check::limit),
    })
}

fn read_encrypted(body: schema::EncryptedMessage) -> Result<EncryptedMessage<'static>, DecodeError> {
    Ok(EncryptedMessage {
        recipient: parse("recipient_id", &body.recipient_id)?,
        encrypted_content: Vec::from(body.encrypted_content).into(),
    })
}

fn read_sync(body: &schema::Sync) -> Sync {
    Sync { since_seq: body.since_seq.unwrap_or_default(), limit: body.limit.map(check::limit) }
}

fn read_presence(body: schema::Presence) -> Result<SetPresence<'static>, DecodeError> {
    Ok(SetPresence { status: parse_known("status", &body.status)?, note: body.note.map(Into::into) })
}

fn ids(texts: &[String]) -> Result<Vec<crate::MessageId>, DecodeError> {
    parse_all("message_ids", texts)
}

fn room(envelope: &Envelope) -> Result<Option<RoomId>, DecodeError> {
    parse_optional("room", envelope.room.as_deref())
}

pub(in crate::codec) fn encode_client(frame: &ClientFrame<'_>) -> Bytes {
    let mut envelope =
        Envelope { request_id: frame.id.as_ref().map(ToString::to_string), ..Envelope::default() };
    envelope.body = Some(write_body(&mut envelope, &frame.message));
    envelope.encode_to_vec().into()
}

fn write_body(envelope: &mut Envelope, message: &ClientMessage<'_>) -> Body {
    match message {
        ClientMessage::AuthResponse(response) => Body::AuthResponse(write_auth_response(response)),
        ClientMessage::Auth(auth) => Body::Auth(write_auth(auth)),
        ClientMessage::Signal(signal) => write_signal(envelope, signal),
        ClientMessage::IceServers => Body::IceServers(schema::IceServers::default()),
        ClientMessage::Join(join) => {
            envelope.room = join.room.as_ref().map(ToString::to_string);
            Body::Join(schema::Join {})
        }
        ClientMessage::Leave(leave) => {
            envelope.room = leave.room.as_ref().map(ToString::to_string);
            Body::Leave(schema::Leave {})
        }
        ClientMessage::ChatMessage(chat) => {
            envelope.room = chat.room.as_ref().map(ToString::to_string);
            Body::ChatMessage(schema::ChatMessage { payload: chat.payload.to_bytes() })
        }
        ClientMessage::Broadcast(broadcast) => {
            envelope.room = broadcast.room.as_ref().map(ToString::to_string);
            Body::Broadcast(schema::Broadcast { payload: broadcast.payload.to_bytes() })
        }
        ClientMessage::History(request) => {
            envelope.room = request.room.as_ref().map(ToString::to_string);
            Body::History(write_history(request))
        }
        ClientMessage::Message(message) => Body::Message(write_encrypted(message)),
        ClientMessage::Sync(sync) => Body::Sync(write_sync(*sync)),
        ClientMessage::Delivered(delivered) => {
            Body::Delivered(schema::Delivered { message_ids: texts(&delivered.message_ids) })
        }
        ClientMessage::Read(read) => Body::Read(schema::Read { message_ids: texts(&read.message_ids) }),
        ClientMessage::Presence(presence) => Body::Presence(write_presence(presence)),
        ClientMessage::PresenceSubscribe(watch) => {
            Body::PresenceSubscribe(schema::PresenceSubscribe { user_ids: texts(&watch.user_ids) })
        }
        ClientMessage::PresenceUnsubscribe(watch) => {
            Body::PresenceUnsubscribe(schema::PresenceUnsubscribe { user_ids: texts(&watch.user_ids) })
        }
        ClientMessage::Received(received) => Body::Received(schema::Received { count: received.count }),
        ClientMessage::Ping => Body::Ping(schema::Ping {}),
    }
}

fn write_auth_response(response: &AuthResponse<'_>) -> schema::AuthResponse {
    schema::AuthResponse {
        public_key: Bytes::copy_from_slice(&response.public_key),
        signature: Bytes::copy_from_slice(&response.signature),
        device_id: response.device_id.as_ref().map(ToString::to_string),
        totp_code: response.totp_code.as_ref().map(|code| code.expose().to_owned()),
        resume: response.resume.as_ref().map(write_resume),
    }
}

fn write_auth(auth: &Auth<'_>) -> schema::Auth {
    schema::Auth {
        token: auth.token.as_ref().map(|token| token.expose().to_owned()),
        device_id: auth.device_id.as_ref().map(ToString::to_string),
        resume: auth.resume.as_ref().map(write_resume),
    }
}

fn write_resume(resume: &Resume<'_>) -> schema::Resume {
    schema::Resume { token: resume.token.expose().to_owned(), received: resume.received }
}

fn write_signal(envelope: &mut Envelope, signal: &Signal<'_>) -> Body {
    match &signal.target {
        Target::Device(device) => envelope.target_device_id = Some(device.to_string()),
        Target::User(user) => envelope.target_user_id = Some(user.to_string()),
    }
    super::write_signal(signal.kind, &signal.payload, signal.signature)
}

fn write_history(request: &HistoryRequest) -> schema::History {
    schema::History {
        since_seq: Some(request.since_seq),
        limit: request.limit.map(u64::from),
        ..schema::History::default()
    }
}

fn write_encrypted(message: &EncryptedMessage<'_>) -> schema::EncryptedMessage {
    schema::EncryptedMessage {
        recipient_id: message.recipient.to_string(),
        encrypted_content: Bytes::copy_from_slice(&message.encrypted_content),
        ..schema::EncryptedMessage::default()
    }
}

fn write_sync(sync: Sync) -> schema::Sync {
    schema::Sync { since_seq: Some(sync.since_seq), limit: sync.limit.map(u64::from) }
}

fn write_presence(presence: &SetPresence<'_>) -> schema::Presence {
    schema::Presence {
        status: presence.status.to_string(),
        note: presence.note.as_deref().map(ToOwned::to_owned),
        ..schema::Presence::default()
    }
}
