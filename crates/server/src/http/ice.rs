//! STUN and TURN servers.

use std::sync::Arc;

use aldis_protocol::IceServer;
use axum::{Json, extract::State};

use crate::{clock::Now, node::Node, router::Caller};

/// `GET /api/ice-servers`: the bare array that browsers take. Credentials of TURN are for signed-in callers only.
pub(super) async fn list(State(node): State<Arc<Node>>, _caller: Caller) -> Json<Vec<IceServer<'static>>> {
    Json(node.router.ice_servers(Now::read()).ice_servers)
}
