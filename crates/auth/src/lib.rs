//! Who are you: the proofs that an Aldis server accepts and an Aldis client gives.
//!
//! - A [`SecretKey`] proves an identity or a device by answering a challenge ([`SocketChallenge`], [`HttpChallenges`],
//!   and on the client [`verify_challenge`]): possession of the key, now, to this server and no other.
//! - An access token ([`TokenKeys`], [`Claims`]) proves a login that happened earlier.
//! - A [`RefreshToken`] proves, once, that its holder may have the next access token.
//! - A [`Chain`] proves which key speaks for an identity after rotations and cancellations, to servers and clients
//!   alike; a [`Pin`] is what a client remembers of it.
//! - A password ([`PasswordHasher`]) proves an account by email; a [`SecondFactor`], the device of its owner beside either.
//!
//! Whatever the server keeps secret is a [`SubKey`] of a [`RootKey`] in its [`KeyRing`]; what it keeps in the database
//! and needs back, a [`Sealer`] seals; every refusal is an [`AuthError`], which
//! alone knows its name on the wire.
//!
//! The crate is pure: the time (Unix milliseconds) and the randomness are arguments.

mod chain;
mod challenge;
mod error;
mod key;
mod password;
mod refresh;
mod sealed;
mod secrets;
mod token;
mod totp;

pub use chain::{
    Acceptance, CANCELLATION_WINDOW_MS, Cancellation, Chain, ChainError, ChainForked, ChainState, Link,
    MAX_CHAIN_LENGTH, MAX_CLOCK_SKEW_MS, MAX_REASON_BYTES, Pin, Provisional, Rotation, Statement, check_pin,
};
pub use challenge::{
    ChallengeBinding, ChallengeRefused, ChallengeResponse, HTTP_CHALLENGE_LIFETIME_MS, HttpChallenges,
    IssuedChallenge, MAX_CHALLENGE_LIFETIME_MS, OpenedChallenge, ReceivedChallenge,
    SOCKET_CHALLENGE_LIFETIME_MS, SocketChallenge, VerifiedChallenge, audience_of, create_auth_response,
    verify_challenge,
};
pub use error::AuthError;
pub use key::{EncryptionKey, InvalidKey, InvalidSignature, PublicKey, SecretKey};
pub use password::{
    BcryptHashError, HashKind, HashShares, MAX_BCRYPT_COST, MAX_BCRYPT_PASSWORD_BYTES, MAX_PASSWORD_BYTES,
    MIN_PASSWORD_CHARACTERS, PasswordError, PasswordHasher, Verdict, check_bcrypt_hash,
};
pub use refresh::{InvalidRefreshToken, RefreshToken};
pub use sealed::{CannotOpen, MAX_SEALED_SECRET_BYTES, SealedFor, Sealer, SecretTooLong};
pub use secrets::{InvalidKeyRing, KeyId, KeyRing, MAX_RING_KEYS, RootKey, SubKey, SubKeyRing};
pub use token::{
    Claims, MAX_RETIRED_TOKEN_KEYS, MAX_TOKEN_BYTES, MIN_SECRET_BYTES, SecretTooShort, SigningFailed,
    TOKEN_LEEWAY_MS, TokenError, TokenKeys,
};
pub use totp::{
    InvalidSecondFactor, LabelTooLong, RECOVERY_CODES, RecoveryCode, SecondFactor, TOTP_SECRET_BYTES,
    TOTP_STEP_MS, TotpCode, TotpSecret,
};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
