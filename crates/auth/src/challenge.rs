//! Challenges: a client proves the possession of a key, to one server and once.
//!
//! The server issues a challenge ([`SocketChallenge`], [`HttpChallenges`]), the client checks and signs it
//! ([`verify_challenge`], [`create_auth_response`]), and the server accepts the answer. The signed bytes contain
//! audience, transport, key, device and expiry, so an answer is useless for anything else.

mod answer;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod socket;

use std::net::Ipv6Addr;

use aldis_protocol::DeviceId;

pub use answer::{
    ChallengeRefused, MAX_CHALLENGE_LIFETIME_MS, ReceivedChallenge, VerifiedChallenge, create_auth_response,
    verify_challenge,
};
#[cfg(feature = "server")]
pub use http::{
    ChallengeBinding, HTTP_CHALLENGE_LIFETIME_MS, HttpChallenges, IssuedChallenge, OpenedChallenge,
};
#[cfg(feature = "server")]
pub use socket::{SOCKET_CHALLENGE_LIFETIME_MS, SocketChallenge};

/// A client's answer to a challenge, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeResponse {
    /// The key that signed.
    pub public_key: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
    /// The device that the key proves, if one is named.
    pub device_id: Option<DeviceId>,
}

/// The audience of a server's origin: the host, and the port if it is not the scheme's default.
///
/// The server computes it from the configured origin, the client from the dialled URL. So letter case, an explicit
/// default port or another notation of an IPv6 address make no difference.
///
/// ```
/// use aldis_auth::audience_of;
/// assert_eq!(audience_of("https", "Relay.Example.test", Some(443)), "relay.example.test");
/// assert_eq!(audience_of("wss", "relay.example.test", Some(8443)), "relay.example.test:8443");
/// assert_eq!(audience_of("ws", "::1", None), "[::1]");
/// ```
#[must_use]
pub fn audience_of(scheme: &str, host: &str, port: Option<u16>) -> String {
    let host = canonical_host(host);
    match port.filter(|port| Some(*port) != default_port(scheme)) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn canonical_host(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<Ipv6Addr>().map_or_else(|_| host.to_ascii_lowercase(), |address| format!("[{address}]"))
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") {
        Some(80)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_has_one_spelling() {
        for (scheme, host, port, audience) in [
            ("http", "localhost", None, "localhost"),
            ("HTTP", "LOCALHOST", Some(80), "localhost"),
            ("ws", "localhost", Some(443), "localhost:443"),
            ("wss", "relay.example.test", Some(443), "relay.example.test"),
            ("https", "relay.example.test", Some(80), "relay.example.test:80"),
            ("https", "127.0.0.1", Some(8443), "127.0.0.1:8443"),
            ("ws", "[::1]", Some(8080), "[::1]:8080"),
            ("ws", "0:0:0:0:0:0:0:1", Some(80), "[::1]"),
            ("https", "[2001:DB8::A]", None, "[2001:db8::a]"),
        ] {
            assert_eq!(audience_of(scheme, host, port), audience);
        }
    }
}
