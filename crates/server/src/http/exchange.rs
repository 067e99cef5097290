//! What every request meets before and after its handler, in one layer: each layer of the router costs every request
//! a copy of all the layers in it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::{HeaderValue, header::CACHE_CONTROL};
use tracing::Instrument;

use super::{address::caller_address, completion, cors, head, metrics, problem, requests, trace::Trace};
use crate::{node::Node, rate::AddressKey};

/// Checks a request, has it answered, and completes the response. What the request takes a place for keeps it until
/// the request has ended, even if its client hangs up.
pub(super) async fn complete(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let is_safe = request.method().is_safe();
    let answering = answer(Arc::clone(&node), request, next);
    if is_safe { answering.await } else { completion::complete(&node.relay.calls, answering).await }
}

/// Gives the request an id, and counts how it is answered.
async fn answer(node: Arc<Node>, request: Request, next: Next) -> Response {
    let trace = Trace::begin(&request);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answering = share(&node, request, next).instrument(trace.span().clone());
    let mut response = answering.await;
    metrics::count(&node.relay.metrics, route.as_ref(), &response);
    trace.end(&mut response);
    response
}

/// Answers preflights, and lets pages of known origins read all other answers.
async fn share(node: &Node, request: Request, next: Next) -> Response {
    let origin = cors::readable_by(&node.config(), request.headers());
    if cors::is_preflight(&request) {
        return cors::preflight(origin);
    }
    let address = caller_address(&node.config(), request.extensions(), request.headers());
    // The state of a request that panicked is dropped.
    let handled = AssertUnwindSafe(check(node, request, next)).catch_unwind().await;
    let mut response = handled.unwrap_or_else(|_| problem::panicked());
    if address.is_ok_and(AddressKey::is_loopback) {
        response = problem::name_setting(response);
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    cors::share(&mut response, origin);
    response
}

/// Refuses a request with a bad head, and one of an address that has too many in progress.
async fn check(node: &Node, request: Request, next: Next) -> Response {
    match requests::take(node, &request) {
        Ok(place) => {
            let response = match head::refuse(&request) {
                None => next.run(request).await,
                Some(response) => response,
            };
            requests::keep(response, place)
        }
        Err(problem) => problem.into_response(),
    }
}
