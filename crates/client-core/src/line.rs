//! Numbers that go up by one, as they arrive: each told once, in turn, and what is missing known.

use std::collections::BTreeMap;

use aldis_protocol::limits::SEQUENCE_LIMIT;

/// Numbers apart from each other that may be passed ahead of their turn. The highest is forgotten for a lower one; what
/// it stands for is then told once more.
const MAX_PASSED: usize = 1_024;

/// How much may wait for its turn. The highest number makes way for a lower one, and has to be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// Numbered items on their way to the application.
///
/// Numbers for which there is nothing to tell, one's own or such as are kept no longer, are *passed*. Numbers that no
/// server can give are not taken in.
#[derive(Debug)]
pub(crate) struct Line<T> {
    limits: Limits,
    /// All up to here is told or passed; none until the line begins.
    told: Option<u64>,
    /// By number, with their sizes.
    items: BTreeMap<u64, (T, usize)>,
    bytes: usize,
    /// Above `told`, from first to last; no two touch.
    passed: BTreeMap<u64, u64>,
}

impl<T> Line<T> {
    pub(crate) const fn new(told: Option<u64>, limits: Limits) -> Self {
        Self { limits, told, items: BTreeMap::new(), bytes: 0, passed: BTreeMap::new() }
    }

    /// Begins behind this number, or moves there.
    pub(crate) fn begin(&mut self, told: u64) {
        let told = told.min(SEQUENCE_LIMIT - 1);
        self.told = self.told.max(Some(told));
        while let Some((number, _)) = self.items.first_key_value().filter(|(number, _)| **number <= told) {
            self.remove(*number);
        }
        self.settle();
    }

    /// Begins again behind this number, which may be lower than what was told. What waits is forgotten.
    pub(crate) fn start_over(&mut self, told: u64) {
        *self = Self::new(Some(told.min(SEQUENCE_LIMIT - 1)), self.limits);
    }

    /// Puts an item in line, unless its number is known. False where something had no place.
    pub(crate) fn offer(&mut self, number: u64, item: T, size: usize) -> bool {
        if self.knows(number) || number >= SEQUENCE_LIMIT {
            return true;
        }
        let mut all_kept = true;
        while self.is_full(size) && self.told.is_none_or(|told| number > told + 1) {
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

    /// There is nothing to tell for this number.
    pub(crate) fn pass(&mut self, number: u64) {
        if number < SEQUENCE_LIMIT {
            self.remove(number);
            self.pass_all(number, number);
        }
    }

    /// Passes what is missing up to this number; gives it as first and last numbers.
    pub(crate) fn pass_missing(&mut self, last: u64) -> Vec<(u64, u64)> {
        let (mut missing, last) = (Vec::new(), last.min(SEQUENCE_LIMIT - 1));
        while let Some(reached) = self.reached().filter(|reached| *reached < last) {
            let next = self.next_known(reached).map_or(last, |next| last.min(next - 1));
            missing.push((reached + 1, next));
            self.pass_all(reached + 1, next);
        }
        missing
    }

    /// Takes what is to be told next.
    pub(crate) fn take(&mut self) -> Option<T> {
        let next = self.told? + 1;
        let item = self.remove(next)?;
        self.told = Some(next);
        self.settle();
        Some(item)
    }

    /// What is to be told next.
    pub(crate) fn next(&self) -> Option<&T> {
        self.items.get(&(self.told? + 1)).map(|(item, _)| item)
    }

    /// All up to this number is told or passed.
    pub(crate) const fn told(&self) -> Option<u64> {
        self.told
    }

    /// All up to this number is there, told or not.
    pub(crate) fn reached(&self) -> Option<u64> {
        let mut reached = self.told?;
        loop {
            let next = reached + 1;
            reached = match self.passed.get(&next) {
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

    /// Whether something waits that is not in turn.
    pub(crate) fn has_gap(&self) -> bool {
        let highest = self.items.last_key_value().map(|(number, _)| *number);
        let highest = highest.max(self.passed.last_key_value().map(|(_, last)| *last));
        highest.is_some() && highest > self.reached()
    }

    /// Whether this number is told, passed or in line.
    pub(crate) fn knows(&self, number: u64) -> bool {
        self.is_over(number) || self.items.contains_key(&number)
    }

    /// Whether this number is told or passed.
    pub(crate) fn is_over(&self, number: u64) -> bool {
        let is_passed = self.passed.range(..=number).next_back().is_some_and(|(_, last)| number <= *last);
        self.told.is_some_and(|told| number <= told) || is_passed
    }

    fn next_known(&self, number: u64) -> Option<u64> {
        let item = self.items.range(number + 1..).next().map(|(item, _)| *item);
        let passed = self.passed.range(number + 1..).next().map(|(first, _)| *first);
        item.into_iter().chain(passed).min()
    }

    fn is_full(&self, size: usize) -> bool {
        self.items.len() >= self.limits.items || self.bytes + size > self.limits.bytes
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let (item, size) = self.items.remove(&number)?;
        self.bytes -= size;
        Some(item)
    }

    /// Passes numbers of which none is in line.
    fn pass_all(&mut self, first: u64, last: u64) {
        if self.is_over(first) && self.is_over(last) {
            return;
        }
        let (mut first, mut last) = (first, last);
        if let Some((before, end)) = self.passed.range(..=first).next_back().map(|(from, to)| (*from, *to))
            && end + 1 >= first
        {
            self.passed.remove(&before);
            (first, last) = (before, last.max(end));
        }
        while let Some((after, end)) =
            self.passed.range(first..=last + 1).next().map(|(from, to)| (*from, *to))
        {
            self.passed.remove(&after);
            last = last.max(end);
        }
        self.passed.insert(first, last);
        self.settle();
        if self.passed.len() > MAX_PASSED {
            self.passed.pop_last();
        }
    }

    /// Goes on over what is passed.
    fn settle(&mut self) {
        let Some(mut told) = self.told else { return };
        while let Some(entry) = self.passed.first_entry().filter(|entry| *entry.key() <= told + 1) {
            told = told.max(entry.remove());
        }
        self.told = Some(told);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { items: 4, bytes: 100 };

    fn line(told: u64) -> Line<u64> {
        Line::new(Some(told), LIMITS)
    }

    fn take_all(line: &mut Line<u64>) -> Vec<u64> {
        std::iter::from_fn(|| line.take()).collect()
    }

    #[test]
    fn what_comes_out_of_turn_waits() {
        let mut line = line(0);
        assert!(line.offer(3, 3, 1) && line.offer(1, 1, 1));
        assert_eq!(take_all(&mut line), [1]);
        assert!(line.has_gap());
        line.pass(2);
        assert_eq!(take_all(&mut line), [3]);
        assert!(!line.has_gap() && line.told() == Some(3));
    }

    #[test]
    fn the_highest_makes_way_for_the_next_in_turn() {
        let mut line = line(0);
        for number in 2..=5 {
            assert!(line.offer(number, number, 1));
        }
        assert!(!line.offer(6, 6, 1), "no place");
        assert!(line.offer(1, 1, 1), "what is in turn has a place always");
        assert_eq!(take_all(&mut line), [1, 2, 3, 4, 5]);
        assert!(line.offer(8, 8, 90) && !line.offer(7, 7, 11), "bytes count as well");
        assert_eq!(line.pass_missing(6), [(6, 6)]);
        assert_eq!(take_all(&mut line), [7]);
    }

    #[test]
    fn what_is_missing_is_passed_and_named() {
        let mut line = line(10);
        line.offer(13, 13, 1);
        line.pass(15);
        assert_eq!(line.pass_missing(16), [(11, 12), (14, 14), (16, 16)]);
        assert_eq!((take_all(&mut line), line.told()), (vec![13], Some(16)));
        assert_eq!(line.pass_missing(16), []);
    }

    #[test]
    fn a_line_without_a_beginning_tells_nothing() {
        let mut line = Line::new(None, LIMITS);
        line.offer(7, 7, 1);
        line.pass(5);
        assert_eq!((line.take(), line.reached(), line.lowest(), line.has_gap()), (None, None, Some(5), true));
        line.begin(4);
        assert_eq!((line.take(), line.told(), line.has_gap()), (None, Some(5), true));
        line.begin(6);
        assert_eq!((line.take(), line.has_gap()), (Some(7), false));
        line.begin(3);
        assert_eq!(line.told(), Some(7), "it never goes back");
    }

    #[test]
    fn numbers_passed_ahead_are_bounded() {
        let mut line = line(0);
        for number in 1..=2_000 {
            line.pass(2 * number);
        }
        assert_eq!(line.passed.len(), MAX_PASSED);
        assert!(line.is_over(2) && !line.is_over(4_000));
    }

    proptest! {
        #[test]
        fn each_number_is_told_once_in_turn_or_passed(
            steps in prop::collection::vec((0..4_u8, 1..30_u64), 0..80),
        ) {
            let mut line = line(0);
            let (mut told, mut passed) = (Vec::new(), BTreeSet::new());
            for (what, number) in steps {
                match what {
                    0 | 1 => drop(line.offer(number, number, 1)),
                    2 if !told.contains(&number) => {
                        line.pass(number);
                        passed.insert(number);
                    }
                    2 => line.pass(number),
                    _ => line.pass_missing(number).iter().for_each(|(first, last)| passed.extend(*first..=*last)),
                }
                told.extend(take_all(&mut line));
                let up_to = line.told().unwrap();
                let mut over: BTreeSet<u64> = passed.iter().copied().filter(|it| *it <= up_to).collect();
                over.extend(&told);
                prop_assert!(told.is_sorted());
                prop_assert_eq!(over.len(), told.len() + passed.iter().filter(|it| **it <= up_to).count());
                prop_assert_eq!(over, (1..=up_to).collect());
                prop_assert!(line.items.len() <= LIMITS.items && line.next().is_none());
                prop_assert_eq!(line.bytes, line.items.len());
            }
        }
    }
}
