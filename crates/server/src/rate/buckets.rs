//! Token buckets by key.

use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use super::{AddressKey, Bucket, Rate, Wait, recent::Recent};

/// How many keys one limit remembers. At that number, the half that was not used for longest is forgotten. So a flood
/// from many addresses gets around its own limit, which it could anyway, but nobody else is refused because of it.
const LIMIT: usize = 65_536;

/// A rate limit by key. Keys with a full bucket are forgotten.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    /// `None` if the limit is off.
    used: Option<Mutex<Recent<K, Bucket>>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// A limit with all buckets full; if it is not enforced, it refuses nothing.
    pub(crate) fn new(rate: Rate, enforced: bool) -> Self {
        Self { rate, used: enforced.then(|| Mutex::new(Recent::new(rate.refill_ms(), LIMIT))) }
    }

    /// Whether the limit refuses anything.
    pub(crate) const fn is_enforced(&self) -> bool {
        self.used.is_some()
    }

    /// Takes one token of a key.
    pub(crate) fn take(&self, key: K, tick: u64) -> Result<(), Wait> {
        self.take_at(self.rate, key, tick)
    }

    /// Returns a token that was not needed.
    pub(crate) fn give_back(&self, key: &K) {
        let Some(used) = &self.used else { return };
        if let Some(bucket) = used.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            bucket.give_back(self.rate);
        }
    }

    /// Frees the memory of keys that were not used recently.
    pub(crate) fn sweep(&self, tick: u64) {
        if let Some(used) = &self.used {
            used.lock().unwrap_or_else(PoisonError::into_inner).forget(tick);
        }
    }

    fn take_at(&self, rate: Rate, key: K, tick: u64) -> Result<(), Wait> {
        let Some(used) = &self.used else { return Ok(()) };
        used.lock().unwrap_or_else(PoisonError::into_inner).entry(key, tick).take(rate, tick)
    }
}

impl Buckets<AddressKey> {
    /// Takes one token of an address; loopback has more of them.
    pub(crate) fn take_of_address(&self, address: AddressKey, tick: u64) -> Result<(), Wait> {
        self.take_at(self.rate.times(address.factor()), address, tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bucket() {
        let buckets = Buckets::new(Rate::per_hour(5), true);
        let passed = |key: &str| (0..9).filter(|_| buckets.take(key.to_owned(), 0).is_ok()).count();
        assert_eq!((passed("a"), passed("b"), passed("a")), (5, 5, 0));
        assert_eq!(buckets.take("a".to_owned(), 0), Err(Wait { ms: 720_000 }));
    }

    #[test]
    fn a_sweep_does_not_weaken_a_limit() {
        let rate = Rate::per_hour(5);
        let buckets = Buckets::new(rate, true);
        (0..5).for_each(|_| buckets.take(1, 1_000).unwrap());
        for tick in (1_000..rate.refill_ms()).step_by(60_000) {
            buckets.sweep(tick);
            let refilled = (tick - 1_000) / rate.interval_ms;
            assert_eq!(
                buckets.take(1, tick).is_ok(),
                refilled > 0 && (tick - 1_000) % rate.interval_ms < 60_000
            );
        }
    }

    #[test]
    fn a_token_that_was_not_needed_can_be_returned() {
        let buckets = Buckets::new(Rate::per_day(2), true);
        for _ in 0..10 {
            buckets.take(1, 1_000).unwrap();
            buckets.give_back(&1);
        }
        assert_eq!((0..9).filter(|_| buckets.take(1, 1_000).is_ok()).count(), 2);
    }

    #[test]
    fn loopback_has_ten_times_the_limit() {
        let buckets = Buckets::new(Rate::per_hour(5), true);
        let passed = |address: [u8; 4]| {
            let key = AddressKey::from(std::net::IpAddr::from(address));
            (0..99).filter(|_| buckets.take_of_address(key, 0).is_ok()).count()
        };
        assert_eq!((passed([192, 0, 2, 1]), passed([127, 0, 0, 1]), passed([127, 0, 0, 2])), (5, 50, 50));
    }

    #[test]
    fn a_limit_that_is_off_refuses_nothing() {
        let buckets = Buckets::new(Rate::per_hour(1), false);
        assert!((0..100).all(|_| buckets.take(1, 0).is_ok()));
    }
}
