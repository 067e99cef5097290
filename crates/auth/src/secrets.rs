//! The server's root secret, and the keys derived from it.

mod ring;

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::ring::{InvalidKeyRing, KeyId, KeyRing, MAX_RING_KEYS, SubKeyRing};

/// 32 bytes that are only used to derive keys. The key file contains one or several ([`KeyRing`]).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key for one purpose (HKDF-SHA256, with the label as info). It reveals nothing about the root or other keys.
    #[must_use]
    pub fn sub_key(&self, label: &str) -> SubKey {
        let pseudorandom_key = SubKey(Hkdf::<Sha256>::extract(None, &self.0).0.into());
        // HKDF-Expand needs one block for 32 bytes. Unlike the library's call, this cannot fail.
        SubKey(pseudorandom_key.mac(&[label.as_bytes(), &[1]]))
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// A key for one purpose: see [`RootKey::sub_key`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SubKey([u8; 32]);

impl SubKey {
    /// The key itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 over the parts as one message. If the length of a part varies, the caller must make its end
    /// unambiguous.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC pads a shorter key with zeros to a block. A full block is the only length that cannot be refused.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_key_is_hkdf_sha256() {
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(None, &[7; 32]).expand(b"aldis/v1/test", &mut expected).unwrap();
        assert_eq!(RootKey::new([7; 32]).sub_key("aldis/v1/test").as_bytes(), &expected);
    }

    #[test]
    fn each_label_has_its_own_key() {
        let root = RootKey::new([7; 32]);
        assert_ne!(root.sub_key("a").as_bytes(), root.sub_key("b").as_bytes());
        assert_ne!(root.sub_key("a").as_bytes(), RootKey::new([8; 32]).sub_key("a").as_bytes());
    }

    #[test]
    fn the_mac_is_hmac_sha256() {
        let mut reference = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
        reference.update(b"one message");
        let expected: [u8; 32] = reference.finalize().into_bytes().into();
        assert_eq!(SubKey([9; 32]).mac(&[b"one ", b"message"]), expected);
    }

    #[test]
    fn keys_are_never_printed() {
        let root = RootKey::new([7; 32]);
        assert_eq!(format!("{root:?} {:?}", root.sub_key("a")), "RootKey(..) SubKey(..)");
    }
}
