//! The `aldis` binary: flags to [`Config`], signals to a shutdown, errors to an exit code, nothing else.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use aldis_server::{
    Server, StartError,
    accounts::Job,
    config::{Config, Loaded, key_file},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

/// Gives memory back after a storm of connections, which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Config::load(std::env::args_os(), std::env::vars_os()) {
        Ok(Loaded::Run(config)) => run(*config),
        Ok(Loaded::Print(text)) => print(&text),
        Ok(Loaded::RotateKeys(data_dir)) => rotate_keys(&data_dir),
        Ok(Loaded::Accounts(job)) => manage_accounts(*job),
        Err(error) => refuse(&error.to_string()),
    }
}

fn run(config: Config) -> ExitCode {
    telemetry::start(&config.log);
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// What a file that reached a limit of the system (`ulimit -f`) sends. Where nobody listens, it ends the process; where
/// somebody does, the write fails, as on a full disk.
const FILE_LIMIT_REACHED: SignalKind = SignalKind::from_raw(25);

async fn serve(config: Config) -> Result<(), StartError> {
    // Listened for before anybody learns the address: a signal that comes early is a signal all the same.
    let told_to_stop = told_to_stop();
    let _listening = signal(FILE_LIMIT_REACHED);
    let server = Server::bind(config).await?;
    // Whoever started the server with port 0 learns the port here; a closed stdout is no failure.
    let metrics = server.metrics_url().map(|url| format!("metrics on {url}\n")).unwrap_or_default();
    let _ =
        write!(io::stdout(), "listening on {}\n{metrics}", server.url()).and_then(|()| io::stdout().flush());
    server.run(told_to_stop).await;
    Ok(())
}

/// Ends with SIGTERM or SIGINT. Where they cannot be listened for, they end the process by themselves.
fn told_to_stop() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
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

fn manage_accounts(job: Job) -> ExitCode {
    match job.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// A reader that closed its end early (`aldis --help | head`) is no failure.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Exit code 2: started wrongly, so that a supervisor can tell it from a crash.
fn refuse(error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", error.trim_end());
    ExitCode::from(2)
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}
