//! The devices of a user.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, Timestamp, binary};

/// `POST /devices/register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDevice {
    /// Unique on the server.
    pub device_id: DeviceId,
    /// The device's own Ed25519 key.
    #[serde(with = "binary::array")]
    pub pubkey: [u8; 32],
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the identity signed, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// The identity's, over [`statement::DeviceStatement`](crate::statement::DeviceStatement).
    #[serde(with = "binary::array::option", default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<[u8; 64]>,
}

/// A registered device, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: DeviceId,
    /// Its own key; none where the identity's key proves it.
    #[serde(with = "binary::array::option", default)]
    pub pubkey: Option<[u8; 32]>,
    /// For people.
    pub name: Option<String>,
    /// When the identity signed, in Unix milliseconds.
    pub created_at_ms: Option<u64>,
    /// The identity's.
    #[serde(with = "binary::array::option", default)]
    pub signature: Option<[u8; 64]>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Whether it is connected.
    pub online: bool,
    /// When it was last connected.
    pub last_seen: Option<Timestamp>,
}

/// What `GET /devices/` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The caller's.
    pub devices: Vec<Device>,
}
