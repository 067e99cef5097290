//! Runs a request that may change something to its end, even if its client hangs up.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::problem::problem;
use crate::{calls::NotCompleted, node::Node};

/// The outermost layer: what other layers count or hold for the request, they keep until its end.
pub(super) async fn complete(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    node.relay.calls.complete(next.run(request)).await.unwrap_or_else(|error| match error {
        NotCompleted::Overloaded => {
            problem(ErrorCode::Overloaded, "too many requests are under way; try again")
        }
        NotCompleted::Panicked => problem(ErrorCode::Internal, "the server failed"),
    })
}
