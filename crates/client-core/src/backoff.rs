//! How long to wait before the next attempt.

use std::time::Duration;

/// The ceiling of the first wait: short, since most breaks are.
pub const FIRST_CEILING: Duration = Duration::from_millis(500);
/// The ceiling that no later wait exceeds, where the application names none.
pub const LAST_CEILING: Duration = Duration::from_secs(30);
/// A connection that lasted this long has proved itself: a server that accepts and drops at once is not called good.
const PROVEN_AFTER: Duration = Duration::from_secs(30);
/// The longest wait that a server can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Full jitter: a random share of a ceiling that doubles with each failure.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Backoff {
    /// Waits whose ceiling doubles up to `longest`.
    pub(crate) const fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// The next wait. A `Retry-After` of the server wins over the doubling, with up to half a second of jitter on top;
    /// `random` is from 0 up to 1.
    pub(crate) fn next_delay(&mut self, retry_after: Option<Duration>, random: f64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        match retry_after {
            Some(retry_after) => retry_after.min(LONGEST_RETRY_AFTER) + FIRST_CEILING.mul_f64(random),
            None => ceiling.mul_f64(random),
        }
    }

    /// Takes into account how long a connection lasted.
    pub(crate) fn connection_lasted(&mut self, time: Duration) {
        if time >= PROVEN_AFTER {
            self.failures = 0;
        }
    }

    fn ceiling(&self) -> Duration {
        FIRST_CEILING.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(failures: u32) -> Backoff {
        Backoff { failures, ..Backoff::new(LAST_CEILING) }
    }

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_thirty() {
        let seconds: Vec<f64> = (0..9).map(|failures| after(failures).ceiling().as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(after(u32::MAX).ceiling(), LAST_CEILING);
        assert_eq!(Backoff { failures: 9, longest: FIRST_CEILING }.ceiling(), FIRST_CEILING);
    }

    #[test]
    fn only_a_connection_of_thirty_seconds_starts_it_over() {
        let mut backoff = after(5);
        backoff.connection_lasted(Duration::from_millis(29_999));
        assert_eq!(backoff.failures, 5);
        backoff.connection_lasted(Duration::from_secs(30));
        assert_eq!(backoff.failures, 0);
    }

    #[test]
    fn the_servers_retry_after_wins_within_an_hour() {
        let mut backoff = after(0);
        assert_eq!(backoff.next_delay(Some(Duration::from_secs(7)), 0.0), Duration::from_secs(7));
        assert_eq!(backoff.next_delay(Some(Duration::MAX), 0.0), LONGEST_RETRY_AFTER);
    }

    proptest! {
        #[test]
        fn a_wait_stays_below_its_ceiling(failures: u32, random in 0.0..1.0_f64) {
            let ceiling = after(failures).ceiling();
            prop_assert!(after(failures).next_delay(None, random) <= ceiling);
        }
    }
}
