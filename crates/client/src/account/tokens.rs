//! The tokens of an account: renewed before they expire, by one renewal for all callers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aldis_client_core::{AccessToken, Renewal, TokenDecision, Tokens};
use aldis_protocol::{
    Secret,
    api::{LogoutRequest, TokenResponse},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio_util::task::TaskTracker;

use super::Account;
use crate::{AccountError, BoxError, Credentials, OwnDevice, SignedOut, TokenReason, api::Call};

/// What an account is signed in with.
pub(super) struct Login {
    pub(super) tokens: Tokens,
    renewal: Option<WeakShared<RenewalTask>>,
    /// Runs renewals to their end even if their callers are gone: losing the successor of a used refresh token would
    /// end the sign-in. Each renewal ends within the call timeout.
    tasks: TaskTracker,
}

type RenewalTask = BoxFuture<'static, Result<AccessToken, AccountError>>;

impl Login {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self { tokens, renewal: None, tasks: TaskTracker::new() }
    }
}

impl Account {
    /// A provider of the account's tokens for the socket; it renews them when the socket asks for another. The
    /// session ends with the sign-in. Its device is the account's, if there is one.
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

    /// An access token for the application's own calls, valid for some time to come.
    ///
    /// ```no_run
    /// use aldis_client::Account;
    ///
    /// # async fn example(account: &Account) -> Result<(), aldis_client::AccountError> {
    /// let token = account.access_token().await?;
    /// println!("Authorization: Bearer {}", token.expose());
    /// # Ok(())
    /// # }
    /// ```
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
    /// [`AccountError`]; the account is signed out here only if the server got the call.
    pub async fn log_out(&self) -> Result<(), AccountError> {
        self.end_login(LogoutRequest { everywhere: false }).await
    }

    /// Ends all sign-ins of the user, this one and those elsewhere.
    ///
    /// # Errors
    /// [`AccountError`]; as [`log_out`](Self::log_out).
    pub async fn log_out_everywhere(&self) -> Result<(), AccountError> {
        self.end_login(LogoutRequest { everywhere: true }).await
    }

    /// Waits until no renewal is in progress. Call it at the end of a program, so that the last refresh token is
    /// kept.
    pub async fn settle(&self) {
        if let Some(renewal) = self.with_state(|state| state.login.renewal.as_ref()?.upgrade()) {
            // The callers that wait for it report how it ends.
            let _ = renewal.await;
        }
    }

    /// A token that is valid for some time to come and is not the refused one.
    pub(super) async fn access(&self, refused: Option<u64>) -> Result<AccessToken, AccountError> {
        let now = self.now();
        let renewal = self.with_state(|state| match state.login.tokens.decide(now, refused) {
            TokenDecision::Use(access) => Err(Ok(access)),
            TokenDecision::SignedOut => Err(Err(AccountError::SignedOut)),
            TokenDecision::Wait | TokenDecision::Renew => Ok(self.renewal(&mut state.login)),
        });
        match renewal {
            Ok(renewal) => renewal.await,
            Err(decided) => decided,
        }
    }

    /// The renewal that is in progress, or a new one.
    fn renewal(&self, login: &mut Login) -> Shared<RenewalTask> {
        if let Some(renewal) = login.renewal.as_ref().and_then(WeakShared::upgrade) {
            return renewal;
        }
        let renewal = self.clone().renew().boxed().shared();
        login.renewal = renewal.downgrade();
        login.tasks.spawn(renewal.clone().map(drop));
        renewal
    }

    async fn renew(self) -> Result<AccessToken, AccountError> {
        let renewed = self.renewed().await;
        // What is over is over for what was kept, too.
        let changed = renewed.as_ref().map_or_else(AccountError::ends_sign_in, |_| true);
        let kept = if changed { self.keep().await } else { Ok(()) };
        self.with_state(|state| state.login.renewal = None);
        let access = renewed?;
        kept?;
        Ok(access)
    }

    async fn renewed(&self) -> Result<AccessToken, AccountError> {
        let audience = self.server().audience();
        let (of, renewal, device) = self.with_state(|state| {
            let device = state.device.clone();
            let key = device.as_ref().map(|device| (device.key().public_key(), device.id().clone()));
            let (of, renewal) = state.login.tokens.renewal(key, audience);
            (of, renewal, device)
        });
        let outcome = self.carry_out(renewal, device.as_ref()).await;
        let now = self.now();
        self.with_state(|state| state.login.tokens.handle_renewed(now, of, outcome))
    }

    async fn carry_out(
        &self,
        renewal: Renewal,
        device: Option<&OwnDevice>,
    ) -> Result<TokenResponse, AccountError> {
        let mut renewal = renewal;
        loop {
            renewal = match renewal {
                Renewal::Refresh(call, awaiting) => awaiting.handle_answer(self.server().call(&call).await),
                Renewal::SignIn(begin) => {
                    let key = device.map(OwnDevice::key);
                    return Renewal::by_sign_in(self.server().carry_out(begin, key).await);
                }
                Renewal::Done(outcome) => return outcome.map(|tokens| *tokens),
            };
        }
    }

    async fn end_login(&self, request: LogoutRequest) -> Result<(), AccountError> {
        self.call(Call::post("/api/auth/logout").json(&request)?).await?;
        self.forget_login().await
    }

    /// The server has ended the sign-in.
    pub(super) async fn forget_login(&self) -> Result<(), AccountError> {
        self.with_state(|state| state.login.tokens.end());
        Ok(self.keep().await?)
    }
}

/// The error of a token provider for this account error.
fn token_error(error: AccountError) -> BoxError {
    if error.needs_credentials() { SignedOut::new(error).into() } else { error.into() }
}

fn asks_for_another(reason: TokenReason) -> bool {
    !matches!(reason, TokenReason::First | TokenReason::Reconnecting)
}
