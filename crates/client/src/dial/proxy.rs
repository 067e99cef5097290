//! HTTP proxies: which one serves a host, and the `CONNECT` through it.

use std::{env, fmt, net::IpAddr, str::FromStr};

use aldis_client_core::{DialError, Endpoint};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::socket::Io;

/// The header of a proxy's answer.
const HEADER_BYTES: usize = 16 * 1024;

/// An HTTP proxy that tunnels connections (`CONNECT`), with user name and password where it wants them (`Basic`).
///
/// ```
/// use aldis_client::Proxy;
///
/// let proxy: Proxy = "http://ann:secret@proxy.example:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://proxy.example:3128");
/// # Ok::<(), aldis_client::InvalidProxy>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    /// User and password in base64.
    credentials: Option<Zeroizing<String>>,
}

/// A URL that is not one of an HTTP proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of an HTTP proxy, as http://user:password@host:port")]
pub struct InvalidProxy;

/// Which proxy serves which host.
#[derive(Debug, Clone)]
pub(crate) enum Proxies {
    /// None.
    Direct,
    /// This one serves all hosts.
    All(Proxy),
    /// What the environment says.
    Environment(Box<Environment>),
}

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same in lower case, as they are at the start.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    https: Option<Result<Proxy, InvalidProxy>>,
    http: Option<Result<Proxy, InvalidProxy>>,
    exceptions: Vec<String>,
}

impl Proxies {
    pub(crate) fn from_env() -> Self {
        Self::Environment(Box::new(Environment::read(|name| env::var(name).ok())))
    }

    /// The proxy that leads to an endpoint, if it takes one.
    pub(super) fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, InvalidProxy> {
        match self {
            Self::Direct => Ok(None),
            Self::All(proxy) => Ok(Some(proxy)),
            Self::Environment(environment) => environment.proxy_for(endpoint),
        }
    }
}

impl Environment {
    fn read(var: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let lower = var(&name.to_ascii_lowercase());
            lower.or_else(|| var(name)).filter(|value| !value.is_empty())
        };
        let all = get("ALL_PROXY");
        // A web server hands the header `Proxy` of a request to a CGI program as HTTP_PROXY.
        let is_cgi = var("REQUEST_METHOD").is_some();
        let http = if is_cgi { var("http_proxy") } else { get("HTTP_PROXY") };
        let parse = |url: Option<String>| url.or_else(|| all.clone()).map(|url| url.parse());
        let exceptions = get("NO_PROXY").unwrap_or_default();
        Self {
            https: parse(get("HTTPS_PROXY")),
            http: parse(http),
            exceptions: exceptions.split(',').map(|it| it.trim().to_ascii_lowercase()).collect(),
        }
    }

    fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, InvalidProxy> {
        let proxy = if endpoint.secure { &self.https } else { &self.http };
        if is_loopback(&endpoint.host) || self.excepts(&endpoint.host, endpoint.port) {
            return Ok(None);
        }
        proxy.as_ref().map(|proxy| proxy.as_ref().map_err(|error| *error)).transpose()
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.exceptions.iter().any(|exception| {
            let with_port = exception.strip_suffix(&format!(":{port}"));
            let name = with_port.unwrap_or(exception).trim_start_matches("*.").trim_start_matches('.');
            let name = name.trim_matches(['[', ']']);
            exception == "*"
                || host == name
                || is_in_network(&host, exception)
                || (!name.is_empty() && host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
        })
    }
}

impl Proxy {
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Opens a tunnel to an endpoint, over a stream to this proxy.
    pub(super) async fn tunnel(
        &self,
        mut stream: Box<dyn Io>,
        endpoint: &Endpoint,
    ) -> Result<Box<dyn Io>, DialError> {
        let request = self.request(endpoint);
        stream.write_all(request.as_bytes()).await.map_err(DialError::Connect)?;
        stream.flush().await.map_err(DialError::Connect)?;
        match status(&read_header(&mut stream).await?) {
            Some(200..=299) => Ok(stream),
            status => Err(DialError::Proxy { status }),
        }
    }

    fn request(&self, endpoint: &Endpoint) -> Zeroizing<String> {
        let host = &endpoint.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let target = format!("{host}:{}", endpoint.port);
        let authorization = self.credentials.as_ref().map_or_else(Zeroizing::default, |credentials| {
            Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", credentials.as_str()))
        });
        Zeroizing::new(format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n",
            authorization.as_str()
        ))
    }
}

/// Byte by byte: what follows the header is the server's.
async fn read_header(stream: &mut Box<dyn Io>) -> Result<Vec<u8>, DialError> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        if header.len() == HEADER_BYTES {
            return Err(DialError::Proxy { status: None });
        }
        header.push(stream.read_u8().await.map_err(DialError::Connect)?);
    }
    Ok(header)
}

fn status(header: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(header.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    /// The scheme may be left out; the port is then 80 as well, unless it is named.
    fn from_str(url: &str) -> Result<Self, InvalidProxy> {
        let authority = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(InvalidProxy),
            None => url,
        };
        let authority = authority.trim_end_matches('/');
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let address: http::uri::Authority = address.parse().map_err(|_| InvalidProxy)?;
        let host = address.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(InvalidProxy);
        }
        let credentials = user_info.map(encoded_credentials).transpose()?;
        Ok(Self { host, port: address.port_u16().unwrap_or(80), credentials })
    }
}

fn encoded_credentials(user_info: &str) -> Result<Zeroizing<String>, InvalidProxy> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut plain = Zeroizing::new(percent_decoded(user)?);
    plain.push(b':');
    plain.extend_from_slice(&Zeroizing::new(percent_decoded(password)?));
    Ok(Zeroizing::new(BASE64_STANDARD.encode(&*plain)))
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, InvalidProxy> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit =
            |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(InvalidProxy);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).map_err(|_| InvalidProxy)?);
    }
    Ok(bytes)
}

/// Whether a host is an address in a network such as `10.0.0.0/8` or `fd00::/8`.
fn is_in_network(host: &str, network: &str) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let parse = |address: &str| address.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(left_aligned);
    match (parse(base), parse(host), length.parse::<u32>()) {
        (Some((base, width)), Some((host, host_width)), Ok(length)) => {
            width == host_width && length <= width && (base ^ host).leading_zeros() >= length
        }
        _ => false,
    }
}

/// The bits of an address from the highest bit down, and how many there are.
fn left_aligned(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            vars.iter().find(|(var, _)| *var == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn serves(environment: &Environment, url: &str) -> Option<String> {
        let endpoint = Endpoint::parse(url).unwrap();
        environment.proxy_for(&endpoint).unwrap().map(ToString::to_string)
    }

    #[test]
    fn the_scheme_picks_the_variable() {
        let both = environment(&[("HTTPS_PROXY", "http://secure:1"), ("http_proxy", "plain:2")]);
        assert_eq!(serves(&both, "wss://relay.test").unwrap(), "http://secure:1");
        assert_eq!(serves(&both, "http://relay.test").unwrap(), "http://plain:2");
        let all = environment(&[("ALL_PROXY", "http://all")]);
        assert_eq!(serves(&all, "https://relay.test").unwrap(), "http://all:80");
        assert_eq!(serves(&environment(&[]), "https://relay.test"), None);
    }

    #[test]
    fn this_machine_and_the_exceptions_are_reached_directly() {
        let proxied = environment(&[
            ("ALL_PROXY", "http://all"),
            ("NO_PROXY", "relay.test, .internal,*.corp,10.0.0.7,odd.test:8443"),
        ]);
        for direct in [
            "https://localhost:8000",
            "http://127.0.0.1",
            "http://[::1]",
            "https://relay.test",
            "https://a.relay.test",
            "https://x.internal",
            "https://y.corp",
            "https://10.0.0.7",
            "https://odd.test:8443",
        ] {
            assert_eq!(serves(&proxied, direct), None, "{direct}");
        }
        for by_proxy in ["https://otherrelay.test", "https://odd.test", "https://10.0.0.8"] {
            assert!(serves(&proxied, by_proxy).is_some(), "{by_proxy}");
        }
        assert_eq!(
            serves(&environment(&[("ALL_PROXY", "http://all"), ("no_proxy", "*")]), "https://a.test"),
            None
        );
    }

    #[test]
    fn addresses_in_excepted_networks_are_reached_directly() {
        let networks =
            "10.0.0.0/8,192.168.7.128/25,203.0.113.9/32,fd00::/8,[2001:db8::]/32,172.16.0.0/33,x/8";
        let proxied = environment(&[("ALL_PROXY", "http://all"), ("NO_PROXY", networks)]);
        for direct in [
            "https://10.255.0.1",
            "https://192.168.7.200:8443",
            "https://203.0.113.9",
            "https://[fdab::1]",
            "https://[2001:db8:1::2]",
        ] {
            assert_eq!(serves(&proxied, direct), None, "{direct}");
        }
        for by_proxy in [
            "https://11.0.0.1",
            "https://192.168.7.1",
            "https://203.0.113.8",
            "https://[fe80::1]",
            "https://172.16.0.1",
            "https://ten.test",
        ] {
            assert!(serves(&proxied, by_proxy).is_some(), "{by_proxy}");
        }
        let all = environment(&[("ALL_PROXY", "http://all"), ("NO_PROXY", "0.0.0.0/0")]);
        assert_eq!(serves(&all, "https://198.51.100.1"), None);
        assert!(serves(&all, "https://[fd00::1]").is_some(), "of the other family");
    }

    #[test]
    fn a_request_header_of_a_cgi_program_is_no_proxy() {
        let cgi = environment(&[("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(serves(&cgi, "http://relay.test"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_passed_by() {
        let socks = environment(&[("ALL_PROXY", "socks5://proxy:1080")]);
        let endpoint = Endpoint::parse("https://relay.test").unwrap();
        assert_eq!(socks.proxy_for(&endpoint).err(), Some(InvalidProxy));
    }

    #[test]
    fn user_and_password_are_decoded_and_not_shown() {
        let proxy: Proxy = "http://ann:s%40fe@proxy.test:3128/".parse().unwrap();
        let endpoint = Endpoint::parse("https://relay.test").unwrap();
        let request = proxy.request(&endpoint);
        assert!(request.starts_with("CONNECT relay.test:443 HTTP/1.1\r\nHost: relay.test:443\r\n"));
        assert!(request.contains("Proxy-Authorization: Basic YW5uOnNAZmU=\r\n\r\n"), "{request:?}");
        assert_eq!(format!("{proxy:?}"), "Proxy(http://proxy.test:3128)");
        for invalid in ["", "https://proxy.test", "http://", "http://a:%4@proxy.test"] {
            assert!(invalid.parse::<Proxy>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_the_status_line_counts() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Proxy Authentication Required\r\nX: 200\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
