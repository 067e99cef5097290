//! The test harness of the scenarios in this package: a server as its users run it, and clients that know only the
//! protocol.
//!
//! - [`TestServer`] is the real binary with its own database and data directory.
//! - [`Http`] and [`RawHttp`] call its HTTP API, the first as any program would, the second byte by byte. Each response
//!   to the first must match the API's description.
//! - [`Upgrade`] opens a socket at a door; [`RawSocket`] sends any frame over it, valid or not; [`Peer`] speaks JSON
//!   and [`ProtoPeer`] protobuf.
//! - [`Proxy`] is the network between clients and the server, and can be cut.
//! - [`User`], [`Device`] and [`Identity`] sign in; an [`Authenticator`] is a second factor.
//!
//! Every wait ends after [`PATIENCE`]. The scenario then fails with what it expected, what came instead and the log of
//! the server.

mod authenticator;
pub mod browser;
mod contract;
mod frame;
mod http;
pub mod mail;
mod peer;
pub mod pgbouncer;
pub mod postgres;
mod proto_peer;
mod proxy;
mod raw_http;
mod raw_socket;
pub mod schema;
mod server;
pub mod token;
mod upgrade;
mod user;

pub use authenticator::Authenticator;
pub use frame::Frame;
pub use http::{Answer, Http};
pub use peer::Peer;
pub use proto_peer::ProtoPeer;
pub use proxy::Proxy;
pub use raw_http::{RawAnswer, RawHttp};
pub use raw_socket::{Incoming, RawSocket};
pub use server::{Builder, SECRET_KEY, TestServer, binary};
pub use upgrade::Upgrade;
pub use user::{Device, Identity, User};

/// How long to wait for anything.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A name that no other scenario uses.
#[must_use]
pub fn unique(name: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &id[..12])
}

/// Bytes as the JSON codec writes them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Decodes base64 of the JSON codec, of a length known from the protocol.
#[must_use]
pub fn unbase64<const N: usize>(text: &str) -> [u8; N] {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64 with padding");
    bytes.try_into().expect("the length that the protocol states")
}

/// The Python interpreter with the packages that `tests/run` installs: Debian's, or the one that `ALDIS_PYTHON` names.
#[must_use]
pub fn python() -> std::ffi::OsString {
    std::env::var_os("ALDIS_PYTHON").unwrap_or_else(|| "/usr/bin/python3".into())
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("milliseconds that fit")
}
