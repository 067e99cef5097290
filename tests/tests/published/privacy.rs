//! docs/privacy.md names every table and column of the database.

use std::collections::{BTreeMap, BTreeSet};

use aldis_tests::TestServer;
use sqlx::{ConnectOptions as _, Row as _};

use crate::page::{Page, code_words};

type Tables = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_tables_and_columns_are_those_of_the_migrations() {
    let shown: Tables = Page::read("docs/privacy.md")
        .table("## Tables")
        .iter()
        .map(|row| (code_words(&row[0])[0].clone(), code_words(&row[1]).into_iter().collect()))
        .collect();
    assert_eq!(shown, in_the_database());
}

fn in_the_database() -> Tables {
    let server = TestServer::start();
    let file = server.directory().join("aldis.db");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let select = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let rows = sqlx::query(select).fetch_all(&mut connection).await.unwrap();
        let mut tables = Tables::new();
        for row in rows {
            tables.entry(row.get(0)).or_default().insert(row.get(1));
        }
        tables
    })
}
