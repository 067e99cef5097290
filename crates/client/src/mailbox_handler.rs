//! The application's mailbox handler.

use std::{fmt, future::Future, sync::Arc};

use futures::future::BoxFuture;

use crate::{BoxError, IncomingMessage};

/// Up to where the application has its mailbox, and what stores more; see [`Options::mailbox`](crate::Options::mailbox).
pub(crate) struct MailboxHandler {
    /// The application has everything up to this number.
    pub(crate) cursor: u64,
    pub(crate) handler: Handler,
}

/// Stores a message.
#[derive(Clone)]
pub(crate) struct Handler(
    Arc<dyn Fn(IncomingMessage) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>,
);

impl Handler {
    pub(crate) fn new<F, T, E>(handler: F) -> Self
    where
        F: Fn(IncomingMessage) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Arc::new(move |message| -> BoxFuture<'static, _> {
            let stored = handler(message);
            Box::pin(async move { stored.await.map_err(Into::into) })
        }))
    }

    pub(crate) fn store(&self, message: IncomingMessage) -> BoxFuture<'static, Result<(), BoxError>> {
        (self.0)(message)
    }
}

impl fmt::Debug for MailboxHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxHandler").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
