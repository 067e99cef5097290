//! The proof of an operator at the admin listener: only the server and who can read its key file can make it.

use aldis_auth::{KeyRing, SubKeyRing};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Now;

/// Makes and checks proofs. A proof is valid for two minutes at most.
#[derive(Debug)]
pub(crate) struct OperatorKey(SubKeyRing);

const MINUTE_MS: u64 = 60_000;
const LABEL: &str = "admin-listener";

impl OperatorKey {
    /// The key of this server.
    pub(crate) fn new(ring: &KeyRing) -> Self {
        Self(ring.sub_keys(LABEL))
    }

    /// A proof for this time.
    pub(crate) fn proof(&self, now: Now) -> String {
        proof(self.0.current().1.as_bytes(), now.unix_ms / MINUTE_MS)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether the text is a proof for about this time.
    pub(crate) fn accepts(&self, given: &str, now: Now) -> bool {
        let Some(given) = bytes(given) else { return false };
        let minute = now.unix_ms / MINUTE_MS;
        let minutes = [minute.saturating_sub(1), minute, minute + 1];
        self.0.iter().any(|key| minutes.iter().any(|minute| is_proof(key.as_bytes(), *minute, &given)))
    }
}

fn mac(key: &[u8; 32], minute: u64) -> Hmac<Sha256> {
    // A full block is the only length that cannot be refused.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&block).into());
    mac.update(&minute.to_be_bytes());
    mac
}

fn proof(key: &[u8; 32], minute: u64) -> [u8; 32] {
    mac(key, minute).finalize().into_bytes().into()
}

/// In constant time.
fn is_proof(key: &[u8; 32], minute: u64, given: &[u8; 32]) -> bool {
    mac(key, minute).verify_slice(given).is_ok()
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let digits = (0..64).step_by(2).map(|start| u8::from_str_radix(&text[start..start + 2], 16).ok());
    digits.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use aldis_auth::RootKey;

    use super::*;

    fn key(byte: u8) -> OperatorKey {
        OperatorKey::new(&KeyRing::new(RootKey::new([byte; 32])))
    }

    fn at(unix_ms: u64) -> Now {
        Now { tick: 0, unix_ms }
    }

    #[test]
    fn a_proof_is_valid_for_a_short_time_and_for_one_key() {
        let proof = key(1).proof(at(600_000));
        assert!(key(1).accepts(&proof, at(600_000)) && key(1).accepts(&proof, at(719_999)));
        assert!(!key(1).accepts(&proof, at(720_000)) && !key(1).accepts(&proof, at(1)));
        assert!(!key(2).accepts(&proof, at(600_000)));
        for bad in ["", "zz", &"g".repeat(64), &"é".repeat(32)] {
            assert!(!key(1).accepts(bad, at(600_000)), "{bad}");
        }
    }
}
