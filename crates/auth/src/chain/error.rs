//! Why a chain takes no statement.

use aldis_protocol::api::ChainHead;

use crate::{InvalidKey, InvalidSignature};

/// Why a statement has no place in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// It names another sequence, previous statement or target than the chain has.
    #[error("the statement does not follow the chain's head; ask for the chain and sign again")]
    Conflict(ChainHead),
    /// An earlier rotation can still be cancelled.
    #[error("an earlier rotation is inside its window of 72 hours")]
    RotationPending,
    /// The rotation can no longer be cancelled.
    #[error("the rotation's window of 72 hours is over")]
    WindowClosed,
    /// The new key was in this chain before.
    #[error("the new key was used before; make a fresh one")]
    KeyInUse,
    /// It was signed over ten minutes before or after its acceptance.
    #[error("the time that was signed is over ten minutes off; set the clock")]
    ClockSkew,
    /// It is signed by another key than the one that may: the active one, or for a cancellation the replaced one.
    #[error("this key may not sign the statement")]
    WrongSigner,
    /// A signature does not verify.
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    /// A key in it is none.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The reason is over 200 bytes or has U+0000.
    #[error("`reason` has at most 200 bytes and no U+0000")]
    Reason,
    /// The identity has had 1,000 statements.
    #[error("the identity's chain is full")]
    Full,
    /// The chain does not begin with its identity's first key, or begins twice.
    #[error("the chain does not begin with the identity's first key")]
    NotGenesis,
    /// It was accepted no later than the statement before.
    #[error("the statement was accepted no later than the one before it")]
    AcceptedBeforeHead,
    /// A hash, sequence or fingerprint beside a statement is not the statement's own.
    #[error("a hash, sequence or fingerprint in the chain is not the statement's own")]
    Mislabelled,
}
