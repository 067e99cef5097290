//! The deadlines of a live session.

use aldis_protocol::{AuthRequired, ServerMessage, Timestamp};

use super::{Live, expiry};
use crate::{
    clock::Now,
    link::{Closing, TokenLife},
    session::{deadlines::Deadline, liveness, reauthentication},
};

/// How long before the TURN credentials expire new ones are sent.
const ICE_SERVERS_BEFORE_MS: u64 = 5 * 60 * 1000;
/// The shortest interval, even if the wall clock jumps.
const SHORTEST_ICE_INTERVAL_MS: u64 = 60 * 1000;

/// The outcome of a deadline.
#[derive(Debug)]
pub(in crate::session) enum Due {
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

impl Live {
    /// Whether reading from the client is paused.
    pub(in crate::session) fn is_paused(&self) -> bool {
        self.deadlines.is_set(Deadline::Read)
    }

    /// Whether a deadline has come that a frame from the client would put off.
    pub(in crate::session) fn client_is_late(&self, tick: u64) -> bool {
        self.deadlines.client_is_late(tick)
    }

    /// A pong came.
    pub(in crate::session) fn pong(&mut self, now: Now) {
        liveness::ponged(&mut self.deadlines);
        if let Some(notices) = self.outbox.notices() {
            notices.ponged();
        }
        self.ping_for_notices(now);
    }

    /// Sends a ping at once if there are unconfirmed notices, unless the pong to the last ping is awaited.
    pub(super) fn ping_for_notices(&mut self, now: Now) {
        if self.outbox.awaits_notices() && !self.deadlines.is_set(Deadline::Pong) {
            self.deadlines.set(Deadline::Ping, now.tick);
        }
    }

    /// Puts off the pong deadline, while no pong can be seen.
    pub(in crate::session) fn postpone_pong(&mut self, now: Now) {
        liveness::postpone_pong(&mut self.deadlines, now);
    }

    /// The socket took nothing; it has until this tick.
    pub(in crate::session) fn await_write(&mut self, until: u64) {
        if !self.deadlines.is_set(Deadline::Write) {
            self.deadlines.set(Deadline::Write, until);
        }
    }

    /// Everything that waited is written.
    pub(in crate::session) fn wrote(&mut self) {
        self.deadlines.clear(Deadline::Write);
    }

    /// Takes a deadline that has come.
    pub(in crate::session) fn take_due(&mut self, now: Now) -> Option<Due> {
        self.deadlines.put_off_late(now.tick);
        Some(match self.deadlines.take_due(now.tick)? {
            Deadline::Ping => {
                liveness::pinged(&mut self.deadlines, now);
                self.outbox.pinged();
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
    pub(in crate::session) fn schedule_ice_servers(&mut self, expires_at: Option<Timestamp>, now: Now) {
        if let Some(expires_ms) = expires_at.and_then(|time| u64::try_from(time.as_ms()).ok()) {
            let tick = now.tick_at(expires_ms.saturating_sub(ICE_SERVERS_BEFORE_MS));
            self.deadlines.set(Deadline::IceServers, tick.max(now.tick + SHORTEST_ICE_INTERVAL_MS));
        }
    }

    /// The next tick at which [`take_due`](Self::take_due) returns something.
    pub(in crate::session) fn next_deadline(&self) -> u64 {
        self.deadlines.next()
    }

    fn ask_for_token(&mut self, now: Now) -> Option<Due> {
        let token = self.token?;
        reauthentication::asked(&mut self.deadlines, token, now);
        let reason = AuthRequired::REASON.into();
        Some(Due::Say(ServerMessage::AuthRequired(AuthRequired { reason, expires_at: expiry(token) })))
    }

    /// Sets up the deadlines for a new socket.
    pub(super) fn begin_socket(&mut self, token: Option<TokenLife>, now: Now) {
        self.token = token;
        self.sent_at_break = None;
        self.deadlines.clear_others(Deadline::IceServers);
        liveness::schedule(&mut self.deadlines, now);
        if let Some(notices) = self.outbox.notices() {
            notices.lose_socket();
        }
        self.ping_for_notices(now);
        if let Some(token) = token {
            reauthentication::schedule(&mut self.deadlines, token, now);
        }
    }
}
