//! Rate limits, and what they must not do (docs/operations.md, "Rate limits"; docs/security.md).

use std::thread;
use std::time::{Duration, Instant};

use aldis_protocol::statement::Transport;
use aldis_tests::{Answer, Device, Frame, Identity, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

/// A separate server with limits that trusts the address that a proxy reports.
fn limited() -> TestServer {
    TestServer::builder().without("ALDIS_RATE_LIMITS").env("ALDIS_TRUSTED_PROXY_HOPS", "1").start()
}

/// A call from an address.
fn post(server: &TestServer, from: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
    server.http().send("POST", path, &headers, body.to_string().into_bytes())
}

#[track_caller]
fn expects_wait(answer: &Answer, seconds: std::ops::RangeInclusive<u64>) {
    answer.expects_problem(429, "rate_limited");
    let told: u64 = answer.header("retry-after").parse().expect("whole seconds");
    assert!(seconds.contains(&told), "Retry-After: {told}");
}

fn login(server: &TestServer, from: &str, email: &str, password: &str) -> Answer {
    post(server, from, "/auth/login", &json!({"email": email, "password": password}))
}

fn upgrade_from(from: &str, door: &str, user: &User) -> Upgrade {
    Upgrade::to(door).bearer(&user.token).header("X-Forwarded-For", from)
}

fn upgrade_status(server: &TestServer, from: &str, door: &str, user: &User) -> u16 {
    upgrade_from(from, door, user).try_open(server).err().map_or(101, |refused| refused.status)
}

/// Signs in with a key from an address.
fn signs_in(server: &TestServer, from: &str, key: &Identity) -> Answer {
    let challenge =
        post(server, from, "/api/auth/challenge", &json!({"public_key": key.public()})).expects(200);
    let signature = key.signs(&challenge, Transport::Http, None);
    let body =
        json!({"public_key": key.public(), "challenge": challenge["challenge"], "signature": signature});
    post(server, from, "/api/auth/verify", &body)
}

/// A socket at `/v1/connect` that has answered its challenge.
fn proves(server: &TestServer, from: &str, key: &Identity, device: Option<&str>) -> Peer {
    let mut peer = Upgrade::to("/v1/connect").header("X-Forwarded-For", from).peer(server);
    let challenge = peer.expects("auth_challenge");
    peer.sends(key.answers(&challenge, device));
    peer
}

/// Sends this many pings at once, and returns the replies in order.
fn pings(peer: &mut Peer, count: usize) -> Vec<Value> {
    let pings: Vec<u8> =
        (0..count).flat_map(|_| Frame::text(json!({"type": "ping"}).to_string()).encode()).collect();
    assert!(peer.socket.sends_bytes(&pings), "a socket that takes them");
    (0..count).map(|_| peer.expects_any()).collect()
}

/// The same, one by one. If the server closes, the last one is the `error` that announces it.
fn pings_until_closed(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut replies = Vec::new();
    for _ in 0..count {
        peer.sends(json!({"type": "ping"}));
    }
    while replies.len() < count {
        let reply = peer.expects_any();
        let closes = reply["payload"].get("close").is_some();
        replies.push(reply);
        if closes {
            break;
        }
    }
    replies
}

fn is_refusal(reply: &Value) -> bool {
    reply["payload"]["code"] == "rate_limited"
}

#[test]
fn registrations_are_counted_by_address_and_ipv6_by_64() {
    let server = limited();
    let register = |from: &str| {
        let email = format!("{}@aldis.example", unique("a"));
        post(&server, from, "/auth/register", &json!({"email": email, "password": "12345678"}))
    };
    for host in 1..=5 {
        register(&format!("2001:db8:1:2::{host}")).expects(201);
    }
    expects_wait(&register("2001:db8:1:2:ffff::1"), 700..=720);
    register("2001:db8:1:3::1").expects(201);
    assert_eq!(server.metric(r#"aldis_rate_limited_total{limit="registrations"}"#), 1);
    assert_eq!(server.metric(r#"aldis_refusals_total{code="rate_limited"}"#), 1);
}

#[test]
fn after_the_fifth_failed_login_only_this_pair_has_to_wait() {
    let server = limited();
    let user = server.user();
    for _ in 0..5 {
        login(&server, "192.0.2.1", &user.email, "wrong password")
            .expects_problem(401, "invalid_credentials");
    }
    expects_wait(&login(&server, "192.0.2.1", &user.email, &user.password), 1..=1);
    expects_wait(&login(&server, "192.0.2.1", &user.email.to_uppercase(), "wrong password"), 1..=1);
    login(&server, "192.0.2.2", &user.email, &user.password).expects(200);
    login(&server, "192.0.2.1", "other@aldis.example", "wrong password")
        .expects_problem(401, "invalid_credentials");
    assert!(server.metric(r#"aldis_rate_limited_total{limit="login_slowdown"}"#) >= 2);

    let patient = Instant::now() + Duration::from_secs(5);
    let mut answer = login(&server, "192.0.2.1", &user.email, &user.password);
    while answer.status == 429 && Instant::now() < patient {
        thread::sleep(Duration::from_millis(200));
        answer = login(&server, "192.0.2.1", &user.email, &user.password);
    }
    answer.expects(200);
    login(&server, "192.0.2.1", &user.email, "wrong password").expects_problem(401, "invalid_credentials");
}

#[test]
fn the_old_password_could_be_guessed_without_a_limit() {
    let server = limited();
    let user = server.user();
    let change = |from: &str, old: &str| {
        let body = json!({"old_password": old, "new_password": "another password"}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        user.http().send("POST", "/api/auth/password", &headers, body.into_bytes())
    };
    for _ in 0..5 {
        change("192.0.2.1", "wrong password").expects_problem(401, "invalid_credentials");
    }
    expects_wait(&change("192.0.2.1", &user.password), 1..=1);
    expects_wait(&login(&server, "192.0.2.1", &user.email, &user.password), 1..=1);
    assert!(server.metric(r#"aldis_rate_limited_total{limit="login_slowdown"}"#) >= 2);
    change("192.0.2.2", &user.password).expects(204);
    let statuses: Vec<u16> = (0..25).map(|_| change("192.0.2.3", "wrong password").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
}

#[test]
fn an_account_without_a_password_used_up_the_hashing() {
    let server = limited();
    let tokens = Identity::new().signs_in(&server, None).expects(201);
    let http = server.http().bearer(tokens["access_token"].as_str().unwrap());
    let body = json!({"old_password": "any password", "new_password": "another password"});
    http.post("/api/auth/password", &body).expects_problem(409, "conflict");
    assert_eq!(server.metric("aldis_password_hashes_total"), 0);
}

#[test]
fn an_unknown_address_is_slowed_down_like_a_known_one() {
    let server = limited();
    for _ in 0..5 {
        login(&server, "192.0.2.1", "nobody@aldis.example", "wrong password")
            .expects_problem(401, "invalid_credentials");
    }
    expects_wait(&login(&server, "192.0.2.1", "nobody@aldis.example", "wrong password"), 1..=1);
}

#[test]
fn an_address_has_20_logins_a_minute() {
    let server = limited();
    let attempt = |number: usize| login(&server, "192.0.2.1", &format!("{number}@aldis.example"), "wrong");
    let refused = (0..40).map(attempt).find(|answer| answer.status == 429).expect("a refusal");
    expects_wait(&refused, 1..=3);
}

#[test]
fn challenges_and_upgrades_are_counted_separately() {
    let server = limited();
    let user = server.user();
    let body = json!({"public_key": Identity::new().public()});
    let refused = (0..700).map(|_| post(&server, "192.0.2.1", "/api/auth/challenge", &body));
    expects_wait(&refused.into_iter().find(|answer| answer.status == 429).expect("a refusal"), 1..=1);
    assert_eq!(upgrade_status(&server, "192.0.2.1", "/signal", &user), 101);
}

#[test]
fn every_door_answers_429_before_the_upgrade() {
    let server = limited();
    let user = server.user();
    let from = "192.0.2.1";
    let refused = (0..700).any(|_| upgrade_status(&server, from, "/api/ws", &user) == 429);
    assert!(refused, "300 a minute");
    for door in ["/v1/connect", "/v1/chat/lobby", "/signal", "/ws", "/api/ws"] {
        // One place may be free again by now.
        let mut tries = (0..2).filter_map(|_| upgrade_from(from, door, &user).try_open(&server).err());
        let refused = tries.find(|refused| refused.status == 429).unwrap_or_else(|| panic!("{door}: no 429"));
        assert_eq!(refused.header("retry-after"), "1", "{door}");
    }
    assert_eq!(upgrade_status(&server, "192.0.2.2", "/api/ws", &user), 101, "nobody else waits");
}

#[test]
fn a_family_is_refreshed_10_times_a_minute_and_a_refusal_costs_nothing() {
    let server = limited();
    let user = server.user();
    let refresh = |token: &str| server.http().post("/api/auth/refresh", &json!({"refresh_token": token}));
    let mut token = user.refresh_token.clone();
    for _ in 0..10 {
        token = refresh(&token).expects(200)["refresh_token"].as_str().unwrap().to_owned();
    }
    expects_wait(&refresh(&token), 1..=6);
    let other = server.user();
    refresh(&other.refresh_token).expects(200);

    let patient = Instant::now() + Duration::from_secs(10);
    let mut answer = refresh(&token);
    while answer.status == 429 && Instant::now() < patient {
        thread::sleep(Duration::from_millis(500));
        answer = refresh(&token);
    }
    answer.expects(200);
}

#[test]
fn excess_messages_are_refused_one_by_one_but_never_new_tokens() {
    let server = limited();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let replies = pings(&mut peer, 300);
    let refusals: Vec<&Value> = replies.iter().filter(|reply| is_refusal(reply)).collect();
    assert!((100..=200).contains(&refusals.len()), "{} refusals", refusals.len());
    assert!(replies[..100].iter().all(|reply| reply["type"] == "pong"), "a hundred at once");
    assert!(refusals.iter().all(|refusal| refusal["payload"]["retry_after"] == 1));
    assert!(refusals.iter().all(|refusal| refusal["payload"].get("close").is_none()));

    peer.sends(json!({"type": "auth", "payload": {"token": user.token}}));
    peer.expects("auth_success");
    let limited = server.metric(r#"aldis_rate_limited_total{limit="messages"}"#);
    assert_eq!(limited, refusals.len() as u64);
}

#[test]
fn three_times_the_limit_for_ten_seconds_is_4103_and_the_session_waits() {
    let server = limited();
    let mut peer = server.user().opens_ephemeral();
    let deadline = Instant::now() + Duration::from_secs(20);
    let last = loop {
        assert!(Instant::now() < deadline, "no close within 20 s");
        let replies = pings_until_closed(&mut peer, 30);
        if let Some(last) = replies.into_iter().find(|reply| reply["payload"].get("close").is_some()) {
            break last;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(is_refusal(&last), "{last}");
    assert_eq!(last["payload"]["close"], 4103);
    assert!(last["payload"]["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{last}");
    assert_eq!(last["payload"]["reconnect"], true);
    peer.expects_close_code(4103);
    assert_eq!(server.metric(r#"aldis_closes_total{code="4103"}"#), 1);
    assert_eq!(server.metric("aldis_sessions"), 1, "the session waits for its client");
}

#[test]
fn a_target_gets_30_offers_a_minute_of_one_sender() {
    let server = limited();
    let user = server.user();
    let (mut sender, mut target) = (user.connects("sender"), user.connects("target"));
    let offer = |to: &str| json!({"type": "offer", "target_device_id": to, "payload": {"sdp": "…"}});
    for _ in 0..30 {
        sender.sends(offer(&target.device_id()));
        sender.expects("ack");
        target.expects("offer");
    }
    sender.sends(offer(&target.device_id()));
    let refused = sender.expects_error("rate_limited");
    assert!(
        refused["payload"]["retry_after"].as_u64().is_some_and(|wait| (1..=2).contains(&wait)),
        "{refused}"
    );

    sender.sends(json!({"type": "answer", "target_device_id": target.device_id(), "payload": {"sdp": "…"}}));
    sender.expects("ack");
    target.expects("answer");
}

/// Each name of a user had its own thirty: 30 for the id, 30 for the fingerprint, 30 for each device.
#[test]
fn offers_to_one_user_by_many_names_count_together() {
    let server = TestServer::builder()
        .without("ALDIS_RATE_LIMITS")
        .env("ALDIS_TRUSTED_PROXY_HOPS", "1")
        .env("ALDIS_ROUTING", "open")
        .start();
    let (key, other) = (Identity::new(), server.user());
    let mut victim = [key.connects(&server, None), key.connects(&server, None)];
    let mut bystander = other.connects("bystander");
    let mut sender = server.user().connects("sender");
    let user = victim[0].connected["user_id"].clone();
    let names = [
        json!({"target_device_id": victim[0].device_id()}),
        json!({"target_device_id": victim[1].device_id()}),
        json!({"target_user_id": user}),
        json!({"target_user_id": key.fingerprint()}),
    ];
    let offer = |name: &Value| {
        let mut offer = json!({"type": "offer", "payload": {"sdp": "…"}});
        offer.as_object_mut().unwrap().extend(name.as_object().unwrap().clone());
        offer
    };
    for number in 0..30 {
        sender.sends(offer(&names[number % names.len()]));
        sender.expects("ack");
    }
    for name in &names {
        sender.sends(offer(name));
        sender.expects_error("rate_limited");
    }
    sender.sends(offer(&json!({"target_device_id": bystander.device_id()})));
    sender.expects("ack");
    bystander.expects("offer");
    victim[0].expects("offer");
    victim[1].expects("offer");
}

/// A target that a stranger cannot reach is counted by its name, so the limit does not reveal whose device it is.
#[test]
fn offers_that_reach_nobody_do_not_reveal_the_owner_of_a_device() {
    let server = limited();
    let mut stranger = server.user().connects("stranger");
    let victim = server.user();
    let there = victim.connects("there");
    let offer = |name: &str, target: &str| json!({"type": "offer", name: target, "payload": {"sdp": "…"}});
    for _ in 0..30 {
        stranger.sends(offer("target_user_id", &victim.id));
        stranger.expects_error("target_unavailable");
    }
    stranger.sends(offer("target_user_id", &victim.id));
    stranger.expects_error("rate_limited");
    for device in [there.device_id(), unique("nobody")] {
        stranger.sends(offer("target_device_id", &device));
        stranger.expects_error("target_unavailable");
    }
}

/// One address created 300 accounts a minute, each with a blob of 256 KiB.
#[test]
fn an_address_makes_30_accounts_by_key_in_an_hour_over_http_and_sockets_together() {
    let server = limited();
    let known = Identity::new();
    signs_in(&server, "192.0.2.1", &known).expects(201);
    for _ in 0..14 {
        signs_in(&server, "192.0.2.1", &Identity::new()).expects(201);
    }
    for _ in 0..15 {
        proves(&server, "192.0.2.1", &Identity::new(), None).expects("auth_success");
    }
    expects_wait(&signs_in(&server, "192.0.2.1", &Identity::new()), 1..=120);
    proves(&server, "192.0.2.1", &Identity::new(), None).expects_refusal("rate_limited", 4103);
    signs_in(&server, "192.0.2.1", &known).expects(200);
    proves(&server, "192.0.2.1", &known, None).expects("auth_success");
    signs_in(&server, "192.0.2.2", &Identity::new()).expects(201);
    let email = json!({"email": format!("{}@aldis.example", unique("a")), "password": "12345678"});
    post(&server, "192.0.2.1", "/auth/register", &email).expects(201);
    assert_eq!(server.metric(r#"aldis_rate_limited_total{limit="key_accounts"}"#), 2);
}

#[test]
fn a_user_publishes_10_blobs_in_a_minute() {
    let server = limited();
    let key = Identity::new();
    let tokens = key.signs_in(&server, None).expects(201);
    let http = server.http().bearer(tokens["access_token"].as_str().unwrap());
    let publish = |byte: u8| http.send("PUT", "/api/identity/blob", &[("If-Match", "*")], vec![byte]);
    http.send("PUT", "/api/identity/blob", &[], vec![0]).expects(204);
    (1..10).for_each(|byte| drop(publish(byte).expects(204)));
    expects_wait(&publish(10), 1..=6);
}

/// Registering and removing devices left 904 rows in 15 s.
#[test]
fn churning_devices_ends_after_20_a_day() {
    let server = limited();
    let user = server.user();
    let kept = user.device("kept");
    for _ in 0..19 {
        let device = user.device("churned");
        user.http().delete(&format!("/devices/{}", device.id)).expects(204);
    }
    let device = Device { id: unique("more"), key: Identity::new() };
    expects_wait(&user.registers(&device), 60..=72 * 60);
    user.registers(&kept).expects(200);
    let _ = server.user().device("others");

    let key = Identity::new();
    for _ in 0..20 {
        proves(&server, "192.0.2.1", &key, Some(&unique("named"))).expects("auth_success");
    }
    proves(&server, "192.0.2.1", &key, Some(&unique("named"))).expects_refusal("rate_limited", 4103);
}

/// A developer who reached a limit on their own machine found no hint about the setting.
#[test]
fn a_refusal_on_loopback_names_the_setting_that_lifts_it() {
    let server = limited();
    let register = |from: &str| {
        let email = format!("{}@aldis.example", unique("a"));
        post(&server, from, "/auth/register", &json!({"email": email, "password": "12345678"}))
    };
    (0..5).for_each(|_| drop(register("192.0.2.1").expects(201)));
    let detail = |answer: Answer| answer.expects_problem(429, "rate_limited")["detail"].to_string();
    assert!(!detail(register("192.0.2.1")).contains("ALDIS_RATE_LIMITS"), "strangers cannot set it");
    let refused = (0..51).map(|_| register("127.0.0.1")).find(|answer| answer.status != 201);
    assert!(detail(refused.expect("50 an hour")).contains("ALDIS_RATE_LIMITS=off"));
    server.kill9();
    assert!(server.log().contains("ALDIS_RATE_LIMITS=off"), "and so does the log");
}

#[test]
fn off_lifts_every_limit() {
    let server = TestServer::start();
    let user = server.user();
    for _ in 0..8 {
        login(&server, "192.0.2.1", &user.email, "wrong password")
            .expects_problem(401, "invalid_credentials");
    }
    assert!((0..400).all(|_| upgrade_status(&server, "192.0.2.1", "/api/ws", &user) == 101));
    let mut peer = user.opens_ephemeral();
    assert!(pings(&mut peer, 500).iter().all(|reply| reply["type"] == "pong"));
}
