//! Malformed messages, syncs and receipts: each gets its documented answer, and the session continues
//! (docs/protocol/doors.md, messages.md, codes.md; docs/security.md, "Bad input").

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::mail::{asks_sync, assert_whole, message, number, numbers, streamed, syncs};
use aldis_tests::{Peer, ProtoPeer, TestServer, Upgrade, User, base64, unique};
use serde_json::{Value, json};

/// The largest content.
const CONTENT: usize = 48_000;
const NOT_THERE: &str = "0190f3a4-0000-7000-8000-000000000000";

fn open_server() -> TestServer {
    TestServer::builder().env("ALDIS_ROUTING", "open").start()
}

fn proto_peer(server: &TestServer, user: &User) -> ProtoPeer {
    let mut peer = ProtoPeer::new(Upgrade::to("/ws").bearer(&user.token).open(server));
    peer.expects("connected", |body| matches!(body, Body::Connected(_)).then_some(()));
    peer
}

fn proto_error(peer: &mut ProtoPeer) -> String {
    let (_, error) =
        peer.expects("error", |body| if let Body::Error(error) = body { Some(error) } else { None });
    error.code
}

/// Each frame is answered with this error, and the session continues.
#[track_caller]
fn refuses(peer: &mut Peer, code: &str, frames: impl IntoIterator<Item = String>) {
    for frame in frames {
        peer.sends_text(&frame);
        let error = peer.expects("error");
        assert_eq!(error["payload"]["code"], code, "{frame:.200}: {error}");
        peer.expects_nothing();
    }
}

#[test]
fn ids_over_their_grammar_are_bad_requests() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let longest = "a".repeat(64);
    let bad = ["", "a b", "a*", "a>", "a.b", "a\\n", "é", "a/b", "\\u0000", &"a".repeat(65)];
    let quoted = bad.iter().map(|id| format!(r#""{id}""#)).chain(["7".to_owned(), "{}".to_owned()]);
    let of = |id: &str| {
        format!(r#"{{"type":"message","id":{id},"recipient_id":"{}","encrypted_content":"AQI="}}"#, user.id)
    };
    refuses(&mut peer, "bad_request", quoted.map(|id| of(&id)));
    for id in [longest.as_str(), "A-Z_09"] {
        peer.sends(message(id, &user.id, b"x"));
        assert_eq!(peer.expects("ack")["id"], id);
    }
    let (messages, _) = syncs(&mut peer, 0);
    assert_eq!(messages.len(), 2, "a refused message takes no number");
}

#[test]
fn content_is_canonical_base64_of_at_most_48_000_bytes() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let of = |content: &str| {
        format!(r#"{{"type":"message","id":"m","recipient_id":"{}","encrypted_content":{content}}}"#, user.id)
    };
    let bad = [
        "AQI",
        "AQI==",
        "AQJ=",
        "AQ==AQ==",
        "A===",
        "====",
        "-_8=",
        "AQ I=",
        "AQI=\\n",
        "=AQI",
        "AQI=\\u0000",
    ];
    let quoted = bad.iter().map(|content| format!(r#""{content}""#));
    let mistyped = ["null", "7", "[1,2]", "{}", "true"].map(str::to_owned);
    refuses(&mut peer, "bad_request", quoted.chain(mistyped).map(|content| of(&content)));
    let too_large = [CONTENT + 1, CONTENT + 3, CONTENT + 300].map(|length| base64(&vec![0; length]));
    refuses(&mut peer, "too_large", too_large.map(|content| of(&format!(r#""{content}""#))));
    for length in [0, 1, 2, 3, CONTENT - 1, CONTENT] {
        peer.sends(message(&format!("fits-{length}"), &user.id, &vec![0xa5; length]));
        assert_eq!(peer.expects("ack")["status"], "stored");
    }
    let mut reader = user.opens_ephemeral();
    let (messages, _) = syncs(&mut reader, 0);
    assert_eq!(messages[5]["encrypted_content"], base64(&[0xa5; CONTENT]));
}

#[test]
fn protobuf_knows_the_same_limits() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = proto_peer(&server, &user);
    let of = |id: Option<&str>, recipient: &str, length: usize| Envelope {
        request_id: id.map(str::to_owned),
        body: Some(Body::Message(schema::EncryptedMessage {
            recipient_id: recipient.to_owned(),
            encrypted_content: vec![1; length].into(),
            ..schema::EncryptedMessage::default()
        })),
        ..Envelope::default()
    };
    let sync = |since_seq, limit| Envelope {
        request_id: Some("s".to_owned()),
        body: Some(Body::Sync(schema::Sync { since_seq, limit })),
        ..Envelope::default()
    };
    let cases = [
        (of(Some("m"), &user.id, CONTENT + 1), "too_large"),
        (of(Some("m"), &user.id, 60_000), "too_large"),
        (of(None, &user.id, 1), "bad_request"),
        (of(Some("a b"), &user.id, 1), "bad_request"),
        (of(Some("m"), "", 1), "bad_request"),
        (of(Some("m"), "somebody", 1), "bad_request"),
        (sync(Some(1 << 53), None), "bad_request"),
        (sync(Some(u64::MAX), None), "bad_request"),
        (sync(None, Some(0)), "bad_request"),
    ];
    for (envelope, code) in cases {
        peer.sends(envelope);
        assert_eq!(proto_error(&mut peer), code);
        peer.sends(Envelope { body: Some(Body::Ping(schema::Ping {})), ..Envelope::default() });
        peer.expects("pong", |body| matches!(body, Body::Pong(_)).then_some(()));
    }
    peer.sends(of(Some("fits"), &user.id, CONTENT));
    peer.expects("ack", |body| matches!(body, Body::Ack(_)).then_some(()));
    peer.sends(sync(None, Some(u64::MAX)));
    let (envelope, content) = peer.expects("message", |body| match body {
        Body::Message(message) => Some(message.encrypted_content),
        _ => None,
    });
    assert_eq!((envelope.request_id.as_deref(), content.len()), (Some("s"), CONTENT));
    peer.expects("synced", |body| matches!(body, Body::Synced(_)).then_some(()));
}

#[test]
fn recipients_are_user_ids_or_fingerprints() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let braced = format!("{{{}}}", user.id);
    let (short, long, capital) = ("a".repeat(63), "a".repeat(65), "A".repeat(64));
    let bad = ["", "*", "somebody@aldis.example", " ", &braced, &short, &long, &capital];
    let frames = bad.map(|recipient| message("m", recipient, b"x").to_string());
    refuses(&mut peer, "bad_request", frames);
    let frames = [
        json!({"type": "message", "id": "m", "encrypted_content": "AQI="}),
        json!({"type": "message", "id": "m", "recipient_id": 7, "encrypted_content": "AQI="}),
        json!({"type": "message", "id": "m", "recipient_id": user.id}),
        json!({"type": "message", "recipient_id": user.id, "encrypted_content": "AQI="}),
        json!({"type": "message", "id": "m", "recipient_id": user.id, "encrypted_content": "AQI=", "sender_user_id": user.id}),
        json!({"type": "message", "id": "m", "recipient_id": user.id, "encrypted_content": "AQI=", "sender_device_id": "x"}),
    ];
    refuses(&mut peer, "bad_request", frames.map(|frame| frame.to_string()));
    refuses(&mut peer, "target_unavailable", [message("m", NOT_THERE, b"x").to_string()]);
}

#[test]
fn numbers_and_limits_of_a_sync_are_bounded() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let of = |fields: &str| format!(r#"{{"type":"sync","id":"s"{fields}}}"#);
    let bad = [
        r#","limit":0"#,
        r#","limit":-1"#,
        r#","limit":1.5"#,
        r#","limit":"5""#,
        r#","limit":18446744073709551616"#,
        r#","since_seq":-1"#,
        r#","since_seq":0.5"#,
        r#","since_seq":"0""#,
        r#","since_seq":9007199254740992"#,
        r#","since_seq":18446744073709551615"#,
        r#","since_seq":18446744073709551616"#,
        r#","since_seq":1e400"#,
        r#","since_seq":0,"since_seq":0"#,
    ];
    refuses(&mut peer, "bad_request", bad.map(of));
    let far = (1_u64 << 53) - 1;
    for (fields, seq) in [
        (String::new(), 0),
        // Beyond the newest number, the answer is the newest one.
        (format!(r#","since_seq":{far}"#), 0),
        (r#","since_seq":1000000"#.to_owned(), 0),
        (r#","limit":501"#.to_owned(), 0),
        (r#","limit":4294967295"#.to_owned(), 0),
        (r#","limit":4294967296"#.to_owned(), 0),
        (r#","limit":18446744073709551615"#.to_owned(), 0),
    ] {
        peer.sends_text(&of(&fields));
        let (messages, synced) = streamed(&mut peer, "s");
        assert!(messages.is_empty());
        assert_eq!(
            (number(&synced), &synced["first_seq"], &synced["complete"]),
            (seq, &json!(1), &json!(true))
        );
    }
    // A client that asked beyond the end gets new messages, from the first one.
    let mut writer = user.opens_ephemeral();
    writer.sends(message("m", &user.id, b"x"));
    assert_eq!(number(&peer.expects("message")), 1);
}

#[test]
fn a_limit_is_reduced_to_500() {
    let server = open_server();
    let recipient = server.user();
    for _ in 0..3 {
        sends(&mut contact_of(&recipient, &server).opens_ephemeral(), &recipient, 200);
    }
    let mut peer = recipient.opens_ephemeral();
    for (limit, count) in
        [(Some(499), 499), (Some(500), 500), (Some(501), 500), (Some(u64::MAX), 500), (None, 100)]
    {
        let id = unique("sync");
        peer.sends(json!({"type": "sync", "id": id, "since_seq": 0, "limit": limit.unwrap_or(100)}));
        let (messages, synced) = streamed(&mut peer, &id);
        assert_whole(&messages);
        assert_eq!((messages.len(), &synced["complete"]), (count, &json!(false)));
    }
    peer.sends(json!({"type": "sync", "id": "default"}));
    assert_eq!(streamed(&mut peer, "default").0.len(), 100);
}

/// A new user whom `user` has allowed, because strangers have half of a mailbox.
fn contact_of(user: &User, server: &TestServer) -> User {
    let contact = server.user();
    user.allows(&contact);
    contact
}

/// Sends this many messages, which are all stored; returns their ids.
#[track_caller]
fn sends(peer: &mut Peer, recipient: &User, count: usize) -> Vec<Value> {
    for _ in 0..count {
        peer.sends(message(&unique("m"), &recipient.id, b"x"));
    }
    (0..count).map(|_| peer.expects("ack")["message_id"].clone()).collect()
}

#[test]
fn malformed_receipts_and_receipts_for_others_are_refused() {
    let server = open_server();
    let (writer, reader, stranger) = (server.user(), server.user(), server.user());
    let mut peer = writer.opens_ephemeral();
    let id = sends(&mut peer, &reader, 1).remove(0);
    let mut reading = reader.opens_ephemeral();
    let receipt =
        |kind: &str, ids: Value| json!({"type": kind, "id": unique("r"), "message_ids": ids}).to_string();
    for kind in ["delivered", "read"] {
        let bad = [
            json!(null),
            json!("x"),
            json!([7]),
            json!([""]),
            json!(["*"]),
            json!([id, "nonsense"]),
            json!({}),
        ];
        refuses(&mut reading, "bad_request", bad.map(|ids| receipt(kind, ids)));
        refuses(&mut reading, "bad_request", [receipt(kind, json!(vec![id.clone(); 501]))]);
        for other in [&mut peer, &mut stranger.opens_ephemeral()] {
            refuses(other, "unknown_message", [receipt(kind, json!([id]))]);
        }
        refuses(&mut reading, "unknown_message", [receipt(kind, json!([id, NOT_THERE]))]);
        reading.sends_text(&receipt(kind, json!([])));
        assert_eq!(reading.expects("ack")["status"], "done");
        peer.expects_nothing();
    }
    let (messages, _) = syncs(&mut reading, 0);
    assert!(messages[0]["delivered_at"].is_null(), "a refused receipt changes nothing");
    reading.sends_text(&receipt("read", json!(vec![id.clone(); 500])));
    reading.expects("ack");
    assert_eq!(peer.expects("receipt")["message_ids"], json!([id]), "once, however often it is named");
}

#[test]
fn a_mailbox_holds_a_thousand_messages_and_250_of_one_sender() {
    let server = open_server();
    let reader = server.user();
    let mut writers: Vec<Peer> = (0..5).map(|_| contact_of(&reader, &server).opens_ephemeral()).collect();
    for peer in &mut writers[..4] {
        sends(peer, &reader, 250);
        refuses(peer, "mailbox_full", [message("over", &reader.id, b"x").to_string()]);
    }
    refuses(&mut writers[4], "mailbox_full", [message("over", &reader.id, b"x").to_string()]);
    // Other mailboxes are not full.
    sends(&mut writers[4], &server.user(), 1);
    let mut reading = reader.opens_ephemeral();
    let id = asks_sync(&mut reading, 0, 1);
    let (messages, _) = streamed(&mut reading, &id);
    // A delivered message makes room for another.
    reading.sends(json!({"type": "delivered", "id": "d", "message_ids": [messages[0]["message_id"]]}));
    reading.expects("ack");
    let first = &mut writers[0];
    assert_eq!(first.expects("receipt")["message_ids"].as_array().map(Vec::len), Some(1));
    first.sends(message("over", &reader.id, b"x"));
    let ack = first.expects("ack");
    assert_eq!((number(&ack), &ack["duplicate"]), (251, &Value::Null), "a refused message may be sent again");
    refuses(&mut writers[4], "mailbox_full", [message("over-2", &reader.id, b"x").to_string()]);
    assert_eq!(number(&reading.expects("message")), 1_001);
    let (sent, _) = syncs(&mut writers[4], 0);
    assert_eq!(numbers(&sent), [1], "a refused message takes no number");
}

#[test]
fn a_retry_does_not_reveal_a_later_block() {
    let server = TestServer::shared();
    let (writer, reader) = (server.user(), server.user());
    let decides = |state: &str| {
        let body = json!({"state": state}).to_string().into_bytes();
        let headers = [("Content-Type", "application/json")];
        reader.http().send("PUT", &format!("/api/contacts/{}", writer.id), &headers, body).expects(204);
    };
    decides("allowed");
    let device = writer.device("phone").id;
    let mut peer = writer.opens(&device);
    peer.sends(message("m-1", &reader.id, b"x"));
    let first = peer.expects("ack");
    decides("blocked");
    let mut peer = writer.opens(&device);
    peer.sends(message("m-1", &reader.id, b"x"));
    let again = peer.expects("ack");
    assert_eq!((&again["duplicate"], &again["message"]), (&json!(true), &first["message"]));
    assert_eq!((&again["seq"], &again["message_id"]), (&first["seq"], &first["message_id"]));
    refuses(&mut peer, "conflict", [message("m-1", &reader.id, b"y").to_string()]);
    refuses(&mut peer, "target_unavailable", [message("m-2", &reader.id, b"x").to_string()]);
}
