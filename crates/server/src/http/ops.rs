//! Health checks for operators and their load balancers.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{Json, extract::State};
use serde::Serialize;

use super::{
    openapi::{
        Refusals,
        refusals::{Any, Draining, Stored},
    },
    problem::Problem,
};
use crate::node::Node;

/// How the server is.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    #[schema(pattern = "^ok$")]
    status: &'static str,
    /// The server's.
    version: &'static str,
}

const WELL: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// Whether the server serves.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    responses(
        (status = 200, description = "It does", body = Health),
        Refusals<(Any,)>,
    ),
    security(()),
)]
pub(super) async fn health() -> Json<Health> {
    Json(WELL)
}

/// Whether to send new clients here: not while draining, nor while the database takes no writes.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "operations",
    responses(
        (status = 200, description = "Yes", body = Health),
        Refusals<(Stored, Draining)>,
    ),
    security(()),
)]
pub(super) async fn ready(State(node): State<Arc<Node>>) -> Result<Json<Health>, Problem> {
    if node.is_draining() {
        return Err(Problem::new(ErrorCode::Draining, "the server is about to stop"));
    }
    if !node.relay.is_ready().await {
        return Err(Problem::new(ErrorCode::Unavailable, "the database cannot be written"));
    }
    Ok(Json(WELL))
}
