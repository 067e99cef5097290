//! Challenges on a socket: the connection keeps the one that it sent.

use aldis_protocol::{
    DeviceId,
    statement::{AuthChallenge, Transport},
};

use crate::{AuthError, ChallengeResponse, PublicKey};

/// How long a socket's challenge may be answered: twice the 5 s in which a first message must come.
pub const SOCKET_CHALLENGE_LIFETIME_MS: u64 = 10_000;

/// A challenge sent on one socket, until that socket answers it.
#[derive(Debug)]
pub struct SocketChallenge {
    challenge: [u8; 32],
    audience: String,
    expires_at_ms: u64,
}

impl SocketChallenge {
    /// Makes a challenge of 32 random bytes for the server that clients know as `audience`.
    #[must_use]
    pub fn issue(challenge: [u8; 32], audience: &str, now_ms: u64) -> Self {
        let expires_at_ms = now_ms.saturating_add(SOCKET_CHALLENGE_LIFETIME_MS);
        Self { challenge, audience: audience.to_owned(), expires_at_ms }
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn challenge(&self) -> &[u8; 32] {
        &self.challenge
    }

    /// Whom the client must think it talks to.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The first moment at which an answer is too late, in Unix milliseconds.
    #[must_use]
    pub const fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// Checks the answer; whatever comes of it, the challenge is used up. What is proved is possession of the key
    /// that is returned, together with the response's device id; whose key it is, the caller knows.
    ///
    /// # Errors
    /// [`AuthError::ExpiredChallenge`] from `expires_at_ms` on, [`AuthError::Key`] for a weak key,
    /// [`AuthError::Signature`] for any other mismatch.
    pub fn accept(self, response: &ChallengeResponse, now_ms: u64) -> Result<PublicKey, AuthError> {
        if now_ms >= self.expires_at_ms {
            return Err(AuthError::ExpiredChallenge);
        }
        let key = PublicKey::from_bytes(&response.public_key)?;
        key.verify(&self.signed_bytes(&key, response.device_id.as_ref()), &response.signature)?;
        Ok(key)
    }

    fn signed_bytes(&self, key: &PublicKey, device_id: Option<&DeviceId>) -> Vec<u8> {
        AuthChallenge {
            audience: &self.audience,
            transport: Transport::WebSocket,
            challenge: &self.challenge,
            public_key: key.as_bytes(),
            device_id,
            expires_at_ms: self.expires_at_ms,
        }
        .bytes()
    }
}
