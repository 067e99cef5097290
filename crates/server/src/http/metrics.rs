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

use super::{admin_host, head, problem, sessions, status};
use crate::{
    metrics::{Gauges, Metrics, Process},
    node::Node,
};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The route label of requests that match no route.
const NO_ROUTE: &str = "none";

/// The calls of the admin listener, for its own host names: `GET /metrics` and the status page. They change nothing.
pub(crate) fn admin_routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .merge(status::routes())
        .route("/sessions.json", get(sessions::list))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&node), admin_host::check))
        .layer(from_fn(head::limit))
        .with_state(node)
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT_FORMAT)], node.relay.metrics.render(&gauges(&node)))
}

/// What is computed when somebody asks.
pub(super) fn gauges(node: &Node) -> Gauges<'_> {
    let relay = &node.relay;
    let (mut connected, mut away, mut session_bytes) = (0, 0, relay.shared_bytes());
    relay.registry.for_each(|session| {
        session_bytes += session.held().own as usize;
        if session.is_detached() { away += 1 } else { connected += 1 }
    });
    Gauges {
        connected,
        away,
        session_bytes,
        answer_bytes: node.limits.answers.held(),
        hashing: node.accounts.password_hashing(),
        store_calls: relay.store_calls(),
        store_errors: relay.store_errors(),
        writers: relay.store_writers(),
        process: Process::read(),
    }
}

/// Counts a request by its route and status.
pub(super) fn count(metrics: &Metrics, route: Option<&MatchedPath>, response: &Response) {
    metrics.answered(route.map_or(NO_ROUTE, MatchedPath::as_str), response.status().as_u16());
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        metrics.refused(*code);
    }
}
