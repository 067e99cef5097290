//! Presence: who shows themselves how, and who is told (docs/protocol/messages.md, resume.md).

mod away;
mod doors;
mod ends;
mod rights;
mod status;
mod steps;
mod subscriptions;
