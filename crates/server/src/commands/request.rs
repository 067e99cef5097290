//! One HTTP request to the server on this machine.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Deserialize;

/// A little longer than the server takes at most to find out that its database does not answer.
const TIMEOUT: Duration = Duration::from_secs(7);
/// More than the sessions of a full node.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// A request.
pub(super) struct Request<'a> {
    pub(super) address: SocketAddr,
    pub(super) path: &'a str,
    pub(super) tls: bool,
    /// The credential after `Bearer`.
    pub(super) bearer: Option<&'a str>,
}

/// The server's answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Where a server that listens on `listen` can be reached from this machine. `None` for a port that only the server knows.
pub(super) fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}

#[derive(Deserialize)]
struct ProblemDetail {
    detail: String,
}

impl Answer {
    /// What the server says about a refusal.
    pub(super) fn detail(&self) -> String {
        serde_json::from_str::<ProblemDetail>(&self.body)
            .map_or_else(|_| self.body.clone(), |body| body.detail)
    }
}

impl Request<'_> {
    /// Sends it and reads the whole answer.
    pub(super) fn send(&self) -> io::Result<Answer> {
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        if self.tls { self.exchange(secured(stream, self.address)?) } else { self.exchange(stream) }
    }

    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<Answer> {
        let authorization =
            self.bearer.map(|bearer| format!("Authorization: Bearer {bearer}\r\n")).unwrap_or_default();
        write!(
            stream,
            "GET {} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n",
            self.path
        )?;
        stream.flush()?;
        let mut bytes = Vec::new();
        match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes) {
            // A server may end TLS without a notice. The body's JSON shows whether it is whole.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => parse(&bytes).ok_or_else(|| io::Error::other("not an HTTP answer")),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

fn secured(stream: TcpStream, address: SocketAddr) -> io::Result<impl Read + Write> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Accepts every certificate. The server is asked by its address, which its certificate does not name; nothing secret
/// is sent.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(listen: &str) -> Option<String> {
        reachable(listen.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(address("0.0.0.0:1984").as_deref(), Some("127.0.0.1:1984"));
        assert_eq!(address("[::]:1984").as_deref(), Some("[::1]:1984"));
        assert_eq!(address("192.0.2.7:1984").as_deref(), Some("192.0.2.7:1984"));
        assert_eq!(address("127.0.0.1:0"), None);
    }

    #[test]
    fn what_is_not_http_is_no_answer() {
        assert!(parse(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").is_none());
        assert!(parse(b"HTTP/1.1 2").is_none());
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\"detail\":\"away\"}").unwrap();
        assert_eq!((answer.status, answer.detail().as_str()), (503, "away"));
    }
}
