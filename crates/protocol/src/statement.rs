//! What is signed, as bytes (docs/protocol/signing.md).
//!
//! One encoder: the ASCII context, a zero byte, then each field as a 32-bit big-endian length and its bytes. The
//! context keeps a signature made for one purpose from serving another; the lengths keep a field from running into
//! its neighbour. Nothing is signed over JSON text.

// Exhaustive on purpose, every type of this file: what is signed never changes. A statement with another field has another
// context.

use crate::{DeviceId, Fingerprint, Hash};

/// Where a challenge is answered: a signature made for one transport is worth nothing on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// On a WebSocket.
    WebSocket,
    /// Over HTTP.
    Http,
}

impl Transport {
    /// The signed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Http => "http",
        }
    }
}

/// The answer to a challenge: proves possession of a key, to one server, once.
///
/// The audience keeps another server from passing its challenge on as its own; the device id keeps a proof from
/// being shown for another device.
#[derive(Debug, Clone, Copy)]
pub struct AuthChallenge<'a> {
    /// Host, and port if not the scheme's default, of the server's public origin.
    pub audience: &'a str,
    /// Where it is answered.
    pub transport: Transport,
    /// The server's 32 bytes.
    pub challenge: &'a [u8; 32],
    /// The key that signs.
    pub public_key: &'a [u8; 32],
    /// The device that the key speaks for, if one is named.
    pub device_id: Option<&'a DeviceId>,
    /// When the challenge ends, in Unix milliseconds.
    pub expires_at_ms: u64,
}

impl AuthChallenge<'_> {
    /// What is signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Encoder::new("aldis/v1/auth-challenge")
            .text(self.audience)
            .text(self.transport.as_str())
            .raw(self.challenge)
            .raw(self.public_key)
            .text(self.device_id.map_or("", DeviceId::as_str))
            .integer(self.expires_at_ms)
            .finish()
    }
}

/// The hash that an identity's chain begins with. It is hashed only, never signed.
#[must_use]
pub fn genesis_hash(public_key: &[u8; 32]) -> Hash {
    Hash::of(&Encoder::new("aldis/v1/identity-genesis").raw(public_key).finish())
}

/// One key of an identity handing over to the next: signed by both.
///
/// Sequence and previous hash keep a rotation from being replayed at another place of the chain; the second signature
/// keeps anybody from claiming a key that is not theirs.
#[derive(Debug, Clone, Copy)]
pub struct KeyRotation<'a> {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// Its place in the chain; the genesis is 0.
    pub sequence: u64,
    /// The hash of the chain's last statement.
    pub previous_hash: Hash,
    /// The key that gives up.
    pub old_key: &'a [u8; 32],
    /// The key that takes over.
    pub new_key: &'a [u8; 32],
    /// For people.
    pub reason: &'a str,
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
}

impl KeyRotation<'_> {
    /// What the old key signs.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.fields("aldis/v1/key-rotation")
    }

    /// What the new key signs.
    #[must_use]
    pub fn accept_bytes(&self) -> Vec<u8> {
        self.fields("aldis/v1/key-rotation-accept")
    }

    /// The statement's hash: that of the old key's bytes.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes())
    }

    fn fields(&self, context: &str) -> Vec<u8> {
        Encoder::new(context)
            .text(&self.fingerprint.to_string())
            .integer(self.sequence)
            .raw(&self.previous_hash.0)
            .raw(self.old_key)
            .raw(self.new_key)
            .text(self.reason)
            .integer(self.created_at_ms)
            .finish()
    }
}

/// The old key taking a rotation back inside its window.
#[derive(Debug, Clone, Copy)]
pub struct KeyRotationCancel<'a> {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// Its place in the chain.
    pub sequence: u64,
    /// The hash of the chain's last statement.
    pub previous_hash: Hash,
    /// The hash of the rotation that is undone.
    pub target_hash: Hash,
    /// The key that the rotation replaced.
    pub signer_key: &'a [u8; 32],
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
}

impl KeyRotationCancel<'_> {
    /// What is signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Encoder::new("aldis/v1/key-rotation-cancel")
            .text(&self.fingerprint.to_string())
            .integer(self.sequence)
            .raw(&self.previous_hash.0)
            .raw(&self.target_hash.0)
            .raw(self.signer_key)
            .integer(self.created_at_ms)
            .finish()
    }

    /// The statement's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes())
    }
}

/// An identity vouching for a device's key: without it, the server could add a device of its own.
#[derive(Debug, Clone, Copy)]
pub struct DeviceStatement<'a> {
    /// The identity that signs.
    pub fingerprint: Fingerprint,
    /// The device.
    pub device_id: &'a DeviceId,
    /// The device's own key.
    pub public_key: &'a [u8; 32],
    /// When it was signed, in Unix milliseconds; an older statement than one seen before is refused.
    pub created_at_ms: u64,
}

impl DeviceStatement<'_> {
    /// What is signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Encoder::new("aldis/v1/device")
            .text(&self.fingerprint.to_string())
            .text(self.device_id.as_str())
            .raw(self.public_key)
            .integer(self.created_at_ms)
            .finish()
    }
}

/// An identity vouching for its encryption key: without it, the server could put its own in between.
#[derive(Debug, Clone, Copy)]
pub struct EncryptionKeyStatement<'a> {
    /// The identity that signs.
    pub fingerprint: Fingerprint,
    /// The X25519 key.
    pub encryption_key: &'a [u8; 32],
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
}

impl EncryptionKeyStatement<'_> {
    /// What is signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Encoder::new("aldis/v1/encryption-key")
            .text(&self.fingerprint.to_string())
            .raw(self.encryption_key)
            .integer(self.created_at_ms)
            .finish()
    }
}

/// A signal from device to device: without it, the server could answer a call itself.
#[derive(Debug, Clone, Copy)]
pub struct SignalStatement<'a> {
    /// `offer`, `answer`, `ice-candidate` or `signal`.
    pub kind: &'a str,
    /// The sender's identity.
    pub sender_fingerprint: Fingerprint,
    /// The sender's device.
    pub sender_device_id: &'a DeviceId,
    /// A device id; where a user is the target, that user's fingerprint, else the user id.
    pub target: &'a str,
    /// The message's id.
    pub id: &'a str,
    /// When it was signed, in Unix milliseconds; over ten minutes off is refused.
    pub created_at_ms: u64,
    /// The payload as it stands on the wire; its SHA-256 is signed.
    pub payload: &'a [u8],
}

impl SignalStatement<'_> {
    /// What is signed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Encoder::new("aldis/v1/signal")
            .text(self.kind)
            .text(&self.sender_fingerprint.to_string())
            .text(self.sender_device_id.as_str())
            .text(self.target)
            .text(self.id)
            .integer(self.created_at_ms)
            .raw(&Hash::of(self.payload).0)
            .finish()
    }
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn new(context: &str) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(context.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    fn raw(mut self, field: &[u8]) -> Self {
        // No field comes near 4 GiB: each is an id, a key, a hash, or a text that a 64 KiB frame brought.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    fn text(self, field: &str) -> Self {
        self.raw(field.as_bytes())
    }

    fn integer(self, field: u64) -> Self {
        self.raw(&field.to_be_bytes())
    }

    fn finish(self) -> Vec<u8> {
        self.0
    }
}
