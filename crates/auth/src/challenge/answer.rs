//! The client's half: look at a challenge before signing it.

use aldis_protocol::{
    DeviceId,
    statement::{AuthChallenge, Transport},
};

use crate::{ChallengeResponse, PublicKey, SecretKey, SigningRequest};

/// The longest life of a challenge that a client signs. A server that asks for more collects signatures for later.
pub const MAX_CHALLENGE_LIFETIME_MS: u64 = 120_000;

/// A challenge as the server sent it.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedChallenge<'a> {
    /// The 32 bytes.
    pub challenge: [u8; 32],
    /// Whom the server says it is.
    pub audience: &'a str,
    /// When the challenge ends, in Unix milliseconds.
    pub expires_at_ms: u64,
    /// Where it came.
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

/// Why a client does not sign a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeRefused {
    /// It is another server's, passed on.
    #[error("the challenge names another server than the one dialled")]
    ForeignAudience,
    /// It lives longer than [`MAX_CHALLENGE_LIFETIME_MS`], or this machine's clock is behind by about as much.
    #[error("the challenge lives longer than two minutes, or the clock is slow")]
    LivesTooLong,
}

/// Checks what a client must check before it signs: that the server named is the one that it dialled (as
/// [`audience_of`](crate::audience_of) writes it), and that the challenge ends within two minutes.
///
/// Time is the client's own. A clock that is fast never matters: whether a challenge is over is for the server to
/// say. One that is slow by over a minute (HTTP) or 110 s (socket) refuses honest challenges; the limit is not
/// stretched for it, since a server that could name the time could name a late one.
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
