//! Presence when a connection is closed or breaks.

use std::time::{Duration, Instant};

use aldis_client::{Client, Credentials, Event, Events, Options, State};
use aldis_tests::{Frame, Identity, Proxy, TestServer, now_ms};
use serde_json::json;

use crate::steps::{
    NOTICING, awaits_break, closes, comes_back, is_told, last_seen_ms, shows, watcher_and_watched, watches,
};

#[test]
fn a_final_close_frame_shows_as_offline_at_once() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    watches(&mut watcher, &user.id);
    for code in [1000, 1001] {
        let mut phone = user.opens_ephemeral();
        is_told(&mut watcher, "online", None, 1);
        let before = now_ms();
        closes(&mut phone, code);
        let offline = watcher.expects("presence");
        assert_eq!((&offline["status"], &offline["devices"]), (&json!("offline"), &json!(0)));
        let at_ms = last_seen_ms(&offline);
        assert!(at_ms >= before && at_ms <= now_ms(), "{offline}");
    }
}

#[test]
fn any_other_close_frame_shows_at_once_too_and_a_resume_restores_the_status() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    shows(&mut phone, "busy", Some("in a call"));
    watches(&mut watcher, &user.id);
    let mut connected = phone.connected.clone();
    for code in [4000, 3000, 1011] {
        closes(&mut phone, code);
        is_told(&mut watcher, "offline", None, 0);
        phone = comes_back(&server, &user, &connected, 1);
        is_told(&mut watcher, "busy", Some("in a call"), 1);
        connected = phone.connected.clone();
    }
    phone.socket.sends(&Frame::new(0x8, []));
    is_told(&mut watcher, "offline", None, 0);
    comes_back(&server, &user, &connected, 1);
    is_told(&mut watcher, "busy", Some("in a call"), 1);
}

#[test]
fn a_break_within_the_window_does_not_show() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut other = user.opens_ephemeral();
    let mut phone = user.opens_ephemeral();
    shows(&mut phone, "online", Some("here"));
    watches(&mut watcher, &user.id);
    let (connected, device) = (phone.connected.clone(), phone.device_id());
    phone.socket.breaks();
    let signals = awaits_break(&mut other, &device);
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["devices"], 2, "its presence holds");
    let mut back = comes_back(&server, &user, &connected, 1);
    (0..signals).for_each(|_| drop(back.expects("signal")));
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["note"], "here", "a resumed session keeps its status");
    shows(&mut back, "busy", None);
    is_told(&mut watcher, "online", None, 2);
}

#[test]
fn a_break_shows_when_its_window_ends() {
    let server = TestServer::builder().env("ALDIS_RESUME_WINDOW", "2").start();
    let (mut watcher, user) = watcher_and_watched(&server);
    let phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    let broken = Instant::now();
    phone.socket.breaks();
    is_told(&mut watcher, "offline", None, 0);
    let after = broken.elapsed();
    assert!(after >= Duration::from_secs(2), "told after {after:?}");

    let mut again = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 1);
    closes(&mut again, 4000);
    is_told(&mut watcher, "offline", None, 0);
    let told = Instant::now();
    while server.metric("aldis_sessions") > 1 {
        assert!(told.elapsed() < NOTICING, "the session ends");
        watcher.expects_nothing();
    }
    watcher.expects_nothing();
}

#[test]
fn a_newer_connection_of_the_same_device_shows_only_as_a_new_status() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let device = user.device("phone").id;
    let mut first = user.opens(&device);
    watches(&mut watcher, &user.id);
    let mut second = user.opens(&device);
    first.expects_error_and_close("conflict", 4300);
    watcher.expects_nothing();
    shows(&mut second, "busy", None);
    is_told(&mut watcher, "busy", None, 1);
    let _third = user.opens(&device);
    is_told(&mut watcher, "online", None, 1);
    second.expects_error_and_close("conflict", 4300);
    watcher.expects_nothing();
}

#[test]
fn a_client_that_is_cut_off_and_comes_back_is_online_all_the_time() {
    let server = TestServer::shared();
    let proxy = Proxy::before(&server);
    let (identity, user) = (Identity::new(), server.user());
    let id = identity.signs_in(&server, None).expects(201)["user_id"].as_str().expect("an id").to_owned();
    // A user who sent a request may be seen by the recipient.
    let token = identity.signs_in(&server, None).expects(200)["access_token"].clone();
    let http = server.http().bearer(token.as_str().expect("a token"));
    http.send("POST", &format!("/api/contacts/{}/request", user.id), &[], Vec::new()).expects(202);
    let mut watcher = user.opens_ephemeral();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = Options::new(&proxy.url(), Credentials::key(identity.secret())).unwrap();
        let options = options.longest_wait(Duration::from_millis(200));
        let (client, mut events): (Client, Events) = Client::start(options);
        client.connected().await.unwrap();
        assert_eq!(watches(&mut watcher, &id)["status"], "online");
        for _ in 0..3 {
            // Nothing is left to be sent from an earlier cut.
            while !matches!(events.next().await, Some(Event::Connected(_))) {}
            proxy.cut();
        }
        while !matches!(events.next().await, Some(Event::Connected(session)) if session.resumed) {}
        assert_eq!(client.state(), State::Connected);
        watcher.expects_nothing();
        client.stop().await;
        // When it leaves, it sends a close frame.
        is_told(&mut watcher, "offline", None, 0);
        watcher.expects_nothing();
    });
}

#[test]
fn a_removed_device_and_a_revoked_session_show_as_offline() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let device = user.device("phone").id;
    let mut phone = user.opens(&device);
    watches(&mut watcher, &user.id);
    user.http().delete(&format!("/devices/{device}")).expects(204);
    phone.expects_close_code(4303);
    is_told(&mut watcher, "offline", None, 0);
}
