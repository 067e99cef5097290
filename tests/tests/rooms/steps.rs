//! Steps of the room scenarios.

use aldis_tests::{Answer, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

pub(crate) fn put(user: &User, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    user.http().send("PUT", path, &headers, body.to_string().into_bytes())
}

pub(crate) fn makes(user: &User, room: &str, visibility: &str, members: &[&User]) -> Value {
    let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    let body = json!({"room": room, "visibility": visibility, "members": members});
    user.http().post("/api/rooms", &body).expects(201)
}

pub(crate) fn adds(owner: &User, room: &str, user: &str) -> Answer {
    owner.http().send("PUT", &format!("/api/rooms/{room}/members/{user}"), &[], Vec::new())
}

pub(crate) fn removes(owner: &User, room: &str, user: &str) -> Answer {
    owner.http().delete(&format!("/api/rooms/{room}/members/{user}"))
}

pub(crate) fn sets_state(user: &User, room: &str, revision: &str, state: &Value) -> Answer {
    let body = json!({"state": state});
    put(user, &format!("/api/rooms/{room}/state"), &[("If-Match", revision)], &body)
}

/// A user who was added to a private room joins it and so becomes a member.
#[track_caller]
pub(crate) fn becomes_member(user: &User, room: &str) {
    let mut peer = user.opens_ephemeral();
    joins(&mut peer, room);
    peer.sends(json!({"type": "leave", "room": room}));
    peer.expects("ack");
}

/// Joins a room; returns `room_members` and `room_update`.
#[track_caller]
pub(crate) fn joins(peer: &mut Peer, room: &str) -> (Value, Value) {
    let id = unique("join");
    peer.sends(json!({"type": "join", "id": id, "room": room}));
    let ack = peer.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("done")), "{ack}");
    told_of(peer, room)
}

#[track_caller]
pub(crate) fn told_of(peer: &mut Peer, room: &str) -> (Value, Value) {
    let members = peer.expects("room_members");
    let update = peer.expects("room_update");
    assert_eq!((&members["room"], &update["room"]), (&json!(room), &json!(room)));
    (members, update["payload"].clone())
}

#[track_caller]
pub(crate) fn is_refused(peer: &mut Peer, room: &str) -> Value {
    let id = unique("join");
    peer.sends(json!({"type": "join", "id": id, "room": room}));
    let error = peer.expects_error("unknown_room");
    assert_eq!(error["id"], id);
    error["payload"].clone()
}

pub(crate) fn chat(id: &str, room: &str, content: &str) -> Value {
    json!({"type": "chat_message", "id": id, "room": room, "payload": {"content": content}})
}

/// Sends a chat message; returns its `ack`.
#[track_caller]
pub(crate) fn says(peer: &mut Peer, room: &str, content: &str) -> Value {
    let id = unique("m");
    peer.sends(chat(&id, room, content));
    let ack = peer.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("stored")), "{ack}");
    ack
}

#[track_caller]
pub(crate) fn asks_history(peer: &mut Peer, room: &str, since_seq: u64, limit: u64) -> Value {
    let id = unique("history");
    peer.sends(json!({"type": "history", "id": id, "room": room, "since_seq": since_seq, "limit": limit}));
    let history = peer.expects("history");
    assert_eq!((&history["id"], &history["room"]), (&json!(id), &json!(room)));
    history
}

pub(crate) fn contents(history: &Value) -> Vec<String> {
    let messages = history["messages"].as_array().expect("one named array");
    messages
        .iter()
        .map(|message| message["payload"]["content"].as_str().expect("a text").to_owned())
        .collect()
}

pub(crate) fn seqs(history: &Value) -> Vec<u64> {
    let messages = history["messages"].as_array().expect("one named array");
    messages.iter().map(|message| message["seq"].as_u64().expect("a number")).collect()
}

/// The members of a room, as `room_members` lists them.
pub(crate) fn listed(user: &str, peers: &[&Peer]) -> Value {
    let mut devices: Vec<String> = peers.iter().map(|peer| peer.device_id()).collect();
    devices.sort();
    json!({"user_id": user, "device_ids": devices})
}

pub(crate) fn members_of(room_members: &Value) -> Vec<Value> {
    let mut members = room_members["members"].as_array().expect("a list").clone();
    for member in &mut members {
        member["device_ids"].as_array_mut().expect("devices").sort_by_key(ToString::to_string);
    }
    members
}

pub(crate) fn enters(server: &TestServer, user: &User, room: &str, device: &str) -> Peer {
    let mut peer = Upgrade::to(format!("/v1/chat/{room}")).peer(server);
    peer.sends(json!({"type": "auth", "payload": {"token": user.token, "device_id": device}}));
    peer.expects("auth_success");
    peer.expects_connected();
    peer
}
