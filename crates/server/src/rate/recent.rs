//! A bounded map that forgets what was not used recently.

use std::{collections::HashMap, hash::Hash};

/// Values by key. A value that is not used for its lifetime is forgotten before twice that time is over; its owner
/// must not need it by then. At the limit, the half that was not used for longest is forgotten.
///
/// Two generations make both cheap: a value moves to the young generation when it is used, and a turn drops the old
/// generation as a whole.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The tick of the last turn.
    turned: u64,
    lifetime_ms: u64,
    half: usize,
}

impl<K: Eq + Hash, V: Default> Recent<K, V> {
    /// A map of at most `limit` values.
    pub(super) fn new(lifetime_ms: u64, limit: usize) -> Self {
        let half = (limit / 2).max(1);
        Self { young: HashMap::new(), old: HashMap::new(), turned: 0, lifetime_ms, half }
    }

    /// The value of a key; a new one if there is none.
    pub(super) fn entry(&mut self, key: K, tick: u64) -> &mut V {
        self.forget(tick);
        let known = self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.turn(tick);
        }
        self.young.entry(key).or_insert_with(|| known.unwrap_or_default())
    }

    /// The value of a key, if there is one. This does not count as a use.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// Forgets a value.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets values that were not used for their lifetime.
    pub(super) fn forget(&mut self, tick: u64) {
        let unused = tick.saturating_sub(self.turned);
        if unused < self.lifetime_ms {
            return;
        }
        self.turn(tick);
        if unused >= 2 * self.lifetime_ms {
            self.old = HashMap::new();
        }
    }

    fn turn(&mut self, tick: u64) {
        self.old = std::mem::take(&mut self.young);
        self.turned = tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(recent: &Recent<u32, u32>) -> usize {
        recent.young.len() + recent.old.len()
    }

    #[test]
    fn a_value_lives_from_its_last_use() {
        let mut recent = Recent::new(100, 10);
        *recent.entry(1, 0) = 7;
        assert_eq!(*recent.entry(1, 99), 7);
        assert_eq!(*recent.entry(1, 198), 7);
        assert_eq!(*recent.entry(2, 297), 0);
        assert_eq!(recent.get_mut(&1), Some(&mut 7));
        recent.forget(398);
        assert_eq!(recent.get_mut(&1), None);
        recent.forget(1_000);
        assert_eq!(held(&recent), 0);
    }

    #[test]
    fn at_the_limit_the_least_recently_used_half_is_forgotten() {
        let mut recent = Recent::new(1_000_000, 10);
        for key in 0..1_000 {
            *recent.entry(key, 1) += 1;
            *recent.entry(0, 1) += 1;
            assert!(held(&recent) <= 10);
        }
        assert_eq!(*recent.entry(0, 1), 1_001);
        assert_eq!(recent.get_mut(&1), None);
    }
}
