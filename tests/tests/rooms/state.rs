//! A room's state document.

use aldis_tests::{Incoming, TestServer, unique};
use serde_json::{Value, json};

use crate::steps::{joins, makes, put, removes, sets_state};

#[test]
fn a_state_document_is_replaced_only_with_its_revision() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    makes(&owner, &room, "public", &[&user]);
    let path = format!("/api/rooms/{room}/state");
    let mut peers = [owner.connects("phone"), user.connects("phone")];
    for peer in &mut peers {
        joins(peer, &room);
    }
    peers[0].expects("member_joined");
    let answer = owner.http().get(&path);
    assert_eq!(answer.header("etag"), "\"0\"");
    assert_eq!(answer.expects(200), json!({"revision": 0, "state": null}));

    put(&owner, &path, &[], &json!({"state": 1})).expects_problem(428, "precondition_required");
    for stale in ["\"1\"", "*", "W/\"1\"", "x"] {
        sets_state(&owner, &room, stale, &json!(1)).expects_problem(412, "precondition_failed");
    }
    let set = sets_state(&owner, &room, "\"0\"", &json!({"a": [1, null]}));
    assert_eq!(set.header("etag"), "\"1\"");
    let expected = json!({"revision": 1, "state": {"a": [1, null]}});
    assert_eq!(set.expects(200), expected);
    for peer in &mut peers {
        let update = peer.expects("room_update");
        assert_eq!((&update["room"], &update["payload"]), (&json!(room), &expected));
    }
    sets_state(&owner, &room, "\"0\"", &json!(2)).expects_problem(412, "precondition_failed");
    sets_state(&user, &room, "\"1\"", &json!(2)).expects_problem(403, "forbidden");
    sets_state(&owner, &room, "1", &Value::Null).expects(200);
    for peer in &mut peers {
        assert_eq!(peer.expects("room_update")["payload"], json!({"revision": 2, "state": null}));
    }
    sets_state(&owner, &room, "*", &json!(3)).expects(200);
    for peer in &mut peers {
        assert_eq!(peer.expects("room_update")["payload"], json!({"revision": 3, "state": 3}));
        peer.expects_nothing();
    }
    assert_eq!(user.http().get(&path).expects(200), json!({"revision": 3, "state": 3}));
}

#[test]
fn a_state_document_is_limited_and_unchanged() {
    let server = TestServer::shared();
    let (owner, room) = (server.user(), unique("room"));
    makes(&owner, &room, "public", &[]);
    let mut peer = owner.connects("phone");
    joins(&mut peer, &room);
    let sets = |revision: &str, body: String| {
        let headers = [("Content-Type", "application/json"), ("If-Match", revision)];
        owner.http().send("PUT", &format!("/api/rooms/{room}/state"), &headers, body.into_bytes())
    };
    let text = |bytes: usize| format!(r#"{{"state":"{}"}}"#, "x".repeat(bytes - 2));
    let nested = |levels: usize| format!(r#"{{"state":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    sets("0", text(32 * 1024 + 1)).expects_problem(413, "too_large");
    sets("0", nested(127)).expects_problem(422, "bad_request");
    for malformed in ["{}", "", "[1]", r#"{"state":}"#, r#"{"state":"\u0000"}"#, r#"{"state":1,"state":2}"#] {
        sets("0", malformed.to_owned()).expects_problem(422, "bad_request");
    }
    peer.expects_nothing();
    sets("0", text(32 * 1024)).expects(200);
    peer.expects("room_update");
    assert_eq!(sets("1", nested(126)).status, 200);
    // Deeper than the parser of these scenarios can read.
    let Incoming::Text(deep) = peer.socket.next("the state") else { panic!("a text was to come") };
    assert!(deep.contains(&"[".repeat(126)), "{deep}");
    sets("2", r#"{"state": { "a" :  1.0 } }"#.to_owned()).expects(200);
    let update = peer.expects_text("room_update");
    assert!(update.contains(r#""state":{ "a" :  1.0 }"#), "{update}");
}

#[test]
fn a_tag_that_nginx_weakened_could_never_be_matched() {
    let server = TestServer::shared();
    let (owner, room) = (server.user(), unique("room"));
    makes(&owner, &room, "public", &[]);
    for (number, tag) in ["W/\"0\"", "W/\"1\"", "\"2-gzip\"", "\"x\", W/\"3\""].into_iter().enumerate() {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        let body = br#"{"state":1}"#.to_vec();
        let set = owner.http().send("PUT", &format!("/api/rooms/{room}/state"), &headers, body).expects(200);
        assert_eq!(set["revision"], number + 1, "{tag}");
    }
    let headers = [("Content-Type", "application/json"), ("If-Match", "W/\"3\"")];
    let body = br#"{"state":1}"#.to_vec();
    let stale = owner.http().send("PUT", &format!("/api/rooms/{room}/state"), &headers, body);
    stale.expects_problem(412, "precondition_failed");
}

#[test]
fn members_set_the_state_if_allowed() {
    let server = TestServer::shared();
    let (owner, member, stranger, room) = (server.user(), server.user(), server.user(), unique("room"));
    let body =
        json!({"room": room, "visibility": "public", "members": [member.id], "state_writers": "members"});
    assert_eq!(owner.http().post("/api/rooms", &body).expects(201)["state_writers"], "members");
    sets_state(&stranger, &room, "0", &json!(1)).expects_problem(403, "forbidden");
    sets_state(&member, &room, "0", &json!(1)).expects(200);
    sets_state(&owner, &room, "1", &json!(2)).expects(200);
    removes(&owner, &room, &member.id).expects(204);
    sets_state(&member, &room, "2", &json!(3)).expects_problem(404, "unknown_room");
}
