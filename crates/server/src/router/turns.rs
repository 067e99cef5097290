//! Requests of one session are carried out in the order sent, also where one of them waits for the store.
//!
//! What is stored is carried out when the store has it in its queue, so that many can share a commit; what reaches
//! others in another way waits until everything before it is stored, so that it overtakes nothing.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use super::outlet::Outlet;

/// Which requests of a session wait.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many turns were ever taken. Like the next, it may begin anew: few wait at a time.
    taken: AtomicU32,
    /// How many of them are over.
    over: AtomicU32,
    /// How many requests the store has in its queue.
    storing: AtomicU32,
}

/// The turn of a request that could not be carried out at once. Until it is dropped, those after it wait.
#[derive(Debug)]
#[must_use = "those after it wait as long as it is kept"]
pub(super) struct Turn {
    session: Arc<Outlet>,
    number: u32,
}

/// A request that the store has in its queue, until it is durable.
#[derive(Debug)]
#[must_use = "it is kept until the store has answered"]
pub(super) struct Storing(Arc<Outlet>);

impl Turns {
    /// Whether a request may be carried out at once: all before it were, and what they stored is durable.
    pub(super) fn is_free(&self) -> bool {
        self.may_store() && self.storing.load(Ordering::Acquire) == 0
    }

    /// Whether a request may be given to the store at once: all before it were carried out.
    pub(super) fn may_store(&self) -> bool {
        self.over.load(Ordering::Acquire) == self.taken.load(Ordering::Acquire)
    }
}

impl Turn {
    /// Lines up.
    pub(super) fn take(session: &Arc<Outlet>) -> Self {
        let number = session.turns.taken.fetch_add(1, Ordering::AcqRel);
        Self { session: Arc::clone(session), number }
    }

    /// Waits until all requests before this one were carried out, and what they stored is durable.
    ///
    /// Nothing wakes it: the session asks all that waits, in its order, whenever one of them gets on.
    pub(super) async fn comes(&self) {
        self.comes_to_store().await;
        wait_until(|| self.session.turns.storing.load(Ordering::Acquire) == 0).await;
    }

    /// Waits until all requests before this one were carried out; they may still be in the store's queue.
    pub(super) async fn comes_to_store(&self) {
        wait_until(|| self.session.turns.over.load(Ordering::Acquire) == self.number).await;
    }
}

impl Storing {
    /// A request of this session is in the store's queue.
    pub(super) fn begin(session: &Arc<Outlet>) -> Self {
        session.turns.storing.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(session))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.turns.over.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.turns.storing.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn wait_until(condition: impl Fn() -> bool) {
    poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
}
