//! Registration and sign-in over HTTP.

use aldis_auth::{AuthError, ChallengeBinding, PublicKey, SecondFactor};
use aldis_protocol::{
    DeviceId, ErrorCode, UserId,
    api::{ChallengeRequest, ChallengeResponse, LoginRequest, RegisterRequest, TokenResponse, VerifyRequest},
};
use uuid::Uuid;

use super::{
    Accounts,
    identity::UNKNOWN_DEVICE,
    key_owner::{KeyOwner, KeyRole},
    passwords::{HashCaller, HashPermit},
    tokens::Login,
    totp::shown_factor,
};
use crate::{
    clock::Now,
    email,
    metrics::Method,
    rate::AddressKey,
    refusal::{ACCOUNT_DELETED, DISABLED, Refusal},
    store::{AccountCreation, LoginProof},
};

/// The tokens of a user who signed in, and whether this made their account.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) tokens: TokenResponse,
    pub(crate) created: bool,
}

/// The user whose second factor was checked in a first attempt: its code is valid once. And whether they had one.
#[derive(Default)]
struct Settled {
    /// The account that the address names.
    named: Option<UserId>,
    user: Option<UserId>,
    second_factor: bool,
}

/// The answer to a challenge over HTTP.
pub(super) struct ShownKey<'a> {
    pub(super) public_key: &'a [u8; 32],
    pub(super) device_id: Option<&'a DeviceId>,
    pub(super) challenge: &'a [u8; 32],
    pub(super) signature: &'a [u8; 64],
}

const WRONG_CREDENTIALS: Refusal =
    Refusal::new(ErrorCode::InvalidCredentials, "the address or the password is wrong");
/// A stranger must not learn what was wrong.
const WRONG_ANSWER: Refusal = Refusal::new(
    ErrorCode::InvalidChallenge,
    "the challenge or its signature is not valid; ask for a new one",
);
const BAD_PASSWORD: Refusal = Refusal::new(
    ErrorCode::BadRequest,
    "`password` has 8 characters or more, and at most 1,024 bytes (71 where the server hashes with bcrypt)",
);
const BAD_EMAIL: Refusal = Refusal::new(
    ErrorCode::BadRequest,
    "`email` is an address with one @ and without blanks or invisible characters, of at most 254 bytes",
);
const NOT_DEVICE_OF_KEY: Refusal =
    Refusal::new(ErrorCode::UnknownDevice, "the device is not registered to this key's user");
const ADDRESS_TAKEN: Refusal =
    Refusal::new(ErrorCode::Conflict, "the address has an account; sign in, or take another");

/// An attempt to sign in by password.
struct Attempt<'a> {
    request: &'a LoginRequest,
    permit: &'a HashPermit,
    factor: Option<&'a SecondFactor>,
}

impl Accounts {
    /// Makes an account with an address and a password.
    pub(crate) async fn register(
        &self,
        request: RegisterRequest,
        caller: HashCaller,
        now: Now,
    ) -> Result<TokenResponse, Refusal> {
        if self.is_closed() {
            return Err(Refusal::new(ErrorCode::RegistrationClosed, "this server takes no new accounts"));
        }
        let email = email::of_new_account(&request.email).ok_or(BAD_EMAIL)?;
        self.passwords.check(request.password.expose()).map_err(|_| BAD_PASSWORD)?;
        let permit = self.passwords.admit(caller)?;
        let (hash, now) = self.passwords.hash(&permit, request.password.expose().to_owned(), now).await?;
        // An older account may be stored under another spelling of the address.
        if self.store.find_email_account(&email).await?.is_some() {
            return Err(ADDRESS_TAKEN);
        }
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account(user, &email, &hash, now.store_ms()).await? {
            AccountCreation::Created => {
                tracing::info!(%user, method = Method::Password.as_str(), "account created");
                let proof = LoginProof::Password(&hash);
                let login = Login { user, device: None, fingerprint: None, proof, second_factor: false };
                self.begin_family(login, now).await?.ok_or(ACCOUNT_DELETED)
            }
            AccountCreation::EmailTaken => Err(ADDRESS_TAKEN),
        }
    }

    /// Signs in by address and password. An unknown address costs the same work as a wrong password.
    pub(crate) async fn login(
        &self,
        request: LoginRequest,
        caller: HashCaller,
        mut now: Now,
    ) -> Result<TokenResponse, Refusal> {
        let factor = shown_factor(request.totp_code.as_ref())?;
        let permit = self.passwords.admit(caller)?;
        let attempt = Attempt { request: &request, permit: &permit, factor: factor.as_ref() };
        let mut settled = Settled::default();
        let outcome = match self.try_login(&attempt, &mut settled, &mut now).await {
            Ok(Some(tokens)) => Ok(tokens),
            // The stored hash was replaced meanwhile, by a new password or by the rehash of another login.
            Ok(None) => self
                .try_login(&attempt, &mut settled, &mut now)
                .await
                .and_then(|tokens| tokens.ok_or(WRONG_CREDENTIALS)),
            Err(refusal) => Err(refusal),
        };
        outcome.inspect_err(|refusal| {
            self.metrics.lines.sign_in_refused(Method::Password, refusal.code, settled.named);
        })
    }

    /// Tries once. Hashing takes time, by which it moves `now` on.
    async fn try_login(
        &self,
        attempt: &Attempt<'_>,
        settled: &mut Settled,
        now: &mut Now,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let Attempt { request, permit, factor } = attempt;
        let account = match email::canonical(&request.email) {
            Some(email) => self.store.find_email_account(&email).await?,
            None => None,
        };
        settled.named = account.as_ref().map(|account| account.user_id);
        let password = request.password.expose().to_owned();
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let verdict;
        (verdict, *now) =
            self.passwords.verify(permit, password.clone(), stored, &request.email, *now).await?;
        let Some(mut account) = account.filter(|_| verdict.matches) else { return Err(WRONG_CREDENTIALS) };
        if account.disabled_at_ms.is_some() {
            return Err(DISABLED);
        }
        if verdict.needs_rehash {
            let fresh;
            (fresh, *now) = self.passwords.rehash(permit, password, *now).await?;
            self.store.replace_password_hash(account.user_id, &account.password_hash, &fresh).await?;
            account.password_hash = fresh;
        }
        if settled.user != Some(account.user_id) {
            let second_factor = self.require_factor(account.user_id, *factor, *now).await?;
            *settled = Settled { user: Some(account.user_id), second_factor, ..*settled };
        }
        let login = Login {
            user: account.user_id,
            device: request.device_id.clone(),
            fingerprint: None,
            proof: LoginProof::Password(&account.password_hash),
            second_factor: settled.second_factor,
        };
        self.begin_family(login, *now).await
    }

    /// Issues a challenge for a key, known or not.
    pub(crate) fn challenge(
        &self,
        request: &ChallengeRequest,
        audience: String,
        now: Now,
    ) -> Result<ChallengeResponse, Refusal> {
        let public_key = parse_key(&request.public_key)?;
        let binding = ChallengeBinding {
            audience: &audience,
            public_key: &public_key,
            device_id: request.device_id.as_ref(),
        };
        let issued = self.challenges.issue(&mut rand::rng(), &binding, now.unix_ms);
        let (challenge, expires_at_ms) = (issued.challenge, issued.expires_at_ms);
        Ok(ChallengeResponse { challenge, audience, expires_at_ms })
    }

    /// Signs in by key. A key never seen makes an account.
    pub(crate) async fn verify(
        &self,
        request: &VerifyRequest,
        audience: &str,
        address: AddressKey,
        now: Now,
    ) -> Result<SignedIn, Refusal> {
        let verified = self.try_verify(request, audience, address, now).await;
        verified.inspect_err(|refusal| {
            self.metrics.lines.sign_in_refused(Method::Key, refusal.code, None);
        })
    }

    async fn try_verify(
        &self,
        request: &VerifyRequest,
        audience: &str,
        address: AddressKey,
        now: Now,
    ) -> Result<SignedIn, Refusal> {
        let factor = shown_factor(request.totp_code.as_ref())?;
        let shown = ShownKey {
            public_key: &request.public_key,
            device_id: request.device_id.as_ref(),
            challenge: &request.challenge,
            signature: &request.signature,
        };
        let key = self.prove_key(&shown, audience, now).await?;
        self.sign_in_by_key(&key, request.device_id.as_ref(), factor.as_ref(), address, now).await
    }

    /// Verifies the answer to a challenge, and returns the key that it proves. The challenge is used up.
    pub(super) async fn prove_key(
        &self,
        shown: &ShownKey<'_>,
        audience: &str,
        now: Now,
    ) -> Result<PublicKey, Refusal> {
        let public_key = parse_key(shown.public_key)?;
        let binding = ChallengeBinding { audience, public_key: &public_key, device_id: shown.device_id };
        let opened = self
            .challenges
            .open(shown.challenge, &binding, now.unix_ms)
            .map_err(|_: AuthError| WRONG_ANSWER)?;
        let expires_at_ms = i64::try_from(opened.expires_at_ms()).unwrap_or(i64::MAX);
        let challenge = *opened.challenge();
        if !self.store.use_challenge(challenge, expires_at_ms, now.store_ms()).await? {
            return Err(WRONG_ANSWER);
        }
        opened.verify(shown.signature).map_err(|_: AuthError| WRONG_ANSWER)
    }

    async fn sign_in_by_key(
        &self,
        key: &PublicKey,
        device: Option<&DeviceId>,
        factor: Option<&SecondFactor>,
        address: AddressKey,
        now: Now,
    ) -> Result<SignedIn, Refusal> {
        let owner = match device {
            None => self.owner_of_key(key, address, now).await?,
            Some(device) => self.owner_on_known_device(key, device, now).await?,
        };
        let (proof, second_factor) = match owner.role {
            KeyRole::Device => (LoginProof::DeviceKey(key.as_bytes()), false),
            KeyRole::Identity => {
                let second_factor = self.require_factor(owner.user, factor, now).await?;
                (LoginProof::IdentityKey(key.as_bytes()), second_factor)
            }
        };
        let KeyOwner { user, fingerprint, created, .. } = owner;
        let login = Login { user, device: device.cloned(), fingerprint, proof, second_factor };
        let tokens = self.begin_by_key(login, key, now).await?;
        Ok(SignedIn { tokens, created })
    }

    /// The owner of a key that is shown for a device. Over HTTP, naming a device does not register it.
    async fn owner_on_known_device(
        &self,
        key: &PublicKey,
        device: &DeviceId,
        now: Now,
    ) -> Result<KeyOwner, Refusal> {
        let Some(registered) = self.store.find_device(device).await? else {
            self.refuse_replaced(key, now).await?;
            return Err(NOT_DEVICE_OF_KEY);
        };
        let owner = self.owner_on_device(key, registered, now).await;
        owner.map_err(|refusal| if refusal == UNKNOWN_DEVICE { NOT_DEVICE_OF_KEY } else { refusal })
    }

    async fn begin_by_key(
        &self,
        login: Login<'_>,
        key: &PublicKey,
        now: Now,
    ) -> Result<TokenResponse, Refusal> {
        if let Some(tokens) = self.begin_family(login, now).await? {
            return Ok(tokens);
        }
        self.refuse_replaced(key, now).await?;
        Err(ACCOUNT_DELETED)
    }
}

pub(super) fn parse_key(bytes: &[u8; 32]) -> Result<PublicKey, Refusal> {
    PublicKey::from_bytes(bytes).map_err(|_| {
        Refusal::new(ErrorCode::InvalidKey, "this is no Ed25519 key, or one that everybody can sign for")
    })
}
