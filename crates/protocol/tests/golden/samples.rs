//! A frame of each kind, with all its optional fields and with none.

use std::borrow::Cow;

use aldis_protocol::{
    Ack, AckStatus, Alert, AlertKind, Auth, AuthChallenge, AuthFailure, AuthRequired, AuthResponse,
    AuthSuccess, Broadcast, ChatMessage, ClientFrame, ClientMessage, Connected, ContactLabel, ContactRequest,
    Delivered, DeviceId, EncryptedMessage, ErrorCode, ErrorReply, Fingerprint, Hash, Heartbeat, History,
    HistoryMessage, HistoryRequest, IceServer, IceServers, Join, Leave, MailboxMessage, MemberJoined,
    MemberLeft, MessageId, Payload, PendingRotation, Presence, PresenceSubscribe, PresenceUnsubscribe, Read,
    Receipt, Received, RelayedBroadcast, RelayedSignal, RequestId, Resume, RoomId, RoomInvite, RoomMember,
    RoomMembers, RoomUpdate, Secret, Sender, ServerDraining, ServerFrame, ServerMessage, SessionId,
    SessionInfo, SessionLimits, SetPresence, Signal, SignalKind, SignalSignature, Status, StoredChatMessage,
    Sync, Synced, Target, Timestamp, UserId, UserRef,
};
use uuid::Uuid;

/// The name of its golden files, and the frame.
pub(crate) type Sample<T> = (&'static str, T);

pub(crate) fn client() -> Vec<Sample<ClientFrame<'static>>> {
    let frame = |(name, message)| (name, ClientFrame { id: Some(id("m-1")), message });
    let mut samples: Vec<_> = client_messages().into_iter().map(frame).collect();
    samples.push(("ping-minimal", ClientFrame { id: None, message: ClientMessage::Ping }));
    samples
}

fn client_messages() -> Vec<Sample<ClientMessage<'static>>> {
    vec![
        (
            "auth_response",
            ClientMessage::AuthResponse(AuthResponse {
                device_id: Some(device("phone")),
                totp_code: Some("123456".into()),
                resume: Some(resume()),
                ..auth_response()
            }),
        ),
        ("auth_response-minimal", ClientMessage::AuthResponse(auth_response())),
        (
            "auth",
            ClientMessage::Auth(Auth {
                token: Some("eyJ.abc.def".into()),
                device_id: Some(device("phone")),
                resume: Some(resume()),
            }),
        ),
        ("auth-minimal", ClientMessage::Auth(Auth::default())),
        ("offer", signal(SignalKind::Offer, Target::Device(device("laptop")))),
        ("answer", signal(SignalKind::Answer, Target::User(UserRef::Id(user(1))))),
        (
            "ice-candidate",
            signal(SignalKind::IceCandidate, Target::User(UserRef::Fingerprint(fingerprint()))),
        ),
        ("signal", signal(SignalKind::Signal, Target::Device(device("laptop")))),
        (
            "signal-minimal",
            ClientMessage::Signal(Signal {
                kind: SignalKind::Signal,
                target: Target::Device(device("laptop")),
                payload: payload("null"),
                signature: None,
            }),
        ),
        ("ice_servers", ClientMessage::IceServers),
        ("join", ClientMessage::Join(Join { room: Some(room()) })),
        ("leave", ClientMessage::Leave(Leave { room: Some(room()) })),
        ("chat_message", ClientMessage::ChatMessage(ChatMessage { room: Some(room()), payload: chat() })),
        ("chat_message-minimal", ClientMessage::ChatMessage(ChatMessage { room: None, payload: chat() })),
        ("broadcast", ClientMessage::Broadcast(Broadcast { room: Some(room()), payload: payload("[1, 2]") })),
        ("broadcast-minimal", ClientMessage::Broadcast(Broadcast { room: None, payload: payload("[1, 2]") })),
        (
            "history",
            ClientMessage::History(HistoryRequest { room: Some(room()), since_seq: 41, limit: Some(100) }),
        ),
        ("history-minimal", ClientMessage::History(HistoryRequest { room: None, since_seq: 0, limit: None })),
        (
            "message",
            ClientMessage::Message(EncryptedMessage {
                recipient: UserRef::Id(user(2)),
                encrypted_content: vec![0, 1, 254, 255].into(),
            }),
        ),
        ("sync", ClientMessage::Sync(Sync { since_seq: 41, limit: Some(100) })),
        ("sync-minimal", ClientMessage::Sync(Sync { since_seq: 0, limit: None })),
        ("delivered", ClientMessage::Delivered(Delivered { message_ids: message_ids() })),
        ("read", ClientMessage::Read(Read { message_ids: message_ids() })),
        (
            "presence",
            ClientMessage::Presence(SetPresence {
                status: Status::Away,
                note: Some("out for \"tea\"".into()),
            }),
        ),
        ("presence-minimal", ClientMessage::Presence(SetPresence { status: Status::Online, note: None })),
        ("presence_subscribe", ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids: user_refs() })),
        (
            "presence_unsubscribe",
            ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids: user_refs() }),
        ),
        ("received", ClientMessage::Received(Received { count: 64 })),
        ("ping", ClientMessage::Ping),
    ]
}

pub(crate) fn server() -> Vec<Sample<ServerFrame<'static>>> {
    let frame = |(name, message)| (name, ServerFrame { id: Some(id("m-1")), timestamp: at(123), message });
    let mut samples: Vec<_> = server_messages().into_iter().map(frame).collect();
    samples.push(("pong-minimal", ServerFrame { id: None, timestamp: at(0), message: ServerMessage::Pong }));
    samples
}

fn server_messages() -> Vec<Sample<ServerMessage<'static>>> {
    [
        handshake_messages(),
        reply_messages(),
        signaling_messages(),
        room_messages(),
        mailbox_messages(),
        notices(),
    ]
    .concat()
}

fn handshake_messages() -> Vec<Sample<ServerMessage<'static>>> {
    let success = AuthSuccess { user_id: user(1), device_id: device("phone"), expires_at: Some(at(900_000)) };
    let failure = AuthFailure {
        code: ErrorCode::Revoked,
        message: "the key was replaced".into(),
        rotation: Some(PendingRotation::new(1, Hash([7; 32]), at(9))),
    };
    vec![
        (
            "auth_challenge",
            ServerMessage::AuthChallenge(AuthChallenge {
                challenge: [1; 32],
                audience: "relay.example.test:8443".into(),
                expires_at_ms: 1_767_225_610_000,
            }),
        ),
        (
            "auth_success-minimal",
            ServerMessage::AuthSuccess(AuthSuccess { expires_at: None, ..success.clone() }),
        ),
        ("auth_success", ServerMessage::AuthSuccess(success)),
        (
            "auth_failure-minimal",
            ServerMessage::AuthFailure(AuthFailure { rotation: None, ..failure.clone() }),
        ),
        ("auth_failure", ServerMessage::AuthFailure(failure)),
        ("connected", ServerMessage::Connected(connected())),
        (
            "auth_required",
            ServerMessage::AuthRequired(AuthRequired {
                reason: AuthRequired::REASON.into(),
                expires_at: at(60_000),
            }),
        ),
    ]
}

fn connected() -> Connected<'static> {
    Connected {
        device_id: device("phone"),
        user_id: user(1),
        message: Connected::MESSAGE.into(),
        session: SessionInfo {
            id: SessionId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007)),
            resume_token: "cmVzdW1l".into(),
            resume_window: 30,
            resumed: true,
            replayed: 3,
        },
        heartbeat: Heartbeat { interval: 30, timeout: 10 },
        limits: SessionLimits::new(65_536, 48_000, 128),
    }
}

fn reply_messages() -> Vec<Sample<ServerMessage<'static>>> {
    vec![
        (
            "ack",
            ServerMessage::Ack(
                Ack::new(AckStatus::Stored, "Message stored")
                    .with_seq(42)
                    .with_message_id(message_id(1))
                    .with_devices(vec![device("phone"), device("laptop")])
                    .with_duplicate(true),
            ),
        ),
        ("ack-minimal", ServerMessage::Ack(Ack::new(AckStatus::Delivered, "Message delivered to phone"))),
        (
            "error",
            ServerMessage::Error(ErrorReply {
                code: ErrorCode::RateLimited,
                message: "slow down".into(),
                reconnect: Some(true),
                retry_after: Some(5),
                close: Some(4103),
            }),
        ),
        ("error-minimal", ServerMessage::Error(ErrorReply::new(ErrorCode::UnknownRoom, "no such room"))),
        ("pong", ServerMessage::Pong),
    ]
}

fn signaling_messages() -> Vec<Sample<ServerMessage<'static>>> {
    let relayed = |kind| {
        ServerMessage::Signal(RelayedSignal::new(kind, sender(), description()).with_signature(signature()))
    };
    vec![
        ("offer", relayed(SignalKind::Offer)),
        ("answer", relayed(SignalKind::Answer)),
        ("ice-candidate", relayed(SignalKind::IceCandidate)),
        ("signal", relayed(SignalKind::Signal)),
        (
            "signal-minimal",
            ServerMessage::Signal(RelayedSignal::new(
                SignalKind::Signal,
                sender().with_fingerprint(None),
                payload("0"),
            )),
        ),
        ("ice_servers", ServerMessage::IceServers(ice_servers())),
        ("ice_servers-minimal", ServerMessage::IceServers(IceServers::new(vec![]))),
    ]
}

fn ice_servers() -> IceServers<'static> {
    let stun = IceServer::new(vec!["stun:stun.example.test".into()]);
    let turn = IceServer::new(vec!["turn:turn.example.test".into(), "turns:turn.example.test".into()])
        .with_username(Cow::from("1767229200:9f2c7a51"))
        .with_credential(Secret::from("OZnEjnitJUyL4XE5d3P3wJE2TeI="));
    IceServers::new(vec![stun, turn]).with_expires_at(at(3_600_000))
}

fn room_messages() -> Vec<Sample<ServerMessage<'static>>> {
    let members = vec![RoomMember::new(user(1), vec![device("phone"), device("laptop")])];
    let joined = MemberJoined::new(room(), user(1), device("phone"));
    let left = MemberLeft::new(room(), user(1), device("phone"));
    vec![
        ("room_members", ServerMessage::RoomMembers(RoomMembers::new(room(), 1, Some(members)))),
        ("room_members-minimal", ServerMessage::RoomMembers(RoomMembers::new(room(), 257, None))),
        ("member_joined", ServerMessage::MemberJoined(joined)),
        ("member_left", ServerMessage::MemberLeft(left)),
        ("chat_message", ServerMessage::ChatMessage(stored_chat())),
        ("broadcast", ServerMessage::Broadcast(RelayedBroadcast::new(room(), sender(), payload("[1, 2]")))),
        ("history", ServerMessage::History(history())),
        ("history-minimal", ServerMessage::History(History::new(room(), vec![], false, 2))),
        (
            "room_update",
            ServerMessage::RoomUpdate(RoomUpdate::new(room(), 3, payload(r#"{ "topic": "tea" }"#))),
        ),
        ("room_update-minimal", ServerMessage::RoomUpdate(RoomUpdate::new(room(), 0, payload("null")))),
    ]
}

fn history() -> History<'static> {
    let named = HistoryMessage::new(Some(id("m-7")), at(7), stored_chat());
    let nameless = HistoryMessage::new(None, named.timestamp, stored_chat());
    History::new(room(), vec![named, nameless], true, 2).with_last_seq(42)
}

fn stored_chat() -> StoredChatMessage<'static> {
    StoredChatMessage::new(room(), 42, sender(), chat())
}

fn mailbox_messages() -> Vec<Sample<ServerMessage<'static>>> {
    let message = MailboxMessage::new(
        message_id(1),
        42,
        user(1),
        device("phone"),
        user(2),
        vec![0, 1, 254, 255].into(),
        at(1),
    )
    .with_delivered_at(at(2))
    .with_read_at(at(3));
    let receipt = Receipt::new(message_ids()).with_delivered_at(at(2)).with_read_at(at(3));
    vec![
        (
            "message-minimal",
            ServerMessage::Message(message.clone().with_delivered_at(None).with_read_at(None)),
        ),
        ("message", ServerMessage::Message(message)),
        ("synced", ServerMessage::Synced(Synced::new(42, 2, true))),
        (
            "receipt-minimal",
            ServerMessage::Receipt(receipt.clone().with_delivered_at(None).with_read_at(None)),
        ),
        ("receipt", ServerMessage::Receipt(receipt)),
    ]
}

fn notices() -> Vec<Sample<ServerMessage<'static>>> {
    vec![
        (
            "presence",
            ServerMessage::Presence(
                Presence::new(user(1), Status::Busy, 2)
                    .with_note(Cow::from("in a call"))
                    .with_last_seen(at(0)),
            ),
        ),
        ("presence-minimal", ServerMessage::Presence(Presence::new(user(1), Status::Offline, 0))),
        (
            "alert",
            ServerMessage::Alert(
                Alert::new(AlertKind::RotationStarted)
                    .with_device_id(device("phone"))
                    .with_fingerprint(fingerprint())
                    .with_sequence(1)
                    .with_hash(Hash([7; 32])),
            ),
        ),
        ("alert-minimal", ServerMessage::Alert(Alert::new(AlertKind::PasswordChanged))),
        (
            "contact_request",
            ServerMessage::ContactRequest(
                ContactRequest::new(user(1)).with_label(ContactLabel::new("Ann (work)").unwrap()),
            ),
        ),
        ("contact_request-minimal", ServerMessage::ContactRequest(ContactRequest::new(user(1)))),
        ("room_invite", ServerMessage::RoomInvite(RoomInvite::new(room(), user(1)))),
        ("server_draining", ServerMessage::ServerDraining(ServerDraining { reconnect_after: 5 })),
    ]
}

fn auth_response() -> AuthResponse<'static> {
    AuthResponse { public_key: [2; 32], signature: [3; 64], device_id: None, totp_code: None, resume: None }
}

fn resume() -> Resume<'static> {
    Resume { token: "cmVzdW1l".into(), received: 17 }
}

fn signal(kind: SignalKind, target: Target) -> ClientMessage<'static> {
    ClientMessage::Signal(Signal { kind, target, payload: description(), signature: Some(signature()) })
}

fn signature() -> SignalSignature {
    SignalSignature { signature: [4; 64], created_at_ms: 1_767_225_600_000 }
}

fn sender() -> Sender {
    Sender::new(device("phone"), user(1)).with_fingerprint(fingerprint())
}

fn description() -> Payload<'static> {
    payload(r#"{ "sdp" : "v=0\r\n",  "type":"offer" }"#)
}

fn chat() -> Payload<'static> {
    payload(r#"{"content": "grüße \u00fc"}"#)
}

fn payload(json: &'static str) -> Payload<'static> {
    Payload::from_json(json).unwrap()
}

fn id(text: &str) -> RequestId {
    text.parse().unwrap()
}

fn device(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn room() -> RoomId {
    "lobby".parse().unwrap()
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

fn user_refs() -> Vec<UserRef> {
    vec![UserRef::Id(user(1)), UserRef::Fingerprint(fingerprint())]
}

fn message_id(number: u128) -> MessageId {
    MessageId::new(Uuid::from_u128(number))
}

fn message_ids() -> Vec<MessageId> {
    vec![message_id(1), message_id(2)]
}

fn fingerprint() -> Fingerprint {
    Fingerprint::of_first_key(&[1; 32])
}

fn at(offset_ms: i64) -> Timestamp {
    Timestamp::from_ms(1_767_225_600_000 + offset_ms)
}
