//! A client that sends each message until it knows that the message is stored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{WAIT, message, number};
use crate::{Incoming, Peer, TestServer, User};

/// How many messages a steady stream has in flight.
const WINDOW: usize = 4;
/// The interval of a steady stream: a load, not a measurement.
const PACE: Duration = Duration::from_millis(30);
const CONTENT_BYTES: usize = 2_000;

/// A device that gives each message an id, and sends it with that id until it is acknowledged.
#[derive(Debug)]
pub struct Sender {
    user: User,
    device: String,
    recipient: String,
    peer: Option<Peer>,
    written: Vec<String>,
    /// Messages in flight, or to be sent again.
    waiting: VecDeque<String>,
    acks: BTreeMap<String, Value>,
}

impl Sender {
    /// A new user whom the recipient has allowed, because strangers have half of a mailbox.
    #[must_use]
    pub fn allowed_by(recipient: &User, server: &TestServer) -> Self {
        let user = server.user();
        recipient.allows(&user);
        Self::of(&user, &recipient.id)
    }

    /// A registered device of this user that writes to one recipient.
    #[must_use]
    #[track_caller]
    pub fn of(user: &User, recipient: &str) -> Self {
        Self {
            device: user.device("phone").id,
            user: user.clone(),
            recipient: recipient.to_owned(),
            peer: None,
            written: Vec::new(),
            waiting: VecDeque::new(),
            acks: BTreeMap::new(),
        }
    }

    /// The content of the message with this id.
    #[must_use]
    pub fn content(id: &str) -> Vec<u8> {
        let mut content = id.as_bytes().to_vec();
        content.resize(CONTENT_BYTES, b'.');
        content
    }

    /// The user of the device.
    #[must_use]
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// The ids of all messages, in order.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// The first `ack` of each message.
    #[must_use]
    pub const fn acks(&self) -> &BTreeMap<String, Value> {
        &self.acks
    }

    /// How many messages have no `ack`.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Connects, unless it is connected.
    #[track_caller]
    pub fn connects(&mut self) {
        self.peer.get_or_insert_with(|| self.user.opens(&self.device));
    }

    /// Queues this many more messages.
    pub fn writes(&mut self, count: usize) {
        for _ in 0..count {
            let id = format!("m-{}", self.written.len());
            self.written.push(id.clone());
            self.waiting.push_back(id);
        }
    }

    /// Treats some acknowledged messages as unacknowledged.
    pub fn doubts_some_answers(&mut self) {
        self.waiting.extend(self.acks.keys().step_by(7).cloned());
    }

    /// Sends all queued messages at once, and reads acks until the connection is gone. Counts stored messages.
    #[track_caller]
    pub fn sends_until_it_breaks(&mut self, stored: &AtomicUsize) {
        self.sends_all();
        while let Some(frame) = self.next() {
            let is_ack = frame["type"] == "ack";
            assert!(is_ack || frame["type"] == "server_draining" || is_closing(&frame), "{frame}");
            if is_ack {
                self.takes(frame);
                stored.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.peer = None;
    }

    /// Sends all queued messages on a new connection, and reads the ack of each.
    #[track_caller]
    pub fn sends_until_all_is_answered(&mut self) {
        self.connects();
        self.sends_all();
        while !self.waiting.is_empty() {
            let frame = self.next().expect("the connection to stay");
            assert_eq!(frame["type"], "ack", "{frame}");
            self.takes(frame);
        }
        self.peer = None;
    }

    /// Sends one message after another until the scenario is over and each is acknowledged. Messages that are refused
    /// temporarily are sent again. The connection stays.
    #[track_caller]
    pub fn goes_on_sending(&mut self, stored: &AtomicUsize, unavailable: &AtomicUsize, is_over: &AtomicBool) {
        self.connects();
        loop {
            let is_over = is_over.load(Ordering::Relaxed);
            if self.waiting.len() < WINDOW && !is_over {
                self.writes(1);
                let id = self.written[self.written.len() - 1].clone();
                self.sends(&id);
            } else if self.waiting.is_empty() {
                return;
            } else {
                let frame = self.next().expect("the connection to stay");
                match (frame["type"].as_str(), frame["payload"]["code"].as_str()) {
                    (Some("ack"), _) => {
                        self.takes(frame);
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                    (Some("error"), Some(code @ ("unavailable" | "overloaded" | "mailbox_full"))) => {
                        unavailable.fetch_add(usize::from(code == "unavailable"), Ordering::Relaxed);
                        self.sends(frame["id"].as_str().expect("the request's id"));
                    }
                    _ => panic!("a message is stored or refused for now: {frame}"),
                }
                thread::sleep(PACE);
            }
        }
    }

    fn sends_all(&mut self) {
        for id in self.waiting.clone() {
            self.sends(&id);
        }
    }

    fn sends(&mut self, id: &str) {
        let message = message(id, &self.recipient, &Self::content(id));
        self.peer.as_mut().expect("a connection").sends(message);
    }

    /// The next frame except receipts; `None` if the connection is gone.
    fn next(&mut self) -> Option<Value> {
        let socket = &mut self.peer.as_mut().expect("a connection").socket;
        loop {
            let frame: Value = match socket.next_within("an answer", WAIT) {
                Incoming::Text(text) => serde_json::from_str(&text).expect("JSON from the server"),
                Incoming::Close(..) | Incoming::End => return None,
                other => panic!("awaited an answer, got {other:?}"),
            };
            if frame["type"] != "receipt" {
                return Some(frame);
            }
        }
    }

    /// A repeated ack must equal the first one.
    fn takes(&mut self, ack: Value) {
        assert_eq!(ack["status"], "stored", "{ack}");
        let id = ack["id"].as_str().expect("the request's id").to_owned();
        let place = self.waiting.iter().position(|waiting| *waiting == id);
        self.waiting.remove(place.unwrap_or_else(|| panic!("a second answer: {ack}")));
        if let Some(first) = self.acks.get(&id) {
            assert_eq!((number(&ack), &ack["message_id"]), (number(first), &first["message_id"]));
            assert_eq!(ack["duplicate"], true, "{ack}");
        } else {
            self.acks.insert(id, ack);
        }
    }
}

fn is_closing(frame: &Value) -> bool {
    frame["type"] == "error" && frame["payload"]["close"].is_u64()
}
