//! Where the application keeps its account.

use std::{fmt, future::Future, sync::Arc};

use futures::future::BoxFuture;

use crate::{BoxError, SaveError, SavedAccount};

/// Where the application keeps its account; see [`Server::keep`](crate::Server::keep).
#[derive(Clone)]
pub(crate) struct AccountStorage(
    Arc<dyn Fn(SavedAccount) -> BoxFuture<'static, Result<(), SaveError>> + Send + Sync>,
);

impl AccountStorage {
    pub(crate) fn new<F, T, E>(keep: F) -> Self
    where
        F: Fn(SavedAccount) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Arc::new(move |saved| {
            let kept = keep(saved);
            Box::pin(async move { kept.await.map_err(|error| SaveError::new(error.into())) })
        }))
    }

    pub(crate) async fn keep(&self, saved: SavedAccount) -> Result<(), SaveError> {
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
    use aldis_protocol::UserId;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_storage_that_fails_is_named() {
        let user_id = UserId::new(Uuid::nil());
        let saved = SavedAccount { user_id, fingerprint: None, device: None, refresh_token: None };
        let keeper = AccountStorage::new(|_| async { Err::<(), _>("the disk is full") });
        let error = keeper.keep(saved).await.unwrap_err();
        assert_eq!(error.to_string(), "the account could not be kept: the disk is full");
    }
}
