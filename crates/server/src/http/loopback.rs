//! The loopback names of a machine.

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Name and port of an authority that is loopback, spelt as browsers spell it.
pub(super) fn loopback(authority: &str) -> Option<(&'static str, Option<u16>)> {
    NAMES.into_iter().find_map(|name| {
        let rest = authority.strip_prefix(name)?;
        if rest.is_empty() {
            return Some((name, None));
        }
        port(rest.strip_prefix(':')?).map(|port| (name, Some(port)))
    })
}

/// Digits only: `parse` alone would take a plus sign.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::loopback;

    #[test]
    fn three_names_and_any_port() {
        assert_eq!(loopback("localhost"), Some(("localhost", None)));
        assert_eq!(loopback("127.0.0.1:8000"), Some(("127.0.0.1", Some(8000))));
        assert_eq!(loopback("[::1]:1"), Some(("[::1]", Some(1))));
    }

    #[test]
    fn nothing_that_only_looks_alike() {
        let foreign = [
            "",
            "localhost.evil.example",
            "localhost:",
            "localhost:0",
            "localhost:+1",
            "localhost:65536",
            "localhost:1:2",
            "evil.localhost",
            "user@localhost",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "::1",
            "[::1",
        ];
        for authority in foreign {
            assert_eq!(loopback(authority), None, "{authority}");
        }
    }
}
