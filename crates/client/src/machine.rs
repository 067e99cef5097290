//! The life of a connection without IO: what comes in, what goes out, when to act.
//!
//! Put something in (`handle_…`), take out everything that [`poll_output`](Machine::poll_output) has, wait until
//! [`next_timeout`](Machine::next_timeout) or the next input. Time comes with each input; randomness is the seed.
//!
//! A session outlives its socket ([`Resumable`]): its token goes into the next proof, and `connected` says whether it
//! was taken. Until that is known, [`Pending`] keeps every request; after a fresh session, only the durable ones.

mod leaving;
mod live;
mod liveness;
mod proving;
mod session;
mod sleep;
mod verdict;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use aldis_protocol::{
    Ack, Codec, DecodeError, DeviceId, History, IceServers, MessageKind, RequestId, Secret, ServerFrame,
    ServerMessage, Synced, Target,
};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    leaving::Leaving,
    live::Live,
    proving::Proving,
    session::Resumable,
    sleep::SleepWatch,
    verdict::{ClosingError, Ending, Verdict, judge},
};
use crate::{
    ConnectionError, DialError, Event, RequestError, Session, State, TokenReason,
    backoff::Backoff,
    calls::CallBook,
    credentials::{Proof, is_final},
    owned,
    pending::{Pending, Request},
};

/// What a request was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The request was carried out.
    Ack(Ack<'static>),
    /// To `ice_servers`.
    IceServers(IceServers<'static>),
    /// To `history`.
    History(History<'static>),
    /// To `sync`, behind what it streamed.
    Synced(Synced),
    /// To `ping`.
    Pong,
}

/// What the machine wants done. `R` is whoever waits for a reply.
#[derive(Debug)]
pub(crate) enum Output<R> {
    AskToken(TokenReason),
    Dial,
    Send(Bytes),
    Ping,
    /// Begin the close handshake, with 1000.
    Close,
    /// Give up the socket, and whatever is under way to one.
    HangUp,
    State(State),
    Session(Session),
    Event(Event),
    Settle(R, Result<Reply, RequestError>),
}

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For deadlines.
    pub(crate) instant: Instant,
    /// For what others have dated, in Unix milliseconds.
    pub(crate) unix_ms: u64,
}

/// What the machine is told at its birth.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    /// Whom a challenge has to name.
    pub(crate) audience: String,
    pub(crate) proof: Proof,
    pub(crate) device_id: Option<DeviceId>,
    /// From the open socket to `connected`.
    pub(crate) handshake_timeout: Duration,
    /// The ceiling of the waits between attempts.
    pub(crate) longest_wait: Duration,
    pub(crate) seed: [u8; 32],
}

#[derive(Debug)]
pub(crate) struct Machine<R> {
    settings: Settings,
    rng: StdRng,
    state: State,
    phase: Phase,
    backoff: Backoff,
    /// What the provider is told at the next attempt.
    token_reason: TokenReason,
    /// The last attempt was made with a new token because the one before was refused.
    tried_new_token: bool,
    ending: Ending,
    /// What `server_draining` told.
    reconnect_after: Option<Duration>,
    /// While it is there or may still be resumed.
    session: Option<Resumable>,
    pending: Pending<R>,
    calls: CallBook,
    refused_signals: u64,
    sleep_watch: SleepWatch,
    paused: bool,
    outputs: VecDeque<Output<R>>,
}

/// One type per state, which holds what only that state knows.
#[derive(Debug)]
enum Phase {
    Idle,
    Waiting(Instant),
    AskingToken,
    Dialing(Option<Secret<'static>>),
    Proving(Proving),
    Live(Live),
    Leaving(Leaving),
    Finished,
}

impl<R> Machine<R> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            rng: StdRng::from_seed(settings.seed),
            backoff: Backoff::new(settings.longest_wait),
            settings,
            state: State::Disconnected,
            phase: Phase::Idle,
            token_reason: TokenReason::First,
            tried_new_token: false,
            ending: Ending::default(),
            reconnect_after: None,
            session: None,
            pending: Pending::new(),
            calls: CallBook::default(),
            refused_signals: 0,
            sleep_watch: SleepWatch::default(),
            paused: false,
            outputs: VecDeque::new(),
        }
    }

    /// Makes the first attempt.
    pub(crate) fn start(&mut self, now: Now) {
        if matches!(self.phase, Phase::Idle) {
            self.sleep_watch.look(now);
            self.set_state(State::Connecting);
            self.attempt();
        }
    }

    /// The provider's answer.
    pub(crate) fn handle_token(
        &mut self,
        now: Now,
        token: Result<Secret<'static>, Box<dyn std::error::Error + Send + Sync>>,
    ) {
        match (&self.phase, token) {
            (Phase::AskingToken, Ok(token)) => self.dial(Some(token)),
            (Phase::AskingToken, Err(error)) if is_final(&*error) => {
                self.finish(ConnectionError::Token(error));
            }
            (Phase::AskingToken, Err(error)) => self.retry(now, ConnectionError::Token(error), None),
            (Phase::Live(_), token) => self.handle_next_token(token),
            _ => {}
        }
    }

    /// The WebSocket is there.
    pub(crate) fn handle_dialed(&mut self, now: Now) {
        if let Phase::Dialing(token) = &mut self.phase {
            let token = token.take();
            self.prove(now, token);
        }
    }

    /// There is no WebSocket to be had.
    pub(crate) fn handle_dial_failed(&mut self, now: Now, error: DialError) {
        if !matches!(self.phase, Phase::Dialing(_)) {
            return;
        }
        let told = error.retry_after();
        if error.is_retryable() {
            self.retry(now, error.into(), told);
        } else {
            self.finish(error.into());
        }
    }

    /// A frame came.
    pub(crate) fn handle_frame(&mut self, now: Now, bytes: &Bytes) {
        self.handle_heard(now);
        match self.settings.codec.decode_server(bytes) {
            Ok(frame) => match &self.phase {
                Phase::Proving(_) => self.handle_handshake(now, frame.message),
                Phase::Live(_) => {
                    self.count(now, |session, at| session.note(&frame, at));
                    self.handle_live(now, frame);
                }
                Phase::Leaving(_) => self.handle_leaving(now, frame),
                Phase::Idle
                | Phase::Waiting(_)
                | Phase::AskingToken
                | Phase::Dialing(_)
                | Phase::Finished => {}
            },
            Err(error) => self.handle_unknown(now, &error),
        }
    }

    /// A WebSocket pong came.
    pub(crate) fn handle_pong(&mut self, now: Now) {
        self.handle_heard(now);
        if let Phase::Live(live) = &mut self.phase {
            live.liveness.pong();
        }
    }

    /// Anything came.
    pub(crate) fn handle_heard(&mut self, now: Now) {
        if let Phase::Live(live) = &mut self.phase {
            live.liveness.heard(now.instant);
        }
    }

    /// The server closed the connection.
    pub(crate) fn handle_closed(&mut self, now: Now, code: u16, reason: String) {
        let cause = ConnectionError::Closed {
            code,
            reason: reason.clone(),
            error: self.ending.error.as_ref().map(|error| error.code),
        };
        self.ending.close = Some((code, reason));
        self.handle_end(now, cause);
    }

    /// The socket broke without a close frame.
    pub(crate) fn handle_broken(&mut self, now: Now, error: String) {
        self.handle_end(now, ConnectionError::Broken(error));
    }

    /// The application asks. An offer opens the call with `call`. While a session may be resumed, what is asked waits
    /// for that; without one, only durable requests do.
    pub(crate) fn handle_request(&mut self, request: Request<R>, call: Option<Target>) {
        if matches!(self.phase, Phase::Leaving(_) | Phase::Finished) {
            return self.settle(request.reply_to, Err(RequestError::Stopped));
        }
        let (id, kind, frame) = (request.id.clone(), request.kind, request.frame.clone());
        if let Err((reply_to, error)) = self.pending.insert(request, self.session.is_some()) {
            return self.settle(reply_to, Err(error));
        }
        call.into_iter().for_each(|peer| self.calls.open(peer));
        if let Some(session) = self.session.as_mut().filter(|_| kind == MessageKind::Sync) {
            session.stream(id);
        }
        if matches!(self.phase, Phase::Live(_)) {
            self.outputs.push_back(Output::Send(frame));
        }
    }

    /// The application has done with a call.
    pub(crate) fn handle_end_call(&mut self, peer: &Target) {
        self.calls.end(peer);
    }

    /// The application wants no more.
    pub(crate) fn handle_stop(&mut self, now: Now) {
        match &self.phase {
            Phase::Live(_) => self.say_goodbye(now),
            Phase::Proving(_) => self.close(now),
            Phase::Leaving(_) | Phase::Finished => {}
            Phase::Idle | Phase::Waiting(_) | Phase::AskingToken | Phase::Dialing(_) => {
                self.finish(ConnectionError::Stopped);
            }
        }
    }

    /// Nobody takes the events, so nobody reads from the socket: its silence says nothing.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// The socket is read again.
    pub(crate) fn go_on(&mut self, now: Now) {
        self.paused = false;
        self.sleep_watch.look(now);
        if let Phase::Live(live) = &mut self.phase {
            live.liveness.listen_again(now.instant);
        }
    }

    /// The time asked for has come.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        for reply_to in self.pending.take_overdue(now.instant) {
            self.settle(reply_to, Err(RequestError::TimedOut));
        }
        self.confirm(now);
        self.lose_hope(now);
        if self.minds_sleep() {
            self.notice_sleep(now);
        }
        if self.phase_deadline().is_none_or(|deadline| deadline > now.instant) {
            return;
        }
        match &self.phase {
            Phase::Waiting(_) => self.attempt(),
            Phase::Proving(_) => self.retry(now, ConnectionError::HandshakeTimedOut, None),
            Phase::Live(_) => self.keep_alive(now),
            Phase::Leaving(_) => self.leave_impatiently(now),
            Phase::Idle | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let sleep = self.sleep_watch.deadline().filter(|_| self.minds_sleep());
        [self.phase_deadline(), self.session_deadline(), self.pending.next_deadline(), sleep]
            .into_iter()
            .flatten()
            .min()
    }

    /// What to do next, in order.
    pub(crate) fn poll_output(&mut self) -> Option<Output<R>> {
        self.outputs.pop_front()
    }

    /// Whether nothing follows but the refusal of further requests.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    fn attempt(&mut self) {
        match self.settings.proof {
            Proof::Key(_) => self.dial(None),
            Proof::Token => {
                self.phase = Phase::AskingToken;
                let reason = std::mem::replace(&mut self.token_reason, TokenReason::Reconnecting);
                self.outputs.push_back(Output::AskToken(reason));
            }
        }
    }

    fn dial(&mut self, token: Option<Secret<'static>>) {
        self.ending = Ending::default();
        self.reconnect_after = None;
        self.phase = Phase::Dialing(token);
        self.outputs.push_back(Output::Dial);
    }

    /// The socket is gone, whoever's doing it was.
    fn handle_end(&mut self, now: Now, cause: ConnectionError) {
        match &self.phase {
            Phase::Proving(_) | Phase::Live(_) => {}
            Phase::Leaving(_) => return self.finish(ConnectionError::Stopped),
            Phase::Idle | Phase::Waiting(_) | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => {
                return;
            }
        }
        let by_key = matches!(self.settings.proof, Proof::Key(_));
        let verdict = judge(&self.ending, by_key);
        let keeps_session = self.ending.keeps_session() || !matches!(self.phase, Phase::Live(_));
        let cause = self.refusal().unwrap_or(cause);
        let told = self.told();
        match verdict {
            Verdict::Stop => return self.finish(cause),
            Verdict::NewTokenOnce(_) if self.tried_new_token => return self.finish(cause),
            Verdict::NewTokenOnce(reason) => {
                self.tried_new_token = true;
                self.token_reason = reason;
            }
            Verdict::NewToken(reason) => self.token_reason = reason,
            Verdict::DropLargest => {
                if let Some(reply_to) = self.pending.take_largest() {
                    self.settle(reply_to, Err(RequestError::TooLarge));
                }
            }
            Verdict::Reconnect => {}
        }
        if !keeps_session {
            self.lose_session();
        }
        self.retry(now, cause, told);
    }

    /// The server's refusal says more than the close that followed it.
    fn refusal(&mut self) -> Option<ConnectionError> {
        if let Phase::Proving(proving) = &mut self.phase { proving.refusal.take() } else { None }
    }

    fn told(&self) -> Option<Duration> {
        self.ending.error.as_ref().and_then(|error| error.retry_after).or(self.reconnect_after)
    }

    /// Gives up what there is and waits for the next attempt.
    fn retry(&mut self, now: Now, cause: ConnectionError, told: Option<Duration>) {
        if let Phase::Live(live) = &self.phase {
            self.backoff.connection_lasted(now.instant.saturating_duration_since(live.since));
        }
        self.outputs.push_back(Output::HangUp);
        if let Some(session) = &mut self.session {
            session.detach(now.instant);
        }
        let wait = self.backoff.next_delay(told, self.rng.random());
        self.phase = Phase::Waiting(now.instant + wait);
        self.set_state(State::Reconnecting);
        self.tell(Event::Closed { cause, retry_in: Some(wait) });
    }

    /// Gives up for good.
    fn finish(&mut self, cause: ConnectionError) {
        self.outputs.push_back(Output::HangUp);
        self.session = None;
        for reply_to in self.pending.take_all() {
            self.settle(reply_to, Err(RequestError::Stopped));
        }
        self.phase = Phase::Finished;
        self.set_state(State::Disconnected);
        self.tell(Event::Closed { cause, retry_in: None });
    }

    /// A reply that was not understood is an outcome all the same; anything else may be a newer server's.
    fn handle_unknown(&mut self, now: Now, error: &DecodeError) {
        tracing::debug!(%error, "a frame of the server was not understood");
        self.count(now, |session, at| session.note_unknown(error.id.as_ref(), at));
        if let Some(reply_to) = error.id.as_ref().and_then(|id| self.pending.take(id)) {
            self.settle(reply_to, Err(RequestError::UnexpectedReply));
        }
    }

    /// Gives a reply to whoever waits for it; gives anything else back. A second reply to a request that was sent again
    /// is nobody's.
    fn settle_reply<'a>(&mut self, frame: ServerFrame<'a>) -> Option<ServerFrame<'a>> {
        let is_reply = if let ServerMessage::Error(error) = &frame.message {
            error.close.is_none()
        } else {
            is_reply(frame.message.kind())
        };
        let Some(id) = frame.id.as_ref().filter(|_| is_reply) else { return Some(frame) };
        if let Some(reply_to) = self.pending.take(id) {
            self.settle(reply_to, outcome(frame.message));
            return None;
        }
        (!self.pending.was_sent_again(id)).then_some(frame)
    }

    fn note_closing(&mut self, error: &aldis_protocol::ErrorReply<'_>, close: u16) {
        self.ending.error = Some(ClosingError {
            code: error.code,
            close,
            reconnect: error.reconnect,
            retry_after: error.retry_after.map(Duration::from_secs),
        });
    }

    fn phase_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Leaving(leaving) => Some(leaving.deadline()),
            _ if self.paused => None,
            Phase::Waiting(until) => Some(*until),
            Phase::Proving(proving) => Some(proving.deadline),
            Phase::Live(live) => Some(live.liveness.deadline()),
            Phase::Idle | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => None,
        }
    }

    fn session_deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        match &self.phase {
            Phase::Live(_) => session.confirm_by(),
            Phase::Idle
            | Phase::Waiting(_)
            | Phase::AskingToken
            | Phase::Dialing(_)
            | Phase::Proving(_)
            | Phase::Leaving(_)
            | Phase::Finished => session.hopeless_at(),
        }
    }

    /// Whether a sleep of the computer would make a difference.
    fn minds_sleep(&self) -> bool {
        !self.paused && matches!(self.phase, Phase::Live(_) | Phase::Waiting(_))
    }

    fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.outputs.push_back(Output::State(state));
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn settle(&mut self, reply_to: R, outcome: Result<Reply, RequestError>) {
        self.outputs.push_back(Output::Settle(reply_to, outcome));
    }

    fn fresh_id(&mut self) -> RequestId {
        RequestId::from_uuid(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid())
    }
}

fn is_reply(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::Ack
            | MessageKind::Pong
            | MessageKind::IceServers
            | MessageKind::History
            | MessageKind::Synced
    )
}

fn outcome(message: ServerMessage<'_>) -> Result<Reply, RequestError> {
    match message {
        ServerMessage::Ack(ack) => Ok(Reply::Ack(owned::ack(ack))),
        ServerMessage::Pong => Ok(Reply::Pong),
        ServerMessage::IceServers(servers) => Ok(Reply::IceServers(owned::ice_servers(servers))),
        ServerMessage::History(history) => Ok(Reply::History(owned::history(history))),
        ServerMessage::Synced(synced) => Ok(Reply::Synced(synced)),
        ServerMessage::Error(error) => Err(RequestError::Refused(crate::Refusal {
            code: error.code,
            message: error.message.into_owned(),
            retry_after: error.retry_after.map(Duration::from_secs),
        })),
        ServerMessage::AuthChallenge(_)
        | ServerMessage::AuthSuccess(_)
        | ServerMessage::AuthFailure(_)
        | ServerMessage::Connected(_)
        | ServerMessage::AuthRequired(_)
        | ServerMessage::Signal(_)
        | ServerMessage::RoomMembers(_)
        | ServerMessage::MemberJoined(_)
        | ServerMessage::MemberLeft(_)
        | ServerMessage::ChatMessage(_)
        | ServerMessage::Broadcast(_)
        | ServerMessage::RoomUpdate(_)
        | ServerMessage::Message(_)
        | ServerMessage::Receipt(_)
        | ServerMessage::Presence(_)
        | ServerMessage::Alert(_)
        | ServerMessage::ContactRequest(_)
        | ServerMessage::ServerDraining(_) => Err(RequestError::UnexpectedReply),
    }
}

#[cfg(test)]
mod tests;
