//! Who is here: the live sessions of one node, by user and by device, how they show themselves, who watches whom, the
//! rooms that they are in, and who may reach whom.
//!
//! There is one truth, the sessions of each user; what else is looked up is an index changed under that user's guard.
//! Locks are always taken in the order watch, user, device, room. What leaves the registry is a clone: no guard does. The handle
//! `H` is whatever reaches a session (for a server, an `Arc` around its queue). No clock, no runtime, no dice.

mod presence;
mod reach;
mod registry;
mod rooms;
mod watches;

pub use presence::{DevicePresence, UserPresence};
pub use reach::{Facts, Purpose, Routing, Stance, may_reach};
pub use registry::{Attached, Attachment, DeviceClaim, Registry};
pub use rooms::{
    CHUNK, Closed, Departure, Joining, Member, Members, Occupants, Reach, RoomFacts, RoomView, Seat,
};
pub use watches::{Decision, Doubt, Sight, TooManyWatches, Watcher, WatcherPage};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
