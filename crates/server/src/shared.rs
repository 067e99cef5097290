//! What the rooms of a node share.

use std::sync::Arc;

use aldis_registry::Registry;

use crate::{config::LiveConfig, link::SessionHandle, metrics::Metrics, store::Store};

/// What both accounts and the relay work on.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    /// The live sessions of this node.
    pub(crate) registry: Arc<Registry<Arc<SessionHandle>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Arc<LiveConfig>,
}

impl Shared {
    /// A node without sessions over an open store.
    pub(crate) fn new(config: Arc<LiveConfig>, store: Arc<Store>) -> Self {
        Self { store, registry: Arc::default(), metrics: Arc::new(Metrics::new()), config }
    }
}
