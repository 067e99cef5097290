//! The server's URL, taken apart once.

use std::{fmt, net::IpAddr};

use aldis_auth::audience_of;
use aldis_protocol::{Door, RoomId};
use http::Uri;

use crate::segment;

/// A URL that is not one of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It does not parse, or has no host.
    #[error("not a URL like https://relay.example.org")]
    Form,
    /// It is neither `http`, `https`, `ws` nor `wss`.
    #[error("the URL's scheme is none of http, https, ws, wss")]
    Scheme,
    /// It is plain `http` or `ws`, and the host is not this machine: everybody on the way could read the tokens, and pass
    /// on another server's challenge for the client to sign.
    #[error("the URL is not encrypted: use https or wss, or say Options::insecure or Server::insecure")]
    Insecure,
    /// It has user, password, query or fragment: credentials do not belong in a URL.
    #[error("the URL has more than scheme, host, port and path")]
    Extra,
}

/// Where to dial, and whom the server has to say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    /// The port, also where the URL leaves it out.
    pub port: u16,
    /// Host, and port if not the scheme's default: both the `Host` header and what a challenge must name.
    pub audience: String,
    base_path: String,
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`InvalidUrl`], never [`InvalidUrl::Insecure`].
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.contains(['@', '?', '#']) {
            return Err(InvalidUrl::Extra);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidUrl::Form)?;
        let scheme = uri.scheme_str().ok_or(InvalidUrl::Form)?;
        let secure = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(InvalidUrl::Scheme),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(InvalidUrl::Form)?;
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            audience: audience_of(scheme, host, uri.port_u16()),
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The endpoint, unless others could read what is said to it.
    ///
    /// # Errors
    /// [`InvalidUrl::Insecure`] where it is not encrypted and the host is not this machine.
    pub fn protected(self) -> Result<Self, InvalidUrl> {
        if self.secure || is_loopback(&self.host) { Ok(self) } else { Err(InvalidUrl::Insecure) }
    }

    /// The URL of the WebSocket.
    #[must_use]
    pub fn door_url(&self) -> String {
        self.socket_url(Door::Connect.path())
    }

    /// The URL of the WebSocket of one room, which takes tokens only.
    #[must_use]
    pub fn chat_url(&self, room: &RoomId) -> String {
        self.socket_url(&Door::Chat.path().replace("{room}", &segment(room.as_str())))
    }

    fn socket_url(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}{path}", self.audience, self.base_path)
    }

    /// A path of the HTTP API, below the path of the URL.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }
}

/// Whether a host is this machine, whatever a name server says.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.door_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_the_door() {
        for (url, door) in [
            ("https://relay.example.org", "wss://relay.example.org/v1/connect"),
            ("wss://Relay.Example.org:443/", "wss://relay.example.org/v1/connect"),
            ("http://localhost:8080", "ws://localhost:8080/v1/connect"),
            ("ws://[::1]:8080/aldis/", "ws://[::1]:8080/aldis/v1/connect"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().door_url(), door);
        }
    }

    #[test]
    fn an_ipv6_host_is_dialled_without_brackets() {
        let endpoint = Endpoint::parse("ws://[::1]").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.audience.as_str()), ("::1", 80, "[::1]"));
    }

    #[test]
    fn what_is_not_encrypted_stays_on_this_machine() {
        let protected = |url: &str| Endpoint::parse(url).unwrap().protected().map(drop);
        for url in [
            "https://relay.example",
            "wss://10.0.0.1",
            "http://LOCALHOST:8000",
            "ws://127.8.9.1",
            "ws://[::1]",
        ] {
            assert_eq!(protected(url), Ok(()), "{url}");
        }
        for url in [
            "http://relay.example",
            "ws://10.0.0.1",
            "http://localhost.example",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            assert_eq!(protected(url), Err(InvalidUrl::Insecure), "{url}");
        }
    }

    #[test]
    fn only_a_servers_url_is_taken() {
        for (url, error) in [
            ("relay.example.org", InvalidUrl::Form),
            ("", InvalidUrl::Form),
            ("ftp://relay.example.org", InvalidUrl::Scheme),
            ("https://me:secret@relay.example.org", InvalidUrl::Extra),
            ("https://relay.example.org/?token=x", InvalidUrl::Extra),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
    }
}
