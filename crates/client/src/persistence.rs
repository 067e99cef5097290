//! What an application keeps of an account between two runs.

use std::{error::Error, fmt, future::Future, sync::Arc};

use aldis_protocol::{Fingerprint, Secret, UserId};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::OwnDevice;

/// All that it takes to go on with an account later: [`Server::restore`](crate::Server::restore) takes it.
///
/// It is written (`serde`) with its secrets in the clear, so it goes where only its owner can read. It prints without
/// them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedAccount {
    /// Whose account it is.
    pub user_id: UserId,
    /// Its identity, where one is known.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// The device that the first sign-in made.
    #[serde(default)]
    pub device: Option<OwnDevice>,
    /// The refresh token. Each serves once: where an older one than the last is kept, using it revokes the sign-in.
    /// None after a sign-out.
    #[serde(default)]
    pub refresh_token: Option<Secret<'static>>,
}

/// The application's storage did not keep what it was handed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the account could not be kept: {0}")]
pub struct NotKept(#[source] Arc<dyn Error + Send + Sync>);

/// Where the application keeps its account; see [`Server::keep`](crate::Server::keep).
#[derive(Clone)]
pub(crate) struct AccountStorage(
    Arc<dyn Fn(SavedAccount) -> BoxFuture<'static, Result<(), NotKept>> + Send + Sync>,
);

impl AccountStorage {
    pub(crate) fn new<F, T, E>(keep: F) -> Self
    where
        F: Fn(SavedAccount) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Arc::new(move |saved| {
            let kept = keep(saved);
            Box::pin(async move { kept.await.map_err(|error| NotKept(error.into().into())) })
        }))
    }

    pub(crate) async fn keep(&self, saved: SavedAccount) -> Result<(), NotKept> {
        (self.0)(saved).await
    }
}

impl fmt::Debug for AccountStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountStorage")
    }
}

#[cfg(test)]
mod tests {
    use aldis_auth::SecretKey;
    use uuid::Uuid;

    use super::*;

    fn saved() -> SavedAccount {
        SavedAccount {
            user_id: UserId::new(Uuid::nil()),
            fingerprint: None,
            device: Some(OwnDevice::new("desk".parse().unwrap(), SecretKey::from_bytes(&[7; 32]))),
            refresh_token: Some("refresh".into()),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = serde_json::to_string(&saved()).unwrap();
        let read: SavedAccount = serde_json::from_str(&text).unwrap();
        assert_eq!(read.refresh_token, saved().refresh_token);
        let device = read.device.unwrap();
        assert_eq!(device.id().as_str(), "desk");
        assert_eq!(*device.key().to_bytes(), [7; 32]);
    }

    #[test]
    fn secrets_print_as_nothing() {
        let printed = format!("{:?}", saved());
        assert!(printed.contains("device: Some(OwnDevice(desk)), refresh_token: Some(Secret)"), "{printed}");
    }

    #[tokio::test]
    async fn a_storage_that_fails_is_named() {
        let keeper = AccountStorage::new(|_| async { Err::<(), _>("the disk is full") });
        let error = keeper.keep(saved()).await.unwrap_err();
        assert_eq!(error.to_string(), "the account could not be kept: the disk is full");
    }
}
