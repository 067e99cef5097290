//! Rate limits, and what they must not do (docs/operations.md, "Rate limits"; docs/security.md).

use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::{Answer, Frame, Identity, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

/// A server of one's own with limits, which believes the address that a proxy adds.
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

fn upgrade_status(server: &TestServer, door: &str, user: &User) -> u16 {
    Upgrade::to(door).bearer(&user.token).try_open(server).err().map_or(101, |refused| refused.status)
}

/// Sends so many pings at once, and gives the replies in their order.
fn pings(peer: &mut Peer, count: usize) -> Vec<Value> {
    let pings: Vec<u8> =
        (0..count).flat_map(|_| Frame::text(json!({"type": "ping"}).to_string()).encode()).collect();
    assert!(peer.socket.sends_bytes(&pings), "a socket that takes them");
    (0..count).map(|_| peer.expects_any()).collect()
}

/// The same, one by one; where the server closes, the last is the error that says so.
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
fn the_fifth_failed_login_is_followed_by_a_wait_for_this_pair_alone() {
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
fn an_unknown_address_is_slowed_down_as_a_known_one() {
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
fn challenges_and_upgrades_are_counted_apart() {
    let server = limited();
    let user = server.user();
    let body = json!({"public_key": Identity::new().public()});
    let refused = (0..700).map(|_| post(&server, "127.0.0.1", "/api/auth/challenge", &body));
    expects_wait(&refused.into_iter().find(|answer| answer.status == 429).expect("a refusal"), 1..=1);
    assert_eq!(upgrade_status(&server, "/signal", &user), 101);
}

#[test]
fn every_door_answers_429_before_the_upgrade() {
    let server = limited();
    let user = server.user();
    let refused = (0..700).any(|_| upgrade_status(&server, "/api/ws", &user) == 429);
    assert!(refused, "300 a minute");
    for door in ["/v1/connect", "/v1/chat/lobby", "/signal", "/ws", "/api/ws"] {
        // One may be free again by now.
        let statuses = [upgrade_status(&server, door, &user), upgrade_status(&server, door, &user)];
        assert!(statuses.contains(&429), "{door}: {statuses:?}");
    }
}

#[test]
fn a_family_is_refreshed_10_times_a_minute_and_loses_nothing_by_the_refusal() {
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
fn messages_too_many_are_refused_one_by_one_and_new_tokens_never() {
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
fn three_times_too_much_for_ten_seconds_is_4103_and_the_session_waits() {
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
    let mut other = user.connects("other");
    sender.sends(offer(&other.device_id()));
    sender.expects("ack");
    other.expects("offer");
}

#[test]
fn off_lifts_every_limit() {
    let server = TestServer::start();
    let user = server.user();
    for _ in 0..8 {
        login(&server, "192.0.2.1", &user.email, "wrong password")
            .expects_problem(401, "invalid_credentials");
    }
    assert!((0..400).all(|_| upgrade_status(&server, "/api/ws", &user) == 101));
    let mut peer = user.opens_ephemeral();
    assert!(pings(&mut peer, 500).iter().all(|reply| reply["type"] == "pong"));
}
