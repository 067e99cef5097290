//! A bucket for each key.

use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use super::{AddressKey, Bucket, Rate, Wait, recent::Recent};

/// Keys of one limit that are remembered. At that many the half that was not used for longest starts anew: whoever has
/// so many addresses needs no trick to get around a limit by address, and nobody else is refused because of him.
const LIMIT: usize = 65_536;

/// A limit by key. Keys whose bucket is full again are forgotten.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    /// None where everything passes.
    used: Option<Mutex<Recent<K, Bucket>>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// A limit that nobody has used yet, or one that lets everything pass.
    pub(crate) fn new(rate: Rate, enforced: bool) -> Self {
        Self { rate, used: enforced.then(|| Mutex::new(Recent::new(rate.refill_ms(), LIMIT))) }
    }

    /// Whether anything is ever refused.
    pub(crate) const fn is_enforced(&self) -> bool {
        self.used.is_some()
    }

    /// Takes one of a key's.
    pub(crate) fn take(&self, key: K, tick: u64) -> Result<(), Wait> {
        self.take_at(self.rate, key, tick)
    }

    /// Puts back one that was taken for nothing.
    pub(crate) fn give_back(&self, key: &K) {
        let Some(used) = &self.used else { return };
        if let Some(bucket) = used.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            bucket.give_back(self.rate);
        }
    }

    /// Gives back the memory of keys that were not used lately.
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
    /// Takes one of an address's, of which the machine itself has more.
    pub(crate) fn take_of_address(&self, address: AddressKey, tick: u64) -> Result<(), Wait> {
        self.take_at(self.rate.times(address.factor()), address, tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own() {
        let buckets = Buckets::new(Rate::per_hour(5), true);
        let passed = |key: &str| (0..9).filter(|_| buckets.take(key.to_owned(), 0).is_ok()).count();
        assert_eq!((passed("a"), passed("b"), passed("a")), (5, 5, 0));
        assert_eq!(buckets.take("a".to_owned(), 0), Err(Wait { ms: 720_000 }));
    }

    #[test]
    fn a_sweep_takes_nothing_from_a_limit() {
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
    fn what_was_taken_for_nothing_can_be_put_back() {
        let buckets = Buckets::new(Rate::per_day(2), true);
        for _ in 0..10 {
            buckets.take(1, 1_000).unwrap();
            buckets.give_back(&1);
        }
        assert_eq!((0..9).filter(|_| buckets.take(1, 1_000).is_ok()).count(), 2);
    }

    #[test]
    fn the_machine_itself_has_ten_times_as_much() {
        let buckets = Buckets::new(Rate::per_hour(5), true);
        let passed = |address: [u8; 4]| {
            let key = AddressKey::from(std::net::IpAddr::from(address));
            (0..99).filter(|_| buckets.take_of_address(key, 0).is_ok()).count()
        };
        assert_eq!((passed([192, 0, 2, 1]), passed([127, 0, 0, 1]), passed([127, 0, 0, 2])), (5, 50, 50));
    }

    #[test]
    fn what_is_not_enforced_refuses_nothing() {
        let buckets = Buckets::new(Rate::per_hour(1), false);
        assert!((0..100).all(|_| buckets.take(1, 0).is_ok()));
    }
}
