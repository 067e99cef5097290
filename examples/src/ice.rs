//! The STUN and TURN servers for a call.

use std::time::Duration;

use aldis_client::{Client, protocol::IceServer};
use futures::future::join_all;
use tokio::{net::lookup_host, time::timeout};
use webrtc::peer_connection::RTCIceServer;

/// How long a name may take to resolve. On one network none of these servers is needed, so nothing should wait for
/// them.
const RESOLVE: Duration = Duration::from_secs(1);
const DEFAULT_PORT: u16 = 3478;

/// Asks the server for its list, and leaves out servers whose name does not resolve: WebRTC would wait for it.
pub async fn reachable_servers(client: &Client) -> Vec<RTCIceServer> {
    only_reachable(client.ice_servers([]).await).await
}

/// Leaves out the URLs whose host does not resolve.
pub async fn only_reachable(servers: Vec<IceServer<'static>>) -> Vec<RTCIceServer> {
    let servers = join_all(servers.into_iter().map(reachable_part)).await;
    servers.into_iter().filter(|server| !server.urls.is_empty()).collect()
}

async fn reachable_part(server: IceServer<'static>) -> RTCIceServer {
    let found = join_all(server.urls.iter().map(|url| resolves(url))).await;
    let urls = server.urls.into_iter().zip(found).filter(|(_, found)| *found);
    RTCIceServer {
        urls: urls.map(|(url, _)| url.into_owned()).collect(),
        username: server.username.unwrap_or_default().into_owned(),
        credential: server.credential.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
    }
}

async fn resolves(url: &str) -> bool {
    let Some(host) = host_and_port(url) else { return false };
    let found = timeout(RESOLVE, lookup_host(host)).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

/// From `stun:host`, `turn:host:port?transport=udp` and the like.
fn host_and_port(url: &str) -> Option<String> {
    let (_scheme, rest) = url.split_once(':')?;
    let host = rest.split('?').next()?;
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
    });
    Some(if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_added() {
        for (url, expected) in [
            ("stun:stun.example.org", "stun.example.org:3478"),
            ("stun:stun.example.org:19302", "stun.example.org:19302"),
            ("turn:192.0.2.1:443?transport=udp", "192.0.2.1:443"),
            ("turn:[2001:db8::1]", "[2001:db8::1]:3478"),
            ("turn:[2001:db8::1]:5349", "[2001:db8::1]:5349"),
        ] {
            assert_eq!(host_and_port(url).as_deref(), Some(expected), "{url}");
        }
        assert_eq!(host_and_port("nothing"), None);
    }
}
