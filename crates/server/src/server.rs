//! The server as a whole: bind, run, stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use aldis_auth::KeyRing;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    clock::{Now, unix_ms_i64},
    config::{AdminListen, Config, key_file},
    drain,
    http::{admin_routes, routes},
    node::Node,
    router::{RotationEnds, Router},
    session::sweep,
    store::{Store, StoreError, StoreOptions, SweepClock},
    transport::{Certificates, Listener, TlsError, doors, serve},
};

/// A server that has its address, its database and its keys, and serves once it is [`run`](Server::run).
pub struct Server {
    node: Arc<Node>,
    store: Arc<Store>,
    listener: Listener,
    address: SocketAddr,
    admin: Option<Admin>,
    tls: Option<Tls>,
}

/// Where operators read metrics.
struct Admin {
    listener: Listener,
    address: SocketAddr,
}

struct Tls {
    certificates: Arc<Certificates>,
    acceptor: TlsAcceptor,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The key file cannot be made or used.
    #[error(transparent)]
    KeyFile(#[from] key_file::KeyFileError),
    /// The database cannot be opened.
    #[error("{0}")]
    Database(String),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `SECRET_KEY` is too short.
    #[error("SECRET_KEY is too short; it needs at least 32 bytes")]
    SecretKeyTooShort,
}

impl Server {
    /// Makes or reads the key file, opens the database and brings it up to date, and binds the address.
    ///
    /// # Errors
    /// [`StartError`], which names what to mend.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let ring = key_file::load_or_create(&config.data_dir)?;
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;
        let opened = Store::open(&config.database_url, &StoreOptions::default()).await;
        let store = Arc::new(opened.map_err(|error| database(&config, &error))?);
        let node = node(config, &ring, &store).await?;
        let listen = |source| StartError::Listen { address: node.config.listen, source };
        let listener = Listener::bind(node.config.listen, count_connection).map_err(listen)?;
        let address = listener.address().map_err(listen)?;
        let admin = Admin::bind(node.config.admin_listen)?;
        Ok(Self { node, store, listener, address, admin, tls })
    }

    /// The address that was bound, with the port that port 0 became.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients on this machine find it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where operators on this machine read its metrics. None where the address that is the default was taken.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.admin.as_ref().map(|admin| format!("http://{}/metrics", admin.address))
    }

    /// What has its files read again while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(self.tls.as_ref().map(|tls| Arc::clone(&tls.certificates)))
    }

    /// Serves until `shutdown` ends, then drains: sends everybody away in good order and waits for it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { node, store, listener, admin, tls, .. } = self;
        let mut background = background(&node, &store);
        let mut serving = JoinSet::new();
        let acceptor = tls.map(|tls| {
            background.spawn(tls.certificates.keep_fresh());
            tls.acceptor
        });
        if let Some(admin) = admin {
            let routes = admin_routes(Arc::clone(&node));
            serving.spawn(serve(admin.listener, None, Arc::clone(&node), routes));
        }
        let routes = routes(Arc::clone(&node), doors::<TcpStream>(&node));
        serving.spawn(serve(listener, acceptor, Arc::clone(&node), routes));
        shutdown.await;
        stop(&node, &store, serving, background).await;
    }
}

/// Has a running server read its files again.
#[derive(Debug, Clone)]
pub struct Reloader(Option<Arc<Certificates>>);

impl Reloader {
    /// Reads the certificate and its key again. What cannot be used leaves the old certificate in place and is logged.
    pub fn reload(&self) {
        match &self.0 {
            Some(certificates) => certificates.reload_soon(),
            None => tracing::info!("asked to read files again; without TLS there are none"),
        }
    }
}

impl Admin {
    /// Where nobody asked for the address, a server without metrics is better than none.
    fn bind(listen: AdminListen) -> Result<Option<Self>, StartError> {
        let AdminListen { address, explicit } = listen;
        let bound = Listener::bind(address, |_| {})
            .and_then(|listener| listener.address().map(|address| Self { listener, address }));
        match bound {
            Ok(admin) => Ok(Some(admin)),
            Err(source) if explicit => Err(StartError::Listen { address, source }),
            Err(error) => {
                tracing::warn!(%address, %error, "cannot serve metrics; choose an address with ALDIS_ADMIN_LISTEN");
                Ok(None)
            }
        }
    }
}

impl Tls {
    fn load(files: &crate::config::TlsFiles) -> Result<Self, TlsError> {
        let certificates = Certificates::load(files)?;
        let acceptor = certificates.acceptor()?;
        Ok(Self { certificates, acceptor })
    }
}

/// How long everything may take from the signal to the end, a database that is away included.
const SHUTDOWN: Duration = Duration::from_millis(9_500);
/// How often expired rows are deleted.
const STORE_SWEEP: Duration = Duration::from_secs(60);
/// How often a node asks what others revoked or changed.
const READ_REVOCATIONS: Duration = Duration::from_secs(1);
/// How often sessions are told what came to wait for their devices.
const TELL_UNTOLD: Duration = Duration::from_secs(1);
/// How often a node asks what others changed about who may reach whom.
const READ_STANDINGS: Duration = Duration::from_secs(1);
/// How often a node looks for rotations whose window has ended.
const TELL_ROTATION_ENDS: Duration = Duration::from_secs(1);
/// How often limits that are not used give back their memory.
const LIMITS_SWEEP: Duration = Duration::from_secs(60);
/// How often it is written down when devices were last connected, and users last seen.
const WRITE_SEEN: Duration = Duration::from_secs(5);

/// A node over an open store, which knows what was revoked and who may reach whom.
pub(crate) async fn node(
    config: Config,
    ring: &KeyRing,
    store: &Arc<Store>,
) -> Result<Arc<Node>, StartError> {
    let router = Router::new(&config, ring, Arc::clone(store)).map_err(|_| StartError::SecretKeyTooShort)?;
    router.recall_revocations().await.map_err(|error| database(&config, &error))?;
    router.recall_standings().await.map_err(|error| database(&config, &error))?;
    Ok(Arc::new(Node::new(config, Arc::new(router))))
}

/// Begins what a node does besides serving.
pub(crate) fn background(node: &Arc<Node>, store: &Arc<Store>) -> JoinSet<()> {
    let mut background = JoinSet::new();
    background.spawn(sweep(Arc::clone(&node.router), node.config.session_memory));
    background.spawn(sweep_store(Arc::clone(store)));
    background.spawn(write_seen(Arc::clone(&node.router)));
    background.spawn(read_revocations(Arc::clone(&node.router)));
    background.spawn(tell_untold(Arc::clone(&node.router)));
    background.spawn(read_standings(Arc::clone(&node.router)));
    background.spawn(tell_crowds(Arc::clone(&node.router)));
    background.spawn(tell_rotation_ends(Arc::clone(&node.router)));
    background.spawn(Arc::clone(&node.router).deliver_committed());
    background.spawn(sweep_limits(Arc::clone(node)));
    background
}

/// Drains a node, waits for its accept loops, and ends the rest.
pub(crate) async fn stop(node: &Node, store: &Store, mut serving: JoinSet<()>, mut background: JoinSet<()>) {
    let end = Instant::now() + SHUTDOWN;
    drain::drain(node).await;
    while let Some(ended) = serving.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "an accept loop failed");
        }
    }
    background.shutdown().await;
    let closing = async {
        node.router.write_seen().await;
        store.close().await;
    };
    if timeout_at(end, closing).await.is_err() {
        tracing::warn!(
            "the database did not take what was left to write in time; none of it was acknowledged"
        );
    }
}

async fn write_seen(router: Arc<Router>) {
    let mut ticks = interval(WRITE_SEEN);
    loop {
        ticks.tick().await;
        router.write_seen().await;
    }
}

async fn read_revocations(router: Arc<Router>) {
    let mut ticks = interval(READ_REVOCATIONS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = router.read_revocations().await {
            tracing::warn!(%error, "cannot read revocations; trying again");
        }
    }
}

async fn tell_untold(router: Arc<Router>) {
    let mut ticks = interval(TELL_UNTOLD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        router.tell_untold().await;
    }
}

async fn read_standings(router: Arc<Router>) {
    let mut ticks = interval(READ_STANDINGS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = router.read_standings().await {
            tracing::warn!(%error, "cannot read who may reach whom by now; trying again");
        }
    }
}

async fn tell_rotation_ends(router: Arc<Router>) {
    let mut ends = RotationEnds::after(unix_ms_i64());
    let mut ticks = interval(TELL_ROTATION_ENDS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = router.tell_rotation_ends(&mut ends, unix_ms_i64()).await {
            tracing::warn!(%error, "cannot read which rotations have become final; trying again");
        }
    }
}

async fn tell_crowds(router: Arc<Router>) {
    router.tell_crowds().await;
}

async fn sweep_limits(node: Arc<Node>) {
    let mut ticks = interval(LIMITS_SWEEP);
    loop {
        ticks.tick().await;
        let now = Now::read();
        node.limits.sweep(now);
        node.router.sweep_rates(now);
    }
}

fn count_connection(node: &Node) {
    node.router.metrics.connections.add();
}

async fn sweep_store(store: Arc<Store>) {
    let mut clock = SweepClock::default();
    let mut ticks = interval(STORE_SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = store.sweep_by(&mut clock, Now::read()).await {
            tracing::warn!(%error, "cannot delete all expired rows; trying again");
        }
    }
}

fn database(config: &Config, error: &StoreError) -> StartError {
    StartError::Database(config.database_url.explain(error))
}
