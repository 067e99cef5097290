//! The client library over networks that are cut and servers that are killed (docs/protocol/resume.md, order.md):
//! stored messages arrive once and in order, and a client that was in a room joins it again.

mod mail;
mod outages;
mod person;
mod rooms;
mod trouble;

use std::time::Duration;

use aldis_tests::TestServer;

/// How many messages can wait for their `ack` at a time.
const UNDER_WAY: usize = 8;
/// The time for all messages to arrive, and for a request to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server on which all users can reach each other.
fn server() -> TestServer {
    TestServer::builder().env("ALDIS_ROUTING", "open").start()
}
