//! Limits on bytes, by key.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
};

use super::{Wait, recent::Recent};

/// How many keys are remembered, over all shards. At that number, the keys of one shard are forgotten.
const LIMIT: usize = 65_536;

/// Many shards, so that sessions on different threads rarely wait for each other.
const SHARDS: usize = 32;

/// Bytes a second, and the burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRate {
    per_second: u64,
    burst: u64,
}

/// A limit on bytes by key. Keys with a full bucket are forgotten.
#[derive(Debug)]
pub(crate) struct ByteBuckets<K> {
    rate: ByteRate,
    hasher: RandomState,
    /// Empty if the limit is off.
    shards: Box<[Mutex<Recent<K, ByteBucket>>]>,
}

/// The state of a token bucket of bytes: the time at which it is full again, in thousandths of the time that one byte
/// takes.
#[derive(Debug, Clone, Copy, Default)]
struct ByteBucket(u64);

impl ByteRate {
    /// This many bytes a second, with a burst of the same size.
    pub(crate) const fn per_second(bytes: u64) -> Self {
        Self { per_second: bytes, burst: bytes }
    }

    const fn refill_ms(self) -> u64 {
        (self.burst * 1000).div_ceil(self.per_second)
    }
}

impl ByteBucket {
    /// Takes bytes, or says when they may pass. More than a burst counts as a burst; otherwise it could never pass.
    fn take(&mut self, rate: ByteRate, bytes: u64, tick: u64) -> Result<(), Wait> {
        let now = tick * rate.per_second;
        let full_at = self.0.max(now) + bytes.min(rate.burst) * 1000;
        match full_at.saturating_sub(now + rate.burst * 1000) {
            0 => {
                self.0 = full_at;
                Ok(())
            }
            over => Err(Wait { ms: over.div_ceil(rate.per_second) }),
        }
    }
}

impl<K: Eq + Hash> ByteBuckets<K> {
    /// A limit with all buckets full; if it is not enforced, it refuses nothing.
    pub(crate) fn new(rate: ByteRate, enforced: bool) -> Self {
        let shards = if enforced { SHARDS } else { 0 };
        let shard = |_| Mutex::new(Recent::new(rate.refill_ms(), LIMIT / SHARDS));
        Self { rate, hasher: RandomState::new(), shards: (0..shards).map(shard).collect() }
    }

    /// Takes bytes of a key.
    pub(crate) fn take(&self, key: K, bytes: usize, tick: u64) -> Result<(), Wait> {
        if self.shards.is_empty() {
            return Ok(());
        }
        let hash = usize::try_from(self.hasher.hash_one(&key) >> 32).unwrap_or_default();
        let shard = &self.shards[hash % self.shards.len()];
        let mut used = shard.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(key, tick).take(self.rate, bytes as u64, tick)
    }

    /// Frees the memory of keys that were not used recently.
    pub(crate) fn sweep(&self, tick: u64) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).forget(tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: ByteRate = ByteRate::per_second(512 * 1024);

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let buckets = ByteBuckets::new(RATE, true);
        let passed = |tick| (0..100).filter(|_| buckets.take(1, 64 * 1024, tick).is_ok()).count();
        assert_eq!(passed(5_000), 8, "half a mebibyte, to the byte");
        assert_eq!(buckets.take(1, 64 * 1024, 5_000), Err(Wait { ms: 125 }));
        assert_eq!(passed(5_124), 0);
        assert_eq!(passed(5_125), 1);
        assert_eq!(passed(6_125), 8);
        assert_eq!(buckets.take(2, 512 * 1024, 6_125), Ok(()), "another user");
        assert_eq!(passed(1_000_000), 8);
    }

    #[test]
    fn a_message_larger_than_a_burst_counts_as_a_burst() {
        let buckets = ByteBuckets::new(ByteRate::per_second(100), true);
        assert_eq!(buckets.take(1, 1_000, 0), Ok(()));
        assert_eq!(buckets.take(1, 1, 0), Err(Wait { ms: 10 }));
    }

    #[test]
    fn a_limit_that_is_off_refuses_nothing() {
        let buckets = ByteBuckets::new(RATE, false);
        assert!((0..100).all(|_| buckets.take(1, usize::MAX, 0).is_ok()));
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_a_burst_and_the_steady_rate(
            frames in prop::collection::vec((0_u64..300, 1_usize..70_000), 1..200),
        ) {
            let (buckets, mut tick, mut passed) = (ByteBuckets::new(RATE, true), 0, Vec::new());
            for (pause, bytes) in frames {
                tick += pause;
                buckets.sweep(tick);
                if buckets.take(1, bytes, tick).is_ok() {
                    passed.push((tick, bytes as u64));
                }
                for (index, (start, _)) in passed.iter().enumerate() {
                    let sum: u64 = passed[index..].iter().map(|(_, bytes)| bytes).sum();
                    prop_assert!(sum * 1000 <= RATE.burst * 1000 + (tick - start) * RATE.per_second);
                }
            }
        }
    }
}
