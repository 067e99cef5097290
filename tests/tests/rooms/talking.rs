//! Chat messages: numbered, in one order, once.

use aldis_tests::{Frame, Identity, Peer, TestServer, Upgrade, unique};
use serde_json::{Value, json};

use crate::steps::{asks_history, chat, contents, joins, makes, says, seqs, told_of};

#[test]
fn a_chat_message_is_numbered_and_reaches_every_other_session() {
    let server = TestServer::shared();
    let (ann, bob, room) = (Identity::new(), server.user(), unique("room"));
    let mut peers = [ann.connects(&server, None), ann.connects(&server, None), bob.connects("phone")];
    for index in 0..3 {
        joins(&mut peers[index], &room);
        for earlier in &mut peers[..index] {
            earlier.expects("member_joined");
        }
    }
    let [sender, own, other] = &mut peers;
    for (number, content) in ["one", "two"].into_iter().enumerate() {
        let text = format!(
            r#"{{"type":"chat_message","id":"m-{number}","room":"{room}","payload":{{ "content" : "{content}", "more": [1 ] }}}}"#
        );
        sender.sends_text(&text);
        let ack = sender.expects("ack");
        let expected = (&json!("stored"), &json!(number + 1), &Value::Null);
        assert_eq!((&ack["status"], &ack["seq"], &ack["duplicate"]), expected, "{ack}");
        for peer in [&mut *own, &mut *other] {
            let text = peer.expects_text("chat_message");
            let spaced = format!(r#""payload":{{ "content" : "{content}", "more": [1 ] }}"#);
            assert!(text.contains(&spaced), "byte for byte: {text}");
            let got: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!((&got["id"], &got["room"]), (&json!(format!("m-{number}")), &json!(room)));
            assert_eq!(got["seq"], number + 1);
            assert_eq!(got["sender_device_id"], sender.device_id());
            assert_eq!(got["sender_user_id"], sender.connected["user_id"]);
            assert_eq!(got["sender_fingerprint"], ann.fingerprint());
        }
    }
    sender.expects_nothing();
}

#[test]
fn a_broadcast_reaches_the_others_and_is_not_stored() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    let (mut sender, mut own, mut other) =
        (ann.connects("phone"), ann.connects("laptop"), bob.connects("phone"));
    for peer in [&mut own, &mut other, &mut sender] {
        joins(peer, &room);
    }
    own.expects("member_joined");
    own.expects("member_joined");
    other.expects("member_joined");
    sender.sends_text(&format!(r#"{{"type":"broadcast","id":"b","room":"{room}","payload":[1, null ]}}"#));
    let ack = sender.expects("ack");
    assert_eq!((&ack["id"], &ack["status"], &ack["seq"]), (&json!("b"), &json!("done"), &Value::Null));
    for peer in [&mut own, &mut other] {
        let text = peer.expects_text("broadcast");
        assert!(text.contains(r#""payload":[1, null ]"#), "{text}");
        let got: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&got["id"], &got["seq"]), (&json!("b"), &Value::Null));
        assert_eq!((&got["room"], &got["sender_device_id"]), (&json!(room), &json!(sender.device_id())));
    }
    sender.expects_nothing();
    assert_eq!(asks_history(&mut sender, &room, 0, 10)["messages"], json!([]));
}

#[test]
fn messages_of_one_session_arrive_in_order() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    let (mut one, mut other) = (ann.connects("phone"), bob.connects("phone"));
    joins(&mut other, &room);
    one.sends(json!({"type": "join", "id": "j", "room": room}));
    for number in 0..30 {
        let kind = if number % 3 == 2 { "broadcast" } else { "chat_message" };
        let payload = json!({"content": number.to_string()});
        one.sends(json!({"type": kind, "id": format!("m-{number}"), "room": room, "payload": payload}));
    }
    one.sends(json!({"type": "leave", "id": "l", "room": room}));
    one.sends(chat("late", &room, "late"));
    other.expects("member_joined");
    let mut seq = 0;
    for number in 0..30 {
        let got = other.expects(if number % 3 == 2 { "broadcast" } else { "chat_message" });
        assert_eq!(got["payload"]["content"], number.to_string());
        if let Some(given) = got["seq"].as_u64() {
            seq += 1;
            assert_eq!(given, seq);
        }
    }
    other.expects("member_left");
    assert_eq!(one.expects("ack")["id"], "j");
    told_of(&mut one, &room);
    for number in 0..30 {
        assert_eq!(one.expects("ack")["id"], format!("m-{number}"));
    }
    assert_eq!(one.expects("ack")["id"], "l");
    assert_eq!(one.expects_error("unknown_room")["id"], "late");
    other.expects_nothing();
}

#[test]
fn everybody_sees_the_same_order() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut watching = user.connects("watch");
    joins(&mut watching, &room);
    let mut talking: Vec<Peer> = (0..4).map(|_| user.opens_ephemeral()).collect();
    for peer in &mut talking {
        joins(peer, &room);
        watching.expects("member_joined");
    }
    for round in 0..10 {
        for (index, peer) in talking.iter_mut().enumerate() {
            peer.sends(chat(&format!("m-{round}"), &room, &format!("{index}-{round}")));
        }
    }
    let mut seen: Vec<(u64, String)> = Vec::new();
    for _ in 0..40 {
        let got = watching.expects("chat_message");
        let content = got["payload"]["content"].as_str().expect("a text").to_owned();
        seen.push((got["seq"].as_u64().expect("a number"), content));
    }
    assert_eq!(seen.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    for (index, peer) in talking.iter_mut().enumerate() {
        let (mut last, mut acked, mut others) = (0, 0, 0);
        while acked < 10 || others < 30 {
            let next = peer.expects_any();
            let seq = next["seq"].as_u64();
            match next["type"].as_str() {
                Some("chat_message") => {
                    let content = next["payload"]["content"].as_str().expect("a text").to_owned();
                    assert!(seen.contains(&(seq.expect("a number"), content)), "{next}");
                    others += 1;
                }
                Some("ack") => {
                    let own = (seq.expect("a number"), format!("{index}-{acked}"));
                    assert!(seen.contains(&own), "{next} of {own:?}");
                    acked += 1;
                }
                Some("member_joined") => continue,
                _ => panic!("{next}"),
            }
            let seq = seq.expect("a number");
            assert_eq!(seq, last + 1, "its own acks are among what others say: {next}");
            last = seq;
        }
    }
    let history = asks_history(&mut watching, &room, 0, 100);
    assert_eq!(contents(&history), seen.into_iter().map(|(_, content)| content).collect::<Vec<_>>());
}

#[test]
fn a_repetition_gets_the_first_answer_and_is_not_sent_again() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let device = user.device("phone").id;
    let (mut watching, mut talking) = (user.connects("watch"), user.opens(&device));
    joins(&mut watching, &room);
    joins(&mut talking, &room);
    watching.expects("member_joined");
    talking.sends(chat("m-1", &room, "one"));
    talking.sends(chat("m-1", &room, "one"));
    let (first, again) = (talking.expects_text("ack"), talking.expects_text("ack"));
    assert_eq!(first, again, "byte for byte");
    talking.sends(chat("m-1", &room, "other"));
    talking.expects_error("conflict");
    says(&mut talking, &room, "two");
    watching.expects("chat_message");
    watching.expects("chat_message");
    talking.socket.sends(&Frame::close(1000, ""));
    watching.expects("member_left");

    let mut fresh = user.opens(&device);
    joins(&mut fresh, &room);
    watching.expects("member_joined");
    fresh.sends(chat("m-1", &room, "one"));
    let ack = fresh.expects("ack");
    let expected = (&json!("stored"), &json!(1), &json!(true));
    assert_eq!((&ack["status"], &ack["seq"], &ack["duplicate"]), expected, "{ack}");
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(ack["message"], first["message"]);
    fresh.sends(chat("m-2", &room, "two"));
    fresh.expects("ack");
    watching.expects("chat_message");
    fresh.sends(chat("m-1", &unique("room"), "one"));
    fresh.expects_error("conflict");
    drop(fresh);
    let mut fresh = user.opens(&device);
    joins(&mut fresh, &room);
    fresh.sends(chat("m-1", &room, "other"));
    fresh.expects_error("conflict");
    let other_room = unique("room");
    joins(&mut fresh, &other_room);
    fresh.sends(chat("m-2", &other_room, "elsewhere"));
    assert_eq!(fresh.expects("ack")["seq"], 1, "unique in its room");
}

#[test]
fn two_nodes_number_a_room_without_gaps() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let user = one.user();
    makes(&user, "room", "public", &[]);
    let mut peers: Vec<Peer> = [&one, &other, &one, &other]
        .map(|server| Upgrade::to("/signal").bearer(&user.token).connected(server))
        .into();
    for peer in &mut peers {
        joins(peer, "room");
    }
    for number in 0..25 {
        for peer in &mut peers {
            peer.sends(chat(&format!("m-{number}"), "room", &number.to_string()));
        }
    }
    for peer in &mut peers {
        let (mut acked, mut heard) = (Vec::new(), Vec::new());
        while acked.len() < 25 {
            let next = peer.expects_any();
            match next["type"].as_str() {
                Some("ack") => acked.push(next["seq"].as_u64().expect("a number")),
                Some("chat_message") => heard.push(next["seq"].as_u64().expect("a number")),
                Some("member_joined") => {}
                _ => panic!("{next}"),
            }
        }
        assert!(heard.is_sorted() && acked.is_sorted(), "{heard:?} {acked:?}");
        let last = *acked.last().expect("the last of its own");
        let mut all = [acked, heard].concat();
        all.sort_unstable();
        all.retain(|seq| *seq <= last);
        assert_eq!(all, (1..=last).collect::<Vec<_>>(), "messages of the other node too, once");
    }
    let history = user.http().get("/api/rooms/room/messages?limit=500").expects(200);
    assert_eq!(seqs(&history), (1..=100).collect::<Vec<_>>());
}

#[test]
fn stored_messages_survive_a_kill() {
    let server = TestServer::builder().start();
    let user = server.user();
    let mut peer = user.connects("phone");
    joins(&mut peer, "room");
    for number in 1..=20 {
        assert_eq!(says(&mut peer, "room", &number.to_string())["seq"], number);
    }
    server.kill9();
    server.restart_same_port();
    let kept = user.http().get("/api/rooms/room/messages").expects(200);
    assert_eq!(seqs(&kept), (1..=20).collect::<Vec<_>>());
}
