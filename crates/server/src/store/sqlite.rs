//! How a SQLite database is opened.

use std::path::Path;

use sqlx::{
    Connection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{StoreError, StoreOptions, db::Db, newest, turns::Turns};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Each connection that reads has a thread of its own; four keep two cores busy while one waits for the disk.
const READERS: u32 = 4;

/// SQLite has one write transaction at a time.
const WRITERS: usize = 1;

/// Opens the database in `path`, made when missing, and migrates it.
pub(super) async fn open_file(path: &Path, options: &StoreOptions) -> Result<Db, StoreError> {
    let file = SqliteConnectOptions::new()
        // SQLite takes a name that starts with `file:` for a URI; joined to `.` a relative one cannot.
        .filename(Path::new(".").join(path))
        .busy_timeout(options.acquire_timeout)
        .pragma("cache_size", "-8192");
    let w = writer(
        file.clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .optimize_on_close(true, None),
        replaced_when_stuck(pool(options)),
    )
    .await?;
    let r = pool(options).max_connections(READERS).connect_lazy_with(file.read_only(true));
    Ok(Db::Sqlite { w, r, turns: Turns::new(WRITERS, options.acquire_timeout) })
}

/// Opens an empty database in memory: one connection for everything, since another one would be another database.
pub(super) async fn open_memory(options: &StoreOptions) -> Result<Db, StoreError> {
    let w = writer(SqliteConnectOptions::new().in_memory(true), pool(options)).await?;
    Ok(Db::Sqlite { r: w.clone(), w, turns: Turns::new(WRITERS, options.acquire_timeout) })
}

async fn writer(connect: SqliteConnectOptions, pool: SqlitePoolOptions) -> Result<SqlitePool, StoreError> {
    let w = pool.max_connections(1).connect_with(connect).await?;
    MIGRATIONS.run(&w).await.map_err(|error| StoreError::of_migration(error, newest(&MIGRATIONS)))?;
    Ok(w)
}

fn pool(options: &StoreOptions) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not hang up, and asking whether it did costs as much as a query: two changes of thread.
        .test_before_acquire(false)
}

/// A commit that fails, as on a full disk, is undone by SQLite itself; the library's own attempt to undo it then fails,
/// and it takes the connection to be in a transaction for ever.
fn replaced_when_stuck(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.before_acquire(|connection, _| {
        let is_free = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_free) })
    })
}
