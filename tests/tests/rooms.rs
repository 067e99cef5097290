//! Rooms: joined and left, talked in, read, decided about (protocol.md, section 4, "Rooms"; http.md, rooms).

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Answer, Frame, Identity, Incoming, Peer, ProtoPeer, TestServer, Upgrade, User, unique};
use bytes::Bytes;
use serde_json::{Value, json};

fn put(user: &User, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    user.http().send("PUT", path, &headers, body.to_string().into_bytes())
}

fn makes(user: &User, room: &str, visibility: &str, members: &[&User]) -> Value {
    let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    let body = json!({"room": room, "visibility": visibility, "members": members});
    user.http().post("/api/rooms", &body).expects(201)
}

fn adds(owner: &User, room: &str, user: &str) -> Answer {
    owner.http().send("PUT", &format!("/api/rooms/{room}/members/{user}"), &[], Vec::new())
}

fn removes(owner: &User, room: &str, user: &str) -> Answer {
    owner.http().delete(&format!("/api/rooms/{room}/members/{user}"))
}

fn sets_state(user: &User, room: &str, revision: &str, state: &Value) -> Answer {
    let body = json!({"state": state});
    put(user, &format!("/api/rooms/{room}/state"), &[("If-Match", revision)], &body)
}

/// Joins a room; gives what the session is told of it: who is there, and its state.
#[track_caller]
fn joins(peer: &mut Peer, room: &str) -> (Value, Value) {
    let id = unique("join");
    peer.sends(json!({"type": "join", "id": id, "room": room}));
    let ack = peer.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("done")), "{ack}");
    told_of(peer, room)
}

#[track_caller]
fn told_of(peer: &mut Peer, room: &str) -> (Value, Value) {
    let members = peer.expects("room_members");
    let update = peer.expects("room_update");
    assert_eq!((&members["room"], &update["room"]), (&json!(room), &json!(room)));
    (members, update["payload"].clone())
}

#[track_caller]
fn is_refused(peer: &mut Peer, room: &str) -> Value {
    let id = unique("join");
    peer.sends(json!({"type": "join", "id": id, "room": room}));
    let error = peer.expects_error("unknown_room");
    assert_eq!(error["id"], id);
    error["payload"].clone()
}

fn chat(id: &str, room: &str, content: &str) -> Value {
    json!({"type": "chat_message", "id": id, "room": room, "payload": {"content": content}})
}

/// Says something; gives its `ack`.
#[track_caller]
fn says(peer: &mut Peer, room: &str, content: &str) -> Value {
    let id = unique("m");
    peer.sends(chat(&id, room, content));
    let ack = peer.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("stored")), "{ack}");
    ack
}

#[track_caller]
fn asks_history(peer: &mut Peer, room: &str, since_seq: u64, limit: u64) -> Value {
    let id = unique("history");
    peer.sends(json!({"type": "history", "id": id, "room": room, "since_seq": since_seq, "limit": limit}));
    let history = peer.expects("history");
    assert_eq!((&history["id"], &history["room"]), (&json!(id), &json!(room)));
    history
}

fn contents(history: &Value) -> Vec<String> {
    let messages = history["messages"].as_array().expect("one named array");
    messages
        .iter()
        .map(|message| message["payload"]["content"].as_str().expect("a text").to_owned())
        .collect()
}

fn seqs(history: &Value) -> Vec<u64> {
    let messages = history["messages"].as_array().expect("one named array");
    messages.iter().map(|message| message["seq"].as_u64().expect("a number")).collect()
}

/// Whoever is in a room, as `room_members` names them.
fn listed(user: &str, peers: &[&Peer]) -> Value {
    let mut devices: Vec<String> = peers.iter().map(|peer| peer.device_id()).collect();
    devices.sort();
    json!({"user_id": user, "device_ids": devices})
}

fn members_of(room_members: &Value) -> Vec<Value> {
    let mut members = room_members["members"].as_array().expect("a list").clone();
    for member in &mut members {
        member["device_ids"].as_array_mut().expect("devices").sort_by_key(ToString::to_string);
    }
    members
}

#[test]
fn whoever_joins_is_told_who_is_there_and_the_others_of_him() {
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
fn whoever_is_there_already_is_told_again_and_nobody_else() {
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
fn what_is_said_is_numbered_and_reaches_every_other_session() {
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
fn a_broadcast_reaches_the_others_and_is_not_kept() {
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
fn what_one_session_says_arrives_in_its_order() {
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
fn what_is_in_a_room_is_the_session() {
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
fn unknown_private_and_forbidden_are_one_answer() {
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
fn a_private_room_lets_in_its_members_and_a_public_one_everybody() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (owner, member, stranger) = (server.user(), server.user(), server.user());
        let made = makes(&owner, "secret", "private", &[&member]);
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
        joins(&mut peers[2], "secret");
        let room = stranger.http().get("/api/rooms/secret").expects(200);
        assert_eq!(room["members"], json!([owner.id, member.id, stranger.id]));
    }
}

#[test]
fn a_room_is_made_once_and_as_it_was_asked() {
    let server = TestServer::shared();
    let (owner, other, room) = (server.user(), server.user(), unique("room"));
    makes(&owner, &room, "public", &[]);
    for user in [&owner, &other] {
        let body = json!({"room": room, "visibility": "private"});
        user.http().post("/api/rooms", &body).expects_problem(409, "conflict");
    }
    let bad = [
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
fn a_room_that_was_joined_but_never_made_is_its_first_members() {
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
    assert_eq!(read, json!({"messages": [], "complete": true, "first_seq": 1}));
    let state = second.http().get("/api/rooms/party/state").expects(200);
    assert_eq!(state, json!({"revision": 0, "state": null}));
    let body = json!({"room": "party", "visibility": "private"});
    second.http().post("/api/rooms", &body).expects_problem(409, "conflict");
    sets_state(&second, "party", "0", &json!(1)).expects_problem(404, "unknown_room");
    removes(&second, "party", &first.id).expects_problem(404, "unknown_room");

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
fn a_room_in_which_nothing_is_written_leaves_nothing() {
    let server = TestServer::shared();
    let (first, second, room) = (server.user(), server.user(), unique("room"));
    let (mut one, mut other) = (first.connects("phone"), second.connects("phone"));
    joins(&mut one, &room);
    one.sends(json!({"type": "leave", "room": room}));
    one.expects("ack");
    first.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
    joins(&mut other, &room);
    sets_state(&first, &room, "0", &json!(1)).expects_problem(404, "unknown_room");
    sets_state(&second, &room, "0", &json!(1)).expects(200);
    other.expects("room_update");
    let made = first.http().get(&format!("/api/rooms/{room}")).expects(200);
    assert_eq!(made["owner_id"], second.id, "the first state makes it too");
}

#[test]
fn its_first_member_may_make_a_room_that_is_joined() {
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
fn without_auto_create_a_name_opens_nothing() {
    let server = TestServer::builder().env("ALDIS_ROOMS_AUTO_CREATE", "off").start();
    let user = server.user();
    let mut peer = user.connects("phone");
    is_refused(&mut peer, "party");
    makes(&user, "party", "public", &[]);
    joins(&mut peer, "party");
}

fn enters(server: &TestServer, user: &User, room: &str, device: &str) -> Peer {
    let mut peer = Upgrade::to(format!("/v1/chat/{room}")).peer(server);
    peer.sends(json!({"type": "auth", "payload": {"token": user.token, "device_id": device}}));
    peer.expects("auth_success");
    peer.expects_connected();
    peer
}

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
    let elsewhere = unique("room");
    joins(&mut one, &elsewhere);
    assert_eq!(says(&mut one, &elsewhere, "there")["seq"], 1, "any room may be named");
}

#[test]
fn at_the_chat_door_of_a_room_that_is_not_open_a_session_goes_on_without_it() {
    let server = TestServer::shared();
    let (owner, stranger, room) = (server.user(), server.user(), unique("secret"));
    makes(&owner, &room, "private", &[]);
    let mut peer = enters(&server, &stranger, &room, &stranger.device("phone").id);
    peer.expects_error("unknown_room");
    peer.sends(json!({"type": "chat_message", "payload": {"content": "hi"}}));
    peer.expects_error("unknown_room");
    joins(&mut peer, &unique("room"));
    adds(&owner, &room, &stranger.id).expects(204);
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
fn a_repetition_gets_the_first_answer_and_is_not_said_again() {
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
    for bad in ["limit=0", "limit=x", "since_seq=-1"] {
        user.http().get(&format!("{path}?{bad}")).expects_problem(422, "bad_request");
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

#[test]
fn a_state_document_is_replaced_by_whoever_saw_it() {
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
    for stale in ["\"1\"", "*", "W/\"0\"", "x"] {
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
    sets_state(&user, &room, "\"1\"", &json!(2)).expects_problem(404, "unknown_room");
    sets_state(&owner, &room, "1", &Value::Null).expects(200);
    sets_state(&owner, &room, "*", &json!(3)).expects(200);
    for peer in &mut peers {
        assert_eq!(peer.expects("room_update")["payload"], json!({"revision": 2, "state": null}));
        assert_eq!(peer.expects("room_update")["payload"], json!({"revision": 3, "state": 3}));
        peer.expects_nothing();
    }
    assert_eq!(user.http().get(&path).expects(200), json!({"revision": 3, "state": 3}));
}

#[test]
fn a_state_document_has_its_limits_and_its_bytes() {
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
    // Deeper than the parser of these scenarios goes.
    let Incoming::Text(deep) = peer.socket.next("the state") else { panic!("a text was to come") };
    assert!(deep.contains(&"[".repeat(126)), "{deep}");
    sets("2", r#"{"state": { "a" :  1.0 } }"#.to_owned()).expects(200);
    let update = peer.expects_text("room_update");
    assert!(update.contains(r#""state":{ "a" :  1.0 }"#), "{update}");
}

#[test]
fn members_set_the_state_where_they_may() {
    let server = TestServer::shared();
    let (owner, member, stranger, room) = (server.user(), server.user(), server.user(), unique("room"));
    let body =
        json!({"room": room, "visibility": "public", "members": [member.id], "state_writers": "members"});
    assert_eq!(owner.http().post("/api/rooms", &body).expects(201)["state_writers"], "members");
    sets_state(&stranger, &room, "0", &json!(1)).expects_problem(404, "unknown_room");
    sets_state(&member, &room, "0", &json!(1)).expects(200);
    sets_state(&owner, &room, "1", &json!(2)).expects(200);
    removes(&owner, &room, &member.id).expects(204);
    sets_state(&member, &room, "2", &json!(3)).expects_problem(404, "unknown_room");
}

#[test]
fn removal_acts_at_once_on_live_sockets() {
    let server = TestServer::shared();
    let (owner, user, other) = (server.user(), server.user(), server.user());
    for (room, visibility) in [(unique("secret"), "private"), (unique("open"), "public")] {
        makes(&owner, &room, visibility, &[&user, &other]);
        let mut watching = other.connects("watch");
        let (mut phone, mut laptop) = (user.connects("phone"), user.connects("laptop"));
        joins(&mut watching, &room);
        for peer in [&mut phone, &mut laptop] {
            joins(peer, &room);
            watching.expects("member_joined");
        }
        phone.expects("member_joined");
        removes(&owner, &room, &user.id).expects(204);
        for peer in [&mut phone, &mut laptop] {
            let left = peer.expects("member_left");
            let expected = (&json!(room), &json!(user.id), &json!(peer.device_id()));
            assert_eq!((&left["room"], &left["user_id"], &left["device_id"]), expected, "with its own id");
            peer.sends(chat(&unique("m"), &room, "still here?"));
            peer.expects_error("unknown_room");
            is_refused(peer, &room);
            peer.expects_nothing();
        }
        let mut gone = [watching.expects("member_left"), watching.expects("member_left")]
            .map(|left| left["device_id"].as_str().expect("a device").to_owned());
        gone.sort();
        let mut expected = [phone.device_id(), laptop.device_id()];
        expected.sort();
        assert_eq!(gone, expected);
        says(&mut watching, &room, "among us");
        phone.expects_nothing();
        user.http().get(&format!("/api/rooms/{room}/messages")).expects_problem(404, "unknown_room");

        adds(&owner, &room, &user.id).expects(204);
        joins(&mut phone, &room);
        assert_eq!(contents(&asks_history(&mut phone, &room, 0, 10)), ["among us"]);
    }
}

#[test]
fn a_member_may_take_himself_out() {
    let server = TestServer::shared();
    let (owner, user) = (server.user(), server.user());
    let (secret, open) = (unique("secret"), unique("open"));
    makes(&owner, &secret, "private", &[&user]);
    makes(&owner, &open, "public", &[&user]);
    let mut peer = user.connects("phone");
    joins(&mut peer, &secret);
    joins(&mut peer, &open);
    removes(&user, &secret, &user.id).expects(204);
    assert_eq!(peer.expects("member_left")["room"], secret);
    is_refused(&mut peer, &secret);
    removes(&user, &open, &user.id).expects(204);
    says(&mut peer, &open, "as anybody");
    removes(&user, &open, &user.id).expects_problem(404, "unknown_room");
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

#[test]
fn members_of_one_private_room_reach_each_other() {
    let server = TestServer::shared();
    let (owner, member, stranger, room) = (server.user(), server.user(), server.user(), unique("room"));
    let [mut one, mut other, mut outside] = [&owner, &member, &stranger].map(|user| user.connects("phone"));
    let signal = |to: &Peer| json!({"type": "signal", "id": unique("s"), "target_device_id": to.device_id(), "payload": 1});
    one.sends(signal(&other));
    one.expects_error("target_unavailable");
    makes(&owner, &room, "private", &[&member]);
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
    outside.sends(signal(&other));
    outside.expects("ack");
    other.expects("signal");
    removes(&owner, &room, &stranger.id).expects(204);
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
    let (mut watching, _watched) = (owner.connects("phone"), member.connects("phone"));
    watching.sends(json!({"type": "presence_subscribe", "user_ids": [member.id]}));
    watching.expects("ack");
    assert_eq!(watching.expects("presence")["status"], "offline");
    makes(&owner, &room, "private", &[&member]);
    assert_eq!(watching.expects("presence")["status"], "online");
    removes(&owner, &room, &member.id).expects(204);
    assert_eq!(watching.expects("presence")["status"], "offline");
    adds(&owner, &room, &member.id).expects(204);
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

/// A session of somebody new.
fn somebody(server: &TestServer) -> Peer {
    Identity::new().connects(server, None)
}

#[test]
fn of_more_than_256_users_nobody_is_told() {
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
        assert_eq!(all, (1..=last).collect::<Vec<_>>(), "also what the other node stored, once");
    }
    let history = user.http().get("/api/rooms/room/messages?limit=500").expects(200);
    assert_eq!(seqs(&history), (1..=100).collect::<Vec<_>>());
}

#[test]
fn whoever_is_removed_on_one_node_is_out_on_the_other() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let (owner, user) = (one.user(), one.user());
    makes(&owner, "secret", "private", &[&user]);
    makes(&owner, "open", "public", &[]);
    let mut peer = Upgrade::to("/signal").bearer(&user.token).connected(&other);
    for room in ["secret", "open"] {
        joins(&mut peer, room);
        removes(&owner, room, &user.id).expects(204);
        assert_eq!(peer.expects("member_left")["room"], room);
        is_refused(&mut peer, room);
    }
}

#[test]
fn what_a_deleted_account_owned_is_gone() {
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

#[test]
fn what_is_stored_survives_a_kill() {
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
