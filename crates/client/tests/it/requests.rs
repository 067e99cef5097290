//! What is asked and answered on a connection.

use std::time::Duration;

use aldis_client::{
    Event, RequestError,
    protocol::{
        ClientMessage, DEFAULT_STUN_SERVERS, EncryptedMessage, IceServer, IceServers, Payload, RelayedSignal,
        Sender, ServerMessage, SignalKind, Target, UserId, UserRef, limits::MAX_UNANSWERED_REQUESTS,
    },
};
use futures::future::join_all;
use tokio::time::Instant;
use uuid::Uuid;

use crate::peer::Network;

fn phone() -> Target {
    Target::Device("phone".parse().unwrap())
}

fn answer_of_phone() -> ServerMessage<'static> {
    ServerMessage::Signal(RelayedSignal::new(
        SignalKind::Answer,
        Sender::new("phone".parse().unwrap(), UserId::new(Uuid::nil())),
        Payload::from_json("{}").unwrap(),
    ))
}

fn ice_server(url: &str) -> IceServer<'static> {
    IceServer::new(vec![url.to_owned().into()])
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_acknowledged_and_lets_the_answer_in_until_the_call_ends() {
    let (_network, client, mut events, mut peer) = Network::connected().await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    let server = async {
        let frame = peer.hear().await;
        let ClientMessage::Signal(offer) = frame.read().message else { panic!("no signal") };
        assert_eq!((offer.kind, offer.target), (SignalKind::Offer, phone()));
        peer.ack(frame.id()).await;
        peer.say(None, answer_of_phone()).await;
    };
    let payload = Payload::from_json(r#"{"sdp":"v=0"}"#).unwrap();
    let (ack, ()) = tokio::join!(client.offer(phone(), payload), server);
    assert_eq!(ack.unwrap().message, "done");
    assert!(matches!(events.next().await, Some(Event::Signal(_))));
    client.end_call(phone()).await;
    // The command is with the task once a later one is answered.
    let server = async {
        let frame = peer.hear().await;
        peer.say(Some(frame.id()), ServerMessage::Pong).await;
        peer.say(None, answer_of_phone()).await;
    };
    let (_, ()) = tokio::join!(client.ping(), server);
    assert!(matches!(events.next().await, Some(Event::SignalRefused { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_request_times_out_after_30_seconds() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let asked = Instant::now();
    let listening = async {
        peer.hear().await;
        peer.hear().await;
    };
    tokio::select! {
        result = client.ping() => assert_eq!(result, Err(RequestError::TimedOut)),
        () = listening => panic!("nothing else is asked"),
    }
    assert_eq!(asked.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_129th_request_waits_for_its_turn() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let asking = join_all((0..=MAX_UNANSWERED_REQUESTS).map(|_| client.ping()));
    let server = async {
        let mut heard = Vec::new();
        for _ in 0..MAX_UNANSWERED_REQUESTS {
            heard.push(peer.hear().await.id());
        }
        let more = tokio::time::timeout(Duration::from_secs(1), peer.hear()).await;
        assert!(more.is_err(), "128 are unanswered");
        for id in heard {
            peer.say(Some(id), ServerMessage::Pong).await;
        }
        let last = peer.hear().await.id();
        peer.say(Some(last), ServerMessage::Pong).await;
    };
    let (pongs, ()) = tokio::join!(asking, server);
    assert!(pongs.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_message_outlives_a_break() {
    let (mut network, client, _events, mut peer) = Network::connected().await;
    let recipient = UserRef::Id(UserId::new(Uuid::nil()));
    let message = || {
        ClientMessage::Message(EncryptedMessage { recipient, encrypted_content: b"sealed".as_slice().into() })
    };
    let server = async {
        let first = peer.hear().await.id();
        drop(peer);
        let mut peer = network.welcome().await;
        let again = peer.hear().await;
        assert_eq!(again.id(), first);
        assert_eq!(again.read().message, message());
        peer.ack(first).await;
        peer
    };
    let (reply, _peer) = tokio::join!(client.request(message()), server);
    assert!(reply.is_ok(), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_does_not_outlive_its_session() {
    let (mut network, client, _events, mut peer) = Network::connected().await;
    let server = async {
        peer.hear().await;
        drop(peer);
        network.welcome().await
    };
    let (lost, _peer) = tokio::join!(client.offer(phone(), Payload::from_json("{}").unwrap()), server);
    assert_eq!(lost, Err(RequestError::ConnectionLost));
    assert!(RequestError::ConnectionLost.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn what_would_close_the_connection_is_not_sent() {
    let (_network, client, _events, _peer) = Network::connected().await;
    let large = format!("\"{}\"", "x".repeat(65_536));
    let result = client.offer(phone(), Payload::from_json(&large).unwrap()).await;
    assert_eq!(result, Err(RequestError::TooLarge));
    let auth = ClientMessage::Auth(aldis_client::protocol::Auth::default());
    assert_eq!(client.request(auth).await, Err(RequestError::Reserved));
}

#[tokio::test(start_paused = true)]
async fn ice_servers_are_the_applications_then_the_servers() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let server = async {
        let frame = peer.hear().await;
        assert_eq!(frame.read().message, ClientMessage::IceServers);
        let servers = IceServers::new(vec![ice_server("turn:relay.test")]);
        peer.say(Some(frame.id()), ServerMessage::IceServers(servers)).await;
    };
    let (servers, ()) = tokio::join!(client.ice_servers([ice_server("stun:own.test")]), server);
    assert_eq!(servers, [ice_server("stun:own.test"), ice_server("turn:relay.test")]);
}

#[tokio::test(start_paused = true)]
async fn the_default_stun_servers_stand_in_for_a_server_that_is_away() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    peer.close(4300).await;
    while client.connected().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let servers = client.ice_servers([]).await;
    assert_eq!(servers[0].urls, DEFAULT_STUN_SERVERS);
}

#[tokio::test]
async fn another_thread_needs_no_timers_of_its_own() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(client.ping())
    });
    let frame = peer.hear().await;
    peer.say(Some(frame.id()), ServerMessage::Pong).await;
    assert!(tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap().is_ok());
}
