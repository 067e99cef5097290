//! The devices of a user.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{DeviceId, Timestamp, binary, whole};

/// `POST /devices/register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterDevice {
    /// Unique on the server.
    pub device_id: DeviceId,
    /// The device's own Ed25519 key.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub pubkey: [u8; 32],
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::DeviceName>))]
    pub name: Option<String>,
    /// When the identity signed, in Unix milliseconds.
    #[serde(default, deserialize_with = "whole::optional", skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// The identity's, over [`statement::DeviceStatement`](crate::statement::DeviceStatement).
    #[serde(with = "binary::array::option", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>))]
    pub signature: Option<[u8; 64]>,
}

/// A registered device, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Its id.
    pub device_id: DeviceId,
    /// Its own key; none where the identity's key proves it.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::PublicKey>, required))]
    pub pubkey: Option<[u8; 32]>,
    /// For people.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub name: Option<String>,
    /// When the identity signed, in Unix milliseconds.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub created_at_ms: Option<u64>,
    /// The identity's.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>, required))]
    pub signature: Option<[u8; 64]>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Whether it is connected.
    pub online: bool,
    /// When it was last connected.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub last_seen: Option<Timestamp>,
}

/// What `GET /devices/` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceList {
    /// The caller's.
    pub devices: Vec<Device>,
}
