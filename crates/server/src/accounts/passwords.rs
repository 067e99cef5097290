//! Password hashing: on blocking threads, a few at a time, behind a bounded queue.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aldis_auth::{HashKind, HashShares, KeyRing, PasswordHasher, SubKey, Verdict};
use aldis_protocol::{ErrorCode, UserId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::Accounts;
use crate::{
    clock::Now,
    email,
    limits::LoginPair,
    metrics::Metrics,
    rate::{Limit, Placed, Places},
    refusal::Refusal,
    store::StoreError,
};

/// How many callers may wait or be served. The next one is told to come back.
pub(crate) const QUEUE: usize = 64;
/// How long a caller waits for a free thread.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many hashes one caller may have running or waiting.
const HASHES_PER_CALLER: usize = 2;

const BUSY: Refusal = Refusal::new(ErrorCode::Overloaded, "too many sign-ins at once; try again in a moment");
const FAILED: Refusal = Refusal::new(ErrorCode::Internal, "the server failed");
const TOO_MANY: Refusal = Refusal {
    retry_after: Some(1),
    ..Refusal::new(ErrorCode::RateLimited, "two passwords are being checked already; wait for their answers")
};

/// The caller for whom a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HashCaller {
    /// A signed-in user.
    User(UserId),
    /// Somebody who logs in or registers. Never their typed address alone, which strangers can name.
    Login(LoginPair),
}

/// Permits a caller to have passwords hashed. It counts until the last hash is done, even if the caller has gone.
#[derive(Debug, Clone)]
pub(super) struct HashPermit(#[expect(dead_code, reason = "it is held")] Arc<Placed<HashCaller>>);

/// The hashing of one node.
pub(super) struct Passwords {
    hasher: PasswordHasher,
    metrics: Arc<Metrics>,
    callers: Arc<Places<HashCaller>>,
    hashes_per_caller: usize,
    queue: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    decoys: Decoys,
}

/// Which kind of hash a sign-in with an unknown address costs.
struct Decoys {
    key: SubKey,
    shares: Mutex<Arc<HashShares>>,
}

impl Passwords {
    pub(super) fn new(
        hasher: PasswordHasher,
        ring: &KeyRing,
        metrics: Arc<Metrics>,
        has_rate_limits: bool,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            hasher,
            metrics,
            callers: Places::new(),
            hashes_per_caller: if has_rate_limits { HASHES_PER_CALLER } else { usize::MAX },
            queue: Arc::new(Semaphore::new(QUEUE)),
            workers: Arc::new(Semaphore::new(cores)),
            decoys: Decoys { key: ring.current().sub_key("decoy-hashes"), shares: Mutex::default() },
        }
    }

    /// How many callers are served or wait.
    pub(super) fn callers(&self) -> usize {
        QUEUE - self.queue.available_permits()
    }

    /// Whether a password may be set.
    pub(super) fn check(&self, password: &str) -> Result<(), aldis_auth::PasswordError> {
        self.hasher.check(password)
    }

    /// Admits a caller, unless it has two hashes under way.
    pub(super) fn admit(&self, caller: HashCaller) -> Result<HashPermit, Refusal> {
        let placed = self.callers.take(caller, 1, self.hashes_per_caller).ok_or_else(|| {
            self.metrics.limited(Limit::PasswordHashes);
            TOO_MANY
        })?;
        Ok(HashPermit(Arc::new(placed)))
    }

    /// Hashes a new password. Returns the hash and the time when it is done.
    pub(super) async fn hash(
        &self,
        permit: &HashPermit,
        password: String,
        now: Now,
    ) -> Result<(String, Now), Refusal> {
        let hasher = self.hasher;
        let (hashed, now) = self.work(permit, now, move || hasher.hash(&password, &mut rand::rng())).await?;
        hashed.map(|hash| (hash, now)).map_err(failed)
    }

    /// Hashes a password again whose old hash verified. Returns the hash and the time when it is done.
    pub(super) async fn rehash(
        &self,
        permit: &HashPermit,
        password: String,
        now: Now,
    ) -> Result<(String, Now), Refusal> {
        let hasher = self.hasher;
        let (hashed, now) =
            self.work(permit, now, move || hasher.rehash(&password, &mut rand::rng())).await?;
        hashed.map(|hash| (hash, now)).map_err(failed)
    }

    /// Compares a password with the stored hash. Returns the verdict and the time when it is done. Without a stored hash
    /// the verdict is no, after a decoy hash: its kind depends on the address, so that it takes as long as for some account.
    pub(super) async fn verify(
        &self,
        permit: &HashPermit,
        password: String,
        stored: Option<String>,
        address: &str,
        now: Now,
    ) -> Result<(Verdict, Now), Refusal> {
        let (hasher, decoy) = (self.hasher, self.decoys.of(address).unwrap_or(self.hasher.kind()));
        self.work(permit, now, move || hasher.verify(&password, stored.as_deref(), decoy)).await
    }

    /// Runs work on a blocking thread, in its turn. It takes up to seconds, so it returns the time when it is done: a token
    /// that follows must not be dated before it.
    async fn work<T: Send + 'static>(
        &self,
        permit: &HashPermit,
        now: Now,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Now), Refusal> {
        let (permit, start) = (permit.clone(), Instant::now());
        let _place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| BUSY)?;
        let turn = self.turn().await?;
        self.metrics.password_hashes.add();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (turn, permit);
            work()
        });
        let done = done.await.map_err(|_| FAILED)?;
        Ok((done, now.after(start.elapsed())))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match timeout(PATIENCE, Arc::clone(&self.workers).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(BUSY),
        }
    }
}

impl Accounts {
    /// Counts the kinds of stored hashes, so that an unknown address costs as much as some account does.
    pub(crate) async fn count_hash_kinds(&self) -> Result<(), StoreError> {
        let shares = Arc::new(HashShares::new(self.store.hash_kinds().await?));
        *self.passwords.decoys.shares.lock().unwrap_or_else(PoisonError::into_inner) = shares;
        Ok(())
    }
}

impl Decoys {
    fn of(&self, address: &str) -> Option<HashKind> {
        let shares = Arc::clone(&self.shares.lock().unwrap_or_else(PoisonError::into_inner));
        shares.draw(&self.key, &email::composed(address))
    }
}

fn failed(error: aldis_auth::PasswordError) -> Refusal {
    tracing::error!(%error, "cannot hash a password");
    FAILED
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use aldis_auth::RootKey;
    use uuid::Uuid;

    use super::*;

    fn passwords() -> Passwords {
        let ring = KeyRing::new(RootKey::new([1; 32]));
        Passwords::new(PasswordHasher::Argon2id, &ring, Arc::new(Metrics::new()), true)
    }

    const fn user(number: u128) -> HashCaller {
        HashCaller::User(UserId::new(Uuid::from_u128(number)))
    }

    #[test]
    fn a_hundred_connections_of_one_user_kept_everybody_from_signing_in() {
        let passwords = passwords();
        let held: Vec<_> = (0..100).map(|_| passwords.admit(user(1))).collect();
        assert_eq!(held.iter().filter(|admitted| admitted.is_ok()).count(), HASHES_PER_CALLER);
        assert!(held.iter().flat_map(|admitted| admitted.as_ref().err()).all(|refusal| *refusal == TOO_MANY));
        assert!(passwords.admit(user(2)).is_ok(), "others are admitted");
        let address = std::net::IpAddr::from([192, 0, 2, 1]).into();
        assert!(passwords.admit(HashCaller::Login(LoginPair::new(address, "a@b"))).is_ok());
        drop(held);
        assert!(passwords.admit(user(1)).is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_has_its_hash_under_way_still() {
        let passwords = passwords();
        let (begun, has_begun) = sync_channel(1);
        let (finish, is_finished) = sync_channel::<()>(0);
        let permit = passwords.admit(user(1)).unwrap();
        let now = Now { tick: 0, unix_ms: 0 };
        let work = passwords.work(&permit, now, move || {
            begun.send(()).unwrap();
            let _ = is_finished.recv();
        });
        assert!(timeout(Duration::from_millis(1), work).await.is_err(), "the caller does not wait");
        drop(permit);
        has_begun.recv().unwrap();
        let second = passwords.admit(user(1)).unwrap();
        assert!(passwords.admit(user(1)).is_err(), "the hash is the first");
        drop(finish);
        while passwords.admit(user(1)).is_err() {
            tokio::task::yield_now().await;
        }
        drop(second);
    }
}
