//! Signals of the operating system (operations.md, "Signals").

use std::fs;
use std::time::Duration;

use aldis_tests::{TestServer, unique};
use serde_json::json;

#[test]
fn sighup_ended_the_server() {
    let server = TestServer::start();
    server.signals("HUP");
    server.awaits_log("read the settings again");
    server.signals("USR1");
    server.signals("USR2");
    server.http().get("/health").expects(200);
    assert!(server.terminate().success());
}

#[test]
fn sigquit_drains() {
    let server = TestServer::start();
    let mut peer = server.user().opens_ephemeral();
    server.signals("QUIT");
    peer.expects("server_draining");
    assert!(server.awaits_exit(Duration::from_secs(15)).success());
}

#[test]
fn sighup_reloads_the_certificate() {
    let directory = std::env::temp_dir().join(unique("aldis-hangup"));
    fs::create_dir(&directory).unwrap();
    let write = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    write();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let server = TestServer::builder()
        .env("ALDIS_TLS_CERT", &path("cert.pem"))
        .env("ALDIS_TLS_KEY", &path("key.pem"))
        .start();
    fs::write(directory.join("key.pem"), "no key").unwrap();
    server.signals("HUP");
    server.awaits_log("ALDIS_TLS_KEY: cannot use");
    write();
    server.signals("HUP");
    server.awaits_log("serving a new certificate");
    assert!(server.terminate().success());
    let _ = fs::remove_dir_all(directory);
}

/// A configuration file in its own directory.
struct ConfigFile(std::path::PathBuf);

impl ConfigFile {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(unique("aldis-config"));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn server(&self) -> TestServer {
        TestServer::builder().env("ALDIS_CONFIG", self.0.to_str().unwrap()).start()
    }

    /// Replaces the file, sends SIGHUP and waits for a line of the log.
    fn reloads(&self, server: &TestServer, text: &str, line: &str) {
        fs::write(&self.0, text).unwrap();
        server.signals("HUP");
        server.awaits_log(line);
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn registers(server: &TestServer, status: u16) {
    let body = json!({"email": format!("{}@example.test", unique("ann")), "password": "a long password"});
    server.http().post("/auth/register", &body).expects(status);
}

#[test]
fn sighup_takes_the_settings_that_can_change() {
    let file = ConfigFile::new("");
    let server = file.server();
    let user = server.user();
    registers(&server, 201);
    let closed = "registration = \"closed\"\nlog = \"debug\"\n[stun]\nurls = \"stun:other.example\"\n";
    let changed = "changed=[\"ALDIS_LOG\", \"ALDIS_REGISTRATION\", \"ALDIS_STUN_URLS\"]";
    file.reloads(&server, closed, changed);
    registers(&server, 403);
    let servers = user.http().get("/api/ice-servers").expects(200);
    assert_eq!(servers[0]["urls"][0], "stun:other.example");
    server.awaits_log("DEBUG");
    file.reloads(
        &server,
        "log = \"off\"",
        "changed=[\"ALDIS_LOG\", \"ALDIS_REGISTRATION\", \"ALDIS_STUN_URLS\"]",
    );
    registers(&server, 201);
}

#[test]
fn sighup_names_what_needs_a_restart() {
    let file = ConfigFile::new("");
    let server = file.server();
    file.reloads(
        &server,
        "routing = \"open\"\n",
        "ALDIS_ROUTING has changed; the server takes it at its next start",
    );
}

#[test]
fn sighup_with_an_invalid_file_changes_nothing() {
    let file = ConfigFile::new("");
    let server = file.server();
    file.reloads(
        &server,
        "registration = \"closed\"\nruting = \"open\"\n",
        "the settings stay as they are: ",
    );
    server.awaits_log("there is no setting \"ruting\"");
    registers(&server, 201);
    fs::remove_file(&file.0).unwrap();
    server.signals("HUP");
    server.awaits_log("ALDIS_CONFIG: cannot read");
    server.http().get("/health").expects(200);
}

#[test]
fn tls_files_that_cannot_be_used_are_named_with_their_setting() {
    let builder = TestServer::builder().env("ALDIS_TLS_CERT", "/missing/cert.pem");
    let output = builder.env("ALDIS_TLS_KEY", "/missing/key.pem").run(&[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("ALDIS_TLS_CERT: cannot use /missing/cert.pem"), "{error}");
}
