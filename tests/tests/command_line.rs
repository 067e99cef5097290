//! The commands beside the server: health check, completions, man pages, settings in force (docs/command-line.md).

use std::process::Output;
use std::{fs, path::Path};

use aldis_tests::{TestServer, unique};
use serde_json::Value;

/// Runs `aldis healthcheck …` against a server.
fn check(server: &TestServer, arguments: &[&str]) -> Output {
    let port = server.address().port().to_string();
    TestServer::builder().env("PORT", &port).run(&[&["healthcheck"], arguments].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_server_that_takes_clients_is_well() {
    let server = TestServer::shared();
    let output = check(&server, &[]);
    assert!(output.status.success() && output.stdout == b"ok\n", "{output:?}");
    let json: Value = serde_json::from_slice(&check(&server, &["--json"]).stdout).unwrap();
    assert_eq!(json["status"], "ok");
}

#[test]
fn a_server_whose_disk_is_full_is_alive_but_takes_no_clients() {
    let server = TestServer::start();
    server.limits_files(Some(1));
    let output = check(&server, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("503: the database cannot be written"), "{output:?}");
    assert!(check(&server, &["--live"]).status.success());
}

#[test]
fn a_server_with_tls_is_asked_over_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["aldis.example".to_owned()]).unwrap();
    let server = TestServer::start();
    let file = |name: &str, content: &str| {
        let path = server.directory().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) =
        (file("cert.pem", &made.cert.pem()), file("key.pem", &made.signing_key.serialize_pem()));
    let secured = TestServer::builder().env("ALDIS_TLS_CERT", &cert).env("ALDIS_TLS_KEY", &key).start();
    let output = check(&secured, &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(output.status.success(), "{output:?}");
    let plain = check(&secured, &[]);
    assert_eq!(plain.status.code(), Some(1), "{plain:?}");
}

#[test]
fn without_a_server_the_error_names_the_address_and_the_settings() {
    let server = TestServer::start();
    server.kill9();
    let output = check(&server, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(&server.authority()) && error.contains("HOST and PORT"), "{error}");
    let unknown = TestServer::builder().run(&["healthcheck"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("set PORT"), "{unknown:?}");
}

#[test]
fn serve_is_what_aldis_does_without_a_command() {
    let taken = TestServer::shared();
    let port = taken.address().port().to_string();
    for arguments in [&["--port", &port][..], &["serve", "--port", &port], &["--port", &port, "serve"]] {
        let output = TestServer::builder().run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("cannot listen on"), "{output:?}");
    }
    let wrong = TestServer::builder().run(&["serve", "--prot", "1"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn the_settings_in_force_are_json_too() {
    let output = TestServer::builder().run(&["check-config", "--json", "--host", "0.0.0.0"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| {
        report["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(
        setting("HOST"),
        serde_json::json!({"name": "HOST", "value": "0.0.0.0", "source": "flag --host"})
    );
    assert_eq!(setting("SECRET_KEY")["value"], "***");
    assert!(setting("ALDIS_TLS_CERT")["value"].is_null());
    assert!(report["warnings"][0].as_str().unwrap().contains("without TLS"), "{report}");
}

#[test]
fn completions_and_man_pages_need_no_settings() {
    let script = TestServer::builder().env("PORT", "seventy").run(&["completions", "bash"]);
    assert!(script.status.success() && text(&script.stdout).contains("healthcheck"), "{script:?}");
    let page = TestServer::builder().env("PORT", "seventy").run(&["man"]);
    assert!(text(&page.stdout).contains(".TH aldis 1"), "{page:?}");
    let directory = std::env::temp_dir().join(unique("aldis-man"));
    let nowhere = TestServer::builder().run(&["man", directory.to_str().unwrap()]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(text(&nowhere.stderr).contains("name an existing directory"), "{nowhere:?}");
    assert!(!Path::new(&directory).exists());
}
