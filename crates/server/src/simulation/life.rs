//! One run of the server's process.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use turmoil::net::{TcpListener, TcpStream};

use super::network::{FASTER, PORT, SERVER};
use crate::{
    config::{Config, Loaded, key_file},
    http::routes,
    node::Node,
    server::{self, Tasks},
    store::{Store, StoreOptions},
    supervisor::Supervisor,
    transport::{Accept, Listener, doors, serve},
};

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

/// From start to crash or end. The database is in a file that outlives it and has its own threads; the rest runs on
/// the simulated host.
pub(super) struct Life {
    node: Arc<Node>,
    store: Arc<Store>,
    stop: CancellationToken,
    /// The runtime of the store's writer. It is dropped last, together with everything that the writer has not
    /// committed.
    _runtime: Runtime,
}

/// The code that the simulated host runs.
pub(super) struct Process {
    node: Arc<Node>,
    store: Arc<Store>,
    stop: CancellationToken,
}

impl Life {
    /// Opens the files in `directory`, as a start of the server does.
    pub(super) fn begin(directory: &Path, resume_window: Duration) -> Self {
        let config = config(directory, resume_window);
        let ring = key_file::load_or_create(&config.data_dir).unwrap();
        let runtime = Runtime::new().unwrap();
        let (node, store) = runtime.block_on(async {
            let store = Store::open(&config.database_url, &options()).await.unwrap();
            let store = Arc::new(store);
            (server::node(config, &ring, &store).await.unwrap(), store)
        });
        Self { node, store, stop: CancellationToken::new(), _runtime: runtime }
    }

    /// The part that runs on the host.
    pub(super) fn process(&self) -> Process {
        Process { node: Arc::clone(&self.node), store: Arc::clone(&self.store), stop: self.stop.clone() }
    }

    /// Tells it to drain and end.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether something waits for the database.
    pub(super) fn waits_for_database(&self) -> bool {
        !self.store.is_at_rest()
    }
}

impl Process {
    /// Serves until it is told to stop, as [`Server::run`](crate::Server::run) does.
    pub(super) async fn run(self) -> turmoil::Result {
        let Self { node, store, stop } = self;
        let background = server::background(&node, &store);
        let listener = Listener::new(TcpListener::bind(("0.0.0.0", PORT)).await?, |_| {});
        let routes = routes(Arc::clone(&node), doors::<TcpStream>(&node));
        let mut serving = Supervisor::default();
        serving.spawn("listener", serve(listener, None, Arc::clone(&node), routes));
        let tasks = Tasks { serving, background };
        Ok(tasks.run(&node, &store, stop.cancelled()).await?)
    }
}

/// Waits for database connections run in simulated time.
fn options() -> StoreOptions {
    let usual = StoreOptions::default();
    StoreOptions { acquire_timeout: usual.acquire_timeout * FASTER, ..usual }
}

fn config(directory: &Path, resume_window: Duration) -> Config {
    let directory = directory.to_str().unwrap();
    let variables = [
        ("DATABASE_URL", format!("sqlite:{directory}/aldis.db")),
        ("ALDIS_DATA_DIR", directory.to_owned()),
        ("ALDIS_PUBLIC_ORIGIN", format!("http://{SERVER}")),
        ("ALDIS_RESUME_WINDOW", resume_window.as_secs().to_string()),
        ("ALDIS_ROUTING", "open".to_owned()),
        // The limits would refuse people who reconnect so often.
        ("ALDIS_RATE_LIMITS", "false".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let Loaded::Run(config) = Config::load(["aldis".into()], variables).unwrap() else { unreachable!() };
    *config
}
