//! The key file: a ring of root keys, from which every other key is derived. The first is created at the first start.
//!
//! No key is ever lost: a new one is only added before the others. A broken file, or one that other users can read, is
//! an error at start. A server that silently created a new key would sign everybody out and lose every sealed secret.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use aldis_auth::{KeyRing, MAX_RING_KEYS, RootKey};
use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

/// The name of the key file in the data directory.
pub const FILE_NAME: &str = "aldis.key";

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Other users than its owner can access it.
    #[error("the key file {} has mode {mode:04o}: others can use it; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a complete key file of a known version.
    #[error(
        "the key file {} is broken; restore it from a backup (it is never replaced: without it everybody has to \
         sign in again and two-factor secrets are lost; to accept that, move it away)",
        path.display()
    )]
    Broken {
        /// The key file.
        path: PathBuf,
    },
    /// The data directory does not exist. It is not created: if a volume is not mounted, a new key would hide the loss
    /// of the old one.
    #[error("the data directory {} does not exist; make it, or set ALDIS_DATA_DIR", directory.display())]
    NoDirectory {
        /// The data directory.
        directory: PathBuf,
    },
    /// There is no file to which a new key could be added.
    #[error(
        "there is no key file {}; the server makes it at its first start (is ALDIS_DATA_DIR the server's?)",
        path.display()
    )]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// It has the maximum number of keys.
    #[error(
        "the key file {} has {MAX_RING_KEYS} keys already; remove its last line once nothing needs that key any more",
        path.display()
    )]
    Full {
        /// The key file.
        path: PathBuf,
    },
    /// It cannot be read or created.
    #[error(
        "cannot {action} the key file {}: {source}; the server's user must own the file and may write to its \
         directory (ALDIS_DATA_DIR)",
        path.display()
    )]
    Io {
        /// `read`, `make` or `replace`.
        action: &'static str,
        /// The key file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Reads the root keys from `data_dir`, creating one if there is none. Servers that start at the same time in the same
/// directory get the same key.
///
/// # Errors
/// [`KeyFileError`]; an existing file is left unchanged.
pub fn load_or_create(data_dir: &Path) -> Result<KeyRing, KeyFileError> {
    let path = data_dir.join(FILE_NAME);
    if let Some(ring) = read(&path)? {
        return Ok(ring);
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

/// Adds a new key to the file in `data_dir`, and returns its path. The new key is the current one from the next start
/// on; the others still open what they protected. A concurrent rotation waits.
///
/// # Errors
/// [`KeyFileError`]; the file is left unchanged.
pub fn rotate(data_dir: &Path) -> Result<PathBuf, KeyFileError> {
    let path = data_dir.join(FILE_NAME);
    let failed = |source| KeyFileError::Io { action: "replace", path: path.clone(), source };
    let missing = || KeyFileError::Missing { path: path.clone() };
    // If the file is a link, its target is replaced.
    let real = fs::canonicalize(&path)
        .map_err(|error| if error.kind() == io::ErrorKind::NotFound { missing() } else { failed(error) })?;
    let directory = real.parent().unwrap_or(data_dir);
    let held =
        File::open(directory).and_then(|directory| directory.lock().map(|()| directory)).map_err(failed)?;
    let ring = read(&path)?.ok_or_else(missing)?;
    let ring =
        ring.with_new(new_key().map_err(failed)?).map_err(|_| KeyFileError::Full { path: path.clone() })?;
    replace(directory, &real, &ring.to_text()).and_then(|()| held.sync_all()).map_err(failed)?;
    Ok(path)
}

/// Reads the root keys from `data_dir`.
///
/// # Errors
/// [`KeyFileError`], also if there is no key file.
pub(crate) fn load(data_dir: &Path) -> Result<KeyRing, KeyFileError> {
    let path = data_dir.join(FILE_NAME);
    read(&path)?.ok_or(KeyFileError::Missing { path })
}

/// The text of the key file in `data_dir`, for a backup.
///
/// # Errors
/// [`KeyFileError`].
pub(crate) fn read_text(data_dir: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    Ok(load(data_dir)?.to_text())
}

/// Whether these are the bytes of a complete key file.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    decode(bytes).is_some()
}

const MAX_FILE_BYTES: u64 = 4 * 1024;
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

fn read(path: &Path) -> Result<Option<KeyRing>, KeyFileError> {
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

fn decode(bytes: &[u8]) -> Option<KeyRing> {
    std::str::from_utf8(bytes).ok().and_then(|text| KeyRing::from_text(text).ok())
}

/// Writes a complete file under another name first, then links it: a link never replaces a file, and no reader sees an
/// incomplete one.
fn create(directory: &Path, path: &Path) -> io::Result<()> {
    let temporary = temporary_name(directory)?;
    let text = KeyRing::new(new_key()?).to_text();
    let linked = write_new(&temporary, &text).and_then(|_| link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    linked?;
    removed?;
    File::open(directory)?.sync_all()
}

/// Writes a complete file under another name, then renames it over the old one.
fn replace(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let temporary = temporary_name(directory)?;
    let replaced = write_new(&temporary, text)
        .and_then(|file| fchown(&file, Some(fs::metadata(path)?.uid()), None))
        .and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // If the temporary file cannot be removed, there is nothing left to do.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

fn new_key() -> io::Result<RootKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(io::Error::other)?;
    Ok(RootKey::new(*bytes))
}

fn temporary_name(directory: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    SysRng.try_fill_bytes(&mut random).map_err(io::Error::other)?;
    Ok(directory.join(format!(".{FILE_NAME}.{:016x}", u64::from_be_bytes(random))))
}

fn write_new(path: &Path, text: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(file)
}

/// The server that links first has created the key.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
