//! Counts the requests of an address behind a proxy.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{address::caller_address, held::hold, problem::Problem};
use crate::node::Node;

/// Refuses a request of an address that has too many in progress.
pub(super) async fn bound(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let requests = &node.limits.requests;
    if !requests.are_limited() {
        return next.run(request).await;
    }
    let address = match caller_address(&node.config(), request.extensions(), request.headers()) {
        Ok(address) => address,
        Err(problem) => return problem.into_response(),
    };
    match requests.take(address) {
        Ok(Some(place)) => hold(next.run(request).await, place),
        Ok(None) => next.run(request).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}
