//! An identity's chain: it proves by signatures alone which key speaks for the identity.
//!
//! It begins with the first key, whose hash is the identity's fingerprint. A rotation changes to a new key and is
//! signed by the old and the new key. For [`CANCELLATION_WINDOW_MS`] the replaced key, and only that key, can cancel
//! it. Only one rotation at a time can be inside its window, so a cancellation always follows the rotation that it
//! cancels directly.
//!
//! Server and client verify a chain with the same code. The signatures do not cover the time at which the server
//! accepted a statement. That time must be within [`MAX_CLOCK_SKEW_MS`] of the signed time, and with a [`Pin`] a
//! client notices if the server changes it later.

mod error;
mod pin;
mod state;
mod statement;
mod wire;

pub use aldis_protocol::limits::MAX_REASON_BYTES;
use aldis_protocol::{Fingerprint, api::ChainHead};

pub use self::{
    error::ChainError,
    pin::{ChainForked, Pin, check_pin},
    state::{ChainState, Provisional},
    statement::{Cancellation, Link, Rotation, Statement},
};
use crate::PublicKey;

/// How long a rotation can be cancelled, from its acceptance on: 72 hours. At exactly 72 hours it can no longer be
/// cancelled.
pub const CANCELLATION_WINDOW_MS: u64 = 72 * 60 * 60 * 1_000;
/// The largest difference between the signed time and the time of acceptance.
pub const MAX_CLOCK_SKEW_MS: u64 = 10 * 60 * 1_000;
/// The most statements of a chain. Only a cancellation may take the last place, so that filling the chain cannot
/// prevent the cancellation of a rotation.
pub const MAX_CHAIN_LENGTH: usize = 1_000;

/// A complete chain. Every value of this type is verified, and stays so as it grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    fingerprint: Fingerprint,
    first_key: PublicKey,
    /// Never empty: the first is the genesis.
    links: Vec<Link>,
}

/// The outcome of a statement that a server received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance<'a> {
    /// It is the chain's new head and must be stored.
    Added(&'a Link),
    /// The same statement was accepted before; nothing changed.
    AlreadyThere(&'a Link),
}

impl Chain {
    /// The chain of a new identity. All times are Unix milliseconds.
    #[must_use]
    pub fn begin(first_key: PublicKey, accepted_at_ms: u64) -> Self {
        let fingerprint = first_key.fingerprint();
        let genesis = Link::new(fingerprint, Statement::Genesis(first_key), accepted_at_ms);
        Self { fingerprint, first_key, links: vec![genesis] }
    }

    /// Verifies the chain of the identity that the caller asked for. Each statement comes with its time of acceptance.
    /// It costs two signature checks for each rotation, and stops at the first invalid statement.
    ///
    /// # Errors
    /// [`ChainError::NotGenesis`] if the first key does not have this fingerprint; otherwise as
    /// [`append`](Self::append).
    pub fn verify(
        fingerprint: Fingerprint,
        statements: impl IntoIterator<Item = (Statement, u64)>,
    ) -> Result<Self, ChainError> {
        let mut statements = statements.into_iter();
        let mut chain = match statements.next() {
            Some((Statement::Genesis(key), at_ms)) if key.fingerprint() == fingerprint => {
                Self::begin(key, at_ms)
            }
            _ => return Err(ChainError::NotGenesis),
        };
        statements.try_for_each(|(statement, at_ms)| chain.append(statement, at_ms).map(|_| ()))?;
        Ok(chain)
    }

    /// Verifies a statement that was accepted at a given time, and adds it.
    ///
    /// # Errors
    /// [`ChainError`]; the chain is unchanged.
    pub fn append(&mut self, statement: Statement, accepted_at_ms: u64) -> Result<&Link, ChainError> {
        if accepted_at_ms <= self.last().accepted_at_ms() {
            return Err(ChainError::AcceptedBeforeHead);
        }
        match &statement {
            Statement::Genesis(_) => return Err(ChainError::NotGenesis),
            Statement::Rotation(rotation) => self.check_rotation(rotation, accepted_at_ms)?,
            Statement::Cancellation(cancellation) => self.check_cancellation(cancellation, accepted_at_ms)?,
        }
        self.links.push(Link::new(self.fingerprint, statement, accepted_at_ms));
        Ok(self.last())
    }

    /// Accepts a statement from its author, as the server does. Its time of acceptance is `now_ms`, or 1 ms after the
    /// head's if the clock is behind that. Repeating a statement changes nothing.
    ///
    /// The caller must check that a new key was not used in another chain or by a device.
    ///
    /// # Errors
    /// [`ChainError`]; the chain is unchanged.
    pub fn accept(
        &mut self,
        statement: impl Into<Statement>,
        now_ms: u64,
    ) -> Result<Acceptance<'_>, ChainError> {
        let statement = statement.into();
        if let Some(place) = self.links.iter().position(|link| *link.statement() == statement) {
            return Ok(Acceptance::AlreadyThere(&self.links[place]));
        }
        let accepted_at_ms = now_ms.max(self.last().accepted_at_ms().saturating_add(1));
        self.append(statement, accepted_at_ms).map(Acceptance::Added)
    }

    /// The identity.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The first key.
    #[must_use]
    pub const fn first_key(&self) -> &PublicKey {
        &self.first_key
    }

    /// The statements with their hashes and times, beginning with the genesis; the index of each is its sequence.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The head, which the next statement must name.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        ChainHead { sequence: self.next_sequence() - 1, hash: self.last().hash() }
    }

    /// Whether the key was ever in this chain, even in a cancelled rotation.
    #[must_use]
    pub fn has_seen(&self, key: &PublicKey) -> bool {
        self.links.iter().any(|link| match link.statement() {
            Statement::Genesis(seen) => seen == key,
            Statement::Rotation(rotation) => rotation.new_key == *key,
            Statement::Cancellation(_) => false,
        })
    }

    fn check_rotation(&self, rotation: &Rotation, accepted_at_ms: u64) -> Result<(), ChainError> {
        check_reason(&rotation.reason)?;
        let state = self.state(accepted_at_ms);
        if state.provisional.is_some() {
            return Err(ChainError::RotationPending);
        }
        if self.links.len() + 2 > MAX_CHAIN_LENGTH {
            return Err(ChainError::Full);
        }
        if rotation.sequence != self.next_sequence() || rotation.previous_hash != state.head.hash {
            return Err(ChainError::Conflict(state.head));
        }
        if rotation.old_key != state.active_key {
            return Err(ChainError::WrongSigner);
        }
        if self.has_seen(&rotation.new_key) {
            return Err(ChainError::KeyInUse);
        }
        check_skew(rotation.created_at_ms, accepted_at_ms)?;
        Ok(rotation.verify(self.fingerprint)?)
    }

    fn check_cancellation(&self, cancellation: &Cancellation, accepted_at_ms: u64) -> Result<(), ChainError> {
        let conflict = ChainError::Conflict(self.head());
        let Statement::Rotation(target) = self.last().statement() else { return Err(conflict) };
        let head = self.last().hash();
        let linked = cancellation.sequence == self.next_sequence() && cancellation.previous_hash == head;
        if !linked || cancellation.target_hash != head {
            return Err(conflict);
        }
        if cancellation.signer_key != target.old_key {
            return Err(ChainError::WrongSigner);
        }
        if self.state(accepted_at_ms).provisional.is_none() {
            return Err(ChainError::WindowClosed);
        }
        check_skew(cancellation.created_at_ms, accepted_at_ms)?;
        Ok(cancellation.verify(self.fingerprint)?)
    }

    fn last(&self) -> &Link {
        &self.links[self.links.len() - 1]
    }

    const fn next_sequence(&self) -> u64 {
        self.links.len() as u64
    }
}

fn check_reason(reason: &str) -> Result<(), ChainError> {
    if reason.len() > MAX_REASON_BYTES || reason.contains('\0') { Err(ChainError::Reason) } else { Ok(()) }
}

const fn check_skew(created_at_ms: u64, accepted_at_ms: u64) -> Result<(), ChainError> {
    if created_at_ms.abs_diff(accepted_at_ms) > MAX_CLOCK_SKEW_MS {
        return Err(ChainError::ClockSkew);
    }
    Ok(())
}
