//! How the client proves who it is, as far as the connection's logic has to know.

use std::error::Error;

use aldis_auth::PublicKey;

/// An error of the application.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The kind of proof.
#[derive(Debug)]
pub enum Proof {
    /// A key, of an identity or of a device. The shell is asked for its signatures.
    Key(PublicKey),
    /// Access tokens, of which the shell is asked for one before each attempt.
    Token,
}

/// Why a token provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenReason {
    /// The first attempt.
    First,
    /// An attempt after a break that had nothing to do with the token: one that is still good may be given again.
    Reconnecting,
    /// The token of the live connection ends within a minute; nothing is interrupted while the provider works.
    Expiring,
    /// The server refused the last token because it had expired, or ended the session for it.
    Expired,
    /// The server refused the last token. A second refusal in a row stops the client.
    Invalid,
}

/// Why a provider has no token.
#[derive(Debug)]
pub struct TokenError {
    /// The provider's error.
    pub error: BoxError,
    /// Whether the provider will never have a token again, because its account is signed out: the client stops.
    pub is_final: bool,
}
