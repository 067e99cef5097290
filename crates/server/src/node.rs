//! A running server, as its connections see it.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{accounts::Accounts, config::Config, limits::Limits, relay::Relay};

/// The state that all connections share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) limits: Limits,
    /// The tasks of sessions and handshakes; a drain waits for them.
    pub(crate) sessions: TaskTracker,
    /// Cancelled when connections must end.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the node accepts nothing new any more.
    draining: CancellationToken,
}

impl Node {
    /// A node that has not begun to serve.
    pub(crate) fn new(config: Config, relay: Arc<Relay>) -> Self {
        Self {
            limits: Limits::new(config.rate_limits, config.is_behind_proxy(), Arc::clone(&relay.metrics)),
            config,
            accounts: Arc::clone(&relay.accounts),
            relay,
            sessions: TaskTracker::new(),
            stop: CancellationToken::new(),
            draining: CancellationToken::new(),
        }
    }

    /// From now on the node accepts nothing new.
    pub(crate) fn start_draining(&self) {
        self.draining.cancel();
    }

    /// Returns when the server is about to stop.
    pub(crate) async fn drains(&self) {
        self.draining.cancelled().await;
    }

    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}
