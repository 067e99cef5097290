//! Clients that are silent, and clients that do not read (docs/protocol/handshake.md, codes.md).

use aldis_tests::{Frame, Incoming, TestServer, Upgrade};
use serde_json::json;

#[test]
fn a_ping_message_is_answered_each_time() {
    let mut peer = TestServer::shared().user().opens_ephemeral();
    for _ in 0..2 {
        peer.sends(json!({"type": "ping", "id": "again"}));
        let pong = peer.expects("pong");
        assert_eq!(pong["id"], "again");
        assert!(pong["timestamp"].is_string(), "{pong}");
    }
    peer.sends(json!({"type": "ping"}));
    assert_eq!(peer.expects("pong").get("id"), None, "no id was asked for");
}

#[test]
fn a_device_sets_its_status() {
    let user = TestServer::shared().user();
    let (mut one, mut other) = (user.connects("one"), user.connects("other"));
    for status in ["away", "busy", "offline", "online"] {
        other.sends(json!({"type": "presence", "id": status, "status": status}));
        assert_eq!(other.expects("ack")["status"], "done");
        one.sends(json!({"type": "signal", "target_device_id": other.device_id(), "payload": status}));
        assert_eq!(other.expects("signal")["payload"], status, "signals still reach it");
        one.expects("ack");
    }
    other.sends(json!({"type": "presence", "status": "nowhere"}));
    other.expects_error("bad_request");
    other.sends(json!({"type": "presence", "status": "away", "note": "x".repeat(141)}));
    other.expects_error("bad_request");
}

#[test]
fn a_device_is_offline_once_it_has_closed() {
    let user = TestServer::shared().user();
    let mut one = user.connects("one");
    let mut other = user.connects("other");
    let id = other.device_id();
    other.socket.sends(&Frame::close(1000, ""));
    assert!(matches!(other.socket.next("the close"), Incoming::Close(1000, _)));
    assert_eq!(other.socket.next("the end"), Incoming::End);
    one.sends(json!({"type": "signal", "target_device_id": id, "payload": 1}));
    one.expects_error("target_unavailable");
}

#[test]
fn a_client_that_stops_reading_is_closed_and_nobody_else_notices() {
    let server = TestServer::shared();
    let user = server.user();
    let mut sender = user.opens_ephemeral();
    let mut bystander = user.opens_ephemeral();
    let slow = Upgrade::to("/signal").bearer(&user.token).connected(&server);
    let target = slow.device_id();

    let payload = "x".repeat(60_000);
    let mut sent = 0;
    let refused = loop {
        sender.sends(json!({"type": "signal", "target_device_id": target, "payload": payload}));
        sent += 1;
        match sender.socket.next("ack or error") {
            Incoming::Text(text) if text.contains(r#""error""#) => break text,
            Incoming::Text(_) if sent < 1_000 => {}
            other => panic!("after {sent} messages of 60 kB: {other:?}"),
        }
    };
    assert!(refused.contains("target_unavailable") || refused.contains("overloaded"), "{refused}");
    bystander.expects_nothing();
    assert!(sent < 500, "{sent} messages of 60 kB were taken for a reader that does not read");

    let mut slow = slow.socket;
    let end = loop {
        match slow.next("the end of the slow session") {
            Incoming::Text(_) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Incoming::Close(4101, _) | Incoming::End), "{end:?}");
}
