//! STUN and TURN servers.

use std::sync::Arc;

use aldis_protocol::IceServer;
use axum::{Json, extract::State};

use super::openapi::{
    Refusals,
    refusals::{Any, ByToken},
};
use crate::{accounts::Caller, clock::Now, node::Node};

/// STUN and TURN servers, the bare array that browsers take.
///
/// Credentials of TURN are for signed-in callers only.
#[utoipa::path(
    get,
    path = "/api/ice-servers",
    tag = "ice",
    responses(
        (status = 200, description = "For `RTCPeerConnection`", body = Vec<IceServer>),
        Refusals<(Any, ByToken)>,
    ),
)]
pub(super) async fn list(State(node): State<Arc<Node>>, _caller: Caller) -> Json<Vec<IceServer<'static>>> {
    Json(node.relay.ice_servers(Now::read()).ice_servers)
}
