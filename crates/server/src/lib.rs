//! The Aldis server: knows who is connected, proves who they are, and carries their messages.
//!
//! A frame's way, layer by layer: `transport` (bytes: accept, TLS, HTTP, upgrade), `session` (frames: handshake and what
//! follows), `router` (who gets what), `accounts` (who somebody is), `store` (what must survive). Each layer imports only
//! what stands to its right; HTTP handlers enter at `router` and `accounts`.

mod accounts;
pub mod accounts_cli;
mod calls;
mod clock;
pub mod config;
mod drain;
mod email;
mod http;
mod limits;
mod link;
mod metrics;
mod node;
mod rate;
mod refusal;
mod router;
mod server;
mod session;
mod shared;
#[cfg(test)]
mod simulation;
pub(crate) mod store;
mod supervisor;
pub mod telemetry;
mod transport;

pub use server::{Reloader, Server, StartError};
pub use supervisor::TaskEnded;
pub use transport::TlsError;
