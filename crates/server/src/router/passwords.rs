//! Password hashing: off the async threads, a bounded few at a time, with a bounded queue before them.

use std::{sync::Arc, time::Duration};

use aldis_auth::{PasswordHasher, Verdict};
use aldis_protocol::ErrorCode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::Denied;
use crate::metrics::Metrics;

/// Callers that may wait or be served; the next is told to come back.
const QUEUE: usize = 64;
/// How long a caller waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

const BUSY: Denied = Denied::new(ErrorCode::Overloaded, "too many sign-ins at once; try again in a moment");
const FAILED: Denied = Denied::new(ErrorCode::Internal, "the server failed");

/// The hashing of one node.
pub(super) struct Passwords {
    hasher: PasswordHasher,
    metrics: Arc<Metrics>,
    queue: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(hasher: PasswordHasher, metrics: Arc<Metrics>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (queue, workers) = (Arc::new(Semaphore::new(QUEUE)), Arc::new(Semaphore::new(cores)));
        Self { hasher, metrics, queue, workers }
    }

    /// How many callers are served or wait.
    pub(super) fn callers(&self) -> usize {
        QUEUE - self.queue.available_permits()
    }

    /// Whether a password may be set.
    pub(super) fn check(&self, password: &str) -> Result<(), aldis_auth::PasswordError> {
        self.hasher.check(password)
    }

    /// A new password's hash.
    pub(super) async fn hash(&self, password: String) -> Result<String, Denied> {
        let hasher = self.hasher;
        let hashed = self.work(move || hasher.hash(&password, &mut rand::rng())).await?;
        hashed.map_err(|error| {
            tracing::error!(%error, "cannot hash a password");
            FAILED
        })
    }

    /// Whether a password is the stored one. Without a stored one it takes as long, and is not.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, Denied> {
        let hasher = self.hasher;
        self.work(move || hasher.verify(&password, stored.as_deref())).await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Denied> {
        let _place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| BUSY)?;
        let turn = self.turn().await?;
        self.metrics.password_hashes.add();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|_| FAILED)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Denied> {
        match timeout(PATIENCE, Arc::clone(&self.workers).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(BUSY),
        }
    }
}
