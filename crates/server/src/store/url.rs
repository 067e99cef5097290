//! The database's address: `DATABASE_URL`, parsed once and valid from then on.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::postgres::PgConnectOptions;

mod parameters;

/// A database, as the configuration names it.
///
/// SQLite: `sqlite:aldis.db` (relative to the working directory), `sqlite:/var/lib/aldis.db`, `sqlite::memory:`, and
/// SQLAlchemy's forms, in which `sqlite:///aldis.db` is relative and `sqlite:////var/lib/aldis.db` absolute.
/// PostgreSQL: `postgres://…` or `postgresql://…` with the [parameters] of libpq that the driver supports. A `+driver`
/// after the scheme is ignored. The password is never printed.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(pub(super) Target);

/// What a [`DatabaseUrl`] names.
#[derive(Clone)]
pub(super) enum Target {
    /// A SQLite file.
    File(PathBuf),
    /// A SQLite database in memory, which is lost when the store is closed.
    Memory,
    /// A database of a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// Why a text is not a database URL. It contains nothing of the text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InvalidDatabaseUrl {
    /// Another database, or not a URL.
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
    /// A PostgreSQL parameter that would have no effect.
    #[error("the PostgreSQL URL has the unknown parameter \"{0}\": remove it; known are {known}", known = parameters::KNOWN.join(", "))]
    UnknownParameter(String),
    /// Several PostgreSQL hosts.
    #[error(
        "the PostgreSQL URL names several hosts: name one, for instance a virtual address that follows the primary"
    )]
    SeveralHosts,
    /// A malformed PostgreSQL URL.
    #[error(
        "not a PostgreSQL URL ({0}): write postgres://user:password@host:5432/database, reserved characters as %XX"
    )]
    Postgres(String),
}

impl DatabaseUrl {
    /// Whether only the process that opens it can see it.
    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self.0, Target::Memory)
    }

    /// The file of a SQLite database.
    pub(crate) fn sqlite_file(&self) -> Option<&Path> {
        if let Target::File(path) = &self.0 { Some(path) } else { None }
    }

    /// The same kind of database in another file.
    pub(crate) const fn of_sqlite_file(path: PathBuf) -> Self {
        Self(Target::File(path))
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
            Target::Postgres(options) => write_postgres(f, options),
        }
    }
}

/// Shows a socket by its directory, in the form that a URL takes.
fn write_postgres(f: &mut fmt::Formatter<'_>, options: &PgConnectOptions) -> fmt::Result {
    let (user, port) = (options.get_username(), options.get_port());
    let database = options.get_database().unwrap_or_default();
    match socket_directory(options) {
        Some(directory) => write!(f, "postgres://{user}:***@/{database}?host={directory}&port={port}"),
        None => write!(f, "postgres://{user}:***@{}:{port}/{database}", options.get_host()),
    }
}

/// The directory of the Unix socket, if the connection uses one.
fn socket_directory(options: &PgConnectOptions) -> Option<String> {
    let given = options.get_socket().map(|path| path.display().to_string());
    given.or_else(|| Some(options.get_host().to_owned()).filter(|host| host.starts_with('/')))
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
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    if authority(address).contains(',') {
        return Err(InvalidDatabaseUrl::SeveralHosts);
    }
    format!("postgres:{}{}", with_host(address), parameters::canonical(query)?)
        .parse()
        .map(|options| Target::Postgres(Box::new(options)))
        .map_err(|error: sqlx::Error| InvalidDatabaseUrl::Postgres(reason(&error)))
}

/// Adds a host for the parser to an address that has only a user, as in `//bob@/aldis?host=/run/postgresql`.
fn with_host(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((user, rest)) if rest.starts_with(['/', ':']) || rest.is_empty() => {
            format!("{user}@localhost{rest}")
        }
        _ => address.to_owned(),
    }
}

/// Host and port, without user and password.
fn authority(address: &str) -> &str {
    let bare = address.trim_start_matches('/').split('/').next().unwrap_or_default();
    bare.rsplit_once('@').map_or(bare, |(_, authority)| authority)
}

/// Only the parser's reason: its causes describe the syntax and contain nothing of the text.
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
    fn sqlite_files_are_named_in_both_forms() {
        assert_eq!(file("sqlite:aldis.db"), PathBuf::from("aldis.db"));
        assert_eq!(file("sqlite:/var/aldis.db"), PathBuf::from("/var/aldis.db"));
        assert_eq!(file("sqlite:///data/aldis.db"), PathBuf::from("data/aldis.db"));
        assert_eq!(file("sqlite:////var/aldis.db"), PathBuf::from("/var/aldis.db"));
        assert_eq!(file("sqlite+aiosqlite:///aldis.db"), PathBuf::from("aldis.db"));
    }

    #[test]
    fn memory_is_named_in_three_forms() {
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

    fn shown(url: &str) -> String {
        url.parse::<DatabaseUrl>().map(|url| url.to_string()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_socket_is_shown_as_a_socket() {
        for url in [
            "postgres://bob@%2Frun%2Fpostgresql/aldis",
            "postgres://bob@/aldis?host=/run/postgresql",
            "postgres:///aldis?host=/run/postgresql&user=bob&port=5432",
        ] {
            assert_eq!(shown(url), "postgres://bob:***@/aldis?host=/run/postgresql&port=5432", "{url}");
            assert_eq!(shown(&shown(url)), shown(url), "the printed URL parses to the same one");
        }
    }

    #[test]
    fn ssl_is_read_as_sslmode() {
        for name in ["ssl", "sslmode", "ssl-mode"] {
            let url = format!("postgres://bob@db/aldis?{name}=require&application_name=x");
            let Ok(DatabaseUrl(Target::Postgres(options))) = url.parse() else { panic!("{url}") };
            assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::Require), "{url}");
        }
        assert!(shown("postgres://bob@db/aldis?ssl=maybe").starts_with("not a PostgreSQL URL"));
    }

    #[test]
    fn a_parameter_without_effect_is_refused() {
        for name in ["connect_timeout", "sslmod", "channel_binding", "prepared_statement_cache_size"] {
            let error = format!("postgres://bob@db/aldis?sslmode=require&{name}=1").parse::<DatabaseUrl>();
            assert_eq!(error.unwrap_err(), InvalidDatabaseUrl::UnknownParameter(name.to_owned()));
        }
        let error = shown("postgres://bob:s3cret?r3st@db/aldis");
        assert!(!error.contains("r3st") && error.contains("%XX"), "{error}");
    }

    #[test]
    fn several_hosts_are_refused() {
        for url in
            ["postgres://bob@a,b/aldis", "postgres://bob:p@a:1,b:2/aldis", "postgres://bob@/x?host=a,b"]
        {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap_err(), InvalidDatabaseUrl::SeveralHosts, "{url}");
        }
        assert!("postgres://bob:p,q@a/aldis".parse::<DatabaseUrl>().is_ok(), "a comma in a password");
    }

    #[test]
    fn an_invalid_url_is_refused_with_the_remedy() {
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
