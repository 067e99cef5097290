//! Opens a SQLite database.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use sqlx::{
    Connection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{StoreError, StoreOptions, db::Db, newest, turns::Turns};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Each reading connection has its own thread. Four keep two cores busy while one waits for the disk.
const READERS: u32 = 4;

/// At how many pages, 32 MiB, the write-ahead log is copied to the database. Many messages change the same pages, and
/// each page is copied once: with SQLite's 1,000 pages, that is a fifth of the cost of a message.
const CHECKPOINT_PAGES: &str = "8000";

/// SQLite has one write transaction at a time.
const WRITERS: usize = 1;

/// Opens the database in `path`, creating it if missing, and migrates it.
pub(super) async fn open_file(path: &Path, options: &StoreOptions) -> Result<Db, StoreError> {
    create_private(path);
    let file = file(path).busy_timeout(options.acquire_timeout).pragma("cache_size", "-8192");
    let w = writer(
        file.clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .optimize_on_close(true, None),
        replaced_when_stuck(pool(options)),
    )
    .await?;
    make_private(path);
    let r = pool(options).max_connections(READERS).connect_lazy_with(file.read_only(true));
    Ok(Db::Sqlite { w, r, turns: Turns::new(WRITERS, options.acquire_timeout) })
}

/// SQLite takes a name that starts with `file:` for a URI. A relative path that is joined to `.` does not start so.
pub(super) fn file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(Path::new(".").join(path))
}

/// Opens an empty database in memory, with one connection for everything, because another connection would be another
/// database.
pub(super) async fn open_memory(options: &StoreOptions) -> Result<Db, StoreError> {
    let w = writer(SqliteConnectOptions::new().in_memory(true), pool(options)).await?;
    Ok(Db::Sqlite { r: w.clone(), w, turns: Turns::new(WRITERS, options.acquire_timeout) })
}

async fn writer(connect: SqliteConnectOptions, pool: SqlitePoolOptions) -> Result<SqlitePool, StoreError> {
    let w = pool.max_connections(1).connect_with(connect).await?;
    check_writable(&w).await?;
    MIGRATIONS.run(&w).await.map_err(|error| StoreError::of_migration(error, newest(&MIGRATIONS)))?;
    Ok(w)
}

/// SQLite opens a file that it cannot write as read-only, without an error.
async fn check_writable(w: &SqlitePool) -> Result<(), StoreError> {
    Ok(w.begin_with("BEGIN IMMEDIATE").await?.rollback().await?)
}

/// Creates a missing file that only its owner can read. SQLite gives its other files the same mode.
fn create_private(path: &Path) {
    // If this fails, opening the file reports the reason.
    let _ = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
}

/// The files of a database: the file itself, the write-ahead log, and the index of that log.
const FILES: [&str; 3] = ["", "-wal", "-shm"];
const OWNER_ONLY: u32 = 0o600;

/// Removes the permissions of other users from the files of a database.
fn make_private(path: &Path) {
    for ending in FILES {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        let Ok(metadata) = fs::metadata(&file) else { continue };
        if metadata.mode() & 0o077 == 0 {
            continue;
        }
        if let Err(error) = fs::set_permissions(&file, fs::Permissions::from_mode(OWNER_ONLY)) {
            let file = Path::new(&file).display();
            tracing::warn!(%file, %error, "other users of this machine may read the database; set the mode 0600");
        }
    }
}

fn pool(options: &StoreOptions) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file cannot hang up, and the test costs as much as a query: two thread switches.
        .test_before_acquire(false)
}

/// SQLite itself rolls back a commit that fails, for example on a full disk. The library's own rollback then fails,
/// and the library considers the connection to be in a transaction for ever. So such a connection is replaced.
fn replaced_when_stuck(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.before_acquire(|connection, _| {
        let is_free = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_free) })
    })
}
