//! One suite that both backends must pass.
//!
//! Each test is a function of a [`Fixture`]; [`suite!`] runs it on a fresh SQLite file and on a fresh PostgreSQL
//! database.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use aldis_protocol::{DeviceId, UserId};
use aldis_tests::postgres::Cluster;
use futures::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Credential, DatabaseUrl, FamilyCreation, LoginProof, NewDevice, NewFamily, Store, StoreError,
    StoreOptions, Unauthorized, db::Tx,
};

mod accounts;
mod administration;
mod alerts;
mod blob;
mod chain;
mod challenges;
mod changes;
mod chat;
mod contacts;
mod credential;
mod devices;
mod invitations;
mod keys;
mod lifecycle;
mod mailbox;
mod notices;
mod revocations;
mod rooms;
mod rotation_ends;
mod sightings;
mod sweep;
mod tokens;
mod totp;

/// Runs each function on both backends.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::store::conformance::Fixture::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::store::conformance::Fixture::postgres().await).await;
            })*
        }
    };
}
use suite;

const NOW: i64 = 1_800_000_000_000;

/// An open store with its own database.
struct Fixture {
    store: Arc<Store>,
    url: DatabaseUrl,
    _directory: Option<Directory>,
}

impl Fixture {
    async fn sqlite() -> Self {
        let directory = Directory::new();
        let url = format!("sqlite:{}", directory.0.join("aldis.db").display()).parse().unwrap();
        Self { _directory: Some(directory), ..Self::open(url).await }
    }

    async fn postgres() -> Self {
        let name = format!("aldis_{}", Uuid::new_v4().simple());
        let url = Cluster::shared().unwrap().create_database(&name).unwrap();
        Self::open(url.parse().unwrap()).await
    }

    async fn open(url: DatabaseUrl) -> Self {
        let store = Arc::new(Store::open(&url, &StoreOptions::default()).await.unwrap());
        Self { store, url, _directory: None }
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Arc::new(Store::open(&self.url, &StoreOptions::default()).await.unwrap());
    }

    /// A user who signs in by email.
    async fn user(&self) -> UserId {
        let user = UserId::new(Uuid::new_v4());
        self.store.create_account(user, &format!("{user}@example.org"), "hash", NOW).await.unwrap();
        user
    }

    /// A sign-in of a user.
    async fn sign_in(&self, user_id: UserId) -> Uuid {
        let family_id = Uuid::new_v4();
        let mut token_hash = [0; 32];
        token_hash[..16].copy_from_slice(family_id.as_bytes());
        let new = NewFamily { family_id, user_id, device_id: None, token_hash, second_factor: false };
        log_in(&self.store, &new, NOW).await;
        family_id
    }
}

/// The credential of a user with a live session.
fn acting(user: UserId) -> Credential {
    Credential::session(user)
}

/// The credential of a user who is signed in with this family.
fn by_token(user: UserId, family: Uuid) -> Credential {
    Credential::token(user, family, None)
}

/// Creates a family for a login with the account's current proof.
async fn log_in(store: &Store, family: &NewFamily, now_ms: i64) -> FamilyCreation {
    let user = family.user_id;
    let hash = store.password_hash_of(user).await.unwrap();
    let key = match store.fingerprint_of(user).await.unwrap() {
        Some(fingerprint) => store.identity_of_fingerprint(fingerprint).await.unwrap(),
        None => None,
    };
    let key = key.map(|identity| identity.active_key);
    let proof = match (&hash, &key) {
        (Some(hash), _) => LoginProof::Password(hash),
        (None, Some(key)) => LoginProof::IdentityKey(key),
        (None, None) => LoginProof::Password(""),
    };
    store.create_family(family, proof, now_ms).await.unwrap()
}

/// Why a change was refused, whatever the change was.
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> Unauthorized {
    match outcome {
        Err(StoreError::Unauthorized(why)) => why,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Calls `call` with 50 copies of the store at the same time.
async fn fifty_at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<Store>,
    call: impl Fn(Arc<Store>, u8) -> F,
) -> Vec<T> {
    let tasks = (0..50).map(|number| tokio::spawn(call(Arc::clone(store), number)));
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

/// Takes every turn, so that the next transaction waits.
async fn take_every_turn(store: &Store) -> Vec<Tx> {
    let mut turns = Vec::new();
    while let Ok(tx) = timeout(Duration::from_millis(200), store.db.begin()).await {
        turns.push(tx.unwrap());
    }
    turns
}

fn device_id(text: &str) -> DeviceId {
    DeviceId::registered(text).unwrap()
}

/// A device without a key and a name.
fn plain_device(device_id: &DeviceId) -> NewDevice {
    NewDevice { device_id: device_id.clone(), pubkey: None, name: None, created_at_ms: NOW, signature: None }
}

/// A directory that is deleted after the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("aldis-store-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
