//! How a PostgreSQL database is opened.

use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{StoreError, StoreOptions, db::Db, newest, turns::Turns};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// No statement of the server takes seconds; one that does waits for something that is stuck. A transaction whose
/// server vanished must not keep its locks.
const SESSION_LIMITS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'";

/// Opens the database, which must exist, and migrates it.
pub(super) async fn open(connect: &PgConnectOptions, options: &StoreOptions) -> Result<Db, StoreError> {
    let connect = connect.clone().application_name("aldis");
    migrate(&connect, options).await?;
    let turns = Turns::new(writers(options), options.acquire_timeout);
    Ok(Db::Postgres(pool(connect, options), turns))
}

/// How many transactions may be under way besides the batch of messages: half of the connections, so that those who
/// read always find one.
fn writers(options: &StoreOptions) -> usize {
    usize::try_from(options.postgres_connections / 2).unwrap_or(1)
}

/// On a connection of its own: it has no time limit, and a migration that fails leaves no lock in the pool.
async fn migrate(connect: &PgConnectOptions, options: &StoreOptions) -> Result<(), StoreError> {
    let connecting = timeout(options.acquire_timeout, PgConnection::connect_with(connect));
    let mut connection = connecting.await.map_err(|_| StoreError::timed_out())??;
    let migrated = MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|error| StoreError::of_migration(error, newest(&MIGRATIONS)))?;
    Ok(connection.close().await?)
}

/// Asks each connection whether it still lives before handing it out, so that a restart of the database costs no
/// request that comes after it.
fn pool(connect: PgConnectOptions, options: &StoreOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.postgres_connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(true)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SESSION_LIMITS).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(connect)
}
