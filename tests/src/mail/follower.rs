//! A client that reads a mailbox as the protocol describes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{WAIT, asks_sync, number};
use crate::{Incoming, Peer, User, unique};

/// How often it checks whether the scenario is over.
const LOOK: Duration = Duration::from_millis(50);
/// How many messages are confirmed at once.
const CONFIRMED_AT_ONCE: usize = 20;

/// A device whose cursor never skips a number, and which sends `sync` when it sees a gap.
#[derive(Debug)]
pub struct Follower {
    user: User,
    device: String,
    peer: Option<Peer>,
    sync: Option<Sync>,
    /// The messages of a `delivered` in flight.
    confirming: Option<(String, Vec<Value>)>,
    unconfirmed: Vec<Value>,
    /// The number up to which it has everything.
    pub cursor: u64,
    /// The messages that it has, in the order of their numbers.
    pub messages: Vec<Value>,
    /// The ids of the messages whose delivery the server has acknowledged.
    pub confirmed: Vec<Value>,
}

/// A `sync` in flight.
#[derive(Debug)]
struct Sync {
    id: String,
    has_begun: bool,
}

impl Follower {
    /// A registered device of this user.
    #[must_use]
    #[track_caller]
    pub fn of(user: &User) -> Self {
        Self {
            device: user.device("reader").id,
            user: user.clone(),
            peer: None,
            sync: None,
            confirming: None,
            unconfirmed: Vec::new(),
            cursor: 0,
            messages: Vec::new(),
            confirmed: Vec::new(),
        }
    }

    /// Connects and asks for the messages that it missed.
    #[track_caller]
    pub fn connects(&mut self) {
        self.peer = Some(self.user.opens(&self.device));
        self.unconfirmed.extend(self.confirming.take().into_iter().flat_map(|(_, ids)| ids));
        self.asks();
    }

    /// Reads until the connection is gone.
    #[track_caller]
    pub fn follows(&mut self) {
        while let Some(frame) = self.next(WAIT).expect("frames or the end") {
            self.takes(&frame);
        }
        self.peer = None;
    }

    /// Reads and confirms messages until the connection is gone.
    #[track_caller]
    pub fn follows_and_confirms(&mut self) {
        while let Some(frame) = self.next(WAIT).expect("frames or the end") {
            self.takes(&frame);
            self.confirms();
        }
        self.peer = None;
    }

    /// The same, on a connection that stays, until the scenario is over.
    #[track_caller]
    pub fn follows_and_confirms_until(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            match self.next(LOOK) {
                Some(Some(frame)) => self.takes(&frame),
                Some(None) => panic!("the connection was to stay"),
                None => {}
            }
            self.confirms();
        }
    }

    /// Gets all messages on a new connection.
    #[track_caller]
    pub fn catches_up(&mut self) {
        self.connects();
        while self.sync.is_some() {
            let frame = self.next(WAIT).expect("the rest of the mailbox").expect("the connection to stay");
            self.takes(&frame);
        }
    }

    fn asks(&mut self) {
        let peer = self.peer.as_mut().expect("a connection");
        self.sync = Some(Sync { id: asks_sync(peer, self.cursor, 500), has_begun: false });
    }

    fn confirms(&mut self) {
        if self.confirming.is_some() || self.unconfirmed.len() < CONFIRMED_AT_ONCE {
            return;
        }
        let (id, ids) = (unique("delivered"), std::mem::take(&mut self.unconfirmed));
        let peer = self.peer.as_mut().expect("a connection");
        peer.sends(json!({"type": "delivered", "id": id, "message_ids": ids}));
        self.confirming = Some((id, ids));
    }

    /// The next frame; `Some(None)` if the connection is gone, `None` if neither comes in time.
    fn next(&mut self, patience: Duration) -> Option<Option<Value>> {
        let socket = &mut self.peer.as_mut().expect("a connection").socket;
        Some(match socket.try_next(patience)? {
            Incoming::Text(text) => Some(serde_json::from_str(&text).expect("JSON from the server")),
            Incoming::Close(..) | Incoming::End => None,
            other => panic!("awaited a message, got {other:?}"),
        })
    }

    fn takes(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("message") => self.takes_message(frame),
            Some("synced") => {
                let sync = self.sync.take().expect("a `synced` of the request");
                assert_eq!(frame["id"], sync.id);
                assert!(number(frame) <= self.cursor, "what was streamed has come: {frame}");
                if frame["complete"] == false {
                    self.asks();
                }
            }
            Some("ack") => {
                let (id, ids) = self.confirming.take().expect("an answer to the request");
                assert_eq!((&frame["id"], &frame["status"]), (&json!(id), &json!("done")));
                self.confirmed.extend(ids);
            }
            Some("error") if frame["payload"]["close"].is_null() => self.takes_refusal(frame),
            Some("error" | "server_draining") => {}
            _ => panic!("awaited a message, got {frame}"),
        }
    }

    fn takes_message(&mut self, message: &Value) {
        let seq = number(message);
        let is_next = seq == self.cursor + 1;
        match &mut self.sync {
            Some(sync) if message["id"] == sync.id => {
                sync.has_begun = true;
                assert!(seq <= self.cursor + 1, "a gap behind {} in what a sync streams: {seq}", self.cursor);
            }
            sync => {
                let is_streaming = sync.as_ref().is_some_and(|sync| sync.has_begun);
                assert!(!is_streaming, "new messages come through the sync alone: {seq}");
                assert!(seq > self.cursor, "{seq} comes a second time, behind {}", self.cursor);
                if !is_next && sync.is_none() {
                    self.asks();
                }
            }
        }
        if is_next {
            self.cursor = seq;
            self.messages.push(message.clone());
            self.unconfirmed.push(message["message_id"].clone());
        }
    }

    /// The database is unavailable: sends the request again.
    fn takes_refusal(&mut self, error: &Value) {
        assert_eq!(error["payload"]["code"], "unavailable", "{error}");
        if self.sync.as_ref().is_some_and(|sync| error["id"] == sync.id) {
            self.asks();
        } else {
            let (id, ids) = self.confirming.take().expect("a refusal of the request");
            assert_eq!(error["id"], id);
            self.unconfirmed.extend(ids);
        }
    }
}
