//! Replies to requests, and requests without a reply.

use std::time::Duration;

use aldis_protocol::{
    Ack, DecodeError, History, IceServers, MessageKind, ServerFrame, ServerMessage, Synced, Timestamp,
};

use super::{Machine, Now, RequestError};
use crate::{
    Refusal,
    pending::{Origin, Request},
};

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The request was carried out.
    Ack(Ack<'static>),
    /// To `ice_servers`.
    IceServers(IceServers<'static>),
    /// To `history`.
    History(History<'static>),
    /// To `sync`, after the messages that it streamed.
    Synced(Synced),
    /// To `ping`.
    Pong,
}

impl<R> Machine<R> {
    /// A reply that cannot be decoded settles its request; any other frame may be of a newer server.
    pub(super) fn handle_unknown(&mut self, now: Now, error: &DecodeError) {
        tracing::debug!(%error, "a frame of the server was not understood");
        self.count(now, |session, at| session.note_unknown(error.id.as_ref(), at));
        if let Some(request) = error.id.as_ref().and_then(|id| self.pending.take(id)) {
            self.answer(now, request, Timestamp::from_ms(0), Err(RequestError::UnexpectedReply));
        }
    }

    /// Settles the request that a reply answers; returns any other frame. A second reply to a request that was sent again
    /// is ignored.
    pub(super) fn settle_reply<'a>(&mut self, now: Now, frame: ServerFrame<'a>) -> Option<ServerFrame<'a>> {
        let is_reply = if let ServerMessage::Error(error) = &frame.message {
            error.close.is_none()
        } else {
            frame.message.kind().is_none_or(is_reply)
        };
        let Some(id) = frame.id.as_ref().filter(|_| is_reply) else { return Some(frame) };
        if let Some(request) = self.pending.take(id) {
            if matches!(frame.message, ServerMessage::Error(_)) && self.pending.was_sent_again(id) {
                self.pending.give_up(&request);
            }
            self.answer(now, request, frame.timestamp, outcome(frame.message));
            return None;
        }
        let late = self.pending.take_late(id);
        if let Some(purpose) = late.filter(|_| matches!(frame.message, ServerMessage::Ack(_))) {
            self.note_late(&purpose);
        }
        (!self.pending.was_sent_again(id)).then_some(frame)
    }

    /// Settles a request with a reply that has this time of the server.
    fn answer(&mut self, now: Now, request: Request<R>, at: Timestamp, outcome: Result<Reply, RequestError>) {
        let (purpose, reply_to) = match request.origin {
            Origin::Application { purpose, reply_to, .. } => (purpose, reply_to),
            Origin::Client(request) => return self.background_answered(now, request, at, outcome),
        };
        let is_done = outcome.is_ok();
        let seq = if let Ok(Reply::Ack(ack)) = &outcome { ack.seq } else { None };
        self.settle(reply_to, outcome);
        if is_done {
            self.note_done(now, purpose, at, seq);
        } else {
            self.note_failed(&purpose);
        }
    }

    /// Refuses a request that changed nothing.
    pub(super) fn refuse(&mut self, request: Request<R>, error: RequestError) {
        if let Origin::Application { reply_to, .. } = request.origin {
            self.settle(reply_to, Err(error));
        }
    }

    /// Fails a request that will get no reply.
    pub(super) fn fail(&mut self, request: Request<R>, error: RequestError) {
        if let Origin::Application { purpose, reply_to, .. } = request.origin {
            self.settle(reply_to, Err(error));
            self.note_failed(&purpose);
        }
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
        ServerMessage::Ack(ack) => Ok(Reply::Ack(ack.into_owned())),
        ServerMessage::Pong => Ok(Reply::Pong),
        ServerMessage::IceServers(servers) => Ok(Reply::IceServers(servers.into_owned())),
        ServerMessage::History(history) => Ok(Reply::History(history.into_owned())),
        ServerMessage::Synced(synced) => Ok(Reply::Synced(synced)),
        ServerMessage::Error(error) => Err(RequestError::Refused(Refusal {
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
        | ServerMessage::RoomInvite(_)
        | ServerMessage::ServerDraining(_)
        | ServerMessage::Unknown(_)
        | _ => Err(RequestError::UnexpectedReply),
    }
}
