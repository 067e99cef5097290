//! In which order a session's own requests in rooms are answered among what it is told of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::outlet::Outlet;

/// How many of a session's requests to join a room, or to keep something in one, have their answer. They get it in the
/// order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct RoomReplies(AtomicU64);

/// A request to join a room, or to keep something in one, until it has its answer.
#[derive(Debug)]
pub(super) struct RoomRequest(Option<Arc<Outlet>>);

impl RoomReplies {
    /// The next request has its answer: what the session is told from here on comes after that.
    pub(super) fn answered(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// How many have their answer.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl RoomRequest {
    /// A request of this session.
    pub(super) fn of(session: &Arc<Outlet>) -> Self {
        Self(Some(Arc::clone(session)))
    }

    /// Its answer is known. Where nobody says so, that is at its end.
    pub(super) fn answered(&mut self) {
        if let Some(session) = self.0.take() {
            session.room_replies.answered();
        }
    }

    /// Whoever delivered what it asked for has said so already.
    pub(super) fn was_answered(mut self) {
        self.0 = None;
    }
}

impl Drop for RoomRequest {
    fn drop(&mut self) {
        self.answered();
    }
}
