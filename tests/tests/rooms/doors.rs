//! Rooms at every door and in both codecs.

use aldis_protocol::schema;
use aldis_protocol::schema::Envelope;
use aldis_protocol::schema::envelope::Body;
use aldis_tests::{Identity, ProtoPeer, TestServer, Upgrade, unique};
use bytes::Bytes;
use serde_json::json;

use crate::steps::{
    adds, asks_history, contents, enters, joins, listed, makes, members_of, says, sets_state, told_of,
};

#[test]
fn the_chat_door_leads_into_its_room() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("recipe"));
    let mut one = enters(&server, &ann, &room, &ann.device("phone").id);
    let (members, state) = told_of(&mut one, &room);
    assert_eq!(members_of(&members), [listed(&ann.id, &[&one])]);
    assert_eq!(state, json!({"revision": 0, "state": null}));
    sets_state(&ann, &room, "\"0\"", &json!({"title": "Soup"})).expects(200);
    one.expects("room_update");

    let mut other = enters(&server, &bob, &room, &bob.device("phone").id);
    let (members, state) = told_of(&mut other, &room);
    assert_eq!(members["count"], 2);
    assert_eq!(state, json!({"revision": 1, "state": {"title": "Soup"}}));
    one.expects("member_joined");
    other.sends(json!({"type": "chat_message", "id": "m", "payload": {"content": "Good?"}}));
    assert_eq!(other.expects("ack")["seq"], 1);
    let got = one.expects("chat_message");
    assert_eq!((&got["room"], &got["payload"]["content"]), (&json!(room), &json!("Good?")));
    one.sends(json!({"type": "broadcast", "payload": "typing"}));
    one.expects("ack");
    assert_eq!(other.expects("broadcast")["room"], room);
    one.sends(json!({"type": "history"}));
    assert_eq!(contents(&one.expects("history")), ["Good?"]);
    for (kind, error) in [("leave", None), ("leave", Some("unknown_room")), ("join", None)] {
        other.sends(json!({"type": kind}));
        match error {
            Some(code) => drop(other.expects_error(code)),
            None => drop(other.expects("ack")),
        }
    }
    assert_eq!(
        [one.expects("member_left")["room"].clone(), one.expects("member_joined")["room"].clone()],
        [json!(room), json!(room)]
    );
    let elsewhere = unique("room");
    joins(&mut one, &elsewhere);
    assert_eq!(says(&mut one, &elsewhere, "there")["seq"], 1, "any room may be named");
}

#[test]
fn at_the_chat_door_of_a_forbidden_room_a_session_continues_without_it() {
    let server = TestServer::shared();
    let (owner, stranger, room) = (server.user(), server.user(), unique("secret"));
    makes(&owner, &room, "private", &[]);
    let mut peer = enters(&server, &stranger, &room, &stranger.device("phone").id);
    peer.expects_error("unknown_room");
    peer.sends(json!({"type": "chat_message", "payload": {"content": "hi"}}));
    peer.expects_error("unknown_room");
    joins(&mut peer, &unique("room"));
    adds(&owner, &room, &stranger.id).expects(204);
    assert_eq!(peer.expects("room_invite")["room"], room);
    joins(&mut peer, &room);
    peer.sends(json!({"type": "chat_message", "payload": {"content": "hi"}}));
    assert_eq!(peer.expects("ack")["seq"], 1);
}

#[test]
fn every_door_leads_to_the_same_rooms() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut first = user.connects("phone");
    joins(&mut first, &room);
    let json =
        |path: &str| Upgrade::to(path).bearer(&user.token).subprotocols("aldis.v1.json").connected(&server);
    let mut doors =
        vec![json("/signal"), json("/ws"), json("/api/ws"), Identity::new().connects(&server, None)];
    doors.push(enters(&server, &user, &unique("other"), &user.device("chat").id));
    let last = doors.last_mut().expect("the chat door");
    last.expects("room_members");
    last.expects("room_update");
    for peer in &mut doors {
        joins(peer, &room);
        first.expects("member_joined");
        says(peer, &room, "hi");
        first.expects("chat_message");
        peer.sends(json!({"type": "leave", "room": room}));
        peer.expects("ack");
        first.expects("member_left");
    }
}

#[test]
fn clients_of_both_codecs_share_a_room() {
    let server = TestServer::shared();
    let (user, room) = (server.user(), unique("room"));
    let mut json = user.connects("phone");
    let mut proto = ProtoPeer::new(Upgrade::to("/ws").bearer(&user.token).open(&server));
    proto.expects("connected", |body| matches!(body, Body::Connected(_)).then_some(()));
    let envelope = |id: &str, body| Envelope {
        request_id: Some(id.to_owned()),
        room: Some(room.clone()),
        body: Some(body),
        ..Envelope::default()
    };
    joins(&mut json, &room);
    sets_state(&user, &room, "0", &json!({"a": 1})).expects(200);
    json.expects("room_update");
    proto.sends(envelope("j", Body::Join(schema::Join {})));
    proto.expects("ack", |body| matches!(body, Body::Ack(_)).then_some(()));
    let (_, members) = proto.expects("room_members", |body| match body {
        Body::RoomMembers(members) => Some(members),
        _ => None,
    });
    assert_eq!(members.count, 1);
    let (_, update) = proto.expects("room_update", |body| match body {
        Body::RoomUpdate(update) => Some(update),
        _ => None,
    });
    assert_eq!((update.revision, &*update.state), (1, &br#"{"a":1}"#[..]));
    json.expects("member_joined");

    let payload = Bytes::from_static(br#"{"content": "from proto" }"#);
    proto.sends(envelope("m", Body::ChatMessage(schema::ChatMessage { payload })));
    let (_, ack) = proto.expects("ack", |body| match body {
        Body::Ack(ack) => Some(ack),
        _ => None,
    });
    assert_eq!(ack.status, "stored");
    let text = json.expects_text("chat_message");
    assert!(text.contains(r#""payload":{"content": "from proto" }"#), "{text}");
    says(&mut json, &room, "from json");
    let (got, chat) = proto.expects("chat_message", |body| match body {
        Body::ChatMessage(chat) => Some(chat),
        _ => None,
    });
    assert_eq!((got.seq, got.room), (Some(2), Some(room.clone())));
    assert_eq!(&*chat.payload, br#"{"content":"from json"}"#);
    proto.sends(envelope("h", Body::History(schema::History::default())));
    let (_, history) = proto.expects("history", |body| match body {
        Body::History(history) => Some(history),
        _ => None,
    });
    assert_eq!(history.messages.len(), 2);
    assert_eq!(contents(&asks_history(&mut json, &room, 0, 10)), ["from proto", "from json"]);
}
