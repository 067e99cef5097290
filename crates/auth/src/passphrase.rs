//! Files that are sealed by a passphrase: Argon2id derives the key, XChaCha20-Poly1305 seals the content in chunks.
//!
//! Each chunk is bound to its place and to whether it is the last one, so a file that was cut, reordered or extended does
//! not open. The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) with a 32-bit counter.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::CryptoRng;
use zeroize::Zeroizing;

/// The least number of bytes of a passphrase. A file can be guessed at offline, so it needs more than a password.
pub const MIN_PASSPHRASE_BYTES: usize = 12;

/// How many bytes of content a chunk has; only the last one may have fewer.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How many bytes longer a sealed chunk is than its content.
pub const CHUNK_OVERHEAD: usize = 16;

/// How the key of a file is derived from its passphrase. It is no secret and is stored with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassphraseParameters {
    /// Memory of Argon2id in KiB.
    pub memory_kib: u32,
    /// Iterations of Argon2id.
    pub iterations: u32,
    /// Random, for each file.
    pub salt: [u8; 16],
    /// The part of the nonces that all chunks share; random, for each file.
    pub nonce: [u8; 19],
}

/// The parameters are not acceptable: deriving the key would take too little or too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of the passphrase are out of range")]
pub struct InvalidParameters;

/// A chunk does not open: the passphrase is another one, or the file was changed or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunk cannot be opened")]
pub struct CannotOpenChunk;

/// Seals or opens the chunks of one file, in order.
pub struct ChunkCipher {
    cipher: XChaCha20Poly1305,
    nonce: [u8; 19],
    next: u32,
    associated: Vec<u8>,
}

impl PassphraseParameters {
    /// New parameters: 64 MiB and three iterations, which takes about a third of a second.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let (mut salt, mut nonce) = ([0; 16], [0; 19]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        Self { memory_kib: 64 * 1024, iterations: 3, salt, nonce }
    }

    /// Derives the key of a file. `associated` is other data of the file that must not be changed; it is not sealed.
    ///
    /// # Errors
    /// [`InvalidParameters`] if a stranger chose them: over 1 GiB or over 16 iterations.
    pub fn cipher(&self, passphrase: &str, associated: &[u8]) -> Result<ChunkCipher, InvalidParameters> {
        if self.memory_kib > MAX_MEMORY_KIB || self.iterations > MAX_ITERATIONS {
            return Err(InvalidParameters);
        }
        let parameters =
            Params::new(self.memory_kib, self.iterations, 1, Some(32)).map_err(|_| InvalidParameters)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut_slice())
            .map_err(|_| InvalidParameters)?;
        let cipher = XChaCha20Poly1305::new((&*key).into());
        Ok(ChunkCipher { cipher, nonce: self.nonce, next: 0, associated: associated.to_vec() })
    }
}

const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_ITERATIONS: u32 = 16;

impl ChunkCipher {
    /// Seals the next chunk.
    ///
    /// # Errors
    /// [`CannotOpenChunk`] after 2³² chunks, which are 256 TiB.
    pub fn seal(&mut self, content: &[u8], is_last: bool) -> Result<Vec<u8>, CannotOpenChunk> {
        let nonce = self.next_nonce(is_last)?;
        let payload = Payload { msg: content, aad: &self.associated };
        self.cipher.encrypt(&nonce, payload).map_err(|_| CannotOpenChunk)
    }

    /// Opens the next chunk.
    ///
    /// # Errors
    /// [`CannotOpenChunk`].
    pub fn open(&mut self, sealed: &[u8], is_last: bool) -> Result<Zeroizing<Vec<u8>>, CannotOpenChunk> {
        let nonce = self.next_nonce(is_last)?;
        let payload = Payload { msg: sealed, aad: &self.associated };
        self.cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| CannotOpenChunk)
    }

    fn next_nonce(&mut self, is_last: bool) -> Result<XNonce, CannotOpenChunk> {
        let mut nonce = [0; 24];
        nonce[..19].copy_from_slice(&self.nonce);
        nonce[19..23].copy_from_slice(&self.next.to_be_bytes());
        nonce[23] = u8::from(is_last);
        self.next = self.next.checked_add(1).ok_or(CannotOpenChunk)?;
        Ok(XNonce::from(nonce))
    }
}

impl std::fmt::Debug for ChunkCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkCipher").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const PHRASE: &str = "correct horse battery staple";

    fn parameters() -> PassphraseParameters {
        let generated = PassphraseParameters::generate(&mut StdRng::seed_from_u64(1));
        // The least that Argon2 takes, for speed.
        PassphraseParameters { memory_kib: 8, iterations: 1, ..generated }
    }

    fn cipher(passphrase: &str, associated: &[u8]) -> ChunkCipher {
        parameters().cipher(passphrase, associated).unwrap()
    }

    #[test]
    fn chunks_open_in_their_order_only() {
        let mut sealing = cipher(PHRASE, b"head");
        let (one, two) = (sealing.seal(b"one", false).unwrap(), sealing.seal(b"two", true).unwrap());
        assert_eq!(one.len(), 3 + CHUNK_OVERHEAD);
        let mut opening = cipher(PHRASE, b"head");
        assert_eq!(opening.open(&one, false).unwrap().as_slice(), b"one");
        assert_eq!(opening.open(&two, true).unwrap().as_slice(), b"two");
        assert!(cipher(PHRASE, b"head").open(&two, true).is_err(), "another place");
        assert!(cipher(PHRASE, b"head").open(&one, true).is_err(), "a file that was cut after this chunk");
        assert!(cipher(PHRASE, b"other").open(&one, false).is_err(), "another head");
        assert!(cipher("another phrase", b"head").open(&one, false).is_err());
    }

    #[test]
    fn parameters_of_a_stranger_cannot_take_all_memory() {
        let huge = PassphraseParameters { memory_kib: 2 * 1024 * 1024, ..parameters() };
        assert_eq!(huge.cipher(PHRASE, b"").unwrap_err(), InvalidParameters);
        let long = PassphraseParameters { iterations: 1_000_000, ..parameters() };
        assert_eq!(long.cipher(PHRASE, b"").unwrap_err(), InvalidParameters);
        let none = PassphraseParameters { memory_kib: 0, ..parameters() };
        assert_eq!(none.cipher(PHRASE, b"").unwrap_err(), InvalidParameters);
    }

    #[test]
    fn a_cipher_prints_no_key() {
        assert_eq!(format!("{:?}", cipher(PHRASE, b"")), "ChunkCipher { next: 0, .. }");
    }
}
