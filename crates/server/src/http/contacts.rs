//! The caller's contacts.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, UserRef,
    api::{ContactList, SetContact},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use http::StatusCode;

use super::{body::JsonBody, problem::Problem};
use crate::{
    node::Node,
    router::{Asked, Caller},
};

/// `GET /api/contacts`
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<Json<ContactList>, Problem> {
    Ok(Json(node.router.contacts(&caller).await?))
}

/// `PUT /api/contacts/{user}`
pub(super) async fn set(
    State(node): State<Arc<Node>>,
    caller: Caller,
    user: Result<Path<UserRef>, PathRejection>,
    JsonBody(request): JsonBody<SetContact>,
) -> Result<StatusCode, Problem> {
    node.router.set_contact(&caller, named(user)?, request.state).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/contacts/{user}`
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    user: Result<Path<UserRef>, PathRejection>,
) -> Result<StatusCode, Problem> {
    node.router.remove_contact(&caller, named(user)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/contacts/{user}/request`
pub(super) async fn request(
    State(node): State<Arc<Node>>,
    caller: Caller,
    whom: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(whom) = whom.map_err(|_| not_a_user())?;
    node.router.request_contact(&caller, &Asked::parse(&whom)?).await?;
    Ok(StatusCode::ACCEPTED)
}

fn named(user: Result<Path<UserRef>, PathRejection>) -> Result<UserRef, Problem> {
    user.map(|Path(user)| user).map_err(|_| not_a_user())
}

fn not_a_user() -> Problem {
    Problem::new(ErrorCode::BadRequest, "a user is named by a user id or a fingerprint of 64 hex digits")
}
