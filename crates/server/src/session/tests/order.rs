//! Random requests in a room and a mailbox against a session whose socket stalls, breaks and resumes: the replies
//! come in the order of the requests, and each has its place among the frames that others cause.
//!
//! The database is a real one, so the clock is real too.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use aldis_protocol::Codec;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::{Client, Stage, answer, claim, open_store, relay_over};
use crate::{
    clock::unix_ms_i64,
    link::{Incoming, Outgoing, SessionHandle},
    store::Store,
};

/// How long the test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the tasks run between two steps; they do the rest later.
const A_MOMENT: Duration = Duration::from_millis(2);
const ROOM: &str = "kitchen";

/// A request of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Join,
    Leave,
    /// A message that the room stores.
    Say,
    /// A message that is not stored.
    Broadcast,
    /// A message to the client's own user.
    Note,
    Subscribe,
    Ping,
    History,
    Malformed,
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Request),
    /// The user's other session writes in the room.
    OtherSays(u8),
    OtherLeaves,
    OtherJoins,
    /// The user's other session writes to its own user.
    OtherWrites(u8),
    /// This many frames may be written, and then none.
    Room(u8),
    /// Everything may be written.
    Free,
    Break,
    /// The client resumes, whether or not it lost its socket.
    Resume,
    /// The client reads what has arrived.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let request = prop_oneof![
        3 => Just(Request::Join),
        2 => Just(Request::Leave),
        6 => Just(Request::Say),
        2 => Just(Request::Broadcast),
        4 => Just(Request::Note),
        1 => Just(Request::Subscribe),
        2 => Just(Request::Ping),
        1 => Just(Request::History),
        1 => Just(Request::Malformed),
    ];
    prop_oneof![
        12 => request.prop_map(Step::Ask),
        3 => (1_u8..4).prop_map(Step::OtherSays),
        1 => Just(Step::OtherLeaves),
        1 => Just(Step::OtherJoins),
        3 => (1_u8..4).prop_map(Step::OtherWrites),
        1 => (0_u8..10).prop_map(Step::Room),
        2 => Just(Step::Free),
        1 => Just(Step::Break),
        3 => Just(Step::Resume),
        5 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn each_reply_has_its_place_among_the_frames_of_others(steps in prop::collection::vec(step(), 1..80)) {
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

/// A client, and the model of what it may expect.
struct World {
    stage: Stage,
    store: Arc<Store>,
    client: Option<Client>,
    connected: Value,
    sockets: u64,
    /// Counted frames of the session that the client has received.
    received: u64,
    /// How many frames the last `connected` promised that have not arrived.
    to_replay: u64,
    asked: u64,
    unanswered: VecDeque<PendingRequest>,
    /// Each request of the client, by its id.
    requests: HashMap<String, Request>,
    /// Requests that were sent more than once, and so may get more than one reply.
    sent_again: HashSet<String>,
    /// Whether the last reply to a join or a leave says that the session is in the room.
    is_in_room: bool,
    /// Whether it has the list of members since it joined.
    knows_members: bool,
    /// The last number of the room that arrived since the session joined it.
    room_seq: Option<u64>,
    /// The last number of the mailbox that arrived.
    mail_seq: Option<u64>,
}

struct PendingRequest {
    id: String,
    text: String,
    /// The socket on which it was last sent.
    socket: u64,
}

impl World {
    async fn begin() -> Self {
        let store = open_store().await;
        let relay = relay_over(Arc::clone(&store));
        tokio::spawn(Arc::clone(&relay).deliver_committed());
        let stage = Stage::with(relay);
        store
            .create_account(stage.user, &format!("{}@example.org", stage.user), "hash", unix_ms_i64())
            .await
            .unwrap();
        let mut world = Self {
            stage,
            store,
            client: None,
            connected: Value::Null,
            sockets: 0,
            received: 0,
            to_replay: 0,
            asked: 0,
            unanswered: VecDeque::new(),
            requests: HashMap::new(),
            sent_again: HashSet::new(),
            is_in_room: false,
            knows_members: false,
            room_seq: None,
            mail_seq: None,
        };
        world.other_asks(Request::Join).await;
        world.dials(false).await;
        world
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Ask(request) => self.ask(request),
            Step::OtherSays(count) => self.others_ask(Request::Say, count).await,
            Step::OtherLeaves => self.other_asks(Request::Leave).await,
            Step::OtherJoins => self.other_asks(Request::Join).await,
            Step::OtherWrites(count) => self.others_ask(Request::Note, count).await,
            Step::Room(frames) => self.client.iter().for_each(|client| client.takes_only(frames.into())),
            Step::Free => self.client.iter().for_each(|client| client.takes_only(usize::MAX)),
            Step::Break => self.client.take().iter().for_each(Client::breaks),
            Step::Resume => self.dials(true).await,
            Step::Look => self.look().await,
        }
    }

    fn frame(&mut self, request: Request) -> (String, String) {
        self.asked += 1;
        let id = format!("r{}", self.asked);
        let frame = match request {
            Request::Join => json!({"type": "join", "id": id, "room": ROOM}),
            Request::Leave => json!({"type": "leave", "id": id, "room": ROOM}),
            Request::Say => {
                json!({"type": "chat_message", "id": id, "room": ROOM, "payload": {"content": "hello"}})
            }
            Request::Broadcast => {
                json!({"type": "broadcast", "id": id, "room": ROOM, "payload": {"content": "hello"}})
            }
            Request::Note => {
                let to = self.stage.user;
                json!({"type": "message", "id": id, "recipient_id": to, "encrypted_content": "AQI="})
            }
            Request::Subscribe => {
                json!({"type": "presence_subscribe", "id": id, "user_ids": [self.stage.user]})
            }
            Request::Ping => json!({"type": "ping", "id": id}),
            Request::History => json!({"type": "history", "id": id, "room": ROOM}),
            Request::Malformed => json!({"type": "offer", "id": id}),
        };
        (id, frame.to_string())
    }

    fn ask(&mut self, request: Request) {
        let Some(client) = self.client.clone() else { return };
        let (id, text) = self.frame(request);
        client.sends(text.clone());
        self.requests.insert(id.clone(), request);
        self.unanswered.push_back(PendingRequest { id, text, socket: self.sockets });
    }

    async fn others_ask(&mut self, request: Request, count: u8) {
        for _ in 0..count {
            self.other_asks(request).await;
        }
    }

    async fn other_asks(&mut self, request: Request) {
        let (_, text) = self.frame(request);
        let other: &Arc<SessionHandle> = &self.stage.other;
        let frame = Bytes::from(text);
        let frame = Codec::Json.decode_client(&frame).unwrap();
        answer(&self.stage.relay, other, frame).await;
        self.stage.other_received();
    }

    async fn dials(&mut self, resumes: bool) {
        let claim = resumes.then(|| claim(&self.connected, self.received));
        let displaced = self.client.take();
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
        let kind = frame["type"].as_str().unwrap();
        if kind == "connected" {
            return self.begin_socket(frame);
        }
        if !matches!(kind, "pong" | "history" | "presence") {
            self.received += 1;
            self.to_replay = self.to_replay.saturating_sub(1);
        }
        match kind {
            "ack" | "error" | "pong" | "history" => self.take_answer(frame),
            "message" => self.take_mail(frame),
            "presence" => {}
            _ => self.take_told_of_room(frame),
        }
        if self.to_replay == 0 {
            self.send_again();
        }
    }

    fn begin_socket(&mut self, connected: &Value) {
        if self.sockets > 0 {
            assert_eq!(connected["session"]["resumed"], true, "the session is lost without a reason");
            self.to_replay = connected["session"]["replayed"].as_u64().unwrap();
        }
        self.connected = connected.clone();
        self.sockets += 1;
        if self.to_replay == 0 {
            self.send_again();
        }
    }

    /// Sends the requests again that were not answered on an earlier socket.
    fn send_again(&mut self) {
        let Some(client) = &self.client else { return };
        for asked in self.unanswered.iter_mut().filter(|asked| asked.socket < self.sockets) {
            client.sends(asked.text.clone());
            asked.socket = self.sockets;
            self.sent_again.insert(asked.id.clone());
        }
    }

    fn take_answer(&mut self, answer: &Value) {
        let id = answer["id"].as_str().unwrap();
        let is_first = match self.unanswered.iter().position(|asked| asked.id == id) {
            Some(place) => {
                let follows = self.unanswered.iter().take(place).all(|asked| asked.socket < self.sockets);
                assert!(
                    follows || self.sent_again.contains(id),
                    "{id} is answered before what was sent before it"
                );
                self.unanswered.remove(place);
                answer["duplicate"] != true
            }
            None => {
                assert!(self.sent_again.contains(id), "a second answer: {answer}");
                false
            }
        };
        if answer["type"] != "ack" || !is_first {
            return;
        }
        match self.requests[id] {
            Request::Join => {
                self.is_in_room = true;
                (self.knows_members, self.room_seq) = (false, None);
            }
            Request::Leave => self.is_in_room = false,
            Request::Say => self.take_room_number(answer),
            Request::Note => self.take_mail(answer),
            Request::Broadcast
            | Request::Subscribe
            | Request::Ping
            | Request::History
            | Request::Malformed => {}
        }
    }

    fn take_mail(&mut self, frame: &Value) {
        let seq = frame["seq"].as_u64().unwrap();
        assert!(self.mail_seq.is_none_or(|last| seq == last + 1), "behind {:?}: {frame}", self.mail_seq);
        self.mail_seq = Some(seq);
    }

    fn take_told_of_room(&mut self, frame: &Value) {
        assert_eq!(frame["room"], ROOM, "{frame}");
        assert!(self.is_in_room, "the session is not in the room: {frame}");
        match frame["type"].as_str().unwrap() {
            "room_members" => self.knows_members = true,
            "chat_message" => self.take_room_number(frame),
            "room_update" | "member_joined" | "member_left" | "broadcast" => {}
            other => panic!("{other}: {frame}"),
        }
        assert!(self.knows_members, "before the members: {frame}");
    }

    fn take_room_number(&mut self, frame: &Value) {
        let seq = frame["seq"].as_u64().unwrap();
        assert!(self.is_in_room, "the session is not in the room: {frame}");
        assert!(self.room_seq.is_none_or(|last| seq == last + 1), "behind {:?}: {frame}", self.room_seq);
        self.room_seq = Some(seq);
    }

    async fn finish(mut self) {
        if self.client.is_none() {
            self.dials(true).await;
        }
        self.client.iter().for_each(|client| client.takes_only(usize::MAX));
        self.until(|world| world.unanswered.is_empty()).await;
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
            assert!(
                start.elapsed() < PATIENCE,
                "nothing comes any more: {:?}",
                self.unanswered.front().map(|one| &one.text)
            );
            self.look().await;
        }
    }
}
