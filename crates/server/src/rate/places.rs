//! Counts what each key holds.

use std::{hash::Hash, sync::Arc};

use dashmap::{DashMap, Entry};

/// Amounts by key. A key that holds nothing is forgotten.
#[derive(Debug)]
pub(crate) struct Places<K: Eq + Hash>(DashMap<K, usize>);

/// An amount that a key holds until this is dropped.
#[derive(Debug)]
#[must_use = "it is given back when this is dropped"]
pub(crate) struct Placed<K: Eq + Hash + Copy> {
    places: Arc<Places<K>>,
    key: K,
    amount: usize,
}

impl<K: Eq + Hash + Copy> Places<K> {
    /// No key holds anything.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(DashMap::new()))
    }

    /// Takes an amount for a key, if the key then holds at most `limit`.
    pub(crate) fn take(self: &Arc<Self>, key: K, amount: usize, limit: usize) -> Option<Placed<K>> {
        match self.0.entry(key) {
            Entry::Occupied(mut held) if held.get().saturating_add(amount) <= limit => {
                *held.get_mut() += amount;
            }
            Entry::Vacant(free) if amount <= limit => drop(free.insert(amount)),
            Entry::Occupied(_) | Entry::Vacant(_) => return None,
        }
        Some(Placed { places: Arc::clone(self), key, amount })
    }
}

impl<K: Eq + Hash + Copy> Drop for Placed<K> {
    fn drop(&mut self) {
        self.places.0.remove_if_mut(&self.key, |_, held| {
            *held -= self.amount;
            *held == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_of_each_key_is_limited_and_returned() {
        let places = Places::new();
        let held: Vec<_> = (0..3).map(|_| places.take("a", 2, 6).unwrap()).collect();
        assert!(places.take("a", 1, 6).is_none() && places.take("b", 7, 6).is_none());
        let other = places.take("b", 6, 6);
        assert!(other.is_some());
        drop((held, other));
        assert!(places.0.is_empty());
    }
}
