//! What a session needs to outlive its socket (docs/protocol/resume.md).

use std::{collections::VecDeque, time::Duration};

use aldis_protocol::{
    ClientFrame, ClientMessage, Connected, Received, RequestId, Resume, Secret, ServerFrame, ServerMessage,
    SessionId, limits::MAX_UNANSWERED_REQUESTS,
};

use super::{Machine, Now, Output, Phase, RequestError};
use crate::{Instant, purpose::Purpose};

/// Counted messages that are confirmed together.
const CONFIRM_MESSAGES: u64 = 64;
/// How long a counted message stays unconfirmed.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);
/// Keeps an absurd window from overflowing the clock; no server keeps a session for so long.
const LONGEST_RESUME_TIME: Duration = Duration::from_secs(24 * 3600);

/// What is needed to resume a session on another socket: its token, and how many of its messages have arrived.
#[derive(Debug)]
pub(super) struct Resumable {
    id: SessionId,
    token: Secret<'static>,
    resume_time: Duration,
    state: ResumeState,
    /// How many counted messages came in this session.
    received: u64,
    /// How many of them the server was told of.
    confirmed: u64,
    confirm_by: Option<Instant>,
    /// The unanswered `sync` requests, each as often as it was sent: the messages that they stream are not counted.
    streams: VecDeque<RequestId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumeState {
    /// A socket serves the session.
    Served,
    /// The socket is gone. The server may keep the session until then.
    Held(Instant),
    /// The client asked to resume and has no answer yet. The server may have resumed all the same.
    Claimed,
}

impl Resumable {
    /// The session of a fresh `connected`.
    pub(super) fn begin(connected: &Connected<'_>) -> Self {
        Self {
            id: connected.session.id,
            token: connected.session.resume_token.clone().into_owned(),
            resume_time: resume_time(connected),
            state: ResumeState::Served,
            received: 0,
            confirmed: 0,
            confirm_by: None,
            streams: VecDeque::new(),
        }
    }

    /// Resumes, if this is the session that was asked for. The count of received messages is confirmed again, since the
    /// last confirmation may be lost.
    pub(super) fn go_on(&mut self, connected: &Connected<'_>, now: Instant) -> bool {
        let Connected { session, .. } = connected;
        if !session.resumed || session.id != self.id || self.state != ResumeState::Claimed {
            return false;
        }
        self.token = session.resume_token.clone().into_owned();
        self.resume_time = resume_time(connected);
        self.state = ResumeState::Served;
        self.confirm_by = (self.received > 0).then(|| now + CONFIRM_WITHIN);
        true
    }

    /// The resume token for a proof.
    pub(super) fn claim(&mut self) -> Resume<'static> {
        self.state = ResumeState::Claimed;
        Resume { token: self.token.clone(), received: self.received }
    }

    /// The socket is gone. If the session may have been resumed on it, its window starts now.
    pub(super) fn detach(&mut self, now: Instant) {
        if !matches!(self.state, ResumeState::Held(_)) {
            self.state = ResumeState::Held(now + self.resume_time);
        }
    }

    /// A `sync` was sent, or sent again, in which case it may be answered twice. The oldest is forgotten above the number
    /// of requests that a server leaves unanswered.
    pub(super) fn stream(&mut self, id: RequestId) {
        if self.streams.len() == MAX_UNANSWERED_REQUESTS {
            self.streams.pop_front();
        }
        self.streams.push_back(id);
    }

    /// Counts a message, if the server counts it.
    pub(super) fn note(&mut self, frame: &ServerFrame<'_>, now: Instant) {
        let id = frame.id.as_ref();
        let may_be_streamed = matches!(frame.message, ServerMessage::Message(_) | ServerMessage::Unknown(_));
        let is_streamed = may_be_streamed && self.is_stream(id);
        if matches!(frame.message, ServerMessage::Synced(_) | ServerMessage::Error(_)) {
            let at = self.streams.iter().position(|stream| Some(stream) == id);
            at.map(|at| self.streams.remove(at));
        }
        if frame.message.is_counted() && !is_streamed {
            self.count(now);
        }
    }

    /// Counts a message that was not understood: the server does not know that it was not.
    pub(super) fn note_unknown(&mut self, id: Option<&RequestId>, now: Instant) {
        if !self.is_stream(id) {
            self.count(now);
        }
    }

    /// What to confirm now, if anything.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.received - self.confirmed >= CONFIRM_MESSAGES
            || self.confirm_by.is_some_and(|deadline| deadline <= now);
        is_due.then(|| {
            self.confirmed = self.received;
            self.confirm_by = None;
            self.received
        })
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// When [`take_due`](Self::take_due) has something.
    pub(super) fn confirm_by(&self) -> Option<Instant> {
        self.confirm_by
    }

    /// When a session without a socket can no longer be resumed.
    pub(super) fn resume_deadline(&self) -> Option<Instant> {
        if let ResumeState::Held(until) = self.state { Some(until) } else { None }
    }

    fn is_stream(&self, id: Option<&RequestId>) -> bool {
        id.is_some_and(|id| self.streams.contains(id))
    }

    fn count(&mut self, now: Instant) {
        self.received += 1;
        self.confirm_by.get_or_insert(now + CONFIRM_WITHIN);
    }
}

impl<R> Machine<R> {
    /// Counts a frame, and confirms what is due.
    pub(super) fn count(&mut self, now: Now, note: impl FnOnce(&mut Resumable, Instant)) {
        if let (Phase::Live(live), Some(session)) = (&mut self.phase, &mut self.session) {
            let before = session.received;
            note(session, now.instant);
            if session.received > before {
                live.count_replayed();
            }
            self.confirm(now);
        }
    }

    /// Tells the server how much has arrived, if that is due.
    pub(super) fn confirm(&mut self, now: Now) {
        let Phase::Live(_) = &self.phase else { return };
        if let Some(count) = self.session.as_mut().and_then(|session| session.take_due(now.instant)) {
            let message = ClientMessage::Received(Received { count });
            let frame = self.settings.codec.encode_client(&ClientFrame { id: None, message });
            self.outputs.push_back(Output::Send(frame));
        }
    }

    /// Goes on with the session that was asked for, or begins the one that came instead.
    pub(super) fn enter_session(&mut self, now: Now, connected: &Connected<'_>) -> bool {
        if self.session.as_mut().is_some_and(|session| session.go_on(connected, now.instant)) {
            return true;
        }
        self.lose_session();
        self.session = Some(Resumable::begin(connected));
        false
    }

    /// The session is lost, and with it its requests, except for durable ones.
    pub(super) fn lose_session(&mut self) {
        self.session = None;
        for request in self.pending.take_lost() {
            if matches!(request.purpose(), Some(Purpose::Leave(_))) {
                self.note_left(request);
            } else {
                self.fail(request, RequestError::ConnectionLost);
            }
        }
    }

    /// Drops a session whose resume window has expired.
    pub(super) fn expire_session(&mut self, now: Now) {
        let resume_deadline = self.session.as_ref().and_then(Resumable::resume_deadline);
        if resume_deadline.is_some_and(|at| at <= now.instant) {
            self.lose_session();
        }
    }
}

/// How long after a break the session can be resumed: the server's resume window, plus a heartbeat, since the server may
/// notice the break that much later. Zero for a server without a resume window.
fn resume_time(connected: &Connected<'_>) -> Duration {
    let window = connected.session.resume_window;
    let heartbeat = connected.heartbeat.interval.saturating_add(connected.heartbeat.timeout);
    let seconds = if window == 0 { 0 } else { window.saturating_add(heartbeat) };
    Duration::from_secs(seconds).min(LONGEST_RESUME_TIME)
}
