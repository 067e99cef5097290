//! How many requests of an address may be under way behind a proxy, where connections say nothing about addresses.

use std::sync::Arc;

use crate::{
    metrics::Metrics,
    rate::{AddressKey, Limit, Placed, Places},
    refusal::Refusal,
};

/// Requests of one address.
const PER_ADDRESS: usize = 128;

/// The requests that are under way on one node, by address.
#[derive(Debug)]
pub(crate) struct Requests {
    /// None where they are not limited.
    places: Option<Arc<Places<AddressKey>>>,
    metrics: Arc<Metrics>,
}

impl Requests {
    /// No request is under way. They are limited only behind a proxy.
    pub(crate) fn new(is_limited: bool, is_behind_proxy: bool, metrics: Arc<Metrics>) -> Self {
        Self { places: (is_limited && is_behind_proxy).then(Places::new), metrics }
    }

    /// Whether requests are limited at all.
    pub(crate) const fn are_limited(&self) -> bool {
        self.places.is_some()
    }

    /// Admits a request. It is under way until what this returns is dropped.
    pub(crate) fn take(&self, address: AddressKey) -> Result<Option<Placed<AddressKey>>, Refusal> {
        let Some(places) = &self.places else { return Ok(None) };
        places.take(address, 1, address.share(PER_ADDRESS)).map(Some).ok_or_else(|| {
            self.metrics.limited(Limit::Requests);
            let detail = "too many requests of this address are under way; wait for their answers";
            Refusal::limited(Limit::Requests, detail)
        })
    }
}
