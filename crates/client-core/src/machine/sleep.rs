//! Detects that the computer slept: the wall clock advanced while the monotonic clock stood still.

use std::time::Duration;

use super::{Machine, Now, Phase};
use crate::Instant;

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How far the wall clock has to run ahead between two comparisons: corrections of the clock are smaller.
const LEAP: Duration = Duration::from_secs(5);

/// Compares the two clocks.
#[derive(Debug, Default)]
pub(super) struct SleepWatch {
    last_look: Option<Now>,
}

impl SleepWatch {
    /// How long the computer slept since the last comparison, if it did.
    pub(super) fn look(&mut self, now: Now) -> Option<Duration> {
        let before = self.last_look.replace(now)?;
        let passed = Duration::from_millis(now.unix_ms.saturating_sub(before.unix_ms));
        let slept = passed.saturating_sub(now.instant.saturating_duration_since(before.instant));
        (slept >= LEAP).then_some(slept)
    }

    /// When to compare again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.last_look.map(|look| look.instant + LOOK_EVERY)
    }
}

impl<R> Machine<R> {
    /// After a sleep, checks a connection with a ping, and shortens a wait by the time slept. A user who sets the clock
    /// causes a ping.
    pub(super) fn notice_sleep(&mut self, now: Now) {
        if self.sleep_watch.deadline().is_some_and(|look| look > now.instant) {
            return;
        }
        let Some(slept) = self.sleep_watch.look(now) else { return };
        tracing::debug!(?slept, "the computer has slept");
        if let Phase::Waiting(until) = &mut self.phase {
            *until = until.checked_sub(slept).unwrap_or(now.instant);
        } else if let Phase::Live(live) = &mut self.phase {
            live.liveness.doubt(now.instant);
            self.ping();
        }
    }
}
