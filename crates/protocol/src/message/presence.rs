//! Who shows himself how (protocol.md, section 4, "Presence").

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId, UserRef, names::names};

names! {
    /// How a device shows itself; ordered from the least to the most available.
    #[derive(PartialOrd, Ord)]
    Status {
        /// As if it were not there.
        Offline = "offline",
        /// There, and not to be disturbed.
        Busy = "busy",
        /// There, with nobody in front of it.
        Away = "away",
        /// There.
        Online = "online",
    }
}

/// C→S: how this device shows itself from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPresence<'a> {
    /// The status.
    pub status: Status,
    /// A line for people, of at most 140 characters.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Cow<'a, str>>,
}

/// C→S: asks to be told of these users' presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceSubscribe {
    /// At most 100.
    pub user_ids: Vec<UserRef>,
}

/// C→S: asks to be told no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceUnsubscribe {
    /// At most 100.
    pub user_ids: Vec<UserRef>,
}

/// S→C: how a watched user shows himself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence<'a> {
    /// Who.
    pub user_id: UserId,
    /// The status of his most available device.
    pub status: Status,
    /// That device's line for people.
    #[serde(borrow)]
    pub note: Option<Cow<'a, str>>,
    /// How many devices are live.
    pub devices: u32,
    /// When he was last seen.
    pub last_seen: Option<Timestamp>,
}
