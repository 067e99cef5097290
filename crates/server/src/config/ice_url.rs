//! URLs of STUN and TURN servers, by the grammars of RFC 7064 and RFC 7065. A browser refuses a whole list because of
//! one bad URL, so the server must not send one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The kind of server that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `stun:` and `stuns:`, RFC 7064.
    Stun,
    /// `turn:` and `turns:`, RFC 7065.
    Turn,
}

impl Kind {
    const fn schemes(self) -> [&'static str; 2] {
        match self {
            Self::Stun => ["stun", "stuns"],
            Self::Turn => ["turn", "turns"],
        }
    }
}

/// Checks a URL. The error text names the part that is wrong.
pub(super) fn check(url: &str, kind: Kind) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once(':').ok_or("it has no scheme")?;
    if !kind.schemes().contains(&scheme) {
        return Err("its scheme is wrong");
    }
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    check_query(query, kind)?;
    let (host, port) = split(address)?;
    port.map_or(Ok(()), check_port)?;
    check_host(host)
}

/// RFC 7065 leaves other transports open; browsers accept these two.
fn check_query(query: Option<&str>, kind: Kind) -> Result<(), &'static str> {
    match (query, kind) {
        (None, _) | (Some("transport=udp" | "transport=tcp"), Kind::Turn) => Ok(()),
        (Some(_), Kind::Turn) => Err("only transport=udp and transport=tcp may follow the question mark"),
        (Some(_), Kind::Stun) => Err("a STUN URL has no question mark"),
    }
}

/// Splits an address into the host, with the brackets of an IPv6 address, and the port.
fn split(address: &str) -> Result<(&str, Option<&str>), &'static str> {
    let host_end = if address.starts_with('[') {
        address.find(']').ok_or("a bracket is not closed")? + 1
    } else {
        address.find(':').unwrap_or(address.len())
    };
    let (host, rest) = address.split_at(host_end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err("a port needs a colon before it"),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().map(drop).map_err(|_| "there is no IPv6 address in the brackets");
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.parse::<Ipv4Addr>().map(drop).map_err(|_| "its host is neither an address nor a name");
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.split('.').all(is_label) { Ok(()) } else { Err("its host is neither an address nor a name") }
}

fn check_port(port: &str) -> Result<(), &'static str> {
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if is_number => Ok(()),
        _ => Err("its port is not from 1 to 65535; an IPv6 address needs brackets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_grammars_and_browsers_accept_are_accepted() {
        for url in
            ["stun:stun.example", "stuns:stun.example:5349", "stun:192.0.2.1:3478", "stun:[2001:db8::1]:3478"]
        {
            assert_eq!(check(url, Kind::Stun), Ok(()), "{url}");
        }
        for url in [
            "turn:turn.example",
            "turn:turn.example.:3478?transport=udp",
            "turns:turn-1.example:443?transport=tcp",
            "turn:[::1]",
            "turn:localhost:65535",
        ] {
            assert_eq!(check(url, Kind::Turn), Ok(()), "{url}");
        }
    }

    #[test]
    fn urls_that_browsers_refuse_were_sent_to_clients() {
        for url in [
            "turn:2001:db8::1:3478",
            "turn:turn.example:99999",
            "turn:turn.example:0",
            "turn:turn.example:+1",
            "turn:turn.example:",
            "turn:turn.example?transport=tls",
            "turn:turn.example?transport=UDP",
            "turn:turn.example?",
            "turn:turn.example?transport=udp&x=y",
            "turn:[2001:db8::1",
            "turn:[2001:db8::1]3478",
            "turn:[turn.example]",
            "turn:",
            "turn::3478",
            "turn://turn.example",
            "turn:user@turn.example",
            "turn:-turn.example",
            "turn:turn..example",
            "turn:256.0.0.1",
            "turn:1.2.3",
            "TURN:turn.example",
            "stun:stun.example",
            "turn.example",
            "turn:b\u{fc}cher.example",
        ] {
            assert!(check(url, Kind::Turn).is_err(), "{url}");
        }
        for url in ["stun:stun.example?transport=udp", "turn:turn.example", "stun:stun.example:70000"] {
            assert!(check(url, Kind::Stun).is_err(), "{url}");
        }
    }
}
