//! A request that may change something is carried to its end, also where its client hangs up.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::problem::problem;
use crate::{calls::NotCompleted, node::Node};

/// Outside of all other layers: what they count or hold for the request, they count and hold until its end.
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
