//! Watched users of whose presence a session is to tell its client: only who, since what is written is how they show
//! themselves at that moment. So a slow client gets the latest of each, and this stays small.

use std::collections::{HashSet, VecDeque};

use aldis_protocol::{UserId, limits::MAX_SUBSCRIPTIONS};

/// Users of whom the client is told at a time, before the socket's turn to take something else comes.
const AT_ONCE: usize = 32;

/// Marks that are kept at most. A session watches half as many; what is over it is of users it watched before, and the
/// oldest goes first.
const LIMIT: usize = 2 * MAX_SUBSCRIPTIONS;

/// What a mark costs, roughly: an id in the order, and one in the set.
const BYTES_PER_MARK: usize = 64;

/// Users who are marked, each once, in the order in which they were. Nothing is kept where nobody is.
#[derive(Debug, Default)]
pub(super) struct DirtyPresence(Option<Box<Marked>>);

#[derive(Debug, Default)]
struct Marked {
    order: VecDeque<UserId>,
    known: HashSet<UserId>,
}

impl DirtyPresence {
    /// The client is to be told of this user.
    pub(super) fn add(&mut self, user: UserId) {
        let marked = self.0.get_or_insert_default();
        if !marked.known.insert(user) {
            return;
        }
        if marked.order.len() == LIMIT
            && let Some(oldest) = marked.order.pop_front()
        {
            marked.known.remove(&oldest);
        }
        marked.order.push_back(user);
    }

    /// Takes some, the longest marked first.
    pub(super) fn take(&mut self) -> Vec<UserId> {
        let Some(marked) = &mut self.0 else { return Vec::new() };
        let count = marked.order.len().min(AT_ONCE);
        let taken: Vec<UserId> = marked.order.drain(..count).collect();
        taken.iter().for_each(|user| {
            marked.known.remove(user);
        });
        if marked.order.is_empty() {
            self.0 = None;
        }
        taken
    }

    /// Roughly what they cost.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |marked| marked.order.len() * BYTES_PER_MARK)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: usize) -> UserId {
        UserId::new(Uuid::from_u128(number as u128))
    }

    #[test]
    fn each_is_taken_once_in_the_order_of_the_marks() {
        let mut marks = DirtyPresence::default();
        assert_eq!(marks.take(), []);
        [1, 2, 1, 3, 2].into_iter().for_each(|number| marks.add(user(number)));
        assert_eq!(marks.bytes(), 3 * BYTES_PER_MARK);
        assert_eq!(marks.take(), [1, 2, 3].map(user));
        assert_eq!((marks.take(), marks.bytes()), (vec![], 0));
        marks.add(user(1));
        assert_eq!(marks.take(), [user(1)]);
    }

    #[test]
    fn many_are_taken_in_parts_and_too_many_are_not_kept() {
        let mut marks = DirtyPresence::default();
        (0..=LIMIT).for_each(|number| marks.add(user(number)));
        marks.add(user(0));
        let mut taken = Vec::new();
        loop {
            let some = marks.take();
            if some.is_empty() {
                break;
            }
            assert!(some.len() <= AT_ONCE);
            taken.extend(some);
        }
        let expected: Vec<_> = (2..=LIMIT).chain([0]).map(user).collect();
        assert_eq!(taken, expected);
    }
}
