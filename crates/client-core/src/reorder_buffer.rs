//! Puts numbered items back into order: each is delivered once, in sequence, and gaps are known.

use std::collections::BTreeMap;

use aldis_protocol::limits::SEQUENCE_LIMIT;

/// Separate ranges of numbers that may be skipped ahead of their turn. Above that the highest range is forgotten, and
/// its items are delivered once more.
const MAX_SKIPPED: usize = 1_024;

/// How much may wait for its turn. The highest number is dropped for a lower one, and has to be requested again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// Numbered items on their way to the application.
///
/// Numbers without an item to deliver are *skipped*: the application's own messages, and those that the server no longer
/// has. Numbers at or above [`SEQUENCE_LIMIT`] are ignored, since no server assigns them.
#[derive(Debug)]
pub(crate) struct ReorderBuffer<T> {
    limits: Limits,
    /// All numbers up to this one are delivered or skipped; none until the buffer has a start.
    delivered: Option<u64>,
    /// By number, with their sizes.
    items: BTreeMap<u64, (T, usize)>,
    bytes: usize,
    /// Ranges above `delivered`, from first to last number; no two touch.
    skipped: BTreeMap<u64, u64>,
}

impl<T> ReorderBuffer<T> {
    pub(crate) const fn new(delivered: Option<u64>, limits: Limits) -> Self {
        Self { limits, delivered, items: BTreeMap::new(), bytes: 0, skipped: BTreeMap::new() }
    }

    /// Starts after this number, or moves forward to it.
    pub(crate) fn begin(&mut self, delivered: u64) {
        let delivered = delivered.min(SEQUENCE_LIMIT - 1);
        self.delivered = self.delivered.max(Some(delivered));
        while let Some((number, _)) = self.items.first_key_value().filter(|(number, _)| **number <= delivered)
        {
            self.remove(*number);
        }
        self.settle();
    }

    /// Starts over after this number, which may be lower than what was delivered. Waiting items are dropped.
    pub(crate) fn start_over(&mut self, delivered: u64) {
        *self = Self::new(Some(delivered.min(SEQUENCE_LIMIT - 1)), self.limits);
    }

    /// Adds an item, unless its number is known. Returns false if an item had to be dropped.
    pub(crate) fn offer(&mut self, number: u64, item: T, size: usize) -> bool {
        if self.knows(number) || number >= SEQUENCE_LIMIT {
            return true;
        }
        let mut all_kept = true;
        while self.is_full(size) && self.delivered.is_none_or(|delivered| number > delivered + 1) {
            all_kept = false;
            match self.items.last_key_value() {
                Some((highest, _)) if *highest > number => self.remove(*highest),
                _ => return false,
            };
        }
        self.items.insert(number, (item, size));
        self.bytes += size;
        all_kept
    }

    /// Marks a number as one without an item to deliver.
    pub(crate) fn skip(&mut self, number: u64) {
        if number < SEQUENCE_LIMIT {
            self.remove(number);
            self.skip_range(number, number);
        }
    }

    /// Skips the missing numbers up to this one, and returns them as ranges.
    pub(crate) fn skip_missing(&mut self, last: u64) -> Vec<(u64, u64)> {
        let (mut missing, last) = (Vec::new(), last.min(SEQUENCE_LIMIT - 1));
        while let Some(reached) = self.reached().filter(|reached| *reached < last) {
            let next = self.next_known(reached).map_or(last, |next| last.min(next - 1));
            missing.push((reached + 1, next));
            self.skip_range(reached + 1, next);
        }
        missing
    }

    /// Takes the next item to deliver.
    pub(crate) fn take(&mut self) -> Option<T> {
        let next = self.delivered? + 1;
        let item = self.remove(next)?;
        self.delivered = Some(next);
        self.settle();
        Some(item)
    }

    /// The next item to deliver.
    pub(crate) fn next(&self) -> Option<&T> {
        self.items.get(&(self.delivered? + 1)).map(|(item, _)| item)
    }

    /// All numbers up to this one are delivered or skipped.
    pub(crate) const fn delivered(&self) -> Option<u64> {
        self.delivered
    }

    /// All numbers up to this one have arrived, delivered or not.
    pub(crate) fn reached(&self) -> Option<u64> {
        let mut reached = self.delivered?;
        loop {
            let next = reached + 1;
            reached = match self.skipped.get(&next) {
                Some(last) => *last,
                None if self.items.contains_key(&next) => next,
                None => return Some(reached),
            };
        }
    }

    /// The lowest number that waits for its turn.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.next_known(0)
    }

    /// Whether a number is missing below one that waits.
    pub(crate) fn has_gap(&self) -> bool {
        let highest = self.items.last_key_value().map(|(number, _)| *number);
        let highest = highest.max(self.skipped.last_key_value().map(|(_, last)| *last));
        highest.is_some() && highest > self.reached()
    }

    /// Whether this number is delivered, skipped or waiting.
    pub(crate) fn knows(&self, number: u64) -> bool {
        self.is_done(number) || self.items.contains_key(&number)
    }

    /// Whether this number is delivered or skipped.
    pub(crate) fn is_done(&self, number: u64) -> bool {
        let is_skipped = self.skipped.range(..=number).next_back().is_some_and(|(_, last)| number <= *last);
        self.delivered.is_some_and(|delivered| number <= delivered) || is_skipped
    }

    fn next_known(&self, number: u64) -> Option<u64> {
        let item = self.items.range(number + 1..).next().map(|(item, _)| *item);
        let skipped = self.skipped.range(number + 1..).next().map(|(first, _)| *first);
        item.into_iter().chain(skipped).min()
    }

    fn is_full(&self, size: usize) -> bool {
        self.items.len() >= self.limits.items || self.bytes + size > self.limits.bytes
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let (item, size) = self.items.remove(&number)?;
        self.bytes -= size;
        Some(item)
    }

    /// Skips a range that holds no waiting item, and merges it with the ranges that it touches.
    fn skip_range(&mut self, first: u64, last: u64) {
        if self.is_done(first) && self.is_done(last) {
            return;
        }
        let (mut first, mut last) = (first, last);
        if let Some((before, end)) = self.skipped.range(..=first).next_back().map(|(from, to)| (*from, *to))
            && end + 1 >= first
        {
            self.skipped.remove(&before);
            (first, last) = (before, last.max(end));
        }
        while let Some((after, end)) =
            self.skipped.range(first..=last + 1).next().map(|(from, to)| (*from, *to))
        {
            self.skipped.remove(&after);
            last = last.max(end);
        }
        self.skipped.insert(first, last);
        self.settle();
        if self.skipped.len() > MAX_SKIPPED {
            self.skipped.pop_last();
        }
    }

    /// Moves `delivered` over the ranges that follow it.
    fn settle(&mut self) {
        let Some(mut delivered) = self.delivered else { return };
        while let Some(entry) = self.skipped.first_entry().filter(|entry| *entry.key() <= delivered + 1) {
            delivered = delivered.max(entry.remove());
        }
        self.delivered = Some(delivered);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { items: 4, bytes: 100 };

    fn buffer(delivered: u64) -> ReorderBuffer<u64> {
        ReorderBuffer::new(Some(delivered), LIMITS)
    }

    fn take_all(buffer: &mut ReorderBuffer<u64>) -> Vec<u64> {
        std::iter::from_fn(|| buffer.take()).collect()
    }

    #[test]
    fn an_item_out_of_order_waits() {
        let mut buffer = buffer(0);
        assert!(buffer.offer(3, 3, 1) && buffer.offer(1, 1, 1));
        assert_eq!(take_all(&mut buffer), [1]);
        assert!(buffer.has_gap());
        buffer.skip(2);
        assert_eq!(take_all(&mut buffer), [3]);
        assert!(!buffer.has_gap() && buffer.delivered() == Some(3));
    }

    #[test]
    fn the_highest_makes_way_for_the_next_in_turn() {
        let mut buffer = buffer(0);
        for number in 2..=5 {
            assert!(buffer.offer(number, number, 1));
        }
        assert!(!buffer.offer(6, 6, 1), "no place");
        assert!(buffer.offer(1, 1, 1), "what is in turn has a place always");
        assert_eq!(take_all(&mut buffer), [1, 2, 3, 4, 5]);
        assert!(buffer.offer(8, 8, 90) && !buffer.offer(7, 7, 11), "bytes count as well");
        assert_eq!(buffer.skip_missing(6), [(6, 6)]);
        assert_eq!(take_all(&mut buffer), [7]);
    }

    #[test]
    fn missing_numbers_are_skipped_and_named() {
        let mut buffer = buffer(10);
        buffer.offer(13, 13, 1);
        buffer.skip(15);
        assert_eq!(buffer.skip_missing(16), [(11, 12), (14, 14), (16, 16)]);
        assert_eq!((take_all(&mut buffer), buffer.delivered()), (vec![13], Some(16)));
        assert_eq!(buffer.skip_missing(16), []);
    }

    #[test]
    fn a_buffer_without_a_start_delivers_nothing() {
        let mut buffer = ReorderBuffer::new(None, LIMITS);
        buffer.offer(7, 7, 1);
        buffer.skip(5);
        assert_eq!(
            (buffer.take(), buffer.reached(), buffer.lowest(), buffer.has_gap()),
            (None, None, Some(5), true)
        );
        buffer.begin(4);
        assert_eq!((buffer.take(), buffer.delivered(), buffer.has_gap()), (None, Some(5), true));
        buffer.begin(6);
        assert_eq!((buffer.take(), buffer.has_gap()), (Some(7), false));
        buffer.begin(3);
        assert_eq!(buffer.delivered(), Some(7), "it never goes back");
    }

    #[test]
    fn numbers_skipped_ahead_are_bounded() {
        let mut buffer = buffer(0);
        for number in 1..=2_000 {
            buffer.skip(2 * number);
        }
        assert_eq!(buffer.skipped.len(), MAX_SKIPPED);
        assert!(buffer.is_done(2) && !buffer.is_done(4_000));
    }

    proptest! {
        #[test]
        fn each_number_is_delivered_once_in_order_or_skipped(
            steps in prop::collection::vec((0..4_u8, 1..30_u64), 0..80),
        ) {
            let mut buffer = buffer(0);
            let (mut delivered, mut skipped) = (Vec::new(), BTreeSet::new());
            for (what, number) in steps {
                match what {
                    0 | 1 => drop(buffer.offer(number, number, 1)),
                    2 if !delivered.contains(&number) => {
                        buffer.skip(number);
                        skipped.insert(number);
                    }
                    2 => buffer.skip(number),
                    _ => buffer.skip_missing(number).iter().for_each(|(first, last)| skipped.extend(*first..=*last)),
                }
                delivered.extend(take_all(&mut buffer));
                let up_to = buffer.delivered().unwrap();
                let mut over: BTreeSet<u64> = skipped.iter().copied().filter(|it| *it <= up_to).collect();
                over.extend(&delivered);
                prop_assert!(delivered.is_sorted());
                prop_assert_eq!(over.len(), delivered.len() + skipped.iter().filter(|it| **it <= up_to).count());
                prop_assert_eq!(over, (1..=up_to).collect());
                prop_assert!(buffer.items.len() <= LIMITS.items && buffer.next().is_none());
                prop_assert_eq!(buffer.bytes, buffer.items.len());
            }
        }
    }
}
