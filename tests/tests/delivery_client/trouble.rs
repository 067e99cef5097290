//! Faults of networks and servers.

use aldis_tests::{Proxy, TestServer};

/// How often a network is cut.
pub(crate) const CUTS: usize = 20;
/// After this many cuts the server is killed and restarted.
const CUTS_FOR_A_KILL: usize = 7;

/// Cuts one network after another. Each seventh cut affects all networks and kills the server. Before each cut it
/// waits until `enough` has happened on that network.
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
