//! Clients that send more than they may, and the memory that their sessions hold.

use std::{sync::Arc, time::Duration};

use aldis_protocol::{ClientMessage, CloseCode, Codec, Door, ServerMessage, UserId};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use uuid::Uuid;

use super::{
    assert_about, awaits_close, connected,
    stage::{Client, Stage, close, open_store, relay_over, settle},
};
use crate::{
    clock::{Now, unix_ms_i64},
    link::{Incoming, Outgoing, SessionHandle, Ticket, TokenLife},
    relay::new_session_id,
    session::{
        handshake::{Arrival, Credentials},
        memory::relieve,
    },
};

/// A request that waits for the store, and is refused.
fn slow(id: &str) -> String {
    json!({"type": "signal", "id": id, "target_user_id": "a".repeat(64), "payload": 1}).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_deferred_repetition_counted_twice() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    for _ in 0..100 {
        client.sends(slow("s"));
    }
    settle().await;
    let replies = client.messages();
    assert_eq!(replies.len(), 100);
    assert!(replies.iter().all(|reply| reply["payload"]["code"] == "unavailable"), "{replies:?}");
    client.sends(slow("t"));
    settle().await;
    assert_eq!(client.messages()[0]["payload"]["code"], "rate_limited", "a hundred were charged");
}

/// Sends `send`'s frames until the session closes; returns the close and its time.
async fn floods(stage: &Stage, send: impl Fn(&Client)) -> (CloseCode, Duration) {
    let (client, _) = connected(stage).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        for _ in 0..100 {
            send(&client);
        }
        sleep(Duration::from_millis(100)).await;
        if let Some(code) = close(&client.received()) {
            return (code, start.elapsed());
        }
    }
    panic!("no close");
}

#[tokio::test(start_paused = true)]
async fn endless_frames_without_a_reply_were_read_for_ever() {
    for frame in [Incoming::Ping, Incoming::Pong] {
        let (code, after) = floods(&Stage::new(), |client| client.does(again(&frame))).await;
        assert_eq!(code, CloseCode::RateLimited, "{frame:?}");
        assert!((10..=12).contains(&after.as_secs()), "{frame:?}: {after:?}");
    }
    let received = json!({"type": "received", "count": 0}).to_string();
    let (code, after) = floods(&Stage::new(), |client| client.sends(received.clone())).await;
    assert_eq!(code, CloseCode::RateLimited);
    assert!((10..=12).contains(&after.as_secs()), "{after:?}");
}

fn again(frame: &Incoming) -> Incoming {
    match frame {
        Incoming::Ping => Incoming::Ping,
        Incoming::Pong
        | Incoming::Frame(_)
        | Incoming::Closed(_)
        | Incoming::Refused(..)
        | Incoming::Broken => Incoming::Pong,
    }
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_for_the_rest_of_a_second_full_of_pings() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    for _ in 0..1_000 {
        client.does(Incoming::Ping);
    }
    client.pings("behind");
    settle().await;
    assert_eq!(client.messages().len(), 0, "what is behind waits");
    sleep(Duration::from_millis(1_500)).await;
    let messages = client.messages();
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!("behind")));
    assert!(stage.session().is_some_and(|session| !session.is_detached()));
}

#[tokio::test(start_paused = true)]
async fn confirmations_of_many_messages_do_not_count() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    for round in 1..=20 {
        assert!((0..50).all(|number| stage.pushes(number)));
        settle().await;
        client.sends(json!({"type": "received", "count": 50 * round}).to_string());
    }
    for number in 0..100 {
        client.pings(&number.to_string());
    }
    settle().await;
    let pongs = client.messages().iter().filter(|message| message["type"] == "pong").count();
    assert_eq!(pongs, 100);
}

/// The clock used to be read before the socket.
#[tokio::test(start_paused = true)]
async fn a_pong_that_had_arrived_was_missed_by_a_stalled_node() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    sleep(Duration::from_millis(30_300)).await;
    assert_eq!(client.received(), [Outgoing::Ping]);
    client.does(Incoming::Pong);
    // Nothing else runs in between.
    advance(Duration::from_secs(20)).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(close(&client.received()), None);
    // A pong that does not arrive is still missed.
    let start = Instant::now();
    let (code, _) = awaits_close(&client, false).await;
    assert_eq!(code, CloseCode::HeartbeatMissed);
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_had_arrived_was_too_late_at_a_stalled_node() {
    let stage = Stage::new();
    let now_ms = Now::read().unix_ms;
    let token = TokenLife { issued_ms: now_ms - 880_000, expires_ms: now_ms + 20_000 };
    let client = Client::default();
    stage.admits_with_token(&client, token).await;
    sleep(Duration::from_millis(300)).await;
    let asked = client.messages();
    assert_eq!(asked.last().unwrap()["type"], "auth_required");
    client.sends(json!({"type": "auth", "id": "new", "payload": {"token": "no good"}}).to_string());
    advance(Duration::from_secs(60)).await;
    sleep(Duration::from_millis(300)).await;
    let received = client.received();
    let answer = super::message(&received[0]).unwrap();
    assert_eq!((&answer["type"], &answer["id"]), (&json!("auth_failure"), &json!("new")), "it was read");
    assert_eq!(close(&received), Some(CloseCode::SessionExpired), "and its time is over");
}

#[tokio::test(start_paused = true)]
async fn sending_on_gains_no_time_for_a_new_token() {
    let stage = Stage::new();
    let now_ms = Now::read().unix_ms;
    let token = TokenLife { issued_ms: now_ms - 880_000, expires_ms: now_ms + 20_000 };
    let client = Client::default();
    stage.admits_with_token(&client, token).await;
    let start = Instant::now();
    loop {
        client.pings("still-here");
        sleep(Duration::from_millis(20)).await;
        let received = client.received();
        if let Some(code) = close(&received) {
            assert_eq!(code, CloseCode::SessionExpired, "{received:?}");
            break;
        }
    }
    // The token's end and its leeway.
    assert_about(start.elapsed(), 25);
}

fn chat_door() -> Arrival {
    let room = Some("lobby".parse().unwrap());
    let credentials = Credentials::FirstMessage;
    let address = std::net::IpAddr::from([192, 0, 2, 1]).into();
    Arrival {
        door: Door::Chat,
        codec: Codec::Json,
        room,
        credentials,
        address,
        device_claim: DeviceClaim::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_had_arrived_was_too_late_if_the_clock_was_read_first() {
    let stage = Stage::new();
    let client = Client::default();
    let entering = stage.enters(&client, chat_door());
    let paused = async {
        settle().await;
        advance(Duration::from_secs(60)).await;
        // The runtime has looked at its timers, and only now asks the system what arrived.
        client.sends(json!({"type": "auth", "payload": {"token": "no good"}}).to_string());
    };
    tokio::join!(entering, paused);
    let received = client.received();
    let refused = |outgoing: &&Outgoing| matches!(outgoing, Outgoing::Close(_, "Invalid token"));
    assert!(received.iter().find(refused).is_some(), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_sends_pings_proves_nothing() {
    let stage = Stage::new();
    let client = Client::default();
    for _ in 0..1_000 {
        client.does(Incoming::Ping);
    }
    client.sends(json!({"type": "auth", "payload": {"token": "no good"}}).to_string());
    let start = Instant::now();
    stage.enters(&client, chat_door()).await;
    assert!(start.elapsed() >= Duration::from_secs(5));
    let received = client.received();
    let refused = |outgoing: &&Outgoing| matches!(outgoing, Outgoing::Close(_, "Authentication timeout"));
    assert!(received.iter().find(refused).is_some(), "{received:?}");
}

/// Streamed parts used to be left out of the memory of sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_nobody_reads_counts_as_held() {
    let store = open_store().await;
    let relay = relay_over(Arc::clone(&store));
    tokio::spawn(Arc::clone(&relay).deliver_committed());
    let stage = Stage::with(Arc::clone(&relay));
    let stranger = UserId::new(Uuid::now_v7());
    for user in [stage.user, stranger] {
        store.create_account(user, &format!("{user}@example.org"), "hash", unix_ms_i64()).await.unwrap();
    }
    let device = "stranger".parse().unwrap();
    let stranger = Arc::new(SessionHandle::new(new_session_id(), stranger, device, None, None, Codec::Json));
    for number in 0..40 {
        let content = aldis_protocol::binary::encode(&vec![7; 40_000]);
        let text =
            json!({"type": "message", "id": "m", "recipient_id": stage.user, "encrypted_content": content});
        let frame = Bytes::from(text.to_string());
        let message: ClientMessage<'_> = Codec::Json.decode_client(&frame).unwrap().message;
        let id = format!("m-{number}").parse().unwrap();
        let reply = relay.handle(&stranger, Ticket::default(), Some(id), message, Now::read());
        assert!(matches!(reply.awaited(&stranger).await, ServerMessage::Ack(_)));
    }
    let (client, _) = connected(&stage).await;
    let session = stage.session().unwrap();
    let at_rest = session.held().own;
    client.takes_only(0);
    client.sends(json!({"type": "sync", "id": "s", "since_seq": 0}).to_string());
    let start = std::time::Instant::now();
    // Sixteen parts are made at once, and the next ones after those are written.
    while session.held().own < at_rest + 16 * 40_000 {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} held", session.held());
        sleep(Duration::from_millis(5)).await;
    }
    assert!(session.held().own < 2 * 1024 * 1024);
    relieve(&relay, 500_000);
    while stage.session().is_some() {
        assert!(start.elapsed() < Duration::from_secs(20), "the session goes on");
        sleep(Duration::from_millis(5)).await;
    }
}
