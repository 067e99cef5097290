//! Alerts reach every device, even if the server is killed or a connection breaks at the worst moment (docs/security.md,
//! "Alerts and notices").

use aldis_tests::{Peer, TestServer};
use serde_json::{Value, json};

/// A server with a user whose phone is to be alerted of a new device.
fn alerted() -> (TestServer, aldis_tests::User, String, Value) {
    let server = TestServer::start();
    let user = server.user();
    let phone = user.device("phone").id;
    let added = user.device("added").id;
    (server, user, phone, json!({"kind": "device_added", "device_id": added}))
}

fn hears(peer: &mut Peer, payload: &Value) -> String {
    let alert = peer.expects("alert");
    assert_eq!(alert["payload"], *payload);
    alert["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_alert_was_lost_if_the_server_was_killed_after_it_had_taken_it() {
    let (server, user, phone, added) = alerted();
    // This client reads no further, so it neither confirms the frame nor answers the ping behind it.
    let first = hears(&mut user.opens(&phone), &added);
    server.kill9();
    server.restart_same_port();
    let second = hears(&mut user.opens(&phone), &added);
    assert_eq!(first, second, "its id says that it is the same");
}

#[test]
fn an_alert_that_a_client_has_confirmed_is_not_sent_again() {
    let (_server, user, phone, added) = alerted();
    let mut peer = user.opens(&phone);
    hears(&mut peer, &added);
    peer.confirms(1);
    user.opens(&phone).expects_nothing();
}

#[test]
fn a_client_confirms_an_alert_by_its_pong() {
    let (_server, user, phone, added) = alerted();
    let mut peer = user.opens(&phone);
    hears(&mut peer, &added);
    // Reads the ping behind the alert, and so answers it.
    peer.expects_nothing();
    awaits_silence(&user, &phone, peer);
}

/// Connects until nothing waits for the phone: the notice is deleted soon after its confirmation.
fn awaits_silence(user: &aldis_tests::User, phone: &str, confirmed: Peer) {
    drop(confirmed);
    let mut peer = user.opens(phone);
    for _ in 0..50 {
        peer.sends(json!({"type": "ping"}));
        if peer.expects_any()["type"] == "pong" {
            return;
        }
        peer = user.opens(phone);
    }
    panic!("the alert still waits");
}
