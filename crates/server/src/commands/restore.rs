//! `aldis restore`: puts a backup in the place of the database and the key file.
//!
//! Everything is read, checked and migrated under other names first. Only then the files get their names, the key file
//! before the database. If that is interrupted, the same command completes it.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    CommandError,
    archive::{ArchiveError, Head, Reader},
    backup::{DATABASE, KEY_FILE},
    passphrase, print, print_json,
    temporary::Temporary,
};
use crate::{
    clock::unix_ms_i64,
    config::{Config, RestoreWanted, key_file},
    store::{Migrations, Restored, Store, StoreOptions, snapshot},
};

const POSTGRES: &str = "aldis restore writes a SQLite file; restore PostgreSQL with pg_restore or psql, put the key file \
     aldis.key back, then run aldis restore --after-pg-restore";
const SQLITE: &str = "--after-pg-restore is for PostgreSQL; for SQLite, name the backup: aldis restore FILE";

/// What was restored.
#[derive(Serialize)]
struct Report {
    database: PathBuf,
    key_file: PathBuf,
    /// When the backup was made.
    created_at: String,
    #[serde(flatten)]
    ended: Restored,
}

/// The files that a restore puts in place, under other names.
struct Extracted {
    database: Temporary,
    key_file: Temporary,
}

/// Restores a backup.
pub(super) async fn run(config: &Config, wanted: &RestoreWanted) -> Result<(), CommandError> {
    let database = config.database_url.sqlite_file().ok_or(CommandError::WrongDatabase(POSTGRES))?;
    let key = config.data_dir.join(KEY_FILE);
    if !config.data_dir.is_dir() {
        return Err(key_file::KeyFileError::NoDirectory { directory: config.data_dir.clone() }.into());
    }
    refuse_existing(database, wanted).await?;
    let reader = open(&wanted.file)?;
    let head = reader.head().clone();
    check_version(config, wanted, &head).await?;
    let passphrase = match &head.sealed {
        Some(_) => Some(passphrase::known(wanted.passphrase_file.as_deref())?),
        None => None,
    };
    let extracted = extract(reader, passphrase.as_ref(), wanted, database, &key)?;
    refuse_other_key(&extracted.key_file, &key, wanted)?;
    let ended = snapshot::prepare(extracted.database.path(), unix_ms_i64()).await;
    let ended = ended.map_err(|error| of_database(wanted, database, &error))?;
    put_in_place(extracted, database, &key)?;
    report(
        wanted.json,
        Report { database: database.to_owned(), key_file: key, created_at: head.created_at, ended },
    );
    Ok(())
}

/// Ends every sign-in after PostgreSQL's own tools have restored the database.
pub(super) async fn after_postgres(config: &Config, json: bool) -> Result<(), CommandError> {
    if config.database_url.sqlite_file().is_some() || config.database_url.is_in_memory() {
        return Err(CommandError::WrongDatabase(SQLITE));
    }
    let explained = |error| CommandError::Database(config.database_url.explain(&error));
    let store = Store::open(&config.database_url, &StoreOptions::default()).await.map_err(explained)?;
    let ended = store.end_what_a_restore_revives(unix_ms_i64()).await;
    store.close().await;
    let ended = ended.map_err(explained)?;
    if json {
        print_json(&ended);
    } else {
        print(&ended_lines(&ended));
    }
    Ok(())
}

/// Refuses a database that exists, unless it is to be replaced and nobody uses it.
async fn refuse_existing(database: &Path, wanted: &RestoreWanted) -> Result<(), CommandError> {
    if !database.exists() {
        return Ok(());
    }
    if !wanted.overwrite {
        let remedy = "restore into another DATABASE_URL, move it away, or replace it with --overwrite";
        return Err(CommandError::Exists { path: database.to_owned(), remedy });
    }
    // A file that is no database any more cannot be in use.
    if snapshot::is_in_use(database).await.unwrap_or(false) {
        return Err(CommandError::InUse { path: database.to_owned() });
    }
    Ok(())
}

fn open(path: &Path) -> Result<Reader<BufReader<File>>, CommandError> {
    let failed = |source| CommandError::File { action: "read", path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    Reader::open(file).map_err(|error| CommandError::of_archive(path, error))
}

/// Before the passphrase is asked for and anything is written.
async fn check_version(config: &Config, wanted: &RestoreWanted, head: &Head) -> Result<(), CommandError> {
    let known = Migrations::newest_of(&config.database_url);
    if head.schema <= known {
        return Ok(());
    }
    let problem = format!(
        "it was made by aldis {} with tables of version {}, and this aldis {} knows versions up to {known}; restore it \
         with that version or a newer one",
        head.aldis,
        head.schema,
        env!("CARGO_PKG_VERSION")
    );
    Err(CommandError::Backup { path: wanted.file.clone(), problem })
}

fn extract(
    reader: Reader<BufReader<File>>,
    passphrase: Option<&Zeroizing<String>>,
    wanted: &RestoreWanted,
    database: &Path,
    key: &Path,
) -> Result<Extracted, CommandError> {
    let of_archive = |error| CommandError::of_archive(&wanted.file, error);
    let extracted = Extracted { database: Temporary::beside(database), key_file: Temporary::beside(key) };
    let mut files = reader.files(passphrase.map(|passphrase| passphrase.as_str())).map_err(of_archive)?;
    let mut found = [false; 2];
    while let Some(name) = files.next().map_err(of_archive)? {
        let (place, target, index) = match &*name {
            KEY_FILE => (key, &extracted.key_file, 0),
            DATABASE => (database, &extracted.database, 1),
            _ => return Err(of_archive(ArchiveError::Damaged)),
        };
        let failed = |source| CommandError::File { action: "write", path: place.to_owned(), source };
        if std::mem::replace(&mut found[index], true) {
            return Err(of_archive(ArchiveError::Damaged));
        }
        let mut file = Written { file: target.create().map_err(failed)?, failed: None };
        let copied = files.copy_to(&mut file);
        if let Some(source) = file.failed {
            return Err(failed(source));
        }
        copied.map_err(of_archive)?;
        file.file.sync_all().map_err(failed)?;
    }
    if found == [true; 2] { Ok(extracted) } else { Err(of_archive(ArchiveError::Damaged)) }
}

/// A file that remembers the error of a write, to tell it from an error of reading the backup.
struct Written {
    file: File,
    failed: Option<std::io::Error>,
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn refuse_other_key(restored: &Temporary, key: &Path, wanted: &RestoreWanted) -> Result<(), CommandError> {
    let failed = |source| CommandError::File { action: "read", path: key.to_owned(), source };
    let ring = read_key(restored.path()).map_err(failed)?;
    if !key_file::is_complete(&ring) {
        return Err(CommandError::of_archive(&wanted.file, ArchiveError::Damaged));
    }
    if !key.exists() || wanted.overwrite || read_key(key).map_err(failed)? == ring {
        return Ok(());
    }
    Err(CommandError::OtherKeyFile { path: key.to_owned() })
}

fn read_key(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn of_database(wanted: &RestoreWanted, database: &Path, error: &snapshot::SnapshotError) -> CommandError {
    if let snapshot::SnapshotError::Store(store) = error
        && store.is_disk_full()
    {
        let source = std::io::ErrorKind::StorageFull.into();
        return CommandError::File { action: "write", path: database.to_owned(), source };
    }
    CommandError::Backup { path: wanted.file.clone(), problem: error.to_string() }
}

fn put_in_place(extracted: Extracted, database: &Path, key: &Path) -> Result<(), CommandError> {
    // A log that is left of the old database would be read into the new one.
    for companion in snapshot::companions(database) {
        match fs::remove_file(&companion) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(CommandError::File { action: "remove", path: companion, source });
            }
            _ => {}
        }
    }
    extracted.key_file.keep_as(key)?;
    extracted.database.keep_as(database)
}

fn report(json: bool, report: Report) {
    if json {
        print_json(&report);
        return;
    }
    let Report { database, key_file, created_at, ended } = report;
    let lines = ended_lines(&ended);
    print(&format!(
        "restored the backup of {created_at}\n{}\n{}\n{lines}",
        database.display(),
        key_file.display()
    ));
}

fn ended_lines(ended: &Restored) -> String {
    let Restored { accounts, sign_ins, devices } = ended;
    format!("accounts\t{accounts}\nsign-ins ended\t{sign_ins}\ndevices to be told\t{devices}\n")
}
