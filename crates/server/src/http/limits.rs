//! Hints in the refusals of limits.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::{address::caller_address, problem};
use crate::{node::Node, rate::AddressKey};

/// Tells a caller on this machine which setting turns off the limit that refused the call.
pub(super) async fn explain(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let address = caller_address(&node.config(), request.extensions(), request.headers());
    let response = next.run(request).await;
    if address.is_ok_and(AddressKey::is_loopback) { problem::name_setting(response) } else { response }
}
