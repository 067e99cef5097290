//! What a session was told of its user's mailbox, so that it hears of each message once and in order.

/// A gap this large is left to the client's own `sync`: what fills it would crowd out all else in the queue.
const LARGEST_GAP: u64 = 64;

/// How far a session has been told of its user's mailbox.
#[derive(Debug, Default)]
pub(super) struct MailboxCursor {
    /// The last number that it has; 0 where that is not known.
    through: u64,
    /// A `sync` runs: new messages reach the session through it alone. The last number that it would have been told.
    syncing: Option<u64>,
}

/// What to do about a message that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// It is the next one.
    Next,
    /// The session has it, or gets it through its `sync`.
    Known,
    /// Those after this number are missing: another node committed them.
    After(u64),
}

impl MailboxCursor {
    /// A message with this number was committed; where it is the next one, the session is told now.
    pub(super) fn reach(&mut self, seq: u64) -> Reached {
        if let Some(reached) = &mut self.syncing {
            *reached = seq.max(*reached);
            return Reached::Known;
        }
        if seq <= self.through {
            return Reached::Known;
        }
        let missing = seq - self.through - 1;
        if self.through > 0 && (1..=LARGEST_GAP).contains(&missing) {
            return Reached::After(self.through);
        }
        self.through = seq;
        Reached::Next
    }

    /// After which number the session misses messages, where this one is kept and should have been told. None where it
    /// was, comes through a `sync`, or where it is not known what the session has.
    pub(super) fn misses(&self, seq: u64) -> Option<u64> {
        let is_missing = self.syncing.is_none() && self.through > 0 && seq > self.through;
        (is_missing && seq - self.through <= LARGEST_GAP).then_some(self.through)
    }

    /// What is missing cannot be had: the next message is told all the same, and the client sees the gap.
    pub(super) fn leap(&mut self) {
        self.through = 0;
    }

    /// A `sync` begins.
    pub(super) fn begin_sync(&mut self) {
        self.syncing = Some(0);
    }

    /// A `sync` has streamed all that there was, up to this number. False where more was committed meanwhile.
    pub(super) fn end_sync(&mut self, last: u64) -> bool {
        if self.syncing.is_some_and(|reached| reached > last) {
            return false;
        }
        self.syncing = None;
        self.through = self.through.max(last);
        true
    }

    /// A `sync` ended before all was streamed; the client asks again from where it is.
    pub(super) fn abandon_sync(&mut self) {
        self.syncing = None;
        self.through = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_told_once_and_in_order() {
        let mut cursor = MailboxCursor::default();
        assert_eq!(cursor.reach(5), Reached::Next);
        assert_eq!(cursor.reach(5), Reached::Known);
        assert_eq!(cursor.reach(8), Reached::After(5));
        assert_eq!([cursor.reach(6), cursor.reach(7), cursor.reach(8)], [Reached::Next; 3]);
        assert_eq!(cursor.reach(8 + LARGEST_GAP + 2), Reached::Next);
    }

    #[test]
    fn what_was_missed_is_known_where_the_session_has_what_came_before() {
        let mut cursor = MailboxCursor::default();
        assert_eq!(cursor.misses(5), None);
        assert_eq!(cursor.reach(5), Reached::Next);
        assert_eq!(
            [cursor.misses(5), cursor.misses(7), cursor.misses(6 + LARGEST_GAP)],
            [None, Some(5), None]
        );
        cursor.begin_sync();
        assert_eq!(cursor.misses(7), None);
    }

    #[test]
    fn a_gap_that_cannot_be_filled_is_leapt_over() {
        let mut cursor = MailboxCursor::default();
        assert_eq!([cursor.reach(5), cursor.reach(7)], [Reached::Next, Reached::After(5)]);
        cursor.leap();
        assert_eq!([cursor.reach(7), cursor.reach(8)], [Reached::Next; 2]);
    }

    #[test]
    fn what_comes_during_a_sync_comes_through_it_alone() {
        let mut cursor = MailboxCursor::default();
        cursor.begin_sync();
        assert_eq!(cursor.reach(7), Reached::Known);
        assert!(!cursor.end_sync(6), "the seventh is still to be streamed");
        assert!(cursor.end_sync(7));
        assert_eq!(cursor.reach(7), Reached::Known);
        assert_eq!(cursor.reach(8), Reached::Next);
    }

    #[test]
    fn after_a_sync_that_was_cut_short_nothing_is_known() {
        let mut cursor = MailboxCursor::default();
        assert_eq!(cursor.reach(3), Reached::Next);
        cursor.begin_sync();
        cursor.abandon_sync();
        assert_eq!(cursor.reach(9), Reached::Next);
    }
}
