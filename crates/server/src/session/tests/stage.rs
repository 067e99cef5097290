//! The stage of the session tests: a relay, mostly without a database and with virtual time, and clients whose
//! sockets are queues in memory.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use aldis_auth::{KeyRing, RootKey};
use aldis_protocol::{
    ClientFrame, ClientMessage, CloseCode, Codec, DeviceId, Door, ServerMessage, SessionId, UserId,
    limits::DEFAULT_RESUME_WINDOW,
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    clock::{Now, next_in_order},
    config::{Config, Loaded},
    link::{
        Backlog, Broken, Claim, Identity, Incoming, Item, Outgoing, ResumeToken, SessionHandle, Taken,
        Ticket, TokenLife, Wire,
    },
    relay::{Admission, Relay, Reply, new_session_id},
    session::{
        enter::{Proved, admit, enter},
        handshake::Arrival,
        live::Arrived,
        sweep,
        task::Task,
    },
    store::{Store, StoreOptions},
};

/// A relay whose database is unavailable.
pub(in crate::session) fn relay() -> Arc<Relay> {
    static STORE: LazyLock<Arc<Store>> = LazyLock::new(|| {
        // A runtime of its own, because a test's runtime has virtual time.
        thread::spawn(|| Runtime::new().unwrap().block_on(closed_store())).join().unwrap()
    });
    relay_over(Arc::clone(&STORE))
}

/// A relay over a database, with open routing.
pub(super) fn relay_over(store: Arc<Store>) -> Arc<Relay> {
    Relay::over(crate::config::LiveConfig::new(config()), &KeyRing::new(RootKey::new([7; 32])), store)
}

/// An empty database in memory. Its threads do not follow virtual time.
pub(super) async fn open_store() -> Arc<Store> {
    Arc::new(Store::open(&config().database_url, &StoreOptions::default()).await.unwrap())
}

async fn closed_store() -> Arc<Store> {
    let store = open_store().await;
    store.close().await;
    store
}

fn config() -> Config {
    let flags = ["aldis", "--database-url", "sqlite::memory:", "--routing", "open"];
    let loaded = Config::load(flags.map(Into::into), []).unwrap();
    let Loaded::Run(config) = loaded else { panic!("{loaded:?}") };
    *config
}

/// A user with one device, whose sessions are tested, and another session of theirs that sends to it.
pub(super) struct Stage {
    pub(super) relay: Arc<Relay>,
    pub(super) tasks: TaskTracker,
    pub(super) window: Duration,
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    pub(super) other: Arc<SessionHandle>,
}

impl Stage {
    /// An empty stage with a running sweep.
    pub(super) fn new() -> Self {
        Self::with(relay())
    }

    /// An empty stage with this relay.
    pub(super) fn with(relay: Arc<Relay>) -> Self {
        tokio::spawn(sweep(Arc::clone(&relay), || usize::MAX));
        let user = UserId::new(Uuid::now_v7());
        let other = "other".parse().unwrap();
        let other = Arc::new(SessionHandle::new(new_session_id(), user, other, None, None, Codec::Json));
        assert_eq!(relay.attach(&other, 0), Admission::Admitted);
        let device = "phone".parse().unwrap();
        Self { relay, tasks: TaskTracker::new(), window: DEFAULT_RESUME_WINDOW, user, device, other }
    }

    /// A client that has proved who they are, with a session: the claimed one or a fresh one.
    pub(super) async fn admits(&self, claim: Option<Claim>) -> Client {
        let client = Client::default();
        self.admits_on(&client, claim).await;
        client
    }

    /// As [`admits`](Self::admits), on a socket that exists.
    pub(super) async fn admits_on(&self, client: &Client, claim: Option<Claim>) {
        self.admits_in_order(client, claim, next_in_order()).await;
    }

    /// Admits a client that has proved itself by a token.
    pub(super) async fn admits_with_token(&self, client: &Client, token: TokenLife) {
        if let Some(task) = self.admits_proved(client, None, Some(token), next_in_order()).await {
            self.tasks.spawn(task);
        }
    }

    /// Takes a client through its door; returns when it was refused or its session begins.
    pub(super) async fn enters(&self, client: &Client, arrival: Arrival) {
        let socket = Box::new(MemoryWire(client.clone()));
        let entering = enter(socket, arrival, pending(), &self.relay, self.window, &self.tasks);
        if let Some(task) = entering.await {
            self.tasks.spawn(task);
        }
    }

    /// As [`admits_on`](Self::admits_on), with the place of its upgrade request among all.
    pub(super) async fn admits_in_order(&self, client: &Client, claim: Option<Claim>, order: u64) {
        if let Some(task) = self.begins(client, claim, order).await {
            self.tasks.spawn(task);
        }
    }

    /// As [`admits_in_order`](Self::admits_in_order), without serving a session that begins by it.
    pub(super) async fn begins(&self, client: &Client, claim: Option<Claim>, order: u64) -> Option<Task> {
        self.admits_proved(client, claim, None, order).await
    }

    async fn admits_proved(
        &self,
        client: &Client,
        claim: Option<Claim>,
        token: Option<TokenLife>,
        order: u64,
    ) -> Option<Task> {
        let arrived = Arrived {
            door: Door::Signal,
            codec: Codec::Json,
            room: None,
            resume_window: self.window,
            device_claim: DeviceClaim::new(order),
        };
        let identity = Identity {
            user: self.user,
            device: self.device.clone(),
            fingerprint: None,
            token,
            family: None,
            proved_at: 0,
        };
        let proved = Proved { id: None, identity, due: None, claim };
        admit(Box::new(MemoryWire(client.clone())), arrived, proved, &self.relay, &self.tasks).await
    }

    /// The session on the device, if there is one.
    pub(super) fn session(&self) -> Option<Arc<SessionHandle>> {
        self.relay.registry.on_device(&self.device).map(|(_, session)| session)
    }

    /// Sends a number to the device; returns whether it was accepted.
    pub(super) fn pushes(&self, number: u64) -> bool {
        let text = signal("", &self.device, &number.to_string());
        let frame = Bytes::from(text);
        let ClientMessage::Signal(signal) = Codec::Json.decode_client(&frame).unwrap().message else {
            panic!("a signal")
        };
        let reply = self.relay.handle(
            &self.other,
            Ticket::default(),
            None,
            ClientMessage::Signal(signal),
            Now::read(),
        );
        matches!(reply, Reply::Now(ServerMessage::Ack(_)))
    }

    /// What the other session has received since the last call.
    pub(super) fn other_received(&self) -> Vec<Value> {
        let mut received = Vec::new();
        while let Poll::Ready(Taken::Items(items)) =
            self.other.poll_take(&mut Context::from_waker(Waker::noop()))
        {
            let frames = items.iter().filter_map(Item::frame);
            received.extend(frames.map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
        }
        received
    }

    /// Waits until all sessions that were begun, and all sockets that were released, have ended.
    pub(super) async fn awaits_end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        assert!(self.session().is_none(), "nobody stays in the registry");
    }
}

/// Carries out a request of a session without a task, and waits for the reply.
pub(super) async fn answer(
    relay: &Arc<Relay>,
    from: &Arc<SessionHandle>,
    frame: ClientFrame<'_>,
) -> ServerMessage<'static> {
    let reply = relay.handle(from, Ticket::default(), frame.id, frame.message, Now::read());
    reply.awaited(from).await
}

/// Runs all tasks until they wait.
pub(super) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// A signal as a client sends it.
pub(super) fn signal(id: &str, target: &DeviceId, payload: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!(r#""id":"{id}","#) };
    format!(r#"{{"type":"signal",{id}"target_device_id":"{target}","payload":{payload}}}"#)
}

/// A client's end of a socket.
#[derive(Clone)]
pub(super) struct Client(Arc<Mutex<Pipe>>);

/// A socket in memory.
struct Pipe {
    /// Sent by the client, not read yet.
    incoming: VecDeque<Incoming>,
    /// Enqueued, not written yet.
    outgoing: VecDeque<Outgoing>,
    /// Written, not read by the client yet.
    delivered: VecDeque<Outgoing>,
    /// How many frames may still be written.
    room: usize,
    has_written: bool,
    /// Pings and pongs that were read since the last call.
    small_frames: u32,
    /// Everything is written but not flushed, as an encrypting stream may do.
    holds: bool,
    is_broken: bool,
    is_closing: bool,
    panics: bool,
    panics_on_writing: bool,
    is_dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    largest_backlog: usize,
}

impl Default for Client {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Pipe {
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            delivered: VecDeque::new(),
            room: usize::MAX,
            has_written: false,
            small_frames: 0,
            holds: false,
            is_broken: false,
            is_closing: false,
            panics: false,
            panics_on_writing: false,
            is_dropped: false,
            reader: None,
            writer: None,
            largest_backlog: 0,
        })))
    }
}

impl Client {
    /// Sends a message.
    pub(super) fn sends(&self, text: impl Into<String>) {
        self.does(Incoming::Frame(Bytes::from(text.into())));
    }

    /// Sends a ping message, which a `pong` answers.
    pub(super) fn pings(&self, id: &str) {
        self.sends(json!({"type": "ping", "id": id}).to_string());
    }

    /// Sends anything.
    pub(super) fn does(&self, incoming: Incoming) {
        self.changes(|pipe| pipe.incoming.push_back(incoming));
    }

    /// Breaks the connection and drops everything in transit.
    pub(super) fn breaks(&self) {
        self.changes(|pipe| {
            pipe.is_broken = true;
            pipe.incoming.clear();
        });
    }

    /// Lets this many more frames be written, and then none.
    pub(super) fn takes_only(&self, frames: usize) {
        self.changes(|pipe| pipe.room = frames);
    }

    /// Stops or resumes flushing.
    pub(super) fn holds(&self, holds: bool) {
        self.changes(|pipe| pipe.holds = holds);
    }

    /// Makes the next read panic.
    pub(super) fn makes_reading_panic(&self) {
        self.changes(|pipe| pipe.panics = true);
    }

    /// Makes the next write panic.
    pub(super) fn makes_writing_panic(&self) {
        self.changes(|pipe| pipe.panics_on_writing = true);
    }

    /// What was written since the last call.
    pub(super) fn received(&self) -> Vec<Outgoing> {
        self.lock().delivered.drain(..).collect()
    }

    /// The messages among them.
    pub(super) fn messages(&self) -> Vec<Value> {
        self.received().iter().filter_map(message).collect()
    }

    /// The largest number of frames that ever waited.
    pub(super) fn largest_backlog(&self) -> usize {
        self.lock().largest_backlog
    }

    /// Whether the server has dropped the socket.
    pub(super) fn is_dropped(&self) -> bool {
        self.lock().is_dropped
    }

    fn changes(&self, change: impl FnOnce(&mut Pipe)) {
        let mut pipe = self.lock();
        change(&mut pipe);
        let wakers = [pipe.reader.take(), pipe.writer.take()];
        drop(pipe);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap()
    }
}

/// The message in a frame.
pub(super) fn message(outgoing: &Outgoing) -> Option<Value> {
    match outgoing {
        Outgoing::Frame(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
        Outgoing::Ping | Outgoing::Close(..) => None,
    }
}

/// The close among received frames.
pub(super) fn close(received: &[Outgoing]) -> Option<CloseCode> {
    received.iter().find_map(|outgoing| match outgoing {
        Outgoing::Close(code, _) => Some(*code),
        Outgoing::Frame(_) | Outgoing::Ping => None,
    })
}

/// What a client shows to resume the session of this `connected`.
pub(super) fn claim(connected: &Value, received: u64) -> Claim {
    let token = connected["session"]["resume_token"].as_str().unwrap();
    Claim { token: ResumeToken::parse(token).unwrap(), received }
}

/// The session of a `connected`.
pub(super) fn session_id(connected: &Value) -> SessionId {
    SessionId::new(connected["session"]["id"].as_str().unwrap().parse().unwrap())
}

/// The server's end of a socket in memory.
pub(super) struct MemoryWire(Client);

impl Wire for MemoryWire {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut pipe = self.0.lock();
        if std::mem::take(&mut pipe.panics) {
            drop(pipe);
            panic!("a bug");
        }
        if let Some(incoming) = pipe.incoming.pop_front() {
            pipe.small_frames += u32::from(matches!(incoming, Incoming::Ping | Incoming::Pong));
            return Poll::Ready(incoming);
        }
        if pipe.is_broken {
            return Poll::Ready(Incoming::Broken);
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        let mut pipe = self.0.lock();
        if std::mem::take(&mut pipe.panics_on_writing) {
            drop(pipe);
            panic!("a bug");
        }
        assert!(!pipe.is_closing, "nothing is sent after a close: {outgoing:?}");
        pipe.is_closing = matches!(outgoing, Outgoing::Close(..));
        pipe.outgoing.push_back(outgoing);
        pipe.largest_backlog = pipe.largest_backlog.max(pipe.outgoing.len());
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut pipe = self.0.lock();
        if pipe.is_broken {
            return Poll::Ready(Err(Broken));
        }
        while pipe.room > 0
            && let Some(outgoing) = pipe.outgoing.pop_front()
        {
            pipe.room -= 1;
            pipe.has_written = true;
            pipe.delivered.push_back(outgoing);
        }
        if pipe.outgoing.is_empty() && !pipe.holds {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn backlog(&self) -> Backlog {
        let pipe = self.0.lock();
        let bytes = |outgoing: &Outgoing| if let Outgoing::Frame(frame) = outgoing { frame.len() } else { 0 };
        Backlog { frames: pipe.outgoing.len(), bytes: pipe.outgoing.iter().map(bytes).sum() }
    }

    fn take_has_written(&mut self) -> bool {
        std::mem::take(&mut self.0.lock().has_written)
    }

    fn take_small_frames(&mut self) -> u32 {
        std::mem::take(&mut self.0.lock().small_frames)
    }

    fn set_message_limit(&mut self, _: usize) {}
}

impl Drop for MemoryWire {
    fn drop(&mut self) {
        self.0.lock().is_dropped = true;
    }
}
