//! How a session begins, and how it is authenticated again (docs/protocol/handshake.md).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{DeviceId, ErrorCode, Hash, Secret, SessionId, Timestamp, UserId, binary, whole};

/// S→C: the challenge for the client's key to sign, sent as soon as `/v1/connect` opens.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthChallenge<'a> {
    /// Random bytes, used once.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Challenge))]
    pub challenge: [u8; 32],
    /// Host, and port if not the scheme's default, of the server's public origin.
    #[serde(borrow)]
    pub audience: Cow<'a, str>,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: u64,
}

/// C→S: the signed answer to a challenge.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthResponse<'a> {
    /// The identity's key, or the device's own.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub public_key: [u8; 32],
    /// Over the bytes of [`statement::AuthChallenge`](crate::statement::AuthChallenge).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature: [u8; 64],
    /// The device that connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// A code, where TOTP is enrolled and an identity key is shown.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::TotpCode>))]
    pub totp_code: Option<Secret<'a>>,
    /// The session to go on with.
    #[serde(borrow, default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume<'a>>,
}

/// C→S: a token as proof, first on a socket or again on a live session.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Auth<'a> {
    /// An access token. Without it the refusal says that it is missing.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret<'a>>,
    /// The device that connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The session to go on with.
    #[serde(borrow, default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume<'a>>,
}

/// The session that a client wants to resume.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resume<'a> {
    /// From the last `connected`.
    #[serde(borrow)]
    pub token: Secret<'a>,
    /// How many counted messages the client has received.
    #[serde(deserialize_with = "whole::number")]
    pub received: u64,
}

/// S→C: the proof was accepted.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthSuccess {
    /// The user.
    pub user_id: UserId,
    /// The device.
    pub device_id: DeviceId,
    /// When the token expires; null where a key was the proof.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub expires_at: Option<Timestamp>,
}

/// S→C: the proof was refused.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthFailure<'a> {
    /// Why.
    pub code: ErrorCode,
    /// Why, for people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// With `revoked`: the rotation inside its window that replaced the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<PendingRotation>,
}

/// A rotation that its old key can still cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PendingRotation {
    /// Its place in the chain.
    pub sequence: u64,
    /// The statement's hash.
    pub hash: Hash,
    /// Until when it can be cancelled.
    pub cancellation_deadline: Timestamp,
}

/// S→C: the session is open.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Connected<'a> {
    /// The device.
    pub device_id: DeviceId,
    /// The user.
    pub user_id: UserId,
    /// For people: [`Connected::MESSAGE`].
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// What the client needs to resume the session.
    #[serde(borrow)]
    pub session: SessionInfo<'a>,
    /// The server's heartbeat. A longer silence is a broken connection.
    pub heartbeat: Heartbeat,
    /// What the client may send.
    pub limits: SessionLimits,
}

impl Connected<'_> {
    /// The words for people.
    pub const MESSAGE: &'static str = "Connected to signaling server";
}

/// The session, as its client needs to know it.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo<'a> {
    /// Its id, the same after a resume.
    pub id: SessionId,
    /// For `resume` on the next connection. It is not a credential.
    #[serde(borrow)]
    pub resume_token: Secret<'a>,
    /// How long the session waits for its client, in seconds.
    pub resume_window: u64,
    /// Whether the session that the client asked for goes on.
    pub resumed: bool,
    /// How many missed messages follow.
    pub replayed: u64,
}

/// In seconds.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// Between two pings of the server.
    pub interval: u64,
    /// How long it waits for the pong.
    pub timeout: u64,
}

/// What a session may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SessionLimits {
    /// The size of one message, in bytes.
    pub max_message_bytes: u64,
    /// The size of encrypted content, in bytes before base64.
    pub max_encrypted_content_bytes: u64,
    /// How many requests may wait for their reply.
    pub max_unanswered_requests: u64,
}

/// S→C: the token is about to expire. The client sends `auth` with a new one.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthRequired<'a> {
    /// For people: [`AuthRequired::REASON`].
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// When the token expires.
    pub expires_at: Timestamp,
}

impl AuthRequired<'_> {
    /// The words for people.
    pub const REASON: &'static str = "Token expiring soon";
}

/// A malformed `resume` counts as an unknown one: the session begins afresh.
fn lenient<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Resume<'a>>, D::Error> {
    let raw = Option::<&'a RawValue>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}
