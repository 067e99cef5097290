//! What happens between a client and the relay: handshake, requests and replies, re-authentication, liveness.
//!
//! Everything here is a state machine without IO, fed with frames and the time, but for [`enter`](mod@enter) (which drives the
//! handshake) and [`task`] (the session's one loop).

mod deadlines;
mod enter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod greeting;
mod handshake;
mod in_flight;
mod journal;
mod leave;
mod live;
mod liveness;
mod memory;
mod outbox;
mod pace;
mod reauthentication;
mod registration;
mod replies;
mod sweep;
mod task;
#[cfg(test)]
mod tests;
mod unacked_presence;
mod unconfirmed_notices;

pub(crate) use enter::enter;
pub(crate) use handshake::{Arrival, Credentials};
pub(crate) use live::fresh;
pub(crate) use sweep::sweep;
