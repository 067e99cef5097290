//! Reach and presence among the members of a room.

use aldis_tests::{Peer, TestServer, unique};
use serde_json::json;

use crate::steps::{adds, joins, makes, put, removes};

#[test]
fn members_of_one_private_room_reach_each_other() {
    let server = TestServer::shared();
    let (owner, member, stranger, room) = (server.user(), server.user(), server.user(), unique("room"));
    let [mut one, mut other, mut outside] = [&owner, &member, &stranger].map(|user| user.connects("phone"));
    let signal = |to: &Peer| json!({"type": "signal", "id": unique("s"), "target_device_id": to.device_id(), "payload": 1});
    one.sends(signal(&other));
    one.expects_error("target_unavailable");
    makes(&owner, &room, "private", &[&member]);
    other.expects("room_invite");
    joins(&mut other, &room);
    one.sends(signal(&other));
    one.expects("ack");
    other.expects("signal");
    let message =
        json!({"type": "message", "id": unique("m"), "recipient_id": owner.id, "encrypted_content": "aGk="});
    other.sends(message);
    assert_eq!(other.expects("ack")["status"], "stored");
    one.expects("message");
    outside.sends(signal(&other));
    outside.expects_error("target_unavailable");
    adds(&owner, &room, &stranger.id).expects(204);
    outside.expects("room_invite");
    joins(&mut outside, &room);
    other.expects("member_joined");
    outside.sends(signal(&other));
    outside.expects("ack");
    other.expects("signal");
    removes(&owner, &room, &stranger.id).expects(204);
    outside.expects("member_left");
    other.expects("member_left");
    outside.sends(signal(&other));
    outside.expects_error("target_unavailable");
    put(&member, &format!("/api/contacts/{}", owner.id), &[], &json!({"state": "blocked"})).expects(204);
    one.sends(signal(&other));
    one.expects_error("target_unavailable");
}

#[test]
fn members_of_one_private_room_see_each_others_presence() {
    let server = TestServer::shared();
    let (owner, member, room) = (server.user(), server.user(), unique("room"));
    let (mut watching, mut watched) = (owner.connects("phone"), member.connects("phone"));
    watching.sends(json!({"type": "presence_subscribe", "user_ids": [member.id]}));
    watching.expects("ack");
    assert_eq!(watching.expects("presence")["status"], "offline");
    makes(&owner, &room, "private", &[&member]);
    watched.expects("room_invite");
    watching.expects_nothing();
    joins(&mut watched, &room);
    assert_eq!(watching.expects("presence")["status"], "online");
    removes(&owner, &room, &member.id).expects(204);
    assert_eq!(watching.expects("presence")["status"], "offline");
    watched.expects("member_left");
    adds(&owner, &room, &member.id).expects(204);
    watched.expects("room_invite");
    joins(&mut watched, &room);
    assert_eq!(watching.expects("presence")["status"], "online");
    member.http().delete("/api/account").expects(204);
    assert_eq!(watching.expects("presence")["status"], "offline");
}

#[test]
fn people_in_one_public_room_may_signal_each_other_while_both_are_there() {
    let server = TestServer::shared();
    let (ann, bob, room) = (server.user(), server.user(), unique("room"));
    makes(&ann, &room, "public", &[&bob]);
    let (mut one, mut other, mut elsewhere) =
        (ann.connects("phone"), bob.connects("phone"), bob.connects("laptop"));
    let signal = |to: &Peer| json!({"type": "signal", "id": unique("s"), "target_device_id": to.device_id(), "payload": 1});
    joins(&mut one, &room);
    one.sends(signal(&other));
    one.expects_error("target_unavailable");
    joins(&mut other, &room);
    one.expects("member_joined");
    one.sends(signal(&other));
    one.expects("ack");
    other.expects("signal");
    one.sends(signal(&elsewhere));
    one.expects_error("target_unavailable");
    elsewhere.expects_nothing();
    let message =
        json!({"type": "message", "id": unique("m"), "recipient_id": bob.id, "encrypted_content": "aGk="});
    one.sends(message);
    one.expects_error("target_unavailable");
    other.sends(json!({"type": "leave", "room": room}));
    other.expects("ack");
    one.expects("member_left");
    one.sends(signal(&other));
    one.expects_error("target_unavailable");
    other.expects_nothing();
}
