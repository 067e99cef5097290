//! What a client remembers of other users' identities, so that a server cannot replace them later unnoticed.

use std::collections::BTreeMap;

use aldis_auth::{Chain, ChainForked, Pin, PublicKey, check_pin};
use aldis_protocol::{DeviceId, Fingerprint, binary};
use serde::{Deserialize, Serialize};

/// The most identities that are remembered. None is dropped to make room, because its next chain would be trusted
/// without a check.
pub const MAX_PINNED_IDENTITIES: usize = 10_000;
/// Statements remembered for one identity and key: those of the 20 devices that it may have, many times over.
const STATEMENTS: usize = 256;

/// How much of each identity's chain the client has seen, and the newest statements that its keys signed.
///
/// An application stores it (`serde`) beside its account. If an identity is lost from it, its next chain is trusted
/// without a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(BTreeMap<Fingerprint, Pinned>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pinned {
    chain: Pin,
    #[serde(default)]
    statements: Vec<Seen>,
}

/// The newest statement about a subject that was seen with a key's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(with = "binary::array")]
    signer: [u8; 32],
    /// None for the encryption key.
    #[serde(default)]
    device_id: Option<DeviceId>,
    created_at_ms: u64,
}

/// Why a chain is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPinned {
    /// The server shows another chain than it did before.
    #[error(transparent)]
    Forked(#[from] ChainForked),
    /// The limit of remembered identities is reached.
    #[error("{MAX_PINNED_IDENTITIES} identities are remembered already; none is forgotten to make room")]
    Full,
}

impl Pins {
    /// The number of remembered identities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no identity is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much of an identity's chain was seen.
    #[must_use]
    pub fn chain(&self, fingerprint: &Fingerprint) -> Option<&Pin> {
        self.0.get(fingerprint).map(|pinned| &pinned.chain)
    }

    /// Forgets an identity, so that its next chain is trusted like a first one. Only a person can decide that, if they
    /// know from another source why the chain changed.
    pub fn forget(&mut self, fingerprint: &Fingerprint) {
        self.0.remove(fingerprint);
    }

    /// Compares a verified chain with what was seen of it before, and remembers it.
    ///
    /// # Errors
    /// [`NotPinned`].
    pub fn see(&mut self, chain: &Chain, now_ms: u64) -> Result<(), NotPinned> {
        let full = self.0.len() >= MAX_PINNED_IDENTITIES;
        match self.0.get_mut(&chain.fingerprint()) {
            Some(pinned) => {
                pinned.chain = check_pin(&pinned.chain, chain, now_ms)?;
                pinned.forget_spent_keys(chain, now_ms);
            }
            None if full => return Err(NotPinned::Full),
            None => {
                let pinned = Pinned { chain: Pin::of(chain, now_ms), statements: Vec::new() };
                self.0.insert(chain.fingerprint(), pinned);
            }
        }
        Ok(())
    }

    /// Whether a statement signed by `signer` is at least as new as the newest one seen. If so, it is remembered as the
    /// newest.
    pub(crate) fn is_news(
        &mut self,
        fingerprint: &Fingerprint,
        signer: &PublicKey,
        device_id: Option<&DeviceId>,
        created_at_ms: u64,
    ) -> bool {
        let Some(pinned) = self.0.get_mut(fingerprint) else { return false };
        let of_subject =
            |seen: &&mut Seen| seen.signer == *signer.as_bytes() && seen.device_id.as_ref() == device_id;
        if let Some(seen) = pinned.statements.iter_mut().find(of_subject) {
            let is_news = created_at_ms >= seen.created_at_ms;
            seen.created_at_ms = seen.created_at_ms.max(created_at_ms);
            return is_news;
        }
        // What cannot be remembered could be rolled back unseen.
        if pinned.statements.len() >= STATEMENTS {
            return false;
        }
        let seen = Seen { signer: *signer.as_bytes(), device_id: device_id.cloned(), created_at_ms };
        pinned.statements.push(seen);
        true
    }
}

impl Pinned {
    /// Drops the statements of keys that cannot become active again. While a rotation can be cancelled, two keys can.
    fn forget_spent_keys(&mut self, chain: &Chain, now_ms: u64) {
        let state = chain.state(now_ms);
        let replaced = state.provisional.map(|provisional| provisional.old_key);
        let counts = |signer: &[u8; 32]| {
            state.active_key.as_bytes() == signer || replaced.is_some_and(|key| key.as_bytes() == signer)
        };
        self.statements.retain(|seen| counts(&seen.signer));
    }
}

#[cfg(test)]
mod tests {
    use aldis_auth::{Cancellation, Rotation, SecretKey};

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn begun(seed: u8) -> Chain {
        Chain::begin(key(seed).public_key(), NOW)
    }

    fn rotated(mut chain: Chain, old: u8, new: u8) -> Chain {
        let rotation =
            Rotation::sign(chain.fingerprint(), chain.head(), &key(old), &key(new), "scheduled", NOW + 1);
        chain.append(rotation.into(), NOW + 1).unwrap();
        chain
    }

    fn cancelled(mut chain: Chain, old: u8) -> Chain {
        let cancellation = Cancellation::sign(chain.fingerprint(), chain.head(), &key(old), NOW + 2);
        chain.append(cancellation.into(), NOW + 2).unwrap();
        chain
    }

    #[test]
    fn a_chain_may_grow_and_never_shrink() {
        let mut pins = Pins::default();
        let (short, long) = (begun(1), rotated(begun(1), 1, 2));
        pins.see(&short, NOW).unwrap();
        pins.see(&long, NOW + 1).unwrap();
        assert_eq!(pins.see(&short, NOW + 2), Err(NotPinned::Forked(ChainForked::Shorter)));
        assert_eq!(pins.see(&rotated(begun(1), 1, 3), NOW), Err(NotPinned::Forked(ChainForked::Different)));
        assert_eq!(pins.chain(&long.fingerprint()).unwrap().length, 2);
    }

    #[test]
    fn pins_outlive_the_program() {
        let mut pins = Pins::default();
        pins.see(&rotated(begun(1), 1, 2), NOW + 1).unwrap();
        pins.is_news(&begun(1).fingerprint(), &key(2).public_key(), Some(&"desk".parse().unwrap()), 5);
        let mut read: Pins = serde_json::from_str(&serde_json::to_string(&pins).unwrap()).unwrap();
        assert_eq!(read, pins);
        assert_eq!(read.see(&begun(1), NOW + 2), Err(NotPinned::Forked(ChainForked::Shorter)));
    }

    #[test]
    fn an_identity_that_is_forgotten_is_trusted_again() {
        let mut pins = Pins::default();
        pins.see(&rotated(begun(1), 1, 2), NOW + 1).unwrap();
        pins.forget(&begun(1).fingerprint());
        assert!(pins.is_empty());
        pins.see(&begun(1), NOW + 2).unwrap();
    }

    #[test]
    fn a_statement_is_never_followed_by_an_older_one() {
        let (mut pins, fingerprint, signer) = (Pins::default(), begun(1).fingerprint(), key(1).public_key());
        let desk: DeviceId = "desk".parse().unwrap();
        assert!(!pins.is_news(&fingerprint, &signer, None, 5), "of an identity without a chain");
        pins.see(&begun(1), NOW).unwrap();
        assert!(pins.is_news(&fingerprint, &signer, None, 5));
        assert!(pins.is_news(&fingerprint, &signer, Some(&desk), 3));
        assert!(pins.is_news(&fingerprint, &signer, None, 5));
        assert!(!pins.is_news(&fingerprint, &signer, None, 4));
        assert!(pins.is_news(&fingerprint, &signer, None, 6));
        assert!(!pins.is_news(&fingerprint, &signer, Some(&desk), 2));
    }

    #[test]
    fn a_cancelled_rotation_gives_no_way_round_what_the_old_key_had_signed() {
        let (mut pins, fingerprint) = (Pins::default(), begun(1).fingerprint());
        let (old, new) = (key(1).public_key(), key(2).public_key());
        pins.see(&begun(1), NOW).unwrap();
        assert!(pins.is_news(&fingerprint, &old, None, 10));
        let chain = rotated(begun(1), 1, 2);
        pins.see(&chain, NOW + 1).unwrap();
        assert!(pins.is_news(&fingerprint, &new, None, 20));
        pins.see(&cancelled(chain, 1), NOW + 2).unwrap();
        assert!(!pins.is_news(&fingerprint, &old, None, 9));
        assert!(pins.is_news(&fingerprint, &old, None, 10), "what was restored is older than the thief's");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_believed() {
        let (mut pins, fingerprint, signer) = (Pins::default(), begun(1).fingerprint(), key(1).public_key());
        pins.see(&begun(1), NOW).unwrap();
        let device = |number: usize| format!("device-{number}").parse::<DeviceId>().unwrap();
        assert!((0..STATEMENTS).all(|number| pins.is_news(&fingerprint, &signer, Some(&device(number)), 1)));
        assert!(!pins.is_news(&fingerprint, &signer, Some(&device(STATEMENTS)), 1));
        assert!(pins.is_news(&fingerprint, &signer, Some(&device(0)), 2));
    }
}
