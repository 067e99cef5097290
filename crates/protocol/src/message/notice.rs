//! Notices of the server (docs/protocol/messages.md).

use serde::{Deserialize, Serialize};

use crate::{ContactLabel, DeviceId, Fingerprint, Hash, UserId, names::names};

/// S→C: something happened to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Alert {
    /// What happened.
    pub kind: AlertKind,
    /// The device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The identity it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The place in the chain of the statement it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// That statement's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
}

names! {
    /// What happened to the account.
    open AlertKind {
        /// A device was registered.
        DeviceAdded = "device_added",
        /// A device was removed.
        DeviceRemoved = "device_removed",
        /// A key was added to an account.
        IdentityLinked = "identity_linked",
        /// A key rotation was accepted; it can be cancelled inside its window.
        RotationStarted = "rotation_started",
        /// A key rotation was cancelled by the old key.
        RotationCancelled = "rotation_cancelled",
        /// A key rotation can no longer be cancelled.
        RotationFinal = "rotation_final",
        /// TOTP was enrolled or taken away.
        TotpChanged = "totp_changed",
        /// The password was changed.
        PasswordChanged = "password_changed",
        /// A refresh token was used twice; its family is revoked.
        RefreshReused = "refresh_reused",
        /// The server was restored from a backup: every sign-in has ended, and what was newer than the backup is lost.
        ServerRestored = "server_restored",
    }
}

/// S→C: somebody asks to become a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContactRequest {
    /// The user who asks.
    pub user_id: UserId,
    /// What they call themselves. Nobody has checked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<ContactLabel>,
}

/// S→C: the server is about to stop.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerDraining {
    /// When to come back, in seconds; different for each client.
    pub reconnect_after: u64,
}
