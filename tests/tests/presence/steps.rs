//! Steps of the presence scenarios.

use std::time::{Duration, Instant};

use aldis_tests::{Answer, Frame, Incoming, Peer, TestServer, Upgrade, User, unique};
use serde_json::{Value, json};

/// Far longer than a server needs to notice that a connection is gone.
pub(crate) const NOTICING: Duration = Duration::from_secs(8);

/// A watcher with a session, and a user whom they may see.
pub(crate) fn watcher_and_watched(server: &TestServer) -> (Peer, User) {
    let (watcher, watched) = (server.user(), server.user());
    decides(&watched, &watcher.id, "allowed").expects(204);
    (watcher.opens_ephemeral(), watched)
}

pub(crate) fn decides(user: &User, about: &str, state: &str) -> Answer {
    let body = json!({"state": state}).to_string().into_bytes();
    user.http().send("PUT", &format!("/api/contacts/{about}"), &[("Content-Type", "application/json")], body)
}

pub(crate) fn forgets(user: &User, whom: &str) {
    user.http().delete(&format!("/api/contacts/{whom}")).expects(204);
}

pub(crate) fn asks(user: &User, whom: &str) {
    user.http().send("POST", &format!("/api/contacts/{whom}/request"), &[], Vec::new()).expects(202);
}

/// Subscribes; the `ack` comes first.
#[track_caller]
pub(crate) fn subscribes(watcher: &mut Peer, users: &[&str]) {
    let id = unique("s");
    watcher.sends(json!({"type": "presence_subscribe", "id": id, "user_ids": users}));
    let ack = watcher.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("done")));
}

/// Subscribes to one user, and returns their presence.
#[track_caller]
pub(crate) fn watches(watcher: &mut Peer, user: &str) -> Value {
    subscribes(watcher, &[user]);
    watcher.expects("presence")
}

#[track_caller]
pub(crate) fn unsubscribes(watcher: &mut Peer, users: &[&str]) {
    watcher.sends(json!({"type": "presence_unsubscribe", "user_ids": users}));
    assert_eq!(watcher.expects("ack")["status"], "done");
}

#[track_caller]
pub(crate) fn shows(device: &mut Peer, status: &str, note: Option<&str>) {
    let mut message = json!({"type": "presence", "id": unique("p"), "status": status});
    if let Some(note) = note {
        message["note"] = json!(note);
    }
    device.sends(message);
    assert_eq!(device.expects("ack")["status"], "done");
}

/// Expects exactly this presence.
#[track_caller]
pub(crate) fn is_told(watcher: &mut Peer, status: &str, note: Option<&str>, devices: u64) {
    let presence = watcher.expects("presence");
    assert_eq!(
        (&presence["status"], &presence["note"], &presence["devices"]),
        (&json!(status), &json!(note), &json!(devices)),
        "{presence}"
    );
}

#[track_caller]
pub(crate) fn assert_never_seen(presence: &Value, user: &str) {
    let shown = ["user_id", "status", "note", "devices", "last_seen"].map(|name| presence[name].clone());
    assert_eq!(shown, [json!(user), json!("offline"), Value::Null, json!(0), Value::Null], "{presence}");
}

/// When a user who is not connected was last seen.
#[track_caller]
pub(crate) fn last_seen_ms(presence: &Value) -> u64 {
    let text = presence["last_seen"].as_str().unwrap_or_else(|| panic!("a time in {presence}"));
    let time: aldis_protocol::Timestamp = text.parse().expect("RFC 3339");
    u64::try_from(time.as_ms()).expect("a time after 1970")
}

#[track_caller]
pub(crate) fn closes(peer: &mut Peer, code: u16) {
    peer.socket.sends(&Frame::close(code, ""));
    assert!(matches!(peer.socket.next("the close"), Incoming::Close(..)));
    assert_eq!(peer.socket.next("the end"), Incoming::End);
}

pub(crate) fn comes_back(server: &TestServer, user: &User, connected: &Value, received: u64) -> Peer {
    let token = connected["session"]["resume_token"].as_str().expect("a resume token");
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let upgrade = Upgrade::to("/signal").bearer(&user.token);
    let upgrade = upgrade.query("resume", &token).query("received", &received.to_string());
    let back = upgrade.connected(server);
    assert_eq!(back.connected["session"]["resumed"], true);
    back
}

/// Waits until the server has noticed that this device's connection is gone, and returns how many signals that took.
#[track_caller]
pub(crate) fn awaits_break(other: &mut Peer, device: &str) -> u64 {
    let start = Instant::now();
    for sent in 1.. {
        other.sends(json!({"type": "signal", "target_device_id": device, "payload": 1}));
        if other.expects("ack")["status"] == "buffered" {
            return sent;
        }
        assert!(start.elapsed() < NOTICING, "the server does not notice the break");
    }
    unreachable!("an endless loop")
}
