//! A file with a secret key: one line of base64 that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aldis_client::{auth::SecretKey, protocol::binary};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Other users than its owner can read it.
    #[error("other users can read {0}; if nobody has read it, run `chmod 600` on it")]
    Exposed(PathBuf),
    /// It does not contain a key.
    #[error("{0} is not a key file")]
    Broken(PathBuf),
    /// It can be neither read nor created.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Reads the key, creating one if there is no file. Programs that start at the same time get the same key.
///
/// # Errors
/// [`KeyFileError`]; an existing file is left unchanged.
pub fn load_or_create(path: &Path) -> Result<SecretKey, KeyFileError> {
    match File::open(path) {
        Ok(file) => read(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)
            .and_then(|()| File::open(path))
            .map_err(io_error(path))
            .and_then(|file| read(file, path)),
        Err(error) => Err(io_error(path)(error)),
    }
}

const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;
const KEY_BYTES: usize = 32;
const MAX_FILE_BYTES: u64 = 256;

fn read(file: File, path: &Path) -> Result<SecretKey, KeyFileError> {
    if file.metadata().map_err(io_error(path))?.permissions().mode() & OTHERS != 0 {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(io_error(path))?;
    let bytes = binary::decode_array::<KEY_BYTES>(text.trim_end()).map(Zeroizing::new);
    bytes.map(|bytes| SecretKey::from_bytes(&bytes)).map_err(|_| KeyFileError::Broken(path.to_owned()))
}

/// Writes a complete file under another name first, then links it: a link never replaces a file, and no reader sees an
/// incomplete key.
fn create(path: &Path) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", Uuid::new_v4().simple()));
    let linked = write_new(temporary.as_ref()).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => removed,
    }
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    let key = SecretKey::generate(&mut rand::rng());
    let text = Zeroizing::new(binary::encode(key.to_bytes().as_slice()));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    |error| KeyFileError::Io(path.to_owned(), error)
}

#[cfg(test)]
mod tests {
    use std::{env, thread};

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = env::temp_dir().join(format!("aldis-key-file-{}", Uuid::new_v4().simple()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("alice.key")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            // Files that cannot be removed are left to the system.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_created_once_and_only_for_its_owner() {
        let directory = Directory::new();
        let made = load_or_create(&directory.file()).unwrap().public_key();
        assert_eq!(load_or_create(&directory.file()).unwrap().public_key(), made);
        assert_eq!(fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    }

    #[test]
    fn programs_that_start_at_the_same_time_have_one_key() {
        let directory = Directory::new();
        let starts: Vec<_> = (0..8)
            .map(|_| directory.file())
            .map(|file| thread::spawn(move || load_or_create(&file)))
            .collect();
        let keys: Vec<_> =
            starts.into_iter().map(|start| start.join().unwrap().unwrap().public_key()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_others_can_read_or_without_a_key_is_refused_and_kept() {
        let directory = Directory::new();
        load_or_create(&directory.file()).unwrap();
        fs::set_permissions(directory.file(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(&directory.file()), Err(KeyFileError::Exposed(_))));
        fs::set_permissions(directory.file(), fs::Permissions::from_mode(OWNER_ONLY)).unwrap();
        fs::write(directory.file(), "something else").unwrap();
        assert!(matches!(load_or_create(&directory.file()), Err(KeyFileError::Broken(_))));
        assert_eq!(fs::read_to_string(directory.file()).unwrap(), "something else");
    }
}
