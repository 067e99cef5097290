//! The examples that lose nothing, `chat_room` and `encrypted_mailbox`, as they are used: in terminals, killed, started
//! again, and with a server that is.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

mod chat_room;
mod encrypted_mailbox;
mod program;
