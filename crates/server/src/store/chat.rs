//! Chat messages of rooms: numbered without gaps in the order of the commits, kept for a limited time, read in pages.

mod append;
mod counters;
mod expiry;
mod pages;

use aldis_protocol::limits::{ROOM_HISTORY, ROOM_HISTORY_TIME};

pub(crate) use self::{
    append::{NewChat, Said},
    pages::{BYTES_AROUND_MESSAGE, RoomPage},
};
pub(super) use self::{counters::Rooms, expiry::sweep};

/// How many messages a room keeps.
const KEPT: i64 = ROOM_HISTORY as i64;

/// Messages from before this time are expired.
fn expired_at(now_ms: i64) -> i64 {
    now_ms.saturating_sub(i64::try_from(ROOM_HISTORY_TIME.as_millis()).unwrap_or(i64::MAX))
}
