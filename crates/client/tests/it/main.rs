//! The client against servers that speak the real handshake: over pipes under virtual time, and over TLS.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

mod account;
mod api;
mod calls;
mod connection;
mod delivery;
mod future;
mod peer;
mod proxy;
mod requests;
mod resume;
mod source;
mod streams;
mod tls;
