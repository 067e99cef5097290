//! What can go wrong with an account: an enum for each family of calls.

use std::{error::Error, sync::Arc};

use aldis_auth::{ChainError, ChainForked, ChallengeRefused};
use aldis_protocol::{ErrorCode, PendingRotation};

use crate::{CallError, SaveError, pins::NotPinned};

/// Why somebody is not signed in.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// A call came to nothing: most often, the server refused the proof.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server's challenge is not one to sign.
    #[error(transparent)]
    Challenge(#[from] ChallengeRefused),
    /// The key did not sign.
    #[error("no signature: {0}")]
    Signature(#[source] Arc<dyn Error + Send + Sync>),
    /// The application did not keep the account. Nothing is left of a first sign-in.
    #[error(transparent)]
    NotSaved(#[from] SaveError),
    /// The proof is good, but another user's than the account's.
    #[error("this signs in somebody else")]
    OtherUser,
    /// The account has no device of its own that could prove it.
    #[error("the account has no device of its own")]
    NoDevice,
}

/// Why a call of a signed-in account came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A call came to nothing: the one that was meant, or the one for a new token before it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The account was signed out, here or by the server.
    #[error("signed out")]
    SignedOut,
    /// The application did not keep the new refresh token. It is used all the same: the next call goes through.
    #[error(transparent)]
    NotSaved(#[from] SaveError),
    /// For a new token the device had to answer a challenge, which is not one to sign.
    #[error(transparent)]
    Challenge(#[from] ChallengeRefused),
    /// The account has no device of its own.
    #[error("the account has no device of its own")]
    NoDevice,
    /// For a new token the device's key had to sign, and did not.
    #[error("no signature: {0}")]
    Signature(#[source] Arc<dyn Error + Send + Sync>),
}

/// Why an identity is not what it should be, or was not changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A call came to nothing.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The server's chain does not verify.
    #[error("the identity's chain does not verify: {0}")]
    Chain(#[from] ChainError),
    /// The server shows another chain than it did before: somebody rewrites it. Nothing trusts it again by itself;
    /// [`Pins::forget`](crate::Pins::forget) is for a person to decide.
    #[error(transparent)]
    Forked(#[from] ChainForked),
    /// As many identities are remembered as may be.
    #[error("as many identities are remembered as may be; none is forgotten to make room")]
    TooManyPins,
    /// The answer is about somebody else.
    #[error("the server's answer contradicts the identity that was asked for")]
    Contradiction,
    /// The account has no identity.
    #[error("the account has no identity")]
    NoIdentity,
    /// The key that should sign is not the identity's active one.
    #[error("the key is not the identity's active one")]
    NotActive,
    /// There is no rotation that this key could cancel (any more).
    #[error("there is no rotation that this key can cancel")]
    NothingToCancel,
}

/// Why a blob was not written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PutBlobError {
    /// There is another blob by now than the one that was to be replaced.
    #[error("the blob has changed; read it again")]
    Changed,
    /// There is a blob already, and none was named to be replaced.
    #[error("there is a blob already; name the version to replace")]
    Exists,
    /// It is over 256 KiB; nothing was sent.
    #[error("a blob has at most 256 KiB")]
    TooLarge,
    /// The call came to nothing for another reason.
    #[error(transparent)]
    Account(AccountError),
}

impl SignInError {
    /// The server's word for it, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        if let Self::Call(error) = self { error.code() } else { None }
    }

    /// Where the key was replaced and that can still be taken back: by what.
    #[must_use]
    pub fn pending_rotation(&self) -> Option<PendingRotation> {
        if let Self::Call(error) = self { error.refusal()?.rotation } else { None }
    }

    /// Whether the same may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Call(error) => error.is_retryable(),
            Self::NotSaved(_) | Self::Signature(_) => true,
            Self::Challenge(_) | Self::OtherUser | Self::NoDevice => false,
        }
    }

    /// Whether it takes another proof, or one more.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        match self {
            Self::Call(error) => error.needs_credentials(),
            Self::OtherUser | Self::NoDevice => true,
            Self::NotSaved(_) | Self::Challenge(_) | Self::Signature(_) => false,
        }
    }
}

impl AccountError {
    /// The server's word for it, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        if let Self::Call(error) = self { error.code() } else { None }
    }

    /// Whether the same call may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Call(error) => error.is_retryable(),
            Self::NotSaved(_) | Self::Signature(_) => true,
            Self::SignedOut | Self::Challenge(_) | Self::NoDevice => false,
        }
    }

    /// Whether the server, or this program, has ended the sign-in.
    #[must_use]
    pub fn ends_sign_in(&self) -> bool {
        let revoked = matches!(self.code(), Some(ErrorCode::Revoked | ErrorCode::RefreshReused));
        revoked || matches!(self, Self::SignedOut)
    }

    /// Whether it takes signing in again, or another account.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        match self {
            Self::Call(error) => error.needs_credentials(),
            Self::SignedOut => true,
            Self::NotSaved(_) | Self::Challenge(_) | Self::NoDevice | Self::Signature(_) => false,
        }
    }
}

impl From<SignInError> for AccountError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Call(error) => Self::Call(error),
            SignInError::Challenge(refused) => Self::Challenge(refused),
            SignInError::NotSaved(error) => Self::NotSaved(error),
            SignInError::Signature(error) => Self::Signature(error),
            SignInError::OtherUser => Self::SignedOut,
            SignInError::NoDevice => Self::NoDevice,
        }
    }
}

impl IdentityError {
    /// The server's word for it, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        if let Self::Account(error) = self { error.code() } else { None }
    }

    /// Whether the same may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if let Self::Account(error) = self { error.is_retryable() } else { false }
    }

    /// Whether it takes signing in again.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        if let Self::Account(error) = self { error.needs_credentials() } else { false }
    }

    /// Whether the server shows what it cannot have by honest means. That is for a person to look into.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::Chain(_) | Self::Forked(_) | Self::Contradiction)
    }
}

impl From<CallError> for IdentityError {
    fn from(error: CallError) -> Self {
        Self::Account(error.into())
    }
}

impl From<NotPinned> for IdentityError {
    fn from(error: NotPinned) -> Self {
        match error {
            NotPinned::Forked(forked) => Self::Forked(forked),
            NotPinned::Full => Self::TooManyPins,
        }
    }
}

impl PutBlobError {
    /// Whether the same may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if let Self::Account(error) = self { error.is_retryable() } else { false }
    }

    /// Whether it takes signing in again.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        if let Self::Account(error) = self { error.needs_credentials() } else { false }
    }
}

impl From<AccountError> for PutBlobError {
    fn from(error: AccountError) -> Self {
        match error.code() {
            Some(ErrorCode::PreconditionFailed) => Self::Changed,
            Some(ErrorCode::PreconditionRequired) => Self::Exists,
            Some(ErrorCode::TooLarge) => Self::TooLarge,
            _ => Self::Account(error),
        }
    }
}
