//! What the example programs are made of.
//!
//! `webrtc_chat` in the order in which things happen: a [`key_file`] says who it is, [`signed`] signals are what it
//! exchanges through the server, a [`call`] is one attempt at a data channel, [`ice`] names the servers that help with
//! it, the [`chat`] decides whom to call and whom to answer, and the [`terminal`] is where lines come from and go to.
//! `identity` and `verify_chain` read a [`chain_file`]; `key_login` keeps its account in a [`private_file`].

pub mod call;
pub mod chain_file;
pub mod chat;
pub mod ice;
pub mod key_file;
pub mod private_file;
pub mod signed;
pub mod terminal;
