//! Presence: the status of users, and who sees it (docs/protocol/messages.md, resume.md).

mod away;
mod doors;
mod ends;
mod rights;
mod status;
mod steps;
mod subscriptions;
