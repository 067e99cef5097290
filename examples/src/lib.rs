//! The parts of the example programs.
//!
//! `webrtc_chat` uses them in this order: a [`key_file`] has the identity's key, the devices exchange [`signed`]
//! signals through the server, a [`call`] is one attempt at a data channel, [`ice`] lists the servers that help with
//! it, the [`chat`] decides whom to call and whom to answer, and the [`terminal`] reads and shows lines. `identity`
//! and `verify_chain` read a [`chain_file`]; `key_login` stores its account in a [`private_file`].

pub mod call;
pub mod chain_file;
pub mod chat;
pub mod ice;
pub mod key_file;
pub mod private_file;
pub mod signed;
pub mod terminal;
