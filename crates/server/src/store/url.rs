//! Where the database is: `DATABASE_URL`, read once and valid from then on.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;

/// A database that can be named in the configuration.
///
/// SQLite: `sqlite:aldis.db` (relative to the working directory), `sqlite:/var/lib/aldis.db`, `sqlite::memory:`, and
/// SQLAlchemy's forms, where `sqlite:///aldis.db` is relative and `sqlite:////var/lib/aldis.db` absolute.
/// PostgreSQL: `postgres://…` or `postgresql://…` with the parameters of libpq. A `+driver` behind the scheme is
/// ignored. Prints without the password.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(pub(super) Target);

/// What a [`DatabaseUrl`] names.
#[derive(Clone)]
pub(super) enum Target {
    /// A file of SQLite's.
    File(PathBuf),
    /// A SQLite database that is gone when the store is closed.
    Memory,
    /// A database of a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// Why a text names no database. Never holds any of the text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InvalidDatabaseUrl {
    /// Another database, or no URL.
    #[error("a database URL starts with sqlite:, postgres:// or postgresql://, as in sqlite:aldis.db")]
    Scheme,
    /// SQLite without a file.
    #[error("the SQLite URL names no file: write sqlite:aldis.db, or sqlite::memory: for none")]
    NoFile,
    /// SQLite with two slashes.
    #[error(
        "a SQLite URL has no host: write sqlite:aldis.db or sqlite:///aldis.db, and sqlite:/path for an absolute path"
    )]
    Host,
    /// SQLite with parameters.
    #[error("a SQLite URL takes no parameters: leave out the question mark and what follows")]
    Parameters,
    /// PostgreSQL's URL is malformed.
    #[error(
        "not a PostgreSQL URL ({0}): write postgres://user:password@host:5432/database, reserved characters as %XX"
    )]
    Postgres(String),
}

impl DatabaseUrl {
    /// Whether nobody but the process that opens it can see it.
    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self.0, Target::Memory)
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidDatabaseUrl::Scheme)?;
        let (scheme, _driver) = scheme.split_once('+').unwrap_or((scheme, ""));
        match scheme {
            "sqlite" => parse_sqlite(rest),
            "postgres" | "postgresql" => parse_postgres(rest),
            _ => Err(InvalidDatabaseUrl::Scheme),
        }
        .map(Self)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::File(path) => write!(f, "sqlite:{}", path.display()),
            Target::Memory => f.write_str("sqlite::memory:"),
            Target::Postgres(options) => write!(
                f,
                "postgres://{}:***@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

fn parse_sqlite(rest: &str) -> Result<Target, InvalidDatabaseUrl> {
    if rest.contains('?') {
        return Err(InvalidDatabaseUrl::Parameters);
    }
    let path = match rest.strip_prefix("//") {
        Some("") => ":memory:",
        Some(behind_host) => behind_host.strip_prefix('/').ok_or(InvalidDatabaseUrl::Host)?,
        None => rest,
    };
    match path {
        "" => Err(InvalidDatabaseUrl::NoFile),
        ":memory:" => Ok(Target::Memory),
        file => Ok(Target::File(file.into())),
    }
}

fn parse_postgres(rest: &str) -> Result<Target, InvalidDatabaseUrl> {
    if !rest.starts_with("//") {
        return Err(InvalidDatabaseUrl::Scheme);
    }
    format!("postgres:{rest}")
        .parse()
        .map(|options| Target::Postgres(Box::new(options)))
        .map_err(|error: sqlx::Error| InvalidDatabaseUrl::Postgres(reason(&error)))
}

/// The parser's reason alone: its causes speak of syntax, never of the text.
fn reason(error: &sqlx::Error) -> String {
    std::error::Error::source(error).map_or_else(|| "malformed".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> PathBuf {
        match url.parse().unwrap() {
            DatabaseUrl(Target::File(path)) => path,
            other => panic!("{other} is no file"),
        }
    }

    #[test]
    fn sqlite_files_are_named_in_both_manners() {
        assert_eq!(file("sqlite:aldis.db"), PathBuf::from("aldis.db"));
        assert_eq!(file("sqlite:/var/aldis.db"), PathBuf::from("/var/aldis.db"));
        assert_eq!(file("sqlite:///data/aldis.db"), PathBuf::from("data/aldis.db"));
        assert_eq!(file("sqlite:////var/aldis.db"), PathBuf::from("/var/aldis.db"));
        assert_eq!(file("sqlite+aiosqlite:///aldis.db"), PathBuf::from("aldis.db"));
    }

    #[test]
    fn memory_is_named_in_three() {
        for url in ["sqlite::memory:", "sqlite:///:memory:", "sqlite://"] {
            assert!(matches!(url.parse(), Ok(DatabaseUrl(Target::Memory))), "{url}");
        }
    }

    #[test]
    fn a_driver_is_ignored_and_the_password_never_printed() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg"] {
            let url: DatabaseUrl = format!("{scheme}://bob:s3cret%2F@db.example:5433/aldis").parse().unwrap();
            assert_eq!(url.to_string(), "postgres://bob:***@db.example:5433/aldis");
            assert!(!format!("{url:?}").contains("s3cret"));
        }
        let url: DatabaseUrl = "postgres://db/aldis?user=bob&password=s3cret".parse().unwrap();
        assert!(!format!("{url} {url:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_database_is_refused_with_the_remedy() {
        for (url, expected) in [
            ("", InvalidDatabaseUrl::Scheme),
            ("aldis.db", InvalidDatabaseUrl::Scheme),
            ("mysql://u:s3cret@h/db", InvalidDatabaseUrl::Scheme),
            ("sqlite:", InvalidDatabaseUrl::NoFile),
            ("sqlite:///", InvalidDatabaseUrl::NoFile),
            ("sqlite://aldis.db", InvalidDatabaseUrl::Host),
            ("sqlite:aldis.db?mode=ro", InvalidDatabaseUrl::Parameters),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap_err(), expected, "{url}");
        }
        for url in
            ["postgres://bob:s3cret@h:port/db", "postgres:bob:s3cret@h/db", "postgres://bob:s3cret@[::1/db"]
        {
            let error = url.parse::<DatabaseUrl>().map(|url| url.to_string()).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
