//! The client library over networks that are cut and servers that are killed (docs/protocol/resume.md, order.md): what
//! is stored comes once and in order, and a client that was in a room is in it again.

mod mail;
mod outages;
mod person;
mod rooms;
mod trouble;

use std::time::Duration;

use aldis_tests::TestServer;

/// Messages that may wait for their `ack` at a time.
const UNDER_WAY: usize = 8;
/// For everything to have arrived; with it, for a request to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// On which everybody may reach everybody.
fn server() -> TestServer {
    TestServer::builder().env("ALDIS_ROUTING", "open").start()
}
