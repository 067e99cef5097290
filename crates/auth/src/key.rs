//! Ed25519 keys, and checks of X25519 keys.

use std::fmt;

use aldis_protocol::{
    Fingerprint, binary,
    statement::{
        AuthChallenge, DeviceStatement, EncryptionKeyStatement, KeyRotation, KeyRotationCancel,
        SignalStatement,
    },
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::CryptoRng;
use zeroize::Zeroizing;

/// The public key of an identity or a device: canonical and of full order.
///
/// A weak (small-order) key is refused because there are signatures that it verifies for any message. A non-canonical
/// encoding of a key is refused because it would count as a different key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

/// The bytes are not a key, or the key is weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not a valid one")]
pub struct InvalidKey;

/// A signature that does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct InvalidSignature;

impl PublicKey {
    /// Checks a key from the network.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is not a point of the curve, not in canonical form, or of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey)?;
        let canonical = key.to_edwards().compress().to_bytes() == *bytes;
        if canonical && !key.is_weak() { Ok(Self(key)) } else { Err(InvalidKey) }
    }

    /// The key in the form of the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The fingerprint of the identity that began with this key. It does not change with a rotation.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_first_key(self.as_bytes())
    }

    /// Verifies strictly: a signature has only one valid form.
    ///
    /// # Errors
    /// [`InvalidSignature`] if it is not this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), InvalidSignature> {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| InvalidSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", binary::encode(self.as_bytes()))
    }
}

/// The secret key of an identity or a device, wiped when dropped.
///
/// It signs statements, each with its own context, and offers no way to sign arbitrary bytes: an attacker who could
/// choose the bytes could have a rotation signed as something harmless.
pub struct SecretKey(SigningKey);

/// A statement that a key is asked to sign.
///
/// It is for keys that this program does not hold, such as those of WebCrypto or of a hardware token: they sign
/// [`bytes`](Self::bytes) elsewhere, and later. Only statements of the protocol make one, so that no caller can have
/// other bytes signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    key: PublicKey,
    bytes: Vec<u8>,
}

impl SigningRequest {
    pub(crate) const fn new(key: PublicKey, bytes: Vec<u8>) -> Self {
        Self { key, bytes }
    }

    /// The key that has to sign.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The bytes to sign with Ed25519.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl SecretKey {
    /// Generates a key.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(SigningKey::generate(rng))
    }

    /// Restores a stored key from the 32 bytes of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The key's bytes, for storing it.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a challenge. [`create_auth_response`](crate::create_auth_response) does this after the checks that a
    /// client must make.
    #[must_use]
    pub fn sign_challenge(&self, challenge: &AuthChallenge<'_>) -> [u8; 64] {
        self.sign(&challenge.bytes())
    }

    /// Signs a rotation as the old key.
    #[must_use]
    pub fn sign_rotation(&self, rotation: &KeyRotation<'_>) -> [u8; 64] {
        self.sign(&rotation.bytes())
    }

    /// Signs a rotation as the new key.
    #[must_use]
    pub fn accept_rotation(&self, rotation: &KeyRotation<'_>) -> [u8; 64] {
        self.sign(&rotation.accept_bytes())
    }

    /// Signs the cancellation of a rotation as the replaced key.
    #[must_use]
    pub fn sign_cancel(&self, cancel: &KeyRotationCancel<'_>) -> [u8; 64] {
        self.sign(&cancel.bytes())
    }

    /// Signs a device's key.
    #[must_use]
    pub fn sign_device(&self, statement: &DeviceStatement<'_>) -> [u8; 64] {
        self.sign(&statement.bytes())
    }

    /// Signs an encryption key.
    #[must_use]
    pub fn sign_encryption_key(&self, statement: &EncryptionKeyStatement<'_>) -> [u8; 64] {
        self.sign(&statement.bytes())
    }

    /// Signs a signal to another device.
    #[must_use]
    pub fn sign_signal(&self, statement: &SignalStatement<'_>) -> [u8; 64] {
        self.sign(&statement.bytes())
    }

    /// Signs what a [`SigningRequest`] asks for.
    #[must_use]
    pub fn sign_request(&self, request: &SigningRequest) -> [u8; 64] {
        self.sign(request.bytes())
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// An X25519 public key for encryption: canonical and not of low order.
///
/// With a low-order key the shared secret is the same for everybody, so anybody could decrypt the messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// Checks a key from the network.
    ///
    /// # Errors
    /// [`InvalidKey`] for a number not below 2²⁵⁵ − 19, and for a point of low order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        if is_field_element(bytes) && !LOW_ORDER_POINTS.contains(bytes) {
            Ok(Self(*bytes))
        } else {
            Err(InvalidKey)
        }
    }

    /// The key in the form of the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", binary::encode(&self.0))
    }
}

/// Whether the little-endian number is below the field's prime, 2²⁵⁵ − 19.
fn is_field_element(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7f || (*high == 0x7f && (*low < 0xed || middle.iter().any(|byte| *byte != 0xff)))
}

/// Every canonical u-coordinate whose order divides 8, on the curve or on its twist: 0, 1, two of order 8, and −1.
const LOW_ORDER_POINTS: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_stored_key_is_the_same_key() {
        let secret = SecretKey::generate(&mut StdRng::seed_from_u64(1));
        assert_eq!(SecretKey::from_bytes(&secret.to_bytes()).public_key(), secret.public_key());
    }

    #[test]
    fn a_generated_key_is_accepted() {
        let public = SecretKey::generate(&mut StdRng::seed_from_u64(2)).public_key();
        assert_eq!(PublicKey::from_bytes(public.as_bytes()), Ok(public));
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes(&[1; 32])), "SecretKey(..)");
    }

    #[test]
    fn a_public_key_is_printed_as_on_the_wire() {
        let public = SecretKey::from_bytes(&[1; 32]).public_key();
        assert_eq!(format!("{public:?}"), "PublicKey(iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=)");
    }

    #[test]
    fn field_elements_end_below_the_prime() {
        let mut number = [0xff; 32];
        number[31] = 0x7f;
        for (low, expected) in [(0xeb, true), (0xec, true), (0xed, false), (0xff, false)] {
            number[0] = low;
            assert_eq!(is_field_element(&number), expected, "{low:x}");
        }
        number[31] = 0x80;
        number[0] = 0;
        assert!(!is_field_element(&number));
        assert!(is_field_element(&[9; 32]));
    }
}
