//! Which migrations a database has, and which it lacks.

use sqlx::{Connection, PgConnection, SqliteConnection, migrate::Migrator};
use tokio::time::timeout;

use super::{DatabaseUrl, StoreError, StoreOptions, newest, postgres, sqlite, url::Target};

/// A migration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Migration {
    /// Its version, which grows.
    pub(crate) version: i64,
    /// What it concerns.
    pub(crate) description: String,
}

/// The migrations of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migrations {
    /// The version of the database; 0 if it is new.
    pub(crate) version: i64,
    /// What the database lacks, in order.
    pub(crate) pending: Vec<Migration>,
}

impl Migrations {
    /// Reads them, and changes nothing. A SQLite file that does not exist lacks all.
    ///
    /// # Errors
    /// [`StoreError`], as [`Store::open`](super::Store::open).
    pub(crate) async fn of(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let (applied, migrator) = match &url.0 {
            Target::File(path) if path.exists() => {
                let mut file = SqliteConnection::connect_with(&sqlite::file(path).read_only(true)).await?;
                let has_any = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
                let applied = if sqlx::query_scalar::<_, i64>(has_any).fetch_one(&mut file).await? == 0 {
                    Vec::new()
                } else {
                    sqlx::query_scalar(APPLIED).fetch_all(&mut file).await?
                };
                file.close().await?;
                (applied, &sqlite::MIGRATIONS)
            }
            Target::File(_) | Target::Memory => (Vec::new(), &sqlite::MIGRATIONS),
            Target::Postgres(connect) => {
                let patience = StoreOptions::default().acquire_timeout;
                let connecting = timeout(patience, PgConnection::connect_with(connect));
                let mut connection = connecting.await.map_err(|_| StoreError::timed_out())??;
                let has_any = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
                let applied = if sqlx::query_scalar::<_, bool>(has_any).fetch_one(&mut connection).await? {
                    sqlx::query_scalar(APPLIED).fetch_all(&mut connection).await?
                } else {
                    Vec::new()
                };
                connection.close().await?;
                (applied, &postgres::MIGRATIONS)
            }
        };
        Self::compare(&applied, migrator)
    }

    /// The version up to which this server knows the tables of such a database.
    pub(crate) fn newest_of(url: &DatabaseUrl) -> i64 {
        match &url.0 {
            Target::File(_) | Target::Memory => newest(&sqlite::MIGRATIONS),
            Target::Postgres(_) => newest(&postgres::MIGRATIONS),
        }
    }

    fn compare(applied: &[i64], migrator: &Migrator) -> Result<Self, StoreError> {
        let (version, known) = (applied.iter().copied().max().unwrap_or(0), newest(migrator));
        if version > known {
            return Err(StoreError::NewerDatabase { found: version, known });
        }
        let pending = migrator.iter().filter(|migration| !applied.contains(&migration.version));
        let pending = pending.map(|migration| Migration {
            version: migration.version,
            description: migration.description.to_string(),
        });
        Ok(Self { version, pending: pending.collect() })
    }
}

const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";
