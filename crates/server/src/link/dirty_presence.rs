//! Watched users whose presence a session has to send. Only the users are kept: the session reads their presence when
//! it writes. So a slow client gets the latest of each, and the memory stays small.

use std::collections::{HashSet, VecDeque};

use aldis_protocol::{UserId, limits::MAX_SUBSCRIPTIONS};

/// Users that are sent in one go, before the socket takes other frames.
const AT_ONCE: usize = 32;

/// The most marks that are kept. A session watches half as many; the rest are users whom it watched before. The
/// oldest goes first.
const LIMIT: usize = 2 * MAX_SUBSCRIPTIONS;

/// Roughly what a mark costs: an id in the order, and one in the set.
const BYTES_PER_MARK: usize = 64;

/// Marked users, each once, in the order of their marks. Allocates only if there are some.
#[derive(Debug, Default)]
pub(super) struct DirtyPresence(Option<Box<Marked>>);

#[derive(Debug, Default)]
struct Marked {
    order: VecDeque<UserId>,
    known: HashSet<UserId>,
}

impl DirtyPresence {
    /// Marks a user.
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

    /// Takes some users, the longest marked first.
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

    /// Roughly how many bytes they take.
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
    fn each_user_is_taken_once_in_the_order_of_the_marks() {
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
    fn many_users_are_taken_in_parts_and_the_oldest_dropped() {
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
