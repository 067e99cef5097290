//! Whole sessions over sockets in memory, with virtual time.

mod limits;
mod mailbox;
mod model;
mod order;
mod presence;
mod registration;
mod stage;

use std::time::Duration;

use aldis_protocol::CloseCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub(super) use self::stage::relay;
use self::stage::{Client, Stage, claim, close, message, session_id, settle, signal};
use crate::link::{Closing, Incoming, Outgoing};

/// A client whose session has begun, and its `connected`.
async fn connected(stage: &Stage) -> (Client, Value) {
    let client = stage.admits(None).await;
    settle().await;
    let connected = client.messages().remove(0);
    assert_eq!(connected["type"], "connected");
    (client, connected)
}

/// Resumes a session; returns the new client and its `connected`, with the frames after it.
async fn comes_back(stage: &Stage, connected: &Value, received: u64) -> (Client, Vec<Value>) {
    let client = stage.admits(Some(claim(connected, received))).await;
    settle().await;
    let messages = client.messages();
    (client, messages)
}

fn is_resumed(messages: &[Value]) -> bool {
    messages[0]["session"]["resumed"] == true
}

/// Waits for a close, at most two minutes, and answers pings if the client is `alive`.
async fn awaits_close(client: &Client, alive: bool) -> (CloseCode, Duration) {
    let start = Instant::now();
    loop {
        sleep(Duration::from_millis(100)).await;
        let received = client.received();
        if let Some(code) = close(&received) {
            return (code, start.elapsed());
        }
        if alive && received.contains(&Outgoing::Ping) {
            client.does(Incoming::Pong);
        }
        assert!(start.elapsed() < Duration::from_secs(120), "no close");
    }
}

fn assert_about(time: Duration, seconds: u64) {
    let expected = Duration::from_secs(seconds);
    assert!(time >= expected && time < expected + Duration::from_millis(500), "{time:?}, not {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_ping_comes_after_30_seconds_and_its_pong_is_awaited_for_10() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    sleep(Duration::from_millis(29_900)).await;
    assert_eq!(client.received(), []);
    sleep(Duration::from_millis(400)).await;
    assert_eq!(client.received(), [Outgoing::Ping]);
    let (code, after) = awaits_close(&client, false).await;
    assert_eq!(code, CloseCode::HeartbeatMissed);
    assert!(after > Duration::from_secs(9) && after < Duration::from_millis(10_300), "{after:?}");

    sleep(Duration::from_secs(29)).await;
    assert!(stage.session().unwrap().is_detached());
    let (back, messages) = comes_back(&stage, &first, 0).await;
    assert!(is_resumed(&messages));
    back.does(Incoming::Closed(Some(1000)));
    stage.awaits_end().await;
}

#[tokio::test(start_paused = true)]
async fn pings_keep_a_session_and_an_absent_client_loses_it() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(15)).await;
        if client.received().contains(&Outgoing::Ping) {
            client.does(Incoming::Pong);
        }
    }
    assert!(!stage.session().unwrap().is_detached());
    let start = Instant::now();
    client.breaks();
    settle().await;
    assert!(stage.session().unwrap().is_detached());
    stage.awaits_end().await;
    assert_about(start.elapsed(), 30);
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert!(!is_resumed(&messages));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_for_10_seconds_closes_as_slow_consumer() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    client.takes_only(0);
    let start = Instant::now();
    assert!(stage.pushes(1));
    while stage.session().is_some() {
        settle().await;
    }
    assert_about(start.elapsed(), 10);
    client.takes_only(usize::MAX);
    let (code, _) = awaits_close(&client, false).await;
    assert_eq!(code, CloseCode::SlowConsumer);
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert!(!is_resumed(&messages), "then without resume");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_a_little_now_and_then_stays() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    client.takes_only(0);
    for number in 0..20 {
        assert!(stage.pushes(number));
    }
    let mut received = Vec::new();
    while received.len() < 20 {
        sleep(Duration::from_secs(8)).await;
        client.takes_only(1);
        settle().await;
        for outgoing in client.received() {
            match message(&outgoing) {
                Some(message) => received.push(message["payload"].as_u64().unwrap()),
                None => client.does(Incoming::Pong),
            }
        }
        assert!(stage.session().is_some_and(|session| !session.is_detached()));
    }
    assert_eq!(received, (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_finished_flush_clears_the_write_deadline() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    client.holds(true);
    assert!(stage.pushes(1));
    sleep(Duration::from_secs(9)).await;
    client.holds(false);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(client.messages().len(), 1);
    assert!(stage.session().is_some_and(|session| !session.is_detached()));
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_one_session_ends_that_session_alone() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    client.makes_reading_panic();
    client.pings("never read");
    settle().await;
    let received = client.received();
    assert_eq!(close(&received), Some(CloseCode::InternalError));
    assert_eq!(message(&received[0]).unwrap()["payload"]["close"], 1011);
    assert!(stage.session().is_none());
    client.does(Incoming::Closed(Some(1011)));
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert!(!is_resumed(&messages));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_delays_neither_frames_of_others_nor_a_close() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    for _ in 0..10_000 {
        client.pings("flood");
    }
    assert!(stage.pushes(7));
    settle().await;
    let received = client.messages();
    let position = received.iter().position(|message| message["payload"] == 7).unwrap();
    assert!(position <= 64, "after {position} replies");
    assert_eq!(received.len(), 10_001);
    assert!(client.largest_backlog() <= 64, "{} replies waited", client.largest_backlog());

    for _ in 0..10_000 {
        client.pings("flood");
    }
    let closing = Closing::new(CloseCode::SessionRevoked, "", "the device was removed");
    stage.session().unwrap().close_with(closing);
    settle().await;
    assert!(client.received().len() <= 64);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_not_read_from() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    client.takes_only(0);
    for number in 0..1_000 {
        client.pings(&number.to_string());
    }
    sleep(Duration::from_secs(5)).await;
    assert!(client.largest_backlog() <= 32, "{} replies wait", client.largest_backlog());
    client.takes_only(usize::MAX);
    settle().await;
    let ids = client
        .messages()
        .iter()
        .map(|pong| pong["id"].as_str().unwrap().parse().unwrap())
        .collect::<Vec<u32>>();
    assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_closes_the_session_and_the_sender_is_told() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    client.takes_only(0);
    let accepted = (0..3_000).take_while(|number| stage.pushes(*number)).count();
    assert_eq!(accepted, 1_024);
    settle().await;
    assert!(stage.session().is_none());
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert!(!is_resumed(&messages));
}

#[tokio::test(start_paused = true)]
async fn queued_frames_were_missing_from_a_replay() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    client.breaks();
    settle().await;
    // Both happen before the session runs again.
    assert!(stage.pushes(1));
    let (_back, messages) = comes_back(&stage, &first, 0).await;
    assert_eq!(messages[0]["session"]["replayed"], 1);
    assert_eq!(messages[1]["payload"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_comes_too_late_gets_a_fresh_session() {
    let stage = Stage::new();
    let (_client, first) = connected(&stage).await;
    let session = stage.session().unwrap();
    // Both happen before the session runs again: the hand-over finds the close.
    session.close_with(Closing::new(CloseCode::SlowConsumer, "", "too slow"));
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert!(!is_resumed(&messages));

    let (_, second) = connected(&stage).await;
    let session = stage.session().unwrap();
    let late = Client::default();
    let admitted = stage.admits_on(&late, Some(claim(&second, 0)));
    let closed = async { session.close_with(Closing::new(CloseCode::SlowConsumer, "", "too slow")) };
    tokio::join!(admitted, closed);
    settle().await;
    assert!(!late.is_dropped(), "the socket is given back");
    assert!(!is_resumed(&late.messages()));
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_concurrent_resumes_got_a_fresh_session() {
    let stage = Stage::new();
    let (_client, first) = connected(&stage).await;
    let clients = [(); 3].map(|()| Client::default());
    let [one, two, three] = clients.each_ref().map(|client| stage.admits_on(client, Some(claim(&first, 0))));
    tokio::join!(one, two, three);
    settle().await;
    let received = clients.each_ref().map(Client::received);
    for received in &received {
        let connected = message(&received[0]).unwrap();
        assert_eq!(
            (&connected["type"], &connected["session"]["resumed"]),
            (&json!("connected"), &json!(true))
        );
        assert_eq!(session_id(&connected), session_id(&first));
    }
    let replaced = Some(CloseCode::Replaced);
    assert_eq!(received.each_ref().map(|received| close(received)), [replaced, replaced, None]);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_socket_displaced_the_newer_one() {
    let stage = Stage::new();
    let (_client, first) = connected(&stage).await;
    let (newer, messages) = comes_back(&stage, &first, 0).await;
    assert!(is_resumed(&messages));
    for claims in [true, false] {
        for last in [Incoming::Closed(Some(1001)), Incoming::Closed(None), Incoming::Broken] {
            let abandoned = Client::default();
            abandoned.does(Incoming::Ping);
            abandoned.does(last);
            stage.admits_on(&abandoned, claims.then(|| claim(&first, 0))).await;
            settle().await;
            assert_eq!(abandoned.received(), []);
        }
    }
    newer.pings("still-here");
    settle().await;
    let messages = newer.messages();
    assert_eq!(messages[0]["id"], "still-here", "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_behind_a_proof_are_answered_in_order() {
    let stage = Stage::new();
    let (mut resumes, mut first) = (false, Value::Null);
    for _ in 0..2 {
        let eager = Client::default();
        for number in 0..3 {
            eager.pings(&number.to_string());
        }
        stage.admits_on(&eager, resumes.then(|| claim(&first, 0))).await;
        settle().await;
        let mut messages = eager.messages().into_iter();
        first = messages.next().unwrap();
        assert_eq!(first["session"]["resumed"], resumes);
        assert_eq!(messages.map(|pong| pong["id"].clone()).collect::<Vec<_>>(), ["0", "1", "2"]);
        resumes = true;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repetition_waits_for_the_reply_to_the_first_request() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let fingerprint = "a".repeat(64);
    let slow = json!({"type": "signal", "id": "s", "target_user_id": fingerprint, "payload": 1}).to_string();
    client.sends(slow.clone());
    client.sends(slow);
    client.pings("last");
    settle().await;
    let replies: Vec<_> =
        client.messages().iter().map(|reply| (reply["type"].clone(), reply["id"].clone())).collect();
    let expected = [("error", "s"), ("error", "s"), ("pong", "last")];
    assert_eq!(replies, expected.map(|(kind, id)| (json!(kind), json!(id))));
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_at_a_break_are_answered_after_it() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    client.takes_only(0);
    client.sends(signal("s", &stage.other.device, "1"));
    settle().await;
    client.breaks();
    settle().await;
    let (_back, messages) = comes_back(&stage, &first, 0).await;
    assert!(is_resumed(&messages));
    assert_eq!((&messages[1]["type"], &messages[1]["id"]), (&json!("ack"), &json!("s")));
    assert_eq!(stage.other_received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_released_socket_is_dropped_within_two_seconds() {
    let stage = Stage::new();
    let (old, first) = connected(&stage).await;
    old.takes_only(0);
    let (_new, messages) = comes_back(&stage, &first, 0).await;
    assert!(is_resumed(&messages));
    sleep(Duration::from_millis(2_100)).await;
    assert!(old.is_dropped());
}
