//! Owners of rooms, and who may enter.

use aldis_tests::{Identity, TestServer, Upgrade, unique};
use serde_json::{Value, json};

use crate::steps::{
    adds, asks_history, becomes_member, chat, contents, is_refused, joins, makes, removes, says, sets_state,
};

#[test]
fn unknown_private_and_forbidden_rooms_get_the_same_answer() {
    let server = TestServer::builder().env("ALDIS_ROOMS_AUTO_CREATE", "off").start();
    let (owner, removed, stranger) = (server.user(), server.user(), server.user());
    makes(&owner, "secret", "private", &[&removed]);
    makes(&owner, "open", "public", &[]);
    removes(&owner, "secret", &removed.id).expects(204);
    removes(&owner, "open", &removed.id).expects(204);
    let mut answers = Vec::new();
    for (user, rooms) in
        [(&stranger, &["secret", "nowhere"][..]), (&removed, &["secret", "open", "nowhere"][..])]
    {
        let mut peer = user.connects("phone");
        for room in rooms {
            answers.push(is_refused(&mut peer, room));
            let mut door = Upgrade::to(format!("/v1/chat/{room}")).peer(&server);
            door.sends(json!({"type": "auth", "payload": {"token": user.token}}));
            door.expects("auth_success");
            door.expects_connected();
            answers.push(door.expects_error("unknown_room")["payload"].clone());
            door.sends(chat("m", room, "hi"));
            answers.push(door.expects_error("unknown_room")["payload"].clone());
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");

    let mut problems = Vec::new();
    for (user, room) in
        [(&stranger, "secret"), (&stranger, "nowhere"), (&removed, "secret"), (&removed, "open")]
    {
        let http = user.http();
        problems.extend([
            http.get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room"),
            http.get(&format!("/api/rooms/{room}/messages")).expects_problem(404, "unknown_room"),
            http.get(&format!("/api/rooms/{room}/state")).expects_problem(404, "unknown_room"),
            adds(user, room, &stranger.id).expects_problem(404, "unknown_room"),
            adds(user, room, "0190f3a4-0000-7000-8000-000000000000").expects_problem(404, "unknown_room"),
            removes(user, room, &owner.id).expects_problem(404, "unknown_room"),
            removes(user, room, &Identity::new().fingerprint()).expects_problem(404, "unknown_room"),
            sets_state(user, room, "0", &json!(1)).expects_problem(404, "unknown_room"),
        ]);
    }
    assert!(problems.windows(2).all(|pair| pair[0] == pair[1]), "{problems:?}");
}

#[test]
fn only_members_enter_a_private_room_and_everybody_a_public_one() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (owner, member, stranger) = (server.user(), server.user(), server.user());
        let made = makes(&owner, "secret", "private", &[&member]);
        becomes_member(&member, "secret");
        assert!(made["created_at"].is_string(), "{made}");
        let expected = json!({
            "room": "secret", "owner_id": owner.id, "visibility": "private", "state_writers": "owner",
            "members": [owner.id, member.id], "created_at": made["created_at"],
        });
        assert_eq!(made, expected);
        makes(&owner, "open", "public", &[]);
        let mut peers = [&owner, &member, &stranger].map(|user| user.connects("phone"));
        joins(&mut peers[0], "secret");
        joins(&mut peers[1], "secret");
        is_refused(&mut peers[2], "secret");
        joins(&mut peers[2], "open");
        assert_eq!(stranger.http().get("/api/rooms/open").expects(200)["owner_id"], owner.id);

        adds(&owner, "secret", &stranger.id).expects(204);
        adds(&owner, "secret", &stranger.id).expects(204);
        assert_eq!(peers[2].expects("room_invite")["room"], "secret");
        joins(&mut peers[2], "secret");
        let room = stranger.http().get("/api/rooms/secret").expects(200);
        assert_eq!(room["members"], json!([owner.id, member.id, stranger.id]));
    }
}

#[test]
fn a_room_is_created_once_and_as_requested() {
    let server = TestServer::shared();
    let (owner, other, room) = (server.user(), server.user(), unique("room"));
    makes(&owner, &room, "public", &[]);
    for user in [&owner, &other] {
        let body = json!({"room": room, "visibility": "private"});
        user.http().post("/api/rooms", &body).expects_problem(409, "conflict");
    }
    let bad = [
        json!({"room": "invitations", "visibility": "public"}),
        json!({"room": room}),
        json!({"visibility": "public"}),
        json!({"room": "a room", "visibility": "public"}),
        json!({"room": "x".repeat(65), "visibility": "public"}),
        json!({"room": unique("room"), "visibility": "hidden"}),
        json!({"room": unique("room"), "visibility": "public", "state_writers": "all"}),
        json!({"room": unique("room"), "visibility": "public", "members": ["nobody"]}),
    ];
    for body in bad {
        owner.http().post("/api/rooms", &body).expects_problem(422, "bad_request");
    }
    let unknown = [Identity::new().fingerprint(), "0190f3a4-0000-7000-8000-000000000000".to_owned()];
    for nobody in unknown {
        let body = json!({"room": unique("room"), "visibility": "public", "members": [nobody]});
        owner.http().post("/api/rooms", &body).expects_problem(404, "not_found");
        adds(&owner, &room, &nobody).expects_problem(404, "not_found");
        removes(&owner, &room, &nobody).expects_problem(404, "not_found");
    }
    adds(&owner, &room, "somebody").expects_problem(422, "bad_request");
    removes(&owner, &room, &owner.id).expects_problem(409, "conflict");
    server.http().post("/api/rooms", &json!({})).expects_problem(401, "missing_token");
    let identity = Identity::new();
    let named = identity.signs_in(&server, None).expects(201)["user_id"].clone();
    adds(&owner, &room, &identity.fingerprint()).expects(204);
    let listed = owner.http().get(&format!("/api/rooms/{room}")).expects(200)["members"].clone();
    assert_eq!(listed, json!([owner.id, named]), "a fingerprint names a user as well");
    owner.http().get("/api/rooms/a%20room").expects_problem(404, "unknown_room");
}

#[test]
fn a_room_created_by_a_join_belongs_to_its_first_member() {
    let server = TestServer::builder().start();
    let (first, second) = (server.user(), server.user());
    let (mut one, mut other) = (first.connects("phone"), second.connects("phone"));
    joins(&mut one, "party");
    joins(&mut other, "party");
    one.expects("member_joined");
    let seen = second.http().get("/api/rooms/party").expects(200);
    assert_eq!((&seen["owner_id"], &seen["visibility"]), (&json!(first.id), &json!("public")));
    assert_eq!(seen["created_at"], Value::Null, "nothing was written yet");
    assert_eq!(asks_history(&mut other, "party", 0, 10)["first_seq"], 1);
    let read = second.http().get("/api/rooms/party/messages").expects(200);
    assert_eq!(read, json!({"messages": [], "complete": true, "first_seq": 1, "next": null}));
    let state = second.http().get("/api/rooms/party/state").expects(200);
    assert_eq!(state, json!({"revision": 0, "state": null}));
    let body = json!({"room": "party", "visibility": "private"});
    second.http().post("/api/rooms", &body).expects_problem(409, "conflict");
    sets_state(&second, "party", "0", &json!(1)).expects_problem(403, "forbidden");
    adds(&second, "party", &first.id).expects_problem(403, "forbidden");
    removes(&second, "party", &first.id).expects_problem(403, "forbidden");

    assert_eq!(says(&mut other, "party", "hi")["seq"], 1);
    one.expects("chat_message");
    let made = second.http().get("/api/rooms/party").expects(200);
    assert_eq!((&made["owner_id"], made["created_at"].is_string()), (&json!(first.id), true));
    removes(&first, "party", &second.id).expects(204);
    other.expects("member_left");
    one.expects("member_left");
    server.kill9();
    server.restart_same_port();
    second.http().get("/api/rooms/party/messages").expects_problem(404, "unknown_room");
    let kept = first.http().get("/api/rooms/party/messages").expects(200);
    assert_eq!(contents(&kept), ["hi"]);
}

#[test]
fn a_room_without_messages_is_not_stored() {
    let server = TestServer::shared();
    let (first, second, room) = (server.user(), server.user(), unique("room"));
    let (mut one, mut other) = (first.connects("phone"), second.connects("phone"));
    joins(&mut one, &room);
    one.sends(json!({"type": "leave", "room": room}));
    one.expects("ack");
    first.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
    joins(&mut other, &room);
    sets_state(&first, &room, "0", &json!(1)).expects_problem(403, "forbidden");
    sets_state(&second, &room, "0", &json!(1)).expects(200);
    other.expects("room_update");
    let made = first.http().get(&format!("/api/rooms/{room}")).expects(200);
    assert_eq!(made["owner_id"], second.id, "the first state makes it too");
}

#[test]
fn the_first_member_may_create_a_joined_room() {
    let server = TestServer::shared();
    let (first, second) = (server.user(), server.user());
    let (open, secret) = (unique("open"), unique("secret"));
    let (mut one, mut other) = (first.connects("phone"), second.connects("phone"));
    for room in [&open, &secret] {
        joins(&mut one, room);
        joins(&mut other, room);
        one.expects("member_joined");
    }
    makes(&first, &open, "public", &[]);
    assert_eq!(says(&mut other, &open, "hi")["seq"], 1);
    one.expects("chat_message");
    makes(&first, &secret, "private", &[]);
    for (user, peer) in [(&first, &mut one), (&second, &mut other)] {
        let left = peer.expects("member_left");
        assert_eq!((&left["room"], &left["user_id"]), (&json!(secret), &json!(user.id)));
    }
    joins(&mut one, &secret);
    is_refused(&mut other, &secret);
}

#[test]
fn without_auto_create_an_unknown_room_cannot_be_joined() {
    let server = TestServer::builder().env("ALDIS_ROOMS_AUTO_CREATE", "off").start();
    let user = server.user();
    let mut peer = user.connects("phone");
    is_refused(&mut peer, "party");
    makes(&user, "party", "public", &[]);
    joins(&mut peer, "party");
}

#[test]
fn rooms_of_a_deleted_account_are_deleted() {
    let server = TestServer::shared();
    let (owner, member) = (server.user(), server.user());
    let (secret, hers) = (unique("secret"), unique("hers"));
    makes(&owner, &secret, "private", &[&member]);
    makes(&member, &hers, "public", &[&owner]);
    let (mut peer, mut guest) = (member.connects("phone"), owner.connects("phone"));
    joins(&mut peer, &secret);
    joins(&mut guest, &hers);
    says(&mut guest, &hers, "I was here");
    owner.http().delete("/api/account").expects(204);
    let left = peer.expects("member_left");
    assert_eq!((&left["room"], &left["user_id"]), (&json!(secret), &json!(member.id)));
    guest.expects_close_code(4301);
    member.http().get(&format!("/api/rooms/{secret}")).expects_problem(404, "unknown_room");
    assert_eq!(member.http().get(&format!("/api/rooms/{hers}")).expects(200)["members"], json!([member.id]));
    joins(&mut peer, &hers);
    assert_eq!(
        contents(&asks_history(&mut peer, &hers, 0, 10)),
        ["I was here"],
        "what is said is the room's"
    );
    makes(&member, &secret, "private", &[]);
}
