//! Checks `Origin`, compared exactly: which web pages may call.

use super::loopback::loopback;
use crate::config::{AllowedOrigin, Config};

/// Whether a request with this `Origin` and `Host` is allowed: to open a socket, or to let a page read the answer.
/// Clients other than web pages send no origin.
pub(crate) fn is_origin_allowed(config: &Config, origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    is_listed(config, origin)
        || is_own(config, origin, host)
        || (config.allowed_origins.is_empty() && is_loopback_origin(origin))
}

/// Whether a page came from this machine: `http` or `https`, a loopback name, any port.
fn is_loopback_origin(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.and_then(loopback).is_some()
}

fn is_listed(config: &Config, origin: &str) -> bool {
    config.allowed_origins.iter().any(|listed| match listed {
        AllowedOrigin::Exact(listed) => listed.as_str() == origin,
        AllowedOrigin::Loopback => is_loopback_origin(origin),
        AllowedOrigin::Null => origin == AllowedOrigin::NULL,
        AllowedOrigin::File => origin == AllowedOrigin::FILE,
    })
}

/// Only a loopback `Host` is accepted as the server's name; any other may be an attacker's that resolves to this
/// machine.
fn is_own(config: &Config, origin: &str, host: Option<&str>) -> bool {
    let scheme = if config.tls.is_some() { "https://" } else { "http://" };
    let same_host =
        host.is_some_and(|host| loopback(host).is_some() && origin.strip_prefix(scheme) == Some(host));
    same_host || config.public_origin.as_ref().is_some_and(|own| own.as_str() == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::config;

    const HOST: Option<&str> = Some("127.0.0.1:8000");

    fn allows(config: &Config, origin: &str) -> bool {
        is_origin_allowed(config, Some(origin), HOST)
    }

    #[test]
    fn loopback_pages_are_allowed_while_no_list_is_set() {
        let config = config(&[]);
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"] {
            assert!(allows(&config, origin), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "file://",
            "ftp://localhost",
            "localhost",
            "http://localhost/",
            "",
        ] {
            assert!(!allows(&config, origin), "{origin}");
        }
        assert!(is_origin_allowed(&config, None, HOST));
    }

    #[test]
    fn a_list_is_exact() {
        let config = config(&["--allowed-origins", "https://app.example"]);
        assert!(allows(&config, "https://app.example"));
        for origin in
            ["http://localhost:3000", "http://app.example", "https://app.example:8443", "null", "file://"]
        {
            assert!(!allows(&config, origin), "{origin}");
        }
    }

    #[test]
    fn a_list_for_production_locked_out_the_development_server() {
        let config = config(&["--allowed-origins", "https://app.example,loopback"]);
        for origin in ["https://app.example", "http://localhost:3000", "https://[::1]"] {
            assert!(allows(&config, origin), "{origin}");
        }
        assert!(!allows(&config, "http://localhost.evil.example"));
    }

    #[test]
    fn pages_without_an_origin_are_allowed_by_name() {
        let config = config(&["--allowed-origins", "null,file://"]);
        assert!(allows(&config, "null") && allows(&config, "file://"));
        for origin in ["NULL", "file:///", "file://localhost", "http://localhost"] {
            assert!(!allows(&config, origin), "{origin}");
        }
    }

    #[test]
    fn the_servers_own_pages_are_always_allowed() {
        let config =
            config(&["--public-origin", "https://aldis.example", "--allowed-origins", "https://app.example"]);
        assert!(allows(&config, "https://aldis.example"));
        assert!(allows(&config, "http://127.0.0.1:8000"));
        let evil = "http://evil.example";
        assert!(!is_origin_allowed(&config, Some(evil), Some("evil.example")));
    }
}
