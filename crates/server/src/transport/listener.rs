//! The accept loop: serves each connection as HTTP/1.1 under deadlines until it ends or is upgraded.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, response::Response};
use http::{HeaderValue, StatusCode, header::CONNECTION};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{unconstrained, yield_now},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    accept::{Accept, ByteStream},
    connections::{Connections, Place},
    heads::{HeadWatch, Heads},
    http_deadlines::{HttpDeadlines, HttpStream},
    io::{Io, Metered},
};
use crate::{
    clock::next_in_order,
    http::{BareLineFeed, hold},
    node::Node,
    rate::{AddressKey, Limit},
};

/// How many connections the kernel queues; enough for a burst of reconnects.
const BACKLOG: u32 = 4096;
/// How many connections are accepted before other tasks run.
const ACCEPTED_AT_ONCE: usize = 1_024;
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a request that is running when the server stops may take to be answered.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// How long to wait for connections to end when the process has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// The most that hyper accepts; the routes refuse smaller heads with a proper response.
const HEADER_BYTES: usize = 64 * 1024;
const HEADERS: usize = 256;

/// A listener with a bound address.
#[derive(Debug)]
pub(crate) struct Listener<L = TcpListener> {
    socket: L,
    accepted: Accepted,
}

/// Called for each accepted connection before anything is read from it.
pub(crate) type Accepted = fn(&Node);

impl Listener {
    /// Binds the address; port 0 takes a free one.
    pub(crate) fn bind(address: SocketAddr, accepted: Accepted) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::new(socket.listen(BACKLOG)?, accepted))
    }

    /// The bound address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl<L> Listener<L> {
    /// Listens on a bound socket.
    pub(crate) fn new(socket: L, accepted: Accepted) -> Self {
        Self { socket, accepted }
    }
}

/// The number of a request in the order in which requests arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct CameIn(pub(super) u64);

/// Serves connections until the node stops, and waits for those that are still running.
pub(crate) async fn serve<L: Accept>(
    listener: Listener<L>,
    tls: Option<TlsAcceptor>,
    node: Arc<Node>,
    routes: Router,
) {
    let config = node.config();
    let serving = Serving {
        connections: Connections::new(config.rate_limits, config.is_behind_proxy()),
        tasks: TaskTracker::new(),
        tls,
        node,
        routes,
    };
    let stop = serving.node.stop.clone();
    stop.run_until_cancelled(serving.accept_all(&listener)).await;
    serving.tasks.close();
    serving.tasks.wait().await;
}

/// What serves the connections of a listener.
struct Serving {
    connections: Arc<Connections>,
    tasks: TaskTracker,
    tls: Option<TlsAcceptor>,
    node: Arc<Node>,
    routes: Router,
}

impl Serving {
    /// Accepts connections as fast as they come, so that the kernel's queue does not run over.
    async fn accept_all<L: Accept>(&self, listener: &Listener<L>) {
        loop {
            // The runtime would interrupt it earlier.
            unconstrained(async {
                for _ in 0..ACCEPTED_AT_ONCE {
                    let (stream, peer) = accept(&listener.socket).await;
                    // Drawn here, before the tasks of two connections race each other.
                    let order = next_in_order();
                    (listener.accepted)(&self.node);
                    self.admit(stream, peer, order);
                }
            })
            .await;
            yield_now().await;
        }
    }

    /// Serves a connection, or closes it if there are too many.
    fn admit<S: ByteStream>(&self, stream: S, peer: SocketAddr, order: u64) {
        let node = Arc::clone(&self.node);
        let Ok(admitted) = self.connections.admit(AddressKey::from(peer.ip())) else {
            return node.relay.metrics.limited(Limit::Connections);
        };
        let (tls, routes) = (self.tls.clone(), self.routes.clone());
        self.tasks.spawn(async move {
            let place = match node.stop.run_until_cancelled(admitted.turn()).await {
                Some(Ok(place)) => place,
                Some(Err(_)) => return node.relay.metrics.limited(Limit::Connections),
                None => return,
            };
            // Boxed: a connection that waits for its turn does not need the memory.
            Box::pin(serve_connection(stream, (peer, order), Arc::new(place), tls, routes, &node)).await;
        });
    }
}

async fn accept<L: Accept>(socket: &L) -> (L::Stream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

async fn serve_connection<S: ByteStream>(
    stream: S,
    (peer, order): (SocketAddr, u64),
    place: Arc<Place>,
    tls: Option<TlsAcceptor>,
    routes: Router,
    node: &Node,
) {
    let (stream, stop) = (Metered::new(stream), &node.stop);
    let (io, order) = match tls {
        None => (Io::Plain(stream), order),
        Some(acceptor) => {
            let accepted = stop.run_until_cancelled(timeout(TLS_HANDSHAKE, acceptor.accept(stream))).await;
            let Some(Ok(Ok(stream))) = accepted else { return };
            // For a TLS handshake it is unknown when its last bytes arrived.
            (Io::Tls(Box::new(stream)), 0)
        }
    };
    let (heads, head_watch) = Heads::new(io);
    let (stream, deadlines) = HttpStream::new(heads, order, place, node.config().is_behind_proxy());
    let http = serve_http(stream, (Arc::clone(&deadlines), head_watch), peer, routes, stop);
    tokio::select! {
        () = deadlines.expired() => {}
        () = http => {}
    }
}

/// Serves until the connection ends. When told to stop, it accepts no more requests and answers the current one.
async fn serve_http<S: ByteStream>(
    stream: HttpStream<Heads<Io<S>>>,
    (deadlines, head_watch): (Arc<HttpDeadlines>, Arc<HeadWatch>),
    peer: SocketAddr,
    routes: Router,
    stop: &CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (has_bare_line_feed, is_last) = head_watch.begin_request(request.headers());
        if has_bare_line_feed {
            request.extensions_mut().insert(BareLineFeed);
        }
        let (mut routes, deadlines) = (routes.clone(), Arc::clone(&deadlines));
        async move {
            request.extensions_mut().insert(CameIn(deadlines.begin_request()));
            request.extensions_mut().insert(deadlines.place());
            let Ok(mut response) = routes.call(request).await;
            if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(until_sent(response, deadlines))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// Reports the end of the body. An upgraded connection answers no further request.
fn until_sent(response: Response, deadlines: Arc<HttpDeadlines>) -> Response {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        deadlines.upgrade();
        return response;
    }
    hold(response, Sent(deadlines))
}

/// Reports the end of a response.
struct Sent(Arc<HttpDeadlines>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.end_response();
    }
}
