//! Opening, closing, and failures of the database.

use std::{sync::Arc, time::Duration};

use aldis_protocol::UserId;
use aldis_tests::postgres::Cluster;
use futures::future::join_all;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Directory, Fixture, NOW, suite};
use crate::store::{
    DatabaseUrl, Store, StoreError, StoreOptions,
    db::{Db, on},
    url::Target,
};

suite! {
    a_store_that_is_opened_again_has_its_rows,
    a_closed_store_is_unavailable,
    a_database_of_a_newer_server_is_refused,
    a_database_of_other_software_is_refused,
    a_transaction_that_is_dropped_leaves_nothing,
}

/// Whether the database answers.
async fn ping(store: &Store) -> Result<(), StoreError> {
    on!(&store.db, r, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
    Ok(())
}

async fn a_store_that_is_opened_again_has_its_rows(mut at: Fixture) {
    let user = at.user().await;
    at.reopen().await;
    at.store.check_writable().await.unwrap();
    let account = at.store.find_email_account(&format!("{user}@example.org")).await.unwrap();
    assert_eq!(account.unwrap().user_id, user);
}

async fn a_closed_store_is_unavailable(at: Fixture) {
    at.store.close().await;
    at.store.close().await;
    assert!(matches!(ping(&at.store).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(at.store.check_writable().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(at.store.find_email_account("a@b").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(at.store.use_challenge([1; 32], NOW + 1, NOW).await, Err(StoreError::Unavailable(_))));
}

async fn set_version(at: &Fixture, version: i64) {
    let update = "UPDATE _sqlx_migrations SET version = $1 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    on!(&at.store.db, w, pool => {
        sqlx::query(update).bind(version).execute(pool).await.unwrap();
    });
    at.store.close().await;
}

async fn a_database_of_a_newer_server_is_refused(at: Fixture) {
    set_version(&at, 9_999).await;
    match Store::open(&at.url, &StoreOptions::default()).await.map(drop) {
        Err(error @ StoreError::NewerDatabase { found: 9_999, .. }) => {
            assert!(error.to_string().contains("run the newer server"));
        }
        other => panic!("{other:?}"),
    }
}

async fn a_database_of_other_software_is_refused(at: Fixture) {
    set_version(&at, 0).await;
    let refused = Store::open(&at.url, &StoreOptions::default()).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Migration(_))), "{refused:?}");
}

async fn a_transaction_that_is_dropped_leaves_nothing(at: Fixture) {
    let mut tx = at.store.db.begin().await.unwrap();
    crate::store::db::within!(&mut tx, connection => {
        let insert = "INSERT INTO users (user_id, created_at_ms) VALUES ($1, 0)";
        sqlx::query(insert).bind(Uuid::new_v4()).execute(connection).await.unwrap();
    });
    drop(tx);
    at.user().await;
    let count: i64 = on!(&at.store.db, r, pool => {
        sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(pool).await.unwrap()
    });
    assert_eq!(count, 1);
}

fn impatient() -> StoreOptions {
    StoreOptions { acquire_timeout: Duration::from_millis(300), ..StoreOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgresql_fails_no_later_call() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.create_database("aldis").unwrap().parse().unwrap();
    let store = Arc::new(Store::open(&url, &impatient()).await.unwrap());
    let pings = join_all((0..20).map(|_| ping(&store))).await;
    assert!(pings.iter().all(Result::is_ok));

    cluster.stop().unwrap();
    assert!(matches!(ping(&store).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.use_challenge([1; 32], NOW + 1, NOW).await, Err(StoreError::Unavailable(_))));

    cluster.start_again().unwrap();
    let pings = join_all((0..20).map(|_| ping(&store))).await;
    assert!(pings.iter().all(Result::is_ok), "{pings:?}");
    assert!(store.use_challenge([1; 32], NOW + 1, NOW).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn a_missing_postgresql_is_unavailable() {
    let url = "postgres://postgres@127.0.0.1:1/aldis".parse().unwrap();
    let refused = Store::open(&url, &impatient()).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_sqlite_file_in_a_missing_directory_is_unavailable() {
    let url = format!("sqlite:{}/missing/aldis.db", Directory::new().0.display()).parse().unwrap();
    let refused = Store::open(&url, &impatient()).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// Waits until the latest probe no longer counts.
async fn becomes_writable(store: &Store) {
    while store.check_writable().await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_was_ready_and_never_wrote_again_after_its_postgresql_had_been_a_standby() {
    let cluster = Cluster::start().unwrap();
    let url: DatabaseUrl = cluster.create_database("aldis").unwrap().parse().unwrap();
    let Target::Postgres(connect) = &url.0 else { unreachable!() };
    let mut operator = PgConnection::connect_with(&connect.clone().database("postgres")).await.unwrap();
    let mut operate = async |statement: &'static str| {
        sqlx::raw_sql(statement).execute(&mut operator).await.unwrap();
    };
    let store = Store::open(&url, &StoreOptions::default()).await.unwrap();
    store.check_writable().await.unwrap();

    // A connection keeps the read-only setting with which it was opened, like one to a server that has become a
    // standby.
    operate(
        "ALTER DATABASE aldis SET default_transaction_read_only = on; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'aldis'",
    )
    .await;
    while store.check_writable().await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(matches!(store.use_challenge([1; 32], NOW + 1, NOW).await, Err(StoreError::Unavailable(_))));
    ping(&store).await.unwrap();

    operate("ALTER DATABASE aldis RESET default_transaction_read_only").await;
    becomes_writable(&store).await;
    // Every read-only connection is closed at its next use.
    let uses = (2..22).map(|number| store.use_challenge([number; 32], NOW + 1, NOW));
    assert!(join_all(uses).await.into_iter().all(|used| used.unwrap()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_has_locked_was_ready() {
    let at = Fixture::sqlite().await;
    let store = Store::open(&at.url, &impatient()).await.unwrap();
    let holder = at.store.db.begin().await.unwrap();
    assert!(matches!(store.check_writable().await, Err(StoreError::Unavailable(_))));
    holder.rollback().await.unwrap();
    becomes_writable(&store).await;
    store.close().await;
}

/// `max_page_count` makes a write fail like a full disk, with SQLITE_FULL. The setting belongs to the connection,
/// which is replaced after such a failure: then there is room again.
#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room() {
    let at = Fixture::sqlite().await;
    let Db::Sqlite { w, .. } = &at.store.db else { unreachable!() };
    let limit = async || {
        sqlx::query("PRAGMA max_page_count = 1").execute(w).await.unwrap();
    };
    let fill = async |email: &str| {
        let (user, hash) = (UserId::new(Uuid::new_v4()), "x".repeat(100_000));
        at.store.create_account(user, email, &hash, NOW).await
    };
    limit().await;
    assert!(matches!(fill("a@b").await, Err(StoreError::Unavailable(_))));
    limit().await;
    // More than fits the pages that the migrations left free.
    let challenge = |number: u64| Sha256::digest(number.to_be_bytes()).into();
    let uses = (0..4_000).map(|number| at.store.use_challenge(challenge(number), NOW + 1, NOW));
    let uses = join_all(uses).await;
    assert!(uses.iter().any(|used| matches!(used, Err(StoreError::Unavailable(_)))));
    fill("a@b").await.unwrap();
}

#[tokio::test]
async fn a_write_lock_of_another_process_is_unavailable_after_a_wait() {
    let at = Fixture::sqlite().await;
    let store = Store::open(&at.url, &impatient()).await.unwrap();
    let holder = at.store.db.begin().await.unwrap();
    assert!(matches!(store.use_challenge([1; 32], NOW + 1, NOW).await, Err(StoreError::Unavailable(_))));
    assert!(store.find_email_account("a@b").await.unwrap().is_none());

    holder.rollback().await.unwrap();
    assert!(store.use_challenge([1; 32], NOW + 1, NOW).await.unwrap());
}

#[tokio::test]
async fn a_database_in_memory_keeps_its_rows_while_open() {
    let store = Store::open(&"sqlite::memory:".parse().unwrap(), &impatient()).await.unwrap();
    let other = Store::open(&"sqlite::memory:".parse().unwrap(), &impatient()).await.unwrap();
    let user = UserId::new(Uuid::new_v4());
    store.create_account(user, "a@b", "hash", NOW).await.unwrap();
    assert_eq!(store.find_email_account("a@b").await.unwrap().unwrap().user_id, user);
    assert!(other.find_email_account("a@b").await.unwrap().is_none());
    assert!(store.use_challenge([1; 32], NOW + 1, NOW).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn sqlite_commits_to_disk_and_reads_without_writing() {
    let at = Fixture::sqlite().await;
    let Db::Sqlite { w, r, .. } = &at.store.db else { unreachable!() };
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(w).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(w).await.unwrap();
    assert_eq!((&*journal, synchronous), ("wal", 2));
    assert!(sqlx::query("DELETE FROM users").execute(r).await.is_err());
}
