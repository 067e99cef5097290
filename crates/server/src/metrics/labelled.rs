//! A counter for each value of an enumeration.

use super::Counter;

/// The counters, in the order in which the values are declared.
#[derive(Debug)]
pub(super) struct Labelled<L: 'static> {
    labels: &'static [L],
    counters: Box<[Counter]>,
}

impl<L: Copy + PartialEq> Labelled<L> {
    /// All counters at 0.
    pub(super) fn new(labels: &'static [L]) -> Self {
        Self { labels, counters: labels.iter().map(|_| Counter::default()).collect() }
    }

    /// Adds one. There are at most a few dozen values of one byte each, so a linear search takes a few nanoseconds.
    pub(super) fn add(&self, label: L) {
        let index = self.labels.iter().position(|known| *known == label);
        if let Some(counter) = index.and_then(|index| self.counters.get(index)) {
            counter.add();
        }
    }

    /// Each value by name with its count.
    pub(super) fn each<N>(&self, name: impl Fn(L) -> N) -> impl Iterator<Item = (N, u64)> {
        self.labels.iter().zip(&self.counters).map(move |(label, counter)| (name(*label), counter.get()))
    }
}
