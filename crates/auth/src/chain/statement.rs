//! The statements of a chain, as their authors signed them.

use aldis_protocol::{
    Fingerprint, Hash,
    api::ChainHead,
    statement::{KeyRotation, KeyRotationCancel, genesis_hash},
};

use super::CANCELLATION_WINDOW_MS;
use crate::{InvalidSignature, PublicKey, SecretKey};

/// A statement, before it has a place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The identity's first key; not signed.
    Genesis(PublicKey),
    /// A change to a new key.
    Rotation(Box<Rotation>),
    /// The cancellation of a rotation.
    Cancellation(Cancellation),
}

impl From<Rotation> for Statement {
    fn from(rotation: Rotation) -> Self {
        Self::Rotation(Box::new(rotation))
    }
}

impl From<Cancellation> for Statement {
    fn from(cancellation: Cancellation) -> Self {
        Self::Cancellation(cancellation)
    }
}

/// A change to a new key, signed by both keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Its sequence in the chain.
    pub sequence: u64,
    /// The hash of the head that it follows.
    pub previous_hash: Hash,
    /// The key that is replaced.
    pub old_key: PublicKey,
    /// The new key.
    pub new_key: PublicKey,
    /// A text for people: at most [`MAX_REASON_BYTES`](super::MAX_REASON_BYTES), no U+0000.
    pub reason: String,
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
    /// The old key's signature.
    pub signature_old: [u8; 64],
    /// The new key's signature.
    pub signature_new: [u8; 64],
}

/// The cancellation of a rotation, signed by the replaced key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Its sequence in the chain.
    pub sequence: u64,
    /// The hash of the head that it follows.
    pub previous_hash: Hash,
    /// The hash of the cancelled rotation.
    pub target_hash: Hash,
    /// The key that the rotation replaced.
    pub signer_key: PublicKey,
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
    /// The signature of that key.
    pub signature: [u8; 64],
}

impl Rotation {
    /// Signs a rotation with both keys.
    #[must_use]
    pub fn sign(
        fingerprint: Fingerprint,
        head: ChainHead,
        old_key: &SecretKey,
        new_key: &SecretKey,
        reason: &str,
        created_at_ms: u64,
    ) -> Self {
        let mut rotation = Self {
            sequence: head.sequence.saturating_add(1),
            previous_hash: head.hash,
            old_key: old_key.public_key(),
            new_key: new_key.public_key(),
            reason: reason.to_owned(),
            created_at_ms,
            signature_old: [0; 64],
            signature_new: [0; 64],
        };
        rotation.signature_old = old_key.sign_rotation(&rotation.signed(fingerprint));
        rotation.signature_new = new_key.accept_rotation(&rotation.signed(fingerprint));
        rotation
    }

    pub(super) fn verify(&self, fingerprint: Fingerprint) -> Result<(), InvalidSignature> {
        let signed = self.signed(fingerprint);
        self.old_key.verify(&signed.bytes(), &self.signature_old)?;
        self.new_key.verify(&signed.accept_bytes(), &self.signature_new)
    }

    fn signed(&self, fingerprint: Fingerprint) -> KeyRotation<'_> {
        KeyRotation {
            fingerprint,
            sequence: self.sequence,
            previous_hash: self.previous_hash,
            old_key: self.old_key.as_bytes(),
            new_key: self.new_key.as_bytes(),
            reason: &self.reason,
            created_at_ms: self.created_at_ms,
        }
    }
}

impl Cancellation {
    /// Signs the cancellation of a rotation with the replaced key.
    #[must_use]
    pub fn sign(
        fingerprint: Fingerprint,
        rotation: ChainHead,
        replaced_key: &SecretKey,
        created_at_ms: u64,
    ) -> Self {
        let mut cancellation = Self {
            sequence: rotation.sequence.saturating_add(1),
            previous_hash: rotation.hash,
            target_hash: rotation.hash,
            signer_key: replaced_key.public_key(),
            created_at_ms,
            signature: [0; 64],
        };
        cancellation.signature = replaced_key.sign_cancel(&cancellation.signed(fingerprint));
        cancellation
    }

    pub(super) fn verify(&self, fingerprint: Fingerprint) -> Result<(), InvalidSignature> {
        self.signer_key.verify(&self.signed(fingerprint).bytes(), &self.signature)
    }

    fn signed(&self, fingerprint: Fingerprint) -> KeyRotationCancel<'_> {
        KeyRotationCancel {
            fingerprint,
            sequence: self.sequence,
            previous_hash: self.previous_hash,
            target_hash: self.target_hash,
            signer_key: self.signer_key.as_bytes(),
            created_at_ms: self.created_at_ms,
        }
    }
}

/// A statement with its place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    statement: Statement,
    hash: Hash,
    accepted_at_ms: u64,
}

impl Link {
    pub(super) fn new(fingerprint: Fingerprint, statement: Statement, accepted_at_ms: u64) -> Self {
        let hash = match &statement {
            Statement::Genesis(key) => genesis_hash(key.as_bytes()),
            Statement::Rotation(rotation) => rotation.signed(fingerprint).hash(),
            Statement::Cancellation(cancellation) => cancellation.signed(fingerprint).hash(),
        };
        Self { statement, hash, accepted_at_ms }
    }

    /// The statement.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// When the server accepted it, in Unix milliseconds.
    #[must_use]
    pub const fn accepted_at_ms(&self) -> u64 {
        self.accepted_at_ms
    }

    /// For a rotation: the time from which it can no longer be cancelled, in Unix milliseconds.
    #[must_use]
    pub const fn cancellation_deadline_ms(&self) -> Option<u64> {
        match self.statement {
            Statement::Rotation(_) => Some(self.accepted_at_ms.saturating_add(CANCELLATION_WINDOW_MS)),
            Statement::Genesis(_) | Statement::Cancellation(_) => None,
        }
    }
}
