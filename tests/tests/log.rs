//! What the log says at info about connections and accounts (docs/operations.md, "The log").

use aldis_protocol::ErrorCode;
use aldis_protocol::statement::Transport;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use aldis_tests::{Authenticator, Frame, Identity, TestServer, Upgrade, User, binary, unique};
use serde_json::json;

/// The log of a server that has been told to stop.
fn log_of(server: &TestServer) -> String {
    assert!(server.terminate().success(), "exit 0");
    server.log()
}

/// The lines that have each of these texts.
fn lines<'a>(log: &'a str, texts: &[&str]) -> Vec<&'a str> {
    log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).collect()
}

/// Expects exactly one line with each of these texts, at info.
#[track_caller]
fn once<'a>(log: &'a str, texts: &[&str]) -> &'a str {
    let found = lines(log, texts);
    assert_eq!(found.len(), 1, "lines with {texts:?} in {log}");
    assert!(found[0].contains(" INFO "), "{}", found[0]);
    found[0]
}

fn of(user: &User) -> String {
    format!("user={}", user.id)
}

/// The number in a field of a line.
#[track_caller]
fn number(line: &str, field: &str) -> u64 {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{field} in {line}"))
}

#[test]
fn a_session_is_followed_from_its_beginning_to_its_end() {
    let server = TestServer::start();
    let user = server.user();
    let device = user.device("phone").id;
    let mut peer = user.opens(&device);
    for id in ["one", "two"] {
        peer.sends(json!({"type": "ping", "id": id}));
        peer.expects("pong");
    }
    let resume = peer.connected["session"]["resume_token"].as_str().unwrap().to_owned();
    let session = peer.connected["session"]["id"].as_str().unwrap().to_owned();
    peer.socket.breaks();
    server.awaits_log("disconnected");

    let back = Upgrade::to("/signal").bearer(&user.token).query("device_id", &device);
    let mut back =
        back.query("resume", &resume.replace('+', "%2B")).query("received", "0").connected(&server);
    back.socket.sends(&Frame::close(1000, ""));
    server.awaits_log("by=\"client\"");

    let log = log_of(&server);
    let id = format!("id={session}");
    let span = [&*id, &of(&user), &format!("device=\"{device}\""), "door=\"/signal\""];
    let with = |text: &'static str| [&span[..], &[text]].concat();
    once(&log, &with("connected proof=\"token\""));
    once(&log, &with(": resumed replayed="));
    let broken = once(&log, &with("disconnected by=\"network\" resumable=true"));
    assert_eq!((number(broken, "received"), number(broken, "sent")), (2, 2), "{broken}");
    let closed = once(&log, &with("disconnected by=\"client\" code=1000 resumable=false"));
    assert!(number(closed, "session_ms") >= number(closed, "socket_ms"), "{closed}");
    assert_eq!(number(closed, "received"), 0, "{closed}");
    assert_eq!(lines(&log, &span).len(), 4, "{log}");
}

#[test]
fn a_session_whose_client_stays_away_ends_with_a_line() {
    let server = TestServer::builder().env("ALDIS_RESUME_WINDOW", "1").start();
    let user = server.user();
    user.opens_ephemeral().socket.breaks();
    server.awaits_log("session ended");
    let log = log_of(&server);
    once(&log, &[&of(&user), "disconnected by=\"network\" resumable=true"]);
    let ended = once(&log, &[&of(&user), ": session ended session_ms="]);
    assert!(number(ended, "session_ms") >= 1_000, "{ended}");
}

#[test]
fn a_close_by_the_server_is_logged_with_its_code_and_reason() {
    let server = TestServer::builder().env("ALDIS_RESUME_WINDOW", "0").start();
    let user = server.user();
    let mut peer = user.opens_ephemeral();
    user.http().post("/api/auth/logout", &json!({})).expects(204);
    peer.expects_error_and_close("revoked", 4301);
    let log = log_of(&server);
    once(&log, &[&of(&user), "disconnected by=\"server\" code=4301 reason=\"revoked\" resumable=false"]);
    once(&log, &["signed out", &of(&user), "everywhere=false"]);
}

#[test]
fn refusals_at_the_doors_are_logged_once_in_a_while() {
    let server = TestServer::start();
    for _ in 0..20 {
        let upgrade = Upgrade::to("/signal").query("token", "a-bad-token");
        upgrade.peer(&server).expects_error_and_close("invalid_token", 4002);
        let page = Upgrade::to("/api/ws").header("Origin", "https://evil.example");
        assert_eq!(page.refused(&server).status, 403);
    }
    assert_eq!(Upgrade::to("/api/ws").bearer("a-bad-token").refused(&server).status, 401);
    let log = log_of(&server);
    let refused = lines(&log, &["connection refused", "door=\"/signal\"", "code=\"invalid_token\""]);
    assert!((1..=5).contains(&refused.len()), "{log}");
    let refused = lines(&log, &["connection refused door=\"/api/ws\" code=\"forbidden\""]);
    assert!((1..=5).contains(&refused.len()), "{log}");
    assert!(refused[0].contains("origin=\"https://evil.example\" left_out=0"), "{refused:?}");
    let refused = once(&log, &["connection refused door=\"/api/ws\" code=\"invalid_token\""]);
    assert!(!refused.contains("origin"), "{refused}");
    assert!(!log.contains("a-bad-token"), "{log}");
}

#[test]
fn sign_ins_are_logged_with_their_method_and_outcome() {
    let server = TestServer::start();
    let user = server.user();
    for _ in 0..3 {
        user.logs_in(&json!({"password": "the wrong one"})).expects_problem(401, "invalid_credentials");
    }
    let device = user.device("phone");
    user.logs_in(&json!({"device_id": device.id})).expects(200);
    device.key.signs_in(&server, Some(&device.id)).expects(200);
    let key = Identity::new();
    let by_key = key.signs_in(&server, None).expects(201);
    let by_key = format!("user={}", by_key["user_id"].as_str().unwrap());
    server.http().post("/api/auth/refresh", &json!({"refresh_token": "nonsense"})).expects(401);
    let connected = key.connects(&server, None);
    drop(connected);

    let log = log_of(&server);
    once(&log, &["account created", &of(&user), "method=\"password\""]);
    once(&log, &["account created", &by_key, "method=\"key\""]);
    once(&log, &["signed in", &by_key, "method=\"key\" second_factor=false"]);
    let bound = format!("device=\"{}\"", device.id);
    once(&log, &["signed in", &of(&user), "method=\"password\"", &bound]);
    once(&log, &["signed in", &of(&user), "method=\"device_key\"", &bound]);
    let refused = once(&log, &["sign-in refused", "method=\"password\""]);
    assert!(refused.contains(&format!("code=\"{}\"", ErrorCode::InvalidCredentials.as_str())), "{refused}");
    assert!(refused.contains(&of(&user)) && refused.contains("left_out=0"), "{refused}");
    once(&log, &["sign-in refused", "method=\"refresh\" code=\"invalid_token\""]);
    once(&log, &[&by_key, "door=\"/v1/connect\"", "connected proof=\"key\""]);
    for private in [&*user.email, "the wrong one", &user.password, &user.token, &user.refresh_token] {
        assert!(!log.contains(private), "{private} in {log}");
    }
}

#[test]
fn changes_of_an_account_are_logged() {
    let server = TestServer::start();
    let user = server.user();
    let device = user.device("phone");
    let app = Authenticator::enroll(&user.http());
    app.removes(&user.http(), &app.next_code()).expects(204);
    user.http().delete(&format!("/devices/{}", device.id)).expects(204);
    let new = json!({"old_password": user.password, "new_password": "another horse battery"});
    user.http().post("/api/auth/password", &new).expects(204);
    let identity = Identity::new();
    let challenge = identity.challenge(&server, None);
    let signature = identity.signs(&challenge, Transport::Http, None);
    let body = json!({
        "public_key": identity.public(), "challenge": challenge["challenge"], "signature": signature,
    });
    user.http().post("/api/identity/link", &body).expects(200);
    let disabled = server.user();
    let signed_out = server.user();
    for command in [["accounts", "disable", &disabled.id], ["accounts", "revoke", &signed_out.id]] {
        assert!(TestServer::builder().beside(&server).run(&command).status.success(), "{command:?}");
    }
    server.awaits_log("account disabled");
    server.awaits_log("every sign-in revoked");
    user.http().delete("/api/account").expects(204);

    let log = log_of(&server);
    let bound = format!("device=\"{}\"", device.id);
    for line in [
        "device added",
        "second factor added",
        "second factor removed",
        "device removed",
        "password changed",
        "identity linked",
        "account deleted",
    ] {
        let line = once(&log, &[line, &of(&user)]);
        assert_eq!(line.contains(&bound), line.contains("device added") || line.contains("device removed"));
    }
    once(&log, &["account disabled", &of(&disabled)]);
    once(&log, &["every sign-in revoked", &of(&signed_out)]);
    for private in [&*user.email, "another horse battery", &app.base32(), &signature] {
        assert!(!log.contains(private), "{private} in {log}");
    }
}

#[test]
fn the_database_library_logs_nothing_over_postgresql() {
    let server = TestServer::builder().postgres().start();
    let user = server.user();
    let device = user.device("phone").id;
    user.opens(&device).expects_nothing();
    let log = log_of(&server);
    once(&log, &["device added", &of(&user)]);
    assert_eq!(lines(&log, &["sqlx"]), Vec::<&str>::new());

    // The same work at debug, to show that there was something to leave out.
    let server = TestServer::builder().postgres().env("ALDIS_LOG", "debug").start();
    let _user = server.user();
    assert!(!lines(&log_of(&server), &["sqlx"]).is_empty());
}

/// The log of a start that fails, written to a file; `JOURNAL_STREAM` names that file or another one.
fn log_in_a_file(is_the_journal: bool) -> String {
    let path = std::env::temp_dir().join(unique("aldis-journal"));
    let file = File::create(&path).unwrap();
    let of = file.metadata().unwrap();
    let stream = format!("{}:{}", of.dev(), of.ino() + u64::from(!is_the_journal));
    let command = Command::new(binary())
        .env_clear()
        .env("JOURNAL_STREAM", stream)
        .args(["--host", "0.0.0.0", "--database-url", "sqlite:/missing/aldis.db", "--data-dir"])
        .arg(std::env::temp_dir().join("missing"))
        .stderr(file)
        .status();
    assert_eq!(command.unwrap().code(), Some(1));
    let log = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    log
}

#[test]
fn the_journal_has_a_time_of_its_own_and_gets_the_priority() {
    let log = log_in_a_file(true);
    let warning = "<4> WARN aldis: listening on 0.0.0.0:8000 without TLS";
    assert!(log.lines().any(|line| line.starts_with(warning)), "{log}");
}

#[test]
fn a_log_that_was_redirected_from_the_journal_has_times() {
    let log = log_in_a_file(false);
    let warning = log.lines().find(|line| line.contains("without TLS")).expect("a warning");
    assert!(warning.starts_with("20") && warning.contains(" WARN aldis: listening on"), "{log}");
}
