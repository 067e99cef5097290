//! The levels in force, which can change while the server runs.

use std::sync::{Arc, PoisonError, RwLock};

use tracing::{Metadata, Subscriber, level_filters, subscriber::Interest};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, Filter},
};

use crate::config::LogFilter;

/// Changes the levels of the running log.
#[derive(Debug, Clone)]
pub struct Levels(Arc<RwLock<Targets>>);

impl Levels {
    pub(super) fn new(targets: Targets) -> Self {
        Self(Arc::new(RwLock::new(targets)))
    }

    /// From now on, these levels apply.
    pub fn change(&self, chosen: &LogFilter) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = super::filter(chosen);
        tracing::callsite::rebuild_interest_cache();
    }

    fn read<T>(&self, read: impl FnOnce(&Targets) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Filters by the levels in force. The answer for each place in the code is cached by `tracing`, so an event takes no
/// lock; the library's own reloadable layer takes one wherever a span is entered.
pub(super) struct LevelFilter(pub(super) Levels);

impl<S: Subscriber> Layer<S> for LevelFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.read(|targets| Layer::<S>::register_callsite(targets, metadata))
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.0.read(|targets| Layer::<S>::enabled(targets, metadata, context))
    }

    fn max_level_hint(&self) -> Option<level_filters::LevelFilter> {
        self.0.read(Filter::<S>::max_level_hint)
    }
}
