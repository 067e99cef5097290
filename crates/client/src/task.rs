//! The one task of a client: carries out what the machine wants and tells it what happens.

use std::{future::pending, sync::Arc, time::Duration};

use aldis_client_core::{Machine, Now, OutgoingRequest, Output, Reply};
use aldis_protocol::Target;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BoxError, DialError, RequestError, Session, State,
    clock::Clock,
    credentials::{ProofSource, Signature, TokenAnswer},
    dial::Dialer,
    event_queue::EventQueue,
    mailbox_handler::Handler,
    socket::{Incoming, Socket},
    statistics::Counters,
    streams::Streams,
};

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    Request { request: OutgoingRequest, reply_to: ReplyTo },
    EndCall(Target),
}

/// The waiting caller, and its slot among the unanswered requests.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    pub(crate) sender: oneshot::Sender<Result<Reply, RequestError>>,
    pub(crate) _slot: OwnedSemaphorePermit,
}

/// What the task publishes to its handles.
pub(crate) struct StateSenders {
    pub(crate) state: watch::Sender<State>,
    pub(crate) session: watch::Sender<Option<Session>>,
    /// Up to which number the application has its mailbox.
    pub(crate) cursor: watch::Sender<Option<u64>>,
}

pub(crate) struct Task {
    pub(crate) machine: Machine<ReplyTo>,
    pub(crate) clock: Clock,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) proofs: ProofSource,
    pub(crate) handler: Option<Handler>,
    pub(crate) request_timeout: Duration,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: EventQueue,
    pub(crate) streams: Arc<Streams>,
    pub(crate) counters: Arc<Counters>,
    /// Whether the application says that the network has changed.
    pub(crate) network_change: Arc<Notify>,
    pub(crate) watches: StateSenders,
    pub(crate) stop: CancellationToken,
    pub(crate) work: Work,
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Work {
    socket: Option<Box<Socket>>,
    dialing: Option<BoxFuture<'static, Result<Socket, DialError>>>,
    asking: Option<BoxFuture<'static, TokenAnswer>>,
    signing: Option<BoxFuture<'static, Signature>>,
    storing: Option<BoxFuture<'static, Result<(), BoxError>>>,
    /// When the last ping was sent that is not answered yet.
    pinged_at: Option<Instant>,
    /// Frames that were read since a deadline became due.
    late_reads: u32,
    stopping: bool,
}

/// Frames that are read before a due deadline counts.
const LATE_READS: u32 = 64;

enum Input {
    Stop,
    Command(Command),
    RoomForEvents,
    StreamsChanged,
    NetworkChanged,
    Dialed(Result<Box<Socket>, DialError>),
    Token(TokenAnswer),
    Signature(Signature),
    Stored(Result<(), BoxError>),
    Socket(Incoming),
    Timeout,
}

impl Task {
    pub(crate) async fn run(mut self) {
        self.machine.start(self.clock.now());
        loop {
            self.carry_out();
            self.release_rooms();
            if self.machine.is_finished() {
                break;
            }
            let input = self.next_input().await;
            self.apply(input);
        }
        self.finish().await;
    }

    async fn next_input(&mut self) -> Input {
        let deadline = self.machine.next_timeout().map(|deadline| self.clock.at(deadline));
        let input = tokio::select! {
            biased;
            () = self.stop.cancelled(), if !self.work.stopping => Input::Stop,
            Some(command) = self.commands.recv() => Input::Command(command),
            () = self.events.room(), if self.events.is_full() => Input::RoomForEvents,
            () = self.streams.changed.notified() => Input::StreamsChanged,
            () = self.network_change.notified() => Input::NetworkChanged,
            result = done(&mut self.work.dialing) => Input::Dialed(result.map(Box::new)),
            answer = done(&mut self.work.asking) => Input::Token(answer),
            signature = done(&mut self.work.signing) => Input::Signature(signature),
            stored = done(&mut self.work.storing) => Input::Stored(stored),
            () = until(deadline) => Input::Timeout,
            incoming = next_of(&mut self.work.socket) => {
                self.work.late_reads = 0;
                Input::Socket(incoming)
            }
        };
        if matches!(input, Input::Timeout) { self.late_input().await } else { input }
    }

    /// A deadline is due. First reads what has already arrived: after a pause of the process, the server's answer may wait
    /// in the socket. The number of reads is bounded, so that a server that keeps sending cannot put off a deadline.
    async fn late_input(&mut self) -> Input {
        if self.work.late_reads < LATE_READS {
            self.work.late_reads += 1;
            if let Some(incoming) = next_of(&mut self.work.socket).now_or_never() {
                return Input::Socket(incoming);
            }
            // Only then does the runtime ask the system for what arrived.
            yield_now().await;
            if let Some(incoming) = next_of(&mut self.work.socket).now_or_never() {
                return Input::Socket(incoming);
            }
        }
        self.work.late_reads = 0;
        Input::Timeout
    }

    fn apply(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Stop => self.apply_stop(now),
            Input::Command(command) => self.apply_command(now, command),
            Input::RoomForEvents => self.events.drain(),
            Input::StreamsChanged => self.release_rooms_with_streams(now),
            Input::NetworkChanged => self.machine.handle_network_change(now),
            Input::Dialed(result) => self.apply_dialed(now, result),
            Input::Token(answer) => {
                self.work.asking = None;
                self.machine.handle_token(now, answer);
            }
            Input::Signature(signature) => {
                self.work.signing = None;
                self.machine.handle_signature(now, signature);
            }
            Input::Stored(stored) => {
                self.work.storing = None;
                self.machine.handle_stored(now, stored);
            }
            Input::Socket(incoming) => self.apply_incoming(now, incoming),
            Input::Timeout => self.machine.handle_timeout(now),
        }
    }

    fn apply_stop(&mut self, now: Now) {
        self.work.stopping = true;
        self.machine.handle_stop(now);
    }

    fn apply_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Request { request, reply_to } => {
                self.machine.handle_request(now, request, self.request_timeout, reply_to);
            }
            Command::EndCall(peer) => self.machine.handle_end_call(&peer),
        }
    }

    fn apply_dialed(&mut self, now: Now, result: Result<Box<Socket>, DialError>) {
        self.work.dialing = None;
        match result {
            Ok(socket) => {
                self.work.socket = Some(socket);
                self.machine.handle_dialed(now);
            }
            Err(error) => self.machine.handle_dial_failed(now, error),
        }
    }

    fn apply_incoming(&mut self, now: Now, incoming: Incoming) {
        match incoming {
            Incoming::Frame(bytes) => {
                self.counters.received(bytes.len());
                self.machine.handle_frame(now, &bytes);
            }
            Incoming::Ping => self.machine.handle_heard(now),
            Incoming::Pong => {
                if let Some(pinged_at) = self.work.pinged_at.take() {
                    self.counters.round_trip(pinged_at.elapsed());
                }
                self.machine.handle_pong(now);
            }
            Incoming::Closed(code, reason) => {
                self.work.socket = None;
                self.machine.handle_closed(now, code, reason);
            }
            Incoming::Broken(error) => {
                self.work.socket = None;
                self.machine.handle_broken(now, error);
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::AskToken(reason) => self.work.asking = self.proofs.ask(reason),
                Output::Sign(request) => self.work.signing = self.proofs.sign(request),
                Output::Dial => self.work.dialing = Some(Box::pin(self.dialer.clone().dial())),
                Output::Send(frame) => self.send(frame),
                Output::Ping => {
                    self.work.pinged_at = Some(Instant::now());
                    self.with_socket(Socket::ping);
                }
                Output::Close => self.with_socket(Socket::close),
                Output::HangUp => self.hang_up(),
                Output::State(state) => drop(self.watches.state.send_replace(state)),
                Output::Session(session) => {
                    self.counters.connected(&session);
                    self.watches.session.send_replace(Some(session));
                }
                Output::Event(event) => {
                    if let Some(event) = self.streams.publish(event) {
                        self.events.push(event);
                    }
                }
                Output::Store(message) => {
                    self.work.storing = self.handler.as_ref().map(|handler| handler.store(message));
                }
                Output::Cursor(cursor) => drop(self.watches.cursor.send_replace(Some(cursor))),
                // A caller that no longer waits has dropped the receiver.
                Output::Settle(reply_to, outcome) => drop(reply_to.sender.send(outcome)),
            }
        }
    }

    fn send(&mut self, frame: Bytes) {
        if let Some(socket) = &mut self.work.socket {
            self.counters.sent(frame.len());
            socket.send(frame);
        }
    }

    fn with_socket(&mut self, act: impl FnOnce(&mut Socket)) {
        if let Some(socket) = &mut self.work.socket {
            act(socket);
        }
    }

    fn hang_up(&mut self) {
        self.work.socket = None;
        self.work.dialing = None;
        self.work.asking = None;
        self.work.signing = None;
        self.work.pinged_at = None;
    }

    /// Holds the rooms when the application takes no more events, and releases them one by one when it does: what one
    /// brings is bounded. Rooms with a stream of their own go on.
    fn release_rooms(&mut self) {
        if self.events.take_overflow() {
            self.machine.hold_rooms(|room| self.streams.has_room(room));
        }
        while !self.events.is_full() && self.machine.release_next_room(self.clock.now()) {
            self.carry_out();
            if self.events.take_overflow() {
                self.machine.hold_rooms(|room| self.streams.has_room(room));
            }
        }
    }

    fn release_rooms_with_streams(&mut self, now: Now) {
        for room in self.streams.rooms() {
            self.machine.release_room(now, &room);
        }
    }

    async fn finish(&mut self) {
        self.streams.close();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            drop(command);
        }
        self.events.finish(&self.stop).await;
    }
}

impl Drop for Task {
    /// Runs also when a token provider panics.
    fn drop(&mut self) {
        self.streams.close();
        self.watches.state.send_replace(State::Disconnected);
    }
}

/// The outcome of a future; never ready without one.
async fn done<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn next_of(socket: &mut Option<Box<Socket>>) -> Incoming {
    match socket {
        Some(socket) => socket.next().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
