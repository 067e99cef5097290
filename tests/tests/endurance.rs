//! What clients that came and went leave behind: nothing.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use aldis_tests::{Frame, Peer, TestServer, User, mail::await_that};
use serde_json::json;

/// How many clients come and go at the same time.
const AT_ONCE: usize = 16;
/// Connections until the allocator, the pools and the caches have their size.
const WARM_UP: usize = 2_000;
/// More than the noise of the allocator; a leak of 1 KiB a connection is twice as much.
const NOISE_KIB: u64 = 5 * 1024;
/// How long `the_memory_of_a_busy_server_stays_flat` runs, where the environment says nothing.
const SOAK_SECONDS: u64 = 600;

/// A server without limits, whose sessions end soon after their connection broke.
fn server() -> TestServer {
    TestServer::builder().env("ALDIS_RATE_LIMITS", "off").env("ALDIS_RESUME_WINDOW", "1").start()
}

/// Comes, does a little of everything that needs no database, and goes: every other time without a goodbye.
fn comes_and_goes(user: &User, number: usize) {
    let mut peer = user.opens_ephemeral();
    peer.sends(json!({"type": "ping", "id": "1"}));
    peer.expects("pong");
    peer.sends(json!({"type": "join", "id": "2", "room": "hall"}));
    awaits_reply(&mut peer, "2");
    peer.sends(json!({"type": "broadcast", "id": "3", "room": "hall", "payload": number}));
    awaits_reply(&mut peer, "3");
    if number.is_multiple_of(2) {
        peer.socket.sends(&Frame::close(1000, ""));
        assert_eq!(peer.socket.expects_any_close().0, 1000);
    } else {
        peer.socket.breaks();
    }
}

/// Skips what the others in the room do.
fn awaits_reply(peer: &mut Peer, id: &str) {
    while peer.expects_any()["id"] != id {}
}

/// So many connections, [`AT_ONCE`] at a time.
fn come_and_go(users: &[User], connections: usize) {
    thread::scope(|scope| {
        for user in users {
            scope.spawn(|| (0..connections / users.len()).for_each(|number| comes_and_goes(user, number)));
        }
    });
}

/// Waits until all sessions have ended.
fn awaits_rest(server: &TestServer) {
    await_that("the end of all sessions", || server.metric("aldis_sessions") == 0);
}

fn open_files(server: &TestServer) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process_id())).expect("the server's open files").count()
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let server = server();
    let users: Vec<_> = (0..AT_ONCE).map(|_| server.user()).collect();
    come_and_go(&users, WARM_UP);
    awaits_rest(&server);
    let (files, memory) = (open_files(&server), server.resident_kib());

    come_and_go(&users, 10_000);
    awaits_rest(&server);
    // The listener of the metrics keeps connections of its own for a moment.
    await_that("the end of all sockets", || open_files(&server) <= files);
    let grown = server.resident_kib().saturating_sub(memory);
    assert!(grown <= NOISE_KIB, "10,000 connections left {grown} KiB behind");
}

#[test]
#[ignore = "takes ten minutes, or ALDIS_SOAK_SECONDS"]
fn the_memory_of_a_busy_server_stays_flat() {
    let seconds = env::var("ALDIS_SOAK_SECONDS").map_or(SOAK_SECONDS, |text| text.parse().expect("a number"));
    let half = Duration::from_secs(seconds) / 2;
    let server = server();
    let users: Vec<_> = (0..AT_ONCE).map(|_| server.user()).collect();
    let peaks = [half, half].map(|time| {
        let (end, mut peak) = (Instant::now() + time, 0);
        while Instant::now() < end {
            come_and_go(&users, WARM_UP);
            peak = peak.max(server.resident_kib());
        }
        peak
    });
    println!("peak of each half, KiB: {peaks:?}");
    assert!(peaks[1] <= peaks[0] + NOISE_KIB, "the peak of each half in KiB: {peaks:?}");
}
