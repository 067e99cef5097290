//! A single address, user or reader cannot harm the others over HTTP (docs/operations.md, "Rate limits").

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::mail::{WAIT, await_that, message};
use aldis_tests::{Answer, Device, Identity, RawHttp, TestServer, User, unique};
use serde_json::{Value, json};

/// The largest content.
const CONTENT: usize = 48_000;
const MIB: usize = 1024 * 1024;
/// How much more memory the server may hold for a client that does not read.
const FLAT_KIB: u64 = 48 * 1024;
/// Connections of a loopback address: ten times as many as of another.
const PER_LOOPBACK_ADDRESS: usize = 1_280;

/// A server with limits that trusts the address that a proxy reports.
fn behind_proxy() -> TestServer {
    limits().env("ALDIS_TRUSTED_PROXY_HOPS", "1").start()
}

fn limits() -> aldis_tests::Builder {
    TestServer::builder().without("ALDIS_RATE_LIMITS").env("ALDIS_ROUTING", "open")
}

fn head(server: &TestServer, call: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{call} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.authority())
}

/// A call of a user whose body never arrives.
fn begins(server: &TestServer, user: &User, from: &str) -> RawHttp {
    let bearer = format!("Bearer {}", user.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", "100"),
        ("X-Forwarded-For", from),
    ];
    let mut connection = RawHttp::connect(server);
    connection.send(head(server, "POST /devices/register", &headers).as_bytes());
    connection
}

fn register(user: &User) -> Answer {
    user.registers(&Device { id: unique("device"), key: Identity::new() })
}

/// Sends this many messages of the largest size to a user.
fn fills(server: &TestServer, recipient: &User, count: usize) -> User {
    let sender = server.user();
    let mut peer = sender.opens_ephemeral();
    for place in 0..count {
        let letter = message(&format!("m-{place}"), &recipient.id, &vec![7; CONTENT]);
        loop {
            peer.sends(letter.clone());
            let reply = peer.expects_any();
            if reply["status"] == "stored" {
                break;
            }
            let wait = reply["payload"]["retry_after"].as_u64();
            thread::sleep(Duration::from_secs(wait.unwrap_or_else(|| panic!("stored, not {reply}"))));
        }
    }
    sender
}

/// 4,095 idle connections of one address without a sign-in locked out all other addresses.
#[test]
fn idle_connections_of_one_address_lock_nobody_out() {
    let server = limits().start();
    let request = head(&server, "GET /health", &[]);
    let mut idle: Vec<RawHttp> = (0..PER_LOOPBACK_ADDRESS + 20)
        .map(|_| {
            let mut connection = RawHttp::connect(&server);
            connection.send(request.as_bytes());
            assert_eq!(connection.answer().status, 200);
            connection
        })
        .collect();
    let last = idle.last_mut().unwrap();
    last.send(request.as_bytes());
    assert_eq!(last.answer().status, 200, "the newest stay");
    let first = idle.first_mut().unwrap();
    let waited = first.expects_end(Duration::from_secs(5));
    assert!(waited < Duration::from_secs(5), "the longest idle one goes first");
    let ann = server.user();
    ann.http().get("/devices/").expects(200);
}

#[test]
fn an_idle_connection_is_closed_after_fifteen_seconds() {
    let server = limits().start();
    let mut connection = RawHttp::connect(&server);
    connection.send(head(&server, "GET /health", &[]).as_bytes());
    assert_eq!(connection.answer().status, 200);
    let waited = connection.expects_end(Duration::from_secs(25));
    assert!(waited > Duration::from_secs(14), "{waited:?}");
}

/// Behind a proxy every connection is the proxy's, so the requests in progress of an address count.
#[test]
fn behind_a_proxy_an_address_has_128_requests_in_progress() {
    let server = behind_proxy();
    let request = |from: &str| {
        let headers =
            [("Content-Type", "application/json"), ("Content-Length", "100"), ("X-Forwarded-For", from)];
        head(&server, "POST /api/auth/challenge", &headers)
    };
    // One more than 128, because a call of `health` may come before the last of them and take its place.
    let _held: Vec<RawHttp> = (0..129)
        .map(|_| {
            let mut connection = RawHttp::connect(&server);
            connection.send(request("198.51.100.1").as_bytes());
            connection
        })
        .collect();
    let health = |from: &str| {
        RawHttp::exchange(&server, head(&server, "GET /health", &[("X-Forwarded-For", from)]).as_bytes())
    };
    await_that("a refusal", || health("198.51.100.1").status == 429);
    let refused = health("198.51.100.1");
    assert_eq!((refused.header("retry-after"), &refused.json()["code"]), ("1", &json!("rate_limited")));
    assert_eq!(health("198.51.100.2").status, 200);
    assert_eq!(health("203.0.113.9, 198.51.100.2").status, 200);
}

/// Hundreds of connections of one user that wrote delayed everybody's messages for seconds.
#[test]
fn a_user_writes_ten_times_a_second_and_nobody_else_waits() {
    let server = behind_proxy();
    let (greedy, modest) = (server.user(), server.user());
    let victim = server.user();
    let write = |user: &User| {
        let path = format!("/api/contacts/{}", victim.id);
        let headers = [("Content-Type", "application/json")];
        user.http().send("PUT", &path, &headers, br#"{"state": "allowed"}"#.to_vec())
    };
    let start = Instant::now();
    let answers: Vec<Answer> = (0..60).map(|_| write(&greedy)).collect();
    let most = 30 + 10 * (start.elapsed().as_secs() + 1);
    let passed = answers.iter().filter(|answer| answer.status == 204).count() as u64;
    assert!((30..=most).contains(&passed), "{passed} of 60");
    if let Some(refused) = answers.iter().find(|answer| answer.status != 204) {
        refused.expects_problem(429, "rate_limited");
        assert_eq!(refused.header("retry-after"), "1");
    }
    write(&modest).expects(204);
    greedy.http().get("/api/contacts").expects(200);
}

#[test]
fn a_user_has_four_calls_in_progress_and_can_still_sign_out() {
    let server = behind_proxy();
    let (busy, other) = (server.user(), server.user());
    let device = busy.device("lost");
    let mut calls: Vec<RawHttp> = (0..10).map(|_| begins(&server, &busy, "198.51.100.1")).collect();
    let start = Instant::now();
    let mut refused = 0;
    for call in &mut calls {
        // The four calls in progress are answered when their bodies are late, after 15 s.
        let answer = call.answer_within(Duration::from_secs(25));
        match answer.status {
            429 => refused += 1,
            other => assert_eq!(other, 408),
        }
        if refused == 6 {
            break;
        }
    }
    assert_eq!(refused, 6);
    assert!(start.elapsed() >= Duration::from_secs(2), "they waited");

    let _calls: Vec<RawHttp> = (0..10).map(|_| begins(&server, &busy, "198.51.100.1")).collect();
    register(&other).expects(201);
    busy.http().delete(&format!("/devices/{}", device.id)).expects(204);
    busy.http().post("/api/auth/logout", &json!({})).expects(204);
}

/// Responses of 24 MB each were built for readers who read nothing, one for each request.
#[test]
fn conversations_that_nobody_reads_cost_no_memory() {
    let server = behind_proxy();
    let (reader, other) = (server.user(), server.user());
    let peer = fills(&server, &reader, 60);
    let path = format!("GET /api/messages?limit=500&peer={}", peer.id);
    let bearer = format!("Bearer {}", reader.token);
    let request = head(&server, &path, &[("Authorization", &bearer), ("X-Forwarded-For", "198.51.100.1")]);
    let before = server.resident_kib();
    let mut deaf: Vec<RawHttp> = (0..100).map(|_| RawHttp::connect(&server)).collect();
    for connection in &mut deaf {
        connection.send(request.repeat(10).as_bytes());
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        other.http().get("/devices/").expects(200);
        let now = server.resident_kib();
        assert!(now < before + FLAT_KIB, "{before} KiB, then {now}");
        thread::sleep(Duration::from_millis(100));
    }
    await_that("the answers to be given up", || server.metric("aldis_http_answer_bytes") == 0);
    drop(deaf);
    await_that("the reader's own calls to go on", || reader.http().get("/devices/").status == 200);
}

/// Pipelined requests of a client that reads no responses were answered into memory.
#[test]
fn pipelined_requests_wait_until_responses_are_read() {
    let server = limits().start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let before = server.resident_kib();
    let ahead = head(&server, "HEAD /health", &[]).repeat(1_000);
    let start = Instant::now();
    // Until the network accepts no more.
    while start.elapsed() < Duration::from_secs(60) && stream.write_all(ahead.as_bytes()).is_ok() {}
    let after = server.resident_kib();
    assert!(after < before + FLAT_KIB, "{before} KiB, then {after}");
    assert!(start.elapsed() < Duration::from_secs(60), "the server reads on");
}

fn pages(user: &User, path: &str, parameter: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = None;
    loop {
        let from = next.map_or_else(String::new, |next: u64| format!("&{parameter}={next}"));
        let answer = user.http().get(&format!("{path}{from}"));
        let body = answer.expects(200);
        let messages = body["messages"].as_array().unwrap().clone();
        let largest = messages.iter().map(|message| message.to_string().len()).max().unwrap_or(0);
        assert!(answer.body.len() <= MIB + largest + 1_000, "{} bytes", answer.body.len());
        pages.push(messages);
        next = body["next"].as_u64();
        if next.is_none() {
            assert!(body["next"].is_null(), "{body}");
            return pages;
        }
    }
}

#[test]
fn a_conversation_is_read_in_pages_of_a_mebibyte() {
    for server in [
        TestServer::builder().env("ALDIS_ROUTING", "open").start(),
        TestServer::builder().env("ALDIS_ROUTING", "open").postgres().start(),
    ] {
        let reader = server.user();
        let peer = fills(&server, &reader, 40);
        let path = format!("/api/messages?limit=500&peer={}", peer.id);
        let pages = pages(&reader, &path, "before_seq");
        let numbers: Vec<u64> =
            pages.concat().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=40).rev().collect::<Vec<_>>());
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [17, 17, 6]);
        let path = format!("/api/messages?limit=20&peer={}", peer.id);
        let exact = self::pages(&reader, &path, "before_seq");
        assert_eq!(exact.concat().len(), 40);
        let ten = reader.http().get(&format!("/api/messages?limit=10&peer={}&before_seq=11", peer.id));
        assert!(ten.expects(200)["next"].is_null(), "nothing is older");
    }
}

#[test]
fn a_rooms_history_is_read_in_pages() {
    let server = TestServer::start();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    let room = unique("room");
    peer.sends(json!({"type": "join", "room": room}));
    for kind in ["ack", "room_members", "room_update"] {
        peer.expects(kind);
    }
    for number in 0..20 {
        let payload = json!({"content": format!("{number}{}", "x".repeat(40_000))});
        peer.sends(
            json!({"type": "chat_message", "id": format!("c-{number}"), "room": room, "payload": payload}),
        );
        assert_eq!(peer.expects_within("ack", WAIT)["status"], "stored");
    }
    let pages = pages(&user, &format!("/api/rooms/{room}/messages?limit=500"), "since_seq");
    assert!(pages.len() > 1, "more than one answer may hold");
    let numbers: Vec<u64> = pages.concat().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

/// A slow reader reads a little from time to time, which must be enough.
#[test]
fn a_slow_reader_gets_all_of_its_page() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let reader = server.user();
    let peer = fills(&server, &reader, 20);
    let address: SocketAddr = server.address();
    let mut stream = TcpStream::connect(address).unwrap();
    let path = format!("GET /api/messages?limit=500&peer={}", peer.id);
    let bearer = format!("Bearer {}", reader.token);
    let request = head(&server, &path, &[("Authorization", &bearer), ("Connection", "close")]);
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        thread::sleep(Duration::from_millis(700));
        match stream.read(&mut chunk).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{}", &text[..100]);
    assert!(text.ends_with("0\r\n\r\n"), "the end of the last chunk");
}
