//! The caller's second factor.

use std::sync::Arc;

use aldis_protocol::api::{TotpCodeRequest, TotpEnrollment};
use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    body::JsonBody,
    openapi::{
        Refusals,
        refusals::{
            Conflict, InvalidTotp, NotFound, RateLimited, SignedIn, UnlessProvisional, WithJson, WithStepUp,
        },
    },
    problem::Problem,
};
use crate::{accounts::Caller, clock::Now, node::Node};

/// Gives a new secret and recovery codes, in force once a first code was verified.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    post,
    path = "/api/auth/totp/enroll",
    tag = "totp",
    responses(
        (status = 200, description = "Shown this once", body = TotpEnrollment),
        Refusals<(SignedIn, WithStepUp, UnlessProvisional, Conflict)>,
    ),
)]
pub(super) async fn enroll(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<Json<TotpEnrollment>, Problem> {
    Ok(Json(node.accounts.enroll_totp(&caller, Now::read()).await?))
}

/// Takes a code of the app, and puts the second factor in force if it is not yet.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    post,
    path = "/api/auth/totp/verify",
    tag = "totp",
    request_body = TotpCodeRequest,
    responses(
        (status = 204, description = "In force"),
        Refusals<(SignedIn, WithJson, InvalidTotp, WithStepUp, UnlessProvisional, NotFound, RateLimited)>,
    ),
)]
pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<TotpCodeRequest>,
) -> Result<StatusCode, Problem> {
    node.accounts.verify_totp(&caller, request.code.expose(), Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the second factor, for a code of the app or a recovery code.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    delete,
    path = "/api/auth/totp",
    tag = "totp",
    request_body = TotpCodeRequest,
    responses(
        (status = 204, description = "Removed"),
        Refusals<(SignedIn, WithJson, InvalidTotp, WithStepUp, UnlessProvisional, NotFound, RateLimited)>,
    ),
)]
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<TotpCodeRequest>,
) -> Result<StatusCode, Problem> {
    node.accounts.remove_totp(&caller, request.code.expose(), Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}
