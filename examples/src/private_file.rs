//! A file that only its owner can read, replaced as a whole.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use uuid::Uuid;

const OWNER_ONLY: u32 = 0o600;

/// Writes a new file and renames it over the old one, so that a reader sees either of them.
///
/// # Errors
/// An error of the system; the old file is unchanged.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", Uuid::new_v4().simple()));
    let written = write_new(temporary.as_ref(), content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error matters more than a leftover file.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_replaced_file_is_readable_only_by_its_owner() {
        let path = env::temp_dir().join(format!("aldis-private-{}", Uuid::new_v4().simple()));
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        fs::remove_file(&path).unwrap();
    }
}
