//! How far a session has its user's mailbox, so that it gets each message once and in order.

/// A larger gap is left to the client's own `sync`: its messages would crowd out everything else in the queue.
const LARGEST_GAP: u64 = 64;

/// How far a session has its user's mailbox.
#[derive(Debug, Default)]
pub(super) struct MailboxCursor {
    /// The last number that it has; 0 if that is unknown.
    through: u64,
    /// The last number committed during a running `sync`. New messages reach the session only through the `sync`.
    syncing: Option<u64>,
}

/// What to do with a committed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// It is the next one.
    Next,
    /// The session has it, or gets it through its `sync`.
    Known,
    /// The messages after this number are missing: another node committed them.
    After(u64),
}

impl MailboxCursor {
    /// Decides about a committed message with this number. If it is the next one, it counts as pushed.
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

    /// The number after which the session misses messages, if it should already have this one. `None` if it has it,
    /// gets it through a `sync`, or if it is unknown what it has.
    pub(super) fn misses(&self, seq: u64) -> Option<u64> {
        let is_missing = self.syncing.is_none() && self.through > 0 && seq > self.through;
        (is_missing && seq - self.through <= LARGEST_GAP).then_some(self.through)
    }

    /// Skips messages that cannot be read: the next one is pushed anyway, and the client sees the gap.
    pub(super) fn leap(&mut self) {
        self.through = 0;
    }

    /// A `sync` begins.
    pub(super) fn begin_sync(&mut self) {
        self.syncing = Some(0);
    }

    /// A `sync` has streamed everything up to this number. Returns false if more was committed meanwhile.
    pub(super) fn end_sync(&mut self, last: u64) -> bool {
        if self.syncing.is_some_and(|reached| reached > last) {
            return false;
        }
        self.syncing = None;
        self.through = self.through.max(last);
        true
    }

    /// A `sync` ended before everything was streamed; the client continues it with another one.
    pub(super) fn abandon_sync(&mut self) {
        self.syncing = None;
        self.through = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_pushed_once_and_in_order() {
        let mut cursor = MailboxCursor::default();
        assert_eq!(cursor.reach(5), Reached::Next);
        assert_eq!(cursor.reach(5), Reached::Known);
        assert_eq!(cursor.reach(8), Reached::After(5));
        assert_eq!([cursor.reach(6), cursor.reach(7), cursor.reach(8)], [Reached::Next; 3]);
        assert_eq!(cursor.reach(8 + LARGEST_GAP + 2), Reached::Next);
    }

    #[test]
    fn a_gap_is_found_if_the_messages_before_it_are_known() {
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
    fn a_gap_that_cannot_be_filled_is_skipped() {
        let mut cursor = MailboxCursor::default();
        assert_eq!([cursor.reach(5), cursor.reach(7)], [Reached::Next, Reached::After(5)]);
        cursor.leap();
        assert_eq!([cursor.reach(7), cursor.reach(8)], [Reached::Next; 2]);
    }

    #[test]
    fn messages_during_a_sync_come_only_through_it() {
        let mut cursor = MailboxCursor::default();
        cursor.begin_sync();
        assert_eq!(cursor.reach(7), Reached::Known);
        assert!(!cursor.end_sync(6), "the seventh is still to be streamed");
        assert!(cursor.end_sync(7));
        assert_eq!(cursor.reach(7), Reached::Known);
        assert_eq!(cursor.reach(8), Reached::Next);
    }

    #[test]
    fn after_an_aborted_sync_the_position_is_unknown() {
        let mut cursor = MailboxCursor::default();
        assert_eq!(cursor.reach(3), Reached::Next);
        cursor.begin_sync();
        cursor.abandon_sync();
        assert_eq!(cursor.reach(9), Reached::Next);
    }
}
