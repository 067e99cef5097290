//! Databases that cannot be used, and the error at the server's start (configuration.md, "Databases").

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use aldis_tests::{Builder, TestServer, pgbouncer::PgBouncer, postgres::Cluster, unique};

/// The error line of a server that does not start.
#[track_caller]
fn refusal(builder: Builder) -> String {
    let output = builder.run(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    let line = error.lines().find(|line| line.contains("DATABASE_URL")).unwrap_or_else(|| panic!("{error}"));
    line.to_owned()
}

#[track_caller]
fn expects(url: &str, parts: &[&str]) {
    let line = refusal(TestServer::builder().env("DATABASE_URL", url));
    for part in parts {
        assert_eq!(line.matches(part).count(), 1, "`{part}` once in: {line}");
    }
}

fn database(cluster: &Cluster) -> (String, String) {
    let name = unique("aldis").replace('-', "_");
    let url = cluster.create_database(&name).unwrap();
    (name, url)
}

struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("aldis-files"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn url(&self, file: &str) -> String {
        format!("sqlite:{}", self.0.join(file).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_sqlite_file_that_cannot_be_used_is_named_with_the_remedy() {
    let directory = Directory::new();
    let missing = directory.0.join("missing");
    expects(&directory.url("missing/aldis.db"), &[&format!("create the directory {}", missing.display())]);
    expects(&directory.url(""), &["it is a directory; name a file"]);
    fs::write(directory.0.join("text.db"), "text, and not a database: ".repeat(64)).unwrap();
    expects(&directory.url("text.db"), &["file is not a database; name another file"]);
}

#[test]
fn a_sqlite_file_that_another_program_has_locked_is_an_error_at_start() {
    let directory = Directory::new();
    let url = directory.url("aldis.db");
    let server = TestServer::builder().env("DATABASE_URL", &url).start();
    assert!(server.terminate().success());
    let path = directory.0.join("aldis.db");
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); \
                  print('locked', flush=True); sys.stdin.read()";
    let mut locker = Command::new("python3")
        .args(["-c", script, path.to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(locker.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "locked\n");
    expects(&url, &["another program holds a lock on it"]);
    drop(locker.stdin.take());
    assert!(locker.wait().unwrap().success());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn other_users_cannot_read_the_files_of_a_database() {
    let server = TestServer::start();
    let _ = server.user();
    let path = |ending: &str| server.directory().join(format!("aldis.db{ending}"));
    for ending in ["", "-wal", "-shm"] {
        assert_eq!(mode(&path(ending)), 0o600, "aldis.db{ending}");
    }
    server.kill9();
    for ending in ["", "-wal", "-shm"] {
        fs::set_permissions(path(ending), fs::Permissions::from_mode(0o644)).unwrap();
    }
    server.restart_same_port();
    let _ = server.user();
    for ending in ["", "-wal", "-shm"] {
        assert_eq!(mode(&path(ending)), 0o600, "aldis.db{ending} of an earlier server");
    }
}

#[test]
fn an_unavailable_postgresql_is_named_with_host_and_port() {
    expects(
        "postgres://bob:hush@127.0.0.1:1/aldis",
        &["127.0.0.1:1/aldis", "Connection refused", "check the host"],
    );
    let error = refusal(TestServer::builder().env("DATABASE_URL", "postgres://bob:hush@127.0.0.1:1/aldis"));
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_database_in_latin1_answered_500_later() {
    let cluster = Cluster::shared().unwrap();
    let (name, url) = database(cluster);
    let latin = format!("{name}_latin1");
    let create =
        format!("CREATE DATABASE {latin} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    cluster.execute(&name, &create).unwrap();
    expects(&url.replace(&name, &latin), &["its encoding is LATIN1", "ENCODING 'UTF8' TEMPLATE template0"]);
}

#[test]
fn a_database_user_without_rights_is_told_what_to_grant() {
    let cluster = Cluster::shared().unwrap();
    let (name, url) = database(cluster);
    cluster
        .execute(&name, &format!("CREATE ROLE {name}_user LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        .unwrap();
    let url = url.replace("//postgres@", &format!("//{name}_user@"));
    expects(&url, &["permission denied", "GRANT CREATE ON SCHEMA public"]);
}

#[test]
fn a_missing_database_and_a_standby_are_named() {
    let cluster = Cluster::shared().unwrap();
    let (name, url) = database(cluster);
    expects(&format!("{url}_missing"), &["does not exist", "CREATE DATABASE"]);
    cluster.execute(&name, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).unwrap();
    expects(&url, &["read-only", "name the primary"]);
}

#[test]
fn a_pooler_in_transaction_mode_broke_prepared_statements() {
    let cluster = Cluster::shared().unwrap();
    let (name, _) = database(cluster);
    let pooler = PgBouncer::start(cluster, "transaction").expect("PgBouncer");
    expects(&pooler.url(&name), &["a pooler in transaction mode"]);
}

#[test]
fn a_pooler_in_session_mode_works() {
    let cluster = Cluster::shared().unwrap();
    let (name, _) = database(cluster);
    let pooler = PgBouncer::start(cluster, "session").expect("PgBouncer");
    let server = TestServer::builder().env("DATABASE_URL", &pooler.url(&name)).start();
    let _ = server.user();
    server.http().get("/health/ready").expects(200);
}

#[test]
fn ssl_require_connected_without_tls() {
    let cluster = Cluster::shared().unwrap();
    let (_, url) = database(cluster);
    expects(&format!("{url}?ssl=require"), &["check sslmode"]);
}
