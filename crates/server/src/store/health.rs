//! Whether the database accepts writes, by the latest writes or by a probe.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rand::RngExt;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Store, StoreError,
    db::{Db, on},
    error::failures,
};
use crate::clock::Now;

/// How long the result of the latest write or probe counts; so there is at most one probe a second.
const FRESH_MS: u64 = 1_000;
/// How long a probe may take: as long as any call waits for a connection or for another process's lock.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of a probe while writes succeed.
const SMALL_PROBE: usize = 16;
/// The size of a probe after a failure: a message of the largest size, because a full disk may have room for a little.
const LARGE_PROBE: usize = 64 * 1024;

/// The result of the latest write.
#[derive(Debug, Default)]
pub(super) struct WriteHealth {
    /// Twice the tick of the latest write, plus one if it failed. 0 if there was none.
    latest: AtomicU64,
    /// The count of failed database calls when that write succeeded.
    failures: AtomicU64,
    probing: Mutex<()>,
}

impl WriteHealth {
    /// A write was committed.
    pub(super) fn succeeded(&self) {
        self.failures.store(failures(), Ordering::Relaxed);
        self.latest.store(Now::tick() << 1, Ordering::Relaxed);
    }

    /// A write was refused through no fault of its own.
    pub(super) fn failed(&self) {
        self.latest.store(Now::tick() << 1 | 1, Ordering::Relaxed);
    }

    /// Whether the latest write succeeded, if it is recent.
    fn known(&self) -> Option<bool> {
        let latest = self.latest.load(Ordering::Relaxed);
        let age = Now::tick().saturating_sub(latest >> 1);
        (latest > 0 && age < FRESH_MS).then_some(latest & 1 == 0)
    }

    /// The number of bytes that a probe writes.
    fn probe_bytes(&self) -> usize {
        let has_failed = failures() > self.failures.load(Ordering::Relaxed);
        if has_failed { LARGE_PROBE } else { SMALL_PROBE }
    }
}

impl Store {
    /// Whether the database accepts writes, answered within 5 s from the latest write of the last second, or else by a
    /// probe.
    ///
    /// # Errors
    /// [`StoreError`] if it does not.
    pub(crate) async fn check_writable(&self) -> Result<(), StoreError> {
        if let Some(known) = self.health.known() {
            return answer(known);
        }
        let _probing = self.health.probing.lock().await;
        if let Some(known) = self.health.known() {
            return answer(known);
        }
        let probed = timeout(PROBE_TIMEOUT, probe(&self.db, self.health.probe_bytes())).await;
        match probed.unwrap_or_else(|_| Err(StoreError::timed_out())) {
            Ok(()) => {
                self.health.succeeded();
                Ok(())
            }
            Err(error) => {
                self.health.failed();
                tracing::warn!(error = error.with_causes(), "the database takes no writes");
                give_up_read_only(&self.db, &error).await;
                Err(error)
            }
        }
    }
}

fn answer(writable: bool) -> Result<(), StoreError> {
    if writable { Ok(()) } else { Err(StoreError::not_writable()) }
}

/// A single statement, so that it holds no lock if this server dies.
async fn probe(db: &Db, bytes: usize) -> Result<(), StoreError> {
    let upsert = "INSERT INTO write_probe (id, content) VALUES (1, $1) \
         ON CONFLICT (id) DO UPDATE SET content = excluded.content";
    // Random, so that the database cannot compress it.
    let content: Vec<u8> = rand::rng().random_iter().take(bytes).collect();
    on!(db, w, pool => sqlx::query(upsert).bind(content).execute(pool).await.map(drop))?;
    Ok(())
}

/// Closes the writing connection if SQLite has opened the file read-only, which it does when the file is not writable.
/// The next connection tries again. Connections to PostgreSQL are closed by their pool.
pub(super) async fn give_up_read_only(db: &Db, error: &StoreError) {
    if let Db::Sqlite { w, .. } = db
        && error.is_read_only_file()
        && let Ok(connection) = w.acquire().await
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "a connection that only reads does not close");
    }
}
