//! The host names that the admin listener accepts. They keep web pages from reading it through a name of their own
//! that resolves to this machine (DNS rebinding).

use std::{net::IpAddr, sync::Arc};

use aldis_protocol::ErrorCode;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::header::HOST;

use super::{loopback::loopback, problem::Problem};
use crate::{config::Config, node::Node};

/// Refuses a request for another host name.
pub(super) async fn check(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| is_own(&node.config(), host)) {
        return next.run(request).await;
    }
    let detail = "the admin listener does not answer to this name; add it to ALDIS_ADMIN_NAMES";
    Problem::new(ErrorCode::Forbidden, detail).into_response()
}

fn is_own(config: &Config, host: &str) -> bool {
    loopback(host).is_some() || is_own_address(config, host) || is_listed(config, host)
}

/// A page whose host is an address came from that address. So a listener that is bound to all addresses accepts each
/// of them.
fn is_own_address(config: &Config, host: &str) -> bool {
    let bound = config.admin_listen.address.ip();
    address(host).is_some_and(|address| bound.is_unspecified() || address == bound)
}

fn is_listed(config: &Config, host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    config.admin_names.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// The address in an authority, with or without a port.
fn address(host: &str) -> Option<IpAddr> {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').and_then(|(address, _)| address.parse().ok()).map(IpAddr::V6);
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.parse().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::config;

    fn answers(flags: &[&str], host: &str) -> bool {
        is_own(&config(flags), host)
    }

    #[test]
    fn loopback_own_address_and_listed_names_are_accepted() {
        for host in ["localhost:19840", "127.0.0.1", "[::1]:19840"] {
            assert!(answers(&[], host), "{host}");
        }
        let flags = ["--admin-listen", "192.0.2.7:19840", "--admin-names", "aldis-metrics,aldis.example"];
        for host in ["192.0.2.7:19840", "aldis-metrics:19840", "ALDIS.example"] {
            assert!(answers(&flags, host), "{host}");
        }
        let everywhere = ["--admin-listen", "0.0.0.0:19840"];
        assert!(answers(&everywhere, "192.0.2.8:19840") && answers(&everywhere, "[2001:db8::1]:19840"));
    }

    #[test]
    fn a_page_of_another_name_that_resolves_to_this_machine_is_refused() {
        let listens = ["--admin-listen", "192.0.2.7:19840"];
        for host in ["evil.example", "evil.example:19840", "192.0.2.8", "localhost.evil.example", ""] {
            assert!(!answers(&listens, host), "{host}");
        }
        assert!(!answers(&["--admin-listen", "0.0.0.0:19840"], "evil.example:19840"));
    }
}
