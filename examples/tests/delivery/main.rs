//! Tests of the examples `chat_room` and `encrypted_mailbox` in terminals: programs and the server are killed and
//! restarted.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

mod chat_room;
mod encrypted_mailbox;
mod program;
