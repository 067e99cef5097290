//! Presence: how users show themselves (docs/protocol/messages.md).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp, UserId, UserRef,
    names::{self, names},
};

names! {
    /// The presence of a device, ordered from the least to the most available.
    #[derive(PartialOrd, Ord)]
    open Status {
        /// Shown as not connected.
        Offline = "offline",
        /// Connected, not to be disturbed.
        Busy = "busy",
        /// Connected, nobody is using it.
        Away = "away",
        /// Connected.
        Online = "online",
    }
}

/// C→S: sets the presence of this device.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetPresence<'a> {
    /// The status.
    #[serde(deserialize_with = "names::known")]
    pub status: Status,
    /// A line for people, of at most 140 characters.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 140))]
    pub note: Option<Cow<'a, str>>,
}

/// C→S: asks to be told of these users' presence.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresenceSubscribe {
    /// At most 100.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub user_ids: Vec<UserRef>,
}

/// C→S: asks to be told no more.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresenceUnsubscribe {
    /// At most 100.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub user_ids: Vec<UserRef>,
}

/// S→C: the presence of a watched user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Presence<'a> {
    /// The user.
    pub user_id: UserId,
    /// The status of the user's most available device.
    pub status: Status,
    /// That device's line for people.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub note: Option<Cow<'a, str>>,
    /// How many devices are live.
    pub devices: u32,
    /// When the user was last seen; null where never.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub last_seen: Option<Timestamp>,
}
