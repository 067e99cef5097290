//! What a client may get wrong, and what it is told.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_protocol::{
    Auth, AuthResponse, ClientFrame, ClientMessage, Codec, DecodeError, ErrorCode, MessageKind, RequestId,
};
use bytes::Bytes;

#[track_caller]
fn refused(text: &str) -> DecodeError {
    Codec::Json.decode_client(&Bytes::copy_from_slice(text.as_bytes())).unwrap_err()
}

#[track_caller]
fn bad_request(text: &str, about: &str) {
    let error = refused(text);
    assert_eq!(error.code, ErrorCode::BadRequest, "{text}");
    assert!(error.message.contains(about), "{text}: {} does not name {about}", error.message);
}

#[track_caller]
fn understood(text: &str, check: impl Fn(ClientFrame<'_>)) {
    check(Codec::Json.decode_client(&Bytes::copy_from_slice(text.as_bytes())).unwrap());
}

#[test]
fn a_frame_is_one_json_object() {
    for text in
        ["", " ", "1", "null", "[]", "\"ping\"", "{", "{}{}", r#"{"type":"ping"}x"#, r#"{"type":"ping",}"#]
    {
        assert_eq!(refused(text).code, ErrorCode::BadRequest, "{text}");
    }
    bad_request("\u{feff}{\"type\":\"ping\"}", "line 1 column 1");
    let not_utf8 = Bytes::from_static(b"{\"type\":\"ping\",\"x\":\"\xff\"}");
    assert_eq!(Codec::Json.decode_client(&not_utf8).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn the_type_is_known_and_a_clients() {
    bad_request("{}", "`type`");
    bad_request(r#"{"type":1}"#, "`type`");
    bad_request(r#"{"type":null}"#, "`type`");
    for name in ["", "Ping", "ice_candidate", "ack", "pong", "connected"] {
        let error = refused(&format!(r#"{{"id":"m-1","type":"{name}"}}"#));
        assert_eq!(error.code, ErrorCode::UnknownType, "{name}");
        assert_eq!(error.id, RequestId::new("m-1").ok(), "{name}");
    }
}

#[test]
fn names_may_be_escaped() {
    understood(r#"{"\u0074ype":"p\u0069ng","\u0069d":"\u006d-1"}"#, |frame| {
        assert_eq!(frame, ClientFrame { id: RequestId::new("m-1").ok(), message: ClientMessage::Ping });
    });
    bad_request(r#"{"type":"ping","\u0073ender_user_id":"x"}"#, "sender_user_id");
}

#[test]
fn an_invalid_id_is_answered_without_one() {
    for id in ["\"\"", "\"a b\"", "1", "\"m.1\"", "\"\\u0000\""] {
        let error = refused(&format!(r#"{{"type":"join","id":{id}}}"#));
        assert_eq!((error.code, error.id), (ErrorCode::BadRequest, None), "{id}");
        assert!(error.message.contains("`id`"), "{}", error.message);
    }
}

#[test]
fn an_error_has_what_was_understood() {
    let error = refused(r#"{"room":7,"id":"m-1","type":"join"}"#);
    assert_eq!(error.id, RequestId::new("m-1").ok());
    assert_eq!(error.kind, Some(MessageKind::Join));
    assert!(error.message.contains("`room`"), "{}", error.message);
}

#[test]
fn null_is_as_absent() {
    understood(r#"{"type":"ping","id":null}"#, |frame| assert_eq!(frame.id, None));
    understood(r#"{"type":"history","room":null,"since_seq":null,"limit":null}"#, |frame| {
        let ClientMessage::History(history) = frame.message else { panic!() };
        assert_eq!((history.room, history.since_seq, history.limit), (None, 0, None));
    });
    understood(
        r#"{"type":"offer","target_device_id":"a","target_user_id":null,"payload":null,"signature":null,"created_at_ms":null}"#,
        |frame| {
            let ClientMessage::Signal(signal) = frame.message else { panic!() };
            assert_eq!((signal.payload.as_bytes(), signal.signature), (&b"null"[..], None));
        },
    );
    bad_request(r#"{"type":"received","count":null}"#, "`count`");
}

#[test]
fn missing_and_mistyped_fields_are_named() {
    bad_request(r#"{"type":"received"}"#, "`count`");
    bad_request(r#"{"type":"offer","payload":{}}"#, "`target_device_id`");
    bad_request(r#"{"type":"offer","target_device_id":"a"}"#, "`payload`");
    bad_request(
        r#"{"type":"offer","target_device_id":"a","target_user_id":"6a3803d5-f059-902a-1c6d-afbc9ba47292","payload":{}}"#,
        "both",
    );
    bad_request(r#"{"type":"offer","target_device_id":"a b","payload":{}}"#, "`target_device_id`");
    bad_request(r#"{"type":"offer","target_device_id":"a","payload":{},"created_at_ms":1}"#, "`signature`");
    bad_request(r#"{"type":"auth","payload":{"token":5}}"#, "`payload.token`");
    bad_request(r#"{"type":"auth_response","public_key":"AA==","signature":""}"#, "`public_key`");
    bad_request(r#"{"type":"chat_message","payload":{"content":5}}"#, "`payload`");
    bad_request(r#"{"type":"chat_message","payload":"hello"}"#, "`payload`");
    bad_request(r#"{"type":"presence","status":"gone"}"#, "`status`");
    bad_request(r#"{"type":"delivered","message_ids":["x"]}"#, "`message_ids[0]`");
    bad_request(
        r#"{"type":"message","recipient_id":"6a3803d5-f059-902a-1c6d-afbc9ba47292","encrypted_content":"AA=="}"#,
        "`id`",
    );
    bad_request(
        r#"{"type":"message","id":"m","recipient_id":"6a3803d5-f059-902a-1c6d-afbc9ba47292","encrypted_content":"AA"}"#,
        "`encrypted_content`",
    );
}

#[test]
fn duplicates_of_known_fields_are_refused_and_of_unknown_ones_ignored() {
    bad_request(r#"{"type":"ping","type":"ping"}"#, "`type`");
    bad_request(r#"{"type":"ping","id":"a","id":"a"}"#, "`id`");
    bad_request(r#"{"type":"ping","timestamp":1,"timestamp":1}"#, "`timestamp`");
    bad_request(r#"{"type":"join","room":"a","room":"a"}"#, "`room`");
    bad_request(r#"{"type":"join","room":"a","\u0072oom":"a"}"#, "`room`");
    bad_request(r#"{"type":"offer","target_device_id":"a","payload":1,"payload":1}"#, "`payload`");
    bad_request(r#"{"type":"auth","payload":{"token":"a","token":"a"}}"#, "`token`");
    bad_request(r#"{"type":"chat_message","payload":{"content":"a","content":"a"}}"#, "`content`");
    understood(r#"{"type":"ping","x":1,"x":2}"#, |frame| assert_eq!(frame.message, ClientMessage::Ping));
}

#[test]
fn what_only_servers_set_is_refused() {
    for name in ["sender_device_id", "sender_user_id", "sender_fingerprint", "sender_of_tomorrow"] {
        for value in ["\"x\"", "\"\"", "0", "false", "[]", "{}"] {
            bad_request(&format!(r#"{{"type":"ping","id":"m","{name}":{value}}}"#), name);
        }
    }
    understood(r#"{"type":"ping","timestamp":"yesterday"}"#, |frame| {
        assert_eq!(frame.message, ClientMessage::Ping);
    });
}

#[test]
fn a_sender_of_null_was_refused() {
    for name in ["sender_device_id", "sender_user_id", "sender_fingerprint", "sender_of_tomorrow"] {
        understood(&format!(r#"{{"type":"ping","{name}":null}}"#), |frame| {
            assert_eq!(frame.message, ClientMessage::Ping);
        });
    }
}

#[test]
fn whole_numbers_written_as_floats_were_refused() {
    for number in ["3.0", "3e0", "0.3e1"] {
        understood(
            &format!(r#"{{"type":"history","room":"a","since_seq":{number},"limit":{number}}}"#),
            |frame| {
                let ClientMessage::History(history) = frame.message else { panic!() };
                assert_eq!((history.since_seq, history.limit), (3, Some(3)));
            },
        );
        understood(&format!(r#"{{"type":"received","count":{number}}}"#), |frame| {
            let ClientMessage::Received(received) = frame.message else { panic!() };
            assert_eq!(received.count, 3);
        });
        let resume =
            format!(r#"{{"type":"auth","payload":{{"resume":{{"token":"t","received":{number}}}}}}}"#);
        understood(&resume, |frame| {
            let ClientMessage::Auth(auth) = frame.message else { panic!() };
            assert_eq!(auth.resume.unwrap().received, 3);
        });
    }
}

#[test]
fn numbers_keep_to_their_range() {
    for number in ["-1", "1.5", "1e-3", "1e16", "9007199254740992", "18446744073709551616", "\"1\"", "true"] {
        bad_request(&format!(r#"{{"type":"sync","since_seq":{number}}}"#), "`since_seq`");
        bad_request(&format!(r#"{{"type":"received","count":{number}}}"#), "`count`");
    }
    understood(r#"{"type":"sync","since_seq":9007199254740991}"#, |frame| {
        let ClientMessage::Sync(sync) = frame.message else { panic!() };
        assert_eq!(sync.since_seq, 9_007_199_254_740_991);
    });
    bad_request(r#"{"type":"sync","limit":0}"#, "`limit`");
    understood(r#"{"type":"sync","limit":99999999999}"#, |frame| {
        let ClientMessage::Sync(sync) = frame.message else { panic!() };
        assert_eq!(sync.limit, Some(u32::MAX));
    });
}

#[test]
fn lists_keep_to_their_length() {
    let id = "\"6a3803d5-f059-902a-1c6d-afbc9ba47292\"";
    let list = |count: usize| vec![id; count].join(",");
    understood(&format!(r#"{{"type":"read","message_ids":[{}]}}"#, list(500)), |_| {});
    bad_request(&format!(r#"{{"type":"read","message_ids":[{}]}}"#, list(501)), "`message_ids`");
    understood(&format!(r#"{{"type":"presence_subscribe","user_ids":[{}]}}"#, list(100)), |_| {});
    bad_request(&format!(r#"{{"type":"presence_subscribe","user_ids":[{}]}}"#, list(101)), "`user_ids`");
}

#[test]
fn texts_are_unicode() {
    bad_request(r#"{"type":"presence","status":"away","note":"\ud800"}"#, "`note`");
    bad_request(r#"{"type":"presence","status":"away","note":"a\u0000"}"#, "`note`");
    bad_request(r#"{"type":"chat_message","payload":{"content":"\udc00"}}"#, "`payload`");
    bad_request(r#"{"type":"join","room":"a\u0000"}"#, "`room`");
    let note =
        |count: usize| format!(r#"{{"type":"presence","status":"away","note":"{}"}}"#, "é".repeat(count));
    understood(&note(140), |_| {});
    bad_request(&note(141), "`note`");
}

#[test]
fn a_payload_is_not_looked_into() {
    let payload = r#"{ "a" : "\ud800\u0000", "a":1e999 , "sender_user_id" : [ ] }"#;
    understood(&format!(r#"{{"type":"offer","target_device_id":"a","payload":{payload}}}"#), |frame| {
        let ClientMessage::Signal(signal) = frame.message else { panic!() };
        assert_eq!(signal.payload.as_bytes(), payload.as_bytes());
    });
}

#[test]
fn nesting_ends_at_128() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"type":"offer","target_device_id":"a","payload":{open}{close}}}"#)
    };
    understood(&nested(128), |_| {});
    bad_request(&nested(129), "128");
    bad_request(&"[".repeat(65_536), "128");
}

#[test]
fn ten_thousand_unknown_fields_are_ignored() {
    let unknown: String = (0..10_000).map(|number| format!(r#","x{number}":{number}"#)).collect();
    understood(&format!(r#"{{"type":"ping"{unknown}}}"#), |frame| {
        assert_eq!(frame.message, ClientMessage::Ping);
    });
}

#[test]
fn content_over_its_limit_is_too_large() {
    let frame = |length: usize| {
        let content = aldis_protocol::binary::encode(&vec![0; length]);
        format!(
            r#"{{"type":"message","id":"m","recipient_id":"{}","encrypted_content":"{content}"}}"#,
            "0a".repeat(32)
        )
    };
    understood(&frame(48_000), |_| {});
    for length in [48_001, 48_002, 48_003, 60_000] {
        assert_eq!(refused(&frame(length)).code, ErrorCode::TooLarge, "{length}");
    }
}

#[test]
fn an_auth_without_token_is_understood() {
    for text in [
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","payload":{}}"#,
        r#"{"type":"auth","payload":{"token":null}}"#,
    ] {
        understood(text, |frame| {
            assert!(matches!(frame.message, ClientMessage::Auth(Auth { token: None, .. })), "{text}");
        });
    }
}

#[test]
fn a_malformed_resume_is_as_an_unknown_one() {
    for resume in [
        "null",
        "5",
        "{}",
        r#"{"token":"t"}"#,
        r#"{"token":"t","received":-1}"#,
        r#"{"token":"a","token":"b"}"#,
    ] {
        understood(&format!(r#"{{"type":"auth","payload":{{"token":"t","resume":{resume}}}}}"#), |frame| {
            assert!(matches!(frame.message, ClientMessage::Auth(Auth { resume: None, .. })), "{resume}");
        });
    }
    let (key, signature) =
        (aldis_protocol::binary::encode(&[1; 32]), aldis_protocol::binary::encode(&[1; 64]));
    let response = format!(
        r#"{{"type":"auth_response","public_key":"{key}","signature":"{signature}","resume":{{"token":7,"received":1}}}}"#
    );
    understood(&response, |frame| {
        assert!(matches!(frame.message, ClientMessage::AuthResponse(AuthResponse { resume: None, .. })));
    });
}

#[test]
fn what_is_quoted_in_an_error_is_bounded() {
    let long = "\\u0001".repeat(10_000);
    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"ping","sender_{long}":1}}"#),
        format!(r#"{{"type":"presence","status":"away","note":["{long}"]}}"#),
        format!(r#"{{"type":"received","count":"{long}"}}"#),
    ] {
        assert!(refused(&text).message.len() < 400, "{}", refused(&text).message.len());
    }
}

mod protobuf {
    use aldis_protocol::schema::{self, Envelope, envelope::Body};
    use prost::Message;

    use super::*;

    #[track_caller]
    fn refused(envelope: &Envelope) -> DecodeError {
        Codec::Proto.decode_client(&envelope.encode_to_vec().into()).unwrap_err()
    }

    #[track_caller]
    fn bad_request(envelope: &Envelope, about: &str) {
        let error = refused(envelope);
        assert_eq!(error.code, ErrorCode::BadRequest, "{}", error.message);
        assert!(error.message.contains(about), "{} does not name {about}", error.message);
    }

    fn of(body: Body) -> Envelope {
        Envelope { request_id: Some("m-1".into()), body: Some(body), ..Envelope::default() }
    }

    fn offer() -> Envelope {
        let signal = schema::Signal { payload: "{}".into(), ..schema::Signal::default() };
        Envelope { target_device_id: Some("a".into()), ..of(Body::Offer(signal)) }
    }

    #[test]
    fn a_frame_has_one_body() {
        let none = Envelope { request_id: Some("m-1".into()), ..Envelope::default() };
        bad_request(&none, "`body`");
        assert_eq!(refused(&none).id, RequestId::new("m-1").ok());
        let two = [
            of(Body::Ping(schema::Ping {})).encode_to_vec(),
            of(Body::Ping(schema::Ping {})).encode_to_vec(),
        ];
        let error = Codec::Proto.decode_client(&two.concat().into()).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert_eq!(Codec::Proto.decode_client(&Bytes::new()).unwrap_err().code, ErrorCode::BadRequest);
    }

    #[test]
    fn the_body_is_known_and_a_clients() {
        // Field 100, with a length.
        let unknown = [&none_with_id()[..], &[0xa2, 0x06, 0x01, 0x00]].concat();
        let error = Codec::Proto.decode_client(&unknown.into()).unwrap_err();
        assert_eq!((error.code, error.id), (ErrorCode::UnknownType, RequestId::new("m-1").ok()));
        let error = refused(&of(Body::Pong(schema::Pong {})));
        assert_eq!((error.code, error.kind), (ErrorCode::UnknownType, Some(MessageKind::Pong)));
    }

    fn none_with_id() -> Vec<u8> {
        Envelope { request_id: Some("m-1".into()), ..Envelope::default() }.encode_to_vec()
    }

    #[test]
    fn unknown_fields_are_ignored() {
        // Fields 15 and, inside the body, 9.
        let frame = [&[0x78, 0x05][..], &[0xc2, 0x03, 0x02, 0x48, 0x01]].concat();
        assert_eq!(Codec::Proto.decode_client(&frame.into()).unwrap().message, ClientMessage::Ping);
    }

    #[test]
    fn ids_keep_to_their_grammar() {
        bad_request(&Envelope { request_id: Some("a b".into()), ..offer() }, "`request_id`");
        bad_request(&Envelope { request_id: Some(String::new()), ..offer() }, "`request_id`");
        bad_request(&Envelope { target_device_id: Some("a b".into()), ..offer() }, "`target_device_id`");
        bad_request(
            &Envelope { target_device_id: None, target_user_id: Some("x".into()), ..offer() },
            "`target_user_id`",
        );
        bad_request(&Envelope { room: Some("a/b".into()), ..of(Body::Join(schema::Join {})) }, "`room`");
    }

    #[test]
    fn what_only_servers_set_is_refused() {
        bad_request(&Envelope { sender_device_id: Some("a".into()), ..offer() }, "`sender_device_id`");
        bad_request(&Envelope { sender_user_id: Some("a".into()), ..offer() }, "`sender_user_id`");
        bad_request(&Envelope { sender_fingerprint: Some(String::new()), ..offer() }, "`sender_fingerprint`");
        let history =
            schema::History { messages: vec![Envelope::default(); 30_000], ..schema::History::default() };
        bad_request(&of(Body::History(history)), "`messages`");
    }

    #[test]
    fn a_payload_is_one_json_value() {
        for payload in ["", "{", "{}{}", "\u{feff}{}", &"[".repeat(129)] {
            let signal = schema::Signal { payload: payload.to_owned().into(), ..schema::Signal::default() };
            bad_request(&Envelope { body: Some(Body::Offer(signal)), ..offer() }, "`payload`");
        }
        let chat = schema::ChatMessage { payload: r#"{"text":"hello"}"#.into() };
        bad_request(&of(Body::ChatMessage(chat)), "`payload`");
    }

    #[test]
    fn limits_are_those_of_json() {
        bad_request(&of(Body::Sync(schema::Sync { since_seq: Some(1 << 53), limit: None })), "`since_seq`");
        bad_request(&of(Body::Sync(schema::Sync { since_seq: None, limit: Some(0) })), "`limit`");
        let content = schema::EncryptedMessage {
            recipient_id: "0a".repeat(32),
            encrypted_content: vec![0; 48_001].into(),
            ..schema::EncryptedMessage::default()
        };
        assert_eq!(refused(&of(Body::Message(content))).code, ErrorCode::TooLarge);
    }

    #[test]
    fn envelopes_nested_without_end_are_refused() {
        let mut envelope = of(Body::Pong(schema::Pong {}));
        for _ in 0..60 {
            let history = schema::History { messages: vec![envelope], ..schema::History::default() };
            envelope = of(Body::History(history));
        }
        assert!(Codec::Proto.decode_server(&envelope.encode_to_vec().into()).is_err());
    }
}
