//! Counts the requests of an address behind a proxy.

use axum::{extract::Request, response::Response};

use super::{address::caller_address, held::hold, problem::Problem};
use crate::{
    node::Node,
    rate::{AddressKey, Placed},
};

/// A place for a request, where they are limited. Refuses a request of an address that has too many in progress.
pub(super) fn take(node: &Node, request: &Request) -> Result<Option<Placed<AddressKey>>, Problem> {
    let requests = &node.limits.requests;
    if !requests.are_limited() {
        return Ok(None);
    }
    let address = caller_address(&node.config(), request.extensions(), request.headers())?;
    requests.take(address).map_err(Problem::from)
}

/// Keeps the place until the response is sent.
pub(super) fn keep(response: Response, place: Option<Placed<AddressKey>>) -> Response {
    match place {
        Some(place) => hold(response, place),
        None => response,
    }
}
