//! Accounts by email and password, accounts by Ed25519 key, and their tokens.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{DeviceId, Fingerprint, Secret, UserId, binary};

/// `POST /auth/register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// One `@`, both sides non-empty, at most 254 bytes, no blanks or control characters.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Email))]
    pub email: String,
    /// From 8 characters to 1,024 bytes.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::NewPassword))]
    pub password: Secret<'static>,
}

/// `POST /auth/login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginRequest {
    /// The account's address, in any case.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Email))]
    pub email: String,
    /// The account's password.
    pub password: Secret<'static>,
    /// Where TOTP is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::TotpCode>))]
    pub totp_code: Option<Secret<'static>>,
    /// The device that the tokens are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
}

/// `POST /api/auth/challenge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeRequest {
    /// The key that will answer.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub public_key: [u8; 32],
    /// The device that it will speak for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
}

/// What `POST /api/auth/challenge` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeResponse {
    /// To be signed.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Challenge))]
    pub challenge: [u8; 32],
    /// The server's public name; a client refuses another than the one it dialled.
    pub audience: String,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: u64,
}

/// `POST /api/auth/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyRequest {
    /// The key that answers.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub public_key: [u8; 32],
    /// From `POST /api/auth/challenge`.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Challenge))]
    pub challenge: [u8; 32],
    /// Over the bytes of [`statement::AuthChallenge`](crate::statement::AuthChallenge).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature: [u8; 64],
    /// The same as for the challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// Where TOTP is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::TotpCode>))]
    pub totp_code: Option<Secret<'static>>,
}

/// `POST /api/auth/refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    /// The last one that was given; each serves once.
    pub refresh_token: Secret<'static>,
}

/// `POST /api/auth/logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogoutRequest {
    /// Whether every sign-in of the user ends, and not only the one that the token descends from.
    #[serde(default)]
    pub everywhere: bool,
}

/// `POST /api/auth/password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangePasswordRequest {
    /// The password until now; not needed after a login of the last five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_password: Option<Secret<'static>>,
    /// From 8 characters to 1,024 bytes.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::NewPassword))]
    pub new_password: Secret<'static>,
}

/// What every sign-in answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// For `Authorization: Bearer` and for the sockets.
    pub access_token: Secret<'static>,
    /// Always `bearer`.
    pub token_type: TokenType,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
    /// For `POST /api/auth/refresh`, once.
    pub refresh_token: Secret<'static>,
    /// The user.
    pub user_id: UserId,
    /// The identity that proved itself, where a key was the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// `Authorization: Bearer`.
    Bearer,
}
