//! Signing out, passwords, deleted accounts and revocations on every node (docs/http.md, "Accounts by Ed25519 key";
//! docs/security.md, "Revocation").

use std::time::{Duration, Instant};

use aldis_tests::{
    Answer, Device, Http, Identity, Incoming, Peer, TestServer, Upgrade, User, now_ms, token, unique,
};
use serde_json::{Value, json};

/// The time within which sockets are closed on every node.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

fn with(server: &TestServer, tokens: &Value) -> Http {
    server.http().bearer(access(tokens))
}

fn refresh(server: &TestServer, refresh_token: &Value) -> Answer {
    server.http().post("/api/auth/refresh", &json!({"refresh_token": refresh_token}))
}

fn opens(server: &TestServer, token: &str) -> Peer {
    Upgrade::to("/signal").bearer(token).connected(server)
}

/// The user's token, as if their login were this many seconds ago.
fn logged_in_ago(user: &User, seconds: u64) -> String {
    token::altered(&user.token, &json!({"auth_time": now_ms() / 1000 - seconds}))
}

/// The token is refused over HTTP and at every door.
#[track_caller]
fn expects_revoked(server: &TestServer, token: &str) {
    server.http().bearer(token).get("/devices/").expects_problem(401, "revoked");
    for door in ["/signal", "/ws"] {
        let mut peer = Upgrade::to(door).bearer(token).peer(server);
        if door == "/signal" {
            peer.expects_error_and_close("revoked", 4002);
        } else {
            assert_eq!(last_close(&mut peer).0, 4002, "{door}");
        }
    }
    assert_eq!(Upgrade::to("/api/ws").bearer(token).refused(server).status, 401);
    let auth = json!({"type": "auth", "payload": {"token": token}});
    let mut connect = Upgrade::to("/v1/connect").peer(server);
    connect.expects("auth_challenge");
    connect.sends(auth.clone());
    connect.expects_refusal("revoked", 4002);
    let mut chat = Upgrade::to("/v1/chat/lobby").peer(server);
    chat.sends(auth);
    assert_eq!(last_close(&mut chat), (1008, "Invalid token".to_owned()));
}

/// Waits for a close, and skips earlier messages.
fn last_close(peer: &mut Peer) -> (u16, String) {
    loop {
        if let Incoming::Close(code, reason) = peer.socket.next("a close") {
            return (code, reason);
        }
    }
}

// Signing out.

#[test]
fn a_logout_ends_only_the_family_and_its_sockets() {
    let server = TestServer::shared();
    let user = server.user();
    let other = user.logs_in(&json!({})).expects(200);
    let (mut live, mut stays) = (user.opens_ephemeral(), opens(&server, access(&other)));

    user.http().post("/api/auth/logout", &json!({})).expects(204);
    live.expects_error_and_close("revoked", 4301);
    stays.expects_nothing();
    expects_revoked(&server, &user.token);
    refresh(&server, &json!(user.refresh_token)).expects_problem(401, "revoked");
    with(&server, &other).get("/devices/").expects(200);
    refresh(&server, &other["refresh_token"]).expects(200);
}

#[test]
fn a_logout_revokes_refreshed_tokens_too() {
    let server = TestServer::shared();
    let user = server.user();
    let fresh = refresh(&server, &json!(user.refresh_token)).expects(200);
    let mut live = opens(&server, access(&fresh));
    user.http().post("/api/auth/logout", &json!({"everywhere": false})).expects(204);
    live.expects_close(4301, "");
    with(&server, &fresh).get("/devices/").expects_problem(401, "revoked");
}

#[test]
fn a_logout_everywhere_ends_all_and_the_next_login_works() {
    let server = TestServer::shared();
    let (user, stranger) = (server.user(), server.user());
    let other = user.logs_in(&json!({})).expects(200);
    let (mut one, mut two) = (user.opens_ephemeral(), opens(&server, access(&other)));
    let mut foreign = stranger.opens_ephemeral();

    user.http().post("/api/auth/logout", &json!({"everywhere": true})).expects(204);
    one.expects_error_and_close("revoked", 4301);
    two.expects_error_and_close("revoked", 4301);
    foreign.expects_nothing();
    for token in [&user.token, access(&other)] {
        server.http().bearer(token).get("/devices/").expects_problem(401, "revoked");
    }
    let next = user.logs_in(&json!({})).expects(200);
    with(&server, &next).get("/devices/").expects(200);
    opens(&server, access(&next)).expects_nothing();
}

#[test]
fn a_logout_needs_a_token_and_no_body() {
    let server = TestServer::shared();
    let user = server.user();
    server.http().post("/api/auth/logout", &json!({})).expects_problem(401, "missing_token");
    let bad = user.http().post("/api/auth/logout", &json!({"everywhere": "yes"}));
    bad.expects_problem(422, "bad_request");
    user.http().send("POST", "/api/auth/logout", &[], Vec::new()).expects(204);
    user.http().post("/api/auth/logout", &json!({})).expects_problem(401, "revoked");
}

#[test]
fn a_session_ends_with_the_family_of_its_latest_token() {
    let server = TestServer::shared();
    let user = server.user();
    let other = user.logs_in(&json!({})).expects(200);
    let mut live = user.opens_ephemeral();
    live.sends(json!({"type": "auth", "id": "new", "payload": {"token": access(&other)}}));
    live.expects("auth_success");

    user.http().post("/api/auth/logout", &json!({})).expects(204);
    live.expects_nothing();
    live.sends(json!({"type": "auth", "id": "old", "payload": {"token": user.token}}));
    assert_eq!(live.expects("auth_failure")["code"], "revoked");
    with(&server, &other).post("/api/auth/logout", &json!({})).expects(204);
    live.expects_error_and_close("revoked", 4301);
}

#[test]
fn a_session_proved_by_key_outlives_a_logout() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let tokens = identity.signs_in(&server, None).expects(201);
    let mut live = identity.connects(&server, None);
    with(&server, &tokens).post("/api/auth/logout", &json!({"everywhere": true})).expects(204);
    live.expects_nothing();
}

#[test]
fn revocations_survive_a_restart() {
    let server = TestServer::start();
    let user = server.user();
    user.http().post("/api/auth/logout", &json!({})).expects(204);
    server.kill9();
    server.restart_same_port();
    user.http().get("/devices/").expects_problem(401, "revoked");
}

// Refresh.

#[test]
fn fifty_concurrent_uses_of_a_refresh_token_have_one_successor() {
    for server in [TestServer::start(), TestServer::builder().postgres().start()] {
        let user = server.user();
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (server, shown) = (server.clone(), json!(user.refresh_token));
                std::thread::spawn(move || refresh(&server, &shown).expects(200))
            })
            .collect();
        let mut successors: Vec<String> =
            calls.into_iter().map(|call| call.join().unwrap()["refresh_token"].to_string()).collect();
        successors.dedup();
        assert_eq!(successors.len(), 1);
        user.http().get("/devices/").expects(200);
    }
}

// Passwords.

#[test]
fn a_new_password_ends_every_session_but_its_own() {
    let server = TestServer::shared();
    let mut user = server.user();
    let other = user.logs_in(&json!({})).expects(200);
    let (mut own, mut ends) = (user.opens_ephemeral(), opens(&server, access(&other)));

    let body = json!({"old_password": user.password, "new_password": "another horse battery"});
    server.http().bearer(&logged_in_ago(&user, 3600)).post("/api/auth/password", &body).expects(204);
    ends.expects_error_and_close("revoked", 4301);
    own.expects_nothing();
    with(&server, &other).get("/devices/").expects_problem(401, "revoked");
    user.http().get("/devices/").expects(200);
    refresh(&server, &json!(user.refresh_token)).expects(200);

    user.logs_in(&json!({})).expects_problem(401, "invalid_credentials");
    user.password = "another horse battery".to_owned();
    user.logs_in(&json!({})).expects(200);
}

#[test]
fn a_new_password_needs_the_old_one_or_a_recent_login() {
    let server = TestServer::shared();
    let user = server.user();
    let stale = server.http().bearer(&logged_in_ago(&user, 301));
    let change = |http: &Http, body: Value| http.post("/api/auth/password", &body);
    change(&stale, json!({"new_password": "12345678"})).expects_problem(403, "step_up_required");
    for http in [&stale, &user.http()] {
        let wrong = json!({"old_password": "wrong horse", "new_password": "12345678"});
        change(http, wrong).expects_problem(401, "invalid_credentials");
    }
    let problem =
        change(&user.http(), json!({"new_password": "1234567"})).expects_problem(422, "bad_request");
    assert!(problem["detail"].as_str().unwrap().contains("new_password"), "{problem}");
    user.logs_in(&json!({})).expects(200);
    let lately = server.http().bearer(&logged_in_ago(&user, 290));
    change(&lately, json!({"new_password": "12345678"})).expects(204);
}

#[test]
fn an_account_of_a_key_has_no_password_to_change() {
    let server = TestServer::shared();
    let tokens = Identity::new().signs_in(&server, None).expects(201);
    let http = with(&server, &tokens);
    http.post("/api/auth/password", &json!({"new_password": "12345678"})).expects_problem(409, "conflict");
}

// Deleted accounts.

#[test]
fn a_deleted_account_is_gone_and_its_address_is_free() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    let other = user.logs_in(&json!({"device_id": device.id})).expects(200);
    let (mut one, mut two) = (user.opens_ephemeral(), opens(&server, access(&other)));

    user.http().delete("/api/account").expects(204);
    one.expects_error_and_close("revoked", 4301);
    two.expects_error_and_close("revoked", 4301);
    expects_revoked(&server, &user.token);
    expects_revoked(&server, access(&other));
    assert_eq!(refresh(&server, &other["refresh_token"]).status, 401);
    user.logs_in(&json!({})).expects_problem(401, "invalid_credentials");

    let body = json!({"email": user.email, "password": "12345678"});
    let next = server.http().post("/auth/register", &body).expects(201);
    assert_ne!(next["user_id"], user.id.as_str());
    assert_eq!(with(&server, &next).get("/devices/").expects(200)["devices"], json!([]));
    let taken = Device { id: device.id, key: Identity::new() };
    server.user().registers(&taken).expects_problem(409, "conflict");
}

#[test]
fn a_deleted_identity_is_revoked_for_good() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let phone = unique("phone");
    let tokens = identity.signs_in(&server, None).expects(201);
    let mut live = identity.connects(&server, Some(&phone));

    with(&server, &tokens).delete("/api/account").expects(204);
    live.expects_error_and_close("revoked", 4301);
    identity.signs_in(&server, None).expects_problem(401, "revoked");
    let mut peer = Upgrade::to("/v1/connect").peer(&server);
    let challenge = peer.expects("auth_challenge");
    peer.sends(identity.answers(&challenge, None));
    peer.expects_refusal("revoked", 4002);
}

#[test]
fn a_deletion_needs_a_recent_login() {
    let server = TestServer::shared();
    let user = server.user();
    let stale = server.http().bearer(&logged_in_ago(&user, 301));
    stale.delete("/api/account").expects_problem(403, "step_up_required");
    server.http().delete("/api/account").expects_problem(401, "missing_token");
    user.logs_in(&json!({})).expects(200);
}

// Two nodes over one database.

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

#[track_caller]
fn closes_in_time(mut peer: Peer, since: Instant, error: &str, code: u16) {
    peer.expects_error_and_close(error, code);
    assert!(since.elapsed() < CLOSED_WITHIN, "closed after {:?}", since.elapsed());
}

#[test]
fn a_logout_takes_effect_on_every_node() {
    let nodes = Nodes::start();
    let user = nodes.one.user();
    let live = opens(&nodes.other, &user.token);
    let start = Instant::now();
    user.http().post("/api/auth/logout", &json!({})).expects(204);
    closes_in_time(live, start, "revoked", 4301);
    expects_revoked(&nodes.other, &user.token);
}

#[test]
fn a_removed_device_is_closed_on_every_node() {
    let nodes = Nodes::start();
    let user = nodes.one.user();
    let phone = user.device("phone").id;
    let bound = user.logs_in(&json!({"device_id": phone})).expects(200);
    let live = opens(&nodes.other, access(&bound));
    let mut stays = opens(&nodes.other, &user.token);
    let start = Instant::now();
    user.http().delete(&format!("/devices/{phone}")).expects(204);
    closes_in_time(live, start, "unknown_device", 4303);
    stays.expects_nothing();
    expects_revoked(&nodes.other, access(&bound));
}

#[test]
fn a_deleted_account_is_closed_on_every_node() {
    let nodes = Nodes::start();
    let identity = Identity::new();
    let tokens = identity.signs_in(&nodes.one, None).expects(201);
    let live = identity.connects(&nodes.other, None);
    let start = Instant::now();
    with(&nodes.one, &tokens).delete("/api/account").expects(204);
    closes_in_time(live, start, "revoked", 4301);
    expects_revoked(&nodes.other, access(&tokens));
    identity.signs_in(&nodes.other, None).expects_problem(401, "revoked");
}

#[test]
fn a_refresh_token_has_one_successor_on_every_node() {
    let nodes = Nodes::start();
    let user = nodes.one.user();
    let shown = json!(user.refresh_token);
    let first = refresh(&nodes.one, &shown).expects(200);
    let again = refresh(&nodes.other, &shown).expects(200);
    assert_eq!(first["refresh_token"], again["refresh_token"]);
}
