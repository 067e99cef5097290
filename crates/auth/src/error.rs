//! All errors of this crate, and the error code that the peer gets.

use aldis_protocol::ErrorCode;

use crate::{
    CannotOpen, ChainError, InvalidKey, InvalidRefreshToken, InvalidSecondFactor, InvalidSignature,
    PasswordError, SigningFailed, TokenError,
};

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The key is malformed or weak.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The signature is not that key's for that challenge.
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    /// A socket's challenge was answered too late.
    #[error("the challenge has expired")]
    ExpiredChallenge,
    /// The challenge is malformed, expired, or for another binding; the error does not say which.
    #[error("the challenge is not valid")]
    InvalidChallenge,
    /// The access token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The refresh token is malformed.
    #[error(transparent)]
    RefreshToken(#[from] InvalidRefreshToken),
    /// The password cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A token could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The identity's chain refuses the statement.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The code is wrong, used or malformed.
    #[error(transparent)]
    SecondFactor(#[from] InvalidSecondFactor),
    /// A secret at rest cannot be opened.
    #[error(transparent)]
    Sealed(#[from] CannotOpen),
}

impl AuthError {
    /// The error code that the peer gets.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Key(InvalidKey) => ErrorCode::InvalidKey,
            Self::Signature(InvalidSignature) => ErrorCode::InvalidSignature,
            Self::ExpiredChallenge | Self::Token(TokenError::Expired) => ErrorCode::ExpiredToken,
            Self::InvalidChallenge => ErrorCode::InvalidChallenge,
            Self::Token(TokenError::Invalid) | Self::RefreshToken(InvalidRefreshToken) => {
                ErrorCode::InvalidToken
            }
            Self::Password(PasswordError::HashingFailed)
            | Self::Signing(SigningFailed)
            | Self::Sealed(CannotOpen) => ErrorCode::Internal,
            Self::Password(
                PasswordError::TooShort
                | PasswordError::TooLong
                | PasswordError::TooLongForBcrypt
                | PasswordError::ContainsNul,
            ) => ErrorCode::BadRequest,
            Self::Chain(error) => chain_code(error),
            Self::SecondFactor(InvalidSecondFactor) => ErrorCode::InvalidTotp,
        }
    }
}

const fn chain_code(error: ChainError) -> ErrorCode {
    match error {
        ChainError::Conflict(_) => ErrorCode::ChainConflict,
        ChainError::RotationPending => ErrorCode::RotationPending,
        ChainError::WindowClosed => ErrorCode::WindowClosed,
        ChainError::KeyInUse => ErrorCode::KeyInUse,
        ChainError::ClockSkew => ErrorCode::ClockSkew,
        ChainError::WrongSigner | ChainError::Signature(InvalidSignature) => ErrorCode::InvalidSignature,
        ChainError::Key(InvalidKey) => ErrorCode::InvalidKey,
        ChainError::Full => ErrorCode::Conflict,
        ChainError::Reason
        | ChainError::NotGenesis
        | ChainError::AcceptedBeforeHead
        | ChainError::Mislabelled => ErrorCode::BadRequest,
    }
}
