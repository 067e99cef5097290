//! Copies of a SQLite database, made while a server uses it, and put in its place while none does.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteJournalMode};

use super::{Migrations, Store, StoreError, StoreOptions, sqlite, url::DatabaseUrl};

/// How long it waits for a lock of another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a file is no database that a server can use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The database cannot be read or written.
    #[error("{}", .0.with_causes())]
    Store(#[from] StoreError),
    /// Its pages contradict each other.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

/// Writes a consistent copy of the database in `from` to the new file `to`. Servers go on reading and writing.
///
/// # Errors
/// [`StoreError`]. `to` may have been begun; it is for the caller to remove.
pub(crate) async fn write(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut source = sqlite::file(from).read_only(true).busy_timeout(PATIENCE).connect().await?;
    let copied =
        sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy().into_owned()).execute(&mut source).await;
    source.close().await?;
    copied?;
    Ok(())
}

/// Brings a restored copy up to date: migrates it, checks it, and ends every sign-in in it. Afterwards it is one file,
/// without a write-ahead log.
///
/// # Errors
/// [`SnapshotError`].
pub(crate) async fn prepare(path: &Path, now_ms: i64) -> Result<super::Restored, SnapshotError> {
    let url = DatabaseUrl::of_sqlite_file(path.to_owned());
    check(path).await?;
    let store = Store::open(&url, &StoreOptions::default()).await?;
    let ended = store.end_what_a_restore_revives(now_ms).await;
    store.close().await;
    let ended = ended?;
    fold(path).await?;
    Ok(ended)
}

/// Whether another process has the database open. If none has, its write-ahead log is folded into the file.
///
/// # Errors
/// [`StoreError`] if the file is no database.
pub(crate) async fn is_in_use(path: &Path) -> Result<bool, StoreError> {
    match fold(path).await {
        Ok(()) => Ok(false),
        Err(StoreError::Unavailable(error)) if is_locked(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The files beside a database that belong to it.
pub(crate) fn companions(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    })
}

async fn check(path: &Path) -> Result<(), SnapshotError> {
    let url = DatabaseUrl::of_sqlite_file(path.to_owned());
    Migrations::of(&url).await?;
    let connect = sqlite::file(path).read_only(true);
    let mut file = connect.connect().await.map_err(StoreError::from)?;
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut file).await.map_err(StoreError::from)?;
    file.close().await.map_err(StoreError::from)?;
    let verdict: String = row.try_get(0).map_err(StoreError::from)?;
    if verdict == "ok" { Ok(()) } else { Err(SnapshotError::Damaged(verdict)) }
}

/// Leaves the mode with a write-ahead log, which needs that nobody else has the database open.
async fn fold(path: &Path) -> Result<(), StoreError> {
    let connect = sqlite::file(path).busy_timeout(Duration::ZERO).journal_mode(SqliteJournalMode::Delete);
    Ok(connect.connect().await?.close().await?)
}

/// SQLite's primary result codes for a lock of another connection.
fn is_locked(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// The version of a database's tables.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn version(path: &Path) -> Result<i64, StoreError> {
    let mut file = sqlite::file(path).read_only(true).connect().await?;
    let select = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
    let version = sqlx::query_scalar(select).fetch_one(&mut file).await?;
    file.close().await?;
    Ok(version)
}
