//! Runs a request that may change something to its end, even if its client hangs up.

use aldis_protocol::ErrorCode;
use axum::response::Response;

use super::problem::problem;
use crate::calls::{Calls, NotCompleted};

/// Waits for the response. What the request counts or holds, it keeps until its end.
pub(super) async fn complete(
    calls: &Calls,
    answering: impl Future<Output = Response> + Send + 'static,
) -> Response {
    calls.complete(answering).await.unwrap_or_else(|error| match error {
        NotCompleted::Overloaded => {
            problem(ErrorCode::Overloaded, "too many requests are under way; try again")
        }
        NotCompleted::Panicked => problem(ErrorCode::Internal, "the server failed"),
    })
}
