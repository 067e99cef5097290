//! Accounts by password and by key, and their tokens.

use std::sync::Arc;

use aldis_protocol::api::{
    ChallengeRequest, ChallengeResponse, ChangePasswordRequest, JsonWebKeySet, LoginRequest, LogoutRequest,
    RefreshRequest, RegisterRequest, TokenResponse, VerifyRequest,
};
use axum::{Json, extract::State};
use http::{HeaderMap, HeaderName, StatusCode, header::CACHE_CONTROL};

use super::{
    address::AddressKey,
    audience::audience,
    body::JsonBody,
    limits::{Limited, LoginPair},
    problem::{self, Problem},
};
use crate::{clock::Now, node::Node, router::Caller};

/// `POST /auth/register`
pub(super) async fn register(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), Problem> {
    node.limits.take(Limited::Registrations, address, Now::read())?;
    let tokens = node.router.register(request).await?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

/// `POST /auth/login`
pub(super) async fn login(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Json<TokenResponse>, Problem> {
    let (pair, now) = (LoginPair::new(address, &request.email), Now::read());
    node.limits.take(Limited::Logins, address, now)?;
    node.limits.begin_login(pair, now)?;
    let outcome = node.router.login(request, now).await;
    node.limits.end_login(&pair, &outcome);
    Ok(Json(outcome?))
}

/// `POST /api/auth/challenge`
pub(super) async fn challenge(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChallengeRequest>,
) -> Result<Json<ChallengeResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Challenges, address, now)?;
    let audience = audience(&node.config, &headers)?;
    Ok(Json(node.router.challenge(&request, audience, now)?))
}

/// `POST /api/auth/verify`
pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<VerifyRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), Problem> {
    let audience = audience(&node.config, &headers)?;
    let signed_in = node.router.verify(&request, &audience, Now::read()).await?;
    let status = if signed_in.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(signed_in.tokens)))
}

/// `POST /api/auth/refresh`
pub(super) async fn refresh(
    State(node): State<Arc<Node>>,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<Json<TokenResponse>, Problem> {
    Ok(Json(node.router.refresh(request.refresh_token.expose()).await?))
}

/// `POST /api/auth/logout`
pub(super) async fn logout(
    State(node): State<Arc<Node>>,
    caller: Caller,
    body: Option<JsonBody<LogoutRequest>>,
) -> Result<StatusCode, Problem> {
    let request = body.map(|JsonBody(request)| request).unwrap_or_default();
    node.router.logout(&caller, request.everywhere).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/auth/password`
pub(super) async fn change_password(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<ChangePasswordRequest>,
) -> Result<StatusCode, Problem> {
    node.router.change_password(&caller, request, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/account`
pub(super) async fn delete_account(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    node.router.delete_account(&caller, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For how long other services may keep the keys: a new one signs as soon as the server that has it starts.
const KEYS_KEPT: &str = "public, max-age=60";

/// `GET /.well-known/jwks.json`: what verifies access tokens, where that is no secret.
pub(super) async fn token_verifiers(
    State(node): State<Arc<Node>>,
) -> Result<([(HeaderName, &'static str); 1], Json<JsonWebKeySet>), Problem> {
    match node.router.token_verifiers() {
        Some(keys) => Ok(([(CACHE_CONTROL, KEYS_KEPT)], Json(keys))),
        None => Err(problem::not_found().await),
    }
}
