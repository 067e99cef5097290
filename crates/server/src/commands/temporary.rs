//! A file that is complete before it has its name: it is written under another name in the same directory, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::CommandError;
use crate::store::snapshot;

/// A file, readable by its owner alone, that is removed unless it is [kept](Self::keep_as). It may be a database.
pub(super) struct Temporary {
    path: PathBuf,
    is_kept: bool,
}

impl Temporary {
    /// A name in the directory of `target` that no file has.
    pub(super) fn beside(target: &Path) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = directory_of(target).join(format!(".{name}.{}", Uuid::new_v4().simple()));
        Self { path, is_kept: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it.
    pub(super) fn create(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)
    }

    /// Gives it its name, for good. A file of that name is replaced.
    pub(super) fn keep_as(mut self, target: &Path) -> Result<(), CommandError> {
        let failed = |source| CommandError::File { action: "write", path: target.to_owned(), source };
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&self.path, target).map_err(failed)?;
        self.is_kept = true;
        File::open(directory_of(target)).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            // They may not have been created; if one cannot be removed, there is nothing left to do.
            let _ = fs::remove_file(&self.path);
            for companion in snapshot::companions(&self.path) {
                let _ = fs::remove_file(companion);
            }
        }
    }
}

/// The directory of a file.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
