//! What happens between a client and the router: handshake, requests and replies, re-authentication, liveness.
//!
//! Everything here is a state machine without IO, fed with frames and the time, but for [`enter`](mod@enter) (which drives the
//! handshake) and [`task`] (the session's one loop).

mod deadlines;
mod enter;
mod greeting;
mod handshake;
mod leave;
mod live;
mod liveness;
mod memory;
mod outbox;
mod pace;
mod reauthentication;
mod registration;
mod replies;
mod resume;
mod sweep;
mod task;
#[cfg(test)]
mod tests;
mod told;
mod unanswered;
mod wire;

pub(crate) use enter::enter;
pub(crate) use handshake::{Arrival, Credentials};
pub(crate) use live::fresh;
pub(crate) use resume::Claim;
pub(crate) use sweep::sweep;
pub(crate) use wire::{Backlog, Broken, Incoming, Outgoing, Wire};
