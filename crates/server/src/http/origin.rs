//! Which web pages may call: `Origin`, compared exactly.

use super::loopback::loopback;
use crate::config::Config;

/// Whether a page may read what the HTTP API answers.
pub(super) fn may_read(config: &Config, origin: &str) -> bool {
    is_listed(config, origin) || is_loopback_origin(origin)
}

/// Whether an upgrade may go on that shows this `Origin` and `Host`. What is no web page shows no origin.
pub(crate) fn socket_origin_allowed(config: &Config, origin: Option<&str>, host: Option<&str>) -> bool {
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
    config.allowed_origins.iter().any(|listed| listed.as_str() == origin)
}

/// Only a loopback `Host` is taken for the server's name: any other may be a stranger's that resolves to this machine.
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

    #[test]
    fn loopback_pages_may_do_everything_while_no_list_is_set() {
        let config = config(&[]);
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"] {
            assert!(
                may_read(&config, origin) && socket_origin_allowed(&config, Some(origin), HOST),
                "{origin}"
            );
        }
        for origin in
            ["https://evil.example", "null", "ftp://localhost", "localhost", "http://localhost/", ""]
        {
            assert!(!may_read(&config, origin), "{origin}");
            assert!(!socket_origin_allowed(&config, Some(origin), HOST), "{origin}");
        }
        assert!(socket_origin_allowed(&config, None, HOST));
    }

    #[test]
    fn a_list_is_exact_and_shuts_loopback_pages_out_of_sockets() {
        let config = config(&["--allowed-origins", "https://app.example"]);
        assert!(socket_origin_allowed(&config, Some("https://app.example"), HOST));
        assert!(may_read(&config, "http://localhost:3000"));
        for origin in ["http://localhost:3000", "http://app.example", "https://app.example:8443"] {
            assert!(!socket_origin_allowed(&config, Some(origin), HOST), "{origin}");
        }
    }

    #[test]
    fn the_servers_own_pages_may_always_open_sockets() {
        let config =
            config(&["--public-origin", "https://aldis.example", "--allowed-origins", "https://app.example"]);
        assert!(socket_origin_allowed(&config, Some("https://aldis.example"), HOST));
        assert!(socket_origin_allowed(&config, Some("http://127.0.0.1:8000"), HOST));
        assert!(!socket_origin_allowed(&config, Some("http://evil.example"), Some("evil.example")));
    }
}
