//! The client's part: check a challenge before signing it.

use aldis_protocol::{
    DeviceId,
    statement::{AuthChallenge, Transport},
};

use crate::{ChallengeResponse, PublicKey, SecretKey, SigningRequest};

/// The longest lifetime of a challenge that a client signs. With a longer one, a server could collect signatures for
/// later.
pub const MAX_CHALLENGE_LIFETIME_MS: u64 = 120_000;

/// A challenge as the server sent it.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedChallenge<'a> {
    /// The 32 bytes.
    pub challenge: [u8; 32],
    /// The server's claimed host.
    pub audience: &'a str,
    /// When the challenge expires, in Unix milliseconds.
    pub expires_at_ms: u64,
    /// The transport on which it arrived.
    pub transport: Transport,
}

/// A challenge that a client may sign.
#[must_use = "the server waits for the answer: see create_auth_response"]
#[derive(Debug, Clone)]
pub struct VerifiedChallenge {
    challenge: [u8; 32],
    audience: String,
    expires_at_ms: u64,
    transport: Transport,
}

/// Why a client refuses to sign a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeRefused {
    /// The challenge belongs to another server and was passed on.
    #[error("the challenge is for a different server from the one that was dialled")]
    ForeignAudience,
    /// The challenge lives longer than [`MAX_CHALLENGE_LIFETIME_MS`], or this machine's clock is slow by about as
    /// much.
    #[error("the challenge lives longer than two minutes, or the clock is slow")]
    LivesTooLong,
}

/// Checks what a client must check before it signs: the audience is the dialled host (in the form of
/// [`audience_of`](crate::audience_of)), and the challenge expires within two minutes.
///
/// This uses the client's clock. A fast clock does no harm, because the server decides whether a challenge has
/// expired. A clock that is slow by more than a minute (HTTP) or 110 s (socket) makes the client refuse honest
/// challenges. The limit cannot be extended for that, because a server that names the time could name a late one.
///
/// # Errors
/// [`ChallengeRefused`].
pub fn verify_challenge(
    received: &ReceivedChallenge<'_>,
    expected_audience: &str,
    now_ms: u64,
) -> Result<VerifiedChallenge, ChallengeRefused> {
    if received.audience != expected_audience {
        return Err(ChallengeRefused::ForeignAudience);
    }
    if received.expires_at_ms > now_ms.saturating_add(MAX_CHALLENGE_LIFETIME_MS) {
        return Err(ChallengeRefused::LivesTooLong);
    }
    Ok(VerifiedChallenge {
        challenge: received.challenge,
        audience: received.audience.to_owned(),
        expires_at_ms: received.expires_at_ms,
        transport: received.transport,
    })
}

impl VerifiedChallenge {
    /// Asks a key to sign the challenge, for a device if one is named.
    #[must_use]
    pub fn signing_request(&self, key: PublicKey, device_id: Option<&DeviceId>) -> SigningRequest {
        let bytes = self.statement(key.as_bytes(), device_id, |statement| statement.bytes());
        SigningRequest::new(key, bytes)
    }

    fn statement<T>(
        &self,
        public_key: &[u8; 32],
        device_id: Option<&DeviceId>,
        take: impl FnOnce(&AuthChallenge<'_>) -> T,
    ) -> T {
        take(&AuthChallenge {
            audience: &self.audience,
            transport: self.transport,
            challenge: &self.challenge,
            public_key,
            device_id,
            expires_at_ms: self.expires_at_ms,
        })
    }
}

/// Signs a challenge, for a device if one is named.
#[must_use]
pub fn create_auth_response(
    key: &SecretKey,
    challenge: &VerifiedChallenge,
    device_id: Option<&DeviceId>,
) -> ChallengeResponse {
    let public_key = *key.public_key().as_bytes();
    let signature = challenge.statement(&public_key, device_id, |statement| key.sign_challenge(statement));
    ChallengeResponse { public_key, signature, device_id: device_id.cloned() }
}
