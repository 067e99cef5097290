//! The clock, read once and passed down.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aldis_protocol::Timestamp;
use tokio::time::Instant;

/// The runtime's clock, which tests can stop, from a start that all of them share.
static START: LazyLock<Instant> = LazyLock::new(|| Instant::from_std(std::time::Instant::now()));

/// One reading of both clocks: deadlines count on the one that never jumps, the wire speaks of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since the process started.
    pub(crate) tick: u64,
    /// Unix milliseconds.
    pub(crate) unix_ms: u64,
}

impl Now {
    /// Reads the clocks.
    pub(crate) fn read() -> Self {
        Self { tick: Self::tick(), unix_ms: unix_ms() }
    }

    /// Reads the one that never jumps alone.
    pub(crate) fn tick() -> u64 {
        milliseconds(START.elapsed())
    }

    /// The time that is later by a duration, if nobody sets the wall clock.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let ms = milliseconds(duration);
        Self { tick: self.tick.saturating_add(ms), unix_ms: self.unix_ms.saturating_add(ms) }
    }

    /// The wall clock, as the store keeps it.
    pub(crate) fn store_ms(self) -> i64 {
        i64::try_from(self.unix_ms).unwrap_or(i64::MAX)
    }

    /// The wall clock, as the wire has it.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_ms(self.store_ms())
    }

    /// The tick at which the wall clock will show `unix_ms`, if nobody sets it.
    pub(crate) fn tick_at(self, unix_ms: u64) -> u64 {
        self.tick.saturating_add(unix_ms).saturating_sub(self.unix_ms)
    }
}

/// The place of an event in the order of all events of this process that ask for one. Larger is later; none is 0.
pub(crate) fn next_in_order() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Unix milliseconds as the store keeps them.
pub(crate) fn unix_ms_i64() -> i64 {
    i64::try_from(unix_ms()).unwrap_or(i64::MAX)
}

/// A duration in whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unix_ms() -> u64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
