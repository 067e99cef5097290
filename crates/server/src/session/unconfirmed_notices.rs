//! Notices that were sent and that the client has not confirmed yet.
//!
//! A notice stays in the database until its client confirms it: by a `received` that counts its frame, or by the pong to
//! a ping that was sent after it. Whatever ends the session before that, the notice is sent again at the next connect.

use std::{collections::VecDeque, mem};

use uuid::Uuid;

/// The unconfirmed notices of a session, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedNotices {
    /// Each with the number of its counted frame.
    sent: VecDeque<(u64, Uuid)>,
    /// How many counted frames were sent before the ping whose pong is awaited.
    sent_before_ping: Option<u64>,
    /// To be deleted.
    confirmed: Vec<Uuid>,
}

impl UnconfirmedNotices {
    /// A notice was sent as the counted frame with this number.
    pub(super) fn sent(&mut self, number: u64, id: Uuid) {
        self.sent.push_back((number, id));
    }

    /// Whether the client has to confirm some.
    pub(super) fn are_awaited(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether nothing is awaited, and nothing to be deleted.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.confirmed.is_empty()
    }

    /// The client has received this many counted frames.
    pub(super) fn received(&mut self, count: u64) {
        while let Some((_, id)) = self.sent.pop_front_if(|(number, _)| *number <= count) {
            self.confirmed.push(id);
        }
    }

    /// A ping is sent after this many counted frames. While the pong to an earlier one is awaited, that one counts: the
    /// client may answer both by one pong.
    pub(super) fn pinged(&mut self, sent: u64) {
        self.sent_before_ping.get_or_insert(sent);
    }

    /// A pong arrived.
    pub(super) fn ponged(&mut self) {
        if let Some(count) = self.sent_before_ping.take() {
            self.received(count);
        }
    }

    /// The pongs of the last socket will not arrive.
    pub(super) fn lose_socket(&mut self) {
        self.sent_before_ping = None;
    }

    /// Takes the notices that were confirmed.
    pub(super) fn take_confirmed(&mut self) -> Vec<Uuid> {
        mem::take(&mut self.confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Uuid {
        Uuid::from_u128(number.into())
    }

    fn with_sent(numbers: &[u64]) -> UnconfirmedNotices {
        let mut notices = UnconfirmedNotices::default();
        numbers.iter().for_each(|number| notices.sent(*number, id(*number)));
        notices
    }

    #[test]
    fn a_count_confirms_what_it_covers() {
        let mut notices = with_sent(&[2, 5]);
        notices.received(1);
        assert!(notices.take_confirmed().is_empty());
        notices.received(4);
        assert_eq!(notices.take_confirmed(), [id(2)]);
        assert!(notices.are_awaited());
        notices.received(9);
        assert_eq!(notices.take_confirmed(), [id(5)]);
        assert!(notices.is_empty());
    }

    #[test]
    fn a_pong_confirms_what_came_before_its_ping() {
        let mut notices = with_sent(&[1, 2]);
        notices.pinged(1);
        // This ping may share its pong with the first.
        notices.pinged(2);
        notices.ponged();
        assert_eq!(notices.take_confirmed(), [id(1)]);
        notices.ponged();
        assert!(notices.take_confirmed().is_empty());
        notices.pinged(2);
        notices.ponged();
        assert_eq!(notices.take_confirmed(), [id(2)]);
    }

    #[test]
    fn a_pong_on_the_next_socket_confirms_nothing_of_the_last() {
        let mut notices = with_sent(&[1]);
        notices.pinged(1);
        notices.lose_socket();
        notices.ponged();
        assert!(notices.take_confirmed().is_empty());
        assert!(notices.are_awaited());
    }
}
