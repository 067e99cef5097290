//! Bodies of the schema as messages.

use crate::codec::proto::{
    field::{array, parse, parse_all, parse_optional, payload, required, time},
    schema::{self, Envelope, envelope::Body},
};
use crate::{
    Ack, Alert, AuthChallenge, AuthFailure, AuthRequired, AuthSuccess, Connected, ContactRequest,
    DecodeError, ErrorReply, Heartbeat, History, HistoryMessage, IceServer, IceServers, MailboxMessage,
    MemberJoined, MemberLeft, PendingRotation, Presence, Receipt, RelayedBroadcast, RelayedSignal, RoomId,
    RoomInvite, RoomMember, RoomMembers, RoomUpdate, Sender, ServerDraining, ServerMessage, SessionInfo,
    SessionLimits, SignalKind, StoredChatMessage, Synced, Timestamp, check,
};

/// The message of a body; `None` if only clients send it.
pub(super) fn body(envelope: &Envelope, body: Body) -> Result<Option<ServerMessage<'static>>, DecodeError> {
    Ok(Some(match body {
        Body::AuthChallenge(body) => ServerMessage::AuthChallenge(read_challenge(body)?),
        Body::AuthSuccess(body) => ServerMessage::AuthSuccess(read_auth_success(&body)?),
        Body::AuthFailure(body) => ServerMessage::AuthFailure(read_auth_failure(body)?),
        Body::Connected(body) => ServerMessage::Connected(read_connected(body)?),
        Body::AuthRequired(body) => ServerMessage::AuthRequired(read_auth_required(body)),
        Body::Ack(body) => ServerMessage::Ack(read_ack(envelope, body)?),
        Body::Error(body) => ServerMessage::Error(read_error(body)?),
        Body::Offer(body) => ServerMessage::Signal(read_signal(SignalKind::Offer, envelope, body)?),
        Body::Answer(body) => ServerMessage::Signal(read_signal(SignalKind::Answer, envelope, body)?),
        Body::IceCandidate(body) => {
            ServerMessage::Signal(read_signal(SignalKind::IceCandidate, envelope, body)?)
        }
        Body::Signal(body) => ServerMessage::Signal(read_signal(SignalKind::Signal, envelope, body)?),
        Body::IceServers(body) => ServerMessage::IceServers(read_ice_servers(body)),
        Body::RoomMembers(body) => ServerMessage::RoomMembers(read_room_members(envelope, &body)?),
        Body::MemberJoined(body) => ServerMessage::MemberJoined(read_joined(envelope, &body)?),
        Body::MemberLeft(body) => ServerMessage::MemberLeft(read_left(envelope, &body)?),
        Body::ChatMessage(body) => ServerMessage::ChatMessage(read_chat(envelope, body)?),
        Body::Broadcast(body) => ServerMessage::Broadcast(read_broadcast(envelope, body)?),
        Body::History(body) => ServerMessage::History(read_history(envelope, body)?),
        Body::RoomUpdate(body) => ServerMessage::RoomUpdate(read_room_update(envelope, body)?),
        Body::Message(body) => ServerMessage::Message(read_mailbox_message(envelope, body)?),
        Body::Synced(body) => ServerMessage::Synced(read_synced(envelope, body)?),
        Body::Receipt(body) => ServerMessage::Receipt(read_receipt(&body)?),
        Body::Presence(body) => ServerMessage::Presence(read_presence(body)?),
        Body::Alert(body) => ServerMessage::Alert(read_alert(&body)?),
        Body::ContactRequest(body) => ServerMessage::ContactRequest(ContactRequest {
            user_id: parse("user_id", &body.user_id)?,
            label: parse_optional("label", body.label.as_deref())?,
        }),
        Body::RoomInvite(body) => ServerMessage::RoomInvite(RoomInvite {
            room: room(envelope)?,
            user_id: parse("user_id", &body.user_id)?,
        }),
        Body::ServerDraining(body) => {
            ServerMessage::ServerDraining(ServerDraining { reconnect_after: body.reconnect_after })
        }
        Body::Pong(_) => ServerMessage::Pong,
        Body::AuthResponse(_)
        | Body::Auth(_)
        | Body::Join(_)
        | Body::Leave(_)
        | Body::Sync(_)
        | Body::Delivered(_)
        | Body::Read(_)
        | Body::PresenceSubscribe(_)
        | Body::PresenceUnsubscribe(_)
        | Body::Received(_)
        | Body::Ping(_) => return Ok(None),
    }))
}

fn read_challenge(body: schema::AuthChallenge) -> Result<AuthChallenge<'static>, DecodeError> {
    Ok(AuthChallenge {
        challenge: array("challenge", &body.challenge)?,
        audience: body.audience.into(),
        expires_at_ms: body.expires_at_ms,
    })
}

fn read_auth_success(body: &schema::AuthSuccess) -> Result<AuthSuccess, DecodeError> {
    Ok(AuthSuccess {
        user_id: parse("user_id", &body.user_id)?,
        device_id: parse("device_id", &body.device_id)?,
        expires_at: time(body.expires_at_ms),
    })
}

fn read_auth_failure(body: schema::AuthFailure) -> Result<AuthFailure<'static>, DecodeError> {
    Ok(AuthFailure {
        code: parse("code", &body.code)?,
        message: body.message.into(),
        rotation: body.rotation.as_ref().map(read_rotation).transpose()?,
    })
}

fn read_rotation(rotation: &schema::PendingRotation) -> Result<PendingRotation, DecodeError> {
    Ok(PendingRotation {
        sequence: rotation.sequence,
        hash: parse("rotation.hash", &rotation.hash)?,
        cancellation_deadline: Timestamp::from_ms(rotation.cancellation_deadline_ms),
    })
}

fn read_connected(body: schema::Connected) -> Result<Connected<'static>, DecodeError> {
    let heartbeat = required("heartbeat", body.heartbeat)?;
    let limits = required("limits", body.limits)?;
    Ok(Connected {
        device_id: parse("device_id", &body.device_id)?,
        user_id: parse("user_id", &body.user_id)?,
        message: body.message.into(),
        session: read_session(required("session", body.session)?)?,
        heartbeat: Heartbeat { interval: heartbeat.interval, timeout: heartbeat.timeout },
        limits: SessionLimits {
            max_message_bytes: limits.max_message_bytes,
            max_encrypted_content_bytes: limits.max_encrypted_content_bytes,
            max_unanswered_requests: limits.max_unanswered_requests,
        },
    })
}

fn read_session(session: schema::SessionInfo) -> Result<SessionInfo<'static>, DecodeError> {
    Ok(SessionInfo {
        id: parse("session.id", &session.id)?,
        resume_token: session.resume_token.into(),
        resume_window: session.resume_window,
        resumed: session.resumed,
        replayed: session.replayed,
    })
}

fn read_auth_required(body: schema::AuthRequired) -> AuthRequired<'static> {
    AuthRequired { reason: body.reason.into(), expires_at: Timestamp::from_ms(body.expires_at_ms) }
}

fn read_ack(envelope: &Envelope, body: schema::Ack) -> Result<Ack<'static>, DecodeError> {
    let devices = parse_all("devices", &body.devices)?;
    Ok(Ack {
        message: body.message.into(),
        status: parse("status", &body.status)?,
        seq: envelope.seq,
        message_id: parse_optional("message_id", body.message_id.as_deref())?,
        devices: (!devices.is_empty()).then_some(devices),
        duplicate: body.duplicate,
    })
}

fn read_error(body: schema::Error) -> Result<ErrorReply<'static>, DecodeError> {
    let close = body.close.map(u16::try_from).transpose();
    Ok(ErrorReply {
        code: parse("code", &body.code)?,
        message: body.message.into(),
        reconnect: body.reconnect,
        retry_after: body.retry_after,
        close: close.map_err(|_| DecodeError::bad_request("`close` is below 65536"))?,
    })
}

fn read_signal(
    kind: SignalKind,
    envelope: &Envelope,
    body: schema::Signal,
) -> Result<RelayedSignal<'static>, DecodeError> {
    let signature = body.signature.as_deref().map(|signature| array("signature", signature)).transpose()?;
    Ok(RelayedSignal {
        kind,
        sender: sender(envelope)?,
        payload: payload("payload", body.payload)?,
        signature: check::signature(signature, body.created_at_ms)?,
    })
}

fn read_ice_servers(body: schema::IceServers) -> IceServers<'static> {
    IceServers {
        ice_servers: body.ice_servers.into_iter().map(read_ice_server).collect(),
        expires_at: time(body.expires_at_ms),
    }
}

fn read_ice_server(server: schema::IceServer) -> IceServer<'static> {
    IceServer {
        urls: server.urls.into_iter().map(Into::into).collect(),
        username: server.username.map(Into::into),
        credential: server.credential.map(Into::into),
    }
}

fn read_room_members(envelope: &Envelope, body: &schema::RoomMembers) -> Result<RoomMembers, DecodeError> {
    let are_told = !body.members.is_empty() || body.count == 0;
    let members = body.members.iter().map(read_room_member).collect::<Result<_, _>>()?;
    Ok(RoomMembers { room: room(envelope)?, count: body.count, members: are_told.then_some(members) })
}

fn read_room_member(member: &schema::RoomMember) -> Result<RoomMember, DecodeError> {
    Ok(RoomMember {
        user_id: parse("members.user_id", &member.user_id)?,
        device_ids: parse_all("members.device_ids", &member.device_ids)?,
    })
}

fn read_joined(envelope: &Envelope, body: &schema::MemberJoined) -> Result<MemberJoined, DecodeError> {
    Ok(MemberJoined {
        room: room(envelope)?,
        user_id: parse("user_id", &body.user_id)?,
        device_id: parse("device_id", &body.device_id)?,
    })
}

fn read_left(envelope: &Envelope, body: &schema::MemberLeft) -> Result<MemberLeft, DecodeError> {
    Ok(MemberLeft {
        room: room(envelope)?,
        user_id: parse("user_id", &body.user_id)?,
        device_id: parse("device_id", &body.device_id)?,
    })
}

fn read_chat(
    envelope: &Envelope,
    body: schema::ChatMessage,
) -> Result<StoredChatMessage<'static>, DecodeError> {
    Ok(StoredChatMessage {
        room: room(envelope)?,
        seq: seq(envelope)?,
        sender: sender(envelope)?,
        payload: payload("payload", body.payload)?,
    })
}

fn read_broadcast(
    envelope: &Envelope,
    body: schema::Broadcast,
) -> Result<RelayedBroadcast<'static>, DecodeError> {
    Ok(RelayedBroadcast {
        room: room(envelope)?,
        sender: sender(envelope)?,
        payload: payload("payload", body.payload)?,
    })
}

fn read_history(envelope: &Envelope, body: schema::History) -> Result<History<'static>, DecodeError> {
    Ok(History {
        room: room(envelope)?,
        messages: body.messages.into_iter().map(read_history_message).collect::<Result<_, _>>()?,
        complete: body.complete,
        first_seq: body.first_seq,
        last_seq: body.last_seq,
    })
}

fn read_history_message(mut envelope: Envelope) -> Result<HistoryMessage<'static>, DecodeError> {
    let Some(Body::ChatMessage(body)) = envelope.body.take() else {
        return Err(DecodeError::bad_request("`messages` has another body than `chat_message`"));
    };
    Ok(HistoryMessage {
        id: parse_optional("messages.request_id", envelope.request_id.as_deref())?,
        timestamp: Timestamp::from_ms(envelope.timestamp_ms),
        message: read_chat(&envelope, body)?,
    })
}

fn read_room_update(
    envelope: &Envelope,
    body: schema::RoomUpdate,
) -> Result<RoomUpdate<'static>, DecodeError> {
    Ok(RoomUpdate { room: room(envelope)?, revision: body.revision, state: payload("state", body.state)? })
}

fn read_mailbox_message(
    envelope: &Envelope,
    body: schema::EncryptedMessage,
) -> Result<MailboxMessage<'static>, DecodeError> {
    let sender = sender(envelope)?;
    Ok(MailboxMessage {
        message_id: parse("message_id", &body.message_id)?,
        seq: seq(envelope)?,
        sender_user_id: sender.user_id,
        sender_device_id: sender.device_id,
        recipient_id: parse("recipient_id", &body.recipient_id)?,
        encrypted_content: Vec::from(body.encrypted_content).into(),
        created_at: Timestamp::from_ms(body.created_at_ms),
        delivered_at: time(body.delivered_at_ms),
        read_at: time(body.read_at_ms),
    })
}

fn read_synced(envelope: &Envelope, body: schema::Synced) -> Result<Synced, DecodeError> {
    Ok(Synced { seq: seq(envelope)?, first_seq: body.first_seq, complete: body.complete })
}

fn read_receipt(body: &schema::Receipt) -> Result<Receipt, DecodeError> {
    Ok(Receipt {
        message_ids: parse_all("message_ids", &body.message_ids)?,
        delivered_at: time(body.delivered_at_ms),
        read_at: time(body.read_at_ms),
    })
}

fn read_presence(body: schema::Presence) -> Result<Presence<'static>, DecodeError> {
    Ok(Presence {
        user_id: parse("user_id", &body.user_id)?,
        status: parse("status", &body.status)?,
        note: body.note.map(Into::into),
        devices: body.devices,
        last_seen: time(body.last_seen_ms),
    })
}

fn read_alert(body: &schema::Alert) -> Result<Alert, DecodeError> {
    Ok(Alert {
        kind: parse("kind", &body.kind)?,
        device_id: parse_optional("device_id", body.device_id.as_deref())?,
        fingerprint: parse_optional("fingerprint", body.fingerprint.as_deref())?,
        sequence: body.sequence,
        hash: parse_optional("hash", body.hash.as_deref())?,
    })
}

fn room(envelope: &Envelope) -> Result<RoomId, DecodeError> {
    parse("room", envelope.room.as_deref().unwrap_or_default())
}

fn seq(envelope: &Envelope) -> Result<u64, DecodeError> {
    required("seq", envelope.seq)
}

fn sender(envelope: &Envelope) -> Result<Sender, DecodeError> {
    Ok(Sender {
        device_id: parse("sender_device_id", envelope.sender_device_id.as_deref().unwrap_or_default())?,
        user_id: parse("sender_user_id", envelope.sender_user_id.as_deref().unwrap_or_default())?,
        fingerprint: parse_optional("sender_fingerprint", envelope.sender_fingerprint.as_deref())?,
    })
}
