//! Counts requests, and serves the metrics on a listener of its own.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    Router,
    extract::{MatchedPath, State},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::header::CONTENT_TYPE;

use super::{admin_host, head, problem};
use crate::{
    metrics::{Gauges, Metrics},
    node::Node,
};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The route label of requests that match no route.
const NO_ROUTE: &str = "none";

/// The admin listener's only call, for its own host names: `GET /metrics`. It changes nothing.
pub(crate) fn admin_routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&node), admin_host::check))
        .layer(from_fn(head::limit))
        .with_state(node)
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let relay = &node.relay;
    let gauges = Gauges {
        sessions: relay.registry.len(),
        answer_bytes: node.limits.answers.held(),
        hashing: node.accounts.password_hashing(),
        store_calls: relay.store_calls(),
        store_errors: relay.store_errors(),
    };
    ([(CONTENT_TYPE, TEXT_FORMAT)], relay.metrics.render(gauges))
}

/// Counts a request by its route and status.
pub(super) fn count(metrics: &Metrics, route: Option<&MatchedPath>, response: &Response) {
    metrics.answered(route.map_or(NO_ROUTE, MatchedPath::as_str), response.status().as_u16());
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        metrics.refused(*code);
    }
}
