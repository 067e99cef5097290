//! The presence of a user.

use aldis_tests::{TestServer, now_ms};
use serde_json::{Value, json};

use crate::steps::{
    assert_never_seen, closes, decides, is_told, last_seen_ms, shows, subscribes, watcher_and_watched,
    watches,
};

#[test]
fn a_user_has_the_status_of_their_most_available_device() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    assert_never_seen(&watches(&mut watcher, &user.id), &user.id);
    let mut phone = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 1);
    shows(&mut phone, "busy", Some("in a call"));
    is_told(&mut watcher, "busy", Some("in a call"), 1);
    let mut laptop = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 2);
    shows(&mut laptop, "away", Some("at lunch"));
    is_told(&mut watcher, "away", Some("at lunch"), 2);
    shows(&mut laptop, "offline", Some("unseen"));
    is_told(&mut watcher, "busy", Some("in a call"), 1);
    shows(&mut phone, "offline", None);
    is_told(&mut watcher, "offline", None, 0);
    shows(&mut laptop, "online", None);
    is_told(&mut watcher, "online", None, 1);
    watcher.expects_nothing();
}

#[test]
fn a_repeated_or_hidden_status_is_not_sent() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    shows(&mut phone, "online", None);
    watcher.expects_nothing();
    shows(&mut phone, "away", None);
    is_told(&mut watcher, "away", None, 1);
    let mut laptop = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 2);
    shows(&mut phone, "busy", Some("unseen"));
    watcher.expects_nothing();
    closes(&mut laptop, 1000);
    is_told(&mut watcher, "busy", Some("unseen"), 1);
}

#[test]
fn a_note_has_140_characters_and_is_removed_by_the_next_status() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    let longest = "ü".repeat(140);
    shows(&mut phone, "online", Some(&longest));
    is_told(&mut watcher, "online", Some(&longest), 1);
    phone.sends(json!({"type": "presence", "status": "online", "note": "ü".repeat(141)}));
    phone.expects_error("bad_request");
    watcher.expects_nothing();
    shows(&mut phone, "online", None);
    is_told(&mut watcher, "online", None, 1);
}

#[test]
fn an_offline_device_still_gets_signals() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    shows(&mut phone, "offline", None);
    let offline = watcher.expects("presence");
    assert_eq!((&offline["status"], &offline["devices"]), (&json!("offline"), &json!(0)));
    watcher.sends(json!({"type": "signal", "target_user_id": user.id, "payload": 1}));
    phone.expects("signal");
    assert_eq!(watcher.expects("ack")["status"], "delivered");

    // Activity of an `offline` device does not change `last_seen`.
    closes(&mut phone, 1000);
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["last_seen"], offline["last_seen"]);
}

#[test]
fn a_user_watches_their_own_devices() {
    let server = TestServer::shared();
    let user = server.user();
    let (mut one, mut other) = (user.opens_ephemeral(), user.opens_ephemeral());
    subscribes(&mut one, &[&user.id]);
    is_told(&mut one, "online", None, 2);
    shows(&mut one, "away", Some("elsewhere"));
    one.expects_nothing();
    shows(&mut other, "busy", None);
    is_told(&mut one, "away", Some("elsewhere"), 2);
    closes(&mut other, 1000);
    is_told(&mut one, "away", Some("elsewhere"), 1);
}

#[test]
fn last_seen_survives_a_restart() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (watcher, user) = (server.user(), server.user());
        decides(&user, &watcher.id, "allowed").expects(204);
        let mut peer = watcher.opens_ephemeral();
        assert_eq!(watches(&mut peer, &user.id)["last_seen"], Value::Null);
        let mut phone = user.opens_ephemeral();
        let here = peer.expects("presence");
        assert!(last_seen_ms(&here).abs_diff(now_ms()) < 5_000, "{here}");
        closes(&mut phone, 1000);
        let gone = peer.expects("presence");
        let mut later = watcher.opens_ephemeral();
        assert_eq!(watches(&mut later, &user.id)["last_seen"], gone["last_seen"]);
        closes(&mut later, 1000);
        assert!(server.terminate().success());
        server.restart_same_port();
        let mut after = watcher.opens_ephemeral();
        let offline = watches(&mut after, &user.id);
        assert_eq!(
            (&offline["last_seen"], &offline["status"]),
            (&gone["last_seen"], &json!("offline")),
            "{offline}"
        );
    }
}
