//! Errors of the store, by who is at fault.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sqlx::{migrate::MigrateError, postgres::PgDatabaseError, sqlite::SqliteError};

use super::Unauthorized;

/// Why a call to the store failed.
///
/// Outcomes such as "taken" or "used before" are no errors: each operation has its own type for them.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    /// The database cannot be reached or cannot carry out the call now: connection lost, no free connection in time,
    /// disk full, locked by another process. It is not known whether a write happened. Worth trying again.
    #[error("the database is unavailable")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// The maximum number of appends is waiting; this one was not queued. Worth trying again later.
    #[error("too many writes are waiting for the database")]
    Overloaded,
    /// The credential of the user who asked for a change is no longer valid. Nothing was changed.
    #[error("the change is not authorized")]
    Unauthorized(Unauthorized),
    /// The database was migrated by a newer server, whose tables this server does not know.
    #[error(
        "the database is at version {found}, this server knows versions up to {known}: run the newer server"
    )]
    NewerDatabase {
        /// The newest migration that the database has seen.
        found: i64,
        /// The newest migration that this server knows.
        known: i64,
    },
    /// A migration failed, or the tables do not come from this server's migrations.
    #[error("the database cannot be migrated")]
    Migration(#[source] Arc<MigrateError>),
    /// This server cannot work with this kind of database; the text says what it needs.
    #[error("{0}")]
    Unsuitable(String),
    /// The database refused a statement, or holds data that cannot be read: a bug of the server, or damage. Trying
    /// again does not help.
    #[error("the database refused a statement or contains unreadable data")]
    Internal(#[source] Arc<sqlx::Error>),
}

impl StoreError {
    /// Whether the same call may succeed later without a fix in the server.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Overloaded => true,
            Self::Unauthorized(_)
            | Self::NewerDatabase { .. }
            | Self::Migration(_)
            | Self::Unsuitable(_)
            | Self::Internal(_) => false,
        }
    }

    /// Whether the transaction lost to another one and left nothing behind. The same call may succeed at once.
    pub(super) fn is_lost_race(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        let code = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
        code.is_some_and(|error| error.code().starts_with(LOST_RACE))
    }

    /// The error with its causes, down to the message of the database or the system.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        text
    }

    /// The database did not answer in time.
    pub(super) fn timed_out() -> Self {
        sqlx::Error::PoolTimedOut.into()
    }

    /// The latest write was refused.
    pub(super) fn not_writable() -> Self {
        Self::Unavailable(Arc::new(sqlx::Error::PoolTimedOut))
    }

    /// Whether the error says that a SQLite file, still in its place, was opened read-only.
    pub(super) fn is_read_only_file(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        let database = error.as_database_error();
        let code = database.filter(|error| error.try_downcast_ref::<SqliteError>().is_some());
        let code = code.and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == SQLITE_READONLY && code != SQLITE_READONLY_DBMOVED)
    }

    /// Whether the disk of a SQLite file is full, or the file has reached a limit.
    pub(crate) fn is_disk_full(&self) -> bool {
        let (Self::Unavailable(error) | Self::Internal(error)) = self else { return false };
        let mut error = &**error;
        if let sqlx::Error::Migrate(migration) = error
            && let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = &**migration
        {
            error = cause;
        }
        let code =
            error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse().ok());
        matches!(code, Some(SQLITE_FULL | SQLITE_IOERR_WRITE))
    }

    /// The store was closed.
    pub(super) fn closed() -> Self {
        sqlx::Error::PoolClosed.into()
    }

    /// The error for a failed migration. `known` is the newest migration that this server knows.
    pub(super) fn of_migration(error: MigrateError, known: i64) -> Self {
        if let MigrateError::VersionMissing(found) = error
            && found > known
        {
            return Self::NewerDatabase { found, known };
        }
        if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = &error
            && is_unavailable(cause)
        {
            return Self::Unavailable(Arc::new(sqlx::Error::Migrate(Box::new(error))));
        }
        Self::Migration(Arc::new(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        FAILURES.fetch_add(1, Ordering::Relaxed);
        if is_unavailable(&error) {
            Self::Unavailable(Arc::new(error))
        } else {
            Self::Internal(Arc::new(error))
        }
    }
}

/// Counts for all stores of the process, because an error is created far from its store.
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// How many database calls failed in this process.
pub(crate) fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

fn is_unavailable(error: &sqlx::Error) -> bool {
    if let Some(database) = error.as_database_error() {
        return match (
            database.try_downcast_ref::<PgDatabaseError>(),
            database.try_downcast_ref::<SqliteError>(),
        ) {
            (Some(postgres), _) => postgres_is_unavailable(postgres.code()),
            (_, Some(_)) => database.code().is_some_and(|code| sqlite_is_unavailable(&code)),
            (None, None) => false,
        };
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}

/// The SQLSTATE class of a transaction that was rolled back in favour of another.
const LOST_RACE: &str = "40";

/// By SQLSTATE: connection (08), resources such as disk space (53), operator intervention such as a restart or a
/// statement's timeout (57), system (58), a transaction that lost to another one (40), a lock not had in time
/// (55P03), a server that has become a read-only standby (25006).
fn postgres_is_unavailable(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "53" | "57" | "58" | "40")) || matches!(code, "55P03" | "25006")
}

const SQLITE_FULL: u32 = 13;
/// What SQLite says if a file may not grow.
const SQLITE_IOERR_WRITE: u32 = 778;
const SQLITE_READONLY: u32 = 8;
const SQLITE_READONLY_DBMOVED: u32 = 1032;

/// By primary result code, the low byte: busy, locked, out of memory, read-only, interrupted, input or output,
/// full, cannot open, lock protocol.
fn sqlite_is_unavailable(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5..=10 | 13..=15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_worth_another_try_and_a_bad_row_is_not() {
        assert!(StoreError::from(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())).is_retryable());
        assert!(StoreError::timed_out().is_retryable());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_retryable());
    }

    #[test]
    fn restarts_full_disks_and_deadlocks_are_retryable() {
        for code in ["57P01", "53100", "53300", "40P01", "08006", "55P03"] {
            assert!(postgres_is_unavailable(code), "{code}");
        }
        for code in ["23505", "42601", "22021", ""] {
            assert!(!postgres_is_unavailable(code), "{code}");
        }
        for code in ["5", "13", "261", "778"] {
            assert!(sqlite_is_unavailable(code), "{code}");
        }
        for code in ["1", "19", "2067", "1555"] {
            assert!(!sqlite_is_unavailable(code), "{code}");
        }
    }
}
