//! The tokens of an account: renewed before they end, once for everybody who waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aldis_protocol::{
    ErrorCode, Secret,
    api::{LogoutRequest, RefreshRequest, TokenResponse},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Account;
use crate::{AccountError, BoxError, CallError, Credentials, OwnDevice, SignedOut, TokenReason, api::Call};

/// An access token, and which one of the account's it is.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) token: Secret<'static>,
    pub(super) number: u64,
    renew_at: Instant,
}

/// What an account is signed in with.
pub(super) struct Login {
    access: Option<Access>,
    refresh_token: Option<Secret<'static>>,
    /// Signed out, here or by the server. Nothing signs in again by itself.
    is_over: bool,
    /// How many pairs of tokens there were.
    pairs: u64,
    renewal: Option<WeakShared<Renewal>>,
    /// Runs renewals to their end, whoever loses interest: a refresh token that was used and whose successor nobody
    /// took would end the sign-in. Each ends within the call timeout.
    tasks: TaskTracker,
}

type Renewal = BoxFuture<'static, Result<Access, AccountError>>;

/// The server takes up re-authentication this long before the end, or when two thirds of a shorter life have passed.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

impl Login {
    pub(super) fn begun(tokens: TokenResponse) -> Self {
        let mut login = Self::kept(None);
        login.take(tokens);
        login
    }

    pub(super) fn kept(refresh_token: Option<Secret<'static>>) -> Self {
        let tasks = TaskTracker::new();
        Self { access: None, refresh_token, is_over: false, pairs: 0, renewal: None, tasks }
    }

    pub(super) const fn refresh_token(&self) -> Option<&Secret<'static>> {
        self.refresh_token.as_ref()
    }

    /// Goes on with another sign-in; gives the access token of the one before.
    pub(super) fn replace(&mut self, tokens: TokenResponse) -> Option<Secret<'static>> {
        let former = self.access.take().map(|access| access.token);
        self.take(tokens);
        self.is_over = false;
        former
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.access = None;
        self.refresh_token = None;
        self.is_over = true;
        self.pairs += 1;
    }

    fn take(&mut self, tokens: TokenResponse) -> Access {
        self.pairs += 1;
        let life = Duration::from_secs(tokens.expires_in);
        let access = Access {
            token: tokens.access_token,
            number: self.pairs,
            renew_at: Instant::now() + (life - RENEWED_BEFORE.min(life / 3)),
        };
        self.access = Some(access.clone());
        self.refresh_token = Some(tokens.refresh_token);
        access
    }

    /// The token of now, unless it is about to end or the one that was refused.
    fn usable(&self, refused: Option<u64>) -> Option<Access> {
        let is_good = |access: &&Access| Some(access.number) != refused && Instant::now() < access.renew_at;
        self.access.as_ref().filter(is_good).cloned()
    }
}

impl Account {
    /// A provider of the account's tokens for the socket, renewed when the socket asks for another. The session ends
    /// with the sign-in; as the account's device, if it has one.
    #[must_use]
    pub fn token_credentials(&self) -> Credentials {
        let account = self.clone();
        let given = Arc::new(AtomicU64::new(0));
        let credentials = Credentials::token(move |reason| {
            let (account, given) = (account.clone(), Arc::clone(&given));
            async move {
                let last = given.load(Ordering::Relaxed);
                let access = account.access(asks_for_another(reason).then_some(last)).await;
                let access = access.map_err(token_error)?;
                given.store(access.number, Ordering::Relaxed);
                Ok::<_, BoxError>(access.token.expose().to_owned())
            }
        });
        match self.device() {
            Some(device) => credentials.for_device(device.id().clone()),
            None => credentials,
        }
    }

    /// An access token for calls of the application's own, good for a while yet.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn access_token(&self) -> Result<Secret<'static>, AccountError> {
        self.access(None).await.map(|access| access.token)
    }

    /// Signs out: the server revokes this sign-in, with all its tokens, and closes the sockets that were opened with
    /// them. A device stays registered, and its key proves the account; [`remove_device`](Self::remove_device) ends
    /// that.
    ///
    /// # Errors
    /// [`AccountError`]; the account is signed out here only where the server was told.
    pub async fn log_out(&self) -> Result<(), AccountError> {
        self.end_login(LogoutRequest { everywhere: false }).await
    }

    /// Signs the user out, here and wherever else he is signed in.
    ///
    /// # Errors
    /// [`AccountError`]; as [`log_out`](Self::log_out).
    pub async fn log_out_everywhere(&self) -> Result<(), AccountError> {
        self.end_login(LogoutRequest { everywhere: true }).await
    }

    /// Waits until no renewal is under way: at the end of a program, so that the last refresh token is kept.
    pub async fn settle(&self) {
        if let Some(renewal) = self.with_state(|state| state.login.renewal.as_ref()?.upgrade()) {
            // Whoever asked for it is told how it ends.
            let _ = renewal.await;
        }
    }

    /// A token that is good for a while yet, and not the one that was refused.
    pub(super) async fn access(&self, refused: Option<u64>) -> Result<Access, AccountError> {
        let renewal = self.with_state(|state| {
            if state.login.is_over {
                return Err(AccountError::SignedOut);
            }
            if let Some(access) = state.login.usable(refused) {
                return Ok(Err(access));
            }
            let under_way = state.login.renewal.as_ref().and_then(WeakShared::upgrade);
            Ok(Ok(under_way.unwrap_or_else(|| self.begin_renewal(&mut state.login))))
        });
        match renewal? {
            Ok(renewal) => renewal.await,
            Err(access) => Ok(access),
        }
    }

    fn begin_renewal(&self, login: &mut Login) -> Shared<Renewal> {
        let renewal = self.clone().renew().boxed().shared();
        login.renewal = renewal.downgrade();
        login.tasks.spawn(renewal.clone().map(drop));
        renewal
    }

    async fn renew(self) -> Result<Access, AccountError> {
        let renewed = self.renewed().await;
        // What is over is over for what was kept, too.
        let changed = renewed.as_ref().map_or_else(ends_the_login, |_| true);
        let kept = if changed { self.keep().await } else { Ok(()) };
        self.with_state(|state| state.login.renewal = None);
        let access = renewed?;
        kept?;
        Ok(access)
    }

    async fn renewed(&self) -> Result<Access, AccountError> {
        let (refresh_token, device, pairs) = self
            .with_state(|state| (state.login.refresh_token.clone(), state.device.clone(), state.login.pairs));
        let tokens = self.next_tokens(refresh_token, device).await;
        self.with_state(|state| match tokens {
            // Somebody signed in again, or out, meanwhile.
            _ if state.login.pairs != pairs => state.login.usable(None).ok_or(AccountError::SignedOut),
            Ok(tokens) => Ok(state.login.take(tokens)),
            Err(error) => {
                if ends_the_login(&error) {
                    state.login.end();
                }
                Err(error)
            }
        })
    }

    async fn next_tokens(
        &self,
        refresh_token: Option<Secret<'static>>,
        device: Option<OwnDevice>,
    ) -> Result<TokenResponse, AccountError> {
        let Some(refresh_token) = refresh_token else { return self.tokens_of(device).await };
        let call = Call::post("/api/auth/refresh").json(&RefreshRequest { refresh_token })?;
        match self.server().call(&call).await {
            Ok(answer) => Ok(answer.json()?),
            Err(error) if device.is_some() && is_outlived(&error) => self.tokens_of(device).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn tokens_of(&self, device: Option<OwnDevice>) -> Result<TokenResponse, AccountError> {
        let device = device.ok_or(AccountError::SignedOut)?;
        let tokens = self.server().tokens_by_key(device.key(), Some(device.id())).await;
        tokens.map_err(|error| match error.code() {
            Some(ErrorCode::UnknownDevice) => AccountError::SignedOut,
            _ => error.into(),
        })
    }

    async fn end_login(&self, request: LogoutRequest) -> Result<(), AccountError> {
        self.call(Call::post("/api/auth/logout").json(&request)?).await?;
        self.forget_login().await
    }

    /// The server has ended it.
    pub(super) async fn forget_login(&self) -> Result<(), AccountError> {
        self.with_state(|state| state.login.end());
        Ok(self.keep().await?)
    }
}

/// Whether the server refused the token of a call that another one could be made with.
pub(super) fn is_about_the_token(error: &CallError) -> bool {
    matches!(error.code(), Some(ErrorCode::ExpiredToken | ErrorCode::InvalidToken))
}

/// Whether a refresh token only is too old, or of a server that has lost its memory. One that was revoked or used twice
/// is another matter: somebody wanted this sign-in to end.
fn is_outlived(error: &CallError) -> bool {
    is_about_the_token(error)
}

fn ends_the_login(error: &AccountError) -> bool {
    let revoked = matches!(error.code(), Some(ErrorCode::Revoked | ErrorCode::RefreshReused));
    revoked || matches!(error, AccountError::SignedOut)
}

/// What a provider of tokens says of an error.
fn token_error(error: AccountError) -> BoxError {
    if error.needs_credentials() { SignedOut::new(error).into() } else { error.into() }
}

fn asks_for_another(reason: TokenReason) -> bool {
    !matches!(reason, TokenReason::First | TokenReason::Reconnecting)
}
