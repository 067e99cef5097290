//! What operators and their load balancers ask.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{Json, extract::State};
use serde::Serialize;

use super::problem::Problem;
use crate::node::Node;

/// How the server is.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
}

const WELL: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// `GET /health`
pub(super) async fn health() -> Json<Health> {
    Json(WELL)
}

/// `GET /health/ready`: whether to send new clients here.
pub(super) async fn ready(State(node): State<Arc<Node>>) -> Result<Json<Health>, Problem> {
    if node.is_draining() {
        return Err(Problem::new(ErrorCode::Draining, "the server is about to stop"));
    }
    if !node.router.is_ready().await {
        return Err(Problem::new(ErrorCode::Unavailable, "the database is away"));
    }
    Ok(Json(WELL))
}
