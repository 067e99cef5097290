//! Steps of the scenarios about resumes.

use std::time::{Duration, Instant};

use aldis_protocol::schema::{self, envelope::Body};
use aldis_tests::{Incoming, Peer, TestServer, Upgrade, User};
use serde_json::{Value, json};

/// Far longer than a server needs to notice that a connection is gone.
pub(crate) const NOTICING: Duration = Duration::from_secs(8);

/// A device that can be disconnected, and a user who sends to it.
pub(crate) struct Scene {
    pub(crate) server: TestServer,
    pub(crate) user: User,
    pub(crate) device: String,
    pub(crate) sender: Peer,
    pub(crate) sent: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::on(TestServer::shared())
    }

    pub(crate) fn on(server: TestServer) -> Self {
        let user = server.user();
        let device = user.device("phone").id;
        let sender = user.opens_ephemeral();
        Self { server, user, device, sender, sent: 0 }
    }

    pub(crate) fn connects(&self) -> Peer {
        self.user.opens(&self.device)
    }

    /// Resumes the session of this `connected`, having received this many messages.
    pub(crate) fn comes_back(&self, connected: &Value, received: u64) -> Peer {
        self.upgrade(connected, received).connected(&self.server)
    }

    pub(crate) fn upgrade(&self, connected: &Value, received: u64) -> Upgrade {
        resuming(Upgrade::to("/signal").bearer(&self.user.token), &resume_token(connected), received)
            .query("device_id", &self.device)
    }

    /// Sends the next number to the device; returns the status of its `ack`.
    pub(crate) fn sends(&mut self) -> String {
        self.sends_to(&self.device.clone())
    }

    pub(crate) fn sends_to(&mut self, device: &str) -> String {
        self.sent += 1;
        self.sender.sends(json!({"type": "signal", "target_device_id": device, "payload": self.sent}));
        self.sender.expects("ack")["status"].as_str().expect("a status").to_owned()
    }

    /// Sends numbers to a device whose connection is broken until the server has noticed.
    pub(crate) fn sends_until_buffered(&mut self) {
        self.sends_to_until_buffered(&self.device.clone());
    }

    pub(crate) fn sends_to_until_buffered(&mut self, device: &str) {
        let start = Instant::now();
        while self.sends_to(device) != "buffered" {
            assert!(start.elapsed() < NOTICING, "the server does not notice the break");
        }
    }

    /// Waits until the device has no session.
    pub(crate) fn awaits_end(&mut self) {
        let start = Instant::now();
        let target = self.device.clone();
        loop {
            self.sender.sends(json!({"type": "signal", "target_device_id": target, "payload": null}));
            match self.sender.socket.next("ack or error") {
                Incoming::Text(text) if text.contains("target_unavailable") => return,
                Incoming::Text(_) => assert!(start.elapsed() < NOTICING, "the session does not end"),
                other => panic!("awaited an answer, got {other:?}"),
            }
        }
    }
}

pub(crate) fn resume_token(connected: &Value) -> String {
    connected["session"]["resume_token"].as_str().expect("a resume token").to_owned()
}

pub(crate) fn resuming(upgrade: Upgrade, token: &str, received: u64) -> Upgrade {
    let encoded = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    upgrade.query("resume", &encoded).query("received", &received.to_string())
}

#[track_caller]
pub(crate) fn expects_numbers(peer: &mut Peer, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        assert_eq!(peer.expects("signal")["payload"], number);
    }
}

#[track_caller]
pub(crate) fn assert_resumed(peer: &Peer, before: &Value, replayed: u64) {
    let session = &peer.connected["session"];
    assert_eq!((&session["resumed"], &session["replayed"]), (&json!(true), &json!(replayed)));
    assert_eq!(session["id"], before["session"]["id"]);
    assert_eq!(peer.connected["device_id"], before["device_id"]);
    assert_ne!(resume_token(&peer.connected), resume_token(before), "every `connected` brings a new token");
}

#[track_caller]
pub(crate) fn assert_fresh(peer: &Peer, before: &Value) {
    let session = &peer.connected["session"];
    assert_eq!((&session["resumed"], &session["replayed"]), (&json!(false), &json!(0)));
    assert_ne!(session["id"], before["session"]["id"]);
}

/// Reads everything that has arrived so far, up to the answer to a ping; returns how many messages count.
#[track_caller]
pub(crate) fn counts(peer: &mut Peer) -> u64 {
    peer.sends(json!({"type": "ping", "id": "count"}));
    let mut counted = 0;
    loop {
        let Incoming::Text(text) = peer.socket.next("a pong") else { panic!("the connection is to stay") };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        match message["type"].as_str().expect("a type") {
            "pong" => return counted,
            "presence" | "history" => {}
            _ => counted += 1,
        }
    }
}

pub(crate) fn connected_body(body: Body) -> Option<schema::Connected> {
    if let Body::Connected(connected) = body { Some(connected) } else { None }
}
