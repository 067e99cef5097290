//! The file that `aldis backup` writes (docs/backup.md): a line that names the format, a line of JSON that describes the
//! backup, and the content, which may be sealed.
//!
//! The content is a sequence of files, each as the length of its name (2 bytes), its name, its length (8 bytes) and its
//! bytes, then two zero bytes and the SHA-256 of everything before, from the first line on. Numbers are big-endian.

mod content;
mod read;
mod write;

use std::io;

use aldis_auth::PassphraseParameters;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

pub(super) use self::{read::Reader, write::Writer};

/// The first line.
const MAGIC: &[u8] = b"aldis backup\n";
/// The version of the format.
const FORMAT: u32 = 1;
/// The second line is a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_NAME_BYTES: usize = 255;

/// What a backup says about itself without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of the format.
    pub(super) format: u32,
    /// The version of the server that wrote it.
    pub(super) aldis: String,
    /// The version of the database's tables.
    pub(super) schema: i64,
    /// When it was made, RFC 3339.
    pub(super) created_at: String,
    /// How it is sealed, if it is.
    pub(super) sealed: Option<Seal>,
}

/// How the key of a sealed backup is derived from its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    kdf: String,
    memory_kib: u32,
    iterations: u32,
    salt: String,
    nonce: String,
}

/// Why a backup cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no backup of Aldis")]
    NoBackup,
    #[error(
        "it has format {0}, and this version of aldis reads format {FORMAT}; restore it with a newer aldis"
    )]
    NewerFormat(u32),
    #[error("it is damaged or was cut short; use another copy")]
    Damaged,
    #[error("the passphrase is wrong, or its first bytes are damaged")]
    WrongPassphrase,
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        if let ArchiveError::Io(error) = error { error } else { Self::other(error) }
    }
}

const KDF: &str = "argon2id";

impl Head {
    pub(super) fn new(schema: i64, created_at: String, sealed: Option<Seal>) -> Self {
        let aldis = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, aldis, schema, created_at, sealed }
    }

    /// Both lines, which the content's checksum or seal covers.
    fn lines(&self) -> io::Result<Vec<u8>> {
        let mut lines = MAGIC.to_vec();
        serde_json::to_writer(&mut lines, self)?;
        lines.push(b'\n');
        Ok(lines)
    }
}

impl From<&PassphraseParameters> for Seal {
    fn from(parameters: &PassphraseParameters) -> Self {
        let PassphraseParameters { memory_kib, iterations, salt, nonce } = parameters;
        Self {
            kdf: KDF.to_owned(),
            memory_kib: *memory_kib,
            iterations: *iterations,
            salt: BASE64_STANDARD.encode(salt),
            nonce: BASE64_STANDARD.encode(nonce),
        }
    }
}

impl Seal {
    fn parameters(&self) -> Result<PassphraseParameters, ArchiveError> {
        if self.kdf != KDF {
            return Err(ArchiveError::Damaged);
        }
        Ok(PassphraseParameters {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            salt: array(&self.salt)?,
            nonce: array(&self.nonce)?,
        })
    }
}

fn array<const N: usize>(text: &str) -> Result<[u8; N], ArchiveError> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| ArchiveError::Damaged)?;
    bytes.try_into().map_err(|_| ArchiveError::Damaged)
}

#[cfg(test)]
mod tests;
