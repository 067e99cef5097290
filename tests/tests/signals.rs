//! Signals of the operating system (operations.md, "Signals").

use std::fs;
use std::time::Duration;

use aldis_tests::{TestServer, unique};

#[test]
fn sighup_ended_the_server() {
    let server = TestServer::start();
    server.signals("HUP");
    server.awaits_log("asked to reload files");
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

#[test]
fn tls_files_that_cannot_be_used_are_named_with_their_setting() {
    let builder = TestServer::builder().env("ALDIS_TLS_CERT", "/missing/cert.pem");
    let output = builder.env("ALDIS_TLS_KEY", "/missing/key.pem").run(&[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("ALDIS_TLS_CERT: cannot use /missing/cert.pem"), "{error}");
}
