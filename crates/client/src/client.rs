//! The handle that applications hold.

mod mailbox;
mod presence;
pub(crate) mod rooms;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use aldis_client_core::{Machine, OutgoingRequest, Pings, Settings};
use aldis_protocol::{
    Ack, ClientMessage, Codec, DEFAULT_STUN_SERVERS, DeviceId, IceServer, Payload, RequestId, Signal,
    SignalKind, Target, limits::MAX_UNANSWERED_REQUESTS,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    Events, Options, Reply, RequestError, Session, State, Statistics,
    clock::Clock,
    event_queue::EventQueue,
    is_polite,
    statistics::Counters,
    streams::Streams,
    task::{Command, ReplyTo, StateSenders, Task, Work},
};

/// Commands that may wait for the task. Each request has a slot first, so it always finds room here, beside a few ends of
/// calls: requests are sent in the order in which they were made.
const COMMANDS: usize = MAX_UNANSWERED_REQUESTS + 16;

/// A handle to a connection that keeps itself up. Clones are cheap and share the connection. Any thread may use it, inside
/// a runtime or not.
///
/// Dropping the last handle stops the client in the background; [`stop`](Self::stop) waits for the end.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    codec: Codec,
    commands: mpsc::Sender<Command>,
    slots: Arc<Semaphore>,
    state: watch::Receiver<State>,
    session: watch::Receiver<Option<Session>>,
    mailbox_cursor: watch::Receiver<Option<u64>>,
    streams: Arc<Streams>,
    counters: Arc<Counters>,
    network_change: Arc<Notify>,
    stop: CancellationToken,
    finished: CancellationToken,
    _stop_with_last_handle: DropGuard,
}

impl Client {
    /// Connects in the background, until it is stopped. [`Event::Closed`](crate::Event::Closed) reports failed attempts.
    ///
    /// # Panics
    /// Outside a tokio runtime; [`start_on`](Self::start_on) takes one.
    #[must_use]
    pub fn start(options: Options) -> (Self, Events) {
        Self::start_on(&Handle::current(), options)
    }

    /// The same, on a given runtime, which has to have its timers and IO enabled.
    #[must_use]
    pub fn start_on(runtime: &Handle, options: Options) -> (Self, Events) {
        let dialer = Arc::new(options.dialer());
        let codec = options.codec_in_use();
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (event_sender, events) = mpsc::channel(options.event_capacity);
        let counters = Arc::new(Counters::default());
        let streams = Arc::new(Streams::new(options.stream_capacity, Arc::clone(&counters)));
        let network_change = Arc::new(Notify::new());
        let (state_sender, state) = watch::channel(State::Connecting);
        let (session_sender, session) = watch::channel(None);
        let cursor = options.keeper.as_ref().map(|keeper| keeper.cursor);
        let (cursor_sender, mailbox_cursor) = watch::channel(cursor);
        let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
        let settings = Settings {
            codec,
            audience: options.audience().to_owned(),
            handshake_timeout: options.connect_timeout_in_use(),
            pings: Pings::Frames,
            proof: options.credentials.proof,
            device_id: options.credentials.device_id,
            mailbox: cursor,
            longest_wait: options.longest_wait,
            seed: rand::random(),
        };
        let task = Task {
            machine: Machine::new(settings),
            clock: Clock::start(),
            dialer,
            proofs: options.credentials.source,
            handler: options.keeper.map(|keeper| keeper.handler),
            request_timeout: options.request_timeout,
            commands,
            events: EventQueue::new(event_sender, Arc::clone(&counters)),
            streams: Arc::clone(&streams),
            counters: Arc::clone(&counters),
            network_change: Arc::clone(&network_change),
            watches: StateSenders { state: state_sender, session: session_sender, cursor: cursor_sender },
            stop: stop.clone(),
            work: Work::default(),
        };
        let told_when_finished = finished.clone().drop_guard();
        runtime.spawn(async move {
            task.run().await;
            drop(told_when_finished);
        });
        let shared = Shared {
            codec,
            commands: command_sender,
            slots: Arc::new(Semaphore::new(MAX_UNANSWERED_REQUESTS)),
            state,
            session,
            mailbox_cursor,
            streams,
            counters,
            network_change,
            _stop_with_last_handle: stop.clone().drop_guard(),
            stop,
            finished,
        };
        (Self(Arc::new(shared)), Events(events))
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        *self.0.state.borrow()
    }

    /// Follows the state. Only the latest value is kept.
    ///
    /// ```no_run
    /// use aldis_client::Client;
    ///
    /// # async fn example(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut state = client.watch_state();
    /// while state.changed().await.is_ok() {
    ///     println!("{:?}", *state.borrow_and_update());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.0.state.clone()
    }

    /// The session, or the last one if there is none at the moment.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.0.session.borrow().clone()
    }

    /// Waits until the client is connected.
    ///
    /// ```no_run
    /// use aldis_client::Client;
    ///
    /// # async fn example(client: &Client) -> Result<(), aldis_client::RequestError> {
    /// let session = client.connected().await?;
    /// println!("{} on {}", session.user_id, session.device_id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Stopped`] if it stops instead.
    pub async fn connected(&self) -> Result<Session, RequestError> {
        let mut state = self.0.state.clone();
        let settled = |state: &State| matches!(state, State::Connected | State::Disconnected);
        match state.wait_for(settled).await.as_deref() {
            Ok(State::Connected) => self.session().ok_or(RequestError::Stopped),
            _ => Err(RequestError::Stopped),
        }
    }

    /// Sends a request and waits for its reply, for at most the request timeout. With 128 requests unanswered it first
    /// waits for a slot. Dropping the future does not cancel the request.
    ///
    /// While the connection is down and the session may still be resumed, requests wait for that, new and unanswered
    /// ones: 128 in all, then [`RequestError::QueueFull`]. After the resume they are sent, or sent again, under their
    /// ids, and the server carries out each once. If the session is lost they fail with
    /// [`RequestError::ConnectionLost`]; without a session new ones fail with [`RequestError::NotConnected`].
    ///
    /// Durable requests never fail for that: `message`, `delivered`, `read`, `chat_message`, `join`, `history` and the
    /// three of presence are sent (again) on the next connection, whatever session that is. A `leave` is done when its
    /// session is lost.
    ///
    /// ```no_run
    /// use aldis_client::{Client, Reply, protocol::ClientMessage};
    ///
    /// # async fn example(client: &Client) -> Result<(), aldis_client::RequestError> {
    /// if let Reply::IceServers(servers) = client.request(ClientMessage::IceServers).await? {
    ///     println!("{} servers", servers.ice_servers.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, message: ClientMessage<'_>) -> Result<Reply, RequestError> {
        self.request_with_id(RequestId::from_uuid(Uuid::now_v7()), message).await
    }

    /// As [`request`](Self::request), under an id of the application's own: the server carries out each id once.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request_with_id(
        &self,
        id: RequestId,
        message: ClientMessage<'_>,
    ) -> Result<Reply, RequestError> {
        self.ask(OutgoingRequest::new(self.0.codec, id, message)?).await
    }

    async fn ask(&self, request: OutgoingRequest) -> Result<Reply, RequestError> {
        let slot = self.slot().await?;
        let (sender, reply) = oneshot::channel();
        let reply_to = ReplyTo { sender, _slot: slot };
        self.command(Command::Request { request, reply_to }).await?;
        reply.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Sends a signal, unsigned. A signed one goes through [`request_with_id`](Self::request_with_id).
    ///
    /// # Errors
    /// [`RequestError`]; a target that is unknown, offline or out of reach is
    /// [`ErrorCode::TargetUnavailable`](aldis_protocol::ErrorCode::TargetUnavailable).
    pub async fn signal(
        &self,
        kind: SignalKind,
        target: Target,
        payload: Payload<'_>,
    ) -> Result<Ack<'static>, RequestError> {
        self.acked(ClientMessage::Signal(Signal { kind, target, payload, signature: None })).await
    }

    /// Begins a call, or negotiates it again. From now on the client lets answers and candidates of the target through.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::{DeviceId, Payload, Target}};
    ///
    /// # async fn example(client: &Client, phone: DeviceId) -> Result<(), Box<dyn std::error::Error>> {
    /// let offer = Payload::from_json(r#"{"type":"offer","sdp":"…"}"#)?;
    /// client.offer(Target::Device(phone), offer).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn offer(&self, target: Target, payload: Payload<'_>) -> Result<Ack<'static>, RequestError> {
        self.signal(SignalKind::Offer, target, payload).await
    }

    /// Answers an offer.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::{DeviceId, Payload, Target}};
    ///
    /// # async fn example(client: &Client, caller: DeviceId) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = Payload::from_json(r#"{"type":"answer","sdp":"…"}"#)?;
    /// client.answer(Target::Device(caller), answer).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn answer(&self, target: Target, payload: Payload<'_>) -> Result<Ack<'static>, RequestError> {
        self.signal(SignalKind::Answer, target, payload).await
    }

    /// Sends an ICE candidate.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn ice_candidate(
        &self,
        target: Target,
        payload: Payload<'_>,
    ) -> Result<Ack<'static>, RequestError> {
        self.signal(SignalKind::IceCandidate, target, payload).await
    }

    /// Ends a call: answers and candidates of the target are dropped again, until the next offer. Nothing is sent.
    pub async fn end_call(&self, target: Target) {
        // A client that has stopped has no calls.
        let _ = self.command(Command::EndCall(target)).await;
    }

    /// Whether this device yields to `peer` where both offer at once ([`is_polite`]); none before the first session.
    #[must_use]
    pub fn is_polite_to(&self, peer: &DeviceId) -> Option<bool> {
        self.0.session.borrow().as_ref().map(|session| is_polite(&session.device_id, peer))
    }

    /// STUN and TURN servers for a call: the application's own first, then the server's. Where that has none, or
    /// cannot be asked, [`DEFAULT_STUN_SERVERS`] stand in.
    pub async fn ice_servers(
        &self,
        custom: impl IntoIterator<Item = IceServer<'static>>,
    ) -> Vec<IceServer<'static>> {
        let own: Vec<_> = custom.into_iter().collect();
        let servers = match self.request(ClientMessage::IceServers).await {
            Ok(Reply::IceServers(servers)) if !servers.ice_servers.is_empty() => servers.ice_servers,
            _ => vec![default_ice_server()],
        };
        own.into_iter().chain(servers).collect()
    }

    /// Measures how long the server takes to answer a request. The client checks the connection by itself every 20 s.
    ///
    /// ```no_run
    /// use aldis_client::Client;
    ///
    /// # async fn example(client: &Client) -> Result<(), aldis_client::RequestError> {
    /// println!("the server is {:?} away", client.ping().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let sent = Instant::now();
        let reply = self.request(ClientMessage::Ping).await?;
        if reply == Reply::Pong { Ok(sent.elapsed()) } else { Err(RequestError::UnexpectedReply) }
    }

    /// Says that the network has changed, as when a phone leaves its wireless network: the client drops its socket, or
    /// its wait for the next attempt, dials at once and resumes the session. Without this it notices within 40 s that a
    /// connection is dead.
    ///
    /// ```no_run
    /// # fn on_network_change(_: impl Fn()) {}
    /// # fn example(client: aldis_client::Client) {
    /// on_network_change(move || client.reconnect_now());
    /// # }
    /// ```
    pub fn reconnect_now(&self) {
        self.0.network_change.notify_one();
    }

    /// What the client has done since its start: connections, messages, bytes, dropped events, and the last round trip.
    ///
    /// ```no_run
    /// # fn example(client: &aldis_client::Client) {
    /// let statistics = client.statistics();
    /// println!("{} of {} connections resumed", statistics.resumes, statistics.connects);
    /// println!("the last ping took {:?}", statistics.round_trip);
    /// # }
    /// ```
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.counters.read()
    }

    /// Goes offline, closes the connection and waits for the end, for at most about 4 s. May be called more than once.
    /// Unanswered requests end with [`RequestError::Stopped`].
    ///
    /// Without a connection the server learns nothing of it: others see the client as online until its resume window has
    /// passed.
    ///
    /// ```no_run
    /// use aldis_client::Client;
    ///
    /// # async fn example(client: Client) -> Result<(), aldis_client::RequestError> {
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.finished.cancelled().await;
    }

    async fn acked(&self, message: ClientMessage<'_>) -> Result<Ack<'static>, RequestError> {
        let reply = self.request(message).await?;
        if let Reply::Ack(ack) = reply { Ok(ack) } else { Err(RequestError::UnexpectedReply) }
    }

    /// A slot among the unanswered requests. Does not wait for one while the connection is down.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, RequestError> {
        let slots = &self.0.slots;
        match slots.clone().try_acquire_owned() {
            Ok(slot) => Ok(slot),
            Err(_) if self.state() != State::Connected => Err(RequestError::QueueFull),
            Err(_) => slots.clone().acquire_owned().await.map_err(|_| RequestError::Stopped),
        }
    }

    async fn command(&self, command: Command) -> Result<(), RequestError> {
        self.0.commands.send(command).await.map_err(|_| RequestError::Stopped)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

fn default_ice_server() -> IceServer<'static> {
    IceServer::new(DEFAULT_STUN_SERVERS.map(Into::into).to_vec())
}
