//! Every message there can be.

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
use proptest::{
    array::{uniform, uniform32},
    collection::vec,
    option::of,
    prelude::*,
    sample::select,
};
use uuid::Uuid;

pub(crate) fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    (request_id(), any::<bool>(), client_message()).prop_map(|(id, has_id, message)| {
        let has_id = has_id || matches!(message, ClientMessage::Message(_));
        ClientFrame { id: has_id.then_some(id), message }
    })
}

fn client_message() -> impl Strategy<Value = ClientMessage<'static>> {
    prop_oneof![
        auth_response().prop_map(ClientMessage::AuthResponse),
        auth().prop_map(ClientMessage::Auth),
        signal().prop_map(ClientMessage::Signal),
        Just(ClientMessage::IceServers),
        of(room()).prop_map(|room| ClientMessage::Join(Join { room })),
        of(room()).prop_map(|room| ClientMessage::Leave(Leave { room })),
        (of(room()), chat())
            .prop_map(|(room, payload)| ClientMessage::ChatMessage(ChatMessage { room, payload })),
        (of(room()), payload())
            .prop_map(|(room, payload)| ClientMessage::Broadcast(Broadcast { room, payload })),
        (of(room()), seq(), limit()).prop_map(|(room, since_seq, limit)| {
            ClientMessage::History(HistoryRequest { room, since_seq, limit })
        }),
        (user_ref(), content()).prop_map(|(recipient, content)| {
            ClientMessage::Message(EncryptedMessage { recipient, encrypted_content: content.into() })
        }),
        (seq(), limit()).prop_map(|(since_seq, limit)| ClientMessage::Sync(Sync { since_seq, limit })),
        message_ids().prop_map(|message_ids| ClientMessage::Delivered(Delivered { message_ids })),
        message_ids().prop_map(|message_ids| ClientMessage::Read(Read { message_ids })),
        (status(), of("[^\0]{0,140}")).prop_map(|(status, note)| {
            ClientMessage::Presence(SetPresence { status, note: note.map(Into::into) })
        }),
        vec(user_ref(), 0..5)
            .prop_map(|user_ids| ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids })),
        vec(user_ref(), 0..5)
            .prop_map(|user_ids| ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids })),
        seq().prop_map(|count| ClientMessage::Received(Received { count })),
        Just(ClientMessage::Ping),
    ]
}

pub(crate) fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    (of(request_id()), time(), server_message()).prop_map(|(id, timestamp, message)| ServerFrame {
        id,
        timestamp,
        message,
    })
}

fn server_message() -> impl Strategy<Value = ServerMessage<'static>> {
    prop_oneof![handshake(), reply(), relayed(), about_rooms(), mailbox(), notice()]
}

fn handshake() -> impl Strategy<Value = ServerMessage<'static>> {
    prop_oneof![
        (bytes32(), any::<String>(), any::<u64>()).prop_map(|(challenge, audience, expires_at_ms)| {
            ServerMessage::AuthChallenge(AuthChallenge {
                challenge,
                audience: audience.into(),
                expires_at_ms,
            })
        }),
        (user(), device(), of(time())).prop_map(|(user_id, device_id, expires_at)| {
            ServerMessage::AuthSuccess(AuthSuccess { user_id, device_id, expires_at })
        }),
        (error_code(), any::<String>(), of(rotation())).prop_map(|(code, message, rotation)| {
            ServerMessage::AuthFailure(AuthFailure { code, message: message.into(), rotation })
        }),
        connected().prop_map(ServerMessage::Connected),
        (any::<String>(), time()).prop_map(|(reason, expires_at)| {
            ServerMessage::AuthRequired(AuthRequired { reason: reason.into(), expires_at })
        }),
    ]
}

fn connected() -> impl Strategy<Value = Connected<'static>> {
    let session = (any::<u128>(), secret(), any::<u64>(), any::<bool>(), any::<u64>());
    (device(), user(), any::<String>(), session, uniform::<_, 5>(any::<u64>())).prop_map(
        |(device_id, user_id, message, (id, resume_token, resume_window, resumed, replayed), numbers)| {
            let [interval, timeout, message_bytes, content_bytes, requests] = numbers;
            Connected {
                device_id,
                user_id,
                message: message.into(),
                session: SessionInfo {
                    id: SessionId::new(Uuid::from_u128(id)),
                    resume_token,
                    resume_window,
                    resumed,
                    replayed,
                },
                heartbeat: Heartbeat { interval, timeout },
                limits: SessionLimits::new(message_bytes, content_bytes, requests),
            }
        },
    )
}

fn reply() -> impl Strategy<Value = ServerMessage<'static>> {
    let ack = (
        any::<String>(),
        select(AckStatus::ALL),
        of(seq()),
        of(message_id()),
        of(vec(device(), 1..4)),
        of(any::<bool>()),
    );
    let error = (error_code(), any::<String>(), of(any::<bool>()), of(any::<u64>()), of(any::<u16>()));
    prop_oneof![
        ack.prop_map(|(message, status, seq, message_id, devices, duplicate)| {
            ServerMessage::Ack(
                Ack::new(status, message)
                    .with_seq(seq)
                    .with_message_id(message_id)
                    .with_devices(devices)
                    .with_duplicate(duplicate),
            )
        }),
        error.prop_map(|(code, message, reconnect, retry_after, close)| {
            ServerMessage::Error(ErrorReply { code, message: message.into(), reconnect, retry_after, close })
        }),
        Just(ServerMessage::Pong),
    ]
}

fn relayed() -> impl Strategy<Value = ServerMessage<'static>> {
    prop_oneof![
        (signal_kind(), sender(), payload(), of(signature())).prop_map(
            |(kind, sender, payload, signature)| {
                ServerMessage::Signal(RelayedSignal::new(kind, sender, payload).with_signature(signature))
            }
        ),
        (vec(ice_server(), 0..3), of(time())).prop_map(|(ice_servers, expires_at)| {
            ServerMessage::IceServers(IceServers::new(ice_servers).with_expires_at(expires_at))
        }),
        (room(), sender(), payload()).prop_map(|(room, sender, payload)| {
            ServerMessage::Broadcast(RelayedBroadcast::new(room, sender, payload))
        }),
        (user(), status(), of(any::<String>()), any::<u32>(), of(time())).prop_map(
            |(user_id, status, note, devices, last_seen)| {
                ServerMessage::Presence(
                    Presence::new(user_id, status, devices)
                        .with_note(note.map(Into::into))
                        .with_last_seen(last_seen),
                )
            }
        ),
    ]
}

fn about_rooms() -> impl Strategy<Value = ServerMessage<'static>> {
    prop_oneof![
        (room(), vec(room_member(), 0..3)).prop_map(|(room, members)| {
            ServerMessage::RoomMembers(RoomMembers::new(room, members.len() as u64, Some(members)))
        }),
        (room(), 257..1_000_000_u64)
            .prop_map(|(room, count)| ServerMessage::RoomMembers(RoomMembers::new(room, count, None))),
        (room(), user(), device()).prop_map(|(room, user_id, device_id)| {
            ServerMessage::MemberJoined(MemberJoined::new(room, user_id, device_id))
        }),
        (room(), user(), device()).prop_map(|(room, user_id, device_id)| {
            ServerMessage::MemberLeft(MemberLeft::new(room, user_id, device_id))
        }),
        stored_chat().prop_map(ServerMessage::ChatMessage),
        (room(), vec(history_message(), 0..3), any::<bool>(), seq(), of(seq())).prop_map(
            |(room, messages, complete, first_seq, last_seq)| {
                ServerMessage::History(
                    History::new(room, messages, complete, first_seq).with_last_seq(last_seq),
                )
            }
        ),
        (room(), any::<u64>(), payload()).prop_map(|(room, revision, state)| {
            ServerMessage::RoomUpdate(RoomUpdate::new(room, revision, state))
        }),
    ]
}

fn mailbox() -> impl Strategy<Value = ServerMessage<'static>> {
    let message = (message_id(), seq(), user(), device(), user(), content(), time(), of(time()), of(time()));
    prop_oneof![
        message.prop_map(
            |(message_id, seq, sender, device, recipient, content, created, delivered, read)| {
                ServerMessage::Message(
                    MailboxMessage::new(message_id, seq, sender, device, recipient, content.into(), created)
                        .with_delivered_at(delivered)
                        .with_read_at(read),
                )
            }
        ),
        (seq(), seq(), any::<bool>()).prop_map(|(seq, first_seq, complete)| ServerMessage::Synced(
            Synced::new(seq, first_seq, complete)
        )),
        (message_ids(), of(time()), of(time())).prop_map(|(message_ids, delivered_at, read_at)| {
            ServerMessage::Receipt(
                Receipt::new(message_ids).with_delivered_at(delivered_at).with_read_at(read_at),
            )
        }),
    ]
}

fn notice() -> impl Strategy<Value = ServerMessage<'static>> {
    prop_oneof![
        (select(AlertKind::ALL), of(device()), of(bytes32()), of(any::<u64>()), of(bytes32())).prop_map(
            |(kind, device_id, fingerprint, sequence, hash)| {
                let (fingerprint, hash) = (fingerprint.map(Fingerprint), hash.map(Hash));
                ServerMessage::Alert(
                    Alert::new(kind)
                        .with_device_id(device_id)
                        .with_fingerprint(fingerprint)
                        .with_sequence(sequence)
                        .with_hash(hash),
                )
            }
        ),
        (user(), of(label())).prop_map(|(user_id, label)| ServerMessage::ContactRequest(
            ContactRequest::new(user_id).with_label(label)
        )),
        (room(), user())
            .prop_map(|(room, user_id)| ServerMessage::RoomInvite(RoomInvite::new(room, user_id))),
        any::<u64>()
            .prop_map(|reconnect_after| ServerMessage::ServerDraining(ServerDraining { reconnect_after })),
    ]
}

fn auth_response() -> impl Strategy<Value = AuthResponse<'static>> {
    (bytes32(), bytes64(), of(device()), of(secret()), of(resume())).prop_map(
        |(public_key, signature, device_id, totp_code, resume)| AuthResponse {
            public_key,
            signature,
            device_id,
            totp_code,
            resume,
        },
    )
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    (of(secret()), of(device()), of(resume())).prop_map(|(token, device_id, resume)| Auth {
        token,
        device_id,
        resume,
    })
}

fn resume() -> impl Strategy<Value = Resume<'static>> {
    (secret(), 0..aldis_protocol::limits::SEQUENCE_LIMIT)
        .prop_map(|(token, received)| Resume { token, received })
}

fn rotation() -> impl Strategy<Value = PendingRotation> {
    (any::<u64>(), bytes32(), time()).prop_map(|(sequence, hash, cancellation_deadline)| {
        PendingRotation::new(sequence, Hash(hash), cancellation_deadline)
    })
}

fn signal() -> impl Strategy<Value = Signal<'static>> {
    let target = prop_oneof![device().prop_map(Target::Device), user_ref().prop_map(Target::User)];
    (signal_kind(), target, payload(), of(signature()))
        .prop_map(|(kind, target, payload, signature)| Signal { kind, target, payload, signature })
}

fn signal_kind() -> impl Strategy<Value = SignalKind> {
    select(&[SignalKind::Offer, SignalKind::Answer, SignalKind::IceCandidate, SignalKind::Signal][..])
}

fn signature() -> impl Strategy<Value = SignalSignature> {
    (bytes64(), seq()).prop_map(|(signature, created_at_ms)| SignalSignature { signature, created_at_ms })
}

fn sender() -> impl Strategy<Value = Sender> {
    (device(), user(), of(bytes32())).prop_map(|(device_id, user_id, fingerprint)| {
        Sender::new(device_id, user_id).with_fingerprint(fingerprint.map(Fingerprint))
    })
}

fn ice_server() -> impl Strategy<Value = IceServer<'static>> {
    (vec(any::<String>(), 0..3), of(any::<String>()), of(secret())).prop_map(
        |(urls, username, credential)| {
            IceServer::new(urls.into_iter().map(Into::into).collect())
                .with_username(username.map(Into::into))
                .with_credential(credential)
        },
    )
}

fn room_member() -> impl Strategy<Value = RoomMember> {
    (user(), vec(device(), 0..3)).prop_map(|(user_id, device_ids)| RoomMember::new(user_id, device_ids))
}

fn history_message() -> impl Strategy<Value = HistoryMessage<'static>> {
    (of(request_id()), time(), stored_chat())
        .prop_map(|(id, timestamp, message)| HistoryMessage::new(id, timestamp, message))
}

fn stored_chat() -> impl Strategy<Value = StoredChatMessage<'static>> {
    (room(), seq(), sender(), chat())
        .prop_map(|(room, seq, sender, payload)| StoredChatMessage::new(room, seq, sender, payload))
}

fn chat() -> impl Strategy<Value = Payload<'static>> {
    any::<String>().prop_map(|content| Payload::of(&serde_json::json!({ "content": content })).unwrap())
}

fn payload() -> impl Strategy<Value = Payload<'static>> {
    json_text().prop_map(|text| Payload::from_json(&text).unwrap().into_owned())
}

/// A JSON value with white space wherever it may stand inside.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let space = || "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        select(&["null", "true", "false", "0", "-1.50e+3", "1e999", r#""\ud800\u0000""#, "[]", "{}"][..])
            .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let spaced = (space(), inner, space()).prop_map(|(before, value, after)| before + &value + &after);
        let key = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let entry = (key, spaced.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
        prop_oneof![
            vec(spaced, 1..4).prop_map(|values| format!("[{}]", values.join(","))),
            vec(entry, 1..4).prop_map(|entries| format!("{{{}}}", entries.join(","))),
        ]
    })
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..100)
}

fn secret() -> impl Strategy<Value = Secret<'static>> {
    any::<String>().prop_map(Secret::from)
}

fn status() -> impl Strategy<Value = Status> {
    select(Status::ALL)
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    select(ErrorCode::ALL)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn device() -> impl Strategy<Value = DeviceId> {
    prop_oneof![
        "[A-Za-z0-9._:-]{1,64}".prop_map(|text| text.parse().unwrap()),
        uniform::<_, 16>(any::<u8>()).prop_map(|random| {
            DeviceId::ephemeral(
                uuid::Builder::from_bytes(random).with_version(uuid::Version::SortRand).into_uuid(),
            )
        }),
    ]
}

fn room() -> impl Strategy<Value = RoomId> {
    "[A-Za-z0-9._:-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn user() -> impl Strategy<Value = UserId> {
    any::<u128>().prop_map(|id| UserId::new(Uuid::from_u128(id)))
}

fn user_ref() -> impl Strategy<Value = UserRef> {
    prop_oneof![
        user().prop_map(UserRef::Id),
        bytes32().prop_map(|hash| UserRef::Fingerprint(Fingerprint(hash)))
    ]
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<u128>().prop_map(|id| MessageId::new(Uuid::from_u128(id)))
}

fn message_ids() -> impl Strategy<Value = Vec<MessageId>> {
    vec(message_id(), 0..5)
}

fn seq() -> impl Strategy<Value = u64> {
    0..1_u64 << 53
}

fn limit() -> impl Strategy<Value = Option<u32>> {
    of(1..=u32::MAX)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_ms)
}

fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    uniform32(any::<u8>())
}

fn bytes64() -> impl Strategy<Value = [u8; 64]> {
    (bytes32(), bytes32()).prop_map(|(first, second)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        bytes
    })
}

fn label() -> impl Strategy<Value = ContactLabel> {
    "[ -~à-ÿ\"\\\\]{1,80}".prop_map(|text| ContactLabel::new(&text).unwrap())
}
