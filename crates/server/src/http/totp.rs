//! The caller's second factor.

use std::sync::Arc;

use aldis_protocol::api::{TotpCodeRequest, TotpEnrollment};
use axum::{Json, extract::State};
use http::StatusCode;

use super::{body::JsonBody, problem::Problem};
use crate::{clock::Now, node::Node, router::Caller};

/// `POST /api/auth/totp/enroll`
pub(super) async fn enroll(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<Json<TotpEnrollment>, Problem> {
    Ok(Json(node.router.enroll_totp(&caller, Now::read()).await?))
}

/// `POST /api/auth/totp/verify`
pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<TotpCodeRequest>,
) -> Result<StatusCode, Problem> {
    node.router.verify_totp(&caller, request.code.expose(), Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/auth/totp`
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<TotpCodeRequest>,
) -> Result<StatusCode, Problem> {
    node.router.remove_totp(&caller, request.code.expose(), Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}
