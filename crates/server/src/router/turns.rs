//! Requests of one session are carried out in the order sent, also where one of them waits for the store.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many requests of a session wait for the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<AtomicUsize>);

/// A request that waits. Until it is dropped, those after it wait too.
#[derive(Debug)]
#[must_use = "those after it wait as long as it is kept"]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turns {
    /// Whether nobody waits, so that a request may be carried out at once.
    pub(super) fn is_free(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Lines up.
    pub(super) fn take(&self) -> Turn {
        self.0.fetch_add(1, Ordering::AcqRel);
        Turn(Arc::clone(&self.0))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
