//! The presence of watched users as a session sends it: when the socket has room, only the latest, and not replayed.

use std::{sync::Arc, time::Duration};

use aldis_protocol::{
    ClientMessage, CloseCode, Codec, SetPresence, Status, UserId,
    limits::{HEARTBEAT_INTERVAL, MAX_SUBSCRIPTIONS, QUEUE_FRAMES},
};
use aldis_registry::{Decision, Watcher};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    Client, awaits_close, comes_back, connected, is_resumed,
    stage::{Stage, settle, signal},
};
use crate::{
    clock::Now,
    link::{Incoming, Outgoing, SessionHandle, Ticket},
    relay::{Admission, Reply, new_session_id},
};

impl Stage {
    /// Another user with a device.
    fn somebody(&self) -> Arc<SessionHandle> {
        let (user, device) = (UserId::new(Uuid::now_v7()), format!("~{}", Uuid::now_v7()).parse().unwrap());
        let session = Arc::new(SessionHandle::new(new_session_id(), user, device, None, None, Codec::Json));
        assert_eq!(self.relay.attach(&session, 0, Now::read()), Admission::Admitted);
        session
    }

    /// Subscribes the session on the device to a user without asking the database.
    fn watches(&self, user: UserId) {
        let session = self.session().unwrap();
        let registry = &self.relay.registry;
        let watcher = Watcher { session: session.session, user: session.user, handle: Arc::clone(&session) };
        registry.watch(&watcher, &[user], MAX_SUBSCRIPTIONS).unwrap();
        let stamp = registry.stamp(session.session, user).unwrap();
        assert_eq!(registry.decide(session.session, user, stamp, true), Decision::Changed);
        self.relay.tell_again(&session, user);
    }

    fn shows(&self, device: &Arc<SessionHandle>, status: Status, note: u32) {
        let presence = SetPresence { status, note: Some(note.to_string().into()) };
        let reply = self.relay.handle(
            device,
            Ticket::default(),
            None,
            ClientMessage::Presence(presence),
            Now::read(),
        );
        assert!(matches!(reply, Reply::Now(_)));
    }
}

fn notes(messages: &[Value]) -> Vec<&str> {
    let presence = messages.iter().filter(|message| message["type"] == "presence");
    presence.map(|message| message["note"].as_str().unwrap_or_default()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_only_the_latest_after_all_other_frames() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let somebody = stage.somebody();
    stage.watches(somebody.user);
    settle().await;
    assert_eq!(notes(&client.messages()), [""]);
    client.takes_only(0);
    assert!(stage.pushes(1));
    settle().await;
    for note in 0..1_000 {
        stage.shows(&somebody, Status::Busy, note);
    }
    assert!(stage.pushes(2));
    settle().await;
    assert_eq!(client.largest_backlog(), 1, "what is told is not made before there is room");
    client.takes_only(usize::MAX);
    settle().await;
    let messages = client.messages();
    assert_eq!((&messages[0]["payload"], &messages[1]["payload"]), (&json!(1), &json!(2)));
    assert_eq!((messages.len(), notes(&messages)), (3, vec!["999"]));
}

#[tokio::test(start_paused = true)]
async fn marks_take_no_place_in_the_queue_but_are_held() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let watched: Vec<_> = (0..MAX_SUBSCRIPTIONS).map(|_| stage.somebody()).collect();
    watched.iter().for_each(|device| stage.watches(device.user));
    settle().await;
    assert_eq!(client.messages().len(), MAX_SUBSCRIPTIONS);
    client.takes_only(0);
    assert!(stage.pushes(0));
    settle().await;
    let held = stage.session().unwrap().held().total();
    watched.iter().for_each(|device| stage.shows(device, Status::Away, 7));
    assert!(stage.session().unwrap().held().total() > held);
    let accepted = (1..QUEUE_FRAMES as u64).filter(|number| stage.pushes(*number)).count();
    assert_eq!(accepted, QUEUE_FRAMES - 1);
    client.takes_only(usize::MAX);
    settle().await;
    let messages = client.messages();
    assert_eq!(notes(&messages), ["7"; MAX_SUBSCRIPTIONS]);
    assert_eq!(messages.len(), QUEUE_FRAMES + MAX_SUBSCRIPTIONS);
    assert!(client.largest_backlog() <= QUEUE_FRAMES, "a few at a time");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_away_gets_the_latest_when_it_resumes() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    let somebody = stage.somebody();
    stage.watches(somebody.user);
    settle().await;
    assert_eq!(client.messages().len(), 1);
    client.breaks();
    settle().await;
    (0..10).for_each(|note| stage.shows(&somebody, Status::Busy, note));
    assert!(stage.pushes(5));
    settle().await;
    let (back, messages) = comes_back(&stage, &first, 0).await;
    assert!(is_resumed(&messages));
    assert_eq!(messages[0]["session"]["replayed"], 1);
    assert_eq!((&messages[1]["payload"], notes(&messages)), (&json!(5), vec!["9"]));

    // A pong proves that it was received; then it is not sent again.
    answers_ping(&back).await;
    back.breaks();
    settle().await;
    let (_, messages) = comes_back(&stage, &messages[0], 1).await;
    assert_eq!(messages.len(), 1);
}

/// Waits for the next ping, and answers it.
async fn answers_ping(client: &Client) {
    sleep(HEARTBEAT_INTERVAL + Duration::from_millis(300)).await;
    assert!(client.received().contains(&Outgoing::Ping));
    client.does(Incoming::Pong);
    settle().await;
}

/// A write before a socket ends may get lost; only a pong proves that the client received it.
#[tokio::test(start_paused = true)]
async fn presence_written_right_before_a_break_was_lost() {
    let breaks: [fn(&Client); 2] =
        [Client::breaks, |client| client.does(Incoming::Closed(Some(CloseCode::ProtocolError.as_u16())))];
    for breaks in breaks {
        let stage = Stage::new();
        let (client, first) = connected(&stage).await;
        let (somebody, other) = (stage.somebody(), stage.somebody());
        stage.watches(somebody.user);
        stage.watches(other.user);
        answers_ping(&client).await;
        stage.shows(&somebody, Status::Away, 1);
        stage.shows(&somebody, Status::Busy, 2);
        settle().await;
        assert_eq!(notes(&client.messages()), ["2"], "written, and lost on its way");
        breaks(&client);
        settle().await;
        let (_, messages) = comes_back(&stage, &first, 0).await;
        assert!(is_resumed(&messages));
        assert_eq!(notes(&messages), ["2"], "the other was heard of before");
    }
}

#[tokio::test(start_paused = true)]
async fn presence_written_to_a_displaced_connection_is_sent_again() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    let somebody = stage.somebody();
    stage.watches(somebody.user);
    stage.shows(&somebody, Status::Busy, 1);
    settle().await;
    assert_eq!(notes(&client.messages()), ["1"]);
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert_eq!(notes(&messages), ["1"]);
}

/// Sessions that watch hundreds resume at once, and get only what each may have missed.
#[tokio::test(start_paused = true)]
async fn a_resumed_client_gets_only_the_presence_that_changed() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    let watched: Vec<_> = (0..MAX_SUBSCRIPTIONS).map(|_| stage.somebody()).collect();
    watched.iter().for_each(|device| stage.watches(device.user));
    settle().await;
    answers_ping(&client).await;
    stage.shows(&watched[7], Status::Busy, 7);
    settle().await;
    client.breaks();
    settle().await;
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert_eq!((messages.len(), notes(&messages)), (2, vec!["7"]));
}

#[tokio::test(start_paused = true)]
async fn presence_not_written_at_a_break_is_sent_after_it() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    let somebody = stage.somebody();
    client.takes_only(0);
    stage.watches(somebody.user);
    stage.shows(&somebody, Status::Busy, 1);
    settle().await;
    assert_eq!(client.largest_backlog(), 1);
    client.breaks();
    settle().await;
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert_eq!(notes(&messages), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn presence_sent_after_the_last_pong_is_sent_again() {
    let stage = Stage::new();
    let (client, first) = connected(&stage).await;
    let (heard, lost) = (stage.somebody(), stage.somebody());
    stage.watches(heard.user);
    stage.watches(lost.user);
    sleep(Duration::from_millis(30_300)).await;
    assert!(client.received().contains(&Outgoing::Ping));
    client.does(Incoming::Pong);
    stage.shows(&lost, Status::Busy, 1);
    settle().await;
    assert_eq!(notes(&client.messages()), ["1"], "on its way, and never heard");
    let (code, _) = awaits_close(&client, false).await;
    assert_eq!(code, CloseCode::HeartbeatMissed);
    let (_, messages) = comes_back(&stage, &first, 0).await;
    assert_eq!(notes(&messages), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_watches_nobody() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let somebody = stage.somebody();
    stage.watches(somebody.user);
    let session = stage.session().unwrap().session;
    client.does(Incoming::Closed(Some(1000)));
    stage.awaits_end().await;
    assert_eq!(stage.relay.registry.watch_count(session), 0);
    assert_eq!(stage.relay.registry.stamp(session, somebody.user), None);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_fail_without_the_database() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let somebody = stage.somebody();
    let session = stage.session().unwrap().session;
    client.sends(json!({"type": "presence_subscribe", "id": "s", "user_ids": [somebody.user]}).to_string());
    settle().await;
    let messages = client.messages();
    assert_eq!((messages.len(), &messages[0]["payload"]["code"]), (1, &json!("unavailable")));
    assert_eq!(stage.relay.registry.watch_count(session), 0);
    stage.shows(&somebody, Status::Busy, 1);
    settle().await;
    assert_eq!(client.messages().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_set_after_earlier_requests() {
    let stage = Stage::new();
    let (client, _) = connected(&stage).await;
    let slow =
        json!({"type": "presence_unsubscribe", "id": "slow", "user_ids": ["a".repeat(64)]}).to_string();
    client.sends(slow);
    client.sends(json!({"type": "presence", "id": "busy", "status": "busy"}).to_string());
    client.sends(signal("last", &stage.other.device, "1"));
    settle().await;
    let ids: Vec<_> = client.messages().iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, ["slow", "busy", "last"].map(|id| json!(id)));
    assert_eq!(stage.relay.registry.presence(stage.user).devices, 2);
    let session = stage.session().unwrap().session;
    let shown = stage.relay.registry.presence_of_session(stage.user, session).unwrap();
    assert_eq!(shown.status, Status::Busy);
}
