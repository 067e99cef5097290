//! What the log says about a session: its span, and one line each time that its socket comes or goes.
//!
//! The subscriber keeps some hundred bytes for each open span, so an idle session has none. The span is opened when the
//! session is polled, and kept as long as messages pass.

use std::num::NonZeroU16;

use aldis_protocol::Door;
use tracing::Span;

use crate::link::{Closing, SessionHandle};

/// The span of one session, and the counts that its lines report.
#[derive(Debug)]
pub(super) struct Journal {
    span: Option<Box<Span>>,
    began: u64,
    socket: SocketCounts,
}

/// What is counted for one socket.
#[derive(Debug, Default)]
struct SocketCounts {
    /// In milliseconds after the session began. Narrow, as each idle session keeps this.
    began: u32,
    received: u32,
    sent: u32,
    client_code: Option<NonZeroU16>,
    /// The client sent a close.
    client_closed: bool,
    /// A message passed in the current poll.
    is_active: bool,
}

/// Whether the client can come back to a session that lost its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// The session waits for its client, or has a newer socket.
    Kept,
    /// The session is over.
    Over,
}

impl Journal {
    /// The journal of a session that begins at this tick.
    pub(super) fn new(tick: u64) -> Self {
        Self { span: None, began: tick, socket: SocketCounts::default() }
    }

    /// The session's span, or none where the log leaves it out. To be given back with [`keep`](Self::keep).
    pub(super) fn open(&mut self, session: &SessionHandle, door: Door) -> Option<Box<Span>> {
        self.socket.is_active = false;
        if let Some(span) = self.span.take() {
            return Some(span);
        }
        let span = tracing::info_span!(
            parent: None,
            "session",
            id = %session.session,
            user = %session.user,
            device = session.device.as_str(),
            door = door.path(),
        );
        (!span.is_disabled()).then(|| Box::new(span))
    }

    /// Keeps the span for the next poll, if a message passed in this one.
    pub(super) fn keep(&mut self, span: Option<Box<Span>>) {
        self.span = span.filter(|_| self.socket.is_active);
    }

    /// A message came from the client.
    pub(super) const fn received(&mut self) {
        self.socket.is_active = true;
        self.socket.received = self.socket.received.saturating_add(1);
    }

    /// A message was given to the socket.
    pub(super) const fn sent(&mut self) {
        self.socket.is_active = true;
        self.socket.sent = self.socket.sent.saturating_add(1);
    }

    /// The client sent a close with this code.
    pub(super) fn client_closed(&mut self, code: Option<u16>) {
        (self.socket.client_closed, self.socket.client_code) = (true, code.and_then(NonZeroU16::new));
    }

    /// The session begins; `proof` says how its client proved who they are. Its first poll follows at once, so the span
    /// is kept for it.
    pub(super) fn connected(&mut self, proof: &'static str) {
        self.socket.is_active = true;
        tracing::info!(proof, "connected");
    }

    /// The client came back with another socket, and missed so many messages.
    pub(super) fn resumed(&mut self, replayed: usize, tick: u64) {
        let began = u32::try_from(self.age(tick)).unwrap_or(u32::MAX);
        let sent = u32::try_from(replayed).unwrap_or(u32::MAX);
        self.socket = SocketCounts { began, sent, ..SocketCounts::default() };
        tracing::info!(replayed, "resumed");
    }

    /// The socket is gone; the server closed it where there is a `closing`.
    pub(super) fn disconnected(&self, closing: Option<&Closing>, remains: Remains, tick: u64) {
        let SocketCounts { began, received, sent, client_closed, client_code, .. } = self.socket;
        let by = match closing {
            Some(_) => "server",
            None if client_closed => "client",
            None => "network",
        };
        tracing::info!(
            by,
            code = code(closing).or(client_code.map(NonZeroU16::get)),
            reason = reason(closing),
            resumable = remains == Remains::Kept,
            socket_ms = self.age(tick).saturating_sub(u64::from(began)),
            session_ms = self.age(tick),
            received,
            sent,
            "disconnected"
        );
    }

    /// The session ends while its client is away.
    pub(super) fn ended(&self, closing: Option<&Closing>, tick: u64) {
        let session_ms = self.age(tick);
        tracing::info!(code = code(closing), reason = reason(closing), session_ms, "session ended");
    }

    /// The session's age in milliseconds.
    const fn age(&self, tick: u64) -> u64 {
        tick.saturating_sub(self.began)
    }
}

fn code(closing: Option<&Closing>) -> Option<u16> {
    closing.map(|closing| closing.code.as_u16())
}

/// The reason as an error code, since most closes carry no other.
fn reason(closing: Option<&Closing>) -> Option<&'static str> {
    closing.map(|closing| closing.error.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::task::Task;

    #[test]
    fn an_idle_session_stays_in_its_size_of_allocation() {
        assert!(size_of::<Journal>() <= 32);
        // The runtime adds 112 bytes, and rounds up to a multiple of 128.
        assert!(size_of::<Task>() <= 512 - 112, "{}", size_of::<Task>());
    }
}
