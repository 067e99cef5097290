//! The caller's contacts.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, UserRef,
    api::{ContactList, RequestContact, SetContact},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use http::StatusCode;

use super::{
    body::JsonBody,
    openapi::{
        Refusals,
        refusals::{BadRequest, Conflict, NotFound, SignedIn, WithJson},
    },
    problem::Problem,
};
use crate::{accounts::Caller, clock::Now, node::Node, relay::ContactTarget};

/// The caller's contacts.
#[utoipa::path(
    get,
    path = "/api/contacts",
    tag = "contacts",
    responses(
        (status = 200, description = "Those of the longest standing first", body = ContactList),
        Refusals<(SignedIn,)>,
    ),
)]
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<Json<ContactList>, Problem> {
    Ok(Json(node.relay.contacts(&caller, Now::read()).await?))
}

/// Allows or blocks a user.
#[utoipa::path(
    put,
    path = "/api/contacts/{user}",
    tag = "contacts",
    params(("user" = UserRef, Path, description = "Who")),
    request_body = SetContact,
    responses(
        (status = 204, description = "In force"),
        Refusals<(SignedIn, WithJson, NotFound, Conflict)>,
    ),
)]
pub(super) async fn set(
    State(node): State<Arc<Node>>,
    caller: Caller,
    user: Result<Path<UserRef>, PathRejection>,
    JsonBody(request): JsonBody<SetContact>,
) -> Result<StatusCode, Problem> {
    node.relay.set_contact(&caller, named(user)?, request.state, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the caller's decision about a user, or their request to them.
///
/// An address removes only a request that was made by this address, so the answer does not reveal whose address it is.
#[utoipa::path(
    delete,
    path = "/api/contacts/{user}",
    tag = "contacts",
    params(("user" = String, Path, description = "A user id, a fingerprint or an email address")),
    responses(
        (status = 204, description = "Nothing is decided or asked"),
        Refusals<(SignedIn, BadRequest)>,
    ),
)]
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    whom: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    node.relay.remove_contact(&caller, &asked(whom)?, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a user to become a contact.
///
/// The answer is the same whether the user exists, is a contact, has blocked the caller, sees the request or has a full
/// list. A caller has at most 20 pending requests, each until it is answered, removed or 30 days old. Further requests
/// get the same answer and have no effect.
#[utoipa::path(
    post,
    path = "/api/contacts/{user}/request",
    tag = "contacts",
    params(("user" = String, Path, description = "A user id, a fingerprint or an email address")),
    request_body = Option<RequestContact>,
    responses(
        (status = 202, description = "ContactTarget, if there is somebody to ask"),
        Refusals<(SignedIn, WithJson)>,
    ),
)]
pub(super) async fn request(
    State(node): State<Arc<Node>>,
    caller: Caller,
    whom: Result<Path<String>, PathRejection>,
    body: Option<JsonBody<RequestContact>>,
) -> Result<StatusCode, Problem> {
    let request = body.map(|JsonBody(request)| request).unwrap_or_default();
    node.relay.request_contact(&caller, &asked(whom)?, request, Now::read()).await?;
    Ok(StatusCode::ACCEPTED)
}

fn asked(whom: Result<Path<String>, PathRejection>) -> Result<ContactTarget, Problem> {
    let Path(whom) = whom.map_err(|_| not_a_user())?;
    Ok(ContactTarget::parse(&whom)?)
}

fn named(user: Result<Path<UserRef>, PathRejection>) -> Result<UserRef, Problem> {
    user.map(|Path(user)| user).map_err(|_| not_a_user())
}

fn not_a_user() -> Problem {
    Problem::new(ErrorCode::BadRequest, "a user is named by a user id or a fingerprint of 64 hex digits")
}
