//! Random clients against a session: each request gets one reply, in order, and each message arrives once, in order,
//! or the session is a fresh one and says so.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aldis_protocol::{CloseCode, SessionId};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::stage::{Client, Stage, claim, session_id, settle, signal};
use crate::link::{Incoming, Outgoing};

#[derive(Debug, Clone)]
enum Step {
    /// Another session sends to the client.
    Push(u8),
    /// A request that is answered at once, each time again.
    Ping,
    /// A request that is answered at once, and carried out once.
    Signal,
    /// A request that waits for the store, and is refused.
    Slow,
    Malformed,
    /// The client confirms what it has received.
    Received,
    /// This many frames may be written, and then none.
    Room(u8),
    /// Everything may be written.
    Free,
    Break,
    Close(u16),
    /// The client resumes, whether or not it lost its socket.
    Resume,
    /// The client begins a fresh session.
    Renew,
    Wait(u16),
    /// The client reads what has arrived.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..40).prop_map(Step::Push),
        3 => Just(Step::Ping),
        4 => Just(Step::Signal),
        3 => Just(Step::Slow),
        1 => Just(Step::Malformed),
        2 => Just(Step::Received),
        1 => (0_u8..20).prop_map(Step::Room),
        2 => Just(Step::Free),
        2 => Just(Step::Break),
        1 => prop_oneof![Just(1000), Just(1001), Just(3000), Just(4000)].prop_map(Step::Close),
        4 => Just(Step::Resume),
        1 => Just(Step::Renew),
        2 => (1_u16..9_000).prop_map(Step::Wait),
        5 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_repeated_or_out_of_order(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut world = World::begin().await;
            for step in steps {
                world.take(step).await;
            }
            world.finish().await;
        });
    }
}

/// A client, and the model of what it may expect.
struct World {
    stage: Stage,
    client: Option<Client>,
    connected: Value,
    /// Counted frames of this session that the client has received.
    received: u64,
    /// How many frames the last `connected` promised that have not arrived.
    to_replay: u64,
    /// Numbers whose senders got an `ack`, by session, in order.
    accepted: HashMap<SessionId, Vec<u64>>,
    /// How many of them have arrived.
    arrived: usize,
    pushed: u64,
    requests: u64,
    sockets: u32,
    unanswered: Vec<Request>,
    /// Requests that were sent more than once, and so may get more than one reply.
    sent_again: HashSet<String>,
    /// Signals that reached the other session.
    carried_out: HashSet<String>,
    /// When the client lost its socket.
    away_since: Option<Instant>,
    stalled_since: Option<Instant>,
    may_be_over: bool,
}

struct Request {
    id: String,
    text: String,
    /// The socket on which it was last sent.
    socket: u32,
}

impl World {
    async fn begin() -> Self {
        let mut world = Self {
            stage: Stage::new(),
            client: None,
            connected: Value::Null,
            received: 0,
            to_replay: 0,
            accepted: HashMap::new(),
            arrived: 0,
            pushed: 0,
            requests: 0,
            sockets: 0,
            unanswered: Vec::new(),
            sent_again: HashSet::new(),
            carried_out: HashSet::new(),
            away_since: None,
            stalled_since: None,
            may_be_over: true,
        };
        world.dials(false).await;
        world
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Push(count) => (0..count).for_each(|_| self.push()),
            Step::Ping => self.request(|id| json!({"type": "ping", "id": id}).to_string()),
            Step::Signal => {
                let target = self.stage.other.device.clone();
                self.request(|id| signal(id, &target, "1"));
            }
            Step::Slow => {
                let user = "b".repeat(64);
                self.request(|id| {
                    json!({"type": "signal", "id": id, "target_user_id": user, "payload": 1}).to_string()
                });
            }
            Step::Malformed => self.request(|id| json!({"type": "offer", "id": id}).to_string()),
            Step::Received => {
                let received = json!({"type": "received", "count": self.received}).to_string();
                self.client.iter().for_each(|client| client.sends(received.clone()));
            }
            Step::Room(frames) => self.stall(frames.into()),
            Step::Free => self.free(),
            Step::Break => self.lose(Client::breaks),
            Step::Close(code) => {
                // A session with a full backlog reads nothing: it may miss the close and end as stalled.
                let unread = self.stalled_since.is_some();
                self.may_be_over |= self.client.is_some() && (code < 2000 || unread);
                self.lose(|client| client.does(Incoming::Closed(Some(code))));
                settle().await;
            }
            Step::Resume => self.dials(true).await,
            Step::Renew => {
                self.may_be_over = true;
                self.dials(false).await;
            }
            Step::Wait(milliseconds) => {
                sleep(Duration::from_millis(milliseconds.into())).await;
                self.look().await;
            }
            Step::Look => self.look().await,
        }
    }

    fn push(&mut self) {
        self.pushed += 1;
        let session = self.stage.session().map(|session| session.session);
        if self.stage.pushes(self.pushed) {
            self.accepted.entry(session.unwrap()).or_default().push(self.pushed);
        } else {
            self.may_be_over = true;
        }
    }

    fn request(&mut self, text: impl FnOnce(&str) -> String) {
        let Some(client) = &self.client else { return };
        self.requests += 1;
        let id = format!("r{}", self.requests);
        let text = text(&id);
        client.sends(text.clone());
        self.unanswered.push(Request { id, text, socket: self.sockets });
    }

    fn stall(&mut self, frames: usize) {
        if let Some(client) = &self.client {
            client.takes_only(frames);
            self.stalled_since.get_or_insert_with(Instant::now);
        }
    }

    fn free(&mut self) {
        self.note_stall();
        if let Some(client) = &self.client {
            client.takes_only(usize::MAX);
        }
    }

    /// A session that could not write for ten seconds ends.
    fn note_stall(&mut self) {
        let stalled = self.stalled_since.take();
        self.may_be_over |= stalled.is_some_and(|since| since.elapsed() > Duration::from_millis(9_500));
    }

    fn lose(&mut self, how: impl FnOnce(&Client)) {
        self.note_stall();
        if let Some(client) = self.client.take() {
            how(&client);
            self.away_since = Some(Instant::now());
        }
    }

    async fn dials(&mut self, resumes: bool) {
        self.note_stall();
        let away = self.away_since.take();
        // The client may have been away for longer than it knows: it reads every nine seconds.
        self.may_be_over |= away.is_some_and(|since| since.elapsed() > Duration::from_secs(20));
        let claim = resumes.then(|| claim(&self.connected, self.received));
        self.client = None;
        self.sockets += 1;
        let client = self.stage.admits(claim).await;
        settle().await;
        self.client = Some(client);
        self.look().await;
    }

    /// Reads what has arrived, and answers pings and the like.
    async fn look(&mut self) {
        settle().await;
        let Some(client) = self.client.clone() else { return };
        for outgoing in client.received() {
            match outgoing {
                Outgoing::Ping => client.does(Incoming::Pong),
                Outgoing::Close(code, reason) => {
                    self.may_be_over |= !code.keeps_session(reason) && code != CloseCode::Replaced;
                    self.lose(|client| client.does(Incoming::Closed(Some(code.as_u16()))));
                }
                Outgoing::Frame(bytes) => self.receive(&serde_json::from_slice(&bytes).unwrap()),
            }
        }
        settle().await;
        if client.is_dropped() {
            // Frames before it are lost with it.
            self.lose(|_| {});
        }
        for signal in self.stage.other_received() {
            let id = signal["id"].as_str().unwrap().to_owned();
            assert!(self.carried_out.insert(id), "{signal} arrived twice");
        }
        assert!(client.largest_backlog() <= 1_200, "{} frames wait", client.largest_backlog());
    }

    fn receive(&mut self, message: &Value) {
        let kind = message["type"].as_str().unwrap();
        if kind == "connected" {
            return self.begin_socket(message);
        }
        if kind != "pong" && message["payload"]["close"].is_null() {
            self.received += 1;
            self.to_replay = self.to_replay.saturating_sub(1);
        }
        match kind {
            "signal" => {
                let expected = self.accepted[&session_id(&self.connected)].get(self.arrived);
                assert_eq!(message["payload"].as_u64().as_ref(), expected, "in order, and once");
                self.arrived += 1;
            }
            "pong" | "ack" | "error" if message["payload"]["close"].is_null() => {
                self.take_reply(message["id"].as_str().unwrap());
            }
            _ => {}
        }
        if self.to_replay == 0 {
            self.send_again();
        }
    }

    fn begin_socket(&mut self, connected: &Value) {
        let session = &connected["session"];
        let is_resumed = session["resumed"] == true;
        assert!(is_resumed || self.may_be_over, "the session is lost without a reason");
        if is_resumed {
            assert_eq!(session["id"], self.connected["session"]["id"]);
            self.to_replay = session["replayed"].as_u64().unwrap();
        } else {
            assert_eq!(session["replayed"], 0);
            (self.received, self.to_replay, self.arrived) = (0, 0, 0);
            self.unanswered.clear();
            self.may_be_over = false;
        }
        self.connected = connected.clone();
        if self.to_replay == 0 {
            self.send_again();
        }
    }

    /// Sends the requests again that were not answered on an earlier socket.
    fn send_again(&mut self) {
        let Some(client) = &self.client else { return };
        for request in self.unanswered.iter_mut().filter(|request| request.socket < self.sockets) {
            client.sends(request.text.clone());
            request.socket = self.sockets;
            self.sent_again.insert(request.id.clone());
        }
    }

    fn take_reply(&mut self, id: &str) {
        let Some(position) = self.unanswered.iter().position(|request| request.id == id) else {
            assert!(self.sent_again.contains(id), "a second reply to {id}");
            return;
        };
        let earlier = &self.unanswered[..position];
        assert!(
            self.sent_again.contains(id) || earlier.iter().all(|request| request.socket < self.sockets),
            "{id} is answered before a request that came before it"
        );
        self.unanswered.remove(position);
    }

    async fn finish(mut self) {
        self.free();
        self.look().await;
        if self.client.is_none() {
            self.dials(true).await;
        }
        // A close may have waited behind a stalled frame; then it was the last frame.
        for _ in 0..2 {
            self.look().await;
            if self.client.is_none() {
                self.dials(true).await;
            }
        }
        assert!(self.unanswered.is_empty(), "{} requests without a reply", self.unanswered.len());
        let accepted = self.accepted.remove(&session_id(&self.connected)).unwrap_or_default();
        assert_eq!(self.arrived, accepted.len(), "all that was accepted has come");
        self.lose(|client| client.does(Incoming::Closed(Some(1000))));
        self.stage.awaits_end().await;
    }
}
