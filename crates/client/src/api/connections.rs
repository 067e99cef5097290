//! The connections of calls, kept for the next call.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{CallError, dial::Route};

/// A server closes an idle connection after 15 s. Dropping it earlier makes a closed one rare.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// Connections to one server, busy and idle.
pub(super) const CONNECTIONS: usize = 8;
/// A response's header.
const HEADER_BYTES: usize = 64 * 1024;
const HEADERS: usize = 64;

/// The idle connections to one server.
pub(super) struct Connections(Mutex<Vec<Idle>>);

/// A connection, and the task that drives it and ends with it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
    /// Whether it has carried a call before.
    pub(super) is_used: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Connections {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The connection that was used last, if one is left that seems open.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE_FOR && !idle.connection.sender.is_closed());
        idle.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < CONNECTIONS && !connection.sender.is_closed() {
            idle.push(Idle { connection: Connection { is_used: true, ..connection }, since: Instant::now() });
        }
    }
}

impl Connection {
    pub(super) async fn open(route: &Route) -> Result<Self, CallError> {
        let stream = TokioIo::new(route.open().await?);
        let (sender, driver) = Builder::new()
            .max_buf_size(HEADER_BYTES)
            .max_headers(HEADERS)
            .handshake(stream)
            .await
            .map_err(|error| CallError::Broken(error.to_string()))?;
        // The call on it reports how it ended.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver), is_used: false })
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}
