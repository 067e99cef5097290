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
    config::{self, AdminListen, Config, ConfigError, LiveConfig, LogFilter, TlsFiles, key_file},
    drain,
    http::{admin_routes, routes},
    metrics::Process,
    node::Node,
    relay::Relay,
    session::sweep,
    shared::Shared,
    store::{Store, StoreError, StoreOptions, SweepClock},
    supervisor::{Supervisor, TaskEnded},
    transport::{Certificates, Listener, TlsError, doors, self_signed_files, serve},
};

/// A server with its address, database and keys. It serves once it is [`run`](Server::run).
pub struct Server {
    node: Arc<Node>,
    store: Arc<Store>,
    listener: Listener,
    address: SocketAddr,
    admin: Option<Admin>,
    tls: Option<Tls>,
}

/// The admin listener.
struct Admin {
    listener: Listener,
    address: SocketAddr,
}

struct Tls {
    certificates: Arc<Certificates>,
    acceptor: TlsAcceptor,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The key file cannot be created or used.
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
        /// The operating system's reason.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `SECRET_KEY` is too short.
    #[error("SECRET_KEY is too short; it needs at least 32 bytes")]
    SecretKeyTooShort,
}

impl Server {
    /// Creates or reads the key file, opens and migrates the database, and binds the address.
    ///
    /// # Errors
    /// [`StartError`]; its message says what to correct.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        Process::starts();
        let ring = key_file::load_or_create(&config.data_dir)?;
        let tls = Tls::of(&config)?;
        let opened = Store::open(&config.database_url, &StoreOptions::default()).await;
        let store = Arc::new(opened.map_err(|error| database(&config, &error))?);
        let node = node(config, &ring, &store).await?;
        let config = node.config();
        let listen = |source| StartError::Listen { address: config.listen, source };
        let listener = Listener::bind(config.listen, count_connection).map_err(listen)?;
        let address = listener.address().map_err(listen)?;
        let admin = Admin::bind(config.admin_listen)?;
        Ok(Self { node, store, listener, address, admin, tls })
    }

    /// The bound address, with the real port if the configured one was 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's URL for clients on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The URL of the metrics for operators on this machine. `None` if the default address was in use.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.admin.as_ref().map(|admin| format!("http://{}/metrics", admin.address))
    }

    /// The SHA-256 fingerprint of a self-signed certificate; `None` for any other.
    #[must_use]
    pub fn self_signed_fingerprint(&self) -> Option<String> {
        let is_self_signed = self.node.config().tls == Some(config::Tls::SelfSigned);
        self.tls.as_ref().filter(|_| is_self_signed).map(|tls| tls.certificates.fingerprint())
    }

    /// A handle that reloads settings and files while the server runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let certificates = self.tls.as_ref().map(|tls| Arc::clone(&tls.certificates));
        Reloader { config: self.node.live_config(), certificates }
    }

    /// Serves until `shutdown` completes, then drains: tells all clients and waits for their sessions to end.
    ///
    /// # Errors
    /// [`TaskEnded`] if a task that the server needs has failed; the server drains then, too.
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

/// The tasks that a node needs.
pub(crate) struct Tasks {
    /// The accept loops, which a drain ends.
    pub(crate) serving: Supervisor,
    /// The other tasks, which are stopped after the drain.
    pub(crate) background: Supervisor,
}

impl Tasks {
    /// Runs the tasks until `shutdown` completes or one of them fails, then drains the node and stops them.
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

    /// Drains a node, waits for its accept loops and running calls, and stops the other tasks.
    async fn stop(self, node: &Node, store: &Store) {
        let Self { mut serving, background } = self;
        let end = Instant::now() + SHUTDOWN;
        let last = end - STORE_CLOSES;
        drain::drain(node, last).await;
        if timeout_at(last, serving.ended()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        let calls = &node.relay.calls;
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

/// Reloads the configuration and the files of a running server.
#[derive(Debug, Clone)]
pub struct Reloader {
    config: Arc<LiveConfig>,
    certificates: Option<Arc<Certificates>>,
}

impl Reloader {
    /// Takes the settings that can change while the server runs, and reads the certificate and its key again. What
    /// cannot be used is logged, and the server keeps the old one. Returns the levels of the log from then on.
    pub fn reload(&self, fresh: Result<Config, ConfigError>) -> LogFilter {
        match fresh {
            Ok(fresh) => self.take(fresh),
            Err(error) => tracing::warn!("the settings stay as they are: {error}"),
        }
        if let Some(certificates) = &self.certificates {
            certificates.reload_soon();
        }
        self.config.current().log.clone()
    }

    fn take(&self, fresh: Config) {
        let changes = self.config.reload(fresh);
        for setting in &changes.at_restart {
            tracing::warn!("{setting} has changed; the server takes it at its next start");
        }
        tracing::info!(changed = ?changes.applied, "read the settings again");
    }
}

impl Admin {
    /// If the default address is in use, the server runs without metrics.
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
    fn of(config: &Config) -> Result<Option<Self>, TlsError> {
        match &config.tls {
            None => Ok(None),
            Some(config::Tls::Files(files)) => Self::load(files).map(Some),
            Some(config::Tls::SelfSigned) => match Self::load(&self_signed_files(config)?) {
                Err(TlsError::Pem { path, problem, .. }) => Err(TlsError::SelfSigned { path, problem }),
                loaded => loaded.map(Some),
            },
        }
    }

    fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let certificates = Certificates::load(files)?;
        let acceptor = certificates.acceptor()?;
        Ok(Self { certificates, acceptor })
    }
}

/// The time from the signal to the end, even if the database is unavailable.
const SHUTDOWN: Duration = Duration::from_millis(9_500);
/// The part of that time for closing the database.
const STORE_CLOSES: Duration = Duration::from_secs(1);
/// How often expired rows are deleted.
const STORE_SWEEP: Duration = Duration::from_secs(60);
/// How often a node reads revocations and changes.
const READ_REVOCATIONS: Duration = Duration::from_secs(1);
/// How often sessions are told what came to wait for their devices.
const TELL_PENDING: Duration = Duration::from_secs(1);
/// How often a node asks what others changed about who may reach whom.
const READ_RELATION_LOG: Duration = Duration::from_secs(1);
/// How often a node asks for the orders of operators.
const READ_ORDERS: Duration = Duration::from_secs(1);
/// How often a node looks for rotation windows that have ended.
const TELL_ROTATION_ENDS: Duration = Duration::from_secs(1);
/// How often the kinds of password hashes are counted at most.
const COUNT_HASH_KINDS: Duration = Duration::from_secs(5);
/// How often rate limits free unused memory.
const LIMITS_SWEEP: Duration = Duration::from_secs(60);
/// How often it is written down when devices were last connected, and users last seen.
const WRITE_LAST_SEEN: Duration = Duration::from_secs(5);

/// A node with an open store. It has read the revocations and the relation log.
pub(crate) async fn node(
    config: Config,
    ring: &KeyRing,
    store: &Arc<Store>,
) -> Result<Arc<Node>, StartError> {
    let shared = Shared::new(LiveConfig::new(config), Arc::clone(store));
    let config = shared.config.current();
    let accounts = Accounts::new(ring, &shared).map_err(|_| StartError::SecretKeyTooShort)?;
    let relay = Relay::new(&shared, Arc::new(accounts));
    relay.accounts.recall_revocations(Now::read()).await.map_err(|error| database(&config, &error))?;
    relay.recall_relations().await.map_err(|error| database(&config, &error))?;
    relay.recall_orders().await.map_err(|error| database(&config, &error))?;
    relay.accounts.count_hash_kinds().await.map_err(|error| database(&config, &error))?;
    Ok(Arc::new(Node::new(shared.config, relay)))
}

/// Starts the background tasks of a node.
pub(crate) fn background(node: &Arc<Node>, store: &Arc<Store>) -> Supervisor {
    let (accounts, relay) = (|| Arc::clone(&node.accounts), || Arc::clone(&node.relay));
    let mut background = Supervisor::default();
    background.spawn("session timer", sweep(relay(), session_memory(Arc::clone(node))));
    background.spawn("sweep", sweep_store(Arc::clone(store)));
    background.spawn("last seen", write_last_seen(accounts()));
    background.spawn("revocations", read_revocations(accounts()));
    background.spawn("notices", tell_pending(accounts()));
    background.spawn("confirmed notices", delete_confirmed_notices(accounts()));
    background.spawn("relation log", read_relation_log(relay()));
    background.spawn("orders", read_orders(relay()));
    background.spawn("presence of crowds", tell_crowds(relay()));
    background.spawn("states of rooms", tell_states(relay()));
    background.spawn("rotation ends", tell_rotation_ends(accounts()));
    background.spawn("delivery", relay().deliver_committed());
    background.spawn("limits", sweep_limits(Arc::clone(node)));
    background.spawn("writer", writer_ended(Arc::clone(store)));
    background.spawn("hash kinds", count_hash_kinds(accounts()));
    background
}

/// How many bytes sessions may hold at the moment. HTTP responses use the same memory but leave sessions at least half
/// of it: responses have their own limits and must not end other users' sessions.
fn session_memory(node: Arc<Node>) -> impl Fn() -> usize {
    move || {
        let memory = node.config().session_memory;
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

async fn read_orders(relay: Arc<Relay>) {
    let mut ticks = interval(READ_ORDERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = relay.read_orders().await {
            tracing::warn!(%error, "cannot read the orders of operators; trying again");
        }
    }
}

async fn delete_confirmed_notices(accounts: Arc<Accounts>) {
    loop {
        accounts.notices.confirmed_added().await;
        accounts.notices.delete_confirmed().await;
    }
}

async fn read_relation_log(relay: Arc<Relay>) {
    let mut ticks = interval(READ_RELATION_LOG);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = relay.read_relation_log().await {
            tracing::warn!(%error, "cannot read the relation log; trying again");
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

async fn tell_crowds(relay: Arc<Relay>) {
    relay.tell_crowds().await;
}

async fn tell_states(relay: Arc<Relay>) {
    relay.tell_states().await;
}

async fn sweep_limits(node: Arc<Node>) {
    let mut ticks = interval(LIMITS_SWEEP);
    loop {
        ticks.tick().await;
        let now = Now::read();
        node.limits.sweep(now);
        node.accounts.sweep_rates(now);
        node.relay.sweep_rates(now);
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
    node.relay.metrics.connections.add();
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
