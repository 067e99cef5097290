//! A session after `connected`: takes frames, returns replies and requests for the relay. After each change, ask
//! [`next_deadline`](Live::next_deadline).

use std::{sync::Arc, time::Duration};

use aldis_auth::Claims;
use aldis_protocol::{
    AuthFailure, AuthRequired, AuthSuccess, Broadcast, ChatMessage, ClientFrame, ClientMessage, CloseCode,
    Codec, DecodeError, Door, ErrorCode, ErrorReply, HistoryRequest, Join, Leave, RequestId, RoomId,
    ServerFrame, ServerMessage, Timestamp, limits::MAX_ERRORS_IN_A_ROW,
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    deadlines::{Deadline, Deadlines},
    liveness,
    outbox::{BeyondSent, Outbox},
    pace::{self, Pace, Unanswerable, Verdict},
    reauthentication,
    replies::{self, Lookup, Replies, RequestDigest},
};
use crate::{
    clock::{Now, milliseconds},
    link::{Claim, Closing, Frame, HandOver, Held, ResumeToken, ResumeTokens, SessionHandle, TokenLife},
    metrics::Metrics,
    rate::Limit,
    refusal::Refusal,
    relay::{NO_ROOM, is_stored},
};

/// When a client that sent only malformed messages may come back, in seconds.
const REST_AFTER_ERRORS: u64 = 5;
/// How long before the TURN credentials expire new ones are sent.
const ICE_SERVERS_BEFORE_MS: u64 = 5 * 60 * 1000;
/// The shortest interval, even if the wall clock jumps.
const SHORTEST_ICE_INTERVAL_MS: u64 = 60 * 1000;

/// The state of a live session.
pub(super) struct Live {
    session: Arc<SessionHandle>,
    door: Door,
    room: Option<RoomId>,
    token: Option<TokenLife>,
    replies: Replies,
    outbox: Outbox,
    /// The count of frames sent when the last socket broke; `None` while there is a socket.
    sent_at_break: Option<u64>,
    tokens: ResumeTokens,
    resume_window_ms: u64,
    deadlines: Deadlines,
    errors_in_a_row: u32,
    pace: Pace,
    metrics: Arc<Metrics>,
}

/// How a session's client came in. To resume, it has to come in the same way.
pub(super) struct Arrived {
    pub(super) door: Door,
    pub(super) codec: Codec,
    pub(super) room: Option<RoomId>,
    pub(super) resume_window: Duration,
    pub(super) device_claim: DeviceClaim,
}

/// The outcome of a frame.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Nothing.
    Nothing,
    /// Send this reply.
    Reply(Frame),
    /// Send this reply, then close.
    ReplyAndClose(Frame, Closing),
    /// Close.
    Close(Closing),
    /// Have the relay carry out this request.
    Ask(PendingRequest, ClientMessage<'a>),
    /// Check this token.
    CheckToken(PendingRequest, String),
}

/// A request without its reply.
#[derive(Debug)]
#[must_use = "every request gets exactly one reply"]
pub(super) struct PendingRequest {
    id: Option<RequestId>,
    digest: Option<RequestDigest>,
    subscribes: bool,
    is_stored: bool,
    is_streamed: bool,
}

/// The outcome of a deadline.
#[derive(Debug)]
pub(super) enum Due {
    /// Send a ping.
    Ping,
    /// Send this message.
    Say(ServerMessage<'static>),
    /// Send new TURN credentials.
    IceServers,
    /// Check whether the socket takes anything.
    Write,
    /// Read from the client again.
    Read,
    /// Close.
    Close(Closing),
    /// End a session whose client did not come back.
    GiveUp,
}

impl PendingRequest {
    /// The request's id.
    pub(super) const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// A request without an id.
    #[cfg(test)]
    pub(super) const fn nameless(subscribes: bool, is_stored: bool, is_streamed: bool) -> Self {
        Self { id: None, digest: None, subscribes, is_stored, is_streamed }
    }

    /// Whether it is a subscription to presence.
    pub(super) const fn subscribes(&self) -> bool {
        self.subscribes
    }

    /// Whether it is [answered when the store has committed it](is_stored).
    pub(super) const fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Whether its reply is streamed in parts.
    pub(super) const fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Whether this is a repetition of another request, of a kind that is carried out once.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest.is_some() && other.digest.is_some() && self.id == other.id
    }
}

impl Live {
    /// A session that was just greeted.
    pub(super) fn new(
        session: Arc<SessionHandle>,
        arrived: Arrived,
        proof: Option<TokenLife>,
        token: &ResumeToken,
        pace: Pace,
        metrics: Arc<Metrics>,
        now: Now,
    ) -> Self {
        let Arrived { door, room, resume_window, .. } = arrived;
        let mut live = Self {
            session,
            door,
            room,
            token: None,
            replies: Replies::default(),
            outbox: Outbox::default(),
            sent_at_break: None,
            tokens: ResumeTokens::new(token),
            resume_window_ms: milliseconds(resume_window),
            deadlines: Deadlines::new(),
            errors_in_a_row: 0,
            pace,
            metrics,
        };
        live.begin_socket(proof, now);
        live
    }

    /// The session's handle.
    pub(super) const fn session(&self) -> &Arc<SessionHandle> {
        &self.session
    }

    /// Whether a client may resume this session.
    pub(super) fn accepts(&self, offer: &HandOver) -> bool {
        let SessionHandle { user, device, codec, .. } = &*self.session;
        let same_door = offer.door == self.door && offer.codec == *codec && offer.room == self.room;
        let same_device = offer.identity.device == *device
            || (offer.identity.device.is_ephemeral() && device.is_ephemeral());
        same_door
            && same_device
            && offer.identity.user == *user
            && self.tokens.accept(&offer.claim.token)
            && self.outbox.missed_after(offer.claim.received).is_some()
    }

    /// Resumes with a client that [was accepted](Self::accepts), and returns the frames that it missed.
    pub(super) fn resume(
        &mut self,
        claim: Claim,
        next: &ResumeToken,
        token: Option<TokenLife>,
        now: Now,
    ) -> Vec<Bytes> {
        let missed = self.outbox.missed_after(claim.received).map(|frames| frames.cloned().collect());
        self.tokens.renew(&claim.token, next);
        self.errors_in_a_row = 0;
        self.begin_socket(token, now);
        missed.unwrap_or_default()
    }

    /// The socket is gone; the client may come back within the resume window.
    pub(super) fn detach(&mut self, now: Now) {
        self.sent_at_break = Some(self.outbox.sent());
        // New TURN credentials are kept for the client like other messages.
        self.deadlines.clear_others(Deadline::IceServers);
        self.deadlines.set(Deadline::Resume, now.tick + self.resume_window_ms);
    }

    /// Notes a sent frame. Returns false if the replay buffer overflowed while the client is away; such a session is
    /// lost, because no socket can get the frame any more.
    pub(super) fn count(&mut self, frame: &Frame) -> bool {
        if frame.counted {
            self.outbox.send(frame);
        }
        self.sent_at_break.is_none_or(|sent| !self.outbox.has_dropped_after(sent))
    }

    /// How much is kept until the client confirms it.
    pub(super) fn held(&self) -> Held {
        self.outbox.held()
    }

    /// How long the session waits for its client.
    pub(super) const fn resume_window_ms(&self) -> u64 {
        self.resume_window_ms
    }

    /// The door by which it came.
    pub(super) const fn door(&self) -> Door {
        self.door
    }

    /// Takes a frame.
    pub(super) fn receive<'a>(&mut self, frame: &'a Bytes, now: Now) -> Step<'a> {
        self.tokens.confirm();
        let decoded = self.session.codec.decode_client(frame);
        if let Some(step) = self.hold_back(&decoded, now) {
            return step;
        }
        match decoded {
            Ok(frame) => self.take_decoded(frame, now),
            Err(error) => self.malformed(error.id, ErrorReply::new(error.code, error.message), now),
        }
    }

    /// Takes a frame that it has [received](Self::receive) before and that was deferred. It does not count again.
    pub(super) fn receive_again<'a>(&mut self, frame: &'a Bytes, now: Now) -> Step<'a> {
        match self.session.codec.decode_client(frame) {
            Ok(mut frame) => {
                if let Some(room) = room_of(&mut frame.message) {
                    *room = room.take().or_else(|| self.room.clone());
                }
                self.take(frame, now)
            }
            Err(_) => Step::Nothing,
        }
    }

    /// Counts frames that have no reply.
    pub(super) fn pass_by(&mut self, frames: u32, now: Now) -> Result<(), Closing> {
        let verdict = self.pace.pass_by(frames, now.tick);
        self.hold_up(verdict)
    }

    /// Whether reading from the client is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.deadlines.is_set(Deadline::Read)
    }

    /// Whether a deadline has come that a frame from the client would put off.
    pub(super) fn client_is_late(&self, tick: u64) -> bool {
        self.deadlines.client_is_late(tick)
    }

    /// Encodes the reply to a request. An `ack` is kept for repetitions.
    pub(super) fn answer(&mut self, request: PendingRequest, message: ServerMessage<'_>, now: Now) -> Frame {
        if let ServerMessage::IceServers(servers) = &message {
            self.schedule_ice_servers(servers.expires_at, now);
        }
        let is_ack = matches!(message, ServerMessage::Ack(_));
        let reply = self.encode(request.id.clone(), message, now);
        if let (true, Some(id), Some(digest)) = (is_ack, request.id, request.digest) {
            self.replies.keep(id, digest, reply.bytes.clone());
        }
        reply
    }

    /// Takes the outcome of a token check.
    pub(super) fn reauthenticate(
        &mut self,
        request: PendingRequest,
        checked: Result<Claims, Refusal>,
        now: Now,
    ) -> Result<Frame, Closing> {
        let message = match checked {
            Ok(claims) if claims.sub != self.session.user => {
                return Err(reauthentication::other_user(self.door));
            }
            Ok(claims) if claims.did.as_ref().is_some_and(|device| *device != self.session.device) => {
                refused(&Refusal::new(ErrorCode::InvalidToken, "the token is for another device"))
            }
            Ok(claims) => self.renew(&claims, now),
            Err(refusal) => refused(&refusal),
        };
        Ok(self.encode(request.id, message, now))
    }

    /// A pong came.
    pub(super) fn pong(&mut self) {
        liveness::ponged(&mut self.deadlines);
    }

    /// Puts off the pong deadline, while no pong can be seen.
    pub(super) fn postpone_pong(&mut self, now: Now) {
        liveness::postpone_pong(&mut self.deadlines, now);
    }

    /// The socket took nothing; it has until this tick.
    pub(super) fn await_write(&mut self, until: u64) {
        if !self.deadlines.is_set(Deadline::Write) {
            self.deadlines.set(Deadline::Write, until);
        }
    }

    /// Everything that waited is written.
    pub(super) fn wrote(&mut self) {
        self.deadlines.clear(Deadline::Write);
    }

    /// Takes a deadline that has come.
    pub(super) fn take_due(&mut self, now: Now) -> Option<Due> {
        self.deadlines.put_off_late(now.tick);
        Some(match self.deadlines.take_due(now.tick)? {
            Deadline::Ping => {
                liveness::pinged(&mut self.deadlines, now);
                Due::Ping
            }
            Deadline::Pong => Due::Close(liveness::missed()),
            Deadline::AskForToken => self.ask_for_token(now)?,
            Deadline::NewToken => Due::Close(reauthentication::timed_out(self.door)),
            Deadline::IceServers => Due::IceServers,
            Deadline::Write => Due::Write,
            Deadline::Resume => Due::GiveUp,
            Deadline::Read => Due::Read,
        })
    }

    /// New TURN credentials were sent; the next ones follow before they expire.
    pub(super) fn schedule_ice_servers(&mut self, expires_at: Option<Timestamp>, now: Now) {
        if let Some(expires_ms) = expires_at.and_then(|time| u64::try_from(time.as_ms()).ok()) {
            let tick = now.tick_at(expires_ms.saturating_sub(ICE_SERVERS_BEFORE_MS));
            self.deadlines.set(Deadline::IceServers, tick.max(now.tick + SHORTEST_ICE_INTERVAL_MS));
        }
    }

    /// The next tick at which [`take_due`](Self::take_due) returns something.
    pub(super) fn next_deadline(&self) -> u64 {
        self.deadlines.next()
    }

    /// The refusal of a frame over the rate limit.
    fn hold_back(
        &mut self,
        decoded: &Result<ClientFrame<'_>, DecodeError>,
        now: Now,
    ) -> Option<Step<'static>> {
        let (kind, id) = match decoded {
            Ok(frame) => (Some(frame.message.kind()), &frame.id),
            Err(error) => (error.kind, &error.id),
        };
        match self.pace.take(kind, now.tick) {
            Verdict::Pass => None,
            Verdict::Refuse(wait) => Some(Step::Reply(self.too_fast(id.clone(), wait.seconds(), now))),
            Verdict::Close(closing) => {
                Some(Step::ReplyAndClose(self.too_fast(id.clone(), pace::REST, now), closing))
            }
        }
    }

    fn take_decoded<'a>(&mut self, mut frame: ClientFrame<'a>, now: Now) -> Step<'a> {
        if let Some(room) = room_of(&mut frame.message) {
            // The chat door allows to leave it out.
            *room = room.take().or_else(|| self.room.clone());
            if room.is_none() {
                let error = ErrorReply::new(ErrorCode::BadRequest, NO_ROOM);
                return self.malformed(frame.id, error, now);
            }
        }
        self.metrics.received(frame.message.kind());
        self.errors_in_a_row = 0;
        self.take(frame, now)
    }

    fn take<'a>(&mut self, frame: ClientFrame<'a>, now: Now) -> Step<'a> {
        let ClientFrame { id, message } = frame;
        let digest = id.as_ref().and_then(|_| replies::digest(&message));
        if let (Some(id), Some(digest)) = (&id, &digest) {
            match self.replies.find(id, digest) {
                Lookup::New => {}
                Lookup::Answered(ack) => return Step::Reply(Frame::new(ack, true)),
                Lookup::Conflict => {
                    return Step::Reply(self.error(Some(id.clone()), ErrorCode::Conflict, ID_TAKEN, now));
                }
            }
        }
        let subscribes = matches!(message, ClientMessage::PresenceSubscribe(_));
        let request = PendingRequest {
            id,
            digest,
            subscribes,
            is_stored: is_stored(&message),
            is_streamed: matches!(message, ClientMessage::Sync(_) | ClientMessage::History(_)),
        };
        if let ClientMessage::Auth(auth) = message {
            let token = auth.token.map(|token| token.expose().to_owned()).unwrap_or_default();
            return Step::CheckToken(request, token);
        }
        if let ClientMessage::AuthResponse(_) = message {
            let message = "the challenge was answered before; a live session takes auth";
            return Step::Reply(self.error(request.id, ErrorCode::BadRequest, message, now));
        }
        if let ClientMessage::Received(received) = message {
            return self.confirm(request.id, received.count, now);
        }
        Step::Ask(request, message)
    }

    fn confirm(&mut self, id: Option<RequestId>, count: u64, now: Now) -> Step<'static> {
        let confirmed = self.outbox.confirm(count);
        let verdict = self.pace.confirmed(confirmed.unwrap_or_default(), now.tick);
        match (self.hold_up(verdict), confirmed) {
            (Err(closing), _) => Step::Close(closing),
            (Ok(()), Ok(_)) => Step::Nothing,
            (Ok(()), Err(BeyondSent)) => {
                let message = "`count` is more than was sent";
                Step::Reply(self.error(id, ErrorCode::BadRequest, message, now))
            }
        }
    }

    /// What to do with a client that sends too many frames without a reply.
    fn hold_up(&mut self, verdict: Unanswerable) -> Result<(), Closing> {
        match verdict {
            Unanswerable::Pass => Ok(()),
            Unanswerable::Pause(until) => {
                self.deadlines.set(Deadline::Read, until);
                Ok(())
            }
            Unanswerable::Close(closing) => {
                self.metrics.limited(Limit::Messages);
                Err(closing)
            }
        }
    }

    fn malformed(&mut self, id: Option<RequestId>, error: ErrorReply<'static>, now: Now) -> Step<'static> {
        // A message that is too large is well-formed.
        self.errors_in_a_row = if error.code == ErrorCode::TooLarge { 0 } else { self.errors_in_a_row + 1 };
        self.metrics.malformed.add();
        let reply = self.encode(id, ServerMessage::Error(error), now);
        if self.errors_in_a_row < MAX_ERRORS_IN_A_ROW {
            return Step::Reply(reply);
        }
        let closing = Closing::new(CloseCode::TooManyErrors, "", "ten messages in a row were malformed");
        Step::ReplyAndClose(reply, closing.retry_after(REST_AFTER_ERRORS))
    }

    fn renew(&mut self, claims: &Claims, now: Now) -> ServerMessage<'static> {
        // A session proved by a key has no expiry, and a token does not give it one.
        if self.token.is_some() {
            let token = TokenLife::of(claims);
            self.token = Some(token);
            reauthentication::schedule(&mut self.deadlines, token, now);
        }
        ServerMessage::AuthSuccess(AuthSuccess {
            user_id: self.session.user,
            device_id: self.session.device.clone(),
            expires_at: self.token.map(expiry),
        })
    }

    fn ask_for_token(&mut self, now: Now) -> Option<Due> {
        let token = self.token?;
        reauthentication::asked(&mut self.deadlines, token, now);
        let reason = AuthRequired::REASON.into();
        Some(Due::Say(ServerMessage::AuthRequired(AuthRequired { reason, expires_at: expiry(token) })))
    }

    /// Sets up the deadlines for a new socket.
    fn begin_socket(&mut self, token: Option<TokenLife>, now: Now) {
        self.token = token;
        self.sent_at_break = None;
        self.deadlines.clear_others(Deadline::IceServers);
        liveness::schedule(&mut self.deadlines, now);
        if let Some(token) = token {
            reauthentication::schedule(&mut self.deadlines, token, now);
        }
    }

    fn too_fast(&self, id: Option<RequestId>, retry_after: u64, now: Now) -> Frame {
        self.metrics.limited(Limit::Messages);
        let message = "too many messages; send fewer in a second";
        let error =
            ErrorReply { retry_after: Some(retry_after), ..ErrorReply::new(ErrorCode::RateLimited, message) };
        self.encode(id, ServerMessage::Error(error), now)
    }

    fn error(&self, id: Option<RequestId>, code: ErrorCode, message: &'static str, now: Now) -> Frame {
        self.encode(id, ServerMessage::Error(ErrorReply::new(code, message)), now)
    }

    fn encode(&self, id: Option<RequestId>, message: ServerMessage<'_>, now: Now) -> Frame {
        if let Some(code) = refusal_code(&message) {
            self.metrics.refused(code);
        }
        let counted = message.is_counted();
        let frame = ServerFrame { id, timestamp: now.timestamp(), message };
        Frame::new(self.session.codec.encode_server(&frame), counted)
    }
}

/// The code of a message that refuses something.
pub(super) fn refusal_code(message: &ServerMessage<'_>) -> Option<ErrorCode> {
    if let ServerMessage::Error(error) = message {
        Some(error.code)
    } else if let ServerMessage::AuthFailure(failure) = message {
        Some(failure.code)
    } else {
        None
    }
}

/// The room of a message, if it has one.
fn room_of<'m>(message: &'m mut ClientMessage<'_>) -> Option<&'m mut Option<RoomId>> {
    if let ClientMessage::Join(Join { room })
    | ClientMessage::Leave(Leave { room })
    | ClientMessage::ChatMessage(ChatMessage { room, .. })
    | ClientMessage::Broadcast(Broadcast { room, .. })
    | ClientMessage::History(HistoryRequest { room, .. }) = message
    {
        Some(room)
    } else {
        None
    }
}

const ID_TAKEN: &str = "another request had this id; give each its own";

fn refused(refusal: &Refusal) -> ServerMessage<'static> {
    ServerMessage::AuthFailure(AuthFailure {
        code: refusal.code,
        message: refusal.message.into(),
        rotation: None,
    })
}

pub(super) fn expiry(token: TokenLife) -> Timestamp {
    Timestamp::from_ms(i64::try_from(token.expires_ms).unwrap_or(i64::MAX))
}

/// A message that the server initiates.
pub(crate) fn fresh(message: ServerMessage<'_>) -> ServerFrame<'_> {
    ServerFrame {
        id: Some(RequestId::from_uuid(Uuid::now_v7())),
        timestamp: Now::read().timestamp(),
        message,
    }
}
