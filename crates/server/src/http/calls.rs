//! Queues the calls of signed-in users.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{address::caller_address, bearer, held::hold, problem::Problem};
use crate::{clock::Now, limits::Call, node::Node};

/// Waits for the turn of a signed-in user's call. The handler refuses a bad token.
pub(super) async fn take_turns(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let now = Now::read();
    let Some(call) = call_of(&node, &request, now) else { return next.run(request).await };
    match node.limits.calls.begin(call, now).await {
        Ok(Some(under_way)) => hold(next.run(request).await, under_way),
        Ok(None) => next.run(request).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}

fn call_of(node: &Node, request: &Request, now: Now) -> Option<Call> {
    let token = bearer(request.headers()).ok()??;
    let claims = node.accounts.check_token(token, now).ok()?;
    let address = caller_address(&node.config(), request.extensions(), request.headers()).ok()?;
    Some(Call { user: claims.sub, address, writes: !request.method().is_safe() })
}
