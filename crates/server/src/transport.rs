//! The byte layer: accept, TLS, HTTP, the upgrade, and WebSocket frames.

mod accept;
mod connections;
mod credentials;
mod gate;
mod heads;
mod http_deadlines;
mod io;
mod listener;
mod self_signed;
mod socket;
mod tap;
mod tls;
mod upgrade;

#[cfg(test)]
pub(crate) use accept::Accept;
pub(crate) use listener::{Listener, serve};
pub(crate) use self_signed::files as self_signed_files;
pub(crate) use socket::UNLOGGED;
pub(crate) use tls::Certificates;
pub use tls::TlsError;
pub(crate) use upgrade::doors;
