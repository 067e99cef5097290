//! What happens to networks and servers.

use aldis_tests::{Proxy, TestServer};

/// How often the network is cut.
pub(crate) const CUTS: usize = 20;
/// After so many cuts the server is killed and started again.
const CUTS_FOR_A_KILL: usize = 7;

/// Cuts one network after the other, and with each seventh cut, which is that of all, kills the server. Each time it
/// first waits until `enough` has happened for this cut, of this network.
pub(crate) async fn make(server: &TestServer, networks: &[&Proxy], enough: impl AsyncFn(usize, usize)) {
    for cut in 1..=CUTS {
        let next = cut % networks.len();
        enough(cut, next).await;
        if cut % CUTS_FOR_A_KILL == 0 {
            server.kill9();
            server.restart_same_port();
            for network in networks {
                network.cut();
            }
        } else {
            networks[next].cut();
        }
    }
}
