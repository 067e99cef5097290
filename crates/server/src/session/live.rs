//! A session after `connected`: takes frames, returns replies and requests for the relay. After each change, ask
//! [`next_deadline`](Live::next_deadline).

mod due;
mod receive;
mod request;

use std::{sync::Arc, time::Duration};

use aldis_auth::Claims;
use aldis_protocol::{
    AuthFailure, AuthSuccess, Codec, Door, ErrorCode, ErrorReply, RequestId, RoomId, ServerFrame,
    ServerMessage, Timestamp,
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use uuid::Uuid;

pub(super) use self::{due::Due, receive::Step, request::PendingRequest};
use super::{
    deadlines::{Deadline, Deadlines},
    outbox::Outbox,
    pace::Pace,
    reauthentication,
    replies::Replies,
};
use crate::{
    clock::{Now, milliseconds},
    link::{Claim, Closing, Frame, HandOver, Held, ResumeToken, ResumeTokens, SessionHandle, TokenLife},
    metrics::Metrics,
    refusal::Refusal,
};

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
        if let Some(notices) = self.outbox.notices() {
            notices.received(claim.received);
        }
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

    /// Notes that the last counted frame was this notice. A ping follows it, so that a client that does not confirm
    /// frames by itself does so by its pong.
    pub(super) fn note_notice(&mut self, id: Uuid, now: Now) {
        self.outbox.note_notice(id);
        if self.sent_at_break.is_none() {
            self.ping_for_notices(now);
        }
    }

    /// Takes the notices that the client has confirmed.
    pub(super) fn take_confirmed_notices(&mut self) -> Vec<Uuid> {
        self.outbox.take_confirmed_notices()
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
