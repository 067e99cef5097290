//! The state of a chain at a given time. It is computed, so no job has to run when a rotation becomes final.

use aldis_protocol::api::{ChainHead, StatementStatus};

use super::{Chain, Link, Statement};
use crate::PublicKey;

/// The state of an identity's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainState {
    /// The key that speaks for the identity.
    pub active_key: PublicKey,
    /// Set while the rotation to the active key can be cancelled.
    pub provisional: Option<Provisional>,
    /// The last statement.
    pub head: ChainHead,
}

/// A rotation inside its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisional {
    /// The rotation, as a cancellation names it.
    pub rotation: ChainHead,
    /// The time at which it becomes final, in Unix milliseconds.
    pub until_ms: u64,
    /// The replaced key, which can only cancel.
    pub old_key: PublicKey,
}

impl Chain {
    /// The state at a given time.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> ChainState {
        // A cancellation names the key that is active again, so the head alone decides.
        let active_key = match self.last().statement() {
            Statement::Genesis(key) => *key,
            Statement::Rotation(rotation) => rotation.new_key,
            Statement::Cancellation(cancellation) => cancellation.signer_key,
        };
        ChainState { active_key, provisional: self.provisional(now_ms), head: self.head() }
    }

    /// The status of each statement, in order.
    pub fn statuses(&self, now_ms: u64) -> impl Iterator<Item = StatementStatus> {
        let followers = self.links.iter().skip(1).map(Some).chain([None]);
        self.links.iter().zip(followers).map(move |(link, next)| status(link, next, now_ms))
    }

    fn provisional(&self, now_ms: u64) -> Option<Provisional> {
        let Statement::Rotation(rotation) = self.last().statement() else { return None };
        let until_ms = self.last().cancellation_deadline_ms().filter(|until_ms| now_ms < *until_ms)?;
        Some(Provisional { rotation: self.head(), until_ms, old_key: rotation.old_key })
    }
}

/// The status of a statement. A rotation that another follows is final whatever the time, because the other was
/// accepted after its window.
fn status(link: &Link, next: Option<&Link>, now_ms: u64) -> StatementStatus {
    let Some(deadline_ms) = link.cancellation_deadline_ms() else { return StatementStatus::Final };
    match next.map(Link::statement) {
        Some(Statement::Cancellation(_)) => StatementStatus::Cancelled,
        None if now_ms < deadline_ms => StatementStatus::Provisional,
        None | Some(Statement::Genesis(_) | Statement::Rotation(_)) => StatementStatus::Final,
    }
}
