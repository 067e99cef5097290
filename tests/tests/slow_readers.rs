//! Clients that request much and read little: each bears its own cost, and nobody else notices
//! (docs/protocol/messages.md, codes.md; docs/security.md).

use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::mail::{
    WAIT, asks_sync, assert_whole, await_that, message, number, numbers, streamed, syncs,
};
use aldis_tests::{Incoming, PATIENCE, Peer, TestServer, Upgrade, User};
use serde_json::{Value, json};

/// The largest content.
const CONTENT: usize = 48_000;
/// Four senders, each with their part of a mailbox.
const MAILBOX: usize = 1_000;
const PART: usize = 250;
/// How much more memory the server may hold for a client that does not read: a queue, memory that the allocator keeps
/// after a burst, and the messages in transit, but not the rest of the mailbox.
const FLAT_KIB: u64 = 48 * 1024;

fn open_server() -> TestServer {
    TestServer::builder().env("ALDIS_ROUTING", "open").start()
}

/// Sends this many large messages to a user, from as many senders as needed, all stored; returns the time it took.
#[track_caller]
fn fills(server: &TestServer, recipient: &User, count: usize) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for from in (0..count).step_by(PART) {
            let sender = server.user();
            recipient.allows(&sender);
            let mut peer = sender.opens_ephemeral();
            scope.spawn(move || {
                for place in from..count.min(from + PART) {
                    peer.sends(message(&format!("m-{place}"), &recipient.id, &vec![7; CONTENT]));
                    let ack = peer.expects_within("ack", WAIT);
                    assert_eq!(ack["status"], "stored");
                }
            });
        }
    });
    start.elapsed()
}

#[test]
fn a_client_that_never_reads_is_closed_and_nobody_else_notices() {
    let server = open_server();
    let recipient = server.user();
    let mut deaf = recipient.opens_ephemeral();
    let mut well = recipient.opens_ephemeral();
    fills(&server, &recipient, 8);
    (0..8).for_each(|_| drop(well.expects("message")));
    let before = server.resident_kib();
    let closed = || server.metric(r#"aldis_closes_total{code="4101"}"#);
    let count = 400;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let last = (0..count).map(|_| number(&well.expects_within("message", WAIT))).collect::<Vec<_>>();
            assert_eq!(last, (9..=8 + count).collect::<Vec<_>>(), "each once and in order");
        });
        fills(&server, &recipient, usize::try_from(count).unwrap());
        reader.join().expect("a client that reads gets everything");
    });
    assert!(server.resident_kib() < before + FLAT_KIB, "{before} KiB, then {}", server.resident_kib());
    await_that("the close of who does not read", || closed() > 0);
    assert_eq!(closed(), 1, "no other");
    // What the network had accepted before arrives; then the end, with its reason if that still got through.
    let mut last = 8;
    let end = loop {
        match deaf.socket.next("bytes in the network, or the end") {
            Incoming::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "error" {
                    assert_eq!(frame["payload"]["close"], 4101, "{frame}");
                } else if number(&frame) > 8 {
                    assert_eq!(number(&frame), last + 1, "without a gap");
                    last += 1;
                }
            }
            end => break end,
        }
    };
    assert!(matches!(end, Incoming::Close(4101, _) | Incoming::End), "{end:?}");
    assert!(last < 8 + count, "it got less than all");
    // It has lost nothing: it reconnects and asks for the rest.
    let (messages, _) = syncs(&mut recipient.opens_ephemeral(), last);
    assert_eq!(numbers(&messages), (last + 1..=8 + count).collect::<Vec<_>>());
}

#[test]
fn a_client_that_reads_late_but_in_time_gets_the_reason_of_the_close() {
    let server = open_server();
    let recipient = server.user();
    let mut slow = recipient.opens_ephemeral();
    thread::scope(|scope| {
        scope.spawn(|| fills(&server, &recipient, 400));
        await_that("the close", || server.metric(r#"aldis_closes_total{code="4101"}"#) > 0);
        let error = loop {
            let frame = slow.expects_any();
            if frame["type"] == "error" {
                break frame;
            }
        };
        assert_eq!(
            (&error["payload"]["code"], &error["payload"]["close"]),
            (&json!("overloaded"), &json!(4101))
        );
        slow.expects_close_code(4101);
    });
}

#[test]
fn an_unread_sync_takes_no_memory_and_continues_when_it_is_read() {
    let server = open_server();
    let recipient = server.user();
    fills(&server, &recipient, MAILBOX);
    let mut others = [server.user().opens_ephemeral(), server.user().opens_ephemeral()];
    let mut late = recipient.opens_ephemeral();
    let mut never = recipient.opens_ephemeral();
    let before = server.resident_kib();
    let id = asks_sync(&mut late, 0, 500);
    let _ = asks_sync(&mut never, 0, 500);
    let start = Instant::now();
    // Long enough for a server that does not wait for its readers to read both syncs from the database, 64 MB.
    while start.elapsed() < Duration::from_secs(3) {
        others.iter_mut().for_each(Peer::expects_nothing);
        let now = server.resident_kib();
        assert!(now < before + FLAT_KIB, "{before} KiB, then {now}");
    }
    let (messages, synced) = streamed(&mut late, &id);
    assert_whole(&messages);
    assert_eq!((messages.len(), number(&synced), &synced["complete"]), (500, 500, &json!(false)));
    let (messages, synced) = syncs(&mut late, 500);
    assert_eq!((messages.len(), number(&synced)), (500, 1_000));
    // A client that reads nothing for ten seconds is closed.
    await_that("the close", || server.metric(r#"aldis_closes_total{code="4101"}"#) == 1);
    assert!(start.elapsed() > Duration::from_secs(10), "{:?}", start.elapsed());
    let (code, _) = ends(&mut never);
    assert!(code.is_none_or(|code| code == 4101), "{code:?}");
    others.iter_mut().for_each(Peer::expects_nothing);
}

/// Skips everything that still arrives; returns the code of the close, if one came.
fn ends(peer: &mut Peer) -> (Option<u16>, usize) {
    let mut frames = 0;
    loop {
        match peer.socket.next_within("the end", PATIENCE) {
            Incoming::Close(code, _) => return (Some(code), frames),
            Incoming::End => return (None, frames),
            _ => frames += 1,
        }
    }
}

#[test]
fn concurrent_syncs_are_answered_one_after_another() {
    let server = open_server();
    let recipient = server.user();
    let mut writer = server.user().opens_ephemeral();
    for place in 0..60 {
        writer.sends(message(&format!("m-{place}"), &recipient.id, b"x"));
    }
    (0..60).for_each(|_| drop(writer.expects("ack")));
    let mut reader = recipient.opens_ephemeral();
    let first = asks_sync(&mut reader, 0, 40);
    let second = asks_sync(&mut reader, 10, 500);
    reader.sends(json!({"type": "ping", "id": "behind"}));
    let (messages, synced) = streamed(&mut reader, &first);
    assert_eq!((numbers(&messages), &synced["complete"]), ((1..=40).collect(), &json!(false)));
    let (messages, synced) = streamed(&mut reader, &second);
    assert_eq!((numbers(&messages), &synced["complete"]), ((11..=60).collect(), &json!(true)));
    assert_eq!(reader.expects("pong")["id"], "behind");
}

#[test]
fn a_sync_that_a_break_ended_is_sent_again_on_the_resumed_session() {
    let server = open_server();
    let recipient = server.user();
    let device = recipient.device("phone").id;
    fills(&server, &recipient, 300);
    let mut reader = recipient.opens(&device);
    let id = asks_sync(&mut reader, 0, 500);
    for seq in 1..=20 {
        let streamed = reader.expects("message");
        assert_eq!((&streamed["id"], number(&streamed)), (&json!(id), seq));
    }
    let connected = reader.connected.clone();
    reader.socket.breaks();
    // While the session waits for its client, new messages are kept for it, after a gap.
    let mut writer = server.user().opens_ephemeral();
    writer.sends(message("late", &recipient.id, b"late"));
    writer.expects("ack");
    let mut reader = resumes(&server, &recipient, &connected);
    assert_eq!(reader.connected["session"]["resumed"], true, "streamed messages are not counted");
    let live =
        if reader.connected["session"]["replayed"] == 1 { Some(reader.expects("message")) } else { None };
    assert!(live.as_ref().is_none_or(|live| number(live) == 301 && live["id"] == "late"), "{live:?}");
    reader.expects_nothing();
    let (messages, _) = syncs(&mut reader, 20);
    assert_eq!(numbers(&messages), (21..=301).collect::<Vec<_>>());
    // From now on everything arrives live again.
    writer.sends(message("later", &recipient.id, b"later"));
    assert_eq!(number(&reader.expects("message")), 302);
}

#[track_caller]
fn resumes(server: &TestServer, user: &User, connected: &Value) -> Peer {
    let token = connected["session"]["resume_token"].as_str().expect("a resume token");
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let device = connected["device_id"].as_str().expect("a device id");
    let door =
        Upgrade::to("/signal").query("device_id", device).query("resume", &token).query("received", "0");
    door.bearer(&user.token).connected(server)
}

/// They used to wait for ever if a sync after them had been ended too.
#[test]
fn requests_between_syncs_that_a_break_ended_are_answered() {
    let server = open_server();
    let recipient = server.user();
    fills(&server, &recipient, 250);
    let mut reader = recipient.opens(&recipient.device("phone").id);
    let ids = ["m-1", "m-2", "m-3"];
    for id in ids {
        let _ = asks_sync(&mut reader, 0, 500);
        reader.sends(message(id, &recipient.id, b"between"));
    }
    reader.expects("message");
    let connected = reader.connected.clone();
    reader.socket.breaks();
    let mut reader = resumes(&server, &recipient, &connected);
    assert_eq!(reader.connected["session"]["resumed"], true);
    for (id, seq) in ids.into_iter().zip(251..) {
        let ack = reader.expects("ack");
        assert_eq!((&ack["id"], number(&ack)), (&json!(id), seq));
    }
    reader.expects_nothing();
}

#[test]
fn a_flood_of_syncs_is_answered_one_by_one() {
    let server = open_server();
    let recipient = server.user();
    fills(&server, &recipient, 50);
    let mut greedy = recipient.opens_ephemeral();
    let before = server.resident_kib();
    let ids: Vec<String> = (0..100).map(|_| asks_sync(&mut greedy, 0, 500)).collect();
    for id in &ids {
        let (messages, _) = streamed(&mut greedy, id);
        assert_eq!(messages.len(), 50);
    }
    let after = server.resident_kib();
    assert!(after < before + FLAT_KIB, "{before} KiB, then {after}");
}
