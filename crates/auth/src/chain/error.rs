//! Why a chain refuses a statement.

use aldis_protocol::api::ChainHead;

use crate::{InvalidKey, InvalidSignature};

/// Why a statement does not fit a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Its sequence, previous hash or target is not that of the chain.
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
    /// The signed time is more than ten minutes from the acceptance.
    #[error("the time that was signed is over ten minutes off; set the clock")]
    ClockSkew,
    /// It is signed by the wrong key. The right one is the active key, or the replaced key for a cancellation.
    #[error("this key may not sign the statement")]
    WrongSigner,
    /// A signature does not verify.
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    /// One of its keys is invalid.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The reason is over 200 bytes or has U+0000.
    #[error("`reason` has at most 200 bytes and no U+0000")]
    Reason,
    /// The identity has 1,000 statements.
    #[error("the identity's chain is full")]
    Full,
    /// The chain does not begin with the identity's first key, or has a second genesis.
    #[error("the chain does not begin with the identity's first key")]
    NotGenesis,
    /// Its time of acceptance is not after that of the statement before.
    #[error("the statement was accepted no later than the one before it")]
    AcceptedBeforeHead,
    /// A hash, sequence or fingerprint that is sent beside a statement does not match it.
    #[error("a hash, sequence or fingerprint in the chain is not the statement's own")]
    Mislabelled,
}
