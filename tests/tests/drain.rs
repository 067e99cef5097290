//! A server that is told to stop while it is working (docs/http.md, "Operations").

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::mail::{Follower, Sender, assert_kept, assert_whole, await_that, syncs};
use aldis_tests::{Peer, RawHttp, TestServer, Upgrade};
use serde_json::{Value, json};

/// From the signal to the end.
const END: Duration = Duration::from_secs(10);

/// What a session gets of a drain, and when it is closed, counted from the signal.
struct Farewell {
    reconnect_after: u64,
    closed_after: Duration,
}

/// Reads `server_draining`, the `error` that announces the close, and the close.
#[track_caller]
fn farewell(mut peer: Peer, signal: Instant) -> Farewell {
    let draining = peer.expects("server_draining");
    let told_after = signal.elapsed();
    assert!(told_after < Duration::from_secs(3), "told at once: {told_after:?}");
    let error = peer.expects_error("draining");
    let closed_after = signal.elapsed();
    assert_eq!((&error["payload"]["close"], &error["payload"]["reconnect"]), (&json!(1012), &json!(true)));
    assert_eq!(error["payload"]["retry_after"], draining["reconnect_after"], "the reconnect time");
    peer.expects_close_code(1012);
    Farewell { reconnect_after: draining["reconnect_after"].as_u64().expect("seconds"), closed_after }
}

#[test]
fn messages_acknowledged_before_a_drain_are_there_after_it() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let recipient = server.user();
    let mut follower = Follower::of(&recipient);
    follower.connects();
    let mut senders: Vec<_> = (0..4).map(|_| Sender::allowed_by(&recipient, &server)).collect();
    for sender in &mut senders {
        sender.writes(200);
        sender.connects();
    }
    let mut witness = recipient.opens_ephemeral();
    let stored = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| follower.follows_and_confirms());
        senders.iter_mut().for_each(|sender| {
            scope.spawn(|| sender.sends_until_it_breaks(&stored));
        });
        await_that("the burst to begin", || stored.load(Ordering::Relaxed) >= 50);
        server.signal_terminate();
        while witness.expects_any()["type"] != "server_draining" {}
        assert_eq!(server.http().get("/health/ready").expects_problem(503, "draining")["status"], 503);
        let refusal = Upgrade::to("/signal").bearer(&recipient.token).refused(&server);
        assert_eq!(refusal.status, 503);
        assert!(!refusal.header("retry-after").is_empty(), "{refusal:?}");
        assert!(server.awaits_exit(END).success());
    });
    server.restart_same_port();
    for sender in &mut senders {
        sender.doubts_some_answers();
        sender.sends_until_all_is_answered();
    }
    assert_kept(&recipient, &senders);
    let (messages, _) = syncs(&mut recipient.opens_ephemeral(), 0);
    assert_whole(&messages);
    let confirmed: BTreeSet<&str> = follower.confirmed.iter().filter_map(Value::as_str).collect();
    let delivered = messages.iter().filter(|message| message["delivered_at"].is_string());
    let delivered: BTreeSet<&str> = delivered.filter_map(|message| message["message_id"].as_str()).collect();
    assert!(confirmed.is_subset(&delivered), "acknowledged requests were carried out");
}

#[test]
fn many_closes_are_spread_over_five_seconds() {
    let server = TestServer::start();
    let user = server.user();
    let peers: Vec<Peer> = (0..120).map(|_| user.opens_ephemeral()).collect();
    let signal = Instant::now();
    server.signal_terminate();
    let farewells: Vec<Farewell> = thread::scope(|scope| {
        let readers: Vec<_> =
            peers.into_iter().map(|peer| scope.spawn(move || farewell(peer, signal))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a farewell")).collect()
    });
    assert!(server.awaits_exit(END).success());
    assert!(signal.elapsed() < END, "{:?}", signal.elapsed());
    let closes = farewells.iter().map(|farewell| farewell.closed_after);
    let (first, last) = (closes.clone().min().expect("a close"), closes.max().expect("a close"));
    assert!(
        last - first > Duration::from_secs(3),
        "spread, so that not all come back at once: {first:?} to {last:?}"
    );
    let told: BTreeSet<u64> = farewells.iter().map(|farewell| farewell.reconnect_after).collect();
    assert!(told.len() > 1, "each is told another time: {told:?}");
}

#[test]
fn a_session_that_waits_for_its_client_does_not_delay_a_drain() {
    let server = TestServer::start();
    let user = server.user();
    user.opens_ephemeral().socket.breaks();
    let staying = user.opens_ephemeral();
    let signal = Instant::now();
    server.signal_terminate();
    let farewell = farewell(staying, signal);
    assert!(farewell.closed_after < Duration::from_secs(4), "{:?}", farewell.closed_after);
    assert!(server.awaits_exit(END).success());
}

#[test]
fn a_client_that_reads_nothing_does_not_delay_a_drain() {
    let server = TestServer::start();
    let user = server.user();
    let deaf: Vec<Peer> = (0..3).map(|_| user.opens_ephemeral()).collect();
    // A client that has not sent its proof does not delay the drain either.
    let silent = Upgrade::to("/v1/connect").open(&server);
    assert!(server.terminate().success());
    drop((deaf, silent));
}

#[test]
fn an_unauthenticated_client_is_told_to_reconnect() {
    let server = TestServer::start();
    let waiting = ["/v1/connect", "/v1/chat/lobby"].map(|door| Upgrade::to(door).peer(&server));
    let signal = Instant::now();
    server.signal_terminate();
    for mut peer in waiting {
        let error = loop {
            let told = peer.expects_any();
            if told["type"] != "auth_challenge" {
                break told;
            }
        };
        assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("error"), &json!("draining")));
        assert_eq!(
            (&error["payload"]["close"], &error["payload"]["reconnect"]),
            (&json!(1012), &json!(true))
        );
        assert!(error["payload"]["retry_after"].is_u64(), "{error}");
        peer.expects_close_code(1012);
    }
    assert!(signal.elapsed() < Duration::from_secs(3), "{:?}", signal.elapsed());
    assert!(server.awaits_exit(END).success());
}

#[test]
fn a_running_call_is_answered() {
    let server = TestServer::start();
    let mut witness = server.user().opens_ephemeral();
    let body = json!({"email": "late@aldis.example", "password": "correct horse battery"}).to_string();
    let head = format!(
        "POST /auth/register HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.authority(),
        body.len()
    );
    let mut call = RawHttp::connect(&server);
    call.send(head.as_bytes());
    server.signal_terminate();
    witness.expects("server_draining");
    call.send(body.as_bytes());
    assert_eq!(call.answer().status, 201);
    assert!(server.awaits_exit(END).success());
    assert!(matches!(witness.socket.expects_any_close(), (1012, _)));
    server.restart_same_port();
    let login = json!({"email": "late@aldis.example", "password": "correct horse battery"});
    server.http().post("/auth/login", &login).expects(200);
}
