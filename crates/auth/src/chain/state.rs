//! What a chain says at a given time. No job has to run for a rotation to become final.

use aldis_protocol::api::{ChainHead, StatementStatus};

use super::{Chain, Link, Statement};
use crate::PublicKey;

/// Which key speaks for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainState {
    /// The one that does.
    pub active_key: PublicKey,
    /// Set while the rotation to it can be cancelled.
    pub provisional: Option<Provisional>,
    /// The last statement.
    pub head: ChainHead,
}

/// A rotation inside its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisional {
    /// The rotation: what a cancellation names.
    pub rotation: ChainHead,
    /// The first moment at which it is final, in Unix milliseconds.
    pub until_ms: u64,
    /// The key that was replaced: it can cancel, and nothing else.
    pub old_key: PublicKey,
}

impl Chain {
    /// The state at a given time.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> ChainState {
        // A cancellation names the key that is active again: the head alone decides.
        let active_key = match self.last().statement() {
            Statement::Genesis(key) => *key,
            Statement::Rotation(rotation) => rotation.new_key,
            Statement::Cancellation(cancellation) => cancellation.signer_key,
        };
        ChainState { active_key, provisional: self.provisional(now_ms), head: self.head() }
    }

    /// What became of each statement, in their order.
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

/// A rotation that another followed is final, whatever the time: the other was accepted after its window.
fn status(link: &Link, next: Option<&Link>, now_ms: u64) -> StatementStatus {
    let Some(deadline_ms) = link.cancellation_deadline_ms() else { return StatementStatus::Final };
    match next.map(Link::statement) {
        Some(Statement::Cancellation(_)) => StatementStatus::Cancelled,
        None if now_ms < deadline_ms => StatementStatus::Provisional,
        None | Some(Statement::Genesis(_) | Statement::Rotation(_)) => StatementStatus::Final,
    }
}
