//! Accounts made and signed in to.

use aldis_auth::SecretKey;
use aldis_client_core::{HttpChallenge, SignIn, SignInStep};
use aldis_protocol::{
    DeviceId, Fingerprint, Secret,
    api::{LogoutRequest, RegisterDevice, RegisterRequest, TokenResponse},
    statement::DeviceStatement,
};

use super::{NewDevice, Server};
use crate::{
    Account, OwnDevice, SavedAccount, SignInError,
    api::{Call, segment},
    clock::unix_ms,
};

/// The answer to a challenge over HTTP.
pub(crate) struct Answered {
    pub(crate) challenge: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Server {
    /// Makes an account with an address and a password: from 8 characters to 1,024 bytes.
    ///
    /// # Errors
    /// [`SignInError`]; an address that is taken is [`ErrorCode::Conflict`](aldis_protocol::ErrorCode::Conflict).
    pub async fn register(&self, email: &str, password: &str) -> Result<Account, SignInError> {
        let body = RegisterRequest { email: email.to_owned(), password: Secret::from(password).into_owned() };
        let tokens = self.call(&Call::post("/auth/register").json(&body)?).await?.json()?;
        self.begin(tokens, None).await
    }

    /// Signs in with an address and a password, for the first time with this program; from then on,
    /// [`restore`](Self::restore) needs neither.
    ///
    /// The device that it makes is signed by no identity. Where the account has one,
    /// [`Account::vouch_for_device`] does that.
    ///
    /// ```no_run
    /// use aldis_client::Server;
    ///
    /// # async fn example(server: &Server) -> Result<(), aldis_client::SignInError> {
    /// let account = server.log_in("ann@example.org", "correct horse").await?;
    /// println!("{}", account.user_id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn log_in(&self, email: &str, password: &str) -> Result<Account, SignInError> {
        let tokens = self.tokens_by_password(email, password, None).await?;
        self.begin(tokens, None).await
    }

    /// Signs in with an identity's key, for the first time with this program: a key that the server never saw makes
    /// the account, where registration is open.
    ///
    /// It makes a device with a key of its own, which the identity's key signs, registers it and goes on with that:
    /// from then on the device proves the account, and the identity's key can be put away.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(&self, identity: &SecretKey) -> Result<Account, SignInError> {
        let tokens = self.tokens_by_key(identity, None).await?;
        self.begin(tokens, Some(identity)).await
    }

    /// Signs in as a device that was registered before.
    ///
    /// # Errors
    /// [`SignInError`]; a device that was removed is
    /// [`ErrorCode::UnknownDevice`](aldis_protocol::ErrorCode::UnknownDevice).
    pub async fn sign_in_as(&self, device: OwnDevice) -> Result<Account, SignInError> {
        let tokens = self.tokens_by_key(device.key(), Some(device.id())).await?;
        let account = Account::signed_in(self.clone(), tokens, Some(device));
        account.keep().await?;
        Ok(account)
    }

    /// Goes on with an account that was kept. Nothing is asked of the server before the first call, which tells whether
    /// the account can still be used.
    #[must_use]
    pub fn restore(&self, saved: SavedAccount) -> Account {
        Account::restored(self.clone(), saved)
    }

    /// Tokens for somebody who knows the password, and the code where there is a second factor.
    pub(crate) async fn tokens_by_password(
        &self,
        email: &str,
        password: &str,
        device_id: Option<&DeviceId>,
    ) -> Result<TokenResponse, SignInError> {
        self.carry_out(SignIn::by_password(email, password, device_id.cloned()), None).await
    }

    /// Tokens for the holder of a key, and the code where there is a second factor.
    pub(crate) async fn tokens_by_key(
        &self,
        key: &SecretKey,
        device_id: Option<&DeviceId>,
    ) -> Result<TokenResponse, SignInError> {
        let begin = SignIn::by_key(key.public_key(), self.audience(), device_id.cloned());
        self.carry_out(begin, Some(key)).await
    }

    /// Carries out a sign-in to its end, with the key if it is one by key.
    pub(crate) async fn carry_out(
        &self,
        begin: SignInStep,
        key: Option<&SecretKey>,
    ) -> Result<TokenResponse, SignInError> {
        let mut step = begin;
        loop {
            step = match step {
                SignInStep::Call(call, awaiting) => {
                    let outcome = self.call(&call).await;
                    awaiting.handle_answer(unix_ms(), outcome)
                }
                SignInStep::Sign(request, awaiting) => {
                    let signature = key.map(|key| key.sign_request(&request));
                    awaiting.handle_signature(signature.ok_or_else(|| "there is no key".into()))
                }
                SignInStep::AskCode(asked, awaiting) => {
                    let code = match &self.totp {
                        Some(prompt) => prompt.ask(asked).await,
                        None => None,
                    };
                    awaiting.handle_code(code)
                }
                SignInStep::Done(outcome) => return outcome.map(|tokens| *tokens),
            };
        }
    }

    /// Asks for a challenge, and signs it if it is one of this server's.
    pub(crate) async fn answer_challenge(
        &self,
        key: &SecretKey,
        device_id: Option<&DeviceId>,
    ) -> Result<Answered, SignInError> {
        let public_key = key.public_key();
        let answer = self.call(&HttpChallenge::call(&public_key, device_id)?).await?;
        let challenge = HttpChallenge::verify(&answer, self.audience(), unix_ms())?;
        let signature = key.sign_request(&challenge.signing_request(public_key, device_id));
        Ok(Answered { challenge: challenge.challenge(), signature })
    }

    /// Ends a sign-in that nobody is going to use. Where that does not come about, it ends by itself.
    pub(crate) async fn end_sign_in(&self, access_token: &Secret<'static>) {
        if let Ok(call) = Call::post("/api/auth/logout").json(&LogoutRequest::default()) {
            let _ = self.call(&call.bearer(access_token.clone())).await;
        }
    }

    /// Goes on with the tokens of a first sign-in: as a device of its own, which the application keeps.
    async fn begin(
        &self,
        tokens: TokenResponse,
        identity: Option<&SecretKey>,
    ) -> Result<Account, SignInError> {
        let NewDevice::Registered { name } = &self.new_device else {
            return self.kept(Account::signed_in(self.clone(), tokens, None)).await;
        };
        let device = OwnDevice::generate(&mut rand::rng());
        let entered = self.enter_as(&device, name.as_deref(), &tokens, identity).await;
        // From here on either the device's tokens are used, or none.
        self.end_sign_in(&tokens.access_token).await;
        self.kept(Account::signed_in(self.clone(), entered?, Some(device))).await
    }

    /// Registers a device with the tokens of a login, and signs in as it: those tokens end when the device is removed.
    async fn enter_as(
        &self,
        device: &OwnDevice,
        name: Option<&str>,
        tokens: &TokenResponse,
        identity: Option<&SecretKey>,
    ) -> Result<TokenResponse, SignInError> {
        let vouched_by = tokens.fingerprint.zip(identity);
        let call = Call::post("/devices/register").json(&registration(device, name, vouched_by))?;
        self.call(&call.bearer(tokens.access_token.clone())).await?;
        let entered = self.tokens_by_key(device.key(), Some(device.id())).await;
        if entered.is_err() {
            // Nobody will ever have its key.
            let removal = Call::delete(device_path(device.id())).bearer(tokens.access_token.clone());
            let _ = self.call(&removal).await;
        }
        entered
    }

    /// An account that the application does not keep would leave a device behind that nobody has the key of.
    async fn kept(&self, account: Account) -> Result<Account, SignInError> {
        match account.keep().await {
            Ok(()) => Ok(account),
            Err(not_kept) => {
                account.abandon().await;
                Err(not_kept.into())
            }
        }
    }
}

/// Where one of the caller's devices is.
pub(crate) fn device_path(device_id: &DeviceId) -> String {
    format!("/devices/{}", segment(device_id.as_str()))
}

/// The registration of a device, signed where an identity vouches for it.
pub(crate) fn registration(
    device: &OwnDevice,
    name: Option<&str>,
    vouched_by: Option<(Fingerprint, &SecretKey)>,
) -> RegisterDevice {
    let (created_at_ms, pubkey) = (unix_ms(), *device.key().public_key().as_bytes());
    let sign = |(fingerprint, identity): (Fingerprint, &SecretKey)| {
        identity.sign_device(&DeviceStatement {
            fingerprint,
            device_id: device.id(),
            public_key: &pubkey,
            created_at_ms,
        })
    };
    RegisterDevice {
        device_id: device.id().clone(),
        pubkey,
        name: name.map(str::to_owned),
        created_at_ms: vouched_by.map(|_| created_at_ms),
        signature: vouched_by.map(sign),
    }
}
