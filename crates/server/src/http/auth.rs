//! Accounts by password and by key, and their tokens.

use std::sync::Arc;

use aldis_protocol::api::{
    ChallengeRequest, ChallengeResponse, ChangePasswordRequest, JsonWebKeySet, LoginRequest, LogoutRequest,
    RefreshRequest, RegisterRequest, TokenResponse, VerifyRequest,
};
use axum::{Json, extract::State};
use http::{HeaderMap, HeaderName, StatusCode, header::CACHE_CONTROL};

use super::{
    audience::audience,
    body::JsonBody,
    openapi::{
        Refusals,
        refusals::{
            Any, ByChallenge, Conflict, ExpiredToken, Forbidden, Hashed, InvalidCredentials, InvalidKey,
            InvalidToken, NotFound, PublicOriginRequired, RateLimited, RefreshReused, RegistrationClosed,
            Revoked, SignedIn, Stored, UnknownDevice, UnlessProvisional, WithFactor, WithJson, WithStepUp,
        },
    },
    problem::{self, Problem},
};
use crate::{
    accounts::{Caller, HashCaller},
    clock::Now,
    limits::{Limited, LoginPair},
    node::Node,
    rate::AddressKey,
};

/// Makes an account with an email address and a password.
#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "accounts",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "The account, signed in", body = TokenResponse),
        Refusals<(Stored, WithJson, RegistrationClosed, Conflict, RateLimited, Hashed)>,
    ),
    security(()),
)]
pub(super) async fn register(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), Problem> {
    let now = Now::read();
    node.limits.take(Limited::Registrations, address, now)?;
    let caller = HashCaller::Login(LoginPair::new(address, &request.email));
    let tokens = node.accounts.register(request, caller, now).await?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

/// Signs in by email address and password.
///
/// A wrong address and a wrong password get the same answer.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "accounts",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        Refusals<(Stored, WithJson, InvalidCredentials, WithFactor, Forbidden, UnknownDevice, Hashed)>,
    ),
    security(()),
)]
pub(super) async fn login(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Json<TokenResponse>, Problem> {
    let (pair, now) = (LoginPair::new(address, &request.email), Now::read());
    node.limits.take(Limited::Logins, address, now)?;
    node.limits.begin_login(pair, now)?;
    let outcome = node.accounts.login(request, HashCaller::Login(pair), now).await;
    node.limits.end_login(&pair, &outcome);
    Ok(Json(outcome?))
}

/// Gives a challenge to a key, known or not.
#[utoipa::path(
    post,
    path = "/api/auth/challenge",
    tag = "accounts",
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "To be signed within a minute", body = ChallengeResponse),
        Refusals<(Any, WithJson, PublicOriginRequired, InvalidKey, RateLimited)>,
    ),
    security(()),
)]
pub(super) async fn challenge(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChallengeRequest>,
) -> Result<Json<ChallengeResponse>, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Challenges, address, now)?;
    let audience = audience(&node.config(), &headers)?;
    Ok(Json(node.accounts.challenge(&request, audience, now)?))
}

/// Signs in by the answer to a challenge.
///
/// A new key registers an account if registration is open; 30 an hour and address.
#[utoipa::path(
    post,
    path = "/api/auth/verify",
    tag = "accounts",
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 201, description = "The account, signed in", body = TokenResponse),
        Refusals<(
            Stored, WithJson, ByChallenge, RegistrationClosed, Forbidden, Revoked, UnknownDevice,
            WithFactor, RateLimited,
        )>,
    ),
    security(()),
)]
pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    address: AddressKey,
    headers: HeaderMap,
    JsonBody(request): JsonBody<VerifyRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), Problem> {
    let audience = audience(&node.config(), &headers)?;
    let signed_in = node.accounts.verify(&request, &audience, address, Now::read()).await?;
    let status = if signed_in.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(signed_in.tokens)))
}

/// Gives a new pair of tokens for a refresh token, which serves once.
///
/// Sending it again within 10 s, while its successor is unused, gives the same successor. Any other reuse revokes the
/// whole sign-in.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "accounts",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "A new pair", body = TokenResponse),
        Refusals<(Stored, WithJson, InvalidToken, ExpiredToken, Revoked, RefreshReused, RateLimited)>,
    ),
    security(()),
)]
pub(super) async fn refresh(
    State(node): State<Arc<Node>>,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<Json<TokenResponse>, Problem> {
    Ok(Json(node.accounts.refresh(request.refresh_token.expose(), Now::read()).await?))
}

/// Signs out, here or everywhere, and closes the sockets.
///
/// Without a body: here.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "accounts",
    request_body = Option<LogoutRequest>,
    responses(
        (status = 204, description = "Signed out"),
        Refusals<(SignedIn, WithJson)>,
    ),
)]
pub(super) async fn logout(
    State(node): State<Arc<Node>>,
    caller: Caller,
    body: Option<JsonBody<LogoutRequest>>,
) -> Result<StatusCode, Problem> {
    let request = body.map(|JsonBody(request)| request).unwrap_or_default();
    node.accounts.logout(&caller, request.everywhere, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets another password, and signs out everywhere but here.
///
/// Needs the old one, or a login of the last five minutes. Wrong ones are limited and slowed down as failed logins are.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    tag = "accounts",
    request_body = ChangePasswordRequest,
    responses(
        (status = 204, description = "Changed"),
        Refusals<(
            SignedIn, WithJson, InvalidCredentials, WithStepUp, UnlessProvisional, Conflict, RateLimited, Hashed,
        )>,
    ),
)]
pub(super) async fn change_password(
    State(node): State<Arc<Node>>,
    caller: Caller,
    address: AddressKey,
    JsonBody(request): JsonBody<ChangePasswordRequest>,
) -> Result<StatusCode, Problem> {
    let now = Now::read();
    node.limits.take(Limited::Logins, address, now)?;
    // Without an address there is no password to guess.
    let pair = node.accounts.address_of(&caller).await?.map(|typed| LoginPair::new(address, &typed));
    if let Some(pair) = pair {
        node.limits.begin_login(pair, now)?;
    }
    let outcome = node.accounts.change_password(&caller, request, now).await;
    if let Some(pair) = pair {
        node.limits.end_login(&pair, &outcome);
    }
    outcome?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the account with all its data. Its ids are never used again.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    delete,
    path = "/api/account",
    tag = "accounts",
    responses(
        (status = 204, description = "Deleted"),
        Refusals<(SignedIn, WithStepUp, UnlessProvisional)>,
    ),
)]
pub(super) async fn delete_account(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    node.accounts.delete_account(&caller, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For how long other services may keep the keys: a new one signs as soon as the server that has it starts.
const KEYS_KEPT: &str = "public, max-age=60";

/// The public keys that verify access tokens, if the server signs with EdDSA.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "operations",
    responses(
        (status = 200, description = "The current key first", body = JsonWebKeySet),
        Refusals<(Any, NotFound)>,
    ),
    security(()),
)]
pub(super) async fn token_verifiers(
    State(node): State<Arc<Node>>,
) -> Result<([(HeaderName, &'static str); 1], Json<JsonWebKeySet>), Problem> {
    match node.accounts.token_verifiers() {
        Some(keys) => Ok(([(CACHE_CONTROL, KEYS_KEPT)], Json(keys))),
        None => Err(problem::not_found().await),
    }
}
