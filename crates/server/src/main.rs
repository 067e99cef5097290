//! The `aldis` binary: turns flags into a [`Config`], signals into a shutdown and errors into an exit code.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use aldis_server::{
    Reloader, Server, StartError, TaskEnded, accounts_cli, commands,
    config::{AccountsJob, Config, Job, Loaded, key_file},
    service_manager::ServiceManager,
    telemetry::{self, Levels},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns memory to the system after a burst of connections, unlike the default allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Config::load(std::env::args_os(), std::env::vars_os()) {
        Ok(Loaded::Run(config)) => run(*config),
        Ok(Loaded::Print(text)) => print(&text),
        Ok(Loaded::WriteFiles { directory, files }) => write_files(&directory, &files),
        Ok(Loaded::RotateKeys(data_dir)) => rotate_keys(&data_dir),
        Ok(Loaded::Accounts(job)) => manage_accounts(*job),
        Ok(Loaded::Operate(job)) => operate(*job),
        Err(error) => refuse(&error.to_string()),
    }
}

fn run(config: Config) -> ExitCode {
    let telemetry = telemetry::start(&config.log);
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(serve(config, telemetry.levels())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Sent when a file reaches a limit of the system (`ulimit -f`). By default it ends the process. With a handler the
/// write fails instead, as on a full disk.
const FILE_LIMIT_REACHED: SignalKind = SignalKind::from_raw(25);

/// Why the server does not run, or has stopped.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

async fn serve(config: Config, levels: Levels) -> Result<(), Failure> {
    // Registered before anybody can learn the address, so that no early signal is lost.
    let signals = Signals::listen();
    let server = Server::bind(config).await?;
    // With port 0 the operator learns the port from this line. A closed stdout is no failure.
    let metrics = server.metrics_url().map(|url| format!("metrics on {url}\n")).unwrap_or_default();
    let fingerprint = server.self_signed_fingerprint();
    let fingerprint =
        fingerprint.map(|hex| format!("self-signed certificate, SHA-256 {hex}\n")).unwrap_or_default();
    let _ = write!(io::stdout(), "listening on {}\n{metrics}{fingerprint}", server.url())
        .and_then(|()| io::stdout().flush());
    let manager = ServiceManager::from_environment();
    let reload = Reload { reloader: server.reloader(), levels, manager: &manager, url: server.url() };
    manager.ready(&reload.url);
    tokio::select! {
        ended = server.run(signals.until_stop(&reload)) => Ok(ended?),
        never = manager.watch() => match never {},
    }
}

/// What SIGHUP does.
struct Reload<'a> {
    reloader: Reloader,
    levels: Levels,
    manager: &'a ServiceManager,
    url: String,
}

impl Reload<'_> {
    fn run(&self) {
        self.manager.reloading();
        let levels = self.reloader.reload(Config::load_again());
        self.levels.change(&levels);
        self.manager.ready(&self.url);
    }
}

/// The signals that a server handles. A handled signal no longer ends the process by default.
struct Signals {
    stop: [io::Result<Signal>; 3],
    hangup: io::Result<Signal>,
    /// Signals without a meaning here. Some tools send them to servers of another kind.
    _ignored: [io::Result<Signal>; 3],
}

impl Signals {
    fn listen() -> Self {
        Self {
            stop: [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()].map(signal),
            hangup: signal(SignalKind::hangup()),
            _ignored: [SignalKind::user_defined1(), SignalKind::user_defined2(), FILE_LIMIT_REACHED]
                .map(signal),
        }
    }

    /// Returns after SIGTERM, SIGINT or SIGQUIT. On SIGHUP it reloads files.
    async fn until_stop(self, reload: &Reload<'_>) {
        let Self { stop: [mut terminate, mut interrupt, mut quit], mut hangup, .. } = self;
        loop {
            tokio::select! {
                () = received(&mut terminate) => break,
                () = received(&mut interrupt) => break,
                () = received(&mut quit) => break,
                () = received(&mut hangup) => reload.run(),
            }
        }
        reload.manager.stopping();
    }
}

/// Waits for a signal; for ever if its handler could not be installed.
async fn received(signal: &mut io::Result<Signal>) {
    let came = match signal {
        Ok(signal) => signal.recv().await,
        Err(_) => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}

fn rotate_keys(data_dir: &Path) -> ExitCode {
    match key_file::rotate(data_dir) {
        Ok(path) => print(&format!(
            "{} has a new key. Back it up, then restart every server that uses it.\n",
            path.display()
        )),
        Err(error) => fail(&error.to_string()),
    }
}

fn manage_accounts(job: AccountsJob) -> ExitCode {
    match accounts_cli::run(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn operate(job: Job) -> ExitCode {
    match commands::run(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn write_files(directory: &Path, files: &[(String, Vec<u8>)]) -> ExitCode {
    for (name, content) in files {
        let path = directory.join(name);
        if let Err(error) = fs::write(&path, content) {
            return fail(&format!("cannot write {}: {error}; name an existing directory", path.display()));
        }
    }
    ExitCode::SUCCESS
}

/// Prints a text. A reader that closes the pipe early (`aldis --help | head`) is no failure.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Exit code 2 means wrong usage, so that a supervisor can tell it from a crash.
fn refuse(error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", error.trim_end());
    ExitCode::from(2)
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}
