//! Who is here: the live sessions of one node by user and device, their presence and its watchers, their rooms, and
//! who may reach whom.
//!
//! The sessions of each user are the source of truth. Everything else is an index, which changes under that user's
//! guard. Locks are always taken in the order watch, user, device, room. All values that the registry returns are
//! clones, never guards. The handle `H` is what reaches a session (in a server, an `Arc` of its queue). The crate uses
//! no clock, no runtime and no randomness.

mod presence;
mod reach;
mod registry;
mod rooms;
mod subscriptions;

pub use presence::{DevicePresence, UserPresence};
pub use reach::{Facts, Purpose, Routing, Stance, may_reach};
pub use registry::{Attached, Attachment, DeviceClaim, Registry};
pub use rooms::{
    CHUNK, Closed, Departure, Joining, Member, Members, Occupants, Reach, RoomFacts, RoomView, Seat,
};
pub use subscriptions::{Decision, PendingDecision, Sight, TooManySubscriptions, Watcher, WatcherPage};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
