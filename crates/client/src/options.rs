//! What the application may choose.

use std::{error::Error, future::Future, io, sync::Arc, time::Duration};

use aldis_client_core::{FIRST_CEILING, LAST_CEILING};
use aldis_protocol::Codec;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Credentials, IncomingMessage, InvalidCertificates, InvalidUrl, Proxy,
    dial::{Dialer, Proxies, Route, Tls, Transport},
    mailbox_handler::{Handler, MailboxHandler},
};

/// Where to connect, as whom, and how.
#[derive(Debug)]
pub struct Options {
    route: Route,
    pub(crate) credentials: Credentials,
    codec: Codec,
    pub(crate) request_timeout: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) event_capacity: usize,
    pub(crate) stream_capacity: usize,
    pub(crate) keeper: Option<MailboxHandler>,
}

impl Options {
    /// A server by its base URL (`http`, `https`, `ws` or `wss`, a path in front of the doors allowed), and how to
    /// prove oneself to it. A challenge is signed only for the host and port of this URL.
    ///
    /// # Errors
    /// [`InvalidUrl`]; [`InvalidUrl::Insecure`] where the URL is plain `http` or `ws` and the host is not this machine.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Route::to(url)?, credentials))
    }

    /// As [`new`](Self::new), but takes a URL without TLS to another machine too: for networks that encrypt by
    /// themselves, and for tests. Everybody on the way can read tokens, read and change what is said, and pass on the
    /// challenge of another server, so that the client signs in there for them.
    ///
    /// ```
    /// use aldis_client::{Credentials, InvalidUrl, Options};
    ///
    /// let credentials = || Credentials::token(|_| async { Ok::<_, std::io::Error>("a token".to_owned()) });
    /// assert!(matches!(Options::new("http://relay.internal", credentials()), Err(InvalidUrl::Insecure)));
    /// assert!(Options::insecure("http://relay.internal", credentials()).is_ok());
    /// ```
    ///
    /// # Errors
    /// [`InvalidUrl`], never [`InvalidUrl::Insecure`].
    pub fn insecure(url: &str, credentials: Credentials) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Route::insecurely_to(url)?, credentials))
    }

    /// The same by a way that is known already.
    pub(crate) fn by(route: Route, credentials: Credentials) -> Self {
        Self {
            route,
            credentials,
            codec: Codec::Json,
            request_timeout: Duration::from_secs(30),
            longest_wait: LAST_CEILING,
            event_capacity: 1_024,
            stream_capacity: 256,
            keeper: None,
        }
    }

    /// How frames look. JSON by default, which can be read on the way; protobuf saves the third that base64 adds to
    /// binary content.
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// How long name resolution, TCP, TLS and upgrade may take together, and then again the handshake. 10 s by
    /// default: two lost packets on a slow network. Shorter ones try again sooner and give up slow servers.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { route: Route { timeout, ..self.route }, ..self }
    }

    /// How long a request waits for its reply, breaks included. 30 s by default: the resume window of the server.
    #[must_use]
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// The ceiling of the random waits between attempts, at least the 0.5 s from which they double; 30 s by default,
    /// so that a server on its way up meets its clients one by one. Lower ones suit servers with few clients. A time
    /// that the server tells wins.
    #[must_use]
    pub fn longest_wait(self, ceiling: Duration) -> Self {
        Self { longest_wait: ceiling.max(FIRST_CEILING), ..self }
    }

    /// How many events may wait for the application in [`Events`](crate::Events); 1,024 by default, which is what a server
    /// sends again after a break at most; at least 1. More cost memory while they wait (up to 80 KiB each) and let the
    /// application be slow for longer before events are dropped.
    #[must_use]
    pub fn event_capacity(self, events: usize) -> Self {
        Self { event_capacity: bounded(events), ..self }
    }

    /// The same, 256 by default, for each stream of a room ([`Room::messages`](crate::Room::messages)) or of presence
    /// ([`Client::presence`](crate::Client::presence)).
    #[must_use]
    pub fn stream_capacity(self, events: usize) -> Self {
        Self { stream_capacity: bounded(events), ..self }
    }

    /// Keeps the mailbox: `handler` gets each message once and in order, whatever breaks, and only when it has returned
    /// `Ok` is the message acknowledged to the server and the next one handed over. So it stores the message, its `seq`
    /// along with it and in one transaction, and returns; `cursor` is the last `seq` that was stored, 0 at first.
    ///
    /// While it returns an error it is asked again, after 0.5 s doubling to 30 s, and what follows waits, on the server
    /// but for 64 messages; everything else goes on. A handler is an answer that cannot be forgotten, and `?` in it is
    /// one. It runs in the client's own task: what takes long without an `await` belongs on a thread of its own, and a
    /// client that is stopped does not wait for it.
    ///
    /// What this client sends comes as the `ack` of its request and not here, unless nobody waited for that any more.
    /// Without this, messages come as [`Event::Message`](crate::Event::Message), unacknowledged.
    ///
    /// ```no_run
    /// use aldis_client::{IncomingMessage, Options};
    ///
    /// # async fn example(options: Options, cursor: u64) -> Result<(), std::io::Error> {
    /// let options = options.mailbox(cursor, |message: IncomingMessage| async move {
    ///     // Store the message and its number in one transaction.
    ///     std::fs::write(format!("mail-{}", message.message.seq), &message.message.encrypted_content)
    /// });
    /// # drop(options);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn mailbox<F, T, E>(self, cursor: u64, handler: F) -> Self
    where
        F: Fn(IncomingMessage) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self { keeper: Some(MailboxHandler { cursor, handler: Handler::new(handler) }), ..self }
    }

    /// Trusts servers whose certificate leads to one of these, and no others: for a private CA. By default the
    /// system's own verifier decides.
    ///
    /// # Errors
    /// [`InvalidCertificates`] where `pem` has none, or a malformed one.
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let tls = Tls::from_pem(pem)?;
        Ok(Self { route: Route { tls, ..self.route }, ..self })
    }

    /// Uses a TLS configuration of the application's own, with its roots, client certificate and key log; it has to speak
    /// HTTP/1.1 (ALPN `http/1.1`, or none). It serves the WebSocket and HTTP calls alike.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use aldis_client::{Options};
    /// use rustls::{ClientConfig, RootCertStore, crypto::ring};
    ///
    /// # fn example(options: Options, roots: RootCertStore) -> Result<Options, rustls::Error> {
    /// let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// # Ok(
    /// options.tls_config(Arc::new(config))
    /// # )
    /// # }
    /// ```
    #[must_use]
    pub fn tls_config(self, config: Arc<rustls::ClientConfig>) -> Self {
        let tls = Tls::Config(config);
        Self { route: Route { tls, ..self.route }, ..self }
    }

    /// Reaches the server through this HTTP proxy, whatever the environment says.
    ///
    /// By default the environment decides, as it is when this is made: `HTTPS_PROXY` (for `https` and `wss`),
    /// `HTTP_PROXY`, else `ALL_PROXY`, but not for this machine and the hosts that `NO_PROXY` lists: names with their
    /// subdomains, addresses, networks (`10.0.0.0/8`, `fd00::/8`), `name:port`, or `*`. A network matches only a host
    /// that is given as an address. The names in lower case count as well.
    ///
    /// ```
    /// # use aldis_client::{Options};
    /// # fn example(options: Options) -> Result<Options, aldis_client::InvalidProxy> {
    /// # Ok(
    /// options.proxy("http://ann:secret@proxy.example:3128".parse()?)
    /// # )
    /// # }
    /// ```
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        let proxies = Proxies::All(proxy);
        Self { route: Route { proxies, ..self.route }, ..self }
    }

    /// Reaches the server directly, whatever the environment says.
    #[must_use]
    pub fn without_proxy(self) -> Self {
        let proxies = Proxies::Direct;
        Self { route: Route { proxies, ..self.route }, ..self }
    }

    /// Reaches the server's host and port in a way of the application's own: another kind of proxy, or a network that
    /// a test simulates. By default it is TCP, with the addresses of the host tried in parallel, 250 ms apart (RFC 8305).
    /// TLS, where the URL asks for it, runs over it.
    #[must_use]
    pub fn transport<F, T, S>(self, reach: F) -> Self
    where
        F: Fn(String, u16) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let transport = Transport::custom(reach);
        Self { route: Route { transport, ..self.route }, ..self }
    }

    pub(crate) fn audience(&self) -> &str {
        &self.route.endpoint.audience
    }

    pub(crate) fn connect_timeout_in_use(&self) -> Duration {
        self.route.timeout
    }

    pub(crate) fn codec_in_use(&self) -> Codec {
        self.codec
    }

    pub(crate) fn dialer(&self) -> Dialer {
        Dialer { route: self.route.clone(), codec: self.codec }
    }
}

/// A capacity that a channel takes.
fn bounded(capacity: usize) -> usize {
    capacity.clamp(1, usize::MAX >> 3)
}
