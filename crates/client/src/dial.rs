//! From a URL to an open WebSocket: proxy, addresses, TLS, upgrade, one timeout over all. HTTP calls share all but the
//! upgrade.

mod proxy;
mod race;
mod tls;

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use aldis_client_core::Endpoint;
use aldis_protocol::Codec;
use futures::future::BoxFuture;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub(crate) use self::{proxy::Proxies, tls::Tls};
pub use self::{
    proxy::{InvalidProxy, Proxy},
    tls::InvalidCertificates,
};
use crate::{
    DialError, InvalidUrl,
    socket::{Io, Socket},
};

/// Two lost packets on a slow network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
    pub(crate) tls: Tls,
    pub(crate) proxies: Proxies,
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
        Self {
            endpoint,
            tls: Tls::System,
            proxies: Proxies::from_env(),
            transport: Transport::Tcp,
            timeout: CONNECT_TIMEOUT,
        }
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
            Transport::Tcp => self.connect().await,
            Transport::Custom(reach) => {
                reach(self.endpoint.host.clone(), self.endpoint.port).await.map_err(DialError::Connect)
            }
        }
    }

    /// A stream to the server, through the proxy if one serves it.
    async fn connect(&self) -> Result<Box<dyn Io>, DialError> {
        let proxy = self.proxies.proxy_for(&self.endpoint).map_err(|_| DialError::InvalidProxy)?;
        let Some(proxy) = proxy else {
            return Ok(Box::new(connect_to(&self.endpoint.host, self.endpoint.port).await?));
        };
        let (host, port) = proxy.address();
        proxy.tunnel(Box::new(connect_to(host, port).await?), &self.endpoint).await
    }

    async fn secure(&self, plain: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(self.tls.config()?).connect(name, plain).await?))
    }
}

async fn connect_to(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(DialError::Resolve)?.collect();
    if addresses.is_empty() {
        return Err(DialError::Resolve(io::ErrorKind::NotFound.into()));
    }
    let tcp = race::race(addresses, TcpStream::connect).await.map_err(DialError::Connect)?;
    // Signals are small and urgent; without it they wait for the peer's delayed acknowledgement.
    tcp.set_nodelay(true).map_err(DialError::Connect)?;
    Ok(tcp)
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
