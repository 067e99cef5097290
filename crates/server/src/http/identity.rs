//! Identities: their chains, their blobs and the keys that they vouch for.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, Fingerprint, Hash, PendingRotation, UserRef,
    api::{
        CancelRequest, CancelResponse, ChainResponse, EncryptionKeyBody, IdentityResponse, LinkRequest,
        LinkResponse, RotateRequest, UserKeys,
    },
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::IntoResponse,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    audience::audience,
    body::{Blob, BlobBody, JsonBody},
    if_match,
    openapi::{
        Refusals,
        refusals::{
            ByChallenge, ClockSkew, Conflict, IfMatch, InvalidKey, InvalidSignature, KeyInUse, NotFound,
            OfChain, RateLimited, RotationPending, SignedIn, Stored, UnlessProvisional, WindowClosed,
            WithBlob, WithJson, WithStepUp,
        },
    },
    problem::Problem,
};
use crate::{
    accounts::Caller, clock::Now, limits::Limited, node::Node, rate::AddressKey, store::Precondition,
};

/// A summary of an identity. It is the server's word; the chain proves it.
#[utoipa::path(
    get,
    path = "/api/identity/{fingerprint}",
    tag = "identities",
    params(("fingerprint" = Fingerprint, Path, description = "The identity")),
    responses(
        (status = 200, description = "The identity", body = IdentityResponse),
        Refusals<(Stored, NotFound, RateLimited)>,
    ),
    security(()),
)]
pub(super) async fn show(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<Json<IdentityResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Identities, address, now)?;
    Ok(Json(node.accounts.identity(known(fingerprint)?, now).await?))
}

/// The chain of an identity: enough to verify it without trusting the server.
#[utoipa::path(
    get,
    path = "/api/identity/{fingerprint}/chain",
    tag = "identities",
    params(("fingerprint" = Fingerprint, Path, description = "The identity")),
    responses(
        (status = 200, description = "The whole chain", body = ChainResponse),
        Refusals<(Stored, NotFound, RateLimited)>,
    ),
    security(()),
)]
pub(super) async fn chain(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<Json<ChainResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Identities, address, now)?;
    Ok(Json(node.accounts.chain(known(fingerprint)?, now).await?))
}

/// The keys of a user and of their devices.
#[utoipa::path(
    get,
    path = "/api/users/{user}/keys",
    tag = "identities",
    params(("user" = UserRef, Path, description = "Who")),
    responses(
        (status = 200, description = "The keys", body = UserKeys),
        Refusals<(SignedIn, NotFound)>,
    ),
)]
pub(super) async fn keys(
    State(node): State<Arc<Node>>,
    _caller: Caller,
    user: Result<Path<UserRef>, PathRejection>,
) -> Result<Json<UserKeys>, Problem> {
    Ok(Json(node.accounts.keys_of(known(user)?).await?))
}

/// Publishes the key that others encrypt to, signed by the identity where there is one.
#[utoipa::path(
    put,
    path = "/api/keys/encryption",
    tag = "identities",
    request_body = EncryptionKeyBody,
    responses(
        (status = 200, description = "Published", body = EncryptionKeyBody),
        Refusals<(SignedIn, WithJson, InvalidKey, InvalidSignature, Conflict, ClockSkew)>,
    ),
)]
pub(super) async fn publish_encryption_key(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(body): JsonBody<EncryptionKeyBody>,
) -> Result<Json<EncryptionKeyBody>, Problem> {
    Ok(Json(node.accounts.publish_encryption_key(&caller, body, Now::read()).await?))
}

/// The blob of an identity, by its full fingerprint.
#[utoipa::path(
    get,
    path = "/api/identity/blob/{fingerprint}",
    tag = "identities",
    params(("fingerprint" = Fingerprint, Path, description = "The identity")),
    responses(
        (
            status = 200, description = "The bytes as they were published",
            body = Blob,
            content_type = "application/octet-stream",
            headers(("ETag" = String, description = "A hash of the bytes, for `If-Match`")),
        ),
        Refusals<(Stored, NotFound, RateLimited)>,
    ),
    security(()),
)]
pub(super) async fn blob(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    node.limits.take(Limited::Identities, address, Now::read())?;
    let (content, hash) = node.accounts.blob(known(fingerprint)?).await?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (ETAG, etag(hash)?),
    ];
    Ok((headers, content))
}

/// Publishes the blob of the caller's identity: up to 256 KiB, opaque; 10 times a minute and user.
///
/// Overwriting one needs `If-Match`.
#[utoipa::path(
    put,
    path = "/api/identity/blob",
    tag = "identities",
    params(
        (
            "If-Match" = Option<String>,
            Header,
            description = "The `ETag` of the blob that is replaced, quoted or not, weak or strong; `*` is any",
        ),
    ),
    request_body(content = Blob, content_type = "application/octet-stream"),
    responses(
        (
            status = 204, description = "Published",
            headers(("ETag" = String, description = "A hash of the bytes, for `If-Match`")),
        ),
        Refusals<(SignedIn, WithBlob, IfMatch, Conflict, RateLimited)>,
    ),
)]
pub(super) async fn publish_blob(
    State(node): State<Arc<Node>>,
    caller: Caller,
    headers: HeaderMap,
    BlobBody(content): BlobBody,
) -> Result<impl IntoResponse, Problem> {
    node.accounts.limit_blobs(&caller, Now::read())?;
    let hash = node.accounts.publish_blob(&caller, &content, &precondition(&headers)).await?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(hash)?)]))
}

/// Gives an email account its identity, by the answer to a challenge.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    post,
    path = "/api/identity/link",
    tag = "identities",
    request_body = LinkRequest,
    responses(
        (status = 200, description = "Linked", body = LinkResponse),
        Refusals<(SignedIn, WithJson, ByChallenge, WithStepUp, UnlessProvisional, Conflict, KeyInUse)>,
    ),
)]
pub(super) async fn link(
    State(node): State<Arc<Node>>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<Json<LinkResponse>, Problem> {
    let audience = audience(&node.config(), &headers)?;
    Ok(Json(node.accounts.link(&caller, &request, &audience, Now::read()).await?))
}

/// Hands the caller's identity over to a new key, which is active at once; for 72 hours the old one can cancel it.
///
/// All other sign-ins are revoked. Needs a login of the last five minutes.
#[utoipa::path(
    post,
    path = "/api/identity/rotate",
    tag = "identities",
    request_body = RotateRequest,
    responses(
        (status = 200, description = "The exact same was accepted before", body = PendingRotation),
        (status = 201, description = "Accepted", body = PendingRotation),
        Refusals<(
            SignedIn, WithJson, WithStepUp, OfChain, Conflict, RotationPending, KeyInUse, RateLimited,
        )>,
    ),
)]
pub(super) async fn rotate(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<RotateRequest>,
) -> Result<(StatusCode, Json<PendingRotation>), Problem> {
    let (rotation, is_new) = node.accounts.rotate(&caller, &request, Now::read()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(rotation)))
}

/// Cancels a rotation. It needs only the old key, since its owner may have nothing else.
///
/// All tokens are revoked.
#[utoipa::path(
    post,
    path = "/api/identity/rotate/cancel",
    tag = "identities",
    request_body = CancelRequest,
    responses(
        (status = 200, description = "The old key is active again", body = CancelResponse),
        Refusals<(Stored, WithJson, OfChain, WindowClosed, NotFound)>,
    ),
    security(()),
)]
pub(super) async fn cancel_rotation(
    State(node): State<Arc<Node>>,
    JsonBody(request): JsonBody<CancelRequest>,
) -> Result<Json<CancelResponse>, Problem> {
    Ok(Json(node.accounts.cancel_rotation(&request, Now::read()).await?))
}

/// A malformed fingerprint counts as unknown.
fn known<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(id)| id).map_err(|_| Problem::new(ErrorCode::NotFound, "there is nothing of this name"))
}

/// A hash of the content, so that equal bytes have equal tags.
fn etag(hash: Hash) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&format!("\"{hash}\""))
        .map_err(|_| Problem::new(ErrorCode::Internal, "the server failed"))
}

fn precondition(headers: &HeaderMap) -> Precondition {
    match if_match::IfMatch::of(headers) {
        if_match::IfMatch::Absent => Precondition::Absent,
        if_match::IfMatch::Any => Precondition::Any,
        if_match::IfMatch::OneOf(hashes) => Precondition::OneOf(hashes),
    }
}
