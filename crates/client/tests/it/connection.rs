//! How a connection comes and goes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aldis_client::{
    Client, ConnectionError, Credentials, DialError, Event, Events, Options, RequestError, State,
    TokenReason,
    protocol::{ClientMessage, Codec, Presence, ServerMessage, SetPresence, Status, UserId},
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, advance},
};
use uuid::Uuid;

use crate::peer::{AUDIENCE, Network, Peer, URL, device, key};

fn presence(devices: u32) -> ServerMessage<'static> {
    ServerMessage::Presence(Presence::new(UserId::new(Uuid::nil()), Status::Online, devices))
}

async fn closed(events: &mut Events) -> (ConnectionError, Option<Duration>) {
    loop {
        if let Event::Closed { cause, retry_in } = events.next().await.unwrap() {
            return (cause, retry_in);
        }
    }
}

#[test]
fn a_client_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Client>();
    sent::<Events>();
    sent::<Options>();
}

#[tokio::test(start_paused = true)]
async fn a_key_connects() {
    let (_network, client, mut events, _peer) = Network::connected().await;
    assert_eq!(client.state(), State::Connected);
    assert_eq!(client.session().unwrap().device_id, device());
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
}

#[tokio::test(start_paused = true)]
async fn a_break_is_told_and_mended() {
    let (mut network, client, mut events, peer) = Network::connected().await;
    drop(peer);
    let (cause, retry_in) = closed(&mut events).await;
    assert!(matches!(cause, ConnectionError::Broken(_)), "{cause:?}");
    assert!(retry_in.unwrap() <= Duration::from_millis(500));
    assert_eq!(client.state(), State::Reconnecting);
    let _peer = network.welcome().await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_close_code_is_obeyed() {
    let (_network, client, mut events, mut peer) = Network::connected().await;
    peer.close(4300).await;
    let (cause, retry_in) = closed(&mut events).await;
    assert!(matches!(cause, ConnectionError::Closed { code: 4300, .. }), "{cause:?}");
    assert_eq!(retry_in, None);
    assert!(events.next().await.is_none());
    assert_eq!(client.state(), State::Disconnected);
    assert_eq!(client.ping().await, Err(RequestError::Stopped));
    assert_eq!(client.connected().await, Err(RequestError::Stopped));
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_offline_and_closes_with_1000() {
    let (_network, client, mut events, mut peer) = Network::connected().await;
    let server = async {
        let frame = peer.hear().await;
        let offline = SetPresence { status: Status::Offline, note: None };
        assert_eq!(frame.read().message, ClientMessage::Presence(offline));
        peer.ack(frame.id()).await;
        assert_eq!(peer.hear_close().await, 1000);
    };
    tokio::join!(client.stop(), client.stop(), server);
    assert_eq!(client.state(), State::Disconnected);
    assert!(matches!(closed(&mut events).await, (ConnectionError::Stopped, None)));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    drop(client.clone());
    drop(client);
    let frame = peer.hear().await;
    peer.ack(frame.id()).await;
    assert_eq!(peer.hear_close().await, 1000);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_read_once_stopped_the_connection() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (client, mut events) = Client::start(options.event_capacity(2));
    let mut peer = network.welcome().await;
    client.connected().await.unwrap();
    for n in 0..50 {
        peer.say(None, presence(n)).await;
    }
    let ((), pong) = tokio::join!(answer_ping(&mut peer), client.ping());
    pong.unwrap();
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert!(matches!(events.next().await, Some(Event::Presence(presence)) if presence.devices == 0));
    assert!(matches!(events.next().await, Some(Event::Lagged { missed: 49 })));
    peer.say(None, presence(50)).await;
    assert!(matches!(events.next().await, Some(Event::Presence(presence)) if presence.devices == 50));
    assert_eq!(client.statistics().lagged, 49);
}

async fn answer_ping(peer: &mut Peer) {
    let id = peer.hear().await.id();
    peer.say(Some(id), ServerMessage::Pong).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_network_is_left_at_once() {
    let (mut network, client, mut events, peer) = Network::connected().await;
    client.reconnect_now();
    let _peer_and_count = network.welcome_back().await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    let event = events.next().await.unwrap();
    assert!(
        matches!(
            event,
            Event::Closed { cause: ConnectionError::NetworkChanged, retry_in: Some(Duration::ZERO) }
        ),
        "{event:?}"
    );
    assert!(matches!(events.next().await, Some(Event::Connected(session)) if session.resumed));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_does_is_counted() {
    let (mut network, client, _events, mut peer) = Network::connected().await;
    let start = client.statistics();
    assert_eq!((start.connects, start.resumes, start.frames_sent, start.round_trip), (1, 0, 1, None));
    assert!(start.frames_received >= 3 && start.bytes_received > 100, "{start:?}");
    let ((), pong) = tokio::join!(answer_ping(&mut peer), client.ping());
    pong.unwrap();
    let now = client.statistics();
    assert_eq!((now.frames_sent, now.frames_received), (2, start.frames_received + 1));
    // The peer answers WebSocket pings while it listens.
    assert!(tokio::time::timeout(Duration::from_secs(25), peer.hear()).await.is_err());
    assert!(client.statistics().round_trip.is_some());
    drop(peer);
    let _peer_and_count = network.welcome_back().await;
    client.connected().await.unwrap();
    let now = client.statistics();
    assert_eq!((now.connects, now.resumes), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_application_without_events_is_served_all_the_same() {
    let (_network, client, events, mut peer) = Network::connected().await;
    drop(events);
    for n in 0..1_000 {
        peer.say(None, presence(n)).await;
    }
    let server = async {
        let frame = peer.hear().await;
        peer.say(Some(frame.id()), ServerMessage::Pong).await;
    };
    let (pong, ()) = tokio::join!(client.ping(), server);
    assert!(pong.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_left_after_40_seconds() {
    let (_network, _client, mut events, _peer) = Network::connected().await;
    let connected = Instant::now();
    assert!(matches!(closed(&mut events).await, (ConnectionError::Silent, Some(_))));
    assert_eq!(connected.elapsed().as_secs(), 40);
}

/// The clock used to be asked before the socket.
#[tokio::test(start_paused = true)]
async fn a_client_that_was_paused_while_it_proved_itself_gave_up_what_had_let_it_in() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (client, mut events) = Client::start(options);
    let mut peer = network.accept().await;
    peer.check_key(AUDIENCE).await;
    peer.let_in().await;
    // Nothing runs in between: as where the process is stopped for a while.
    advance(Duration::from_secs(60)).await;
    client.connected().await.unwrap();
    let first = events.next().await;
    assert!(matches!(first, Some(Event::Connected(_))), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_paused_took_a_server_for_silent_whose_frames_had_arrived() {
    let (_network, client, mut events, mut peer) = Network::connected().await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    for n in 0..3 {
        peer.say(None, presence(n)).await;
    }
    advance(Duration::from_secs(45)).await;
    for n in 0..3 {
        let event = events.next().await.unwrap();
        assert!(matches!(&event, Event::Presence(presence) if presence.devices == n), "{event:?}");
    }
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_is_kept() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let nothing = tokio::time::timeout(Duration::from_secs(600), peer.hear()).await;
    assert!(nothing.is_err());
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_goes_nowhere_ends_after_10_seconds() {
    let options = Options::insecure(URL, Credentials::key(key()))
        .unwrap()
        .transport(|_, _| std::future::pending::<std::io::Result<tokio::io::DuplexStream>>());
    let (_client, mut events) = Client::start(options);
    let started = Instant::now();
    let (cause, _) = closed(&mut events).await;
    assert!(matches!(cause, ConnectionError::Dial(DialError::TimedOut)), "{cause:?}");
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_http_refusal_is_told_with_its_retry_after() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (_client, mut events) = Client::start(options);
    let mut stream = network.stream().await;
    let response = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(response).await.unwrap();
    let (cause, retry_in) = closed(&mut events).await;
    assert!(matches!(cause, ConnectionError::Dial(DialError::Refused { status: 429, .. })), "{cause:?}");
    assert_eq!(retry_in.unwrap().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_for_another_server_is_not_answered() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (_client, mut events) = Client::start(options);
    let mut peer = network.accept().await;
    let relayed = async {
        let answered = peer.check_key("other.test");
        let _ = tokio::time::timeout(Duration::from_secs(1), answered).await;
    };
    let told = closed(&mut events);
    tokio::pin!(relayed);
    tokio::select! {
        biased;
        (cause, _) = told => assert!(matches!(cause, ConnectionError::Challenge(_)), "{cause:?}"),
        () = &mut relayed => panic!("nothing was refused"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_told_why_it_is_asked() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let credentials = Credentials::token(move |reason| {
        log.lock().unwrap().push(reason);
        async { Ok::<_, std::io::Error>("a token".to_owned()) }
    });
    let (mut network, options) = Network::with(credentials.for_device(device()));
    let (client, mut events) = Client::start(options);
    for _ in 0..2 {
        let mut peer = network.accept().await;
        let frame = peer.hear().await;
        let ClientMessage::Auth(auth) = frame.read().message else { panic!("no token") };
        assert_eq!(auth.token.unwrap().expose(), "a token");
        assert_eq!(auth.device_id, Some(device()));
        peer.let_in().await;
        client.connected().await.unwrap();
        peer.close(4200).await;
        closed(&mut events).await;
    }
    assert_eq!(asked.lock().unwrap()[..2], [TokenReason::First, TokenReason::Expired]);
}

#[tokio::test(start_paused = true)]
async fn protobuf_connects_as_well() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (client, _events) = Client::start(options.codec(Codec::Proto));
    let mut peer = Peer::accept(network.stream().await, Codec::Proto).await;
    peer.check_key(AUDIENCE).await;
    peer.let_in().await;
    assert_eq!(client.connected().await.unwrap().device_id, device());
}
