//! Clients newer and older than the server (docs/protocol/evolution.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Frame, Incoming, Peer, RawSocket, TestServer, Upgrade, User};
use prost::Message as _;
use serde_json::{Value, json};

/// The frames that version 0.1 of the clients sent: name, JSON, and protobuf in hex.
const PAST: &str = include_str!("../../crates/protocol/tests/past/0.1-client.txt");

fn json_socket(server: &TestServer, user: &User) -> RawSocket {
    let mut peer = Peer::new(Upgrade::to("/signal").bearer(&user.token).open(server));
    peer.expects_connected();
    peer.socket
}

fn proto_socket(server: &TestServer, user: &User) -> RawSocket {
    let mut socket = Upgrade::to("/ws").bearer(&user.token).open(server);
    assert!(matches!(next_body(&mut socket), Body::Connected(_)));
    socket
}

#[track_caller]
fn next_body(socket: &mut RawSocket) -> Body {
    match socket.next("a message") {
        Incoming::Binary(bytes) => Envelope::decode(bytes.as_slice()).unwrap().body.unwrap(),
        other => panic!("awaited a message, got {other:?}"),
    }
}

#[track_caller]
fn next_json(socket: &mut RawSocket) -> Value {
    match socket.next("a message") {
        Incoming::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("awaited a message, got {other:?}"),
    }
}

/// A ping with a field and a body that the schema does not have, each a text.
fn ping_of_tomorrow(unknown: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        request_id: Some("p-1".to_owned()),
        body: Some(Body::Ping(schema::Ping {})),
        ..Envelope::default()
    };
    [envelope.encode_to_vec().as_slice(), unknown].concat()
}

#[test]
fn a_field_of_a_newer_client_is_ignored() {
    let server = TestServer::shared();
    let user = server.user();
    let mut socket = json_socket(&server, &user);
    let ping = json!({"type": "ping", "id": "p-1", "urgency": {"level": [1]}, "uncounted": true});
    socket.sends(&Frame::text(ping.to_string()));
    let pong = next_json(&mut socket);
    assert_eq!((&pong["type"], &pong["id"]), (&json!("pong"), &json!("p-1")));

    let mut socket = proto_socket(&server, &user);
    // Field 19, which is kept for the envelope to come.
    socket.sends(&Frame::binary(ping_of_tomorrow(b"\x9a\x01\x02hi")));
    assert!(matches!(next_body(&mut socket), Body::Pong(_)));
}

#[test]
fn a_type_of_a_newer_client_is_refused_and_the_connection_stays() {
    let server = TestServer::shared();
    let user = server.user();
    let mut socket = json_socket(&server, &user);
    socket.sends(&Frame::text(json!({"type": "reaction", "id": "r-1", "emoji": "+1"}).to_string()));
    let error = next_json(&mut socket);
    assert_eq!((&error["payload"]["code"], &error["id"]), (&json!("unknown_type"), &json!("r-1")));
    socket.sends(&Frame::text(r#"{"type":"ping"}"#));
    assert_eq!(next_json(&mut socket)["type"], "pong");

    let mut socket = proto_socket(&server, &user);
    // Request id r-1, and body 158.
    socket.sends(&Frame::binary(b"\x0a\x03r-1\xf2\x09\x02hi".to_vec()));
    let Body::Error(error) = next_body(&mut socket) else { panic!("no error") };
    assert_eq!(error.code, "unknown_type");
    socket.sends(&Frame::binary(ping_of_tomorrow(b"")));
    assert!(matches!(next_body(&mut socket), Body::Pong(_)));
}

#[test]
fn a_word_of_a_newer_client_is_refused_by_name() {
    let server = TestServer::shared();
    let user = server.user();
    let mut socket = json_socket(&server, &user);
    socket.sends(&Frame::text(json!({"type": "presence", "id": "s-1", "status": "asleep"}).to_string()));
    let error = next_json(&mut socket);
    assert_eq!((&error["payload"]["code"], &error["id"]), (&json!("bad_request"), &json!("s-1")));
    assert!(error["payload"]["message"].as_str().unwrap().contains("`away`"), "{error}");

    let mut socket = proto_socket(&server, &user);
    let presence = schema::Presence { status: "asleep".to_owned(), ..schema::Presence::default() };
    let envelope = Envelope { body: Some(Body::Presence(presence)), ..Envelope::default() };
    socket.sends(&Frame::binary(envelope.encode_to_vec()));
    let Body::Error(error) = next_body(&mut socket) else { panic!("no error") };
    assert_eq!(error.code, "bad_request");
    assert!(error.message.contains("`away`"), "{}", error.message);
}

#[test]
fn what_older_clients_sent_is_still_understood() {
    let server = TestServer::shared();
    let user = server.user();
    let mut sent = 0;
    for frame in PAST.split("\n\n") {
        let [name, json, hex] = frame.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {frame}") };
        // A proof on a live session and a confirmation are not good on this one; without a room there is none here.
        if name.starts_with("auth") || name == "received" || name.ends_with("-minimal") {
            continue;
        }
        let mut socket = json_socket(&server, &user);
        socket.sends(&Frame::text(json));
        let reply = next_json(&mut socket);
        assert!(!is_misunderstood(reply["payload"]["code"].as_str()), "{name}: {reply}");

        let mut socket = proto_socket(&server, &user);
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        socket.sends(&Frame::binary(bytes));
        if let Body::Error(error) = next_body(&mut socket) {
            assert!(!is_misunderstood(Some(&error.code)), "{name}: {}", error.message);
        }
        sent += 1;
    }
    assert!(sent >= 15, "{sent}");
}

fn is_misunderstood(code: Option<&str>) -> bool {
    matches!(code, Some("bad_request" | "unknown_type"))
}
