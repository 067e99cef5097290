//! Encrypted messages: stored, numbered, delivered, synchronised, confirmed (docs/protocol/messages.md; docs/http.md,
//! `GET /api/messages`).

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Identity, Peer, ProtoPeer, TestServer, Upgrade, User, base64, unique};
use serde_json::{Value, json};

/// Two users who allow each other.
fn friends(server: &TestServer) -> (User, User) {
    let (ann, bob) = (server.user(), server.user());
    for (user, peer) in [(&ann, &bob), (&bob, &ann)] {
        allows(user, &peer.id);
    }
    (ann, bob)
}

fn allows(user: &User, peer: &str) {
    decides(user, peer, "allowed");
}

fn decides(user: &User, peer: &str, state: &str) {
    let body = json!({"state": state}).to_string().into_bytes();
    let headers = [("Content-Type", "application/json")];
    user.http().send("PUT", &format!("/api/contacts/{peer}"), &headers, body).expects(204);
}

fn message(id: &str, recipient: &str, content: &str) -> Value {
    json!({"type": "message", "id": id, "recipient_id": recipient, "encrypted_content": base64(content.as_bytes())})
}

/// Sends a message that is stored; returns its `ack`.
#[track_caller]
fn stores(from: &mut Peer, recipient: &str, content: &str) -> Value {
    let id = unique("m");
    from.sends(message(&id, recipient, content));
    let ack = from.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("stored")), "{ack}");
    ack
}

#[track_caller]
fn syncs(peer: &mut Peer, since_seq: u64) -> (Vec<Value>, Value) {
    let id = unique("sync");
    peer.sends(json!({"type": "sync", "id": id, "since_seq": since_seq}));
    streamed(peer, &id)
}

/// The messages that a `sync` streams, and `synced`.
#[track_caller]
fn streamed(peer: &mut Peer, id: &str) -> (Vec<Value>, Value) {
    let mut messages = Vec::new();
    loop {
        let next = peer.expects_any();
        match next["type"].as_str() {
            Some("message") => {
                assert_eq!(next["id"], id, "streamed messages have the id of the sync");
                messages.push(next);
            }
            Some("synced") => {
                assert_eq!(next["id"], id);
                return (messages, next);
            }
            _ => panic!("awaited a message or the end of them, got {next}"),
        }
    }
}

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().expect("a number")).collect()
}

#[test]
fn a_message_reaches_every_device_of_the_recipient_and_the_others_of_the_sender() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut sender, mut other) = (ann.connects("phone"), ann.connects("laptop"));
    let (mut first, mut second) = (bob.connects("phone"), bob.opens_ephemeral());
    sender.sends(message("m-1", &bob.id, "hello"));
    for (peer, seq) in [(&mut first, 1), (&mut second, 1), (&mut other, 1)] {
        let got = peer.expects("message");
        assert_eq!(got["sender_user_id"], ann.id);
        assert_eq!(got["sender_device_id"], sender.connected["device_id"]);
        assert_eq!(got["recipient_id"], bob.id);
        assert_eq!(got["encrypted_content"], base64(b"hello"));
        assert_eq!(
            (&got["seq"], &got["delivered_at"], &got["read_at"]),
            (&json!(seq), &Value::Null, &Value::Null)
        );
        assert_eq!(got["created_at"], got["timestamp"], "a stored message has the time of its commit");
    }
    let ack = sender.expects("ack");
    assert_eq!((&ack["id"], &ack["status"], &ack["seq"]), (&json!("m-1"), &json!("stored"), &json!(1)));
    assert!(ack["message_id"].is_string() && ack["duplicate"].is_null(), "{ack}");
    sender.expects_nothing();
}

#[test]
fn numbers_of_both_mailboxes_go_up_without_gaps() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut one, mut other) = (ann.connects("phone"), bob.connects("phone"));
    for seq in 1..=3 {
        assert_eq!(stores(&mut one, &bob.id, "x")["seq"], seq);
        assert_eq!(other.expects("message")["seq"], seq);
    }
    assert_eq!(stores(&mut other, &ann.id, "y")["seq"], 4, "a mailbox holds what its user received and sent");
    assert_eq!(one.expects("message")["seq"], 4);
    assert_eq!(stores(&mut one, &ann.id, "to myself")["seq"], 5, "one number alone, to oneself");
    assert_eq!(stores(&mut one, &bob.id, "z")["seq"], 6);
}

#[test]
fn an_unreachable_recipient_looks_like_an_unknown_one() {
    let server = TestServer::shared();
    let (ann, stranger) = (server.user(), server.user());
    let blocking = server.user();
    allows(&blocking, &ann.id);
    decides(&ann, &blocking.id, "blocked");
    let mut peer = ann.connects("phone");
    let nobody = "0190f3a4-0000-7000-8000-000000000000".to_owned();
    let unknown_identity = Identity::new().fingerprint();
    let mut refusals = Vec::new();
    for recipient in [&stranger.id, &blocking.id, &nobody, &unknown_identity] {
        peer.sends(message(&unique("m"), recipient, "hello"));
        let mut error = peer.expects_error("target_unavailable");
        error["id"].take();
        error["timestamp"].take();
        refusals.push(error);
    }
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:?}");
    let (messages, synced) = syncs(&mut peer, 0);
    assert!(messages.is_empty(), "what was refused takes no number: {messages:?}");
    assert_eq!(
        (&synced["seq"], &synced["first_seq"], &synced["complete"]),
        (&json!(0), &json!(1), &json!(true))
    );
}

#[test]
fn a_sender_may_be_answered_until_they_block() {
    let server = TestServer::shared();
    let (ann, bob) = (server.user(), server.user());
    allows(&bob, &ann.id);
    let (mut asking, mut answering) = (ann.connects("phone"), bob.connects("phone"));
    answering.sends(message(&unique("m"), &ann.id, "first"));
    answering.expects_error("target_unavailable");
    stores(&mut asking, &bob.id, "hello");
    answering.expects("message");
    stores(&mut answering, &ann.id, "hello yourself");
    asking.expects("message");
    decides(&ann, &bob.id, "blocked");
    answering.sends(message(&unique("m"), &ann.id, "still there?"));
    answering.expects_error("target_unavailable");
}

#[test]
fn a_repeated_message_is_stored_once_and_other_content_is_a_conflict() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let device = ann.device("phone");
    let mut peer = ann.opens(&device.id);
    peer.sends(message("m-1", &bob.id, "hello"));
    let first = peer.expects_text("ack");
    peer.sends(message("m-1", &bob.id, "hello"));
    assert_eq!(peer.expects_text("ack"), first, "inside a session the first answer comes byte for byte");
    peer.sends(message("m-1", &bob.id, "other"));
    peer.expects_error("conflict");

    let mut later = ann.opens(&device.id);
    let first: Value = serde_json::from_str(&first).unwrap();
    later.sends(message("m-1", &bob.id, "hello"));
    let again = later.expects("ack");
    assert_eq!(again["duplicate"], true);
    assert_eq!((&again["seq"], &again["message_id"]), (&first["seq"], &first["message_id"]));
    later.sends(message("m-1", &bob.id, "other"));
    later.expects_error("conflict");
    // A refused message was not stored, and its id can be used again.
    let (messages, _) = syncs(&mut later, 0);
    assert_eq!(numbers(&messages), [1]);
}

#[test]
fn a_user_who_was_offline_gets_everything_by_sync() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut sender = ann.connects("phone");
    for number in 0..40 {
        stores(&mut sender, &bob.id, &format!("message {number}"));
    }
    let mut peer = bob.connects("phone");
    let (messages, synced) = syncs(&mut peer, 0);
    assert_eq!(numbers(&messages), (1..=40).collect::<Vec<u64>>());
    assert_eq!(messages[39]["encrypted_content"], base64(b"message 39"));
    assert_eq!(
        (&synced["seq"], &synced["first_seq"], &synced["complete"]),
        (&json!(40), &json!(1), &json!(true))
    );
    let (messages, synced) = syncs(&mut peer, 38);
    assert_eq!(numbers(&messages), [39, 40]);
    assert!(messages[0]["delivered_at"].is_null());
    assert_eq!(synced["seq"], 40);
    let (messages, synced) = syncs(&mut peer, 40);
    assert_eq!((messages.len(), &synced["seq"], &synced["complete"]), (0, &json!(40), &json!(true)));
}

#[test]
fn a_limit_ends_a_sync_and_the_next_one_continues() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut sender = ann.connects("phone");
    for _ in 0..25 {
        stores(&mut sender, &bob.id, "x");
    }
    let mut peer = bob.connects("phone");
    let limited = |peer: &mut Peer, since: u64, limit: u64| {
        peer.sends(json!({"type": "sync", "id": "s", "since_seq": since, "limit": limit}));
        let (messages, synced) = streamed(peer, "s");
        (numbers(&messages), synced["seq"].clone(), synced["complete"].clone())
    };
    assert_eq!(limited(&mut peer, 0, 20), ((1..=20).collect(), json!(20), json!(false)));
    assert_eq!(limited(&mut peer, 20, 5), ((21..=25).collect(), json!(25), json!(true)));
    assert_eq!(limited(&mut peer, 0, 25), ((1..=25).collect(), json!(25), json!(true)));
    assert_eq!(limited(&mut peer, 0, 1_000_000), ((1..=25).collect(), json!(25), json!(true)));
    peer.sends(json!({"type": "sync", "id": "s", "limit": 0}));
    peer.expects_error("bad_request");
    let beyond = (vec![], json!(25), json!(true));
    assert_eq!(limited(&mut peer, 1 << 52, 5), beyond, "the newest number, lower than the requested one");
    assert_eq!(limited(&mut peer, 25, 5), beyond);
    // The messages before 20 were marked by the second sync, and the rest by the last.
    for count in [20, 5] {
        assert_eq!(sender.expects("receipt")["message_ids"].as_array().map(Vec::len), Some(count));
    }
    // A client that asks beyond the end still gets new messages.
    stores(&mut sender, &bob.id, "y");
    assert_eq!(peer.expects("message")["seq"], 26);
}

#[test]
fn messages_of_other_devices_are_in_every_devices_sync() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut one, mut other) = (ann.connects("phone"), bob.connects("phone"));
    stores(&mut one, &bob.id, "from Ann");
    other.expects("message");
    stores(&mut other, &ann.id, "from Bob");
    one.expects("message");
    let mut laptop = ann.connects("laptop");
    let (messages, _) = syncs(&mut laptop, 0);
    assert_eq!(numbers(&messages), [1, 2]);
    assert_eq!(
        [&messages[0]["sender_user_id"], &messages[1]["sender_user_id"]],
        [&json!(ann.id), &json!(bob.id)]
    );
}

#[test]
fn receipts_reach_the_sender_and_the_readers_other_devices() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut sender = ann.connects("phone");
    let (mut reader, mut other) = (bob.connects("phone"), bob.connects("laptop"));
    let id = stores(&mut sender, &bob.id, "hello")["message_id"].clone();
    reader.expects("message");
    other.expects("message");
    reader.sends(json!({"type": "delivered", "id": "d", "message_ids": [id]}));
    assert_eq!(reader.expects("ack")["status"], "done");
    for peer in [&mut sender, &mut other] {
        let receipt = peer.expects("receipt");
        assert_eq!(receipt["message_ids"], json!([id]));
        assert!(receipt["delivered_at"].is_string() && receipt["read_at"].is_null(), "{receipt}");
    }
    reader.sends(json!({"type": "read", "id": "r", "message_ids": [id]}));
    reader.expects("ack");
    let read = sender.expects("receipt");
    assert!(read["delivered_at"].is_string() && read["read_at"].is_string(), "{read}");
    assert_eq!(other.expects("receipt")["read_at"], read["read_at"]);
    // Set once, never changed.
    reader.sends(json!({"type": "delivered", "id": "d-2", "message_ids": [id]}));
    reader.expects("ack");
    sender.expects_nothing();
    let (messages, _) = syncs(&mut sender, 0);
    assert_eq!(messages[0]["read_at"], read["read_at"]);
}

#[test]
fn a_receipt_with_a_message_of_another_user_is_refused() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut sender, mut reader) = (ann.connects("phone"), bob.connects("phone"));
    let id = stores(&mut sender, &bob.id, "hello")["message_id"].clone();
    reader.expects("message");
    for kind in ["delivered", "read"] {
        sender.sends(json!({"type": kind, "id": unique("r"), "message_ids": [id]}));
        sender.expects_error("unknown_message");
        let unknown = "0190f3a4-0000-7000-8000-000000000000";
        reader.sends(json!({"type": kind, "id": unique("r"), "message_ids": [id, unknown]}));
        reader.expects_error("unknown_message");
    }
    let (messages, _) = syncs(&mut reader, 0);
    assert!(messages[0]["delivered_at"].is_null());
    let many: Vec<&Value> = (0..501).map(|_| &id).collect();
    reader.sends(json!({"type": "read", "id": "many", "message_ids": many}));
    reader.expects_error("bad_request");
}

#[test]
fn a_sender_who_may_not_reach_the_reader_gets_no_receipt() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut sender, mut reader) = (ann.connects("phone"), bob.connects("phone"));
    let id = stores(&mut sender, &bob.id, "hello")["message_id"].clone();
    reader.expects("message");
    decides(&bob, &ann.id, "blocked");
    reader.sends(json!({"type": "read", "id": "r", "message_ids": [id]}));
    reader.expects("ack");
    sender.expects_nothing();
}

/// When a message was delivered and read, as a user sees it over HTTP and by `sync`.
#[track_caller]
fn receipts(user: &User, live: &mut Peer, peer: &User, id: &Value) -> [Value; 2] {
    let over_http = user.http().get(&format!("/api/messages?peer={}", peer.id)).expects(200);
    let (by_sync, _) = syncs(live, 0);
    let [found, same] =
        [over_http["messages"].as_array().expect("one named array"), &by_sync].map(|messages| {
            let message = messages.iter().find(|message| message["message_id"] == *id).expect("the message");
            [message["delivered_at"].clone(), message["read_at"].clone()]
        });
    assert_eq!(found, same);
    found
}

#[test]
fn a_blocked_sender_saw_when_a_message_was_read() {
    for (builder, blocker) in [(TestServer::builder(), "bob"), (TestServer::builder().postgres(), "ann")] {
        let server = builder.start();
        let (ann, bob) = friends(&server);
        let (mut sender, mut reader) = (ann.connects("phone"), bob.connects("phone"));
        let [arrived, unseen] = [0, 1].map(|_| {
            let id = stores(&mut sender, &bob.id, "hello")["message_id"].clone();
            reader.expects("message");
            id
        });
        reader.sends(json!({"type": "delivered", "id": unique("r"), "message_ids": [arrived]}));
        reader.expects("ack");
        let before = sender.expects("receipt")["delivered_at"].clone();

        let (who, whom) = if blocker == "bob" { (&bob, &ann) } else { (&ann, &bob) };
        decides(who, &whom.id, "blocked");
        reader.sends(json!({"type": "read", "id": unique("r"), "message_ids": [arrived, unseen]}));
        reader.expects("ack");
        syncs(&mut reader, 2);
        sender.expects_nothing();
        assert_eq!(receipts(&ann, &mut sender, &bob, &arrived), [before.clone(), Value::Null]);
        assert_eq!(receipts(&ann, &mut sender, &bob, &unseen), [Value::Null, Value::Null]);
        let [delivered, read] = receipts(&bob, &mut reader, &ann, &unseen);
        assert!(delivered.is_string() && read.is_string(), "the reader sees their own");

        // Receipts from behind the block stay hidden; later ones are visible again.
        decides(who, &whom.id, "allowed");
        assert_eq!(receipts(&ann, &mut sender, &bob, &arrived), [before, Value::Null]);
        let later = stores(&mut sender, &bob.id, "hello again")["message_id"].clone();
        reader.expects("message");
        reader.sends(json!({"type": "read", "id": unique("r"), "message_ids": [later]}));
        reader.expects("ack");
        sender.expects("receipt");
        assert!(receipts(&ann, &mut sender, &bob, &later).iter().all(Value::is_string));
    }
}

#[test]
fn a_sync_marks_earlier_messages_as_delivered() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut sender = ann.connects("phone");
    let ids = [0, 1].map(|_| stores(&mut sender, &bob.id, "x")["message_id"].clone());
    let mut reader = bob.connects("phone");
    syncs(&mut reader, 1);
    let receipt = sender.expects("receipt");
    assert_eq!(receipt["message_ids"], json!([ids[0]]));
    sender.expects_nothing();
}

#[test]
fn a_full_mailbox_says_so() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut sender = ann.connects("phone");
    for number in 0..250 {
        sender.sends(message(&format!("m-{number}"), &bob.id, "x"));
    }
    for number in 0..250 {
        let ack = sender.expects("ack");
        assert_eq!((&ack["id"], &ack["seq"]), (&json!(format!("m-{number}")), &json!(number + 1)));
    }
    sender.sends(message("one-more", &bob.id, "x"));
    sender.expects_error("mailbox_full");
    let mut reader = bob.connects("phone");
    syncs(&mut reader, 100);
    sender.expects("receipt");
    sender.sends(message("one-more", &bob.id, "x"));
    assert_eq!(sender.expects("ack")["seq"], 251);
}

#[test]
fn four_strangers_filled_the_mailbox_and_kept_out_a_contact() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let (ann, bob) = friends(&server);
    for (stored, refused) in [(250, 0), (250, 0), (0, 1), (0, 1)] {
        let mut stranger = server.user().connects("phone");
        for number in 0..stored + refused {
            stranger.sends(message(&format!("m-{number}"), &bob.id, "x"));
        }
        for _ in 0..stored {
            stranger.expects("ack");
        }
        for _ in 0..refused {
            stranger.expects_error("mailbox_full");
        }
    }
    let mut friend = ann.connects("phone");
    assert_eq!(stores(&mut friend, &bob.id, "hello")["status"], "stored");
    // A user who is allowed now counts as a contact.
    let stranger = server.user();
    let mut late = stranger.connects("phone");
    late.sends(message("m", &bob.id, "x"));
    late.expects_error("mailbox_full");
    allows(&bob, &stranger.id);
    stores(&mut late, &bob.id, "x");
}

#[test]
fn requests_are_answered_in_the_order_sent() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut one, mut other) = (ann.connects("phone"), bob.connects("phone"));
    let target = other.device_id();
    for number in 0..30 {
        one.sends(message(&format!("m-{number}"), &bob.id, "x"));
        one.sends(json!({"type": "signal", "id": format!("s-{number}"), "target_device_id": target, "payload": number}));
    }
    for number in 0..30 {
        assert_eq!(one.expects("ack")["id"], format!("m-{number}"));
        assert_eq!(one.expects("ack")["id"], format!("s-{number}"));
        assert_eq!(other.expects("message")["seq"], number + 1, "a signal overtakes no message");
        assert_eq!(other.expects("signal")["payload"], number);
    }
}

#[test]
fn malformed_content_and_ids_are_refused() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut peer = ann.connects("phone");
    peer.sends(json!({"type": "message", "recipient_id": bob.id, "encrypted_content": "AQI="}));
    peer.expects_error("bad_request");
    for content in ["AQI", "AQJ=", "-_8=", "A QI="] {
        peer.sends(
            json!({"type": "message", "id": "m", "recipient_id": bob.id, "encrypted_content": content}),
        );
        peer.expects_error("bad_request");
    }
    for recipient in ["", "somebody", "0190F3A4", "*"] {
        peer.sends(
            json!({"type": "message", "id": "m", "recipient_id": recipient, "encrypted_content": "AQI="}),
        );
        peer.expects_error("bad_request");
        peer.sends(json!({"type": "ping", "id": "p"}));
        peer.expects("pong");
    }
    peer.sends(json!({"type": "message", "id": "big", "recipient_id": bob.id, "encrypted_content": base64(&vec![0; 48_001])}));
    peer.expects_error("too_large");
    peer.sends(json!({"type": "message", "id": "fits", "recipient_id": bob.id, "encrypted_content": base64(&vec![0; 48_000])}));
    peer.expects("ack");
    peer.sends(json!({"type": "message", "id": "empty", "recipient_id": bob.id, "encrypted_content": ""}));
    peer.expects("ack");
}

#[test]
fn a_fingerprint_can_name_the_recipient() {
    let server = TestServer::shared();
    let (alice, bob) = (Identity::new(), Identity::new());
    let (mut sender, mut reader) =
        [&alice, &bob].map(|identity| identity.connects(&server, Some(&unique("phone")))).into();
    let (alice_id, bob_id) = (sender.connected["user_id"].clone(), reader.connected["user_id"].clone());
    let tokens = bob.signs_in(&server, None).expects(200);
    let token = tokens["access_token"].as_str().unwrap();
    let body = json!({"state": "allowed"}).to_string().into_bytes();
    let headers = [("Content-Type", "application/json")];
    let path = format!("/api/contacts/{}", alice.fingerprint());
    server.http().bearer(token).send("PUT", &path, &headers, body).expects(204);
    let ack = stores(&mut sender, &bob.fingerprint(), "hello");
    let got = reader.expects("message");
    assert_eq!((&got["message_id"], &got["recipient_id"]), (&ack["message_id"], &bob_id));
    assert_eq!(got["sender_user_id"], alice_id);
}

#[test]
fn json_and_protobuf_clients_write_to_each_other() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let mut json_peer = ann.connects("phone");
    let socket =
        Upgrade::to("/ws").bearer(&bob.token).query("device_id", &bob.device("phone").id).open(&server);
    let mut proto = ProtoPeer::new(socket);
    proto.expects("connected", |body| matches!(body, Body::Connected(_)).then_some(()));
    stores(&mut json_peer, &bob.id, "hello");
    let (envelope, got) = proto.expects("message", |body| match body {
        Body::Message(message) => Some(message),
        _ => None,
    });
    assert_eq!(got.encrypted_content.as_ref(), b"hello");
    assert_eq!(envelope.seq, Some(1));
    proto.sends(Envelope {
        request_id: Some("p-1".into()),
        body: Some(Body::Message(schema::EncryptedMessage {
            recipient_id: ann.id.clone(),
            encrypted_content: b"hello yourself".to_vec().into(),
            ..schema::EncryptedMessage::default()
        })),
        ..Envelope::default()
    });
    let got = json_peer.expects("message");
    assert_eq!(got["encrypted_content"], base64(b"hello yourself"));
    let (envelope, ack) = proto.expects("ack", |body| match body {
        Body::Ack(ack) => Some(ack),
        _ => None,
    });
    assert_eq!(envelope.seq, Some(2));
    assert_eq!(ack.message_id.as_deref(), got["message_id"].as_str());
    proto.sends(Envelope {
        body: Some(Body::Sync(schema::Sync { since_seq: Some(1), limit: None })),
        ..Envelope::default()
    });
    proto.expects("message", |body| matches!(body, Body::Message(_)).then_some(()));
    proto.expects("synced", |body| matches!(body, Body::Synced(_)).then_some(()));
}

#[test]
fn a_conversation_is_read_over_http_the_newest_first() {
    let server = TestServer::shared();
    let (ann, bob) = friends(&server);
    let (mut one, mut other) = (ann.connects("phone"), bob.connects("phone"));
    for number in 0..3 {
        stores(&mut one, &bob.id, &format!("ann {number}"));
        other.expects("message");
        stores(&mut other, &ann.id, &format!("bob {number}"));
        one.expects("message");
    }
    let read = |user: &User, query: &str| {
        let answer = user.http().get(&format!("/api/messages?{query}")).expects(200);
        answer["messages"].as_array().expect("one named array").clone()
    };
    let messages = read(&ann, &format!("peer={}", bob.id));
    assert_eq!(numbers(&messages), [6, 5, 4, 3, 2, 1]);
    assert_eq!(messages[0]["encrypted_content"], base64(b"bob 2"));
    for field in ["message_id", "sender_user_id", "sender_device_id", "recipient_id", "created_at"] {
        assert!(messages[0][field].is_string(), "{field}");
    }
    assert!(messages[0]["delivered_at"].is_null() && messages[0]["read_at"].is_null());
    assert_eq!(numbers(&read(&ann, &format!("peer={}&before_seq=3&limit=1", bob.id))), [2]);
    let stranger = server.user();
    assert_eq!(read(&stranger, &format!("peer={}", bob.id)), Vec::<Value>::new());
    for query in
        ["", "peer=nonsense", &format!("peer={}&limit=0", bob.id), &format!("peer={}&limit=x", bob.id)]
    {
        ann.http().get(&format!("/api/messages?{query}")).expects_problem(422, "bad_request");
    }
    server.http().get(&format!("/api/messages?peer={}", bob.id)).expects_problem(401, "missing_token");
}

#[test]
fn stored_messages_are_limited_by_user() {
    let server = TestServer::builder().env("ALDIS_RATE_LIMITS", "on").start();
    let (ann, bob) = friends(&server);
    let (mut phone, mut laptop) = (ann.connects("phone"), ann.connects("laptop"));
    for (peer, count) in [(&mut phone, 70), (&mut laptop, 50)] {
        for _ in 0..count {
            peer.sends(message(&unique("m"), &bob.id, "x"));
        }
    }
    for (peer, count) in [(&mut phone, 70), (&mut laptop, 50)] {
        let mut acked = 0;
        while acked < count {
            acked += usize::from(peer.expects_any()["type"] == "ack");
        }
    }
    phone.sends(message("one-more", &bob.id, "x"));
    let refusal = loop {
        let next = phone.expects_any();
        if next["type"] != "message" {
            break next;
        }
    };
    assert_eq!(refusal["payload"]["code"], "rate_limited", "{refusal}");
    assert!(refusal["payload"]["retry_after"].is_u64());
}
