//! What the application may choose.

use std::{future::Future, io, time::Duration};

use aldis_protocol::Codec;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Credentials, InvalidCertificates, InvalidUrl,
    backoff::{FIRST_CEILING, LAST_CEILING},
    dial::{Dialer, Roots, Route, Transport},
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
}

impl Options {
    /// A server by its base URL (`http`, `https`, `ws` or `wss`, a path in front of the doors allowed), and how to
    /// prove oneself to it. A challenge is signed only for the host and port of this URL.
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Route::to(url)?, credentials))
    }

    /// The same by a way that is known already.
    pub(crate) fn by(route: Route, credentials: Credentials) -> Self {
        Self {
            route,
            credentials,
            codec: Codec::Json,
            request_timeout: Duration::from_secs(30),
            longest_wait: LAST_CEILING,
            event_capacity: 256,
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

    /// How many events may wait for the application; 256 by default, at least 1. More cost memory (up to 80 KiB each)
    /// and let the application be away for longer before the client stops to read from the socket.
    #[must_use]
    pub fn event_capacity(self, events: usize) -> Self {
        Self { event_capacity: events.clamp(1, usize::MAX >> 3), ..self }
    }

    /// Trusts servers whose certificate leads to one of these, and no others: for a private CA. By default the
    /// system's own verifier decides.
    ///
    /// # Errors
    /// [`InvalidCertificates`] where `pem` has none, or a malformed one.
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let roots = Roots::from_pem(pem)?;
        Ok(Self { route: Route { roots, ..self.route }, ..self })
    }

    /// Reaches the server's host and port in a way of the application's own: a proxy, or a network that a test
    /// simulates. TCP by default, each address of the host tried in turn. TLS, where the URL asks for it, runs over it.
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
