//! `wss`, with a certificate authority made for the test.

use std::sync::Arc;

use aldis_client::{
    Client, ConnectionError, Credentials, DialError, Event, InvalidCertificates, Options, protocol::Codec,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::peer::{Peer, key};

/// A CA as PEM, and a server that it vouches for.
fn authority() -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into()))
        .unwrap();
    (ca_pem, TlsAcceptor::from(Arc::new(config)))
}

fn options(port: u16, ca: &str) -> Options {
    let url = format!("https://127.0.0.1:{port}");
    Options::new(&url, Credentials::key(key())).unwrap().root_certificates(ca.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_given_authority_is_trusted() {
    let (ca, acceptor) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (client, _events) = Client::start(options(port, &ca));
    let (tcp, _) = listener.accept().await.unwrap();
    let mut peer = Peer::accept(acceptor.accept(tcp).await.unwrap(), Codec::Json).await;
    peer.check_key(&format!("127.0.0.1:{port}")).await;
    peer.let_in().await;
    assert!(client.connected().await.is_ok());
}

#[tokio::test]
async fn a_configuration_of_the_applications_own_is_used() {
    let (ca, acceptor) = authority();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let options = Options::new(&url, Credentials::key(key())).unwrap().tls_config(Arc::new(config));
    let (client, _events) = Client::start(options);
    let (tcp, _) = listener.accept().await.unwrap();
    let mut peer = Peer::accept(acceptor.accept(tcp).await.unwrap(), Codec::Json).await;
    peer.check_key(url.trim_start_matches("https://")).await;
    peer.let_in().await;
    assert!(client.connected().await.is_ok());
}

#[tokio::test]
async fn nobody_else_is() {
    let (_, acceptor) = authority();
    let (other_ca, _) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_client, mut events) = Client::start(options(listener.local_addr().unwrap().port(), &other_ca));
    let (tcp, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(tcp).await.is_err());
    let event = events.next().await.unwrap();
    assert!(
        matches!(event, Event::Closed { cause: ConnectionError::Dial(DialError::Tls(_)), .. }),
        "{event:?}"
    );
}

#[test]
fn roots_are_checked_at_the_door() {
    let options = || Options::new("wss://relay.test", Credentials::key(key())).unwrap();
    for bad in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        assert_eq!(options().root_certificates(bad.as_bytes()).unwrap_err(), InvalidCertificates);
    }
}
