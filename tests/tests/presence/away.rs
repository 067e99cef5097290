//! What a watcher gets whose own connection was broken.

use std::time::Duration;

use aldis_client::protocol::UserRef;
use aldis_client::{Client, Credentials, Event, Options};
use aldis_tests::{Frame, Identity, Peer, Proxy, TestServer};
use serde_json::json;

use crate::steps::{NOTICING, awaits_break, comes_back, decides, is_told, shows, watches};

#[test]
fn a_disconnected_watcher_gets_the_latest_of_each_once_and_uncounted() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let (mut phone, mut other) = (user.opens_ephemeral(), watcher.opens_ephemeral());
    let mut peer = watcher.opens_ephemeral();
    let (connected, device) = (peer.connected.clone(), peer.device_id());
    assert_eq!(watches(&mut peer, &user.id)["status"], "online");
    peer.socket.breaks();
    let signals = awaits_break(&mut other, &device);
    for number in 0..50 {
        shows(&mut phone, "away", Some(&number.to_string()));
    }
    shows(&mut phone, "busy", Some("the latest"));
    // Of the messages to this session, the ack and the signals are counted, and presence is not.
    let mut back = comes_back(&server, &watcher, &connected, 1);
    assert_eq!(back.connected["session"]["replayed"], signals);
    (0..signals).for_each(|_| drop(back.expects("signal")));
    is_told(&mut back, "busy", Some("the latest"), 1);
    back.expects_nothing();
    shows(&mut phone, "online", None);
    is_told(&mut back, "online", None, 1);
    back.sends(json!({"type": "received", "count": signals + 2}));
    back.expects_error("bad_request");
}

/// It was written to the old connection, where nobody read it.
#[test]
fn a_presence_lost_with_a_connection_was_never_sent_again() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let (mut phone, mut other) = (user.opens_ephemeral(), watcher.opens_ephemeral());
    let mut peer = watcher.opens_ephemeral();
    watches(&mut other, &user.id);
    watches(&mut peer, &user.id);
    // Each returns what is left of the connection until the client is back.
    let ends: [fn(Peer) -> Option<Peer>; 3] = [
        |peer| {
            peer.socket.breaks();
            None
        },
        |mut peer| {
            peer.socket.sends(&Frame::close(4000, ""));
            None
        },
        // The new connection displaces it.
        Some,
    ];
    for (number, ends) in ends.into_iter().enumerate() {
        let note = number.to_string();
        shows(&mut phone, "busy", Some(&note));
        is_told(&mut other, "busy", Some(&note), 1);
        let connected = peer.connected.clone();
        let left = ends(peer);
        peer = comes_back(&server, &watcher, &connected, 1);
        drop(left);
        is_told(&mut peer, "busy", Some(&note), 1);
        peer.expects_nothing();
    }
}

/// A watcher with the client library sees the current presence in the end, whatever was lost on the way.
#[test]
fn a_client_that_is_cut_off_at_each_change_has_the_last_one() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let proxy = Proxy::before(&server);
    let user = server.user();
    let mut phone = user.opens_ephemeral();
    let watched = [UserRef::Id(user.id.parse().expect("a user id"))];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = Options::new(&proxy.url(), Credentials::key(Identity::new().secret())).unwrap();
        let (client, mut events) = Client::start(options.longest_wait(Duration::from_millis(200)));
        client.connected().await.unwrap();
        client.subscribe_presence(&watched).await.unwrap();
        let mut sessions = 0;
        for number in 0..30 {
            let note = number.to_string();
            shows(&mut phone, "busy", Some(&note));
            proxy.cut();
            let learns = async {
                loop {
                    match events.next().await.expect("a client that goes on") {
                        Event::Presence(presence) if presence.note.as_deref() == Some(&*note) => break,
                        Event::Connected(session) => sessions += usize::from(!session.resumed),
                        _ => {}
                    }
                }
            };
            tokio::time::timeout(NOTICING, learns)
                .await
                .unwrap_or_else(|_| panic!("it never learns of {note}"));
        }
        assert_eq!(sessions, 1, "its session was resumed");
        client.stop().await;
    });
}
