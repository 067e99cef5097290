//! The name of this server that challenges are bound to.

use aldis_auth::audience_of;
use aldis_protocol::ErrorCode;
use http::{HeaderMap, header::HOST};

use super::loopback::loopback;
use crate::{config::Config, refusal::Refusal};

const PUBLIC_ORIGIN_REQUIRED: Refusal = Refusal::new(
    ErrorCode::PublicOriginRequired,
    "the server does not know its public name; set ALDIS_PUBLIC_ORIGIN, or call it by a loopback name",
);

/// The configured name. Without one, a loopback name as the client sent it. Any other name would be the client's
/// claim, which an attacker who relays a challenge could make too.
pub(crate) fn audience(config: &Config, headers: &HeaderMap) -> Result<String, Refusal> {
    if let Some(origin) = &config.public_origin {
        return Ok(origin.audience().to_owned());
    }
    let host = only_host(headers).ok_or(PUBLIC_ORIGIN_REQUIRED)?.to_ascii_lowercase();
    let (name, port) = loopback(&host).ok_or(PUBLIC_ORIGIN_REQUIRED)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Ok(audience_of(scheme, name, port))
}

fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::tests::config;

    fn asked(config: &Config, hosts: &[&str]) -> Result<String, ErrorCode> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        audience(config, &headers).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_loopback_host_is_taken_as_sent() {
        let config = config(&[]);
        for (host, audience) in [
            ("localhost:8000", "localhost:8000"),
            ("LOCALHOST:80", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(asked(&config, &[host]).as_deref(), Ok(audience));
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        let config = config(&[]);
        for hosts in [&["aldis.example"][..], &[], &["localhost", "localhost"], &["localhost.aldis.example"]]
        {
            assert_eq!(asked(&config, hosts), Err(ErrorCode::PublicOriginRequired), "{hosts:?}");
        }
    }

    #[test]
    fn the_configured_name_wins() {
        let config = config(&["--public-origin", "https://relay.example:8443"]);
        for hosts in [&["localhost"][..], &["evil.example"], &[]] {
            assert_eq!(asked(&config, hosts).as_deref(), Ok("relay.example:8443"));
        }
    }
}
