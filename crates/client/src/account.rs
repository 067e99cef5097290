//! An account that is signed in.

mod contacts;
mod devices;
mod identity;
mod keys;
mod rooms;
mod security;
mod tokens;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aldis_auth::SecretKey;
use aldis_client_core::{Instant, Tokens};
use aldis_protocol::{Fingerprint, UserId, api::TokenResponse};
use tokio::sync::Semaphore;

pub use self::contacts::Whom;
use self::tokens::Login;
use crate::{
    Credentials, Options, OwnDevice, SaveError, SavedAccount, Server, SignInError,
    api::{Answer, Call},
    clock::Clock,
};

/// An account that is signed in, over HTTP: its tokens renew themselves, and every call of the API that needs a
/// signed-in caller is a method.
///
/// ```no_run
/// use aldis_client::{Account, Client, SavedAccount, Server, auth::SecretKey};
///
/// # fn load() -> Option<SavedAccount> { None }
/// # async fn save(account: SavedAccount) -> std::io::Result<()> { Ok(()) }
/// # async fn example(identity: &SecretKey) -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new("https://relay.example.org")?.keep(save);
/// let account = match load() {
///     Some(saved) => server.restore(saved),
///     None => server.sign_in(identity).await?,
/// };
/// for contact in account.contacts().await? {
///     println!("{} {}", contact.user_id, contact.state);
/// }
/// let (client, events) = Client::start(account.options());
/// # drop((client, events));
/// # Ok(())
/// # }
/// ```
///
/// Clones are cheap and mean the same account; all of it can be used from many tasks at once. An access token is
/// renewed by the first call that finds less than a minute left of it (a third of its life where that is shorter); the
/// others wait for the same renewal. Where the refresh token's time is over the device signs in again by its key.
///
/// Identity keys are used where they are given, and kept nowhere.
#[derive(Clone)]
pub struct Account(Arc<Shared>);

struct Shared {
    server: Server,
    clock: Clock,
    user_id: UserId,
    /// Held for moments, never while anything is waited for.
    state: Mutex<State>,
    /// The application keeps one thing after the other, so that the last is the newest.
    keeping: Semaphore,
}

struct State {
    fingerprint: Option<Fingerprint>,
    device: Option<OwnDevice>,
    login: Login,
}

/// How an account proves itself once more; see [`Account::sign_in_again`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum LoginProof<'a> {
    /// By the key of its own device. This counts as of the login that registered the device, so it is no login of the
    /// last five minutes.
    Device,
    /// By the identity's key.
    Key(&'a SecretKey),
    /// By address and password.
    Password {
        /// The account's address.
        email: &'a str,
        /// Its password.
        password: &'a str,
    },
}

impl Account {
    pub(crate) fn signed_in(server: Server, tokens: TokenResponse, device: Option<OwnDevice>) -> Self {
        let (user_id, fingerprint) = (tokens.user_id, tokens.fingerprint);
        let clock = Clock::start();
        let login = Login::new(Tokens::issued(tokens, clock.now().instant));
        Self::new(server, clock, user_id, State { fingerprint, device, login })
    }

    pub(crate) fn restored(server: Server, saved: SavedAccount) -> Self {
        let SavedAccount { user_id, fingerprint, device, refresh_token } = saved;
        let login = Login::new(Tokens::saved(refresh_token));
        Self::new(server, Clock::start(), user_id, State { fingerprint, device, login })
    }

    fn new(server: Server, clock: Clock, user_id: UserId, state: State) -> Self {
        let keeping = Semaphore::new(1);
        Self(Arc::new(Shared { server, clock, user_id, state: Mutex::new(state), keeping }))
    }

    fn now(&self) -> Instant {
        self.0.clock.now().instant
    }

    /// Whose account it is.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.0.user_id
    }

    /// Its identity, as far as it is known here: from signing in by key, from linking one, or from looking it up.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.with_state(|state| state.fingerprint)
    }

    /// The device that this program is.
    #[must_use]
    pub fn device(&self) -> Option<OwnDevice> {
        self.with_state(|state| state.device.clone())
    }

    /// Where it is.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// What [`Server::keep`] is handed, as it is now.
    #[must_use]
    pub fn saved(&self) -> SavedAccount {
        let user_id = self.user_id();
        self.with_state(|state| SavedAccount {
            user_id,
            fingerprint: state.fingerprint,
            device: state.device.clone(),
            refresh_token: state.login.tokens.refresh_token().cloned(),
        })
    }

    /// What proves this account on the socket: the key of its device, which needs no token; where it has no device,
    /// [its tokens](Self::token_credentials).
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        match self.device() {
            Some(device) => {
                let key = SecretKey::from_bytes(&device.key().to_bytes());
                Credentials::device_key(device.id().clone(), key)
            }
            None => self.token_credentials(),
        }
    }

    /// How to connect as this account: by the same URL, roots and transport, with [`credentials`](Self::credentials).
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.server.options(self.credentials())
    }

    /// Proves the account once more: after it was signed out, and, by an identity's key or a password, where a call needs
    /// a login of the last five minutes ([`ErrorCode::StepUpRequired`](aldis_protocol::ErrorCode::StepUpRequired)). The
    /// tokens until now are given up.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in_again(&self, proof: LoginProof<'_>) -> Result<(), SignInError> {
        let (server, device) = (self.server(), self.device());
        let device_id = device.as_ref().map(OwnDevice::id);
        let tokens = match proof {
            LoginProof::Device => {
                let device = device.as_ref().ok_or(SignInError::NoDevice)?;
                server.tokens_by_key(device.key(), Some(device.id())).await?
            }
            LoginProof::Key(identity) => server.tokens_by_key(identity, device_id).await?,
            LoginProof::Password { email, password } => {
                server.tokens_by_password(email, password, device_id).await?
            }
        };
        if tokens.user_id != self.user_id() {
            server.end_sign_in(&tokens.access_token).await;
            return Err(SignInError::OtherUser);
        }
        let now = self.now();
        let former = self.with_state(|state| {
            state.fingerprint = tokens.fingerprint.or(state.fingerprint);
            state.login.tokens.replace(tokens, now)
        });
        if let Some(access_token) = former {
            server.end_sign_in(&access_token).await;
        }
        Ok(self.keep().await?)
    }

    /// Hands the application what it has to keep.
    pub(crate) async fn keep(&self) -> Result<(), SaveError> {
        let Some(keeper) = &self.0.server.keeper else { return Ok(()) };
        // Nobody closes the semaphore.
        let _turn = self.0.keeping.acquire().await;
        keeper.keep(self.saved()).await
    }

    /// Leaves nothing of an account that came to nothing, as far as the server can be reached.
    pub(crate) async fn abandon(&self) {
        if let Some(device) = self.device() {
            let _ = self.remove_device(device.id()).await;
        }
        let _ = self.log_out().await;
    }

    /// Makes a call as this account. Where the server refuses the token although it should be good, it is made once
    /// more with another one: it was not carried out.
    async fn call(&self, call: Call) -> Result<Answer, crate::AccountError> {
        let access = self.access(None).await?;
        match self.0.server.call(&call.clone().bearer(access.token.clone())).await {
            Err(error) if error.refuses_token() => {
                let access = self.access(Some(access.number)).await?;
                Ok(self.0.server.call(&call.bearer(access.token)).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user_id, fingerprint, device) = (self.user_id(), self.fingerprint(), self.device());
        f.debug_struct("Account")
            .field("user_id", &user_id)
            .field("fingerprint", &fingerprint)
            .field("device", &device)
            .finish_non_exhaustive()
    }
}
