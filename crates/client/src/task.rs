//! The one task of a client: carries out what the machine wants and tells it what happens.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use aldis_client_core::{Machine, Now, OutgoingRequest, Output, Reply};
use aldis_protocol::Target;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BoxError, DialError, Event, RequestError, Session, State,
    clock::Clock,
    credentials::{ProofSource, TokenAnswer},
    dial::Dialer,
    mailbox_handler::Handler,
    socket::{Incoming, Socket},
};

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    Request { request: OutgoingRequest, reply_to: ReplyTo },
    EndCall(Target),
}

/// Whoever waits for a reply, with the slot that he takes up until then.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    pub(crate) sender: oneshot::Sender<Result<Reply, RequestError>>,
    pub(crate) _slot: OwnedSemaphorePermit,
}

/// What the task tells its handles.
pub(crate) struct Watches {
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
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) watches: Watches,
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
    /// Events that found the application's queue full. Nothing is read from the socket while there are any.
    backlog: VecDeque<Event>,
    /// How many frames were read behind a deadline that has come.
    late_reads: u32,
    stopping: bool,
}

/// Frames that are read behind a deadline before it decides.
const LATE_READS: u32 = 64;

type Signature = Result<[u8; 64], BoxError>;

enum Input {
    Stop,
    Command(Command),
    RoomForEvents,
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
            if self.machine.is_finished() {
                break;
            }
            let input = self.next_input().await;
            self.apply(input);
        }
        self.deliver_rest().await;
    }

    async fn next_input(&mut self) -> Input {
        let deadline = self.machine.next_timeout().map(|deadline| self.clock.at(deadline));
        let listening = self.work.backlog.is_empty();
        let input = tokio::select! {
            biased;
            () = self.stop.cancelled(), if !self.work.stopping => Input::Stop,
            Some(command) = self.commands.recv() => Input::Command(command),
            _ = self.events.reserve(), if !listening => Input::RoomForEvents,
            result = done(&mut self.work.dialing) => Input::Dialed(result.map(Box::new)),
            answer = done(&mut self.work.asking) => Input::Token(answer),
            signature = done(&mut self.work.signing) => Input::Signature(signature),
            stored = done(&mut self.work.storing) => Input::Stored(stored),
            () = until(deadline) => Input::Timeout,
            incoming = next_of(&mut self.work.socket), if listening => {
                self.work.late_reads = 0;
                Input::Socket(incoming)
            }
        };
        if matches!(input, Input::Timeout) { self.late_input(listening).await } else { input }
    }

    /// A deadline has come. What has arrived by then is read before it decides: where the process was paused, the
    /// server's answer waits in the socket. A server that goes on sending puts off no deadline.
    async fn late_input(&mut self, listening: bool) -> Input {
        if listening && self.work.late_reads < LATE_READS {
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
            Input::RoomForEvents => self.retell(now),
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
            Incoming::Frame(bytes) => self.machine.handle_frame(now, &bytes),
            Incoming::Ping => self.machine.handle_heard(now),
            Incoming::Pong => self.machine.handle_pong(now),
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
                Output::Send(frame) => self.with_socket(|socket| socket.send(frame)),
                Output::Ping => self.with_socket(Socket::ping),
                Output::Close => self.with_socket(Socket::close),
                Output::HangUp => self.hang_up(),
                Output::State(state) => drop(self.watches.state.send_replace(state)),
                Output::Session(session) => drop(self.watches.session.send_replace(Some(session))),
                Output::Event(event) => self.tell(event),
                Output::Store(message) => {
                    self.work.storing = self.handler.as_ref().map(|handler| handler.store(message));
                }
                Output::Cursor(cursor) => drop(self.watches.cursor.send_replace(Some(cursor))),
                // Whoever lost interest in the reply has dropped the receiver.
                Output::Settle(reply_to, outcome) => drop(reply_to.sender.send(outcome)),
            }
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
    }

    /// Keeps the order: nothing overtakes what waits already.
    fn tell(&mut self, event: Event) {
        if !self.work.backlog.is_empty() {
            return self.work.backlog.push_back(event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.work.backlog.push_back(event);
            self.machine.pause();
        }
    }

    /// Moves what waits into the application's queue, as far as there is room.
    fn retell(&mut self, now: Now) {
        while let Some(event) = self.work.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                return self.work.backlog.push_front(event);
            }
        }
        self.machine.go_on(now);
    }

    /// The last events wait for the application as well, until it wants to be rid of the client.
    async fn deliver_rest(&mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            drop(command);
        }
        for event in std::mem::take(&mut self.work.backlog) {
            tokio::select! {
                biased;
                sent = self.events.send(event) => if sent.is_err() { return },
                () = self.stop.cancelled() => return,
            }
        }
    }
}

impl Drop for Task {
    /// Also where a token provider panicked.
    fn drop(&mut self) {
        self.watches.state.send_replace(State::Disconnected);
    }
}

/// Does not end where there is nothing under way.
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
