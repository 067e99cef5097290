//! Limits how often a log line is written that strangers can cause.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How long a line is not repeated.
const INTERVAL_MS: u64 = 10_000;

/// One kind of log line. It is written at most once in ten seconds, with the number of lines that were left out.
#[derive(Debug, Default)]
pub(crate) struct Occasional {
    /// The tick from which the next line may be written.
    next: AtomicU64,
    left_out: AtomicU64,
}

/// Kinds of log lines, told apart by two words of the server's own: there are only so many.
#[derive(Debug, Default)]
pub(crate) struct OccasionalKinds(Mutex<BTreeMap<[&'static str; 2], Occasional>>);

impl OccasionalKinds {
    /// As [`Occasional::pass`], for the lines of this kind.
    pub(crate) fn pass(&self, kind: [&'static str; 2], tick: u64) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default().pass(tick)
    }
}

impl Occasional {
    /// A kind of line that was not written yet.
    pub(crate) const fn new() -> Self {
        Self { next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// If the line may be written now, how often it was left out since the last time.
    pub(crate) fn pass(&self, tick: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let passes = tick >= next
            && self
                .next
                .compare_exchange(next, tick + INTERVAL_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if passes {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_one_line_in_ten_seconds() {
        let line = Occasional::new();
        let lines: Vec<u64> = (0..25_000).filter_map(|tick| line.pass(tick)).collect();
        assert_eq!(lines, [0, 9_999, 9_999]);
    }

    #[test]
    fn each_kind_of_line_has_its_own_interval() {
        let kinds = OccasionalKinds::default();
        assert_eq!(kinds.pass(["/signal", "revoked"], 5), Some(0));
        assert_eq!(kinds.pass(["/signal", "revoked"], 6), None);
        assert_eq!(kinds.pass(["/signal", "forbidden"], 6), Some(0));
        assert_eq!(kinds.pass(["/signal", "revoked"], 10_005), Some(1));
    }
}
