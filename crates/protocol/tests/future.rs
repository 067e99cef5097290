//! A peer from the future: what a newer version sends that this one does not know (docs/protocol/evolution.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

use aldis_protocol::{
    AckStatus, AlertKind, Codec, DecodeError, ErrorCode, MessageKind, RequestId, ServerFrame, ServerMessage,
    Status, schema,
};
use bytes::Bytes;
use prost::Message as _;
use schema::{Envelope, envelope::Body};

const AT: &str = "2026-01-01T00:00:00.000Z";
const AT_MS: i64 = 1_767_225_600_000;
const USER: &str = "00000000-0000-0000-0000-000000000001";
/// Bodies of a version with a hundred more types.
const NEW_BODY: u32 = 158;

/// A frame of a server, with these members beside its head.
fn json(kind: &str, members: &str) -> Bytes {
    format!(r#"{{"type":"{kind}","id":"m-1","timestamp":"{AT}"{members}}}"#).into()
}

fn proto(body: Body) -> Bytes {
    let envelope = Envelope {
        request_id: Some("m-1".to_owned()),
        timestamp_ms: AT_MS,
        body: Some(body),
        ..Envelope::default()
    };
    envelope.encode_to_vec().into()
}

/// A frame with a body that the schema does not have: a text of two bytes.
fn new_proto(uncounted: bool) -> Bytes {
    let envelope = Envelope {
        request_id: Some("m-1".to_owned()),
        timestamp_ms: AT_MS,
        uncounted,
        ..Envelope::default()
    };
    let mut frame = envelope.encode_to_vec();
    with_text(&mut frame, NEW_BODY);
    frame.into()
}

/// A field that holds a text of two bytes.
fn with_text(frame: &mut Vec<u8>, number: u32) {
    prost::encode_length_delimiter((number << 3 | 2) as usize, frame).unwrap();
    frame.extend_from_slice(&[2, b'h', b'i']);
}

#[track_caller]
fn from_server(codec: Codec, frame: &Bytes) -> ServerFrame<'static> {
    codec.decode_server(frame).unwrap_or_else(|error| panic!("{codec:?}: {error}")).into_owned()
}

#[track_caller]
fn from_client(codec: Codec, frame: &Bytes) -> DecodeError {
    codec.decode_client(frame).unwrap_err()
}

#[test]
fn a_type_of_a_newer_server_keeps_its_name_and_id() {
    let texts = [
        (json("reaction", r#","emoji":"+1","payload":{"deep":[[1]]}"#), false),
        (json("reaction", r#","uncounted":null"#), false),
        (json("reaction", r#","uncounted":true"#), true),
    ];
    for (frame, uncounted) in texts {
        assert_unknown(Codec::Json, &frame, "reaction", uncounted);
    }
    for uncounted in [false, true] {
        assert_unknown(Codec::Proto, &new_proto(uncounted), "158", uncounted);
    }
}

#[track_caller]
fn assert_unknown(codec: Codec, bytes: &Bytes, kind: &str, uncounted: bool) {
    let frame = from_server(codec, bytes);
    assert_eq!((frame.id.clone(), frame.timestamp.as_ms()), (RequestId::new("m-1").ok(), AT_MS));
    assert_eq!((frame.message.kind(), frame.message.is_counted()), (None, !uncounted));
    let ServerMessage::Unknown(message) = frame.message else { panic!("{frame:?}") };
    assert_eq!((message.kind.as_str(), message.uncounted), (kind, uncounted));
    assert_eq!(from_server(codec, &codec.encode_server(&frame)), frame);
}

/// A newer server may send what today only clients say.
#[test]
fn a_type_that_only_clients_send_is_unknown_from_a_server() {
    assert_unknown(Codec::Json, &json("join", r#","room":7"#), "join", false);
    let number =
        (MessageKind::ALL.iter().position(|kind| *kind == MessageKind::Join).unwrap() + 20).to_string();
    assert_unknown(Codec::Proto, &proto(Body::Join(schema::Join {})), &number, false);
}

#[test]
fn a_type_of_a_newer_client_is_refused_with_its_id() {
    for codec in Codec::ALL {
        let frame = match codec {
            Codec::Json => json("reaction", r#","emoji":"+1","uncounted":true"#),
            Codec::Proto => new_proto(true),
        };
        let error = from_client(codec, &frame);
        assert_eq!(
            (error.code, error.id, error.kind),
            (ErrorCode::UnknownType, RequestId::new("m-1").ok(), None)
        );
    }
}

#[test]
fn words_of_a_newer_server_are_kept() {
    let ack = schema::Ack { status: "postponed".to_owned(), ..schema::Ack::default() };
    let alert = schema::Alert { kind: "keys_low".to_owned(), ..schema::Alert::default() };
    let error = schema::Error { code: "too_early".to_owned(), ..schema::Error::default() };
    let failure = schema::AuthFailure { code: "too_early".to_owned(), ..schema::AuthFailure::default() };
    let presence = schema::Presence {
        status: "asleep".to_owned(),
        user_id: USER.to_owned(),
        ..schema::Presence::default()
    };
    let presence_members =
        format!(r#","user_id":"{USER}","status":"asleep","note":null,"devices":1,"last_seen":null"#);
    let cases = [
        ("postponed", json("ack", r#","message":"","status":"postponed""#), proto(Body::Ack(ack))),
        ("keys_low", json("alert", r#","payload":{"kind":"keys_low"}"#), proto(Body::Alert(alert))),
        (
            "too_early",
            json("error", r#","payload":{"code":"too_early","message":""}"#),
            proto(Body::Error(error)),
        ),
        (
            "too_early",
            json("auth_failure", r#","code":"too_early","message":"-""#),
            proto(Body::AuthFailure(failure)),
        ),
        ("asleep", json("presence", &presence_members), proto(Body::Presence(presence))),
    ];
    for (word, json, proto) in cases {
        for (codec, frame) in [(Codec::Json, json), (Codec::Proto, proto)] {
            let frame = from_server(codec, &frame);
            assert_eq!(unknown_word(&frame.message), word, "{codec:?}");
            for to in Codec::ALL {
                assert_eq!(
                    from_server(to, &to.encode_server(&frame)),
                    frame,
                    "{word} from {codec:?} to {to:?}"
                );
            }
        }
    }
}

fn unknown_word(message: &ServerMessage<'_>) -> String {
    let word = match message {
        ServerMessage::Ack(ack) if !AckStatus::ALL.contains(&ack.status) => ack.status.as_str(),
        ServerMessage::Alert(alert) if !AlertKind::ALL.contains(&alert.kind) => alert.kind.as_str(),
        ServerMessage::Error(error) if !ErrorCode::ALL.contains(&error.code) => error.code.as_str(),
        ServerMessage::AuthFailure(failure) if !ErrorCode::ALL.contains(&failure.code) => {
            failure.code.as_str()
        }
        ServerMessage::Presence(presence) if !Status::ALL.contains(&presence.status) => {
            presence.status.as_str()
        }
        other => panic!("{other:?}"),
    };
    word.to_owned()
}

#[test]
fn words_of_a_newer_client_are_refused() {
    let presence = schema::Presence { status: "asleep".to_owned(), ..schema::Presence::default() };
    for (codec, frame) in [
        (Codec::Json, json("presence", r#","status":"asleep""#)),
        (Codec::Proto, proto(Body::Presence(presence))),
    ] {
        let error = from_client(codec, &frame);
        assert_eq!((error.code, error.id), (ErrorCode::BadRequest, RequestId::new("m-1").ok()), "{codec:?}");
        assert!(error.message.contains("`status`") && error.message.contains("`away`"), "{}", error.message);
    }
}

#[test]
fn fields_of_a_newer_peer_are_ignored() {
    let members = r#","message":"done","status":"done","priority":{"level":[1,"high"]},"seq_hash":"00""#;
    let mut ack = proto(Body::Ack(schema::Ack {
        message: "done".to_owned(),
        status: "done".to_owned(),
        ..schema::Ack::default()
    }))
    .to_vec();
    with_text(&mut ack, 19);
    let [json_ack, proto_ack] = [(Codec::Json, json("ack", members)), (Codec::Proto, ack.into())]
        .map(|(codec, frame)| from_server(codec, &frame));
    assert_eq!(json_ack, proto_ack);

    let mut ping = proto(Body::Ping(schema::Ping {})).to_vec();
    with_text(&mut ping, 19);
    for (codec, frame) in [(Codec::Json, json("ping", r#","urgent":true"#)), (Codec::Proto, ping.into())] {
        assert_eq!(codec.decode_client(&frame).unwrap().message.kind(), MessageKind::Ping);
    }
}

#[test]
fn what_has_not_the_form_of_a_type_is_refused() {
    for name in ["", "Reaction", "a type", &"x".repeat(33)] {
        let error = Codec::Json.decode_server(&json(name, "")).unwrap_err();
        assert_eq!((error.code, error.id), (ErrorCode::UnknownType, RequestId::new("m-1").ok()), "{name}");
    }
}
