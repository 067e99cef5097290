//! Who has authenticated on a socket.

use aldis_auth::Claims;
use aldis_protocol::{DeviceId, Fingerprint, UserId};
use uuid::Uuid;

/// An authenticated user on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// `None` if a key was the proof.
    pub(crate) token: Option<TokenLife>,
    /// The sign-in of the token; `None` if a key was the proof.
    pub(crate) family: Option<Uuid>,
    /// The number of the last revocation that was known before the proof was checked.
    pub(crate) proved_at: i64,
}

/// When a token was issued and when it expires, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenLife {
    pub(crate) issued_ms: u64,
    pub(crate) expires_ms: u64,
}

impl TokenLife {
    pub(crate) const fn of(claims: &Claims) -> Self {
        Self { issued_ms: claims.iat.saturating_mul(1000), expires_ms: claims.exp.saturating_mul(1000) }
    }
}
