//! A running server, as its connections see it.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accounts::Accounts,
    config::{Config, LiveConfig},
    limits::Limits,
    relay::Relay,
};

/// The state that all connections share.
pub(crate) struct Node {
    config: Arc<LiveConfig>,
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
    pub(crate) fn new(config: Arc<LiveConfig>, relay: Arc<Relay>) -> Self {
        let current = config.current();
        Self {
            limits: Limits::new(current.rate_limits, current.is_behind_proxy(), Arc::clone(&relay.metrics)),
            config,
            accounts: Arc::clone(&relay.accounts),
            relay,
            sessions: TaskTracker::new(),
            stop: CancellationToken::new(),
            draining: CancellationToken::new(),
        }
    }

    /// The configuration in force. A reload replaces it.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.current()
    }

    /// The configuration of the node, which can be reloaded.
    pub(crate) fn live_config(&self) -> Arc<LiveConfig> {
        Arc::clone(&self.config)
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
