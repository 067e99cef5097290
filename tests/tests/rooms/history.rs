//! Reading the messages of a room in pages.

use aldis_tests::{TestServer, unique};
use serde_json::{Value, json};

use crate::steps::{asks_history, chat, joins, says, seqs};

#[test]
fn history_is_read_in_pages() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut peer = user.connects("phone");
    joins(&mut peer, &room);
    for number in 1..=120 {
        peer.sends(chat(&format!("m-{number}"), &room, &number.to_string()));
        peer.expects("ack");
    }
    let page = asks_history(&mut peer, &room, 0, 50);
    assert_eq!(seqs(&page), (1..=50).collect::<Vec<_>>());
    assert_eq!((&page["complete"], &page["first_seq"]), (&json!(false), &json!(1)));
    let message = &page["messages"][0];
    assert_eq!((&message["type"], &message["id"]), (&json!("chat_message"), &json!("m-1")));
    assert_eq!((&message["room"], &message["sender_user_id"]), (&json!(room), &json!(user.id)));
    assert!(message["timestamp"].is_string(), "{message}");
    let rest = asks_history(&mut peer, &room, 100, 50);
    assert_eq!((seqs(&rest), &rest["complete"]), ((101..=120).collect(), &json!(true)));
    let none = asks_history(&mut peer, &room, 120, 50);
    assert_eq!((seqs(&none), &none["complete"]), (vec![], &json!(true)));
    let beyond = asks_history(&mut peer, &room, 500, 50);
    assert_eq!((seqs(&beyond), &beyond["complete"]), (vec![], &json!(true)));
    for page in [&page, &rest, &none, &beyond] {
        assert_eq!(page["last_seq"], 120, "the newest number, even below the requested one");
    }
    peer.sends(json!({"type": "history", "room": room}));
    assert_eq!(seqs(&peer.expects("history")).len(), 100, "where no limit is given");
    assert_eq!(seqs(&asks_history(&mut peer, &room, 0, 100_000)).len(), 120, "a larger limit is cut");
    peer.sends(json!({"type": "history", "room": room, "limit": 0}));
    peer.expects_error("bad_request");

    let path = format!("/api/rooms/{room}/messages");
    let read = user.http().get(&format!("{path}?since_seq=118&limit=1")).expects(200);
    assert_eq!((seqs(&read), &read["complete"], &read["first_seq"]), (vec![119], &json!(false), &json!(1)));
    assert_eq!(read["messages"][0], asks_history(&mut peer, &room, 118, 1)["messages"][0]);
    assert_eq!(seqs(&user.http().get(&path).expects(200)).len(), 100);
    for bad in ["limit=0", "limit=x", "since_seq=-1", "since_seq=0.5", "limit=1.5"] {
        user.http().get(&format!("{path}?{bad}")).expects_problem(422, "bad_request");
    }
}

#[test]
fn a_number_over_the_maximum_was_accepted_in_a_query() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    joins(&mut user.connects("phone"), &room);
    let path = format!("/api/rooms/{room}/messages");
    for number in ["9007199254740992", "9223372036854775808", "18446744073709551616", "1e300"] {
        user.http().get(&format!("{path}?since_seq={number}")).expects_problem(422, "bad_request");
        let conversation = format!("/api/messages?peer={}&before_seq={number}", user.id);
        user.http().get(&conversation).expects_problem(422, "bad_request");
    }
    for number in ["9007199254740991", "7.0", "7e0"] {
        user.http().get(&format!("{path}?since_seq={number}&limit={number}")).expects(200);
        let conversation = format!("/api/messages?peer={}&before_seq={number}&limit={number}", user.id);
        user.http().get(&conversation).expects(200);
    }
}

#[test]
fn a_history_holds_256_kib_and_one_message() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut peer = user.connects("phone");
    joins(&mut peer, &room);
    let long = "x".repeat(60_000);
    for _ in 0..7 {
        says(&mut peer, &room, &long);
    }
    peer.sends(json!({"type": "history", "room": room}));
    let text = peer.expects_text("history");
    assert!((256 * 1024..336 * 1024).contains(&text.len()), "{}", text.len());
    let history: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((seqs(&history), &history["complete"]), (vec![1, 2, 3, 4, 5], &json!(false)));
    let rest = asks_history(&mut peer, &room, 5, 10);
    assert_eq!((seqs(&rest), &rest["complete"]), (vec![6, 7], &json!(true)));
}

#[test]
fn five_hundred_messages_are_one_answer() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut peer = user.connects("phone");
    joins(&mut peer, &room);
    for _ in 0..6 {
        for _ in 0..100 {
            peer.sends(json!({"type": "chat_message", "room": room, "payload": {"content": "hello"}}));
        }
        for _ in 0..100 {
            assert_eq!(peer.expects("ack")["status"], "stored");
        }
    }
    let page = asks_history(&mut peer, &room, 0, 1_000);
    assert_eq!((seqs(&page), &page["complete"]), ((1..=500).collect(), &json!(false)));
}
