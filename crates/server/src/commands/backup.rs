//! `aldis backup`: a copy of the database and the key file in one file, while the server runs.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use aldis_auth::PassphraseParameters;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    CommandError,
    archive::{Head, Seal, Writer},
    passphrase, print, print_json,
    temporary::Temporary,
};
use crate::{
    clock::Now,
    config::{BackupWanted, Config, key_file},
    store::{StoreError, snapshot},
};

/// The names of the two files in a backup.
pub(super) const DATABASE: &str = "aldis.db";
pub(super) const KEY_FILE: &str = key_file::FILE_NAME;

const POSTGRES: &str = "aldis backup copies SQLite; of PostgreSQL, make the copy with pg_dump, and keep the key file \
     aldis.key of the data directory (ALDIS_DATA_DIR) with it: without it, second factors cannot be read";

/// What was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: u64,
    sealed: bool,
    schema: i64,
    created_at: String,
}

/// Makes the backup. The file has its name only when it is complete.
pub(super) async fn run(config: &Config, wanted: &BackupWanted) -> Result<(), CommandError> {
    let database = config.database_url.sqlite_file().ok_or(CommandError::WrongDatabase(POSTGRES))?;
    if wanted.file.exists() {
        return Err(CommandError::Exists { path: wanted.file.clone(), remedy: "name another file" });
    }
    let ring = key_file::read_text(&config.data_dir)?;
    let is_sealed = wanted.seal || wanted.passphrase_file.is_some();
    let passphrase = is_sealed.then(|| passphrase::chosen(wanted.passphrase_file.as_deref())).transpose()?;
    let copy = Temporary::beside(&wanted.file);
    let explained = |error: StoreError| CommandError::Database(config.database_url.explain(&error));
    if !database.exists() {
        let source = io::ErrorKind::NotFound.into();
        return Err(CommandError::File { action: "read", path: database.to_owned(), source });
    }
    // Created first, so that only its owner can read it.
    copy.create().map_err(|source| cannot_write(&wanted.file, source))?;
    snapshot::write(database, copy.path()).await.map_err(|error| of_copy(&wanted.file, error, explained))?;
    let schema = snapshot::version(copy.path()).await.map_err(explained)?;
    let head = Head::new(schema, Now::read().timestamp().to_string(), seal(is_sealed));
    let complete = Temporary::beside(&wanted.file);
    let bytes = write(&complete, &head, passphrase.as_ref(), &ring, copy.path())
        .map_err(|source| cannot_write(&wanted.file, source))?;
    complete.keep_as(&wanted.file)?;
    report(
        wanted,
        Written { file: wanted.file.clone(), bytes, sealed: is_sealed, schema, created_at: head.created_at },
    );
    Ok(())
}

fn seal(is_sealed: bool) -> Option<Seal> {
    is_sealed.then(|| Seal::from(&PassphraseParameters::generate(&mut rand::rng())))
}

fn write(
    complete: &Temporary,
    head: &Head,
    passphrase: Option<&Zeroizing<String>>,
    ring: &str,
    copy: &Path,
) -> io::Result<u64> {
    let file = BufWriter::new(complete.create()?);
    let passphrase = passphrase.map(|passphrase| passphrase.as_str());
    let mut writer = Writer::begin(file, head, passphrase)?;
    writer.add(KEY_FILE, ring.len() as u64, ring.as_bytes())?;
    let copy = File::open(copy)?;
    writer.add(DATABASE, copy.metadata()?.len(), copy)?;
    writer.finish()?.into_inner().map_err(|error| error.into_error())?;
    Ok(fs::metadata(complete.path())?.len())
}

fn cannot_write(path: &Path, source: io::Error) -> CommandError {
    CommandError::File { action: "write", path: path.to_owned(), source }
}

/// SQLite says "full" for the disk of the copy, which is the backup's.
fn of_copy(path: &Path, error: StoreError, explained: impl Fn(StoreError) -> CommandError) -> CommandError {
    if error.is_disk_full() {
        return cannot_write(path, io::ErrorKind::StorageFull.into());
    }
    explained(error)
}

fn report(wanted: &BackupWanted, written: Written) {
    if wanted.json {
        print_json(&written);
    } else {
        let seal =
            if written.sealed { "sealed" } else { "not sealed: it contains every secret of the server" };
        print(&format!("{}\t{} bytes\t{seal}\n", written.file.display(), written.bytes));
    }
}
