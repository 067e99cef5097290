//! `aldis migrate`: brings the tables of the database up to date, or says what that would do.

use serde::Serialize;

use super::{CommandError, print, print_json};
use crate::{
    config::Config,
    store::{Migration, Migrations, Store, StoreError, StoreOptions},
};

/// The result.
#[derive(Serialize)]
struct Report {
    database: String,
    /// The version before.
    from: i64,
    /// The version after it.
    to: i64,
    /// Whether this only says what would be done.
    dry_run: bool,
    migrations: Vec<Migration>,
}

/// Migrates the database, as the start of a server does.
pub(super) async fn run(config: &Config, dry_run: bool, json: bool) -> Result<(), CommandError> {
    let explained = |error: StoreError| CommandError::Database(config.database_url.explain(&error));
    if config.database_url.is_in_memory() {
        return Err(CommandError::WrongDatabase(
            "a database in memory is its server's alone; name another with DATABASE_URL",
        ));
    }
    let Migrations { version, pending } = Migrations::of(&config.database_url).await.map_err(explained)?;
    if !dry_run {
        let store = Store::open(&config.database_url, &StoreOptions::default()).await.map_err(explained)?;
        store.close().await;
    }
    let to = pending.last().map_or(version, |last| last.version);
    let database = config.database_url.to_string();
    report(json, &Report { database, from: version, to, dry_run, migrations: pending });
    Ok(())
}

fn report(json: bool, report: &Report) {
    if json {
        print_json(report);
        return;
    }
    let Report { database, from, to, dry_run, migrations } = report;
    if migrations.is_empty() {
        print(&format!("{database} is up to date at version {from}\n"));
        return;
    }
    let done = if *dry_run { "would be migrated" } else { "was migrated" };
    print(&format!("{database} {done} from version {from} to {to}\n"));
    for Migration { version, description } in migrations {
        print(&format!("{version}\t{description}\n"));
    }
}
