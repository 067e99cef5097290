//! Backup, restore and migration (docs/backup.md): the copy of a running server, and everything that may be wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use aldis_tests::{Authenticator, Builder, TestServer, unique};
use serde_json::{Value, json};

const PHRASE: &str = "correct horse battery staple";

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("aldis-backup"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Everything in it, hidden files too.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A server's settings whose data directory this is.
    fn builder(&self) -> Builder {
        let builder = TestServer::builder().env("ALDIS_DATA_DIR", &self.file(""));
        builder.env("DATABASE_URL", &format!("sqlite:{}", self.file("aldis.db")))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn beside(server: &TestServer) -> Builder {
    TestServer::builder().beside(server)
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A server with a user, and its backup in a directory.
fn backed_up(arguments: &[&str]) -> (TestServer, Directory, String) {
    let server = TestServer::start();
    let directory = Directory::new();
    let file = directory.file("backup");
    done(beside(&server).run_with(&[&["backup", &file], arguments].concat(), &format!("{PHRASE}\n")));
    (server, directory, file)
}

#[test]
fn a_restore_ends_every_sign_in_and_tells_the_users() {
    let server = TestServer::start();
    let user = server.user();
    let phone = user.device("phone");
    let app = Authenticator::enroll(&user.http());
    let directory = Directory::new();
    let file = directory.file("backup");
    let written: Value =
        serde_json::from_str(&done(beside(&server).run(&["backup", &file, "--json"]))).unwrap();
    assert_eq!((&written["sealed"], &written["file"]), (&json!(false), &json!(file)), "{written}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(directory.names(), ["backup"]);
    let late = server.user();

    let error = refused(beside(&server).run(&["restore", &file]), 3);
    assert!(error.contains("aldis.db exists") && error.contains("--overwrite"), "{error}");
    let error = refused(beside(&server).run(&["restore", &file, "--overwrite"]), 3);
    assert!(error.contains("a server or another program uses"), "{error}");
    assert!(server.terminate().success());
    let report = done(beside(&server).run(&["restore", &file, "--overwrite", "--json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["accounts"], &report["devices"]), (&json!(1), &json!(1)), "{report}");
    server.restart_same_port();

    user.http().get("/devices/").expects_problem(401, "expired_token");
    let refresh = json!({"refresh_token": user.refresh_token});
    server.http().post("/api/auth/refresh", &refresh).expects_problem(401, "revoked");
    late.logs_in(&json!({})).expects_problem(401, "invalid_credentials");
    user.logs_in(&json!({"totp_code": app.next_code()})).expects(200);
    let mut peer = phone.key.connects(&server, Some(&phone.id));
    while peer.expects("alert")["payload"]["kind"] != "server_restored" {}
}

#[test]
fn a_sealed_backup_opens_with_its_passphrase_only() {
    let (server, directory, file) = backed_up(&["--seal"]);
    let ring = fs::read(server.directory().join("aldis.key")).unwrap();
    let secret = &ring[ring.len() - 20..];
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the key file in the clear");
    let target = Directory::new();
    let error = refused(target.builder().run_with(&["restore", &file], "another horse battery\n"), 3);
    assert!(error.contains("the passphrase is wrong"), "{error}");
    assert_eq!(target.names(), Vec::<String>::new(), "nothing is half done");
    let phrase = directory.file("phrase");
    fs::write(&phrase, format!("{PHRASE}\n")).unwrap();
    done(target.builder().run(&["restore", &file, "--passphrase-file", &phrase]));
    assert_eq!(target.names(), ["aldis.db", "aldis.key"]);
    assert_eq!(fs::read(target.file("aldis.key")).unwrap(), ring);
    for name in target.names() {
        assert_eq!(fs::metadata(target.file(&name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let other = Directory::new();
    let environment = other.builder().env("ALDIS_BACKUP_PASSPHRASE", PHRASE);
    done(environment.run(&["restore", &file]));
}

#[test]
fn a_passphrase_that_is_short_or_missing_seals_nothing() {
    let server = TestServer::shared();
    let directory = Directory::new();
    let file = directory.file("backup");
    for input in ["", "short\n"] {
        let error = refused(beside(&server).run_with(&["backup", &file, "--seal"], input), 3);
        assert!(error.contains("at least 12 bytes"), "{error}");
    }
    let missing = directory.file("missing");
    let error = refused(beside(&server).run(&["backup", &file, "--passphrase-file", &missing]), 1);
    assert!(error.contains(&missing), "{error}");
    refused(beside(&server).run(&["backup", &file, "--passphrase", PHRASE]), 2);
    assert_eq!(directory.names(), Vec::<String>::new());
}

#[test]
fn a_backup_that_is_cut_short_damaged_or_something_else_is_refused() {
    let (_server, directory, file) = backed_up(&[]);
    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] ^= 1;
    let text = String::from_utf8_lossy(&whole);
    let head = text.split('\n').nth(1).unwrap();
    let schema = serde_json::from_str::<Value>(head).unwrap()["schema"].as_i64().unwrap();
    let with_head = |from: String, to: &str| {
        let end = "aldis backup\n".len() + head.len();
        let newer = head.replace(&from, to);
        [b"aldis backup\n", newer.as_bytes(), &whole[end..]].concat()
    };
    let cases = [
        (whole[..middle].to_vec(), "damaged or was cut short"),
        (changed, "damaged or was cut short"),
        (whole[..10].to_vec(), "no backup of Aldis"),
        (b"SQLite format 3\0and so on".to_vec(), "no backup of Aldis"),
        (with_head("\"format\":1".to_owned(), "\"format\":7"), "has format 7"),
        (with_head(format!("\"schema\":{schema}"), "\"schema\":9999"), "tables of version 9999"),
    ];
    let target = Directory::new();
    for (content, problem) in cases {
        let bad = directory.file("bad");
        fs::write(&bad, content).unwrap();
        let error = refused(target.builder().run(&["restore", &bad]), 3);
        assert!(error.contains(problem) && error.contains(&bad), "{problem}: {error}");
        assert_eq!(target.names(), Vec::<String>::new(), "{problem}");
    }
    let error = refused(target.builder().run(&["restore", &directory.file("missing")]), 1);
    assert!(error.contains("cannot read"), "{error}");
}

#[test]
fn another_key_file_is_not_replaced_by_mistake() {
    let (_server, _directory, file) = backed_up(&[]);
    let target = Directory::new();
    let other = TestServer::start();
    fs::copy(other.directory().join("aldis.key"), target.file("aldis.key")).unwrap();
    let error = refused(target.builder().run(&["restore", &file]), 3);
    assert!(error.contains("another key file"), "{error}");
    assert_eq!(target.names(), ["aldis.key"]);
    done(target.builder().run(&["restore", &file, "--overwrite"]));
    assert_eq!(target.names(), ["aldis.db", "aldis.key"]);
}

#[test]
fn a_disk_that_is_too_full_leaves_nothing_behind() {
    let (server, directory, file) = backed_up(&[]);
    let second = directory.file("second");
    let error = refused(beside(&server).limits_files(64 * 1024).run(&["backup", &second]), 1);
    assert!(error.contains("free some space"), "{error}");
    assert_eq!(directory.names(), ["backup"]);
    let target = Directory::new();
    let error = refused(target.builder().limits_files(64 * 1024).run(&["restore", &file]), 1);
    assert!(error.contains("free some space"), "{error}");
    assert_eq!(target.names(), Vec::<String>::new());
    done(target.builder().run(&["restore", &file]));
}

#[test]
fn what_is_in_the_way_is_named() {
    let (server, _directory, file) = backed_up(&[]);
    let error = refused(beside(&server).run(&["backup", &file]), 3);
    assert!(error.contains("name another file"), "{error}");
    let error = refused(beside(&server).run(&["backup", "/nowhere/backup"]), 1);
    assert!(error.contains("/nowhere/backup"), "{error}");
    let target = Directory::new();
    let missing = target.file("missing");
    let error = refused(target.builder().run(&["restore", &file, "--data-dir", &missing]), 1);
    assert!(error.contains(&missing) && error.contains("does not exist"), "{error}");
}

#[test]
fn postgresql_is_copied_by_its_own_tools_and_signed_out_afterwards() {
    let server = TestServer::builder().postgres().start();
    let user = server.user();
    let tokens = user.logs_in(&json!({})).expects(200);
    let directory = Directory::new();
    let error = refused(beside(&server).run(&["backup", &directory.file("backup")]), 2);
    assert!(error.contains("pg_dump") && error.contains("aldis.key"), "{error}");
    let error = refused(beside(&server).run(&["restore", &directory.file("backup")]), 2);
    assert!(error.contains("--after-pg-restore"), "{error}");
    let ended: Value =
        serde_json::from_str(&done(beside(&server).run(&["restore", "--after-pg-restore", "--json"])))
            .unwrap();
    assert_eq!(ended["accounts"], 1, "{ended}");
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    server.http().post("/api/auth/refresh", &refresh).expects_problem(401, "revoked");
    let sqlite = TestServer::shared();
    let error = refused(beside(&sqlite).run(&["restore", "--after-pg-restore"]), 2);
    assert!(error.contains("aldis restore FILE"), "{error}");
}
