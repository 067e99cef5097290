//! The client library over a network that is cut again and again (docs/protocol/resume.md).

use std::time::Duration;

use aldis_client::auth::SecretKey;
use aldis_client::protocol::{DeviceId, Payload, SignalKind, Target};
use aldis_client::{Client, Credentials, Event, Events, Options, RequestError};
use aldis_tests::{Identity, Proxy, TestServer, unique};
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;

const CUTS: usize = 20;
/// Signals for each cut.
const PER_CUT: usize = 10;
/// Signals that can wait for their `ack` at a time.
const UNDER_WAY: usize = 8;
/// The time for a resume, or for a signal to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(proxy: &Proxy, key: SecretKey, device: &DeviceId) -> (Client, Events) {
    let credentials = Credentials::key(key).for_device(device.clone());
    let options = Options::new(&proxy.url(), credentials).unwrap();
    // Twenty breaks in a row take seconds only if the waits do not grow.
    Client::start(options.longest_wait(Duration::from_millis(500)))
}

async fn signal(
    client: &Client,
    target: &DeviceId,
    number: u32,
    may_send: &Semaphore,
) -> Result<(), RequestError> {
    may_send.acquire().await.unwrap().forget();
    let text = number.to_string();
    let payload = Payload::from_json(&text).unwrap();
    client.signal(SignalKind::Signal, Target::Device(target.clone()), payload).await.map(drop)
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next())
        .await
        .expect("an event in time")
        .expect("a client that goes on")
}

/// Waits for a connection, and returns whether it resumed the previous session.
async fn next_connected(events: &mut Events) -> bool {
    loop {
        if let Event::Connected(session) = next(events).await {
            return session.resumed;
        }
    }
}

/// The signals that the callee gets. The network is cut in the middle of each ten signals; then the next ten are sent.
async fn listen(mut events: Events, proxy: &Proxy, may_send: &Semaphore) -> Vec<u32> {
    let (mut heard, mut resumed, mut cuts) = (Vec::new(), 0, 0);
    may_send.add_permits(PER_CUT);
    while heard.len() < CUTS * PER_CUT || resumed < CUTS {
        match next(&mut events).await {
            Event::Signal(signal) => {
                heard.push(std::str::from_utf8(signal.signal.payload.as_bytes()).unwrap().parse().unwrap());
            }
            Event::Connected(session) => {
                assert!(session.resumed, "the session goes on");
                resumed += 1;
            }
            Event::Closed { retry_in: Some(_), .. } => {}
            other => panic!("{other:?}"),
        }
        if cuts == resumed && cuts < CUTS && heard.len() >= cuts * PER_CUT + PER_CUT / 2 {
            assert!(proxy.cut() > 0, "a client was connected");
            may_send.add_permits(PER_CUT);
            cuts += 1;
        }
    }
    heard
}

#[test]
fn two_hundred_signals_arrive_once_and_in_order_over_twenty_cuts() {
    let server = TestServer::start();
    let proxy = Proxy::before(&server);
    let identity = Identity::new();
    let devices = ["caller", "callee"].map(|name| unique(name).parse::<DeviceId>().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (caller, mut caller_events) = start(&proxy, identity.secret(), &devices[0]);
        assert!(!next_connected(&mut caller_events).await);
        let (callee, mut callee_events) = start(&proxy, identity.secret(), &devices[1]);
        assert!(!next_connected(&mut callee_events).await);

        let may_send = Semaphore::new(0);
        let numbers = 0..u32::try_from(CUTS * PER_CUT).unwrap();
        let sending = stream::iter(numbers.clone())
            .map(|number| signal(&caller, &devices[1], number, &may_send))
            .buffered(UNDER_WAY);
        let listening = listen(callee_events, &proxy, &may_send);
        let (outcomes, heard) = tokio::join!(sending.collect::<Vec<_>>(), listening);
        assert_eq!(outcomes, vec![Ok(()); CUTS * PER_CUT]);
        assert_eq!(heard, numbers.collect::<Vec<_>>());
        caller.stop().await;
        callee.stop().await;

        while let Some(event) = caller_events.next().await {
            if let Event::Connected(session) = event {
                assert!(session.resumed, "the caller's session goes on too");
            }
        }
    });
}

#[test]
fn a_client_whose_network_changed_resumes_while_the_old_socket_still_stands() {
    let server = TestServer::start();
    let proxy = Proxy::before(&server);
    let identity = Identity::new();
    let devices = ["caller", "callee"].map(|name| unique(name).parse::<DeviceId>().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (caller, mut caller_events) = start(&proxy, identity.secret(), &devices[0]);
        assert!(!next_connected(&mut caller_events).await);
        let (callee, mut callee_events) = start(&proxy, identity.secret(), &devices[1]);
        assert!(!next_connected(&mut callee_events).await);
        let may_send = Semaphore::new(2);
        callee.reconnect_now();
        signal(&caller, &devices[1], 1, &may_send).await.unwrap();
        let (mut heard, mut resumed) = (Vec::new(), false);
        while heard.len() < 2 || !resumed {
            match next(&mut callee_events).await {
                Event::Signal(signal) => heard.push(signal.signal.payload.as_bytes().to_vec()),
                Event::Connected(session) => {
                    resumed = session.resumed;
                    signal(&caller, &devices[1], 2, &may_send).await.unwrap();
                }
                Event::Closed { retry_in: Some(_), .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, [b"1", b"2"]);
        let statistics = callee.statistics();
        assert_eq!((statistics.connects, statistics.resumes), (2, 1));
    });
}
