//! Users whom others add to private rooms: nothing is permitted until they join.

use aldis_tests::{Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

use crate::steps::{
    adds, becomes_member, chat, enters, is_refused, joins, makes, put, removes, says, sets_state,
};

fn signal(to: &Peer, kind: &str) -> Value {
    json!({"type": kind, "id": unique("s"), "target_device_id": to.device_id(), "payload": {}})
}

fn letter(to: &User) -> Value {
    json!({"type": "message", "id": unique("m"), "recipient_id": to.id, "encrypted_content": "aGk="})
}

fn watches(peer: &mut Peer, user: &User) -> Value {
    peer.sends(json!({"type": "presence_subscribe", "user_ids": [user.id]}));
    peer.expects("ack");
    peer.expects("presence")
}

fn invitations(user: &User) -> Vec<Value> {
    let answer = user.http().get("/api/rooms/invitations").expects(200);
    answer["invitations"].as_array().expect("one named array").clone()
}

fn decides(user: &User, about: &User, state: &str) {
    put(user, &format!("/api/contacts/{}", about.id), &[], &json!({"state": state})).expects(204);
}

/// Neither of the two can reach the other in any way.
fn are_apart(one: &mut Peer, first: &User, other: &mut Peer, second: &User) {
    for kind in ["offer", "signal"] {
        one.sends(signal(other, kind));
        one.expects_error("target_unavailable");
        other.sends(signal(one, kind));
        other.expects_error("target_unavailable");
    }
    one.sends(letter(second));
    one.expects_error("target_unavailable");
    other.sends(letter(first));
    other.expects_error("target_unavailable");
}

#[test]
fn a_stranger_reached_every_user_they_added_to_a_private_room() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (stranger, victim, third) = (server.user(), server.user(), server.user());
        let (mut one, mut other) = (stranger.connects("phone"), victim.connects("phone"));
        let mut accomplice = third.connects("phone");
        makes(&stranger, "trap", "private", &[&victim, &third]);
        for peer in [&mut other, &mut accomplice] {
            let invite = peer.expects("room_invite");
            assert_eq!((&invite["room"], &invite["user_id"]), (&json!("trap"), &json!(stranger.id)));
        }
        joins(&mut accomplice, "trap");
        joins(&mut one, "trap");
        accomplice.expects("member_joined");
        are_apart(&mut one, &stranger, &mut other, &victim);
        are_apart(&mut accomplice, &third, &mut other, &victim);
        assert_eq!(watches(&mut one, &victim)["status"], "offline");
        assert_eq!(watches(&mut other, &stranger)["status"], "offline");
        adds(&stranger, "trap", &victim.id).expects(204);
        are_apart(&mut one, &stranger, &mut other, &victim);
        says(&mut one, "trap", "can you hear me?");
        accomplice.expects("chat_message");
        other.expects_nothing();

        // Presence is written when the socket has room, so it may come before the answer.
        other.sends(json!({"type": "join", "id": "join", "room": "trap"}));
        let mut frames: Vec<Value> = (0..4).map(|_| other.expects_any()).collect();
        frames.sort_by_key(|frame| frame["type"].to_string());
        let kinds: Vec<&Value> = frames.iter().map(|frame| &frame["type"]).collect();
        assert_eq!(kinds, ["ack", "presence", "room_members", "room_update"]);
        assert_eq!((&frames[0]["status"], &frames[1]["status"]), (&json!("done"), &json!("online")));
        accomplice.expects("member_joined");
        let told = [one.expects_any(), one.expects_any()];
        let mut kinds = [&told[0]["type"], &told[1]["type"]];
        kinds.sort_by_key(ToString::to_string);
        assert_eq!(kinds, ["member_joined", "presence"], "watchers see them by now");
        one.sends(signal(&other, "offer"));
        one.expects("ack");
        other.expects("offer");
        one.sends(letter(&victim));
        one.expects("ack");
        other.expects("message");
    }
}

#[test]
fn throwaway_rooms_filled_a_mailbox() {
    let server = TestServer::shared();
    let (victim, friend) = (server.user(), server.user());
    decides(&victim, &friend, "allowed");
    for _ in 0..4 {
        let throwaway = server.user();
        makes(&throwaway, &unique("room"), "private", &[&victim]);
        let mut peer = throwaway.opens_ephemeral();
        for _ in 0..5 {
            peer.sends(letter(&victim));
            peer.expects_error("target_unavailable");
        }
    }
    assert_eq!(invitations(&victim).len(), 4);
    let mut peer = friend.opens_ephemeral();
    peer.sends(letter(&victim));
    assert_eq!(peer.expects("ack")["seq"], 1);
    let mut phone = victim.opens_ephemeral();
    phone.sends(json!({"type": "sync", "since_seq": 0}));
    assert_eq!(phone.expects("message")["sender_user_id"], friend.id);
    assert_eq!(phone.expects("synced")["seq"], 1);
}

#[test]
fn an_invited_user_may_only_look_join_or_decline() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    let body =
        json!({"room": room, "visibility": "private", "members": [user.id], "state_writers": "members"});
    owner.http().post("/api/rooms", &body).expects(201);
    let mut inside = owner.connects("phone");
    joins(&mut inside, &room);
    says(&mut inside, &room, "among us");
    let (http, path) = (user.http(), format!("/api/rooms/{room}"));
    let listed = invitations(&user);
    assert_eq!((&listed[0]["room"], &listed[0]["user_id"]), (&json!(room), &json!(owner.id)));
    assert!(listed[0]["since"].is_string() && listed.len() == 1, "{listed:?}");
    assert_eq!(http.get(&path).expects(200)["owner_id"], owner.id);
    for part in ["messages", "state"] {
        http.get(&format!("{path}/{part}")).expects_problem(403, "forbidden");
    }
    sets_state(&user, &room, "0", &json!(1)).expects_problem(403, "forbidden");
    adds(&user, &room, &user.id).expects_problem(403, "forbidden");
    removes(&user, &room, &owner.id).expects_problem(403, "forbidden");
    let mut peer = user.connects("phone");
    peer.sends(chat("m", &room, "hi"));
    peer.expects_error("unknown_room");
    peer.sends(json!({"type": "history", "room": room}));
    peer.expects_error("unknown_room");
    inside.expects_nothing();

    let mut door = enters(&server, &user, &room, &user.device("door").id);
    door.expects("room_members");
    door.expects("room_update");
    inside.expects("member_joined");
    assert_eq!(invitations(&user), Vec::<Value>::new(), "the chat door accepts as well");
    http.get(&format!("{path}/messages")).expects(200);
    sets_state(&user, &room, "0", &json!(1)).expects(200);
    inside.expects("room_update");
    adds(&user, &room, &user.id).expects_problem(403, "forbidden");
}

#[test]
fn an_invitation_reaches_each_device_live_or_later() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    let away = user.device("away");
    let (mut phone, mut page) = (user.connects("phone"), user.opens_ephemeral());
    makes(&owner, &room, "private", &[&user]);
    for peer in [&mut phone, &mut page] {
        assert_eq!(peer.expects("room_invite")["room"], room);
    }
    adds(&owner, &room, &user.id).expects(204);
    phone.expects_nothing();
    let mut later = user.opens(&away.id);
    assert_eq!(later.expects("room_invite")["user_id"], owner.id);
    // The alert about the phone was the first.
    later.confirms(2);
    drop(later);
    user.opens(&away.id).expects_nothing();

    let (other, gone) = (user.device("other"), unique("room"));
    makes(&owner, &gone, "private", &[&user]);
    phone.expects("room_invite");
    removes(&user, &gone, &user.id).expects(204);
    user.opens(&other.id).expects_nothing();
}

#[test]
fn a_user_who_had_declined_was_added_to_the_next_room() {
    let server = TestServer::shared();
    let (owner, user) = (server.user(), server.user());
    let (first, second) = (unique("room"), unique("room"));
    let mut phone = user.connects("phone");
    makes(&owner, &first, "private", &[&user]);
    phone.expects("room_invite");
    removes(&user, &first, &user.id).expects(204);
    removes(&user, &first, &user.id).expects_problem(404, "unknown_room");
    let made = makes(&owner, &second, "private", &[&user]);
    assert_eq!(made["members"], json!([owner.id, user.id]), "the usual answer");
    adds(&owner, &first, &user.id).expects(204);
    for room in [&first, &second] {
        user.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
    }
    assert_eq!(invitations(&user), Vec::<Value>::new());
    phone.expects_nothing();
    decides(&user, &owner, "allowed");
    adds(&owner, &first, &user.id).expects(204);
    assert_eq!(phone.expects("room_invite")["room"], first);
    joins(&mut phone, &first);
}

#[test]
fn a_blocked_user_added_others_to_their_rooms() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    let mut phone = user.connects("phone");
    decides(&user, &owner, "blocked");
    let made = makes(&owner, &room, "private", &[&user]);
    assert_eq!(made["members"], json!([owner.id, user.id]));
    adds(&owner, &room, &user.id).expects(204);
    let seen = owner.http().get(&format!("/api/rooms/{room}")).expects(200);
    assert_eq!(seen["members"], made["members"]);
    user.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
    removes(&user, &room, &user.id).expects_problem(404, "unknown_room");
    assert_eq!(invitations(&user), Vec::<Value>::new());
    phone.expects_nothing();
}

#[test]
fn a_user_who_left_was_added_again() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    let (mut one, mut other) = (owner.connects("phone"), user.connects("phone"));
    makes(&owner, &room, "private", &[&user]);
    other.expects("room_invite");
    joins(&mut other, &room);
    removes(&user, &room, &user.id).expects(204);
    other.expects("member_left");
    adds(&owner, &room, &user.id).expects(204);
    are_apart(&mut one, &owner, &mut other, &user);
    assert_eq!(invitations(&user), Vec::<Value>::new());
}

#[test]
fn a_member_who_was_not_the_owner_was_told_that_there_is_no_room() {
    let server = TestServer::shared();
    let (owner, member, stranger) = (server.user(), server.user(), server.user());
    let (open, secret) = (unique("open"), unique("secret"));
    makes(&owner, &open, "public", &[&member]);
    makes(&owner, &secret, "private", &[&member]);
    becomes_member(&member, &secret);
    for (user, room) in [(&member, &open), (&member, &secret), (&stranger, &open)] {
        sets_state(user, room, "0", &json!(1)).expects_problem(403, "forbidden");
        adds(user, room, &stranger.id).expects_problem(403, "forbidden");
        removes(user, room, &owner.id).expects_problem(403, "forbidden");
    }
    sets_state(&stranger, &secret, "0", &json!(1)).expects_problem(404, "unknown_room");
    adds(&stranger, &secret, &stranger.id).expects_problem(404, "unknown_room");
    removes(&owner, &open, &stranger.id).expects(204);
    sets_state(&stranger, &open, "0", &json!(1)).expects_problem(404, "unknown_room");
}

#[test]
fn no_room_can_be_called_invitations() {
    let server = TestServer::shared();
    let user = server.user();
    for visibility in ["public", "private"] {
        let body = json!({"room": "invitations", "visibility": visibility});
        user.http().post("/api/rooms", &body).expects_problem(422, "bad_request");
    }
    let mut peer = user.connects("phone");
    is_refused(&mut peer, "invitations");
    server.http().get("/api/rooms/invitations").expects_problem(401, "missing_token");
}

#[test]
fn an_answer_to_an_invitation_on_one_node_takes_effect_on_the_other() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let (owner, user) = (one.user(), one.user());
    let (mut first, mut here) = (owner.connects("phone"), user.connects("laptop"));
    let phone = user.device("phone");
    let there = Upgrade::to("/signal").query("device_id", &phone.id).bearer(&user.token);
    let mut there = there.connected(&other);
    assert_eq!(watches(&mut first, &user)["status"], "offline");
    makes(&owner, "secret", "private", &[&user]);
    for peer in [&mut here, &mut there] {
        assert_eq!(peer.expects("room_invite")["room"], "secret");
    }
    there.sends(letter(&owner));
    there.expects_error("target_unavailable");
    are_apart(&mut first, &owner, &mut here, &user);
    joins(&mut there, "secret");
    assert_eq!(first.expects("presence")["status"], "online", "the first node hears of it");
    first.sends(letter(&user));
    first.expects("ack");
    here.expects("message");
}

#[test]
fn invitations_of_a_deleted_account_stayed() {
    let server = TestServer::shared();
    let (owner, user, room) = (server.user(), server.user(), unique("room"));
    let away = user.device("away");
    makes(&owner, &room, "private", &[&user]);
    owner.http().delete("/api/account").expects(204);
    assert_eq!(invitations(&user), Vec::<Value>::new());
    user.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
    user.opens(&away.id).expects_nothing();
    makes(&user, &room, "private", &[]);
}
