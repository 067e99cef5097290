//! Connects of recently seen users: their cost, and the cache of a node when another node makes changes
//! (docs/security.md, "Revocation").

use std::time::{Duration, Instant};

use aldis_auth::Rotation;
use aldis_protocol::api::ChainHead;
use aldis_protocol::statement::Transport;
use aldis_tests::{Authenticator, Device, Http, Identity, Peer, TestServer, Upgrade, User, now_ms, unique};
use serde_json::{Value, json};

/// After this time no cached fact is used that another node has changed.
const REMEMBERED: Duration = Duration::from_secs(2);

/// Two nodes with one database.
struct Nodes {
    one: TestServer,
    other: TestServer,
}

impl Nodes {
    fn start() -> Self {
        let one = TestServer::builder().postgres().start();
        let other = TestServer::builder().beside(&one).start();
        Self { one, other }
    }
}

/// Sends a proof by key at `/v1/connect`; returns the first message after it.
fn shows(server: &TestServer, key: &Identity, device_id: Option<&str>) -> (Peer, Value) {
    let mut peer = Upgrade::to("/v1/connect").peer(server);
    let challenge = peer.expects("auth_challenge");
    peer.sends(key.answers(&challenge, device_id));
    let answer = peer.expects_any();
    (peer, answer)
}

/// The result of a key at `/v1/connect`: `auth_success`, or the code of the failure.
fn verdict(server: &TestServer, key: &Identity, device_id: Option<&str>) -> String {
    let (_, answer) = shows(server, key, device_id);
    answer.get("code").unwrap_or(&answer["type"]).as_str().expect("a verdict").to_owned()
}

/// The result of a token at `/signal`: `connected`, or the code of the error.
fn verdict_on_token(server: &TestServer, token: &str, device_id: &str) -> String {
    let mut peer = Upgrade::to("/signal").bearer(token).query("device_id", device_id).peer(server);
    let answer = peer.expects_any();
    answer["payload"].get("code").unwrap_or(&answer["type"]).as_str().expect("a verdict").to_owned()
}

/// Asks until the change is known. After two seconds the answer must not come from a cache.
#[track_caller]
fn soon(expected: &str, mut ask: impl FnMut() -> String) {
    let changed = Instant::now();
    loop {
        let is_late = changed.elapsed() > REMEMBERED;
        let answer = ask();
        if answer == expected {
            return;
        }
        assert!(!is_late, "still {answer} and not {expected} after {:?}", changed.elapsed());
    }
}

/// An identity that is signed in on a node.
fn owner(server: &TestServer) -> (Identity, Http) {
    let key = Identity::new();
    let tokens = key.signs_in(server, None).expects(201);
    (key, server.http().bearer(tokens["access_token"].as_str().unwrap()))
}

fn asks(user: &User, whom: &str) {
    let request = user.http().send("POST", &format!("/api/contacts/{whom}/request"), &[], Vec::new());
    request.expects(202);
}

#[test]
fn a_connect_of_a_recent_user_costs_no_query() {
    const ROUNDS: u64 = 60;
    let server = TestServer::start();
    let (user, (key, _)) = (server.user(), owner(&server));
    let (phone, tablet) = (user.device("phone"), unique("tablet"));
    let proto = |upgrade: Upgrade| upgrade.subprotocols("aldis.v1.json").connected(&server);
    let connects: [&dyn Fn() -> Peer; 8] = [
        &|| user.opens_ephemeral(),
        &|| user.opens(&phone.id),
        &|| proto(Upgrade::to("/ws").bearer(&user.token)),
        &|| proto(Upgrade::to("/ws").bearer(&user.token).query("device_id", &phone.id)),
        &|| proto(Upgrade::to("/api/ws").bearer(&user.token).query("device_id", &phone.id)),
        &|| phone.key.connects(&server, Some(&phone.id)),
        &|| key.connects(&server, None),
        &|| key.connects(&server, Some(&tablet)),
    ];
    let calls = || server.metric("aldis_store_calls_total");
    connects.iter().for_each(|connect| drop(connect()));

    let (start, before) = (Instant::now(), calls());
    for _ in 0..ROUNDS {
        connects.iter().for_each(|connect| drop(connect()));
    }
    let asked = calls() - before;
    // The new rows are read once more, and the server does its background work.
    let background = 40 + 8 * start.elapsed().as_secs();
    let connected = ROUNDS * connects.len() as u64;
    assert!(background < connected, "too slow to tell");
    assert!(asked <= background, "{asked} calls of the database for {connected} connects");
}

#[test]
fn a_device_removed_on_another_node_is_refused() {
    let Nodes { one, other } = &Nodes::start();
    let user = one.user();
    let phone = user.device("phone");
    let by_token = || verdict_on_token(other, &user.token, &phone.id);
    let by_key = || verdict(other, &phone.key, Some(&phone.id));
    assert_eq!((by_token(), by_key()), ("connected".into(), "auth_success".into()));
    user.http().delete(&format!("/devices/{}", phone.id)).expects(204);
    soon("unknown_device", by_token);
    soon("unknown_device", by_key);
    let again = Device { id: phone.id.clone(), key: Identity::new() };
    user.registers(&again).expects(201);
    assert_eq!(verdict(other, &again.key, Some(&phone.id)), "auth_success");
    assert_eq!(verdict(other, &phone.key, Some(&phone.id)), "unknown_device");
}

#[test]
fn a_key_added_to_a_device_on_another_node_is_accepted() {
    let Nodes { one, other } = &Nodes::start();
    let (key, http) = owner(one);
    let phone = Device { id: unique("phone"), key: Identity::new() };
    drop(key.connects(other, Some(&phone.id)));
    assert_eq!(verdict(other, &key, Some(&phone.id)), "auth_success");
    assert_eq!(verdict(other, &phone.key, Some(&phone.id)), "unknown_device");
    let body = json!({"device_id": phone.id, "pubkey": phone.key.public()});
    http.post("/devices/register", &body).expects(201);
    soon("auth_success", || verdict(other, &phone.key, Some(&phone.id)));
}

#[test]
fn a_device_key_that_becomes_an_identity_no_longer_proves_the_device_on_any_node() {
    let Nodes { one, other } = &Nodes::start();
    let user = one.user();
    let phone = user.device("phone");
    for server in [one, other] {
        assert_eq!(verdict(server, &phone.key, Some(&phone.id)), "auth_success");
    }
    phone.key.signs_in(one, None).expects(201);
    assert_eq!(verdict(one, &phone.key, Some(&phone.id)), "unknown_device");
    soon("unknown_device", || verdict(other, &phone.key, Some(&phone.id)));
}

#[test]
fn an_identity_linked_on_another_node_is_stamped_on_signals() {
    let Nodes { one, other } = &Nodes::start();
    let user = one.user();
    let mut listens = Upgrade::to("/signal").bearer(&user.token).connected(other);
    let target = listens.device_id();
    let mut sender_fingerprint = || {
        let mut peer = Upgrade::to("/signal").bearer(&user.token).connected(other);
        peer.sends(json!({"type": "signal", "id": unique("s"), "target_device_id": target, "payload": 1}));
        peer.expects("ack");
        listens.expects("signal").get("sender_fingerprint").map_or("none".into(), Value::to_string)
    };
    assert_eq!(sender_fingerprint(), "none");
    let key = Identity::new();
    let challenge = key.challenge(one, None);
    let signature = key.signs(&challenge, Transport::Http, None);
    let body =
        json!({"public_key": key.public(), "challenge": challenge["challenge"], "signature": signature});
    user.http().post("/api/identity/link", &body).expects(200);
    soon(&json!(key.fingerprint()).to_string(), sender_fingerprint);
}

#[test]
fn a_second_factor_is_required_on_every_node_while_it_is_active() {
    let Nodes { one, other } = &Nodes::start();
    let (key, http) = owner(one);
    assert_eq!(verdict(other, &key, None), "auth_success");
    let app = Authenticator::enroll(&http);
    assert_eq!(verdict(one, &key, None), "totp_required");
    soon("totp_required", || verdict(other, &key, None));
    app.removes(&http, &app.next_code()).expects(204);
    assert_eq!(verdict(one, &key, None), "auth_success");
    soon("auth_success", || verdict(other, &key, None));
}

#[test]
fn a_key_replaced_on_another_node_is_revoked() {
    let Nodes { one, other } = &Nodes::start();
    let (old, http) = owner(one);
    let phone = unique("phone");
    drop(old.connects(other, Some(&phone)));
    assert_eq!(verdict(other, &old, None), "auth_success");
    let new = Identity::new();
    let identity = one.http().get(&format!("/api/identity/{}", old.fingerprint())).expects(200);
    let head: ChainHead = serde_json::from_value(identity["head"].clone()).unwrap();
    let fingerprint = old.fingerprint().parse().unwrap();
    let rotation = Rotation::sign(fingerprint, head, &old.secret(), &new.secret(), "a new phone", now_ms());
    let body = serde_json::to_value(rotation.to_request()).unwrap();
    http.post("/api/identity/rotate", &body).expects(201);
    for device in [None, Some(&*phone)] {
        assert_eq!(verdict(one, &old, device), "revoked");
        soon("revoked", || verdict(other, &old, device));
        soon("auth_success", || verdict(other, &new, device));
    }
}

#[test]
fn an_account_deleted_on_another_node_is_gone() {
    let Nodes { one, other } = &Nodes::start();
    let (key, http) = owner(one);
    let phone = unique("phone");
    drop(key.connects(other, Some(&phone)));
    assert_eq!(verdict(other, &key, Some(&phone)), "auth_success");
    http.delete("/api/account").expects(204);
    soon("unknown_device", || verdict(other, &key, Some(&phone)));
    soon("revoked", || verdict(other, &key, None));
}

// Notices.

#[test]
fn a_notice_of_another_node_reaches_a_live_device() {
    let Nodes { one, other } = &Nodes::start();
    let (asked, requester, second) = (other.user(), one.user(), one.user());
    let phone = asked.device("phone").id;
    drop(asked.opens(&phone));
    let mut live = asked.opens(&phone);
    asks(&requester, &asked.id);
    assert_eq!(live.expects("contact_request")["user_id"], requester.id);

    // A notice that was confirmed no longer waits, and a notice of another node waits for the next connect.
    live.confirms(1);
    drop(live);
    asked.opens(&phone).expects_nothing();
    asks(&second, &asked.id);
    let mut next = asked.opens(&phone);
    assert_eq!(next.expects("contact_request")["user_id"], second.id);
    next.confirms(1);
    drop(next);
    asked.opens(&phone).expects_nothing();
}

#[test]
fn a_notice_waits_for_a_client_that_resumes() {
    for Nodes { one, other } in [Nodes::start(), {
        let one = TestServer::start();
        Nodes { other: one.clone(), one }
    }] {
        let (asked, requester) = (other.user(), one.user());
        let phone = asked.device("phone").id;
        let live = asked.opens(&phone);
        let token = live.connected["session"]["resume_token"].as_str().unwrap().to_owned();
        live.socket.breaks();
        asks(&requester, &asked.id);
        let back = Upgrade::to("/signal").bearer(&asked.token).query("device_id", &phone);
        let back = back.query("resume", &token.replace('+', "%2B")).query("received", "0");
        let mut back = back.connected(&other);
        assert_eq!(back.connected["session"]["resumed"], true);
        assert_eq!(back.expects("contact_request")["user_id"], requester.id);
        drop(back);
    }
}
