//! The link to one session: its bounded queue, what it is told to do, and the socket that serves it.
//!
//! It lies below the relay, which fills the queue, and below the session, which serves it. The queue is the one order
//! of what a session's client is told: frames that others cause and the replies to its own requests stand in it in the
//! order in which their effects became visible. Frames from other nodes enter by [`SessionHandle::push`] as well.

mod control;
mod deliver;
mod dirty_presence;
mod hand_over;
mod handle;
mod held;
mod identity;
mod mailbox_cursor;
mod offers;
mod queue;
mod resume_token;
mod room_updates;
#[cfg(test)]
mod tests;
mod told_notices;
mod wire;

pub(crate) use self::{
    control::{Closing, Control},
    deliver::{Encoded, SharedBytes, deliver, fresh, status},
    hand_over::{Arriving, HandOver, Offer, OfferAnswer},
    handle::{Fed, Leftovers, SessionHandle, Taken},
    held::Held,
    identity::{Identity, TokenLife},
    queue::{Frame, Item, Pushed, Ticket},
    resume_token::{Claim, ResumeToken, ResumeTokens},
    room_updates::StateMark,
    wire::{Backlog, Broken, Incoming, Outgoing, Socket, Wire},
};
