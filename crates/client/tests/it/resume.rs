//! A session that outlives its sockets.

use std::time::Duration;

use aldis_client::{
    Client, Event, Events, RequestError, State,
    protocol::{ClientMessage, Payload, RelayedSignal, Sender, ServerMessage, SignalKind, Target, UserId},
};
use futures::future::join_all;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::peer::{Network, Peer};

fn signal(number: u32) -> ServerMessage<'static> {
    ServerMessage::Signal(RelayedSignal::new(
        SignalKind::Signal,
        Sender::new("phone".parse().unwrap(), UserId::new(Uuid::nil())),
        Payload::from_json(&number.to_string()).unwrap().into_owned(),
    ))
}

async fn send(client: &Client, number: u32) -> Result<(), RequestError> {
    let payload = number.to_string();
    let target = Target::Device("phone".parse().unwrap());
    client.signal(SignalKind::Signal, target, Payload::from_json(&payload).unwrap()).await.map(drop)
}

async fn next_signal(events: &mut Events) -> String {
    loop {
        if let Event::Signal(signal) = events.next().await.unwrap() {
            return std::str::from_utf8(signal.signal.payload.as_bytes()).unwrap().to_owned();
        }
    }
}

/// What the client sends, but for confirmations.
async fn hear_signal(peer: &mut Peer) -> (aldis_client::protocol::RequestId, String) {
    loop {
        let frame = peer.hear().await;
        if matches!(frame.read().message, ClientMessage::Received(_)) {
            continue;
        }
        let ClientMessage::Signal(signal) = frame.read().message else { panic!("no signal") };
        return (frame.id(), std::str::from_utf8(signal.payload.as_bytes()).unwrap().to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_requests_survive_a_break() {
    let (mut network, client, mut events, mut peer) = Network::connected().await;
    let server = async {
        let (id, payload) = hear_signal(&mut peer).await;
        assert_eq!(payload, "1");
        peer.say(None, signal(1)).await;
        assert_eq!(next_signal(&mut events).await, "1");
        drop(peer);
        let (mut peer, received) = network.welcome_back().await;
        assert_eq!(received, 1);
        assert_eq!(hear_signal(&mut peer).await, (id.clone(), "1".to_owned()));
        peer.say(None, signal(2)).await;
        peer.ack(id.clone()).await;
        peer.ack(id).await;
        assert!(matches!(events.next().await, Some(Event::Closed { .. })));
        assert!(matches!(events.next().await, Some(Event::Connected(session)) if session.resumed));
        assert_eq!(next_signal(&mut events).await, "2");
        peer
    };
    let (sent, _peer) = tokio::join!(send(&client, 1), server);
    assert_eq!(sent, Ok(()));
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn what_arrived_is_confirmed_after_5_seconds() {
    let (_network, _client, _events, mut peer) = Network::connected().await;
    let begun = Instant::now();
    for number in 0..3 {
        peer.say(None, signal(number)).await;
    }
    let frame = peer.hear().await;
    assert!(matches!(frame.read().message, ClientMessage::Received(received) if received.count == 3));
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert!(timeout(Duration::from_secs(60), peer.hear()).await.is_err(), "nothing is new");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_while_away_waits_in_its_order_and_the_129th_is_refused() {
    let (mut network, client, mut events, peer) = Network::connected().await;
    drop(peer);
    while client.state() == State::Connected {
        events.next().await.unwrap();
    }
    let asking = join_all((0..129).map(|number| send(&client, number)));
    let server = async {
        let (mut peer, _) = network.welcome_back().await;
        for number in 0..128 {
            let (id, payload) = hear_signal(&mut peer).await;
            assert_eq!(payload, number.to_string());
            peer.ack(id).await;
        }
        peer
    };
    let (outcomes, _peer) = tokio::join!(asking, server);
    assert_eq!(outcomes[..128], vec![Ok(()); 128]);
    assert_eq!(outcomes[128], Err(RequestError::QueueFull));
}

#[tokio::test(start_paused = true)]
async fn a_close_decides_whether_the_session_is_asked_for() {
    for (code, kept) in [(4100, true), (4104, true), (4101, false), (1012, false)] {
        let (mut network, _client, _events, mut peer) = Network::connected().await;
        peer.close(code).await;
        let mut peer = network.accept().await;
        assert_eq!(peer.check_key(crate::peer::AUDIENCE).await.is_some(), kept, "{code}");
    }
}
