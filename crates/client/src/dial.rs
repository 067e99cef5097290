//! From a URL to an open WebSocket: addresses, TLS, upgrade, one timeout over all. HTTP calls share all but the upgrade.

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use aldis_client_core::Endpoint;
use aldis_protocol::Codec;
use futures::future::BoxFuture;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    DialError, InvalidUrl,
    socket::{Io, Socket},
};

/// Two lost packets on a slow network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose word a server's certificate needs.
#[derive(Debug, Clone)]
pub(crate) enum Roots {
    /// Whom the system trusts.
    System,
    /// These, and nobody else.
    Given(Vec<CertificateDer<'static>>),
}

/// Text that holds no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PEM file with certificates")]
pub struct InvalidCertificates;

/// Leads to a host and port.
#[derive(Clone)]
pub(crate) enum Transport {
    Tcp,
    Custom(Arc<Reach>),
}

type Reach = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> + Send + Sync;

/// All that it takes to reach one server.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) roots: Roots,
    pub(crate) transport: Transport,
    /// Over everything, name resolution included.
    pub(crate) timeout: Duration,
}

/// Opens WebSockets to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) route: Route,
    pub(crate) codec: Codec,
}

impl Dialer {
    pub(crate) async fn dial(self: Arc<Self>) -> Result<Socket, DialError> {
        timeout(self.route.timeout, self.steps()).await.unwrap_or(Err(DialError::TimedOut))
    }

    async fn steps(&self) -> Result<Socket, DialError> {
        let stream = self.route.stream().await?;
        Socket::open(stream, &self.route.endpoint.door_url(), self.codec).await
    }
}

impl Route {
    /// The way to a URL that is encrypted, or stays on this machine.
    pub(crate) fn to(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Endpoint::parse(url)?.protected()?))
    }

    /// The way to any URL.
    pub(crate) fn insecurely_to(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Endpoint::parse(url)?))
    }

    fn by(endpoint: Endpoint) -> Self {
        Self { endpoint, roots: Roots::System, transport: Transport::Tcp, timeout: CONNECT_TIMEOUT }
    }

    /// A stream to the server that HTTP can be spoken over.
    pub(crate) async fn open(&self) -> Result<Box<dyn Io>, DialError> {
        timeout(self.timeout, self.stream()).await.unwrap_or(Err(DialError::TimedOut))
    }

    async fn stream(&self) -> Result<Box<dyn Io>, DialError> {
        let plain = self.reach().await?;
        if self.endpoint.secure { self.secure(plain).await.map_err(DialError::Tls) } else { Ok(plain) }
    }

    async fn reach(&self) -> Result<Box<dyn Io>, DialError> {
        match &self.transport {
            Transport::Tcp => Ok(Box::new(self.connect().await?)),
            Transport::Custom(reach) => {
                reach(self.endpoint.host.clone(), self.endpoint.port).await.map_err(DialError::Connect)
            }
        }
    }

    /// Tries the addresses in their order, each for its share of the time.
    async fn connect(&self) -> Result<TcpStream, DialError> {
        let addresses: Vec<SocketAddr> = lookup_host((self.endpoint.host.as_str(), self.endpoint.port))
            .await
            .map_err(DialError::Resolve)?
            .collect();
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last_error = DialError::Resolve(io::ErrorKind::NotFound.into());
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Signals are small and urgent; without it they wait for the peer's delayed acknowledgement.
                    tcp.set_nodelay(true).map_err(DialError::Connect)?;
                    return Ok(tcp);
                }
                Ok(Err(error)) => last_error = DialError::Connect(error),
                Err(_) => last_error = DialError::TimedOut,
            }
        }
        Err(last_error)
    }

    async fn secure(&self, plain: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        let config = self.roots.tls_config().map_err(io::Error::other)?;
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, plain).await?))
    }
}

impl Transport {
    pub(crate) fn custom<F, T, S>(reach: F) -> Self
    where
        F: Fn(String, u16) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<S>> + Send + 'static,
        S: Io + 'static,
    {
        Self::Custom(Arc::new(move |host, port| {
            let stream = reach(host, port);
            Box::pin(async move { Ok(Box::new(stream.await?) as Box<dyn Io>) })
        }))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "Tcp",
            Self::Custom(_) => "Custom",
        })
    }
}

impl Roots {
    /// Reads the certificates of a PEM file.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| InvalidCertificates)?;
        if roots.is_empty() { Err(InvalidCertificates) } else { Ok(Self::Given(roots)) }
    }

    /// Made anew for each attempt, so that a change of the system's roots counts from the next one.
    fn tls_config(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let verified = match self {
            Self::System => builder.with_platform_verifier()?,
            Self::Given(roots) => {
                let mut store = RootCertStore::empty();
                for root in roots {
                    store.add(root.clone())?;
                }
                builder.with_root_certificates(store)
            }
        };
        let mut config = verified.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
