//! Which notices a session was sent, so that it is sent none twice.

use std::collections::VecDeque;

use uuid::Uuid;

/// More than can wait for a device at once.
const LIMIT: usize = 256;

/// The last notices that the session was sent. Allocates only if there are some.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a session without notices should not carry an empty queue")]
pub(super) struct ToldNotices(Option<Box<VecDeque<Uuid>>>);

impl ToldNotices {
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.0.as_ref().is_some_and(|told| told.contains(&id))
    }

    pub(super) fn add(&mut self, id: Uuid) {
        let told = self.0.get_or_insert_default();
        told.push_back(id);
        if told.len() > LIMIT {
            told.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_as_many_as_can_wait() {
        let mut told = ToldNotices::default();
        for number in 0..=LIMIT {
            told.add(Uuid::from_u128(number as u128));
        }
        assert!(!told.has(Uuid::from_u128(0)));
        assert!((1..=LIMIT).all(|number| told.has(Uuid::from_u128(number as u128))));
    }
}
