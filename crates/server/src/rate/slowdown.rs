//! A wait that doubles with each failure.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Wait, recent::Recent};

const HOUR_MS: u64 = 60 * 60 * 1000;
/// The first failure that a wait follows.
const FIRST_SLOWED: u32 = 5;
const FIRST_WAIT_MS: u64 = 1000;
const LONGEST_WAIT_MS: u64 = 15 * 60 * 1000;
/// As for [`Buckets`](super::Buckets).
const LIMIT: usize = 65_536;

/// Slows down repeated failures: 1 s after the fifth failure, then doubled up to 15 minutes. Failures are forgotten
/// after a success, or after an hour without another.
#[derive(Debug)]
pub(crate) struct Slowdown<K>(Option<Mutex<Recent<K, Failures>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    /// The tick of the last.
    last: u64,
    /// The tick at which the wait after it is over.
    until: u64,
}

impl<K: Eq + Hash> Slowdown<K> {
    /// A slowdown without failures; if it is not enforced, it refuses nothing.
    pub(crate) fn new(enforced: bool) -> Self {
        Self(enforced.then(|| Mutex::new(Recent::new(HOUR_MS, LIMIT))))
    }

    /// Begins an attempt. It counts as failed until [`succeeded`](Self::succeeded) or [`take_back`](Self::take_back)
    /// is called, so that concurrent attempts cannot pass together.
    pub(crate) fn begin(&self, key: K, tick: u64) -> Result<(), Wait> {
        self.recent().map_or(Ok(()), |mut recent| recent.entry(key, tick).begin(tick))
    }

    /// Records that an attempt succeeded.
    pub(crate) fn succeeded(&self, key: &K) {
        if let Some(mut recent) = self.recent() {
            recent.remove(key);
        }
    }

    /// Records that an attempt neither failed nor succeeded.
    pub(crate) fn take_back(&self, key: &K) {
        if let Some(mut recent) = self.recent()
            && let Some(failures) = recent.get_mut(key)
        {
            failures.count = failures.count.saturating_sub(1);
            failures.until = 0;
        }
    }

    /// Frees the memory of forgotten failures.
    pub(crate) fn sweep(&self, tick: u64) {
        if let Some(mut recent) = self.recent() {
            recent.forget(tick);
        }
    }

    fn recent(&self) -> Option<MutexGuard<'_, Recent<K, Failures>>> {
        self.0.as_ref().map(|recent| recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Failures {
    fn begin(&mut self, tick: u64) -> Result<(), Wait> {
        if tick < self.until {
            return Err(Wait { ms: self.until - tick });
        }
        if tick >= self.last + HOUR_MS {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = tick;
        self.until = tick + wait_after(self.count);
        Ok(())
    }
}

fn wait_after(failures: u32) -> u64 {
    match failures.checked_sub(FIRST_SLOWED) {
        None => 0,
        Some(doublings) => (FIRST_WAIT_MS << doublings.min(16)).min(LONGEST_WAIT_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails this often, each time as soon as an attempt is allowed, and returns the waits in seconds.
    fn waits(slowdown: &Slowdown<u8>, key: u8, tick: &mut u64, failures: usize) -> Vec<u64> {
        (0..failures)
            .map(|_| {
                slowdown.begin(key, *tick).unwrap();
                let wait = slowdown.begin(key, *tick);
                let ms = wait.err().map_or(0, |wait| wait.ms);
                *tick += ms;
                if ms == 0 {
                    // The call that returned the wait was an attempt too.
                    slowdown.take_back(&key);
                }
                ms / 1000
            })
            .collect()
    }

    #[test]
    fn the_wait_begins_with_the_fifth_failure_and_doubles_up_to_15_minutes() {
        let slowdown = Slowdown::new(true);
        let mut tick = 1_000;
        assert_eq!(
            waits(&slowdown, 1, &mut tick, 17),
            [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
        );
        assert!(slowdown.begin(2, tick).is_ok(), "nobody else waits");
        slowdown.begin(1, tick).unwrap();
        slowdown.succeeded(&1);
        assert_eq!(waits(&slowdown, 1, &mut tick, 5), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn failures_are_forgotten_after_an_hour() {
        let slowdown = Slowdown::new(true);
        let mut tick = 0;
        assert_eq!(waits(&slowdown, 1, &mut tick, 4), [0; 4]);
        tick += HOUR_MS - 1;
        assert_eq!(waits(&slowdown, 1, &mut tick, 1), [1]);
        tick += HOUR_MS;
        assert_eq!(waits(&slowdown, 1, &mut tick, 5), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn only_failures_count_as_failures() {
        let slowdown = Slowdown::new(true);
        for _ in 0..100 {
            slowdown.begin(1, 7).unwrap();
            slowdown.take_back(&1);
        }
        let off = Slowdown::new(false);
        assert!((0..100).all(|_| off.begin(1, 7).is_ok()));
    }
}
