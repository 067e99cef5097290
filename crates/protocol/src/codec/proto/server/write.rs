//! Messages as bodies of the schema, and what routes them in the envelope.

use bytes::Bytes;

use crate::codec::proto::{
    field::{ms, texts},
    schema::{self, Envelope, envelope::Body},
    write_signal,
};
use crate::{
    Ack, Alert, AuthChallenge, AuthFailure, AuthSuccess, Connected, ErrorReply, History, HistoryMessage,
    IceServer, IceServers, MailboxMessage, MemberJoined, MemberLeft, Presence, RelayedBroadcast, RequestId,
    RoomMember, RoomMembers, RoomUpdate, Sender, ServerMessage, StoredChatMessage, Timestamp,
};

pub(super) fn envelope(id: Option<&RequestId>, timestamp: Timestamp) -> Envelope {
    Envelope {
        request_id: id.map(ToString::to_string),
        timestamp_ms: timestamp.as_ms(),
        ..Envelope::default()
    }
}

/// The body of a message; `None` if this version does not know its type.
pub(super) fn body(envelope: &mut Envelope, message: &ServerMessage<'_>) -> Option<Body> {
    Some(match message {
        ServerMessage::AuthChallenge(challenge) => Body::AuthChallenge(write_challenge(challenge)),
        ServerMessage::AuthSuccess(success) => Body::AuthSuccess(write_auth_success(success)),
        ServerMessage::AuthFailure(failure) => Body::AuthFailure(write_auth_failure(failure)),
        ServerMessage::Connected(connected) => Body::Connected(write_connected(connected)),
        ServerMessage::AuthRequired(required) => Body::AuthRequired(schema::AuthRequired {
            reason: required.reason.to_string(),
            expires_at_ms: required.expires_at.as_ms(),
        }),
        ServerMessage::Ack(ack) => write_ack(envelope, ack),
        ServerMessage::Error(error) => Body::Error(write_error(error)),
        ServerMessage::Signal(signal) => {
            write_sender(envelope, &signal.sender);
            write_signal(signal.kind, &signal.payload, signal.signature)
        }
        ServerMessage::IceServers(servers) => Body::IceServers(write_ice_servers(servers)),
        ServerMessage::RoomMembers(members) => write_room_members(envelope, members),
        ServerMessage::MemberJoined(member) => write_joined(envelope, member),
        ServerMessage::MemberLeft(member) => write_left(envelope, member),
        ServerMessage::ChatMessage(chat) => write_chat(envelope, chat),
        ServerMessage::Broadcast(broadcast) => write_broadcast(envelope, broadcast),
        ServerMessage::History(history) => write_history(envelope, history),
        ServerMessage::RoomUpdate(update) => write_room_update(envelope, update),
        ServerMessage::Message(message) => write_mailbox_message(envelope, message),
        ServerMessage::Synced(synced) => {
            envelope.seq = Some(synced.seq);
            Body::Synced(schema::Synced { first_seq: synced.first_seq, complete: synced.complete })
        }
        ServerMessage::Receipt(receipt) => Body::Receipt(schema::Receipt {
            message_ids: texts(&receipt.message_ids),
            delivered_at_ms: ms(receipt.delivered_at),
            read_at_ms: ms(receipt.read_at),
        }),
        ServerMessage::Presence(presence) => Body::Presence(write_presence(presence)),
        ServerMessage::Alert(alert) => Body::Alert(write_alert(alert)),
        ServerMessage::ContactRequest(request) => Body::ContactRequest(schema::ContactRequest {
            user_id: request.user_id.to_string(),
            label: request.label.as_ref().map(ToString::to_string),
        }),
        ServerMessage::RoomInvite(invite) => {
            envelope.room = Some(invite.room.to_string());
            Body::RoomInvite(schema::RoomInvite { user_id: invite.user_id.to_string() })
        }
        ServerMessage::ServerDraining(draining) => {
            Body::ServerDraining(schema::ServerDraining { reconnect_after: draining.reconnect_after })
        }
        ServerMessage::Pong => Body::Pong(schema::Pong {}),
        ServerMessage::Unknown(_) => return None,
    })
}

fn write_challenge(challenge: &AuthChallenge<'_>) -> schema::AuthChallenge {
    schema::AuthChallenge {
        challenge: Bytes::copy_from_slice(&challenge.challenge),
        audience: challenge.audience.to_string(),
        expires_at_ms: challenge.expires_at_ms,
    }
}

fn write_auth_success(success: &AuthSuccess) -> schema::AuthSuccess {
    schema::AuthSuccess {
        user_id: success.user_id.to_string(),
        device_id: success.device_id.to_string(),
        expires_at_ms: ms(success.expires_at),
    }
}

fn write_auth_failure(failure: &AuthFailure<'_>) -> schema::AuthFailure {
    schema::AuthFailure {
        code: failure.code.to_string(),
        message: failure.message.to_string(),
        rotation: failure.rotation.map(|rotation| schema::PendingRotation {
            sequence: rotation.sequence,
            hash: rotation.hash.to_string(),
            cancellation_deadline_ms: rotation.cancellation_deadline.as_ms(),
        }),
    }
}

fn write_connected(connected: &Connected<'_>) -> schema::Connected {
    let Connected { device_id, user_id, message, session, heartbeat, limits } = connected;
    schema::Connected {
        device_id: device_id.to_string(),
        user_id: user_id.to_string(),
        message: message.to_string(),
        session: Some(schema::SessionInfo {
            id: session.id.to_string(),
            resume_token: session.resume_token.expose().to_owned(),
            resume_window: session.resume_window,
            resumed: session.resumed,
            replayed: session.replayed,
        }),
        heartbeat: Some(schema::Heartbeat { interval: heartbeat.interval, timeout: heartbeat.timeout }),
        limits: Some(schema::SessionLimits {
            max_message_bytes: limits.max_message_bytes,
            max_encrypted_content_bytes: limits.max_encrypted_content_bytes,
            max_unanswered_requests: limits.max_unanswered_requests,
        }),
    }
}

fn write_ack(envelope: &mut Envelope, ack: &Ack<'_>) -> Body {
    envelope.seq = ack.seq;
    Body::Ack(schema::Ack {
        message: ack.message.to_string(),
        status: ack.status.to_string(),
        message_id: ack.message_id.map(|id| id.to_string()),
        devices: texts(ack.devices.as_deref().unwrap_or_default()),
        duplicate: ack.duplicate,
    })
}

fn write_error(error: &ErrorReply<'_>) -> schema::Error {
    schema::Error {
        code: error.code.to_string(),
        message: error.message.to_string(),
        reconnect: error.reconnect,
        retry_after: error.retry_after,
        close: error.close.map(u32::from),
    }
}

fn write_ice_servers(servers: &IceServers<'_>) -> schema::IceServers {
    schema::IceServers {
        ice_servers: servers.ice_servers.iter().map(write_ice_server).collect(),
        expires_at_ms: ms(servers.expires_at),
    }
}

fn write_ice_server(server: &IceServer<'_>) -> schema::IceServer {
    schema::IceServer {
        urls: texts(&server.urls),
        username: server.username.as_deref().map(ToOwned::to_owned),
        credential: server.credential.as_ref().map(|credential| credential.expose().to_owned()),
    }
}

fn write_room_members(envelope: &mut Envelope, members: &RoomMembers) -> Body {
    envelope.room = Some(members.room.to_string());
    let told = members.members.as_deref().unwrap_or_default();
    Body::RoomMembers(schema::RoomMembers {
        count: members.count,
        members: told.iter().map(write_room_member).collect(),
    })
}

fn write_room_member(member: &RoomMember) -> schema::RoomMember {
    schema::RoomMember { user_id: member.user_id.to_string(), device_ids: texts(&member.device_ids) }
}

fn write_joined(envelope: &mut Envelope, member: &MemberJoined) -> Body {
    envelope.room = Some(member.room.to_string());
    Body::MemberJoined(schema::MemberJoined {
        user_id: member.user_id.to_string(),
        device_id: member.device_id.to_string(),
    })
}

fn write_left(envelope: &mut Envelope, member: &MemberLeft) -> Body {
    envelope.room = Some(member.room.to_string());
    Body::MemberLeft(schema::MemberLeft {
        user_id: member.user_id.to_string(),
        device_id: member.device_id.to_string(),
    })
}

fn write_chat(envelope: &mut Envelope, chat: &StoredChatMessage<'_>) -> Body {
    envelope.room = Some(chat.room.to_string());
    envelope.seq = Some(chat.seq);
    write_sender(envelope, &chat.sender);
    Body::ChatMessage(schema::ChatMessage { payload: chat.payload.to_bytes() })
}

fn write_broadcast(envelope: &mut Envelope, broadcast: &RelayedBroadcast<'_>) -> Body {
    envelope.room = Some(broadcast.room.to_string());
    write_sender(envelope, &broadcast.sender);
    Body::Broadcast(schema::Broadcast { payload: broadcast.payload.to_bytes() })
}

fn write_history(envelope: &mut Envelope, history: &History<'_>) -> Body {
    envelope.room = Some(history.room.to_string());
    Body::History(schema::History {
        messages: history.messages.iter().map(write_history_message).collect(),
        complete: history.complete,
        first_seq: history.first_seq,
        last_seq: history.last_seq,
        ..schema::History::default()
    })
}

fn write_history_message(entry: &HistoryMessage<'_>) -> Envelope {
    let mut envelope = envelope(entry.id.as_ref(), entry.timestamp);
    envelope.body = Some(write_chat(&mut envelope, &entry.message));
    envelope
}

fn write_room_update(envelope: &mut Envelope, update: &RoomUpdate<'_>) -> Body {
    envelope.room = Some(update.room.to_string());
    Body::RoomUpdate(schema::RoomUpdate { revision: update.revision, state: update.state.to_bytes() })
}

fn write_mailbox_message(envelope: &mut Envelope, message: &MailboxMessage<'_>) -> Body {
    envelope.seq = Some(message.seq);
    envelope.sender_user_id = Some(message.sender_user_id.to_string());
    envelope.sender_device_id = Some(message.sender_device_id.to_string());
    Body::Message(schema::EncryptedMessage {
        recipient_id: message.recipient_id.to_string(),
        encrypted_content: Bytes::copy_from_slice(&message.encrypted_content),
        message_id: message.message_id.to_string(),
        created_at_ms: message.created_at.as_ms(),
        delivered_at_ms: ms(message.delivered_at),
        read_at_ms: ms(message.read_at),
    })
}

fn write_presence(presence: &Presence<'_>) -> schema::Presence {
    schema::Presence {
        status: presence.status.to_string(),
        note: presence.note.as_deref().map(ToOwned::to_owned),
        user_id: presence.user_id.to_string(),
        devices: presence.devices,
        last_seen_ms: ms(presence.last_seen),
    }
}

fn write_alert(alert: &Alert) -> schema::Alert {
    schema::Alert {
        kind: alert.kind.to_string(),
        device_id: alert.device_id.as_ref().map(ToString::to_string),
        fingerprint: alert.fingerprint.map(|fingerprint| fingerprint.to_string()),
        sequence: alert.sequence,
        hash: alert.hash.map(|hash| hash.to_string()),
    }
}

fn write_sender(envelope: &mut Envelope, sender: &Sender) {
    envelope.sender_device_id = Some(sender.device_id.to_string());
    envelope.sender_user_id = Some(sender.user_id.to_string());
    envelope.sender_fingerprint = sender.fingerprint.map(|fingerprint| fingerprint.to_string());
}
