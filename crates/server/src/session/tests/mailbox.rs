//! Random mailboxes against a session: whatever happens to its sockets, live frames, replies and syncs together give
//! its client each message under one number, in order, and after a sync all of them.
//!
//! The database is a real one, so the clock is real too.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use aldis_protocol::{Codec, ServerMessage, UserId, limits::DEFAULT_PAGE};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::stage::{Client, Stage, answer, claim, open_store, relay_over};
use crate::{
    clock::unix_ms_i64,
    link::{Incoming, Outgoing, SessionHandle},
    relay::new_session_id,
    store::Store,
};

/// How long the test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the tasks run between two steps; they do the rest later.
const A_MOMENT: Duration = Duration::from_millis(2);
const STREAM: &str = "stream-";

#[derive(Debug, Clone)]
enum Step {
    /// Another user writes to the user.
    Receive(u8),
    /// The user writes to another user from another device.
    SendElsewhere(u8),
    /// The client writes to another user, or to its own user.
    Send {
        count: u8,
        to_oneself: bool,
    },
    /// The client syncs from this far behind its cursor, with or without a limit.
    Sync {
        back: u8,
        limit: Option<u8>,
    },
    /// This many frames may be written, and then none.
    Room(u8),
    /// Everything may be written.
    Free,
    Break,
    /// The client resumes, whether or not it lost its socket.
    Resume,
    /// The client begins a fresh session.
    Renew,
    /// The client reads what has arrived.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u8..6).prop_map(Step::Receive),
        2 => (1_u8..4).prop_map(Step::SendElsewhere),
        4 => (1_u8..6, any::<bool>()).prop_map(|(count, to_oneself)| Step::Send { count, to_oneself }),
        4 => (0_u8..8, prop::option::of(1_u8..40)).prop_map(|(back, limit)| Step::Sync { back, limit }),
        1 => (0_u8..20).prop_map(Step::Room),
        2 => Just(Step::Free),
        1 => Just(Step::Break),
        3 => Just(Step::Resume),
        1 => Just(Step::Renew),
        6 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_client_sees_each_message_in_order_and_after_a_sync_all(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
        runtime.unwrap().block_on(async {
            let mut world = World::begin().await;
            for step in steps {
                world.take(step).await;
            }
            world.finish().await;
        });
    }
}

/// A client with a mailbox, and the model of what it may expect.
struct World {
    stage: Stage,
    store: Arc<Store>,
    /// Another user.
    stranger: Arc<SessionHandle>,
    client: Option<Client>,
    connected: Value,
    /// How many sockets got a greeting.
    sockets: u64,
    /// Counted frames of this session that the client has received.
    received: u64,
    /// The stored messages by their number in this user's mailbox, as far as known.
    mailbox: BTreeMap<u64, Value>,
    /// How many messages are certainly stored.
    stored: u64,
    posted: u64,
    /// The number up to which the client has everything.
    cursor: u64,
    /// The last number sent live; `None` while live messages may skip numbers.
    told: Option<u64>,
    /// Messages of the client that have no reply.
    unanswered: VecDeque<(String, String)>,
    /// Messages that were sent more than once, and so may get more than one reply.
    sent_again: HashSet<String>,
    /// Some were sent in an earlier session: they may have numbers that nobody was told.
    is_in_doubt: bool,
    /// A socket broke during a `sync`: messages may have come through it, and do not come live.
    is_cut_short: bool,
    syncs: VecDeque<Syncing>,
    asked_syncs: u64,
    away_since: Option<Instant>,
    may_be_over: bool,
}

/// A `sync` without its end.
struct Syncing {
    id: String,
    limit: u64,
    /// The last number that arrived.
    last: u64,
    streamed: u64,
    /// How many messages were certainly stored when it began.
    stored_before: u64,
}

impl World {
    async fn begin() -> Self {
        let store = open_store().await;
        let relay = relay_over(Arc::clone(&store));
        tokio::spawn(Arc::clone(&relay).deliver_committed());
        let stage = Stage::with(relay);
        let stranger = UserId::new(Uuid::now_v7());
        for user in [stage.user, stranger] {
            store.create_account(user, &format!("{user}@example.org"), "hash", unix_ms_i64()).await.unwrap();
        }
        let device = "stranger".parse().unwrap();
        let stranger = SessionHandle::new(new_session_id(), stranger, device, None, None, Codec::Json);
        let mut world = Self {
            stage,
            store,
            stranger: Arc::new(stranger),
            client: None,
            connected: Value::Null,
            sockets: 0,
            received: 0,
            mailbox: BTreeMap::new(),
            stored: 0,
            posted: 0,
            cursor: 0,
            told: None,
            unanswered: VecDeque::new(),
            sent_again: HashSet::new(),
            is_in_doubt: false,
            is_cut_short: false,
            syncs: VecDeque::new(),
            asked_syncs: 0,
            away_since: None,
            may_be_over: true,
        };
        world.dials(false).await;
        world
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Receive(count) => {
                let (from, to) = (Arc::clone(&self.stranger), self.stage.user);
                self.post(&from, to, count).await;
            }
            Step::SendElsewhere(count) => {
                let (from, to) = (Arc::clone(&self.stage.other), self.stranger.user);
                self.post(&from, to, count).await;
            }
            Step::Send { count, to_oneself } => self.send(count, to_oneself),
            Step::Sync { back, limit } => self.ask(self.cursor.saturating_sub(back.into()), limit),
            Step::Room(frames) => self.client.iter().for_each(|client| client.takes_only(frames.into())),
            Step::Free => self.client.iter().for_each(|client| client.takes_only(usize::MAX)),
            Step::Break => self.lose(),
            Step::Resume => self.dials(true).await,
            Step::Renew => {
                self.may_be_over = true;
                self.dials(false).await;
            }
            Step::Look => self.look().await,
        }
    }

    /// Others write, one after another.
    async fn post(&mut self, from: &Arc<SessionHandle>, to: UserId, count: u8) {
        for _ in 0..count {
            let (_, text) = self.letter(to);
            let frame = Bytes::from(text);
            let reply = answer(&self.stage.relay, from, Codec::Json.decode_client(&frame).unwrap()).await;
            assert!(matches!(reply, ServerMessage::Ack(_)), "{reply:?}");
            self.stored += 1;
        }
        self.stage.other_received();
    }

    fn letter(&mut self, to: UserId) -> (String, String) {
        self.posted += 1;
        let id = format!("m-{}", self.posted);
        let text = json!({"type": "message", "id": id, "recipient_id": to, "encrypted_content": "AQI="});
        (id, text.to_string())
    }

    fn send(&mut self, count: u8, to_oneself: bool) {
        let to = if to_oneself { self.stage.user } else { self.stranger.user };
        for _ in 0..count {
            if let Some(client) = self.client.clone() {
                let (id, text) = self.letter(to);
                client.sends(text.clone());
                self.unanswered.push_back((id, text));
            }
        }
    }

    fn ask(&mut self, since: u64, limit: Option<u8>) {
        let Some(client) = &self.client else { return };
        self.asked_syncs += 1;
        let id = format!("{STREAM}{}", self.asked_syncs);
        client.sends(json!({"type": "sync", "id": id, "since_seq": since, "limit": limit}).to_string());
        let limit = limit.map_or(DEFAULT_PAGE.into(), u64::from);
        self.syncs.push_back(Syncing { id, limit, last: since, streamed: 0, stored_before: self.stored });
    }

    fn lose(&mut self) {
        if let Some(client) = self.client.take() {
            client.breaks();
            self.away_since = Some(Instant::now());
        }
    }

    async fn dials(&mut self, resumes: bool) {
        self.may_be_over |= self.away_since.take().is_some_and(|since| since.elapsed() > PATIENCE);
        let claim = resumes.then(|| claim(&self.connected, self.received));
        let displaced = self.client.take();
        // A socket's streams end with it.
        self.is_cut_short |= !self.syncs.is_empty();
        self.syncs.clear();
        self.client = Some(self.stage.admits(claim).await);
        let sockets = self.sockets;
        self.until(|world| world.sockets > sockets).await;
        displaced.iter().for_each(Client::breaks);
    }

    async fn look(&mut self) {
        sleep(A_MOMENT).await;
        let Some(client) = self.client.clone() else { return };
        for outgoing in client.received() {
            match outgoing {
                Outgoing::Ping => client.does(Incoming::Pong),
                Outgoing::Close(code, _) => panic!("closed with {code:?}"),
                Outgoing::Frame(bytes) => self.receive(&serde_json::from_slice(&bytes).unwrap()),
            }
        }
        self.stage.other_received();
    }

    fn receive(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "connected" => self.begin_socket(frame),
            "message" if frame["id"].as_str().unwrap().starts_with(STREAM) => self.take_streamed(frame),
            "message" => {
                self.received += 1;
                self.take_live(frame);
            }
            "synced" => self.take_end(frame),
            "ack" => {
                self.received += 1;
                self.take_ack(frame);
            }
            "receipt" => self.received += 1,
            other => panic!("{other}: {frame}"),
        }
    }

    fn begin_socket(&mut self, connected: &Value) {
        if connected["session"]["resumed"] == true {
            assert_eq!(connected["session"]["id"], self.connected["session"]["id"]);
        } else {
            assert!(self.may_be_over, "the session is lost without a reason");
            self.may_be_over = false;
            (self.received, self.told) = (0, None);
            self.is_in_doubt = !self.unanswered.is_empty();
            self.is_cut_short = false;
        }
        self.connected = connected.clone();
        self.sockets += 1;
        let client = self.client.as_ref().unwrap();
        self.unanswered.iter().for_each(|(_, text)| client.sends(text.clone()));
        self.sent_again.extend(self.unanswered.iter().map(|(id, _)| id.clone()));
    }

    fn take_streamed(&mut self, message: &Value) {
        let sync = self.syncs.front_mut().unwrap();
        assert_eq!(message["id"], sync.id, "one sync after the other");
        sync.last += 1;
        sync.streamed += 1;
        assert_eq!(message["seq"], sync.last, "no gap and no repetition in a sync");
        self.note(message);
    }

    fn take_live(&mut self, message: &Value) {
        let streaming = self.syncs.front().map_or(0, |sync| sync.streamed);
        assert_eq!(streaming, 0, "new messages come through the sync alone: {message}");
        self.take_next(message);
    }

    fn take_ack(&mut self, ack: &Value) {
        assert_eq!(ack["status"], "stored", "{ack}");
        let id = ack["id"].as_str().unwrap();
        let Some(place) = self.unanswered.iter().position(|(waiting, _)| waiting == id) else {
            return assert!(self.sent_again.contains(id), "a second answer: {ack}");
        };
        let is_first =
            self.unanswered.iter().take(place).all(|(earlier, _)| self.sent_again.contains(earlier));
        assert!(is_first, "{id} is answered before what was sent before it");
        self.unanswered.remove(place);
        self.stored += 1;
        if ack["duplicate"] == true {
            self.told = self.told.max(self.told.and(ack["seq"].as_u64()));
            self.note(ack);
        } else {
            self.take_next(ack);
        }
        self.is_in_doubt &= !self.unanswered.is_empty();
    }

    /// Takes a number that was just assigned.
    fn take_next(&mut self, frame: &Value) {
        let seq = frame["seq"].as_u64().unwrap();
        if let Some(told) = self.told {
            let may_skip = self.is_in_doubt || self.is_cut_short;
            assert!(seq == told + 1 || may_skip && seq > told, "behind {told}: {frame}");
        }
        self.told = Some(seq);
        self.note(frame);
    }

    fn take_end(&mut self, synced: &Value) {
        let sync = self.syncs.pop_front().unwrap();
        assert_eq!(synced["id"], sync.id);
        assert_eq!(synced["seq"], sync.last, "the last that was streamed");
        assert!(sync.streamed <= sync.limit, "{} streamed, {synced}", sync.streamed);
        if synced["complete"] == true {
            assert!(sync.last >= sync.stored_before, "{} were stored before: {synced}", sync.stored_before);
            self.told = Some(sync.last.max(self.told.unwrap_or_default()));
            self.is_cut_short = false;
        } else {
            assert_eq!(sync.streamed, sync.limit, "only the limit ends a sync early: {synced}");
            self.told = None;
        }
    }

    /// A message has one number, and a number one message.
    fn note(&mut self, frame: &Value) {
        let (seq, id) = (frame["seq"].as_u64().unwrap(), &frame["message_id"]);
        assert_eq!(self.mailbox.entry(seq).or_insert_with(|| id.clone()), id, "the message {seq}");
        while self.mailbox.contains_key(&(self.cursor + 1)) {
            self.cursor += 1;
        }
    }

    async fn finish(mut self) {
        self.client.iter().for_each(|client| client.takes_only(usize::MAX));
        if self.client.is_none() {
            self.dials(true).await;
        }
        self.until(|world| world.unanswered.is_empty() && world.syncs.is_empty()).await;
        while self.cursor < self.stored {
            let since = self.cursor;
            self.ask(since, None);
            self.until(|world| world.syncs.is_empty()).await;
            assert!(self.cursor > since, "a sync gets on");
        }
        let page = self.store.mailbox_page(self.stage.user, 0, u32::MAX).await.unwrap();
        let kept: Vec<_> =
            page.messages.iter().map(|one| (one.seq, json!(one.message_id.to_string()))).collect();
        assert_eq!(self.mailbox.into_iter().collect::<Vec<_>>(), kept);
        assert_eq!(kept.len() as u64, self.stored, "each message once");
        let client = self.client.take().unwrap();
        client.does(Incoming::Closed(Some(1000)));
        while self.stage.session().is_some() {
            sleep(A_MOMENT).await;
        }
        client.breaks();
        self.stage.awaits_end().await;
        self.store.close().await;
    }

    /// Reads until a condition holds.
    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "nothing comes any more");
            self.look().await;
        }
    }
}
