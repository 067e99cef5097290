//! The credentials of changes: recent logins, tokens that are revoked meanwhile, tokens of unknown users (http.md,
//! "Step-up"; security.md, "Revocation").

mod nobody;
mod origin;
mod revoked_meanwhile;
mod step_up;

use aldis_tests::{TestServer, token};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

/// Runs a statement about an id directly on the SQLite file of a server, so that no node hears of it.
fn behind_its_back(server: &TestServer, statement: &'static str, id: Id<'_>) {
    let options: SqliteConnectOptions = server.database_url().parse().expect("a database of SQLite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let changed = runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database");
        let query = match id {
            Id::Uuid(id) => sqlx::query(statement).bind(id),
            Id::Text(id) => sqlx::query(statement).bind(id),
        };
        query.execute(&mut connection).await.expect("a statement").rows_affected()
    });
    assert_eq!(changed, 1, "{statement}");
}

/// The parameter of the statement.
enum Id<'a> {
    Uuid(Uuid),
    Text(&'a str),
}

/// The family of a token.
fn family(token: &str) -> Id<'static> {
    Id::Uuid(token::claims(token)["sid"].as_str().expect("a family").parse().expect("a UUID"))
}
