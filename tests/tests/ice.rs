//! ICE servers and TURN credentials (docs/http.md, "Devices, contacts, messages, rooms, ICE").

use aldis_tests::{TestServer, base64, now_ms};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

const SECRET: &str = "shared with coturn";

fn with_turn() -> TestServer {
    TestServer::builder()
        .env("ALDIS_STUN_URLS", "stun:stun.example:3478")
        .env("ALDIS_TURN_URLS", "turn:turn.example:3478,turns:turn.example:5349")
        .env("ALDIS_TURN_SECRET", SECRET)
        .start()
}

/// The password that coturn computes with `use-auth-secret`.
fn password(username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    base64(&mac.finalize().into_bytes())
}

fn turn(servers: &Value) -> Value {
    let servers = servers.as_array().unwrap_or_else(|| panic!("a bare array: {servers}"));
    servers.iter().find(|server| server.get("username").is_some()).cloned().unwrap()
}

#[test]
fn by_default_there_is_public_stun() {
    let servers = TestServer::shared().user().http().get("/api/ice-servers").expects(200);
    let urls: Vec<&str> = servers
        .as_array()
        .unwrap_or_else(|| panic!("a bare array: {servers}"))
        .iter()
        .flat_map(|server| server["urls"].as_array().unwrap())
        .map(|url| url.as_str().unwrap())
        .collect();
    assert_eq!(urls, ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"]);
}

#[test]
fn the_call_needs_a_token() {
    TestServer::shared().http().get("/api/ice-servers").expects_problem(401, "missing_token");
}

#[test]
fn turn_credentials_are_those_of_turn_rest() {
    let server = with_turn();
    let user = server.user();
    let turn = turn(&user.http().get("/api/ice-servers").expects(200));
    assert_eq!(turn["urls"], json!(["turn:turn.example:3478", "turns:turn.example:5349"]));
    let username = turn["username"].as_str().unwrap();
    assert_eq!(turn["credential"], password(username));

    let (expiry, alias) = username.split_once(':').unwrap();
    let left = expiry.parse::<u64>().unwrap().saturating_sub(now_ms() / 1000);
    assert!((3_590..=3_600).contains(&left), "an hour, not {left} s");
    assert!(!alias.is_empty() && !username.contains(&user.id), "the alias is random: {username}");
}

#[test]
fn each_call_gets_its_own_alias() {
    let server = with_turn();
    let http = server.user().http();
    let alias = || turn(&http.get("/api/ice-servers").expects(200))["username"].clone();
    assert_ne!(alias(), alias());
}

#[test]
fn a_session_may_ask_too() {
    let server = with_turn();
    let mut peer = server.user().opens_ephemeral();
    peer.sends(json!({"type": "ice_servers", "id": "ice"}));
    let answer = peer.expects("ice_servers");
    assert_eq!(answer["id"], "ice");
    assert!(answer["expires_at"].is_string(), "{answer}");
    let turn = turn(&answer["ice_servers"]);
    assert_eq!(turn["credential"], password(turn["username"].as_str().unwrap()));
}
