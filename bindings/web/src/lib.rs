//! The client core for JavaScript. It holds no rule: each class passes inputs to the core and its outputs back.
//!
//! Values cross as JSON text. Frames stand in it as on the wire (docs/protocol/messages.md).

pub mod call;
pub mod connection;
mod failure;
pub mod keys;
mod output;
mod request;
pub mod sign_in;
