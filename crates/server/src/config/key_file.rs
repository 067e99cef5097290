//! The key file: one root key, made at first start, from which every other key is derived.
//!
//! It is never replaced. What is broken or readable by others is an error at start: a server that quietly made itself a
//! new key would sign everybody out and lose every sealed secret.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aldis_auth::RootKey;
use aldis_protocol::binary;
use rand::{TryRng, rngs::SysRng};
use serde::Deserialize;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The name of the key file in the data directory.
pub const FILE_NAME: &str = "aldis.key";

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Somebody other than its owner can use it.
    #[error("the key file {} has mode {mode:04o}: others can use it; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a whole key file of a version that this server knows.
    #[error(
        "the key file {} is broken; restore it from a backup (it is never replaced: without it everybody has to \
         sign in again and two-factor secrets are lost; to accept that, move it away)",
        path.display()
    )]
    Broken {
        /// The key file.
        path: PathBuf,
    },
    /// The directory that should hold it is not there. It is not made: where a volume is not mounted, a new key would
    /// hide the loss of the old one.
    #[error("the data directory {} does not exist; make it, or set ALDIS_DATA_DIR", directory.display())]
    NoDirectory {
        /// The data directory.
        directory: PathBuf,
    },
    /// It cannot be read or made.
    #[error(
        "cannot {action} the key file {}: {source}; the server's user must own the file and may write to its \
         directory (ALDIS_DATA_DIR)",
        path.display()
    )]
    Io {
        /// `read` or `make`.
        action: &'static str,
        /// The key file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Reads the root key from `data_dir`, after making one where there is none. Servers that start at once in the same
/// directory end with the same key.
///
/// # Errors
/// [`KeyFileError`]; an existing file is left as it is.
pub fn load_or_create(data_dir: &Path) -> Result<RootKey, KeyFileError> {
    let path = data_dir.join(FILE_NAME);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    if !data_dir.is_dir() {
        return Err(KeyFileError::NoDirectory { directory: data_dir.to_owned() });
    }
    create(data_dir, &path).map_err(|source| KeyFileError::Io {
        action: "make",
        path: path.clone(),
        source,
    })?;
    read(&path)?.ok_or(KeyFileError::Broken { path })
}

/// What stands in the file. A key ring would be another version.
#[derive(Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    #[serde(with = "binary::array")]
    root_key: [u8; 32],
}

const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 4 * 1024;
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

fn read(path: &Path) -> Result<Option<RootKey>, KeyFileError> {
    let failed = |source| KeyFileError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    decode(&bytes).map(Some).ok_or_else(|| KeyFileError::Broken { path: path.to_owned() })
}

/// The parser's own error would quote the key.
fn decode(bytes: &[u8]) -> Option<RootKey> {
    let content: Content = toml::from_slice(bytes).ok()?;
    (content.version == VERSION).then(|| RootKey::new(content.root_key))
}

/// Writes a whole file under another name first, then links it: a link never replaces, and nobody sees half a file.
fn create(directory: &Path, path: &Path) -> io::Result<()> {
    let mut random = Zeroizing::new([0; 40]);
    SysRng.try_fill_bytes(random.as_mut_slice()).map_err(io::Error::other)?;
    let (key, name) = random.split_at(32);
    let temporary = directory.join(format!(".{FILE_NAME}.{}", name_of(name)));
    let linked = write_new(&temporary, &encode(key)).and_then(|()| link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    linked?;
    removed?;
    File::open(directory)?.sync_all()
}

fn name_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(key: &[u8]) -> Zeroizing<String> {
    let key = Zeroizing::new(binary::encode(key));
    Zeroizing::new(format!(
        "# The root key of this Aldis server. Keep it secret, and keep a backup: it cannot be made again.\n\
         version = {VERSION}\nroot_key = \"{}\"\n",
        key.as_str()
    ))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Whoever linked first has made the key.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
