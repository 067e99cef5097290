//! How many requests of an address may be under way behind a proxy, where connections say nothing about addresses.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{address::caller_address, held::hold, problem::Problem};
use crate::{
    node::Node,
    rate::{AddressKey, Limit, Places},
};

/// Requests of one address.
const PER_ADDRESS: usize = 128;

/// The requests that are under way on one node, by address.
#[derive(Debug)]
pub(crate) struct Requests(Option<Arc<Places<AddressKey>>>);

impl Requests {
    /// None is under way. They count behind a proxy alone.
    pub(crate) fn new(is_limited: bool, is_behind_proxy: bool) -> Self {
        Self((is_limited && is_behind_proxy).then(Places::new))
    }
}

/// Refuses a request of an address that has too many under way.
pub(super) async fn bound(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let Some(places) = &node.limits.requests.0 else { return next.run(request).await };
    let address = match caller_address(&node.config, request.extensions(), request.headers()) {
        Ok(address) => address,
        Err(problem) => return problem.into_response(),
    };
    match places.take(address, 1, address.share(PER_ADDRESS)) {
        Some(place) => hold(next.run(request).await, place),
        None => {
            node.router.metrics.limited(Limit::Requests);
            let detail = "too many requests of this address are under way; wait for their answers";
            Problem::lifted(Limit::Requests, ErrorCode::RateLimited, detail).into_response()
        }
    }
}
