//! Sealed secrets: a reader of the database needs the key file to decrypt them.

use aldis_protocol::UserId;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::{KeyId, SubKey, SubKeyRing};

/// The owner and the purpose of a secret. A sealed secret opens only with the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFor<'a> {
    /// The user.
    pub user_id: UserId,
    /// A name without `/`, like `totp`.
    pub purpose: &'a str,
}

/// The bytes are not a sealed secret of this server, user and purpose; the error does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sealed secret cannot be opened: it was changed or moved, or its key is no longer in the key file"
)]
pub struct CannotOpen;

/// The longest secret that can be sealed, in bytes.
pub const MAX_SEALED_SECRET_BYTES: usize = 4_096;

/// Seals and opens secrets (XChaCha20-Poly1305).
#[derive(Debug, Clone)]
pub struct Sealer {
    keys: SubKeyRing,
}

impl Sealer {
    /// Takes the server's keys for sealing. It seals with the current one and opens with all.
    #[must_use]
    pub const fn new(keys: SubKeyRing) -> Self {
        Self { keys }
    }

    /// Seals a secret: version, key id, nonce, ciphertext; 49 bytes longer than the secret.
    ///
    /// # Errors
    /// [`SecretTooLong`] over [`MAX_SEALED_SECRET_BYTES`].
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        sealed_for: SealedFor<'_>,
        secret: &[u8],
    ) -> Result<Vec<u8>, SecretTooLong> {
        if secret.len() > MAX_SEALED_SECRET_BYTES {
            return Err(SecretTooLong);
        }
        let mut nonce = [0; NONCE_LENGTH];
        rng.fill_bytes(&mut nonce);
        let (kid, key) = self.keys.current();
        let associated = associated_data(sealed_for);
        let payload = Payload { msg: secret, aad: associated.as_bytes() };
        let ciphertext = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| SecretTooLong)?;
        Ok([&[VERSION], kid.as_bytes().as_slice(), &nonce, &ciphertext].concat())
    }

    /// Opens a secret that was sealed for the same user and purpose.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(&self, sealed_for: SealedFor<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let parts = Parts::of(sealed).ok_or(CannotOpen)?;
        let key = self.keys.get(parts.kid).ok_or(CannotOpen)?;
        let associated = associated_data(sealed_for);
        let payload = Payload { msg: parts.ciphertext, aad: associated.as_bytes() };
        cipher(key).decrypt(&XNonce::from(parts.nonce), payload).map(Zeroizing::new).map_err(|_| CannotOpen)
    }

    /// Whether it was sealed with an older key and should be sealed again.
    #[must_use]
    pub fn is_outdated(&self, sealed: &[u8]) -> bool {
        Parts::of(sealed).is_some_and(|parts| parts.kid != self.keys.current().0)
    }
}

/// The secret is longer than [`MAX_SEALED_SECRET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret to be sealed has at most {MAX_SEALED_SECRET_BYTES} bytes")]
pub struct SecretTooLong;

const VERSION: u8 = 1;
const NONCE_LENGTH: usize = 24;

struct Parts<'a> {
    kid: KeyId,
    nonce: [u8; NONCE_LENGTH],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (kid, rest) = rest.split_first_chunk()?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        Some(Self { kid: KeyId::from_bytes(*kid), nonce: *nonce, ciphertext })
    }
}

fn cipher(key: &SubKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}

fn associated_data(sealed_for: SealedFor<'_>) -> String {
    format!("user:{}/{}", sealed_for.user_id, sealed_for.purpose)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use uuid::Uuid;

    use super::*;
    use crate::{KeyRing, RootKey};

    const SECRET: &[u8] = b"12345678901234567890";

    fn ring(newest_first: &[u8]) -> Sealer {
        let keys = newest_first.iter().map(|byte| RootKey::new([*byte; 32])).collect();
        Sealer::new(KeyRing::from_keys(keys).unwrap().sub_keys("sealed"))
    }

    fn totp_of(user: u128) -> SealedFor<'static> {
        SealedFor { user_id: UserId::new(Uuid::from_u128(user)), purpose: "totp" }
    }

    fn sealed(sealer: &Sealer) -> Vec<u8> {
        sealer.seal(&mut StdRng::seed_from_u64(1), totp_of(1), SECRET).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens() {
        let sealed = sealed(&ring(&[1]));
        assert_eq!(sealed.len(), SECRET.len() + 49);
        assert!(!sealed.windows(4).any(|window| window == &SECRET[..4]));
        assert_eq!(**ring(&[1]).open(totp_of(1), &sealed).unwrap(), *SECRET);
    }

    #[test]
    fn the_layout_is_as_documented() {
        let sealed = sealed(&ring(&[1]));
        assert_eq!(sealed[0], 1);
        assert_eq!(&sealed[1..9], RootKey::new([1; 32]).kid().as_bytes());
        let cipher = cipher(&RootKey::new([1; 32]).sub_key("sealed"));
        let payload = Payload { msg: &sealed[33..], aad: b"user:00000000-0000-0000-0000-000000000001/totp" };
        let nonce: [u8; 24] = sealed[9..33].try_into().unwrap();
        assert_eq!(cipher.decrypt(&XNonce::from(nonce), payload).unwrap(), SECRET);
    }

    #[test]
    fn it_opens_for_no_other_user_or_purpose() {
        let sealed = sealed(&ring(&[1]));
        assert_eq!(ring(&[1]).open(totp_of(2), &sealed), Err(CannotOpen));
        let other_purpose = SealedFor { purpose: "backup", ..totp_of(1) };
        assert_eq!(ring(&[1]).open(other_purpose, &sealed), Err(CannotOpen));
        assert_eq!(ring(&[2]).open(totp_of(1), &sealed), Err(CannotOpen));
        let other_label = Sealer::new(KeyRing::new(RootKey::new([1; 32])).sub_keys("other"));
        assert_eq!(other_label.open(totp_of(1), &sealed), Err(CannotOpen));
    }

    #[test]
    fn an_older_key_opens_and_the_newest_seals() {
        let old = sealed(&ring(&[1]));
        let both = ring(&[2, 1]);
        assert_eq!(**both.open(totp_of(1), &old).unwrap(), *SECRET);
        assert!(both.is_outdated(&old) && !both.is_outdated(&sealed(&both)));
        assert_eq!(**ring(&[2]).open(totp_of(1), &sealed(&both)).unwrap(), *SECRET);
    }

    #[test]
    fn equal_secrets_are_sealed_differently() {
        let (sealer, mut rng) = (ring(&[1]), StdRng::seed_from_u64(1));
        let mut seal = || sealer.seal(&mut rng, totp_of(1), SECRET).unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_long_secret_is_refused() {
        let mut rng = StdRng::seed_from_u64(1);
        assert!(ring(&[1]).seal(&mut rng, totp_of(1), &[0; MAX_SEALED_SECRET_BYTES]).is_ok());
        let too_long = ring(&[1]).seal(&mut rng, totp_of(1), &[0; MAX_SEALED_SECRET_BYTES + 1]);
        assert_eq!(too_long, Err(SecretTooLong));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_detected(at: prop::sample::Index, with in 1u8..) {
            let mut sealed = sealed(&ring(&[1]));
            let at = at.index(sealed.len());
            sealed[at] ^= with;
            prop_assert_eq!(ring(&[1]).open(totp_of(1), &sealed), Err(CannotOpen));
        }

        #[test]
        fn other_bytes_are_refused(bytes: Vec<u8>, cut in 0..69usize) {
            prop_assert_eq!(ring(&[1]).open(totp_of(1), &bytes), Err(CannotOpen));
            prop_assert_eq!(ring(&[1]).open(totp_of(1), &sealed(&ring(&[1]))[..cut]), Err(CannotOpen));
        }
    }
}
