//! Challenges over HTTP: the 32 bytes themselves contain their expiry and a MAC of their binding, so nothing is stored
//! until one is used.

use aldis_protocol::{
    DeviceId,
    statement::{AuthChallenge, Transport},
};
use rand::CryptoRng;
use subtle::ConstantTimeEq;

use crate::{AuthError, PublicKey, SubKey, SubKeyRing};

/// The lifetime of a challenge over HTTP.
pub const HTTP_CHALLENGE_LIFETIME_MS: u64 = 60_000;

/// What a challenge is bound to. It must be the same when the challenge is issued and when it is opened.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeBinding<'a> {
    /// The host that the client must have dialled.
    pub audience: &'a str,
    /// The key that will sign.
    pub public_key: &'a PublicKey,
    /// The device that the key proves, if one is named.
    pub device_id: Option<&'a DeviceId>,
}

/// A challenge for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedChallenge {
    /// The 32 bytes: 10 random ones, 6 of the expiry (big-endian), 16 of a MAC.
    pub challenge: [u8; 32],
    /// The time from which an answer is too late, in Unix milliseconds.
    pub expires_at_ms: u64,
}

/// Issues challenges and recognises them. Every node with the same keys can do both.
#[derive(Debug)]
pub struct HttpChallenges(SubKeyRing);

impl HttpChallenges {
    /// Takes the server's keys for challenges. It issues with the current one and recognises those of all.
    #[must_use]
    pub const fn new(keys: SubKeyRing) -> Self {
        Self(keys)
    }

    /// Issues a challenge with a lifetime of [`HTTP_CHALLENGE_LIFETIME_MS`].
    #[must_use]
    pub fn issue<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        binding: &ChallengeBinding<'_>,
        now_ms: u64,
    ) -> IssuedChallenge {
        let expires_at_ms = now_ms.saturating_add(HTTP_CHALLENGE_LIFETIME_MS);
        let mut challenge = [0; 32];
        let (head, tag) = challenge.split_at_mut(HEAD_LENGTH);
        let (random, expiry) = head.split_at_mut(RANDOM_LENGTH);
        rng.fill_bytes(random);
        expiry.copy_from_slice(&expires_at_ms.to_be_bytes()[2..]);
        tag.copy_from_slice(&tag_by(self.0.current().1, head, binding));
        IssuedChallenge { challenge, expires_at_ms }
    }

    /// Recognises a challenge that this server issued for this binding and that has not expired.
    ///
    /// The caller must record its use, which succeeds only once, and then call [`OpenedChallenge::verify`].
    ///
    /// # Errors
    /// [`AuthError::InvalidChallenge`] in every other case.
    pub fn open(
        &self,
        challenge: &[u8; 32],
        binding: &ChallengeBinding<'_>,
        now_ms: u64,
    ) -> Result<OpenedChallenge, AuthError> {
        let (head, tag) = challenge.split_at(HEAD_LENGTH);
        let genuine = self.0.iter().any(|key| bool::from(tag_by(key, head, binding).ct_eq(tag)));
        let expires_at_ms = head[RANDOM_LENGTH..].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        if !genuine || now_ms >= expires_at_ms {
            return Err(AuthError::InvalidChallenge);
        }
        Ok(OpenedChallenge {
            challenge: *challenge,
            audience: binding.audience.to_owned(),
            public_key: *binding.public_key,
            device_id: binding.device_id.cloned(),
            expires_at_ms,
        })
    }
}

/// A valid challenge whose answer is not verified yet.
#[must_use = "a challenge proves nothing until its use is recorded and its signature verified"]
#[derive(Debug)]
pub struct OpenedChallenge {
    challenge: [u8; 32],
    audience: String,
    public_key: PublicKey,
    device_id: Option<DeviceId>,
    expires_at_ms: u64,
}

impl OpenedChallenge {
    /// The 32 bytes, by which its use is recorded.
    #[must_use]
    pub const fn challenge(&self) -> &[u8; 32] {
        &self.challenge
    }

    /// From this time on the record of its use is no longer needed, in Unix milliseconds.
    #[must_use]
    pub const fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// Verifies the answer. It proves the possession of the returned key, together with the binding's device id; the
    /// caller looks up the key's owner.
    ///
    /// # Errors
    /// [`AuthError::Signature`] if it is not that key's signature of this challenge.
    pub fn verify(self, signature: &[u8; 64]) -> Result<PublicKey, AuthError> {
        let statement = AuthChallenge {
            audience: &self.audience,
            transport: Transport::Http,
            challenge: &self.challenge,
            public_key: self.public_key.as_bytes(),
            device_id: self.device_id.as_ref(),
            expires_at_ms: self.expires_at_ms,
        };
        self.public_key.verify(&statement.bytes(), signature)?;
        Ok(self.public_key)
    }
}

const RANDOM_LENGTH: usize = 10;
const TAG_LENGTH: usize = 16;
const HEAD_LENGTH: usize = 32 - TAG_LENGTH;
const LABEL: &[u8] = b"aldis/v1/http-challenge\0";

fn tag_by(key: &SubKey, head: &[u8], binding: &ChallengeBinding<'_>) -> [u8; TAG_LENGTH] {
    let audience = binding.audience.as_bytes();
    let mac = key.mac(&[
        LABEL,
        head,
        &(audience.len() as u64).to_be_bytes(),
        audience,
        binding.public_key.as_bytes(),
        binding.device_id.map_or("", DeviceId::as_str).as_bytes(),
    ]);
    let mut tag = [0; TAG_LENGTH];
    tag.copy_from_slice(&mac[..TAG_LENGTH]);
    tag
}
