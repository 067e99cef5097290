//! Who shows himself how, and who is told (protocol.md, section 4, "Presence", and section 5).

mod away;
mod doors;
mod ends;
mod rights;
mod status;
mod steps;
mod subscriptions;
