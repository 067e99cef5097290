//! Tokens that expire during a live session (docs/protocol/handshake.md, `auth_required`).

use std::time::{Duration, Instant};

use aldis_tests::{Peer, TestServer, Upgrade, User, token, unique};
use serde_json::{Value, json};

const EXPIRING: Duration = Duration::from_secs(10);

fn signal(server: &TestServer, token: &str) -> Peer {
    Upgrade::to("/signal").bearer(token).connected(server)
}

fn chat(server: &TestServer, token: &str) -> Peer {
    let mut peer = Upgrade::to(format!("/v1/chat/{}", unique("room"))).peer(server);
    peer.sends(auth("first", token));
    peer.expects("auth_success");
    peer.expects_connected();
    peer
}

fn auth(id: &str, token: &str) -> Value {
    json!({"type": "auth", "id": id, "payload": {"token": token}})
}

/// A valid token that has ten seconds of its fifteen minutes left.
fn nearly_over(user: &User) -> String {
    token::aged(&user.token, 890, 10)
}

#[test]
fn auth_required_comes_at_once_if_its_time_has_passed() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &nearly_over(&user));
    let required = peer.expects("auth_required");
    assert_eq!(required["payload"]["reason"], "Token expiring soon");
    assert!(required["payload"]["expires_at"].is_string(), "{required}");
}

#[test]
fn auth_required_comes_one_minute_before_the_end() {
    let server = TestServer::shared();
    let user = server.user();
    let start = Instant::now();
    let mut peer = signal(&server, &token::aged(&user.token, 836, 64));
    peer.expects("auth_required");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(2_500) && waited < Duration::from_secs(6), "{waited:?}");
}

#[test]
fn auth_required_comes_at_two_thirds_of_a_short_life() {
    let server = TestServer::builder().env("ACCESS_TOKEN_EXPIRE_MINUTES", "0.1").start();
    let user = server.user();
    let start = Instant::now();
    let mut peer = signal(&server, &user.token);
    peer.expects("auth_required");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(2_500) && waited < Duration::from_millis(5_500), "{waited:?}");
}

#[test]
fn a_new_token_keeps_the_session() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &token::aged(&user.token, 897, 3));
    peer.expects("auth_required");
    peer.sends(auth("again", &user.token));
    let success = peer.expects("auth_success");
    assert_eq!((&success["id"], &success["user_id"]), (&json!("again"), &json!(user.id)));
    std::thread::sleep(Duration::from_millis(3_500));
    peer.expects_nothing();
}

#[test]
fn messages_flow_during_a_reauthentication() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &nearly_over(&user));
    let mut other = user.opens_ephemeral();
    peer.expects("auth_required");
    peer.sends(json!({"type": "signal", "target_device_id": other.device_id(), "payload": 1}));
    peer.expects("ack");
    other.expects("signal");
}

#[test]
fn without_a_new_token_the_session_ends_with_the_old_one() {
    let server = TestServer::shared();
    let user = server.user();
    let mut at_signal = signal(&server, &token::aged(&user.token, 897, 3));
    let mut at_chat = chat(&server, &token::aged(&user.token, 897, 3));
    at_signal.expects("auth_required");
    let start = Instant::now();
    at_signal.expects_close(4200, "Re-authentication timeout");
    assert!(start.elapsed() < EXPIRING, "the token is over before the 30 s are");
    let close = at_chat.socket.expects_any_close();
    assert_eq!(close, (1008, "Re-authentication timeout".to_owned()));
}

#[test]
fn the_close_is_announced_by_an_error() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &token::aged(&user.token, 897, 3));
    peer.expects("auth_required");
    peer.expects_error_and_close("expired_token", 4200);
}

#[test]
fn a_bad_token_may_be_tried_again() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &nearly_over(&user));
    peer.expects("auth_required");
    for bad in ["nonsense", &token::aged(&user.token, 900, -60)] {
        peer.sends(auth("bad", bad));
        let failure = peer.expects("auth_failure");
        assert_eq!(failure["id"], "bad");
        assert!(failure["code"].is_string() && failure["message"].is_string(), "{failure}");
    }
    peer.sends(auth("good", &user.token));
    peer.expects("auth_success");
    peer.expects_nothing();
}

#[test]
fn another_users_token_ends_the_session() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    let mut at_signal = signal(&server, &nearly_over(&user));
    at_signal.expects("auth_required");
    at_signal.sends(auth("other", &other.token));
    let close = at_signal.socket.expects_any_close();
    assert_eq!(close, (4002, "Invalid token".to_owned()));

    let mut at_chat = chat(&server, &nearly_over(&user));
    at_chat.sends(auth("other", &other.token));
    let close = at_chat.socket.expects_any_close();
    assert_eq!(close, (1008, "Invalid token".to_owned()));
}

#[test]
fn auth_is_a_request_at_any_time() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &user.token);
    peer.sends(auth("early", &user.token));
    assert_eq!(peer.expects("auth_success")["id"], "early");
    peer.sends(auth("early", &user.token));
    assert_eq!(peer.expects("auth_success")["id"], "early", "carried out each time");
}

#[test]
fn a_token_in_its_leeway_was_accepted_and_closed_at_once() {
    let server = TestServer::shared();
    let user = server.user();
    let late = token::aged(&user.token, 901, -1);
    server.http().bearer(&late).get("/devices/").expects(200);

    let mut at_signal = Upgrade::to("/signal").bearer(&late).peer(&server);
    at_signal.expects_error_and_close("expired_token", 4003);
    assert_eq!(Upgrade::to("/api/ws").bearer(&late).try_open(&server).unwrap_err().status, 401);
    assert_eq!(Upgrade::to("/ws").bearer(&late).try_open(&server).unwrap().expects_any_close().0, 4003);
    let mut at_connect = Upgrade::to("/v1/connect").peer(&server);
    at_connect.expects("auth_challenge");
    at_connect.sends(auth("late", &late));
    at_connect.expects_refusal("expired_token", 4003);
    let mut at_chat = Upgrade::to(format!("/v1/chat/{}", unique("room"))).peer(&server);
    at_chat.sends(auth("late", &late));
    assert_eq!(at_chat.socket.expects_any_close(), (1008, "Invalid token".to_owned()));

    let mut live = signal(&server, &nearly_over(&user));
    live.expects("auth_required");
    live.sends(auth("late", &late));
    assert_eq!(live.expects("auth_failure")["code"], "expired_token");
    live.sends(auth("good", &user.token));
    live.expects("auth_success");
}

#[test]
fn a_session_has_the_leeway_of_its_token_to_send_the_next_one() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = signal(&server, &token::aged(&user.token, 898, 2));
    let start = Instant::now();
    peer.expects("auth_required");
    peer.expects_close(4200, "Re-authentication timeout");
    assert!(start.elapsed() > Duration::from_secs(5), "{:?}", start.elapsed());
}
