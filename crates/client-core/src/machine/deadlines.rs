//! When the machine has to be called again: the earliest of its deadlines.

use super::{Machine, Mailbox, Phase};
use crate::Instant;

impl<R> Machine<R> {
    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let sleep = self.sleep_watch.deadline().filter(|_| self.minds_sleep());
        let deadlines = [
            self.phase_deadline(),
            self.session_deadline(),
            self.delivery_deadline(),
            self.pending.next_deadline(),
            sleep,
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn phase_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Leaving(leaving) => Some(leaving.deadline()),
            Phase::Waiting(until) => Some(*until).filter(|_| !self.is_offline),
            Phase::Proving(proving) => Some(proving.deadline),
            Phase::Live(live) => Some(live.liveness.deadline()),
            Phase::Idle | Phase::AskingToken | Phase::Dialing(_) | Phase::Finished => None,
        }
    }

    fn session_deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        match &self.phase {
            Phase::Live(_) => session.confirm_by(),
            Phase::Idle
            | Phase::Waiting(_)
            | Phase::AskingToken
            | Phase::Dialing(_)
            | Phase::Proving(_)
            | Phase::Leaving(_)
            | Phase::Finished => session.resume_deadline(),
        }
    }

    /// When something is to be done for rooms and mailbox.
    pub(super) fn delivery_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Leaving(_) | Phase::Finished => return None,
            Phase::Idle
            | Phase::Waiting(_)
            | Phase::AskingToken
            | Phase::Dialing(_)
            | Phase::Proving(_)
            | Phase::Live(_) => {}
        }
        let mailbox = self.mailbox.as_ref();
        let hand_at = mailbox.and_then(Mailbox::hand_at);
        let gaps = [
            self.rooms.gap_deadline(),
            mailbox.and_then(Mailbox::gap_deadline),
            self.background.wait_until(),
        ];
        let gaps = gaps.into_iter().flatten().filter(|_| matches!(self.phase, Phase::Live(_)));
        gaps.chain(hand_at).min()
    }

    /// Whether a sleep of the computer would make a difference.
    pub(super) fn minds_sleep(&self) -> bool {
        matches!(self.phase, Phase::Live(_) | Phase::Waiting(_))
    }
}
