//! Sizes, malformed messages and broken frames (docs/protocol/doors.md; docs/security.md, "Sockets" and "Bad input").

use aldis_tests::{Frame, Incoming, Peer, RawSocket, TestServer, Upgrade};
use serde_json::json;

fn peer() -> Peer {
    TestServer::shared().user().opens_ephemeral()
}

/// A ping of exactly this many bytes.
fn ping_of(length: usize) -> String {
    let empty = json!({"type": "ping", "padding": ""}).to_string().len();
    json!({"type": "ping", "padding": "x".repeat(length - empty)}).to_string()
}

/// The code with which a session is closed after these bytes.
fn close_after(bytes: &[u8]) -> u16 {
    let mut socket: RawSocket = peer().socket;
    socket.sends_bytes(bytes);
    socket.expects_any_close().0
}

#[test]
fn a_message_has_at_most_64_kib() {
    let mut peer = peer();
    peer.sends_text(&ping_of(65_536));
    peer.expects("pong");
    peer.sends_text(&ping_of(65_537));
    peer.expects_close_code(1009);
}

#[test]
fn the_limit_counts_after_defragmentation() {
    let mut peer = peer();
    let text = ping_of(65_536).into_bytes();
    peer.socket.sends(&Frame::text(&text[..40_000]).unfinished());
    peer.socket.sends(&Frame::continuation(&text[40_000..]));
    peer.expects("pong");

    let text = ping_of(65_537).into_bytes();
    peer.socket.sends(&Frame::text(&text[..40_000]).unfinished());
    peer.socket.sends(&Frame::continuation(&text[40_000..]));
    peer.expects_close_code(1009);
}

#[test]
fn before_authentication_8_kib_are_the_limit() {
    let server = TestServer::shared();
    let user = server.user();
    let auth = |length: usize| {
        let auth = |padding: &str| {
            json!({"type": "auth", "payload": {"token": user.token}, "padding": padding}).to_string()
        };
        auth(&"x".repeat(length - auth("").len()))
    };
    let mut within = Upgrade::to("/v1/connect").peer(&server);
    within.expects("auth_challenge");
    within.sends_text(&auth(8_192));
    within.expects("auth_success");

    for door in ["/v1/connect", "/v1/chat/lobby"] {
        let mut beyond = Upgrade::to(door).open(&server);
        beyond.sends(&Frame::text(auth(8_193)));
        assert_eq!(beyond.expects_any_close().0, 1009, "{door}");
    }
}

#[test]
fn after_authentication_64_kib_are_the_limit_at_socket_doors_too() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = Upgrade::to("/v1/connect").peer(&server);
    peer.expects("auth_challenge");
    peer.sends(json!({"type": "auth", "payload": {"token": user.token}}));
    peer.expects("auth_success");
    peer.expects_connected();
    peer.sends_text(&ping_of(65_536));
    peer.expects("pong");
}

#[test]
fn invalid_utf8_is_1007() {
    assert_eq!(close_after(&Frame::text([b'{', 0xff, b'}']).encode()), 1007);
    let split =
        [Frame::text([0xe2, 0x82]).unfinished().encode(), Frame::continuation([0x28]).encode()].concat();
    assert_eq!(close_after(&split), 1007);
}

#[test]
fn a_character_may_be_split_over_fragments() {
    let mut peer = peer();
    let text = r#"{"type":"ping","note":"€"}"#.as_bytes();
    let middle = text.iter().position(|byte| *byte == 0xe2).unwrap() + 1;
    peer.socket.sends(&Frame::text(&text[..middle]).unfinished());
    peer.socket.sends(&Frame::ping("between fragments"));
    peer.socket.sends(&Frame::continuation(&text[middle..]));
    assert_eq!(peer.socket.next("pong"), Incoming::Pong(b"between fragments".to_vec()));
    peer.expects("pong");
}

#[test]
fn malformed_messages_are_answered_and_the_connection_stays() {
    let mut peer = peer();
    let deep = format!(
        r#"{{"type":"offer","id":"d","target_device_id":"x","payload":{}{}}}"#,
        "[".repeat(129),
        "]".repeat(129)
    );
    let cases = [
        ("", "bad_request"),
        ("nonsense", "bad_request"),
        ("[]", "bad_request"),
        ("null", "bad_request"),
        (r#"{"type":"ping"} {}"#, "bad_request"),
        ("\u{feff}{\"type\":\"ping\"}", "bad_request"),
        ("{}", "bad_request"),
        (r#"{"type":1}"#, "bad_request"),
        (r#"{"type":"nothing"}"#, "unknown_type"),
        (r#"{"type":"connected"}"#, "unknown_type"),
        (r#"{"type":"ping","type":"ping"}"#, "bad_request"),
        (r#"{"type":"ping","id":"a","id":"a"}"#, "bad_request"),
        (r#"{"type":"ping","id":""}"#, "bad_request"),
        (r#"{"type":"ping","id":"a b"}"#, "bad_request"),
        (r#"{"type":"ping","id":7}"#, "bad_request"),
        (r#"{"type":"offer","target_device_id":"x"}"#, "bad_request"),
        (r#"{"type":"offer","payload":1}"#, "bad_request"),
        (r#"{"type":"offer","target_device_id":"a b","payload":1}"#, "bad_request"),
        (r#"{"type":"ping","sender_device_id":"me"}"#, "bad_request"),
        (r#"{"type":"ping","sender_user_id":"me"}"#, "bad_request"),
        (r#"{"type":"ping","id":"\ud800"}"#, "bad_request"),
        (deep.as_str(), "bad_request"),
    ];
    for (text, code) in cases {
        peer.sends_text(text);
        let error = peer.expects("error");
        assert_eq!(error["payload"]["code"], code, "after {text:.80}: {error}");
        assert_eq!(error["payload"].get("close"), None, "the connection stays after {text:.80}");
        peer.expects_nothing();
    }
}

#[test]
fn an_error_carries_the_id_of_its_request() {
    let mut peer = peer();
    peer.sends(json!({"type": "nothing", "id": "mine"}));
    assert_eq!(peer.expects_error("unknown_type")["id"], "mine");
    peer.sends(json!({"type": "offer", "id": "mine-too", "payload": 1}));
    assert_eq!(peer.expects_error("bad_request")["id"], "mine-too");
}

#[test]
fn unknown_fields_are_ignored() {
    let mut peer = peer();
    peer.sends(json!({"type": "ping", "id": "1", "timestamp": 7, "colour": {"deep": [1]}}));
    assert_eq!(peer.expects("pong")["id"], "1");
}

#[test]
fn ten_malformed_messages_in_a_row_end_the_connection() {
    let mut peer = peer();
    for _ in 0..9 {
        peer.sends_text("nonsense");
        peer.expects_error("bad_request");
    }
    peer.expects_nothing();
    for _ in 0..9 {
        peer.sends_text("nonsense");
        peer.expects_error("bad_request");
    }
    peer.sends_text("nonsense");
    let mut last = peer.expects_error("bad_request");
    if last["payload"].get("close").is_none() {
        last = peer.expects_error("bad_request");
    }
    assert_eq!(last["payload"]["close"], 4104);
    peer.expects_close_code(4104);
}

#[test]
fn a_large_well_formed_message_is_not_counted_as_malformed() {
    let mut peer = peer();
    let content = aldis_tests::base64(&[b'x'; 48_001]);
    let recipient = "01900000-0000-7000-8000-000000000001";
    let message = json!({"type": "message", "recipient_id": recipient, "encrypted_content": content});
    for _ in 0..12 {
        peer.sends(message.clone());
        peer.expects_error("too_large");
    }
    peer.sends(json!({"type": "ping"}));
    peer.expects("pong");
}

#[test]
fn violations_of_the_framing_are_1002() {
    let valid = json!({"type": "ping"}).to_string();
    let breaches: Vec<(&str, Vec<u8>)> = vec![
        ("an unmasked frame", Frame::text(valid.as_str()).unmasked().encode()),
        ("RSV1", Frame::text(valid.as_str()).reserved(4).encode()),
        ("RSV2", Frame::text(valid.as_str()).reserved(2).encode()),
        ("RSV3", Frame::text(valid.as_str()).reserved(1).encode()),
        ("opcode 3", Frame::new(0x3, "x").encode()),
        ("opcode 11", Frame::new(0xb, "x").encode()),
        ("a continuation of nothing", Frame::continuation("x").encode()),
        (
            "a text within a text",
            [Frame::text("{").unfinished().encode(), Frame::text("}").encode()].concat(),
        ),
        ("a fragmented ping", Frame::ping("x").unfinished().encode()),
        ("a ping of 126 bytes", Frame::ping(vec![b'x'; 126]).encode()),
        ("a close of one byte", Frame::new(0x8, [3]).encode()),
        ("a close of code 1005", Frame::close(1005, "").encode()),
        ("a close of code 999", Frame::close(999, "").encode()),
    ];
    for (breach, bytes) in breaches {
        assert_eq!(close_after(&bytes), 1002, "{breach}");
    }
}

#[test]
fn a_length_beyond_all_bounds_is_refused_at_once() {
    let code = close_after(&Frame::text("x").stating_length(1 << 63).encode());
    assert!(code == 1002 || code == 1009, "{code}");
    assert_eq!(close_after(&Frame::text("x").stating_length(1 << 40).encode()), 1009);
    assert_eq!(close_after(&Frame::text("x").stating_length(65_537).encode()), 1009);
}

#[test]
fn a_million_empty_fragments_end_or_are_one_message() {
    let server = TestServer::shared();
    let user = server.user();
    let mut flooded = user.opens_ephemeral();
    let thousand = Frame::continuation("").unfinished().encode().repeat(1_000);
    flooded.socket.sends(&Frame::text("").unfinished());
    let taken = (0..1_000).all(|_| flooded.socket.sends_bytes(&thousand));
    if taken {
        flooded.socket.sends(&Frame::continuation(r#"{"type":"ping"}"#));
        match flooded.socket.next("the message or a close") {
            Incoming::Text(text) => {
                assert!(text.contains(r#""pong""#) || text.contains(r#""error""#), "{text}");
            }
            Incoming::Close(1002 | 1008 | 1009, _) | Incoming::End => {}
            other => panic!("{other:?}"),
        }
    }
    user.opens_ephemeral().expects_nothing();
}

#[test]
fn five_thousand_keys_do_no_harm() {
    let mut peer = peer();
    let members: Vec<String> = (0..5_000).map(|number| format!(r#""k{number}":0"#)).collect();
    peer.sends_text(&format!(r#"{{"type":"ping","id":"1",{}}}"#, members.join(",")));
    assert_eq!(peer.expects("pong")["id"], "1");
}

#[test]
fn numbers_out_of_range_are_bad_requests() {
    let mut peer = peer();
    for number in ["-1", "1.5", "1e400", "18446744073709551616", "99999999999999999999999999"] {
        peer.sends_text(&format!(r#"{{"type":"received","count":{number}}}"#));
        peer.expects_error("bad_request");
        peer.expects_nothing();
    }
}

#[test]
fn a_ping_frame_is_answered_by_its_payload() {
    let mut socket = peer().socket;
    socket.sends(&Frame::ping([7; 125]));
    assert_eq!(socket.next("a pong"), Incoming::Pong(vec![7; 125]));
}

#[test]
fn a_close_is_answered_by_a_close() {
    let mut peer = peer();
    peer.socket.sends(&Frame::close(1000, "done"));
    assert!(matches!(peer.socket.next("a close"), Incoming::Close(1000, _)));
    assert_eq!(peer.socket.next("the end"), Incoming::End);
}

#[test]
fn a_partial_frame_before_a_break_does_no_harm() {
    let server = TestServer::shared();
    let user = server.user();
    let mut broken = user.opens_ephemeral();
    broken.socket.sends_bytes(&Frame::text("x".repeat(1_000)).encode()[..7]);
    broken.socket.breaks();
    user.opens_ephemeral().expects_nothing();
}

#[test]
fn frames_may_come_byte_by_byte() {
    let mut peer = peer();
    for byte in Frame::text(r#"{"type":"ping","id":"slow"}"#).encode() {
        assert!(peer.socket.sends_bytes(&[byte]));
    }
    assert_eq!(peer.expects("pong")["id"], "slow");
}
