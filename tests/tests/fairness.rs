//! One user cannot harm the others (security.md, "Limits").

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::mail::{WAIT, await_that, message};
use aldis_tests::{Frame, Incoming, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

/// A reader with 10 Mbit/s reads this many bytes a second.
const TEN_MEGABITS: f64 = 1_250_000.0;

fn with_limits() -> TestServer {
    TestServer::builder().without("ALDIS_RATE_LIMITS").env("ALDIS_ROUTING", "open").start()
}

fn signal(target: &str, bytes: usize) -> Value {
    json!({"type": "signal", "target_device_id": target, "payload": "x".repeat(bytes)})
}

#[track_caller]
fn joins(peer: &mut Peer, room: &str) {
    peer.sends(json!({"type": "join", "room": room}));
    while peer.expects_any()["type"] != "room_update" {}
}

/// Resumes after a break without having received anything. The resume token restores the ephemeral device id.
#[track_caller]
fn resumes(server: &TestServer, user: &User, connected: &Value) -> Peer {
    let token = connected["session"]["resume_token"].as_str().expect("a resume token");
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let door = Upgrade::to("/signal").query("resume", &token).query("received", "0");
    door.bearer(&user.token).connected(server)
}

/// Sets a flag when dropped, even if a scenario fails, because threads of a scope are waited for.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_backlog_of_two_users_ended_the_sessions_of_all_disconnected_users() {
    let server = TestServer::builder()
        .env("ALDIS_ROUTING", "open")
        .env("ALDIS_SESSION_MEMORY", "8")
        .env("ALDIS_RESUME_WINDOW", "600")
        .start();
    let victims: Vec<(User, Value)> = (0..8)
        .map(|_| {
            let user = server.user();
            let (mut sender, peer) = (user.opens_ephemeral(), user.opens_ephemeral());
            let connected = peer.connected.clone();
            peer.socket.breaks();
            sender.sends(signal(connected["device_id"].as_str().unwrap(), 1_000));
            // `delivered` if the server has not noticed the break yet; the client misses it in any case.
            sender.expects("ack");
            (user, connected)
        })
        .collect();
    let sessions = || server.metric("aldis_sessions");
    for _ in 0..2 {
        let user = server.user();
        let mut sender = user.opens_ephemeral();
        let greedy: Vec<String> = (0..12).map(|_| leaves(&user)).collect();
        let before = sessions();
        for device in &greedy {
            for _ in 0..16 {
                sender.sends(signal(device, 60_000));
                sender.expects_any();
            }
        }
        // Twelve hold eleven megabytes together.
        await_that("the end of some of theirs", || sessions() < before);
    }
    for (user, connected) in &victims {
        let mut back = resumes(&server, user, connected);
        assert_eq!(back.connected["session"]["resumed"], true);
        assert_eq!(back.expects("signal")["payload"].as_str().unwrap().len(), 1_000);
    }
}

/// Opens a session of an ephemeral device and breaks its connection.
fn leaves(user: &User) -> String {
    let peer = user.opens_ephemeral();
    let device = peer.device_id();
    peer.socket.breaks();
    device
}

#[test]
fn broadcasts_within_the_limits_closed_members_with_ten_megabits() {
    let server = with_limits();
    let (mut sender, mut member) = (server.user().opens_ephemeral(), server.user().opens_ephemeral());
    let room = unique("room");
    joins(&mut member, &room);
    joins(&mut sender, &room);
    member.expects("member_joined");
    let (is_over, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (received, refused) = thread::scope(|scope| {
        let reader = scope.spawn(|| reads_slowly(&mut member, &is_over, &accepted));
        let _over = SetOnDrop(&is_over);
        let start = Instant::now();
        let mut refused = 0;
        while start.elapsed() < Duration::from_secs(12) {
            sender.sends(json!({"type": "broadcast", "room": room, "payload": "x".repeat(60_000)}));
            let reply = sender.expects_any();
            if reply["type"] == "ack" {
                accepted.fetch_add(1, Ordering::SeqCst);
            } else {
                assert_eq!(reply["payload"]["code"], "rate_limited", "{reply}");
                assert_eq!(reply["payload"]["retry_after"], 1, "{reply}");
                refused += 1;
            }
            // Forty a second: a session may send fifty.
            thread::sleep(Duration::from_millis(25));
        }
        let most = (start.elapsed().as_secs_f64() + 1.0) * 512.0 * 1024.0;
        assert!((accepted.load(Ordering::SeqCst) * 60_000) as f64 <= most);
        is_over.store(true, Ordering::SeqCst);
        (reader.join().expect("a member who stays"), refused)
    });
    assert_eq!(received, accepted.load(Ordering::SeqCst));
    assert!(received >= 8, "a burst of half a mebibyte, at least");
    assert!(refused > 0);
    assert_eq!(server.metric(r#"aldis_closes_total{code="4101"}"#), 0);
    assert_eq!(server.metric(r#"aldis_rate_limited_total{limit="relayed_bytes"}"#), refused);
}

/// Reads at most 10 Mbit/s until all accepted messages have arrived.
fn reads_slowly(member: &mut Peer, is_over: &AtomicBool, accepted: &AtomicUsize) -> usize {
    let (start, mut received, mut bytes) = (Instant::now(), 0, 0.0);
    while !is_over.load(Ordering::SeqCst) || received < accepted.load(Ordering::SeqCst) {
        match member.socket.try_next(Duration::from_millis(100)) {
            None => {}
            Some(Incoming::Text(text)) => {
                received += 1;
                bytes += text.len() as f64;
                member.sends(json!({"type": "received", "count": received + 3}));
                let due = Duration::from_secs_f64(bytes / TEN_MEGABITS);
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            Some(other) => panic!("thrown out after {received}: {other:?}"),
        }
    }
    received
}

#[test]
fn frames_without_a_reply_took_a_core_each_and_no_socket_was_closed() {
    let server = with_limits();
    let ping: &[Frame] = &[Frame::ping("")];
    let pong: &[Frame] = &[Frame::pong("")];
    let part: &[Frame] = &[Frame::continuation("").unfinished()];
    let received: &[Frame] = &[Frame::text(r#"{"type":"received","count":0}"#)];
    thread::scope(|scope| {
        for (what, frames) in [("pings", ping), ("pongs", pong), ("parts", part), ("received", received)] {
            let mut peer = server.user().opens_ephemeral();
            scope.spawn(move || {
                if what == "parts" {
                    peer.socket.sends(&Frame::text("{").unfinished());
                }
                let burst: Vec<u8> = frames[0].encode().repeat(50);
                let start = Instant::now();
                loop {
                    // What can no longer be sent is answered below.
                    let _ = peer.socket.sends_bytes(&burst);
                    match peer.socket.try_next(Duration::from_millis(10)) {
                        None | Some(Incoming::Pong(_)) => {}
                        Some(Incoming::Text(text)) => {
                            let error: Value = serde_json::from_str(&text).expect("JSON");
                            let payload = &error["payload"];
                            assert_eq!(
                                (&payload["code"], &payload["close"], &payload["retry_after"]),
                                (&json!("rate_limited"), &json!(4103), &json!(10)),
                                "{what}"
                            );
                            break;
                        }
                        Some(other) => panic!("{what}: {other:?}"),
                    }
                    assert!(start.elapsed() < WAIT, "{what} are read for ever");
                }
                peer.expects_close_code(4103);
            });
        }
    });
}

/// A session within its limits is not treated as a flood.
#[test]
fn occasional_pings_and_confirmations_are_not_a_flood() {
    let server = with_limits();
    let user = server.user();
    let (mut sender, mut peer) = (user.opens_ephemeral(), user.opens_ephemeral());
    for count in 1..=40 {
        sender.sends(signal(&peer.device_id(), 10));
        sender.expects("ack");
        peer.expects("signal");
        peer.socket.sends(&Frame::ping("are you there"));
        assert_eq!(peer.socket.next("a pong"), Incoming::Pong(b"are you there".to_vec()));
        peer.sends(json!({"type": "received", "count": count}));
    }
    peer.expects_nothing();
}

#[test]
fn the_writes_of_one_user_delayed_the_messages_of_all_others() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let (flooding, mut writer, recipient) = (server.user(), server.user().opens_ephemeral(), server.user());
    let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let peers: Vec<String> = (0..60).map(|_| server.user().id).collect();
    let (acks, meanwhile) = thread::scope(|scope| {
        for peer in &peers {
            let http = flooding.http();
            let (is_over, written) = (&is_over, &written);
            scope.spawn(move || {
                let path = format!("/api/contacts/{peer}");
                let body = json!({"state": "allowed"}).to_string().into_bytes();
                let headers = [("content-type", "application/json")];
                while !is_over.load(Ordering::SeqCst) {
                    if http.send("PUT", &path, &headers, body.clone()).status < 300 {
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let _over = SetOnDrop(&is_over);
        await_that("the flood", || written.load(Ordering::SeqCst) > peers.len());
        let before = written.load(Ordering::SeqCst);
        let mut acks = 0;
        while acks < 20 {
            writer.sends(message(&format!("m-{acks}"), &recipient.id, b"x"));
            assert_eq!(writer.expects_within("ack", WAIT)["status"], "stored");
            acks += 1;
        }
        (acks, written.load(Ordering::SeqCst) - before)
    });
    // Each message used to wait for the sixty writes before it.
    assert!(meanwhile < 40 * acks, "{meanwhile} other writes came before {acks} messages");
}
