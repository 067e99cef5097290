//! Authentication: the proofs that a client gives and a server verifies.
//!
//! - A [`SecretKey`] proves an identity or a device by answering a challenge ([`SocketChallenge`], [`HttpChallenges`],
//!   and on the client [`verify_challenge`]). The answer is valid for this server only, and only once.
//! - An access token ([`TokenKeys`], [`Claims`]) proves a login that happened earlier.
//! - A [`RefreshToken`] gets the next access token, and can be used once.
//! - A [`Chain`] proves which key speaks for an identity after rotations and cancellations. A [`Pin`] is what a client
//!   remembers of a chain.
//! - A password ([`PasswordHasher`]) proves an account by email. A [`SecondFactor`] can be required in addition to a
//!   password or an identity's key.
//!
//! All secret keys of the server are [`SubKey`]s of a [`RootKey`] in its [`KeyRing`]. A [`Sealer`] encrypts secrets that
//! are stored in the database. Every refusal is an [`AuthError`], which has the error code for the wire.
//!
//! The crate is pure: the time (Unix milliseconds) and the randomness are arguments.
//!
//! Without the feature `server`, which is on by default, it has only what clients need: keys, chains and the client's
//! half of challenges.

mod chain;
mod challenge;
#[cfg(feature = "server")]
mod error;
mod key;
#[cfg(feature = "server")]
mod passphrase;
#[cfg(feature = "server")]
mod password;
#[cfg(feature = "server")]
mod refresh;
#[cfg(feature = "server")]
mod sealed;
#[cfg(feature = "server")]
mod secrets;
#[cfg(feature = "server")]
mod token;
#[cfg(feature = "server")]
mod totp;

pub use chain::{
    Acceptance, CANCELLATION_WINDOW_MS, Cancellation, Chain, ChainError, ChainForked, ChainState, Link,
    MAX_CHAIN_LENGTH, MAX_CLOCK_SKEW_MS, MAX_REASON_BYTES, Pin, Provisional, Rotation, Statement, check_pin,
};
#[cfg(feature = "server")]
pub use challenge::{
    ChallengeBinding, HTTP_CHALLENGE_LIFETIME_MS, HttpChallenges, IssuedChallenge, OpenedChallenge,
    SOCKET_CHALLENGE_LIFETIME_MS, SocketChallenge,
};
pub use challenge::{
    ChallengeRefused, ChallengeResponse, MAX_CHALLENGE_LIFETIME_MS, ReceivedChallenge, VerifiedChallenge,
    audience_of, create_auth_response, verify_challenge,
};
#[cfg(feature = "server")]
pub use error::AuthError;
pub use key::{EncryptionKey, InvalidKey, InvalidSignature, PublicKey, SecretKey, SigningRequest};
#[cfg(feature = "server")]
pub use passphrase::{
    CHUNK_BYTES, CHUNK_OVERHEAD, CannotOpenChunk, ChunkCipher, InvalidParameters, MIN_PASSPHRASE_BYTES,
    PassphraseParameters,
};
#[cfg(feature = "server")]
pub use password::{
    BcryptHashError, HashKind, HashShares, MAX_BCRYPT_COST, MAX_BCRYPT_PASSWORD_BYTES, MAX_PASSWORD_BYTES,
    MIN_PASSWORD_CHARACTERS, PasswordError, PasswordHasher, Verdict, check_bcrypt_hash,
};
#[cfg(feature = "server")]
pub use refresh::{InvalidRefreshToken, RefreshToken};
#[cfg(feature = "server")]
pub use sealed::{CannotOpen, MAX_SEALED_SECRET_BYTES, SealedFor, Sealer, SecretTooLong};
#[cfg(feature = "server")]
pub use secrets::{InvalidKeyRing, KeyId, KeyRing, MAX_RING_KEYS, RootKey, SubKey, SubKeyRing};
#[cfg(feature = "server")]
pub use token::{
    Claims, MAX_RETIRED_TOKEN_KEYS, MAX_TOKEN_BYTES, MIN_SECRET_BYTES, SecretTooShort, SigningFailed,
    TOKEN_LEEWAY_MS, TokenError, TokenKeys,
};
#[cfg(feature = "server")]
pub use totp::{
    InvalidSecondFactor, LabelTooLong, RECOVERY_CODES, RecoveryCode, SecondFactor, TOTP_SECRET_BYTES,
    TOTP_STEP_MS, TotpCode, TotpSecret,
};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
