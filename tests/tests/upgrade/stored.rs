//! The stored databases: their files, and how they are made and opened.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use aldis_tests::postgres::Cluster;
use aldis_tests::{Builder, TestServer, unique};
use serde_json::Value;
use sqlx::ConnectOptions as _;

/// The kind of a database.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A stored database with its key file and what its users knew.
pub(crate) struct Stored {
    kind: Kind,
    folder: PathBuf,
    /// Where the server of the test works.
    copy: PathBuf,
}

const SQLITE: &str = "database.sqlite3";
const POSTGRES: &str = "database.sql";
/// The key file; by its usual name, version control would leave it out.
const KEYS: &str = "root-keys.txt";
const FACTS: &str = "facts.json";

impl Kind {
    pub(crate) fn builder(self) -> Builder {
        match self {
            Self::Sqlite => TestServer::builder(),
            Self::Postgres => TestServer::builder().postgres(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl Stored {
    /// The databases of all released versions.
    pub(crate) fn all(kind: Kind) -> Vec<Self> {
        let versions = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path().join(kind.name()));
        let folders = versions.filter(|folder| folder.is_dir());
        let of = |folder| Self { kind, folder, copy: env::temp_dir().join(unique("aldis-upgrade")) };
        folders.map(of).collect()
    }

    /// Stores the database of a server that has ended.
    pub(crate) fn write(kind: Kind, server: &TestServer, facts: &Value) {
        let folder = root().join(env!("CARGO_PKG_VERSION")).join(kind.name());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        match kind {
            Kind::Sqlite => copy_sqlite(&server.directory().join("aldis.db"), &folder.join(SQLITE)),
            Kind::Postgres => {
                let database = server.database_url().rsplit('/').next().unwrap();
                let dump = Cluster::shared().unwrap().dump(database).unwrap();
                fs::write(folder.join(POSTGRES), dump).unwrap();
            }
        }
        fs::copy(server.directory().join("aldis.key"), folder.join(KEYS)).unwrap();
        fs::write(folder.join(FACTS), format!("{facts:#}\n")).unwrap();
    }

    /// A server of this version over a copy.
    pub(crate) fn opens(&self) -> TestServer {
        fs::create_dir(&self.copy).unwrap();
        fs::copy(self.folder.join(KEYS), self.copy.join("aldis.key")).unwrap();
        private(&self.copy.join("aldis.key"));
        let builder = TestServer::builder().env("ALDIS_DATA_DIR", self.copy.to_str().unwrap());
        builder.env("DATABASE_URL", &self.database_url()).start()
    }

    pub(crate) fn facts(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join(FACTS)).unwrap()).unwrap()
    }

    fn database_url(&self) -> String {
        match self.kind {
            Kind::Sqlite => {
                let file = self.copy.join("aldis.db");
                fs::copy(self.folder.join(SQLITE), &file).unwrap();
                format!("sqlite:{}", file.display())
            }
            Kind::Postgres => {
                let cluster = Cluster::shared().unwrap();
                let name = unique("upgrade").replace('-', "_");
                let url = cluster.create_database(&name).unwrap();
                cluster.load(&name, &fs::read_to_string(self.folder.join(POSTGRES)).unwrap()).unwrap();
                url
            }
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.copy);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade")
}

/// One file without a write-ahead log.
fn copy_sqlite(from: &Path, to: &Path) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(from);
        let mut connection = options.connect().await.unwrap();
        let into = "VACUUM INTO $1";
        sqlx::query(into).bind(to.to_str().unwrap()).execute(&mut connection).await.unwrap();
    });
}

/// The server refuses a key file that others can read.
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
