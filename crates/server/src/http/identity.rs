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
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_MATCH, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    address::AddressKey,
    audience::audience,
    body::{BlobBody, JsonBody},
    limits::Limited,
    problem::Problem,
};
use crate::{clock::Now, node::Node, router::Caller, store::Precondition};

/// `GET /api/identity/{fingerprint}`
pub(super) async fn show(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<Json<IdentityResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Identities, address, now)?;
    Ok(Json(node.router.identity(known(fingerprint)?, now).await?))
}

/// `GET /api/identity/{fingerprint}/chain`
pub(super) async fn chain(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<Json<ChainResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Identities, address, now)?;
    Ok(Json(node.router.chain(known(fingerprint)?, now).await?))
}

/// `GET /api/users/{user}/keys`
pub(super) async fn keys(
    State(node): State<Arc<Node>>,
    _caller: Caller,
    user: Result<Path<UserRef>, PathRejection>,
) -> Result<Json<UserKeys>, Problem> {
    Ok(Json(node.router.keys_of(known(user)?).await?))
}

/// `PUT /api/keys/encryption`
pub(super) async fn publish_encryption_key(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(body): JsonBody<EncryptionKeyBody>,
) -> Result<Json<EncryptionKeyBody>, Problem> {
    Ok(Json(node.router.publish_encryption_key(&caller, body, Now::read()).await?))
}

/// `GET /api/identity/blob/{fingerprint}`
pub(super) async fn blob(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    fingerprint: Result<Path<Fingerprint>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    node.limits.take(Limited::Identities, address, Now::read())?;
    let (content, hash) = node.router.blob(known(fingerprint)?).await?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (ETAG, etag(hash)?),
    ];
    Ok((headers, content))
}

/// `PUT /api/identity/blob`
pub(super) async fn publish_blob(
    State(node): State<Arc<Node>>,
    caller: Caller,
    headers: HeaderMap,
    BlobBody(content): BlobBody,
) -> Result<impl IntoResponse, Problem> {
    let hash = node.router.publish_blob(&caller, &content, &precondition(&headers)).await?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(hash)?)]))
}

/// `POST /api/identity/link`
pub(super) async fn link(
    State(node): State<Arc<Node>>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<Json<LinkResponse>, Problem> {
    let audience = audience(&node.config, &headers)?;
    Ok(Json(node.router.link(&caller, &request, &audience, Now::read()).await?))
}

/// `POST /api/identity/rotate`
pub(super) async fn rotate(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<RotateRequest>,
) -> Result<(StatusCode, Json<PendingRotation>), Problem> {
    let (rotation, is_new) = node.router.rotate(&caller, &request, Now::read()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(rotation)))
}

/// `POST /api/identity/rotate/cancel`
pub(super) async fn cancel_rotation(
    State(node): State<Arc<Node>>,
    JsonBody(request): JsonBody<CancelRequest>,
) -> Result<Json<CancelResponse>, Problem> {
    Ok(Json(node.router.cancel_rotation(&request).await?))
}

/// What is malformed is unknown.
fn known<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(id)| id).map_err(|_| Problem::new(ErrorCode::NotFound, "there is nothing of this name"))
}

/// A hash of the content, so that the same bytes are the same blob.
fn etag(hash: Hash) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&format!("\"{hash}\""))
        .map_err(|_| Problem::new(ErrorCode::Internal, "the server failed"))
}

/// `If-Match`, quoted or not. A weak tag matches nothing.
fn precondition(headers: &HeaderMap) -> Precondition {
    if !headers.contains_key(IF_MATCH) {
        return Precondition::Absent;
    }
    let lines = headers.get_all(IF_MATCH).iter().filter_map(|line| line.to_str().ok());
    let tags: Vec<&str> =
        lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().trim_matches('"')).collect();
    if tags == ["*"] {
        return Precondition::Any;
    }
    Precondition::OneOf(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&'static str]) -> Precondition {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_static(line));
        }
        precondition(&headers)
    }

    #[test]
    fn a_precondition_is_quoted_or_not() {
        const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
        const QUOTED: &str = "\"1111111111111111111111111111111111111111111111111111111111111111\"";
        const WEAK: &str = "W/\"1111111111111111111111111111111111111111111111111111111111111111\"";
        let one = Precondition::OneOf(vec![ONE.parse().unwrap()]);
        assert_eq!(asked(&[]), Precondition::Absent);
        assert_eq!(asked(&["*"]), Precondition::Any);
        assert_eq!((asked(&[ONE]), asked(&[QUOTED])), (one.clone(), one.clone()));
        assert_eq!(asked(&["\"other\"", QUOTED]), one);
        for nothing in ["", "\"\"", "other", WEAK] {
            assert_eq!(asked(&[nothing]), Precondition::OneOf(Vec::new()), "{nothing}");
        }
    }
}
