//! Which of two sockets gets their device, and that unserved sessions leave the registry.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    connected, is_resumed,
    stage::{Client, Stage, claim, close, session_id, settle},
};
use crate::{clock::next_in_order, link::Incoming};

#[tokio::test(start_paused = true)]
async fn the_older_of_two_sockets_of_a_device_stayed() {
    let stage = Stage::new();
    let (older, newer) = (Client::default(), Client::default());
    let (first, second) = (next_in_order(), next_in_order());
    // The handshake of the older socket takes longer.
    stage.admits_in_order(&newer, None, second).await;
    stage.admits_in_order(&older, None, first).await;
    settle().await;
    assert_eq!(close(&older.received()).map(|code| code.as_u16()), Some(4300));
    assert_eq!(newer.messages().len(), 1);
    newer.pings("still-here");
    settle().await;
    assert_eq!(newer.messages()[0]["id"], "still-here");
    newer.does(Incoming::Closed(Some(1000)));
    stage.awaits_end().await;
}

#[tokio::test(start_paused = true)]
async fn an_older_socket_does_not_take_a_session_from_a_newer_one() {
    let stage = Stage::new();
    let (_gone, connected) = connected(&stage).await;
    let (older, newer) = (Client::default(), Client::default());
    let (first, second) = (next_in_order(), next_in_order());
    stage.admits_in_order(&newer, Some(claim(&connected, 0)), second).await;
    settle().await;
    assert!(is_resumed(&newer.messages()));
    stage.admits_in_order(&older, Some(claim(&connected, 0)), first).await;
    settle().await;
    assert_eq!(close(&older.received()).map(|code| code.as_u16()), Some(4300));
    newer.pings("still-here");
    settle().await;
    assert_eq!(newer.messages()[0]["id"], "still-here");
    // The same for one that claims nothing and was delayed even longer.
    let lost = Client::default();
    stage.admits_in_order(&lost, None, first).await;
    settle().await;
    assert_eq!(close(&lost.received()).map(|code| code.as_u16()), Some(4300));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_had_disconnected_replaced_a_connected_one() {
    let stage = Stage::new();
    let (client, connected) = connected(&stage).await;
    let gone = Client::default();
    gone.pings("1");
    gone.pings("2");
    gone.does(Incoming::Closed(None));
    stage.admits_on(&gone, None).await;
    settle().await;
    assert_eq!(gone.received(), []);
    assert_eq!(stage.session().unwrap().session, session_id(&connected));
    client.pings("still-here");
    settle().await;
    assert_eq!(client.messages()[0]["id"], "still-here");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_never_served_stayed_online_for_ever() {
    let stage = Stage::new();
    let task = stage.begins(&Client::default(), None, next_in_order()).await;
    assert!(stage.session().is_some() && stage.pushes(1));
    // As if the handshake's task was dropped.
    drop(task);
    assert!(stage.session().is_none() && !stage.pushes(2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_a_session_was_served_left_its_device_online_for_ever() {
    let stage = Stage::new();
    let client = Client::default();
    client.makes_writing_panic();
    let panicked = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(stage.begins(
        &client,
        None,
        next_in_order(),
    )));
    assert!(panicked.await.is_err());
    assert!(stage.session().is_none() && !stage.pushes(1));
    assert!(client.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resumed_a_stuck_session_waited_for_ever() {
    let stage = Stage::new();
    let first = Client::default();
    // It writes its greeting and is never polled again.
    let mut stuck = stage.begins(&first, None, next_in_order()).await.unwrap();
    assert!(futures::poll!(&mut stuck).is_pending());
    let connected = first.messages().remove(0);
    let client = Client::default();
    let start = Instant::now();
    stage.admits_on(&client, Some(claim(&connected, 0))).await;
    settle().await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let messages = client.messages();
    assert!(!is_resumed(&messages), "a fresh session: {messages:?}");
    assert_eq!(stage.session().unwrap().session, session_id(&messages[0]));
    // The end of the stuck session does not end the new one.
    drop(stuck);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.session().unwrap().session, session_id(&messages[0]));
    client.pings("served");
    settle().await;
    assert_eq!(client.messages().last().map(|pong| pong["id"].clone()), Some("served".into()));
}
