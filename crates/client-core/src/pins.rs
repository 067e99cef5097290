//! What a client remembers of other people's identities, so that no server can show it other ones later.

use std::collections::BTreeMap;

use aldis_auth::{Chain, ChainForked, Pin, PublicKey, check_pin};
use aldis_protocol::{DeviceId, Fingerprint, binary};
use serde::{Deserialize, Serialize};

/// The most identities that are remembered. None is forgotten to make room: it would be trusted again on sight.
pub const MAX_PINNED_IDENTITIES: usize = 10_000;
/// Statements remembered for one identity and key: those of the 20 devices that it may have, many times over.
const STATEMENTS: usize = 256;

/// How far each identity's chain was seen, and how new the statements that its keys signed were.
///
/// An application keeps it (`serde`) beside its account: an identity that is lost from it is trusted again on sight.
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

/// Why a chain is not taken for what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPinned {
    /// The server shows another chain than it did before.
    #[error(transparent)]
    Forked(#[from] ChainForked),
    /// As many identities are remembered as may be.
    #[error("{MAX_PINNED_IDENTITIES} identities are remembered already; none is forgotten to make room")]
    Full,
}

impl Pins {
    /// How many identities are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far an identity's chain was seen.
    #[must_use]
    pub fn chain(&self, fingerprint: &Fingerprint) -> Option<&Pin> {
        self.0.get(fingerprint).map(|pinned| &pinned.chain)
    }

    /// Forgets an identity. The next chain that a server shows for it is trusted as the first one was: that is for a
    /// person to decide, who knows from elsewhere why the chain is another.
    pub fn forget(&mut self, fingerprint: &Fingerprint) {
        self.0.remove(fingerprint);
    }

    /// Holds a chain that verified against what was seen of it before, and remembers it.
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

    /// Whether a statement that `signer` signed is no older than the newest one seen, which it is from now on.
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
    /// A key that can never be active again signs nothing that counts. While a rotation can be cancelled, two can.
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
