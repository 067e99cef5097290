//! Challenges on a socket: the connection remembers the one that it sent.

use aldis_protocol::{
    DeviceId,
    statement::{AuthChallenge, Transport},
};

use crate::{AuthError, ChallengeResponse, PublicKey};

/// The lifetime of a challenge on a socket: twice the 5 s within which the first message must arrive.
pub const SOCKET_CHALLENGE_LIFETIME_MS: u64 = 10_000;

/// A challenge that was sent on a socket and not answered yet.
#[derive(Debug)]
pub struct SocketChallenge {
    challenge: [u8; 32],
    audience: String,
    expires_at_ms: u64,
}

impl SocketChallenge {
    /// Makes a challenge from 32 random bytes for the server with this audience.
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

    /// The host that the client must have dialled.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The time from which an answer is too late, in Unix milliseconds.
    #[must_use]
    pub const fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// Verifies the answer and uses up the challenge in any case. The answer proves the possession of the returned
    /// key, together with the response's device id; the caller looks up the key's owner.
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
