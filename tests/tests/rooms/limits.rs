//! Limits of rooms.

use aldis_tests::{Identity, Peer, TestServer};
use serde_json::{Value, json};

use crate::steps::{chat, joins, makes, members_of};

/// A session of a new user.
fn somebody(server: &TestServer) -> Peer {
    Identity::new().connects(server, None)
}

#[test]
fn joins_in_a_room_of_over_256_users_are_not_sent() {
    let server = TestServer::builder().start();
    let mut inside: Vec<Peer> = (0..255).map(|_| somebody(&server)).collect();
    for peer in &mut inside {
        peer.sends(json!({"type": "join", "room": "crowd"}));
        peer.expects("ack");
    }
    let mut last = somebody(&server);
    let (members, _) = joins(&mut last, "crowd");
    assert_eq!((&members["count"], members_of(&members).len()), (&json!(256), 256));
    let first = &mut inside[0];
    first.expects("room_members");
    first.expects("room_update");
    for _ in 0..255 {
        first.expects("member_joined");
    }

    let (one, another) = (Identity::new(), Identity::new());
    let mut too_many = one.connects(&server, None);
    let (members, _) = joins(&mut too_many, "crowd");
    assert_eq!((&members["count"], &members["members"]), (&json!(257), &Value::Null));
    first.expects_nothing();
    let (members, _) = joins(&mut another.connects(&server, None), "crowd");
    assert_eq!(members["count"], 258);
    too_many.sends(json!({"type": "broadcast", "room": "crowd", "payload": 1}));
    too_many.expects("ack");
    first.expects("broadcast");
    too_many.sends(chat("m", "crowd", "hi"));
    assert_eq!(too_many.expects("ack")["seq"], 1);
    first.expects("chat_message");

    too_many.sends(json!({"type": "leave", "room": "crowd"}));
    too_many.expects("ack");
    first.expects_nothing();
}

#[test]
fn a_session_is_in_a_hundred_rooms_and_a_user_owns_a_hundred() {
    let server = TestServer::builder().start();
    let user = server.user();
    for number in 0..100 {
        makes(&user, &format!("own-{number}"), "public", &[]);
    }
    let body = json!({"room": "one-more", "visibility": "public"});
    user.http().post("/api/rooms", &body).expects_problem(409, "conflict");
    let mut peer = user.connects("phone");
    peer.sends(json!({"type": "join", "room": "one-more"}));
    peer.expects_error("conflict");
    for number in 0..100 {
        joins(&mut peer, &format!("own-{number}"));
    }
    let other = server.user();
    makes(&other, "hers", "public", &[]);
    peer.sends(json!({"type": "join", "room": "hers"}));
    peer.expects_error("conflict");
    joins(&mut peer, "own-7");
    peer.sends(json!({"type": "leave", "room": "own-7"}));
    peer.expects("ack");
    joins(&mut peer, "hers");
}

#[test]
fn stored_messages_are_limited_by_user() {
    let server = TestServer::builder().env("ALDIS_RATE_LIMITS", "on").start();
    let user = server.user();
    let mut peers = [user.opens_ephemeral(), user.opens_ephemeral()];
    let mut outcomes = Vec::new();
    for peer in &mut peers {
        peer.sends(json!({"type": "join", "room": "room"}));
        peer.expects("ack");
        for _ in 0..65 {
            peer.sends(json!({"type": "chat_message", "room": "room", "payload": {"content": "hi"}}));
        }
    }
    for peer in &mut peers {
        let mut answers = 0;
        while answers < 65 {
            let next = peer.expects_any();
            match next["type"].as_str() {
                Some("ack") => outcomes.push(true),
                Some("error") => {
                    assert_eq!(next["payload"]["code"], "rate_limited");
                    outcomes.push(false);
                }
                _ => continue,
            }
            answers += 1;
        }
    }
    let stored = outcomes.iter().filter(|stored| **stored).count();
    assert!((120..=124).contains(&stored), "{stored} of 130 were stored");
}
