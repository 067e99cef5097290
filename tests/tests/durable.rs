//! Messages that were acknowledged as stored survive failures of the server and its database (docs/protocol/order.md;
//! docs/architecture.md, "Invariants").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aldis_tests::mail::{
    Follower, Sender, WAIT, assert_kept, assert_whole, await_that, message, number, syncs,
};
use aldis_tests::postgres::Cluster;
use aldis_tests::{Builder, Peer, TestServer, Upgrade, User, base64, unique};
use serde_json::{Value, json};

/// How often the server is killed.
const KILLS: usize = 5;
const SENDERS: usize = 4;
/// How many messages each of them sends between two kills. All of them together fit a mailbox that nobody reads.
const BURST: usize = 40;

/// A server on which all users can write to each other.
fn open_server() -> Builder {
    TestServer::builder().env("ALDIS_ROUTING", "open")
}

#[test]
fn kills_in_the_middle_of_a_burst_lose_nothing() {
    survives_kills(&open_server().start());
}

#[test]
fn kills_in_the_middle_of_a_burst_lose_nothing_on_postgresql() {
    survives_kills(&open_server().postgres().start());
}

fn survives_kills(server: &TestServer) {
    let recipient = server.user();
    let mut follower = Follower::of(&recipient);
    let mut senders: Vec<_> = (0..SENDERS).map(|_| Sender::allowed_by(&recipient, server)).collect();
    let mut cut_short = 0;
    for kill in 0..KILLS {
        for sender in &mut senders {
            sender.writes(BURST);
            sender.connects();
        }
        follower.connects();
        let stored = AtomicUsize::new(0);
        // At another point of the burst each time.
        let enough = 1 + kill * SENDERS * BURST / (KILLS + 1);
        thread::scope(|scope| {
            scope.spawn(|| follower.follows());
            senders.iter_mut().for_each(|sender| {
                scope.spawn(|| sender.sends_until_it_breaks(&stored));
            });
            await_that("the burst to begin", || stored.load(Ordering::Relaxed) >= enough);
            server.kill9();
        });
        cut_short += senders.iter().map(Sender::unanswered).sum::<usize>();
        server.restart_same_port();
        for sender in &mut senders {
            sender.doubts_some_answers();
            sender.sends_until_all_is_answered();
        }
    }
    assert!(cut_short > 0, "the kills came too late to prove anything");
    follower.catches_up();
    assert_kept(&recipient, &senders);
    assert_whole(&follower.messages);
    assert_eq!(follower.messages.len(), SENDERS * BURST * KILLS);
    for sender in &senders {
        let received =
            follower.messages.iter().filter(|message| message["sender_user_id"] == sender.user().id);
        let contents: Vec<_> = received.map(|message| message["encrypted_content"].clone()).collect();
        let written = sender.written().iter().map(|id| json!(base64(&Sender::content(id))));
        assert_eq!(contents, written.collect::<Vec<_>>(), "in the order sent");
    }
}

#[test]
fn a_crash_of_postgresql_under_a_running_server_loses_nothing() {
    let cluster = Cluster::start().unwrap();
    let server = open_server().postgres_of(&cluster).start();
    let recipient = server.user();
    let mut follower = Follower::of(&recipient);
    follower.connects();
    let mut senders: Vec<_> = (0..3).map(|_| Sender::allowed_by(&recipient, &server)).collect();
    let (stored, refused, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| follower.follows_and_confirms_until(&is_over));
        senders.iter_mut().for_each(|sender| {
            scope.spawn(|| sender.goes_on_sending(&stored, &refused, &is_over));
        });
        for crash in 1..=3 {
            await_more(&stored, 100);
            if crash == 2 { cluster.stop() } else { cluster.crash() }.unwrap();
            await_more(&refused, 3);
            await_that("the server to notice", || server.http().get("/health/ready").status == 503);
            cluster.start_again().unwrap();
            await_that("the server to recover", || server.http().get("/health/ready").status == 200);
        }
        await_more(&stored, 100);
        is_over.store(true, Ordering::Relaxed);
    });
    assert_kept(&recipient, &senders);
    follower.catches_up();
    assert_whole(&follower.messages);
    assert_eq!(follower.messages.len(), senders.iter().map(|sender| sender.acks().len()).sum::<usize>());
}

#[track_caller]
fn await_more(count: &AtomicUsize, more: usize) {
    let goal = count.load(Ordering::Relaxed) + more;
    await_that("more of what is counted", || count.load(Ordering::Relaxed) >= goal);
}

#[test]
fn two_servers_with_one_database_leave_no_gaps_and_do_not_deadlock() {
    const EACH: usize = 40;
    let one = open_server().postgres().start();
    let other = open_server().beside(&one).start();
    let users: Vec<User> = (0..4).map(|_| one.user()).collect();
    let names: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
    let mut peers = Vec::new();
    for (place, user) in users.iter().enumerate() {
        for server in [&one, &other] {
            peers.push((place, connects_to(server, user, &user.device("phone").id)));
        }
    }
    thread::scope(|scope| {
        for (place, peer) in &mut peers {
            let names = &names;
            scope.spawn(move || {
                let recipients = (0..EACH).map(|count| &names[(*place + count) % names.len()]);
                numbers_rise_while_it_sends(peer, recipients);
            });
        }
    });
    for (user, server) in users.iter().zip([&one, &other].into_iter().cycle()) {
        let mut peer = connects_to(server, user, &user.device("reader").id);
        let (messages, _) = syncs(&mut peer, 0);
        assert_whole(&messages);
        // It sent 80, of which 20 to itself, and received 60 from the others.
        assert_eq!(messages.len(), 140);
    }
}

/// Sends a message to each at once. None is refused, and the numbers of incoming messages rise.
fn numbers_rise_while_it_sends<'a>(peer: &mut Peer, recipients: impl Iterator<Item = &'a String>) {
    let mut waiting = 0;
    for recipient in recipients {
        peer.sends(message(&unique("m"), recipient, b"from one of two"));
        waiting += 1;
    }
    let mut last = 0;
    while waiting > 0 {
        let frame = peer.expects_any();
        match frame["type"].as_str() {
            Some("ack") => waiting -= 1,
            Some("message") => {}
            _ => panic!("a message is stored, whatever the other server does: {frame}"),
        }
        assert!(number(&frame) > last, "behind {last}: {frame}");
        last = number(&frame);
    }
}

#[test]
fn two_servers_store_what_a_device_sends_to_both_once() {
    let one = open_server().postgres().start();
    let other = open_server().beside(&one).start();
    let user = one.user();
    let device = user.device("phone").id;
    let mut peers = [&one, &other].map(|server| connects_to(server, &user, &device));
    let ids: Vec<String> = (0..50).map(|number| format!("m-{number}")).collect();
    for id in &ids {
        peers.iter_mut().for_each(|peer| peer.sends(message(id, &user.id, id.as_bytes())));
    }
    let [first, second] = peers.each_mut().map(|peer| acks(peer, ids.len()));
    for id in &ids {
        let (first, second) = (&first[id], &second[id]);
        assert_eq!((&first["seq"], &first["message_id"]), (&second["seq"], &second["message_id"]));
        let are_duplicates = [first, second].map(|ack| ack["duplicate"] == true);
        assert!(are_duplicates[0] != are_duplicates[1], "stored by one: {first} {second}");
    }
    let mut reader = user.connects("reader");
    let (messages, _) = syncs(&mut reader, 0);
    assert_whole(&messages);
    assert_eq!(messages.len(), ids.len());
}

#[test]
fn a_message_stored_by_another_server_is_delivered_when_sent_again_here() {
    let one = open_server().postgres().start();
    let other = open_server().beside(&one).start();
    let (writer, reader) = (one.user(), one.user());
    let device = writer.device("phone").id;
    let mut reading = connects_to(&other, &reader, &reader.device("phone").id);
    let mut here = connects_to(&other, &writer, &device);
    here.sends(message("m-1", &reader.id, b"x"));
    here.expects("ack");
    assert_eq!(number(&reading.expects("message")), 1);
    let mut there = connects_to(&one, &writer, &device);
    there.sends(message("m-2", &reader.id, b"x"));
    let ack = there.expects("ack");
    // As if the database failed before it could confirm the commit.
    here.sends(message("m-2", &reader.id, b"x"));
    assert_eq!(here.expects("ack")["duplicate"], true);
    let told = reading.expects("message");
    assert_eq!((number(&told), &told["message_id"]), (2, &ack["message_id"]));
    here.sends(message("m-2", &reader.id, b"x"));
    here.expects("ack");
    reading.expects_nothing();
    here.expects_nothing();
}

fn connects_to(server: &TestServer, user: &User, device: &str) -> Peer {
    let door = Upgrade::to("/signal").query("device_id", device).bearer(&user.token);
    door.connected(server)
}

/// This many `ack`s, by id; other frames are skipped.
fn acks(peer: &mut Peer, count: usize) -> BTreeMap<String, Value> {
    let mut acks = BTreeMap::new();
    while acks.len() < count {
        let frame = peer.expects_any();
        if frame["type"] == "ack" {
            acks.insert(frame["id"].as_str().expect("the request's id").to_owned(), frame);
        } else {
            assert_eq!(frame["type"], "message", "{frame}");
        }
    }
    acks
}

/// The system refuses to let the server's files grow, which looks like a full disk. Unlike a small file system, this
/// needs no special permissions.
#[test]
fn a_full_disk_refuses_new_messages_and_keeps_stored_ones() {
    const CONTENT: usize = 48_000;
    let server = open_server().start();
    let recipient = server.user();
    let (writer, reader) = (server.user(), recipient.device("reader").id);
    let mut peer = writer.opens(&writer.device("phone").id);
    server.limits_files(Some(3_000_000));
    let mut acks = BTreeMap::new();
    let mut refusals = Vec::new();
    for count in 0..100 {
        let id = format!("m-{count}");
        peer.sends(message(&id, &recipient.id, &vec![u8::try_from(count).unwrap(); CONTENT]));
        let answer = peer.expects_any();
        assert_eq!(answer["id"], id);
        match answer["payload"]["code"].as_str() {
            None => drop(acks.insert(id, answer)),
            Some("unavailable") => refusals.push(id),
            Some(_) => panic!("{answer}"),
        }
        if refusals.len() > 5 {
            break;
        }
    }
    assert!(refusals.len() > 5 && acks.len() > 10, "{} stored, {} refused", acks.len(), refusals.len());
    // Reads still work.
    let mut away = recipient.opens(&reader);
    let (messages, _) = syncs(&mut away, 0);
    assert_whole(&messages);
    assert_eq!(messages.len(), acks.len(), "nothing that was refused is there");
    assert_eq!(server.http().get("/health").status, 200);

    server.limits_files(None);
    for id in &refusals {
        let count: u8 = id["m-".len()..].parse().unwrap();
        peer.sends(message(id, &recipient.id, &vec![count; CONTENT]));
        let ack = peer.expects("ack");
        assert_eq!(ack["duplicate"], Value::Null, "what was refused was not stored: {ack}");
        acks.insert(id.clone(), ack);
    }
    server.kill9();
    server.restart_same_port();
    let (messages, _) = syncs(&mut recipient.opens(&reader), 0);
    assert_whole(&messages);
    let stored: Vec<&Value> = messages.iter().map(|message| &message["message_id"]).collect();
    let mut acked: Vec<&Value> = acks.values().collect();
    acked.sort_by_key(|ack| number(ack));
    assert_eq!(stored, acked.iter().map(|ack| &ack["message_id"]).collect::<Vec<_>>());
    assert_eq!(messages[0]["encrypted_content"], base64(&[0; CONTENT]));
}

#[test]
fn a_hanging_database_delays_neither_the_answer_nor_the_shutdown() {
    let cluster = Cluster::start().unwrap();
    let server = open_server().postgres_of(&cluster).start();
    let user = server.user();
    let mut peer = user.opens(&user.device("phone").id);
    peer.sends(message("before", &user.id, b"before"));
    peer.expects("ack");
    cluster.freeze().unwrap();
    peer.sends(message("m-1", &user.id, b"into the void"));
    let answer: Value = peer.expects_within("error", WAIT);
    assert_eq!(answer["payload"]["code"], "unavailable");
    peer.sends(json!({"type": "ping", "id": "alive"}));
    assert_eq!(peer.expects("pong")["id"], "alive");
    let start = Instant::now();
    assert!(server.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    cluster.thaw().unwrap();
    server.restart_same_port();
    let mut peer = user.opens_ephemeral();
    let (messages, _) = syncs(&mut peer, 0);
    assert_whole(&messages);
    assert_eq!(messages[0]["encrypted_content"], base64(b"before"));
}
