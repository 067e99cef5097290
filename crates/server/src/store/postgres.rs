//! Opens a PostgreSQL database.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool, Row,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{StoreError, StoreOptions, db::Db, newest, turns::Turns};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// No statement of the server takes seconds, so one that does waits for something that is stuck. A transaction whose
/// server is gone must not keep its locks.
const SESSION_LIMITS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'";

/// Opens the database, which must exist, and migrates it.
pub(super) async fn open(connect: &PgConnectOptions, options: &StoreOptions) -> Result<Db, StoreError> {
    // No column is a float, and PgBouncer refuses a connection that sets this parameter.
    let mut connect = connect.clone().extra_float_digits(None);
    if connect.get_application_name().is_none() {
        connect = connect.application_name("aldis");
    }
    let opening = timeout(options.acquire_timeout, check(&connect)).await;
    opening.map_err(|_| StoreError::timed_out())??;
    migrate(&connect, options).await?;
    let turns = Turns::new(writers(options), options.acquire_timeout);
    Ok(Db::Postgres(pool(connect, options), turns))
}

/// How many transactions may run besides the batch of messages: half of the connections, so that readers always find a
/// free one.
fn writers(options: &StoreOptions) -> usize {
    usize::try_from(options.postgres_connections / 2).unwrap_or(1)
}

/// Refuses a database that would work at first and fail later.
async fn check(connect: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(connect).await?;
    check_encoding(&mut connection).await?;
    check_sessions(&mut connection, connect).await?;
    Ok(connection.close().await?)
}

async fn check_encoding(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::raw_sql("SHOW server_encoding").fetch_one(connection).await?;
    let encoding: String = row.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Unsuitable(format!(
        "its encoding is {encoding}, which cannot hold every text; create one with \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )))
}

/// Behind a pooler in transaction mode, each transaction of a connection may run in another session of the database.
/// Prepared statements and settings then end up in sessions of other clients. This sets a value on one connection and
/// looks whether another connection sees it.
async fn check_sessions(connection: &mut PgConnection, connect: &PgConnectOptions) -> Result<(), StoreError> {
    sqlx::raw_sql("SET aldis.session = 'first'").execute(&mut *connection).await?;
    let mut other = PgConnection::connect_with(connect).await?;
    let setting = "SELECT coalesce(current_setting('aldis.session', true), '')";
    let row = sqlx::raw_sql(setting).fetch_one(&mut other).await?;
    let seen: String = row.try_get(0)?;
    sqlx::raw_sql("RESET aldis.session").execute(&mut *connection).await?;
    other.close().await?;
    if seen.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unsuitable(
        "a pooler in transaction mode (as PgBouncer's pool_mode = transaction) stands in front; use its session mode, \
         or name PostgreSQL itself"
            .to_owned(),
    ))
}

/// Migrates on a separate connection: it has no time limit, and a failed migration leaves no lock in the pool.
async fn migrate(connect: &PgConnectOptions, options: &StoreOptions) -> Result<(), StoreError> {
    let connecting = timeout(options.acquire_timeout, PgConnection::connect_with(connect));
    let mut connection = connecting.await.map_err(|_| StoreError::timed_out())??;
    let migrated = MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|error| StoreError::of_migration(error, newest(&MIGRATIONS)))?;
    Ok(connection.close().await?)
}

/// The age at which a read-only connection is closed. So the pool opens at most its number of connections each second.
const READ_ONLY_AGE: Duration = Duration::from_secs(1);

async fn is_read_only(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
    Ok(row.try_get_unchecked::<&str, _>(0)? == "on")
}

/// Tests each connection before use, so that a restart of the database fails no later request. Closes connections to a
/// read-only server, because after a failover a new connection may reach the primary.
fn pool(connect: PgConnectOptions, options: &StoreOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.postgres_connections)
        .acquire_timeout(options.acquire_timeout)
        // The query below tests the connection too.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move { Ok(!is_read_only(connection).await? || about.age < READ_ONLY_AGE) })
        })
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SESSION_LIMITS).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(connect)
}
