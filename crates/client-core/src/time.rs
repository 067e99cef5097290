//! Time as the core is told it: `std::time::Instant` panics where there is no operating system, as in a browser.

use std::{
    ops::{Add, AddAssign},
    time::Duration,
};

/// A point on a monotonic clock, as the time since an origin that the caller chooses once.
///
/// ```
/// use std::time::Duration;
/// use aldis_client_core::Instant;
///
/// let now = Instant::from_millis(1_000);
/// assert_eq!(now + Duration::from_millis(500), Instant::from_millis(1_500));
/// assert_eq!((now + Duration::from_secs(2)).saturating_duration_since(now), Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The point this long after the origin.
    #[must_use]
    pub const fn after_origin(time: Duration) -> Self {
        Self(time)
    }

    /// The point so many milliseconds after the origin: `performance.now()` in a browser.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The time since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The time since an earlier point; zero where it is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn checked_sub(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(time).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock, for deadlines.
    pub instant: Instant,
    /// The wall clock, for what others have dated, in Unix milliseconds.
    pub unix_ms: u64,
}
