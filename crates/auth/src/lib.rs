//! Who are you: the proofs that an Aldis server accepts and an Aldis client gives.
//!
//! - A [`SecretKey`] proves an identity or a device by answering a challenge ([`SocketChallenge`], [`HttpChallenges`],
//!   and on the client [`verify_challenge`]): possession of the key, now, to this server and no other.
//! - An access token ([`TokenKeys`], [`Claims`]) proves a login that happened earlier.
//! - A [`RefreshToken`] proves, once, that its holder may have the next access token.
//! - A [`Chain`] proves which key speaks for an identity after rotations and cancellations, to servers and clients
//!   alike; a [`Pin`] is what a client remembers of it.
//! - A password ([`PasswordHasher`]) proves an account by email.
//!
//! Whatever the server keeps secret is a [`SubKey`] of its one [`RootKey`]; every refusal is an [`AuthError`], which
//! alone knows its name on the wire.
//!
//! The crate is pure: the time (Unix milliseconds) and the randomness are arguments.

mod chain;
mod challenge;
mod error;
mod key;
mod password;
mod refresh;
mod secrets;
mod token;

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
    MAX_BCRYPT_PASSWORD_BYTES, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARACTERS, PasswordError, PasswordHasher,
    Verdict,
};
pub use refresh::{InvalidRefreshToken, RefreshToken};
pub use secrets::{RootKey, SubKey};
pub use token::{
    Claims, MAX_TOKEN_BYTES, MIN_SECRET_BYTES, SecretTooShort, SigningFailed, TOKEN_LEEWAY_MS, TokenError,
    TokenKeys,
};
