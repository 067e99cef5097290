//! Explains to an operator why a database cannot be opened: which one, what is wrong, and what to do.

use std::{error::Error, path::Path};

use sqlx::{migrate::MigrateError, postgres::PgDatabaseError};

use super::{
    StoreError,
    url::{DatabaseUrl, Target},
};

impl DatabaseUrl {
    /// One line that names the setting, the database, the problem and the remedy, without the password.
    pub(crate) fn explain(&self, error: &StoreError) -> String {
        let problem = innermost(error);
        let remedy = match &self.0 {
            Target::File(path) => sqlite_remedy(path, error),
            Target::Memory => None,
            Target::Postgres(_) => postgres_remedy(error),
        };
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("DATABASE_URL: cannot use {self}: {problem}{remedy}")
    }
}

/// The message of the database or the system, without the outer errors.
fn innermost(error: &StoreError) -> String {
    let mut problem: &dyn Error = error;
    while let Some(cause) = problem.source() {
        problem = cause;
    }
    problem.to_string()
}

fn sqlite_remedy(path: &Path, error: &StoreError) -> Option<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Some("it is a directory; name a file".to_owned());
    }
    if !directory.is_dir() {
        return Some(format!("create the directory {}", directory.display()));
    }
    if error.is_disk_full() {
        return Some("free some space on its disk".to_owned());
    }
    Some(match primary_code(error)? {
        5 | 6 => "another program holds a lock on it; stop that program".to_owned(),
        // Read-only, or the file cannot be opened.
        8 | 14 => format!(
            "give the server's user write access to the file {} and to the directory {}",
            path.display(),
            directory.display()
        ),
        26 => "name another file".to_owned(),
        _ => return None,
    })
}

/// SQLite's result code without its extension.
fn primary_code(error: &StoreError) -> Option<u32> {
    let code = database_error(error)?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

fn postgres_remedy(error: &StoreError) -> Option<String> {
    if let Some(database) = database_error(error) {
        return sqlstate_remedy(database.try_downcast_ref::<PgDatabaseError>()?.code()).map(str::to_owned);
    }
    let error = sqlx_error(error)?;
    if matches!(error, sqlx::Error::Tls(_)) {
        return Some("check sslmode and sslrootcert in the URL".to_owned());
    }
    let is_unreachable = matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut);
    is_unreachable.then(|| "check the host and the port, and that PostgreSQL runs there".to_owned())
}

fn sqlstate_remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "check the user and the password in the URL, and pg_hba.conf",
        "3D000" => "create the database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        "42501" => "make the server's user the owner of the database, or GRANT CREATE ON SCHEMA public to it",
        "25006" => "it is a standby; name the primary",
        "53300" => "raise max_connections of PostgreSQL, or stop other clients",
        _ => return None,
    })
}

fn database_error(error: &StoreError) -> Option<&dyn sqlx::error::DatabaseError> {
    sqlx_error(error)?.as_database_error()
}

/// The driver's error, also if a migration failed with it.
fn sqlx_error(error: &StoreError) -> Option<&sqlx::Error> {
    let error = match error {
        StoreError::Unavailable(error) | StoreError::Internal(error) => &**error,
        StoreError::Migration(error) => return migration_cause(error),
        StoreError::Overloaded
        | StoreError::Unauthorized(_)
        | StoreError::NewerDatabase { .. }
        | StoreError::Unsuitable(_) => return None,
    };
    if let sqlx::Error::Migrate(migration) = error { migration_cause(migration) } else { Some(error) }
}

fn migration_cause(error: &MigrateError) -> Option<&sqlx::Error> {
    if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = error {
        Some(cause)
    } else {
        None
    }
}
