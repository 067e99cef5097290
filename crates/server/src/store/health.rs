//! Whether the database takes writes: known by the latest ones, else by a probe.

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

/// For how long the latest write or probe is taken for how things are; so there is one probe a second at most.
const FRESH_MS: u64 = 1_000;
/// How long a probe may take: as long as any call waits for a connection, or for a lock of another process.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a probe writes while all is well.
const SMALL_PROBE: usize = 16;
/// What a probe writes after a failure, as a full disk may have room for a little: a message of the largest size.
const LARGE_PROBE: usize = 64 * 1024;

/// What the latest write has shown.
#[derive(Debug, Default)]
pub(super) struct WriteHealth {
    /// The tick of the latest write, twice, and whether it failed. 0 where there was none.
    latest: AtomicU64,
    /// How many calls of a database had failed when it succeeded.
    failures: AtomicU64,
    probing: Mutex<()>,
}

impl WriteHealth {
    /// A write was committed.
    pub(super) fn succeeded(&self) {
        self.failures.store(failures(), Ordering::Relaxed);
        self.latest.store(Now::tick() << 1, Ordering::Relaxed);
    }

    /// A write was refused, by no fault of its own.
    pub(super) fn failed(&self) {
        self.latest.store(Now::tick() << 1 | 1, Ordering::Relaxed);
    }

    /// Whether the latest write succeeded, if it is fresh.
    fn known(&self) -> Option<bool> {
        let latest = self.latest.load(Ordering::Relaxed);
        let age = Now::tick().saturating_sub(latest >> 1);
        (latest > 0 && age < FRESH_MS).then_some(latest & 1 == 0)
    }

    /// How many bytes a probe has to write.
    fn probe_bytes(&self) -> usize {
        let has_failed = failures() > self.failures.load(Ordering::Relaxed);
        if has_failed { LARGE_PROBE } else { SMALL_PROBE }
    }
}

impl Store {
    /// Whether the database takes writes, known within 5 s: by the latest write of the last second, else by a probe.
    ///
    /// # Errors
    /// [`StoreError`] where it does not.
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

/// A statement of its own: whatever becomes of this server, no lock of it stays.
async fn probe(db: &Db, bytes: usize) -> Result<(), StoreError> {
    let upsert = "INSERT INTO write_probe (id, content) VALUES (1, $1) \
         ON CONFLICT (id) DO UPDATE SET content = excluded.content";
    // Random, so that no database makes less of it.
    let content: Vec<u8> = rand::rng().random_iter().take(bytes).collect();
    on!(db, w, pool => sqlx::query(upsert).bind(content).execute(pool).await.map(drop))?;
    Ok(())
}

/// Closes the connection that writes where SQLite has opened the file for reading only, as it does where it may not write;
/// the next one finds out anew. Connections to PostgreSQL are given up by their pool.
pub(super) async fn give_up_read_only(db: &Db, error: &StoreError) {
    if let Db::Sqlite { w, .. } = db
        && error.is_read_only_file()
        && let Ok(connection) = w.acquire().await
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "a connection that only reads does not close");
    }
}
