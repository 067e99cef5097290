//! TLS by the server itself (docs/security.md, "Sockets and bad input"; docs/configuration.md).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use aldis_client::{CallError, Client, Credentials, Options, Server, SignInError};
use aldis_tests::{Identity, RawHttp, TestServer, unique};

/// A certificate for loopback names and its key, in their own directory.
struct Certificate {
    directory: std::path::PathBuf,
    pem: String,
}

impl Certificate {
    fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = std::env::temp_dir().join(unique("aldis-tls"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { directory, pem: made.cert.pem() }
    }

    fn server(&self) -> TestServer {
        let path = |name: &str| self.directory.join(name).to_str().unwrap().to_owned();
        let builder = TestServer::builder().env("ALDIS_TLS_CERT", &path("cert.pem"));
        builder.env("ALDIS_TLS_KEY", &path("key.pem")).start()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_client_connects_over_tls() {
    let certificate = Certificate::new();
    let server = certificate.server();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let credentials = Credentials::key(Identity::new().secret());
        let options = Options::new(&format!("https://{}", server.authority()), credentials).unwrap();
        let (client, _events) = Client::start(options.root_certificates(certificate.pem.as_bytes()).unwrap());
        tokio::time::timeout(Duration::from_secs(10), client.connected()).await.unwrap().unwrap();
        client.stop().await;
    });
}

#[test]
fn calls_go_over_the_same_tls() {
    let certificate = Certificate::new();
    let server = certificate.server();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let calls = Server::new(&format!("https://{}", server.authority())).unwrap();
        let distrusted = calls.clone().sign_in(&Identity::new().secret()).await.unwrap_err();
        assert!(matches!(&distrusted, SignInError::Call(CallError::Dial(_))), "{distrusted}");
        let trusting = calls.root_certificates(certificate.pem.as_bytes()).unwrap();
        let account = trusting.sign_in(&Identity::new().secret()).await.unwrap();
        assert_eq!(account.devices().await.unwrap().len(), 1);
        let (client, _events) = Client::start(account.options());
        tokio::time::timeout(Duration::from_secs(10), client.connected()).await.unwrap().unwrap();
        client.stop().await;
    });
}

#[test]
fn a_tls_handshake_has_ten_seconds() {
    let certificate = Certificate::new();
    let server = certificate.server();
    let mut silent = RawHttp::connect(&server);
    let waited = silent.expects_end(Duration::from_secs(13));
    assert!(waited > Duration::from_secs(8), "the connection ended after {waited:?}");
}

/// What the server prints and logs about its own certificate, and the certificate itself.
fn self_signed(server: &TestServer) -> String {
    server.awaits_log("serving a self-signed certificate (ALDIS_TLS_SELF_SIGNED)");
    fs::read_to_string(server.directory().join("self-signed.pem")).unwrap()
}

#[test]
fn a_self_signed_certificate_is_made_once_and_serves_a_client_that_trusts_it() {
    let server = TestServer::builder().env("ALDIS_TLS_SELF_SIGNED", "1").start();
    let pem = self_signed(&server);
    let certificate = pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let credentials = Credentials::key(Identity::new().secret());
        let options = Options::new(&format!("https://{}", server.authority()), credentials).unwrap();
        let (client, _events) = Client::start(options.root_certificates(certificate.as_bytes()).unwrap());
        tokio::time::timeout(Duration::from_secs(10), client.connected()).await.unwrap().unwrap();
        client.stop().await;
    });
    let mode = fs::metadata(server.directory().join("self-signed.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(server.terminate().success());
    server.restart_same_port();
    assert_eq!(self_signed(&server), pem);
}

#[test]
fn a_self_signed_certificate_that_cannot_be_kept_is_an_error() {
    let server = TestServer::start();
    fs::create_dir(server.directory().join("self-signed.pem")).unwrap();
    let again = TestServer::builder().beside(&server).env("ALDIS_TLS_SELF_SIGNED", "1").run(&[]);
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(
        error.contains("ALDIS_TLS_SELF_SIGNED: cannot use") && error.contains("self-signed.pem"),
        "{error}"
    );
}
