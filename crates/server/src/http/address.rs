//! The client address against which a request counts.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aldis_protocol::ErrorCode;
use axum::extract::{ConnectInfo, FromRequestParts};
use http::{Extensions, HeaderMap, HeaderName, request::Parts};

use super::problem::Problem;
use crate::{config::Config, node::Node, rate::AddressKey};

/// The client address of a request, given its peer's address.
pub(crate) fn caller_address(
    config: &Config,
    extensions: &Extensions,
    headers: &HeaderMap,
) -> Result<AddressKey, Problem> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let ConnectInfo(peer) = peer.ok_or_else(|| Problem::new(ErrorCode::Internal, "the server failed"))?;
    Ok(client_address(config, *peer, headers))
}

impl FromRequestParts<Arc<Node>> for AddressKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        caller_address(&node.config(), &parts.extensions, &parts.headers)
    }
}

/// The peer's address, or the one that the configured number of proxies saw.
fn client_address(config: &Config, peer: SocketAddr, headers: &HeaderMap) -> AddressKey {
    match config.trusted_proxy_hops {
        0 => {
            warn_of_unused(headers);
            peer.ip()
        }
        hops => forwarded(headers, hops.into()).unwrap_or_else(|| peer.ip()),
    }
    .into()
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Each proxy appends the address that it saw, so only the last `hops` entries are trustworthy; anybody may have
/// written the others. A shorter list came through fewer proxies.
fn forwarded(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    entries.take(hops).last().and_then(|entry| address(entry.trim()))
}

/// Some proxies write the port, too.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

fn warn_of_unused(headers: &HeaderMap) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // No `Once`: a panic inside would poison it, and fail every later request.
    if headers.contains_key(X_FORWARDED_FOR) && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "requests carry X-Forwarded-For, which is ignored; if your proxy sets it, set \
             ALDIS_TRUSTED_PROXY_HOPS, otherwise all clients of the proxy share one address's limits"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::tests::config;

    fn seen(hops: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let config = config(&["--trusted-proxy-hops", hops]);
        client_address(&config, "192.0.2.1:5".parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_header_is_ignored_without_proxies() {
        assert_eq!(seen("0", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn only_the_entries_of_proxies_count() {
        assert_eq!(seen("1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("2", &["203.0.113.9", "198.51.100.7 ,198.51.100.8"]), "198.51.100.7");
        assert_eq!(seen("2", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("1", &["198.51.100.7:1234"]), "198.51.100.7");
        for malformed in ["", "198.51.100.7, unknown", "198.51.100.7,"] {
            assert_eq!(seen("1", &[malformed]), "192.0.2.1", "{malformed}");
        }
        assert_eq!(seen("1", &[]), "192.0.2.1");
    }

    #[test]
    fn ipv6_counts_by_64() {
        assert_eq!(seen("1", &["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
        assert_eq!(seen("1", &["[2001:db8:1:2::9]:443"]), "2001:db8:1:2::");
        assert_eq!(seen("1", &["[2001:db8:1:2::9]"]), "2001:db8:1:2::");
        assert_eq!(seen("1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }
}
