//! Asking the user for the code of their authenticator app.

use std::{fmt, future::Future, sync::Arc};

use aldis_protocol::Secret;
use futures::future::BoxFuture;

use crate::TotpAsked;

/// Asks the user; see [`Server::totp`](crate::Server::totp).
#[derive(Clone)]
pub(crate) struct TotpPrompt(
    Arc<dyn Fn(TotpAsked) -> BoxFuture<'static, Option<Secret<'static>>> + Send + Sync>,
);

impl TotpPrompt {
    pub(crate) fn new<F, T>(ask: F) -> Self
    where
        F: Fn(TotpAsked) -> T + Send + Sync + 'static,
        T: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Arc::new(move |asked| {
            let answer = ask(asked);
            Box::pin(async move { answer.await.map(Secret::from) })
        }))
    }

    pub(crate) async fn ask(&self, asked: TotpAsked) -> Option<Secret<'static>> {
        (self.0)(asked).await
    }
}

impl fmt::Debug for TotpPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpPrompt")
    }
}
