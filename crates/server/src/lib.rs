//! The Aldis server: it knows who is connected, verifies who they are, and relays and stores their messages.
//!
//! The layers, in the order in which a frame passes them: `transport` (bytes: accept, TLS, HTTP, upgrade), `session`
//! (frames: the handshake and the session after it), `relay` (delivery: who gets what), `accounts` (who users are),
//! `link` (the queues of the sessions), `store` (durable state). Each layer imports only layers to its right; HTTP
//! handlers enter at `relay` and `accounts`.

mod accounts;
pub mod accounts_cli;
mod calls;
mod clock;
pub mod commands;
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
mod relay;
mod server;
pub mod service_manager;
mod session;
mod shared;
#[cfg(test)]
mod simulation;
pub(crate) mod store;
mod supervisor;
pub mod telemetry;
mod terminal;
mod transport;

pub use server::{Reloader, Server, StartError};
#[cfg(feature = "fuzzing")]
pub use session::fuzzing;
pub use supervisor::TaskEnded;
pub use transport::TlsError;
