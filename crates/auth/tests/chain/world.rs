//! Keys by number, and statements that extend a chain.

use aldis_auth::{Cancellation, Chain, Rotation, SecretKey};
use aldis_protocol::Fingerprint;

pub(crate) const NOW: u64 = 1_767_225_600_000;

pub(crate) fn key(number: u64) -> SecretKey {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_bytes(&bytes)
}

/// A chain that begins with key 0.
pub(crate) fn chain() -> Chain {
    Chain::begin(key(0).public_key(), NOW)
}

pub(crate) fn rotation(chain: &Chain, old: u64, new: u64, created_at_ms: u64) -> Rotation {
    Rotation::sign(chain.fingerprint(), chain.head(), &key(old), &key(new), "scheduled", created_at_ms)
}

pub(crate) fn cancellation(chain: &Chain, signer: u64, created_at_ms: u64) -> Cancellation {
    Cancellation::sign(chain.fingerprint(), chain.head(), &key(signer), created_at_ms)
}

/// Signs the rotation again as it is, with any keys.
pub(crate) fn resigned(rotation: &mut Rotation, fingerprint: Fingerprint, old: &SecretKey, new: &SecretKey) {
    let (old_key, new_key) = (*rotation.old_key.as_bytes(), *rotation.new_key.as_bytes());
    let signed = aldis_protocol::statement::KeyRotation {
        fingerprint,
        sequence: rotation.sequence,
        previous_hash: rotation.previous_hash,
        old_key: &old_key,
        new_key: &new_key,
        reason: &rotation.reason,
        created_at_ms: rotation.created_at_ms,
    };
    (rotation.signature_old, rotation.signature_new) =
        (old.sign_rotation(&signed), new.accept_rotation(&signed));
}
