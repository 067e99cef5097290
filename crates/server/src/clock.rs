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

/// The start of all ticks. It uses the runtime's clock, which tests can stop.
static START: LazyLock<Instant> = LazyLock::new(|| Instant::from_std(std::time::Instant::now()));

/// One reading of both clocks: the monotonic clock for deadlines, the wall clock for the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since the process started.
    pub(crate) tick: u64,
    /// Unix milliseconds.
    pub(crate) unix_ms: u64,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        Self { tick: Self::tick(), unix_ms: unix_ms() }
    }

    /// Reads only the monotonic clock.
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

    /// The tick at which the wall clock will show `unix_ms`, unless somebody sets it.
    pub(crate) fn tick_at(self, unix_ms: u64) -> u64 {
        self.tick.saturating_add(unix_ms).saturating_sub(self.unix_ms)
    }
}

/// The next number in an order of events of this process. Larger is later; 0 is never given.
pub(crate) fn next_in_order() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Unix milliseconds in the form of the store.
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
