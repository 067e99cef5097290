//! The commands that operate a server: `aldis healthcheck`, `aldis backup` and the like.
//!
//! They work on the database and the key file, beside running servers or without any.

mod archive;
mod backup;
mod error;
mod health_check;
mod migrate;
mod passphrase;
mod request;
mod restore;
mod rooms;
mod sessions;
mod temporary;
mod trace;

use std::io::{self, Write};

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

pub use self::error::CommandError;
use crate::{
    config::{Config, Job, Operation},
    store::{Store, StoreError, StoreOptions},
};

/// Carries out a command. It writes its result to standard output.
///
/// # Errors
/// [`CommandError`], which says what to fix.
pub fn run(job: Job) -> Result<(), CommandError> {
    let Job { config, operation } = job;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(async {
        // With a handler, a write beyond the limit of the system (`ulimit -f`) fails instead of ending the process, as on
        // a full disk.
        let _limit = signal(FILE_LIMIT_REACHED).map_err(CommandError::Runtime)?;
        carry_out(&config, operation).await
    })
}

const FILE_LIMIT_REACHED: SignalKind = SignalKind::from_raw(25);

// Nothing else runs on this thread: commands may block on files, on the terminal and on a passphrase.
async fn carry_out(config: &Config, operation: Operation) -> Result<(), CommandError> {
    match operation {
        Operation::HealthCheck { live, json } => health_check::run(config, live, json),
        Operation::Backup(wanted) => backup::run(config, &wanted).await,
        Operation::Restore(wanted) => restore::run(config, &wanted).await,
        Operation::RestoredByPostgres { json } => restore::after_postgres(config, json).await,
        Operation::Migrate { dry_run, json } => migrate::run(config, dry_run, json).await,
        Operation::ListSessions { json } => sessions::list(config, json),
        Operation::CloseSession { device, json } => sessions::close(config, &device, json).await,
        Operation::ListRooms { json } => rooms::list(config, json).await,
        Operation::ShowRoom { room, json } => rooms::show(config, &room, json).await,
        Operation::RemoveRoom { room, json } => rooms::remove(config, &room, json).await,
        Operation::Trace { message, json } => trace::run(config, message, json).await,
    }
}

/// Calls the database that the settings name.
async fn with_store<T>(
    config: &Config,
    call: impl AsyncFnOnce(&Store) -> Result<T, StoreError>,
) -> Result<T, CommandError> {
    if config.database_url.is_in_memory() {
        return Err(CommandError::WrongDatabase(
            "a database in memory is its server's alone; name another with DATABASE_URL",
        ));
    }
    let explained = |error: StoreError| CommandError::Database(config.database_url.explain(&error));
    let store = Store::open(&config.database_url, &StoreOptions::default()).await.map_err(explained)?;
    let result = call(&store).await;
    store.close().await;
    result.map_err(explained)
}

/// Prints text. If nobody reads standard output, the command itself is done either way.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a result as JSON.
fn print_json(result: &impl Serialize) {
    let text = serde_json::to_string_pretty(result).unwrap_or_default();
    print(&format!("{text}\n"));
}
