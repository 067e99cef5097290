//! The parameters of a PostgreSQL URL that have an effect; all others are refused.

use super::InvalidDatabaseUrl;

/// The supported parameters, named as in libpq.
pub(super) const KNOWN: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Other spellings of a known parameter: those of the driver, of MySQL, and of asyncpg, which SQLAlchemy uses.
const OTHER_SPELLINGS: [(&str, &str); 6] = [
    ("ssl", "sslmode"),
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
];

/// The query of a URL with its question mark, each parameter under its usual name; empty if there is none.
///
/// # Errors
/// [`InvalidDatabaseUrl::UnknownParameter`] for a parameter without effect, so that nobody relies on it.
pub(super) fn canonical(query: &str) -> Result<String, InvalidDatabaseUrl> {
    if query.contains('@') {
        return Err(InvalidDatabaseUrl::Postgres("a password holds a question mark".to_owned()));
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|_| InvalidDatabaseUrl::Postgres("malformed parameters".to_owned()))?;
    let pairs: Vec<(String, String)> = pairs.into_iter().map(usual).collect::<Result<_, _>>()?;
    if pairs.iter().any(|(name, value)| name.starts_with("host") && value.contains(',')) {
        return Err(InvalidDatabaseUrl::SeveralHosts);
    }
    let query = serde_urlencoded::to_string(pairs)
        .map_err(|_| InvalidDatabaseUrl::Postgres("malformed parameters".to_owned()))?;
    Ok(if query.is_empty() { query } else { format!("?{query}") })
}

fn usual((name, value): (String, String)) -> Result<(String, String), InvalidDatabaseUrl> {
    let other = OTHER_SPELLINGS.iter().find(|(spelling, _)| *spelling == name);
    let name = other.map_or(name, |(_, usual)| (*usual).to_owned());
    let is_known = KNOWN.contains(&name.as_str()) || is_session_option(&name);
    if is_known { Ok((name, value)) } else { Err(InvalidDatabaseUrl::UnknownParameter(name)) }
}

/// `options` and `options[name]` set options of the database session.
fn is_session_option(name: &str) -> bool {
    name == "options" || (name.starts_with("options[") && name.ends_with(']'))
}
