//! Web origins: scheme, host and port, and nothing else.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use aldis_auth::audience_of;

/// An origin in the form that browsers send: lower case, without the scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    text: String,
    scheme_len: usize,
}

/// Web pages that may call the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AllowedOrigin {
    /// Pages of this origin.
    Exact(Origin),
    /// `loopback`: pages of this machine, `http` or `https`, any port.
    Loopback,
    /// `null`: pages without an origin of their own, such as sandboxed frames.
    Null,
    /// `file://`: pages from files in some web views.
    File,
}

impl AllowedOrigin {
    /// The `Origin` of a page without an origin of its own.
    pub(crate) const NULL: &'static str = "null";
    /// `Origin` as some web views send it.
    pub(crate) const FILE: &'static str = "file://";
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let words = [("loopback", Self::Loopback), (Self::NULL, Self::Null), (Self::FILE, Self::File)];
        let word = words.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        word.map_or_else(|| text.parse().map(Self::Exact), |(_, allowed)| Ok(allowed))
    }
}

/// The text is not an origin; the message says what one looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOrigin(&'static str);

impl InvalidOrigin {
    pub(super) fn remedy(self) -> &'static str {
        self.0
    }
}

impl Origin {
    /// The origin as in an `Origin` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, `http`, or the scheme of an app's own web view.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme_len]
    }

    /// The host, without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.audience();
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            Some(_) | None => authority,
        }
    }

    /// The host, with the port if it is not the scheme's default. Challenges are bound to it.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.text[self.scheme_len + SEPARATOR.len()..]
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once(SEPARATOR).ok_or(NO_SCHEME)?;
        if !is_scheme(scheme) {
            return Err(NO_SCHEME);
        }
        if authority.contains(['/', '?', '#', '@']) {
            return Err(MORE_THAN_ORIGIN);
        }
        let (host, port) = split_port(authority)?;
        if !is_host(host) {
            return Err(BAD_HOST);
        }
        let text = format!("{scheme}://{}", audience_of(scheme, host, port));
        Ok(Self { text, scheme_len: scheme.len() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const SEPARATOR: &str = "://";
const NO_SCHEME: InvalidOrigin =
    InvalidOrigin("give scheme and host, such as https://aldis.example (there is no wildcard)");
const MORE_THAN_ORIGIN: InvalidOrigin = InvalidOrigin(
    "give only scheme, host and port, such as https://aldis.example, without a path or a slash at the end",
);
const BAD_HOST: InvalidOrigin = InvalidOrigin(
    "give a host name in ASCII (punycode) or an IP address, IPv6 in brackets; there is no wildcard",
);
const BAD_PORT: InvalidOrigin = InvalidOrigin("give a port from 1 to 65535 after the colon, or no colon");

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Splits off the port. The colons inside the brackets of an IPv6 address do not count.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidOrigin> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|&port: &u16| digits && port != 0);
            Ok((host, Some(port.ok_or(BAD_PORT)?)))
        }
        Some(_) | None => Ok((authority, None)),
    }
}

fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_has_the_form_that_browsers_send() {
        assert_eq!(origin("HTTPS://Aldis.Example:443").as_str(), "https://aldis.example");
        assert_eq!(origin("http://aldis.example:80").as_str(), "http://aldis.example");
        assert_eq!(origin("http://aldis.example:443").as_str(), "http://aldis.example:443");
        assert_eq!(origin("tauri://localhost").as_str(), "tauri://localhost");
    }

    #[test]
    fn the_audience_has_the_port_unless_it_is_the_default() {
        assert_eq!(origin("https://Aldis.Example").audience(), "aldis.example");
        assert_eq!(origin("https://aldis.example:8443").audience(), "aldis.example:8443");
        assert_eq!(origin("http://[::1]:8000").audience(), "[::1]:8000");
        assert_eq!(origin("http://[::1]").audience(), "[::1]");
    }

    #[test]
    fn a_host_has_no_port() {
        for (text, host) in [
            ("https://Aldis.Example", "aldis.example"),
            ("https://aldis.example:8443", "aldis.example"),
            ("http://[::1]:8000", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            assert_eq!(origin(text).host(), host);
        }
    }

    #[test]
    fn a_list_can_contain_words_and_origins() {
        let allowed = |text: &str| text.parse::<AllowedOrigin>();
        assert_eq!(allowed("loopback"), Ok(AllowedOrigin::Loopback));
        assert_eq!((allowed("null"), allowed("NULL")), (Ok(AllowedOrigin::Null), Ok(AllowedOrigin::Null)));
        assert_eq!(allowed("file://"), Ok(AllowedOrigin::File));
        assert_eq!(allowed("https://a.example"), Ok(AllowedOrigin::Exact(origin("https://a.example"))));
        for bad in ["", "*", "file:///x", "localhost", "loopback:3000"] {
            assert!(allowed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_that_are_not_origins_are_refused() {
        let cases = [
            "",
            "*",
            "null",
            "aldis.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://a.",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://a b",
            "https://a..b",
            "https://ä.example",
            "https://[::1",
            "https://::1",
            "1https://a",
            "://a",
        ];
        for case in cases {
            assert!(case.parse::<Origin>().is_err(), "{case}");
        }
    }
}
