//! Joins and leaves of rooms.

use aldis_tests::{Frame, TestServer, Upgrade, unique};
use serde_json::{Value, json};

use crate::steps::{chat, joins, listed, members_of, says};

#[test]
fn a_join_shows_the_members_and_is_sent_to_them() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    let (mut phone, mut laptop, mut other) =
        (ann.connects("phone"), ann.connects("laptop"), bob.connects("phone"));
    let (members, state) = joins(&mut phone, &room);
    assert_eq!((&members["count"], members_of(&members)), (&json!(1), vec![listed(&ann.id, &[&phone])]));
    assert_eq!(state, json!({"revision": 0, "state": null}), "none was set");

    let (members, _) = joins(&mut laptop, &room);
    assert_eq!(
        (&members["count"], members_of(&members)),
        (&json!(1), vec![listed(&ann.id, &[&phone, &laptop])])
    );
    let joined = phone.expects("member_joined");
    assert_eq!(joined["device_id"], laptop.device_id());

    let (members, _) = joins(&mut other, &room);
    assert_eq!(members["count"], 2);
    assert!(members_of(&members).contains(&listed(&bob.id, &[&other])), "{members}");
    for peer in [&mut phone, &mut laptop] {
        let joined = peer.expects("member_joined");
        let expected = (&json!(room), &json!(bob.id), &json!(other.device_id()));
        assert_eq!((&joined["room"], &joined["user_id"], &joined["device_id"]), expected);
    }
    other.sends(json!({"type": "leave", "id": "l-1", "room": room}));
    assert_eq!(other.expects("ack")["status"], "done");
    for peer in [&mut phone, &mut laptop] {
        let left = peer.expects("member_left");
        let expected = (&json!(room), &json!(bob.id), &json!(other.device_id()));
        assert_eq!((&left["room"], &left["user_id"], &left["device_id"]), expected);
    }
    other.expects_nothing();
    laptop.sends(json!({"type": "broadcast", "room": room, "payload": 1}));
    laptop.expects("ack");
    phone.expects("broadcast");
    other.expects_nothing();
}

#[test]
fn a_repeated_join_is_answered_again_but_not_sent_to_others() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let (mut one, mut other) = (user.connects("phone"), user.connects("laptop"));
    joins(&mut one, &room);
    joins(&mut other, &room);
    one.expects("member_joined");
    let (members, _) = joins(&mut one, &room);
    assert_eq!(members_of(&members), [listed(&user.id, &[&one, &other])]);
    other.expects_nothing();
}

#[test]
fn each_session_joins_for_itself() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let (mut inside, mut outside) = (user.connects("phone"), user.connects("laptop"));
    joins(&mut inside, &room);
    let requests = [
        chat("c", &room, "hi"),
        json!({"type": "broadcast", "id": "b", "room": room, "payload": 1}),
        json!({"type": "history", "id": "h", "room": room}),
        json!({"type": "leave", "id": "l", "room": room}),
    ];
    for request in requests {
        outside.sends(request.clone());
        assert_eq!(outside.expects_error("unknown_room")["id"], request["id"], "{request}");
    }
    inside.expects_nothing();
    for kind in ["chat_message", "broadcast", "history"] {
        inside.sends(json!({"type": kind, "id": "no-room", "payload": {"content": "hi"}}));
        inside.expects_error("bad_request");
    }
    for malformed in [json!({"content": 1}), json!("hi"), json!({}), Value::Null] {
        inside.sends(json!({"type": "chat_message", "room": room, "payload": malformed}));
        inside.expects_error("bad_request");
    }
    inside.sends(json!({"type": "join", "room": "a room"}));
    inside.expects_error("bad_request");
}

#[test]
fn a_session_that_ends_leaves_and_one_that_breaks_stays_for_its_window() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    let device = ann.device("phone").id;
    let (mut leaving, mut staying) = (ann.opens(&device), bob.connects("phone"));
    joins(&mut staying, &room);
    joins(&mut leaving, &room);
    staying.expects("member_joined");
    let connected = leaving.connected.clone();
    leaving.socket.breaks();
    for number in 0..3 {
        assert_eq!(says(&mut staying, &room, &number.to_string())["seq"], number + 1);
    }
    let token = connected["session"]["resume_token"].as_str().expect("a token");
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let mut back = Upgrade::to("/signal")
        .query("device_id", &device)
        .query("resume", &token)
        .query("received", "3")
        .bearer(&ann.token)
        .connected(&server);
    assert_eq!(back.connected["session"]["resumed"], true, "{}", back.connected);
    for number in 0..3 {
        assert_eq!(back.expects("chat_message")["seq"], number + 1);
    }
    assert_eq!(says(&mut back, &room, "back")["seq"], 4);
    staying.expects("chat_message");
    back.socket.sends(&Frame::close(1000, ""));
    assert_eq!(staying.expects("member_left")["device_id"], device);
}

#[test]
fn a_session_that_is_replaced_leaves() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    let device = ann.device("phone").id;
    let (mut old, mut other) = (ann.opens(&device), bob.connects("phone"));
    joins(&mut other, &room);
    joins(&mut old, &room);
    other.expects("member_joined");
    let mut new = ann.opens(&device);
    other.expects("member_left");
    old.expects_close_code(4300);
    says(&mut other, &room, "hi");
    new.expects_nothing();
    joins(&mut new, &room);
    other.expects("member_joined");
    other.expects_nothing();
}
