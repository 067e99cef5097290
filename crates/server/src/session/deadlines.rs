//! Every deadline of a session, in one table.

/// The deadlines of a session. Ticks are milliseconds on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The next ping is due.
    Ping,
    /// The pong to the last ping must have arrived.
    Pong,
    /// The client is asked for a new token.
    AskForToken,
    /// The new token must have arrived.
    NewToken,
    /// New TURN credentials are sent.
    IceServers,
    /// The socket must have taken some of the waiting bytes.
    Write,
    /// The client must be back.
    Resume,
    /// The client may be read from again.
    Read,
}

const COUNT: usize = 8;

/// The tick of each deadline, or [`NEVER`].
#[derive(Debug)]
pub(super) struct Deadlines([u64; COUNT]);

const NEVER: u64 = u64::MAX;
const ALL: [Deadline; COUNT] = [
    Deadline::Ping,
    Deadline::Pong,
    Deadline::AskForToken,
    Deadline::NewToken,
    Deadline::IceServers,
    Deadline::Write,
    Deadline::Resume,
    Deadline::Read,
];

/// A deadline noticed this late means that the node itself stalled: what arrived meanwhile is read first.
const NOTICED_LATE_MS: u64 = 1_000;
/// How long reading it may take.
const TIME_TO_READ_MS: u64 = 500;

impl Deadlines {
    /// A table without deadlines.
    pub(super) const fn new() -> Self {
        Self([NEVER; COUNT])
    }

    /// Sets a deadline, or moves it.
    pub(super) fn set(&mut self, deadline: Deadline, tick: u64) {
        self.0[deadline as usize] = tick;
    }

    /// Removes a deadline.
    pub(super) fn clear(&mut self, deadline: Deadline) {
        self.set(deadline, NEVER);
    }

    /// Removes all deadlines but this one.
    pub(super) fn clear_others(&mut self, kept: Deadline) {
        let tick = self.0[kept as usize];
        *self = Self::new();
        self.set(kept, tick);
    }

    /// Whether it is set.
    pub(super) fn is_set(&self, deadline: Deadline) -> bool {
        self.0[deadline as usize] != NEVER
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or(NEVER)
    }

    /// Whether a deadline has come that a frame from the client would put off.
    pub(super) fn client_is_late(&self, tick: u64) -> bool {
        let by_client = [Deadline::Pong, Deadline::NewToken, Deadline::Write];
        by_client.iter().any(|deadline| self.0[*deadline as usize] <= tick)
    }

    /// Puts off the pong and the write deadline if they are noticed so late that the node itself stalled. A token
    /// still ends in time.
    pub(super) fn put_off_late(&mut self, tick: u64) {
        for deadline in [Deadline::Pong, Deadline::Write] {
            if self.is_set(deadline) && self.0[deadline as usize] + NOTICED_LATE_MS < tick {
                self.set(deadline, tick + TIME_TO_READ_MS);
            }
        }
    }

    /// Takes a deadline that has come, each once.
    pub(super) fn take_due(&mut self, tick: u64) -> Option<Deadline> {
        let due = ALL.into_iter().find(|deadline| self.0[*deadline as usize] <= tick)?;
        self.clear(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deadline_comes_once_and_not_before_its_time() {
        let mut deadlines = Deadlines::new();
        assert_eq!(deadlines.next(), NEVER);
        deadlines.set(Deadline::Ping, 30);
        deadlines.set(Deadline::Write, 10);
        assert_eq!(deadlines.next(), 10);
        assert_eq!(deadlines.take_due(9), None);
        assert_eq!(deadlines.take_due(30), Some(Deadline::Ping));
        assert_eq!(deadlines.take_due(30), Some(Deadline::Write));
        assert_eq!(deadlines.take_due(30), None);
        assert!(!deadlines.is_set(Deadline::Ping));
    }

    #[test]
    fn a_node_that_stalled_reads_before_it_decides() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Deadline::Pong, 1_000);
        deadlines.set(Deadline::NewToken, 1_000);
        deadlines.put_off_late(2_000);
        assert_eq!(deadlines.next(), 1_000, "a second late is as usual");
        deadlines.put_off_late(5_000);
        assert!(deadlines.client_is_late(5_000));
        assert_eq!(deadlines.take_due(5_000), Some(Deadline::NewToken));
        assert_eq!(deadlines.take_due(5_499), None);
        deadlines.put_off_late(5_700);
        assert_eq!(deadlines.take_due(5_700), Some(Deadline::Pong));
    }

    #[test]
    fn all_deadlines_but_one_are_cleared() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Deadline::Ping, 30);
        deadlines.set(Deadline::IceServers, 40);
        deadlines.clear_others(Deadline::IceServers);
        assert!(!deadlines.is_set(Deadline::Ping));
        assert_eq!(deadlines.next(), 40);
    }
}
