//! The clocks that the core is told: tokio's for deadlines, the wall clock for what others have dated.

use std::time::{SystemTime, UNIX_EPOCH};

use aldis_client_core::{Instant, Now};

/// The monotonic clock of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        Now { instant: Instant::after_origin(self.origin.elapsed()), unix_ms: unix_ms() }
    }

    /// A deadline of the core as tokio waits for it.
    pub(crate) fn at(self, instant: Instant) -> tokio::time::Instant {
        self.origin + instant.since_origin()
    }
}

/// Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
