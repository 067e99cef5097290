//! The server as a whole: bind, run, stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use aldis_auth::KeyRing;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    accounts::{Accounts, RotationEnds},
    clock::Now,
    config::{AdminListen, Config, key_file},
    drain,
    http::{admin_routes, routes},
    node::Node,
    router::Router,
    session::sweep,
    shared::Shared,
    store::{Store, StoreError, StoreOptions, SweepClock},
    supervisor::{Supervisor, TaskEnded},
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
    ///
    /// # Errors
    /// [`TaskEnded`] where a task that the server needs has failed: it drains for that, too.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), TaskEnded> {
        let background = background(&self.node, &self.store);
        self.run_with(background, shutdown).await
    }

    async fn run_with(
        self,
        mut background: Supervisor,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), TaskEnded> {
        let Self { node, store, listener, admin, tls, .. } = self;
        let mut serving = Supervisor::default();
        let acceptor = tls.map(|tls| {
            background.spawn("certificates", tls.certificates.keep_fresh());
            tls.acceptor
        });
        if let Some(admin) = admin {
            let routes = admin_routes(Arc::clone(&node));
            serving.spawn("admin listener", serve(admin.listener, None, Arc::clone(&node), routes));
        }
        let routes = routes(Arc::clone(&node), doors::<TcpStream>(&node));
        serving.spawn("listener", serve(listener, acceptor, Arc::clone(&node), routes));
        let tasks = Tasks { serving, background };
        tasks.run(&node, &store, shutdown).await
    }
}

/// The tasks of a node that must live.
pub(crate) struct Tasks {
    /// The accept loops, which end with a drain.
    pub(crate) serving: Supervisor,
    /// The others, which are stopped after it.
    pub(crate) background: Supervisor,
}

impl Tasks {
    /// Lets them run until `shutdown` ends or one of them fails, then drains the node and ends them.
    ///
    /// # Errors
    /// The task that failed.
    pub(crate) async fn run(
        mut self,
        node: &Node,
        store: &Store,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), TaskEnded> {
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            failure = self.serving.failure() => Err(failure),
            failure = self.background.failure() => Err(failure),
        };
        if let Err(failure) = &outcome {
            tracing::error!("{failure}; the server stops");
        }
        self.stop(node, store).await;
        outcome
    }

    /// Drains a node, waits for its accept loops and for the calls under way, and ends the rest.
    async fn stop(self, node: &Node, store: &Store) {
        let Self { mut serving, background } = self;
        let end = Instant::now() + SHUTDOWN;
        let last = end - STORE_CLOSES;
        drain::drain(node, last).await;
        if timeout_at(last, serving.ended()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        let calls = &node.router.calls;
        if timeout_at(last, calls.ended()).await.is_err() {
            tracing::warn!(left = calls.len(), "some calls did not end in time");
        }
        background.shutdown().await;
        let closing = async {
            node.accounts.write_last_seen().await;
            store.close().await;
        };
        if timeout_at(end, closing).await.is_err() {
            tracing::warn!(
                "the database did not take what was left to write in time; none of it was acknowledged"
            );
        }
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
/// What of that is left for closing the database.
const STORE_CLOSES: Duration = Duration::from_secs(1);
/// How often expired rows are deleted.
const STORE_SWEEP: Duration = Duration::from_secs(60);
/// How often a node asks what others revoked or changed.
const READ_REVOCATIONS: Duration = Duration::from_secs(1);
/// How often sessions are told what came to wait for their devices.
const TELL_PENDING: Duration = Duration::from_secs(1);
/// How often a node asks what others changed about who may reach whom.
const READ_STANDINGS: Duration = Duration::from_secs(1);
/// How often a node looks for rotations whose window has ended.
const TELL_ROTATION_ENDS: Duration = Duration::from_secs(1);
/// How often the kinds of password hashes are counted, at the most.
const COUNT_HASH_KINDS: Duration = Duration::from_secs(5);
/// How often limits that are not used give back their memory.
const LIMITS_SWEEP: Duration = Duration::from_secs(60);
/// How often it is written down when devices were last connected, and users last seen.
const WRITE_LAST_SEEN: Duration = Duration::from_secs(5);

/// A node over an open store, which knows what was revoked and who may reach whom.
pub(crate) async fn node(
    config: Config,
    ring: &KeyRing,
    store: &Arc<Store>,
) -> Result<Arc<Node>, StartError> {
    let shared = Shared::new(Arc::clone(store));
    let accounts = Accounts::new(&config, ring, &shared).map_err(|_| StartError::SecretKeyTooShort)?;
    let router = Router::new(&config, &shared, Arc::new(accounts));
    router.accounts.recall_revocations(Now::read()).await.map_err(|error| database(&config, &error))?;
    router.recall_standings().await.map_err(|error| database(&config, &error))?;
    router.accounts.count_hash_kinds().await.map_err(|error| database(&config, &error))?;
    Ok(Arc::new(Node::new(config, router)))
}

/// Begins what a node does besides serving.
pub(crate) fn background(node: &Arc<Node>, store: &Arc<Store>) -> Supervisor {
    let (accounts, router) = (|| Arc::clone(&node.accounts), || Arc::clone(&node.router));
    let mut background = Supervisor::default();
    background.spawn("session timer", sweep(router(), session_memory(Arc::clone(node))));
    background.spawn("sweep", sweep_store(Arc::clone(store)));
    background.spawn("last seen", write_last_seen(accounts()));
    background.spawn("revocations", read_revocations(accounts()));
    background.spawn("notices", tell_pending(accounts()));
    background.spawn("standings", read_standings(router()));
    background.spawn("presence of crowds", tell_crowds(router()));
    background.spawn("states of rooms", tell_states(router()));
    background.spawn("rotation ends", tell_rotation_ends(accounts()));
    background.spawn("delivery", router().deliver_committed());
    background.spawn("limits", sweep_limits(Arc::clone(node)));
    background.spawn("writer", writer_ended(Arc::clone(store)));
    background.spawn("hash kinds", count_hash_kinds(accounts()));
    background
}

/// How many bytes sessions may hold by now. What HTTP answers hold comes from the same memory, and leaves sessions half of
/// it: answers have limits of their own, and must not end the sessions of others.
fn session_memory(node: Arc<Node>) -> impl Fn() -> usize {
    move || {
        let memory = node.config.session_memory;
        memory.saturating_sub(node.limits.answers.held()).max(memory / 2)
    }
}

async fn writer_ended(store: Arc<Store>) {
    store.writer_ended().await;
}

async fn write_last_seen(accounts: Arc<Accounts>) {
    let mut ticks = interval(WRITE_LAST_SEEN);
    loop {
        ticks.tick().await;
        accounts.write_last_seen().await;
    }
}

async fn read_revocations(accounts: Arc<Accounts>) {
    let mut ticks = interval(READ_REVOCATIONS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = accounts.read_revocations(Now::read()).await {
            tracing::warn!(%error, "cannot read revocations; trying again");
        }
    }
}

async fn tell_pending(accounts: Arc<Accounts>) {
    let mut ticks = interval(TELL_PENDING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = accounts.notices.pending_added() => {}
        }
        accounts.notices.tell_pending(Now::read()).await;
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

async fn tell_rotation_ends(accounts: Arc<Accounts>) {
    let mut ends = RotationEnds::after(Now::read());
    let mut ticks = interval(TELL_ROTATION_ENDS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = accounts.tell_rotation_ends(&mut ends, Now::read()).await {
            tracing::warn!(%error, "cannot read which rotations have become final; trying again");
        }
    }
}

async fn tell_crowds(router: Arc<Router>) {
    router.tell_crowds().await;
}

async fn tell_states(router: Arc<Router>) {
    router.tell_states().await;
}

async fn sweep_limits(node: Arc<Node>) {
    let mut ticks = interval(LIMITS_SWEEP);
    loop {
        ticks.tick().await;
        let now = Now::read();
        node.limits.sweep(now);
        node.accounts.sweep_rates(now);
        node.router.sweep_rates(now);
    }
}

/// Accounts may be imported beside a running server. Counting reads every account, so it takes at most a hundredth of the
/// time.
async fn count_hash_kinds(accounts: Arc<Accounts>) {
    loop {
        let start = Instant::now();
        if let Err(error) = accounts.count_hash_kinds().await {
            tracing::warn!(%error, "cannot count the kinds of password hashes; trying again");
        }
        sleep(COUNT_HASH_KINDS.max(start.elapsed().saturating_mul(100))).await;
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

#[cfg(test)]
mod tests;
