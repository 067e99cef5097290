//! A connection without IO: inputs, outputs and deadlines.
//!
//! Call a `handle_…` method for each input, carry out every output of [`poll_output`](Machine::poll_output), then wait for
//! [`next_timeout`](Machine::next_timeout) or the next input. Time comes with each input, randomness with the seed.
//!
//! A session outlives its socket ([`Resumable`]): the next proof names its token, and `connected` says whether it was
//! resumed. Until then [`Pending`] keeps every request; in a fresh session, only durable ones.

mod background;
mod deadlines;
mod disconnect;
mod leaving;
mod live;
mod liveness;
mod mailbox;
mod proving;
mod replies;
mod rooms;
mod sequenced_stream;
mod session;
mod sleep;
mod told_notices;
mod watching;

use std::{collections::VecDeque, time::Duration};

use aldis_auth::SigningRequest;
use aldis_protocol::{Codec, DeviceId, MessageKind, RequestId, Secret, Target, UserId};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub use self::replies::Reply;
use self::{
    background::BackgroundRequests,
    disconnect::{ClosingError, Decision, Disconnect, decide_reconnect},
    leaving::Leaving,
    live::Live,
    mailbox::Mailbox,
    proving::Proving,
    rooms::Rooms,
    session::Resumable,
    sleep::SleepWatch,
    told_notices::ToldNotices,
    watching::Watching,
};
use crate::{
    BoxError, ConnectionError, DialError, Event, IncomingMessage, Instant, Now, OutgoingRequest, Proof,
    RequestError, Session, State, TokenError, TokenReason,
    backoff::Backoff,
    calls::CallBook,
    pending::{Origin, Pending, Request},
    purpose::Purpose,
};

/// What the shell has to do. `R` is how the shell delivers the reply of a request, such as a channel or a promise.
///
/// It is exhaustive on purpose, because a shell has to carry out every one.
#[derive(Debug)]
pub enum Output<R> {
    /// Ask the application for an access token; [`Machine::handle_token`] takes the answer.
    AskToken(TokenReason),
    /// Have the key sign; [`Machine::handle_signature`] takes the signature.
    Sign(SigningRequest),
    /// Open a WebSocket; [`Machine::handle_dialed`] or [`Machine::handle_dial_failed`] takes the outcome.
    Dial,
    /// Send a frame, in text for JSON.
    Send(Bytes),
    /// Send a WebSocket ping. Only where [`Settings::pings`] says so.
    Ping,
    /// Begin the close handshake with code 1000.
    Close,
    /// Drop the socket and any dial, token request or signature in progress. Do not report their outcomes any more.
    HangUp,
    /// The state has changed.
    State(State),
    /// A session has begun or was resumed.
    Session(Session),
    /// Something happened that concerns the application.
    Event(Event),
    /// Hand a message of the mailbox to the application; [`Machine::handle_stored`] takes the outcome.
    Store(IncomingMessage),
    /// The application has all messages of its mailbox up to this number.
    Cursor(u64),
    /// The outcome of a request.
    Settle(R, Result<Reply, RequestError>),
}

/// How a machine connects, and as whom.
#[derive(Debug)]
pub struct Settings {
    /// How frames are encoded.
    pub codec: Codec,
    /// The audience that a challenge must name: [`Endpoint::audience`](crate::Endpoint::audience) of the dialled URL.
    pub audience: String,
    /// How the client asks whether the server is still there.
    pub pings: Pings,
    /// The credentials of the client.
    pub proof: Proof,
    /// The device to connect as; an ephemeral one if `None`.
    pub device_id: Option<DeviceId>,
    /// How long the handshake may take, from the open socket to `connected`.
    pub handshake_timeout: Duration,
    /// The ceiling of the waits between attempts.
    pub longest_wait: Duration,
    /// The number of the last mailbox message that the application has stored, if it keeps a mailbox.
    pub mailbox: Option<u64>,
    /// The seed of ids and jitter: 32 bytes of a cryptographic random source.
    pub seed: [u8; 32],
}

/// How a client asks whether the server is still there.
///
/// It is exhaustive on purpose: a shell knows which one its sockets can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pings {
    /// By WebSocket pings ([`Output::Ping`]); the shell sees those of the server too.
    Frames,
    /// By `ping` messages, since the shell's sockets show no pings, as in a browser. The server's heartbeat cannot be seen
    /// either, so only a missing reply counts as silence.
    Messages,
}

/// A connection that reconnects by itself.
#[derive(Debug)]
pub struct Machine<R> {
    settings: Settings,
    rng: StdRng,
    state: State,
    phase: Phase,
    backoff: Backoff,
    /// Why the next token is asked for.
    token_reason: TokenReason,
    /// The last attempt was made with a new token because the one before was refused.
    tried_new_token: bool,
    disconnect: Disconnect,
    /// When to reconnect, after `server_draining`.
    reconnect_after: Option<Duration>,
    /// The session, while it is live or can be resumed.
    session: Option<Resumable>,
    /// The user and device of this session, or of the last.
    me: Option<Me>,
    pending: Pending<R>,
    background: BackgroundRequests,
    rooms: Rooms,
    watching: Watching,
    mailbox: Option<Mailbox>,
    calls: CallBook,
    told_notices: ToldNotices,
    refused_signals: u64,
    sleep_watch: SleepWatch,
    /// There is no network: an attempt waits for one.
    is_offline: bool,
    outputs: VecDeque<Output<R>>,
}

/// The user and device that the server named.
#[derive(Debug)]
struct Me {
    user_id: UserId,
    device_id: DeviceId,
}

/// One type per state, with only what that state needs.
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
    /// A machine that waits for [`start`](Self::start).
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            rng: StdRng::from_seed(settings.seed),
            backoff: Backoff::new(settings.longest_wait),
            mailbox: settings.mailbox.map(Mailbox::new),
            settings,
            state: State::Disconnected,
            phase: Phase::Idle,
            token_reason: TokenReason::First,
            tried_new_token: false,
            disconnect: Disconnect::default(),
            reconnect_after: None,
            session: None,
            me: None,
            pending: Pending::new(),
            background: BackgroundRequests::new(),
            rooms: Rooms::default(),
            watching: Watching::default(),
            calls: CallBook::default(),
            told_notices: ToldNotices::default(),
            refused_signals: 0,
            sleep_watch: SleepWatch::default(),
            is_offline: false,
            outputs: VecDeque::new(),
        }
    }

    /// Makes the first attempt.
    pub fn start(&mut self, now: Now) {
        if matches!(self.phase, Phase::Idle) {
            self.sleep_watch.look(now);
            self.set_state(State::Connecting);
            self.attempt();
        }
    }

    /// The token provider has answered.
    pub fn handle_token(&mut self, now: Now, token: Result<Secret<'static>, TokenError>) {
        match (&self.phase, token) {
            (Phase::AskingToken, Ok(token)) => self.dial(Some(token)),
            (Phase::AskingToken, Err(failed)) if failed.is_final => {
                self.finish(ConnectionError::Token(failed.error));
            }
            (Phase::AskingToken, Err(failed)) => self.retry(now, ConnectionError::Token(failed.error), None),
            (Phase::Live(_), token) => self.handle_next_token(token.map_err(|failed| failed.error)),
            _ => {}
        }
    }

    /// The key has signed, or could not.
    pub fn handle_signature(&mut self, now: Now, signature: Result<[u8; 64], BoxError>) {
        match signature {
            Ok(signature) => self.answer_challenge(signature),
            Err(error) if matches!(self.phase, Phase::Proving(_)) => {
                self.retry(now, ConnectionError::Signature(error), None);
            }
            Err(_) => {}
        }
    }

    /// The WebSocket is open.
    pub fn handle_dialed(&mut self, now: Now) {
        if let Phase::Dialing(token) = &mut self.phase {
            let token = token.take();
            self.prove(now, token);
        }
    }

    /// The dial failed.
    pub fn handle_dial_failed(&mut self, now: Now, error: DialError) {
        if !matches!(self.phase, Phase::Dialing(_)) {
            return;
        }
        let retry_after = error.retry_after();
        if error.is_retryable() {
            self.retry(now, error.into(), retry_after);
        } else {
            self.finish(error.into());
        }
    }

    /// A frame arrived.
    pub fn handle_frame(&mut self, now: Now, bytes: &Bytes) {
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
        self.drive(now);
    }

    /// A WebSocket pong arrived.
    pub fn handle_pong(&mut self, now: Now) {
        self.handle_heard(now);
        if let Phase::Live(live) = &mut self.phase {
            live.liveness.pong();
        }
    }

    /// Anything arrived, such as a WebSocket ping.
    pub fn handle_heard(&mut self, now: Now) {
        if let Phase::Live(live) = &mut self.phase {
            live.liveness.heard(now.instant);
        }
    }

    /// The server closed the connection.
    pub fn handle_closed(&mut self, now: Now, code: u16, reason: String) {
        let cause = ConnectionError::Closed {
            code,
            reason: reason.clone(),
            error: self.disconnect.error.as_ref().map(|error| error.code),
        };
        self.disconnect.close = Some((code, reason));
        self.handle_end(now, cause);
    }

    /// The socket broke without a close frame.
    pub fn handle_broken(&mut self, now: Now, error: String) {
        self.handle_end(now, ConnectionError::Broken(error));
    }

    /// The application makes a request and waits this long for its reply. While a session can be resumed, the request
    /// waits for the resume. Without a session only durable requests wait.
    pub fn handle_request(&mut self, now: Now, request: OutgoingRequest, timeout: Duration, reply_to: R) {
        let deadline = now.instant + timeout;
        let request = request.asked_by(|purpose| Origin::Application { purpose, deadline, reply_to });
        if request.kind == MessageKind::Sync && self.mailbox.is_some() {
            return self.refuse(request, RequestError::Reserved);
        }
        self.take_request(now, request);
    }

    fn take_request(&mut self, now: Now, request: Request<R>) {
        if matches!(self.phase, Phase::Leaving(_) | Phase::Finished) {
            return self.refuse(request, RequestError::Stopped);
        }
        let Some(purpose) = request.purpose().cloned() else { return };
        if let Purpose::Leave(room) = &purpose
            && self.is_out_of(room)
        {
            return self.leave_at_once(room, request);
        }
        let admitted = self.pending.admit(&request, self.session.is_some());
        if let Err(error) = admitted.and_then(|()| self.admit(&purpose)) {
            return self.refuse(request, error);
        }
        self.note_asked(&purpose);
        self.pending.insert(request);
        self.drive(now);
    }

    /// The application has ended a call.
    pub fn handle_end_call(&mut self, peer: &Target) {
        self.calls.end(peer);
    }

    /// The application stops the client.
    pub fn handle_stop(&mut self, now: Now) {
        match &self.phase {
            Phase::Live(_) => self.say_goodbye(now),
            Phase::Proving(_) => self.close(now),
            Phase::Leaving(_) | Phase::Finished => {}
            Phase::Idle | Phase::Waiting(_) | Phase::AskingToken | Phase::Dialing(_) => {
                self.finish(ConnectionError::Stopped);
            }
        }
    }

    /// The network has changed, for example because a phone left its Wi-Fi, so the socket may be dead without a sign.
    /// Drops it, or ends the wait for the next attempt, and dials at once. The session is resumed.
    pub fn handle_network_change(&mut self, now: Now) {
        match &self.phase {
            Phase::Proving(_) | Phase::Live(_) => {
                self.break_off(now);
                self.set_state(State::Reconnecting);
                let cause = ConnectionError::NetworkChanged;
                self.tell(Event::Closed { cause, retry_in: Some(Duration::ZERO) });
                self.attempt();
            }
            Phase::Dialing(_) => {
                self.outputs.push_back(Output::HangUp);
                self.outputs.push_back(Output::Dial);
            }
            Phase::Waiting(_) => self.attempt(),
            Phase::Idle | Phase::AskingToken | Phase::Leaving(_) | Phase::Finished => {}
        }
    }

    /// The application may have been suspended, as a page that was hidden: a connection is checked with a ping whose reply
    /// has 5 s, and a wait for the next attempt ends.
    pub fn handle_wake(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Live(live) => {
                live.liveness.doubt(now.instant);
                self.ping();
            }
            Phase::Waiting(_) => self.attempt(),
            Phase::Idle
            | Phase::AskingToken
            | Phase::Dialing(_)
            | Phase::Proving(_)
            | Phase::Leaving(_)
            | Phase::Finished => {}
        }
    }

    /// The application connects as somebody else from now on: as a registered device, where it was an ephemeral one. A session
    /// ends with its connection, and a fresh one has the same rooms, presence and mailbox.
    pub fn handle_credentials(&mut self, now: Now, proof: Proof, device_id: Option<DeviceId>) {
        (self.settings.proof, self.settings.device_id) = (proof, device_id);
        match &self.phase {
            Phase::Leaving(_) | Phase::Finished | Phase::Idle => return,
            Phase::Proving(_) | Phase::Live(_) => self.outputs.push_back(Output::Close),
            Phase::Waiting(_) | Phase::AskingToken | Phase::Dialing(_) => {}
        }
        self.lose_session();
        self.break_off(now);
        self.set_state(State::Reconnecting);
        let cause = ConnectionError::CredentialsChanged;
        self.tell(Event::Closed { cause, retry_in: Some(Duration::ZERO) });
        self.attempt();
    }

    /// The system says whether there is a network. Without one, attempts wait. Either way a connection is checked, since
    /// the system may be wrong.
    pub fn handle_online(&mut self, now: Now, is_online: bool) {
        self.is_offline = !is_online;
        self.handle_wake(now);
    }

    /// The application begins to keep the mailbox, of which it has everything up to this number. Where it keeps it already,
    /// nothing changes.
    pub fn handle_mailbox(&mut self, now: Now, cursor: u64) {
        if self.mailbox.is_none() {
            let mut mailbox = Mailbox::new(cursor);
            mailbox.restart();
            self.mailbox = Some(mailbox);
            self.drive(now);
        }
    }

    /// The deadline of [`next_timeout`](Self::next_timeout) has come.
    pub fn handle_timeout(&mut self, now: Now) {
        for request in self.pending.take_overdue(now.instant) {
            self.fail(request, RequestError::TimedOut);
        }
        self.confirm(now);
        self.expire_session(now);
        if self.minds_sleep() {
            self.notice_sleep(now);
        }
        self.check_mailbox_gap(now);
        if matches!(self.phase, Phase::Live(_)) {
            self.check_room_gaps(now);
        }
        self.drive(now);
        if self.phase_deadline().is_some_and(|deadline| deadline <= now.instant) {
            self.handle_phase_timeout(now);
        }
    }

    fn handle_phase_timeout(&mut self, now: Now) {
        match &self.phase {
            Phase::Waiting(_) => self.attempt(),
            Phase::Proving(_) => self.retry(now, ConnectionError::HandshakeTimedOut, None),
            Phase::Live(_) => self.keep_alive(now),
            Phase::Leaving(_) => self.leave_impatiently(now),
            Phase::Idle | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => {}
        }
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<Output<R>> {
        self.outputs.pop_front()
    }

    /// Whether the machine has finished: it only refuses further requests.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    fn attempt(&mut self) {
        if self.is_offline {
            self.phase = Phase::Waiting(Instant::default());
            return;
        }
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
        self.disconnect = Disconnect::default();
        self.reconnect_after = None;
        self.phase = Phase::Dialing(token);
        self.outputs.push_back(Output::Dial);
    }

    /// The socket is gone.
    fn handle_end(&mut self, now: Now, cause: ConnectionError) {
        match &self.phase {
            Phase::Proving(_) | Phase::Live(_) => {}
            Phase::Leaving(_) => return self.finish(ConnectionError::Stopped),
            Phase::Idle | Phase::Waiting(_) | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => {
                return;
            }
        }
        let by_key = matches!(self.settings.proof, Proof::Key(_));
        let decision = decide_reconnect(&self.disconnect, by_key);
        let keeps_session = self.disconnect.keeps_session() || !matches!(self.phase, Phase::Live(_));
        let cause = self.refusal().unwrap_or(cause);
        let retry_after = self.retry_after();
        match decision {
            Decision::Stop => return self.finish(cause),
            Decision::NewTokenOnce(_) if self.tried_new_token => return self.finish(cause),
            Decision::NewTokenOnce(reason) => {
                self.tried_new_token = true;
                self.token_reason = reason;
            }
            Decision::NewToken(reason) => self.token_reason = reason,
            Decision::DropLargest => {
                if let Some(request) = self.pending.take_largest() {
                    self.fail(request, RequestError::TooLarge);
                }
            }
            Decision::Reconnect => {}
        }
        if !keeps_session {
            self.lose_session();
        }
        self.retry(now, cause, retry_after);
    }

    /// The server's refusal, which says more than the close that followed it.
    fn refusal(&mut self) -> Option<ConnectionError> {
        if let Phase::Proving(proving) = &mut self.phase { proving.refusal.take() } else { None }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.disconnect.error.as_ref().and_then(|error| error.retry_after).or(self.reconnect_after)
    }

    /// Drops the socket and waits for the next attempt.
    fn retry(&mut self, now: Now, cause: ConnectionError, retry_after: Option<Duration>) {
        self.break_off(now);
        let wait = self.backoff.next_delay(retry_after, self.rng.random());
        self.phase = Phase::Waiting(now.instant + wait);
        self.set_state(State::Reconnecting);
        self.tell(Event::Closed { cause, retry_in: Some(wait) });
    }

    /// Drops the socket; the session waits to be resumed.
    fn break_off(&mut self, now: Now) {
        if let Phase::Live(live) = &self.phase {
            self.backoff.connection_lasted(now.instant.saturating_duration_since(live.since));
        }
        self.outputs.push_back(Output::HangUp);
        if let Some(session) = &mut self.session {
            session.detach(now.instant);
        }
    }

    /// Stops for good.
    fn finish(&mut self, cause: ConnectionError) {
        self.outputs.push_back(Output::HangUp);
        self.session = None;
        for request in self.pending.take_all() {
            self.fail(request, RequestError::Stopped);
        }
        self.phase = Phase::Finished;
        self.set_state(State::Disconnected);
        self.tell(Event::Closed { cause, retry_in: None });
    }

    fn note_closing(&mut self, error: &aldis_protocol::ErrorReply<'_>, close: u16) {
        self.disconnect.error = Some(ClosingError {
            code: error.code,
            close,
            reconnect: error.reconnect,
            retry_after: error.retry_after.map(Duration::from_secs),
        });
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

#[cfg(test)]
mod tests;
