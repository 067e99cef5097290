//! What an operator sees and does beside running servers (docs/command-line.md): sessions, rooms, messages, migrations.

use std::borrow::Cow;
use std::path::Path;
use std::process::Output;

use aldis_tests::mail::{await_that, message};
use aldis_tests::{Builder, Peer, TestServer, User, unique};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// The command line of a server's operator, who has its admin listener's address too.
fn operator(server: &TestServer) -> Builder {
    let url = server.metrics_url().expect("an admin listener");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
    TestServer::builder().beside(server).env("ALDIS_ADMIN_LISTEN", &address)
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json_of(output: Output) -> Value {
    let text = done(output);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

#[track_caller]
fn refused(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn both() -> [TestServer; 2] {
    [TestServer::start(), TestServer::builder().postgres().start()]
}

fn makes_room(owner: &User, room: &str, members: &[&User]) {
    let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    let body = json!({"room": room, "visibility": "private", "members": members});
    owner.http().post("/api/rooms", &body).expects(201);
}

fn joins(peer: &mut Peer, room: &str) {
    peer.sends(json!({"type": "join", "room": room}));
    peer.expects("ack");
    peer.expects("room_members");
    peer.expects("room_update");
}

#[test]
fn sessions_are_listed_for_who_can_read_the_key_file() {
    let server = TestServer::start();
    let user = server.user();
    let phone = user.device("phone");
    let (_by_token, by_key) = (user.opens_ephemeral(), phone.key.connects(&server, Some(&phone.id)));
    let sessions = json_of(operator(&server).run(&["sessions", "list", "--json"]));
    let of_phone =
        sessions.as_array().unwrap().iter().find(|session| session["device"] == json!(phone.id)).unwrap();
    assert_eq!(
        (&of_phone["user"], &of_phone["state"], &of_phone["proof"]),
        (&json!(user.id), &json!("connected"), &json!("key"))
    );
    drop(by_key);
    await_that("the session to wait for its client", || {
        done(operator(&server).run(&["sessions", "list"])).contains(&format!("{}\taway\tkey", phone.id))
    });
    assert_eq!(done(operator(&server).run(&["sessions", "list"])).lines().count(), 3);

    let url = server.metrics_url().unwrap().replace("/metrics", "/sessions.json");
    let client = reqwest::blocking::Client::new();
    for bearer in ["", "nonsense", &"0".repeat(64)] {
        assert_eq!(client.get(&url).bearer_auth(bearer).send().unwrap().status(), 403, "{bearer}");
    }
    let other = TestServer::start();
    let address = other.metrics_url().unwrap();
    let address = address.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let with_another_key = TestServer::builder().beside(&server).env("ALDIS_ADMIN_LISTEN", address);
    assert!(refused(with_another_key.run(&["sessions", "list"]), 1).contains("key file"));
}

#[test]
fn sessions_cannot_be_listed_without_a_server_or_its_port() {
    let server = TestServer::start();
    let gone = operator(&server);
    assert!(server.terminate().success());
    let error = refused(gone.run(&["sessions", "list"]), 1);
    assert!(error.contains("ALDIS_ADMIN_LISTEN"), "{error}");
    let error = refused(TestServer::builder().beside(&server).run(&["sessions", "list"]), 2);
    assert!(error.contains("port of ALDIS_ADMIN_LISTEN is 0"), "{error}");
}

#[test]
fn the_session_of_a_device_is_closed_on_every_node_and_may_come_back() {
    for server in both() {
        let other = TestServer::builder().beside(&server).start();
        let user = server.user();
        let phone = user.device("phone");
        let mut peer = phone.key.connects(&other, Some(&phone.id));
        let mut laptop = user.opens_ephemeral();
        let said = done(operator(&server).run(&["sessions", "close", &phone.id]));
        assert_eq!(said, format!("{}\tordered\n", phone.id));
        peer.expects_error_and_close("revoked", 4301);
        laptop.expects_nothing();
        drop(phone.key.connects(&other, Some(&phone.id)));
        refused(operator(&server).run(&["sessions", "close", "no such/device"]), 2);
    }
}

#[test]
fn a_room_is_listed_shown_and_removed_under_the_feet_of_its_members() {
    for server in both() {
        let (owner, guest) = (server.user(), server.user());
        guest.allows(&owner);
        let room = unique("harbour");
        makes_room(&owner, &room, &[&guest]);
        let mut peer = owner.opens_ephemeral();
        joins(&mut peer, &room);
        let rooms = json_of(operator(&server).run(&["rooms", "list", "--json"]));
        assert_eq!((&rooms[0]["room"], &rooms[0]["owner"]), (&json!(room), &json!(owner.id)), "{rooms}");
        let shown = json_of(operator(&server).run(&["rooms", "show", &room, "--json"]));
        assert_eq!(
            (&shown["members"], &shown["invited"], &shown["visibility"]),
            (&json!(1), &json!(1), &json!("private"))
        );
        assert!(shown["users"].to_string().contains(&guest.id), "{shown}");
        assert!(
            done(operator(&server).run(&["rooms", "show", &room])).contains(&format!("{}\tjoined", owner.id))
        );

        assert_eq!(done(operator(&server).run(&["rooms", "remove", &room])), format!("{room}\tremoved\n"));
        let left = peer.expects("member_left");
        assert_eq!(left["room"], json!(room), "{left}");
        owner.http().get(&format!("/api/rooms/{room}")).expects_problem(404, "unknown_room");
        assert_eq!(json_of(operator(&server).run(&["rooms", "list", "--json"])), json!([]));
        for command in ["show", "remove"] {
            let error = refused(operator(&server).run(&["rooms", command, &room]), 3);
            assert!(error.contains("aldis rooms list"), "{error}");
        }
    }
}

#[test]
fn a_message_is_traced_without_its_content() {
    for server in both() {
        let (ann, ben) = (server.user(), server.user());
        ben.allows(&ann);
        let (mut sender, mut recipient) = (ann.connects("phone"), ben.connects("phone"));
        sender.sends(message("first", &ben.id, b"secret words"));
        let id = sender.expects("ack")["message_id"].as_str().unwrap().to_owned();
        recipient.expects("message");
        let trace = || json_of(operator(&server).run(&["trace", &id, "--json"]));
        let found = trace();
        assert_eq!((&found["sender"], &found["recipient"]), (&json!(ann.id), &json!(ben.id)), "{found}");
        assert_eq!((&found["request"], &found["bytes"]), (&json!("first"), &json!(12)));
        assert!(
            found["accepted_at"].is_string() && found["stored_at"].is_string() && found["read_at"].is_null()
        );
        recipient.sends(json!({"type": "delivered", "id": "d", "message_ids": [id]}));
        await_that("the receipt to be stored", || trace()["delivered_at"].is_string());
        assert!(!done(operator(&server).run(&["trace", &id])).contains("secret"));
        let unknown = uuid::Uuid::now_v7().to_string();
        assert!(refused(operator(&server).run(&["trace", &unknown]), 3).contains("no message"));
        refused(operator(&server).run(&["trace", "nonsense"]), 2);
    }
}

/// A SQLite database as the server had it before the last migrations, with many contacts, which the next one rewrites.
async fn old_database(file: &Path, up_to: i64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/migrations/sqlite");
    let mut migrator = Migrator::new(folder).await.unwrap();
    migrator.migrations = Cow::Owned(migrator.iter().filter(|one| one.version <= up_to).cloned().collect());
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    let contacts = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
         INSERT INTO contacts (user_id, peer_id, asked_by_address, asked_at_ms) \
         SELECT randomblob(16), randomblob(16), 0, i FROM n";
    sqlx::query(contacts).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn a_backup_of_an_older_version_is_migrated_and_leaves_nothing_where_the_disk_is_too_small() {
    let server = TestServer::start();
    let directory = std::env::temp_dir().join(unique("aldis-old"));
    let (old, new) = (directory.join("old"), directory.join("new"));
    for path in [&directory, &old, &new] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::copy(server.directory().join("aldis.key"), old.join("aldis.key")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(old_database(&old.join("aldis.db"), 19));
    let at = |path: &Path| {
        let database = format!("sqlite:{}", path.join("aldis.db").display());
        TestServer::builder().env("ALDIS_DATA_DIR", path.to_str().unwrap()).env("DATABASE_URL", &database)
    };
    let file = directory.join("backup");
    let file = file.to_str().unwrap();
    assert_eq!(json_of(at(&old).run(&["backup", file, "--json"]))["schema"], 19);
    let size = std::fs::metadata(file).unwrap().len();
    let error = refused(at(&new).limits_files(size + 4_096).run(&["restore", file]), 1);
    assert!(error.contains("free some space"), "{error}");
    assert_eq!(std::fs::read_dir(&new).unwrap().count(), 0, "nothing is half done");
    json_of(at(&new).run(&["restore", file, "--json"]));
    assert!(done(at(&new).run(&["migrate", "--dry-run"])).contains("is up to date"));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_dry_run_lists_what_the_database_lacks_and_changes_nothing() {
    let server = TestServer::start();
    let up_to_date = done(operator(&server).run(&["migrate", "--dry-run"]));
    assert!(up_to_date.contains("is up to date at version"), "{up_to_date}");
    let directory = std::env::temp_dir().join(unique("aldis-migrate"));
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("aldis.db");
    let run = |arguments: &[&str]| {
        let url = format!("sqlite:{}", file.display());
        TestServer::builder().env("DATABASE_URL", &url).run(&[&["migrate"], arguments].concat())
    };
    let new = json_of(run(&["--dry-run", "--json"]));
    assert_eq!((&new["from"], &new["dry_run"]), (&json!(0), &json!(true)));
    assert!(!file.exists(), "a dry run creates nothing");
    tokio::runtime::Runtime::new().unwrap().block_on(old_database(&file, 19));
    let before = std::fs::read(&file).unwrap();
    let lacks = json_of(run(&["--dry-run", "--json"]));
    assert_eq!((&lacks["from"], &lacks["migrations"][0]["version"]), (&json!(19), &json!(24)), "{lacks}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let url = format!("sqlite:{}", file.display());
    let full = TestServer::builder().env("DATABASE_URL", &url).limits_files(before.len() as u64 / 2);
    let error = refused(full.run(&["migrate"]), 1);
    assert!(error.contains("free some space on its disk"), "{error}");
    assert_eq!(json_of(run(&["--dry-run", "--json"])), lacks, "the old tables are left");

    let migrated = done(run(&[]));
    assert!(
        migrated.contains("was migrated from version 19 to") && migrated.contains("\n24\t"),
        "{migrated}"
    );
    assert!(done(run(&["--dry-run"])).contains("is up to date"));
    std::fs::remove_dir_all(&directory).unwrap();
}
