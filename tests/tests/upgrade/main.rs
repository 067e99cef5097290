//! Databases of released versions, opened by this one (docs/upgrading.md).
//!
//! `tests/tests/upgrade/VERSION/` has a SQLite file, a dump of PostgreSQL and the key files of servers that ran then,
//! and what their made-up users knew. A release adds its folder:
//! `cargo test -p aldis-tests --test upgrade -- --ignored`

mod stored;

use aldis_auth::{Rotation, SecretKey};
use aldis_protocol::api::ChainHead;
use aldis_tests::{
    Authenticator, Http, Identity, Peer, TestServer, Upgrade, User, base64, now_ms, unbase64, unique,
};
use serde_json::{Value, json};

use crate::stored::{Kind, Stored};

#[test]
#[ignore = "writes the stored databases of this version"]
fn stores_databases_of_this_version() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let server = kind.builder().start();
        let facts = lives(&server);
        assert!(server.terminate().success());
        Stored::write(kind, &server, &facts);
    }
}

#[test]
fn sqlite_databases_of_released_versions_are_opened() {
    all_are_opened(Kind::Sqlite);
}

#[test]
fn postgresql_databases_of_released_versions_are_opened() {
    all_are_opened(Kind::Postgres);
}

fn all_are_opened(kind: Kind) {
    let stored = Stored::all(kind);
    assert!(!stored.is_empty(), "stored databases");
    for stored in stored {
        let (server, facts) = (stored.opens(), stored.facts());
        users_sign_in_and_read_their_history(&server, &facts);
        rooms_are_the_same(&server, &facts);
        identities_are_the_same(&server, &facts);
        second_factors_are_the_same(&server, &facts);
        assert!(server.terminate().success());
    }
}

/// Users of each kind do what is stored. Returns what they know.
fn lives(server: &TestServer) -> Value {
    let (ann, bob) = (server.user(), server.user());
    ann.allows(&bob);
    bob.allows(&ann);
    let phone = ann.device("phone");
    let mut peer = ann.opens(&phone.id);
    for number in 1..=3 {
        peer.sends(message(&format!("message {number}"), &bob.id));
        peer.expects("ack");
    }
    let conversation = bob.http().get(&format!("/api/messages?peer={}", ann.id)).expects(200);
    let room = unique("room");
    let history = talks(&mut peer, &ann, &room);
    json!({
        "ann": knows(&ann), "bob": knows(&bob),
        "device": {"id": phone.id, "pubkey": phone.key.public()},
        "conversation": conversation["messages"],
        "room": room, "history": history["messages"],
        "owner": rotates(server),
        "cat": has_a_second_factor(server),
    })
}

fn knows(user: &User) -> Value {
    json!({"id": user.id, "email": user.email, "password": user.password})
}

/// Joins a room, writes and sets its state. Returns its history.
fn talks(peer: &mut Peer, user: &User, room: &str) -> Value {
    peer.sends(json!({"type": "join", "id": "join", "room": room}));
    for answer in ["ack", "room_members", "room_update"] {
        peer.expects(answer);
    }
    for content in ["one", "two"] {
        let payload = json!({"content": content});
        peer.sends(json!({"type": "chat_message", "id": unique("chat"), "room": room, "payload": payload}));
        peer.expects("ack");
    }
    let headers = [("Content-Type", "application/json"), ("If-Match", "\"0\"")];
    let state = json!({"state": {"topic": "upgrades"}}).to_string().into_bytes();
    let state = user.http().send("PUT", &format!("/api/rooms/{room}/state"), &headers, state);
    assert!(state.status < 300, "{state:?}");
    user.http().get(&format!("/api/rooms/{room}/messages")).expects(200)
}

/// An identity whose key was rotated.
fn rotates(server: &TestServer) -> Value {
    let (old, new) = (Identity::new(), Identity::new());
    let fingerprint = old.fingerprint();
    let tokens = old.signs_in(server, None).expects(201);
    let http = server.http().bearer(text(&tokens["access_token"]));
    let head: ChainHead = serde_json::from_value(summary(server, &fingerprint)["head"].clone()).unwrap();
    let (old_key, new_key) = (old.secret(), new.secret());
    let rotation =
        Rotation::sign(fingerprint.parse().unwrap(), head, &old_key, &new_key, "a new phone", now_ms());
    let request = serde_json::to_value(rotation.to_request()).unwrap();
    http.post("/api/identity/rotate", &request).expects(201);
    json!({
        "fingerprint": fingerprint, "user_id": tokens["user_id"],
        "old_key": base64(&*old_key.to_bytes()), "new_key": base64(&*new_key.to_bytes()),
        "head": summary(server, &fingerprint)["head"],
    })
}

fn has_a_second_factor(server: &TestServer) -> Value {
    let cat = server.user();
    let codes = Authenticator::enroll(&cat.http()).recovery_codes;
    let mut known = knows(&cat);
    known["recovery_code"] = json!(codes[0]);
    known
}

fn users_sign_in_and_read_their_history(server: &TestServer, facts: &Value) {
    let (ann, ann_token) = signs_in(server, &facts["ann"]);
    let (bob, _) = signs_in(server, &facts["bob"]);
    let devices = ann.get("/devices/").expects(200);
    let device =
        devices["devices"].as_array().unwrap().iter().find(|one| one["device_id"] == facts["device"]["id"]);
    assert_eq!(device.expect("the device")["pubkey"], facts["device"]["pubkey"]);

    let ann_id = text(&facts["ann"]["id"]);
    let conversation = bob.get(&format!("/api/messages?peer={ann_id}")).expects(200);
    assert_eq!(conversation["messages"], facts["conversation"]);
    assert_eq!(conversation["messages"].as_array().unwrap().len(), 3);
    let mut peer = Upgrade::to("/signal").bearer(&ann_token).connected(server);
    peer.sends(message("after the upgrade", text(&facts["bob"]["id"])));
    assert_eq!(peer.expects("ack")["seq"], 4, "numbers continue");
}

fn rooms_are_the_same(server: &TestServer, facts: &Value) {
    let (ann, _) = signs_in(server, &facts["ann"]);
    let room = format!("/api/rooms/{}", text(&facts["room"]));
    let history = ann.get(&format!("{room}/messages")).expects(200);
    assert_eq!(history["messages"], facts["history"]);
    assert_eq!(history["messages"].as_array().unwrap().len(), 2);
    let state = ann.get(&format!("{room}/state")).expects(200);
    assert_eq!(state["state"]["topic"], "upgrades", "{state}");
}

fn identities_are_the_same(server: &TestServer, facts: &Value) {
    let owner = &facts["owner"];
    let key = |name: &str| Identity::of(SecretKey::from_bytes(&unbase64(text(&owner[name]))));
    let tokens = key("new_key").signs_in(server, None).expects(200);
    assert_eq!((&tokens["user_id"], &tokens["fingerprint"]), (&owner["user_id"], &owner["fingerprint"]));
    assert_eq!(summary(server, text(&owner["fingerprint"]))["head"], owner["head"]);
    let refused = key("old_key").signs_in(server, None);
    assert!(refused.status >= 400, "{refused:?}");
}

/// The recovery codes are derived from the key file, and the secret is sealed by it.
fn second_factors_are_the_same(server: &TestServer, facts: &Value) {
    let cat = &facts["cat"];
    let mut login = json!({"email": cat["email"], "password": cat["password"]});
    server.http().post("/auth/login", &login).expects_problem(401, "totp_required");
    login["totp_code"] = cat["recovery_code"].clone();
    server.http().post("/auth/login", &login).expects(200);
}

fn signs_in(server: &TestServer, user: &Value) -> (Http, String) {
    let login = json!({"email": user["email"], "password": user["password"]});
    let tokens = server.http().post("/auth/login", &login).expects(200);
    assert_eq!(tokens["user_id"], user["id"]);
    let token = text(&tokens["access_token"]).to_owned();
    (server.http().bearer(&token), token)
}

fn message(content: &str, recipient: &str) -> Value {
    let content = base64(content.as_bytes());
    json!({"type": "message", "id": unique("m"), "recipient_id": recipient, "encrypted_content": content})
}

fn summary(server: &TestServer, fingerprint: &str) -> Value {
    server.http().get(&format!("/api/identity/{fingerprint}")).expects(200)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}
