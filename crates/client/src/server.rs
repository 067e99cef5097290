//! A server, as somebody calls it who is not signed in (yet).

mod identity;
mod sign_in;

use std::{
    error::Error,
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::identity::Blob;
pub(crate) use self::{
    identity::MAX_BLOB_BYTES,
    sign_in::{Answered, device_path, registration},
};
use crate::{
    CallError, Credentials, InvalidCertificates, InvalidUrl, Options, Pins, Proxy, SavedAccount, TotpAsked,
    account_storage::AccountStorage,
    api::{Answer, Call, Caller},
    dial::{Proxies, Route, Tls, Transport},
    second_factor::TotpPrompt,
};

/// Where a server is and how its HTTP API is called: where accounts are made and signed in to, and what everybody may
/// ask.
///
/// Clones are cheap and share their connections and their [`Pins`]. At most eight calls are under way at a time, each
/// over a connection of its own; more wait for their turn. Answers are read up to a limit that fits the call.
#[derive(Debug, Clone)]
pub struct Server {
    caller: Arc<Caller>,
    call_timeout: Duration,
    pub(crate) totp: Option<TotpPrompt>,
    pub(crate) keeper: Option<AccountStorage>,
    pub(crate) new_device: NewDevice,
    pins: Arc<Mutex<Pins>>,
}

/// Whether a first sign-in makes a device.
#[derive(Debug, Clone)]
pub(crate) enum NewDevice {
    Registered { name: Option<String> },
    None,
}

/// A request waits no longer for its reply on the socket.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Server {
    /// A server by its base URL (`http`, `https`, `ws` or `wss`, a path in front of the API allowed). A challenge is
    /// signed only for the host and port of this URL. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidUrl`]; [`InvalidUrl::Insecure`] where the URL is plain `http` or `ws` and the host is not this machine.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Route::to(url)?))
    }

    /// As [`new`](Self::new), but takes a URL without TLS to another machine too:
    /// [`Options::insecure`](crate::Options::insecure) says what that costs.
    ///
    /// # Errors
    /// [`InvalidUrl`], never [`InvalidUrl::Insecure`].
    pub fn insecure(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self::by(Route::insecurely_to(url)?))
    }

    fn by(route: Route) -> Self {
        Self {
            caller: Arc::new(Caller::new(route, CALL_TIMEOUT)),
            call_timeout: CALL_TIMEOUT,
            totp: None,
            keeper: None,
            new_device: NewDevice::Registered { name: None },
            pins: Arc::default(),
        }
    }

    /// Asks for the code of the authenticator app, where a sign-in turns out to need one: at most
    /// [`MAX_TOTP_TRIES`](crate::MAX_TOTP_TRIES) times, until one is right. None gives up. A recovery code serves as
    /// well, once.
    ///
    /// ```
    /// use aldis_client::Server;
    ///
    /// let server = Server::new("https://relay.example.org")?.totp(|asked| async move {
    ///     if asked.was_wrong {
    ///         println!("That was not it.");
    ///     }
    ///     let read_a_line = || std::io::stdin().lines().next()?.ok();
    ///     tokio::task::spawn_blocking(read_a_line).await.ok().flatten()
    /// });
    /// # drop(server);
    /// # Ok::<(), aldis_client::InvalidUrl>(())
    /// ```
    #[must_use]
    pub fn totp<F, T>(self, ask: F) -> Self
    where
        F: Fn(TotpAsked) -> T + Send + Sync + 'static,
        T: Future<Output = Option<String>> + Send + 'static,
    {
        Self { totp: Some(TotpPrompt::new(ask)), ..self }
    }

    /// Hands over what the application has to keep of an account: after the first sign-in, and each time that
    /// something of it changes, which the refresh token does with every use. What is kept replaces what was kept of
    /// this user before. Whatever caused the change waits until it is kept, and fails where it cannot be.
    ///
    /// Without this, an account ends with the program, and each start makes another device.
    #[must_use]
    pub fn keep<F, T, E>(self, keep: F) -> Self
    where
        F: Fn(SavedAccount) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self { keeper: Some(AccountStorage::new(keep)), ..self }
    }

    /// What people see in their list of devices for one that a sign-in makes: at most 100 characters.
    #[must_use]
    pub fn device_name(self, name: &str) -> Self {
        Self { new_device: NewDevice::Registered { name: Some(name.to_owned()) }, ..self }
    }

    /// Makes no device at a first sign-in: for programs that come and go, and for people who have 20 already. Such an
    /// account connects as an ephemeral device, by its tokens alone.
    #[must_use]
    pub fn without_device(self) -> Self {
        Self { new_device: NewDevice::None, ..self }
    }

    /// What was remembered of other people's identities before; see [`pins`](Self::pins).
    #[must_use]
    pub fn with_pins(self, pins: Pins) -> Self {
        Self { pins: Arc::new(Mutex::new(pins)), ..self }
    }

    /// Trusts servers whose certificate leads to one of these, and no others: for a private CA. By default the
    /// system's own verifier decides.
    ///
    /// # Errors
    /// [`InvalidCertificates`] where `pem` has none, or a malformed one.
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let tls = Tls::from_pem(pem)?;
        Ok(self.rerouted(|route| Route { tls, ..route }))
    }

    /// Uses a TLS configuration of the application's own, with its roots, client certificate and key log; it has to speak
    /// HTTP/1.1 (ALPN `http/1.1`, or none). It serves the WebSocket and HTTP calls alike.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use aldis_client::{Server};
    /// use rustls::{ClientConfig, RootCertStore, crypto::ring};
    ///
    /// # fn example(server: Server, roots: RootCertStore) -> Result<Server, rustls::Error> {
    /// let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// # Ok(
    /// server.tls_config(Arc::new(config))
    /// # )
    /// # }
    /// ```
    #[must_use]
    pub fn tls_config(self, config: Arc<rustls::ClientConfig>) -> Self {
        let tls = Tls::Config(config);
        self.rerouted(|route| Route { tls, ..route })
    }

    /// Reaches the server through this HTTP proxy, whatever the environment says.
    ///
    /// By default the environment decides, as it is when this is made: `HTTPS_PROXY` (for `https` and `wss`),
    /// `HTTP_PROXY`, else `ALL_PROXY`, but not for this machine and the hosts that `NO_PROXY` lists: names with their
    /// subdomains, addresses, networks (`10.0.0.0/8`, `fd00::/8`), `name:port`, or `*`. A network matches only a host
    /// that is given as an address. The names in lower case count as well.
    ///
    /// ```
    /// # use aldis_client::{Server};
    /// # fn example(server: Server) -> Result<Server, aldis_client::InvalidProxy> {
    /// # Ok(
    /// server.proxy("http://ann:secret@proxy.example:3128".parse()?)
    /// # )
    /// # }
    /// ```
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        let proxies = Proxies::All(proxy);
        self.rerouted(|route| Route { proxies, ..route })
    }

    /// Reaches the server directly, whatever the environment says.
    #[must_use]
    pub fn without_proxy(self) -> Self {
        let proxies = Proxies::Direct;
        self.rerouted(|route| Route { proxies, ..route })
    }

    /// Reaches the server's host and port in a way of the application's own, as
    /// [`Options::transport`](crate::Options::transport) does.
    #[must_use]
    pub fn transport<F, T, S>(self, reach: F) -> Self
    where
        F: Fn(String, u16) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let transport = Transport::custom(reach);
        self.rerouted(|route| Route { transport, ..route })
    }

    /// How long name resolution, TCP and TLS may take together; 10 s by default.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.rerouted(|route| Route { timeout, ..route })
    }

    /// How long a call may take from its beginning to the end of its answer, the wait for its turn included; 30 s by
    /// default, as on the socket.
    #[must_use]
    pub fn call_timeout(self, timeout: Duration) -> Self {
        Self { call_timeout: timeout, ..self }.rerouted(|route| route)
    }

    /// What is remembered of other people's identities by now: to be kept, and given to
    /// [`with_pins`](Self::with_pins) at the next start.
    #[must_use]
    pub fn pins(&self) -> Pins {
        self.with_pinned(|pins| pins.clone())
    }

    /// Lets a person change what is remembered; see [`Pins::forget`].
    pub fn change_pins(&self, change: impl FnOnce(&mut Pins)) {
        self.with_pinned(change);
    }

    /// How to connect to this server with given credentials: [`Options`] by the same URL, roots and transport.
    #[must_use]
    pub fn options(&self, credentials: Credentials) -> Options {
        Options::by(self.caller.route().clone(), credentials)
    }

    pub(crate) fn audience(&self) -> &str {
        &self.caller.route().endpoint.audience
    }

    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        self.caller.call(call).await
    }

    pub(crate) fn with_pinned<T>(&self, act: impl FnOnce(&mut Pins) -> T) -> T {
        act(&mut self.pins.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn rerouted(self, change: impl FnOnce(Route) -> Route) -> Self {
        let route = change(self.caller.route().clone());
        Self { caller: Arc::new(Caller::new(route, self.call_timeout)), ..self }
    }
}
