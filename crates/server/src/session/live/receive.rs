//! What becomes of a frame: refused for its rate or its form, answered at once, or a request for the relay.

use aldis_protocol::{
    Broadcast, ChatMessage, ClientFrame, ClientMessage, CloseCode, DecodeError, ErrorCode, ErrorReply,
    HistoryRequest, Join, Leave, RequestId, RoomId, ServerMessage, limits::MAX_ERRORS_IN_A_ROW,
};
use bytes::Bytes;

use super::{Live, PendingRequest};
use crate::{
    clock::Now,
    link::{Closing, Frame},
    rate::Limit,
    relay::NO_ROOM,
    session::{
        deadlines::Deadline,
        outbox::BeyondSent,
        pace::{self, Unanswerable, Verdict},
        replies::{self, Lookup},
    },
};

/// When a client that sent only malformed messages may come back, in seconds.
const REST_AFTER_ERRORS: u64 = 5;
const ID_TAKEN: &str = "another request had this id; give each its own";

/// The outcome of a frame.
#[derive(Debug)]
pub(in crate::session) enum Step<'a> {
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

impl Live {
    /// Takes a frame.
    pub(in crate::session) fn receive<'a>(&mut self, frame: &'a Bytes, now: Now) -> Step<'a> {
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
    pub(in crate::session) fn receive_again<'a>(&mut self, frame: &'a Bytes, now: Now) -> Step<'a> {
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
    pub(in crate::session) fn pass_by(&mut self, frames: u32, now: Now) -> Result<(), Closing> {
        let verdict = self.pace.pass_by(frames, now.tick);
        self.hold_up(verdict)
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
        let request = PendingRequest::new(id, digest, &message);
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

    fn too_fast(&self, id: Option<RequestId>, retry_after: u64, now: Now) -> Frame {
        self.metrics.limited(Limit::Messages);
        let message = "too many messages; send fewer in a second";
        let error =
            ErrorReply { retry_after: Some(retry_after), ..ErrorReply::new(ErrorCode::RateLimited, message) };
        self.encode(id, ServerMessage::Error(error), now)
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
