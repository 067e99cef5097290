//! Who somebody is: the handshake's questions, answered from the keys, the tokens and the store.

use aldis_auth::{PublicKey, SecondFactor};
use aldis_protocol::{AlertKind, DeviceId, ErrorCode, Fingerprint, PendingRotation, UserId};
use uuid::Uuid;

use super::{
    FactorDue, Router, notices::device_alert, rotation::PROVISIONAL, sessions::STEP_UP_REQUIRED,
    tokens::REVOKED, totp::FACTOR_REQUIRED,
};
use crate::{
    calls::NotCompleted,
    clock::{Now, unix_ms_i64},
    config::Registration,
    link::{Identity, TokenLife},
    rate::{AddressKey, Limit, Occasional, Wait},
    store::{self, Credential, DeviceOwner, IdentityCreation, NewDevice, StoreError, Unauthorized},
};

/// A token, shown for a device.
#[derive(Debug)]
pub(crate) struct TokenProof {
    pub(crate) token: String,
    pub(crate) device_id: Option<DeviceId>,
}

/// A key whose possession is proved, shown for a device.
#[derive(Debug)]
pub(crate) struct KeyProof {
    pub(crate) key: PublicKey,
    pub(crate) device_id: Option<DeviceId>,
    pub(crate) factor: Option<SecondFactor>,
}

/// Whom a key proves, and the second factor that is due from him before a new session of his begins.
#[derive(Debug)]
pub(crate) struct ProvedByKey {
    pub(crate) identity: Identity,
    pub(crate) due: Option<FactorDue>,
}

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'static str,
    pub(crate) rotation: Option<PendingRotation>,
    /// When to try again, in seconds, where that is known.
    pub(crate) retry_after: Option<u64>,
    /// The limit that refused it, where `ALDIS_RATE_LIMITS` lifts that.
    pub(crate) limit: Option<Limit>,
}

impl Denied {
    pub(crate) const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, rotation: None, retry_after: None, limit: None }
    }

    pub(crate) const fn rate_limited(limit: Limit, message: &'static str, wait: Wait) -> Self {
        Self {
            retry_after: Some(wait.seconds()),
            limit: Some(limit),
            ..Self::new(ErrorCode::RateLimited, message)
        }
    }
}

impl From<NotCompleted> for Denied {
    fn from(error: NotCompleted) -> Self {
        match error {
            NotCompleted::Overloaded => {
                Self::new(ErrorCode::Overloaded, "too many calls are under way; try again")
            }
            NotCompleted::Panicked => Self::new(ErrorCode::Internal, "the server failed"),
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unauthorized(unauthorized) = error {
            return unauthorized.into();
        }
        if matches!(error, StoreError::Overloaded) {
            return Self {
                retry_after: Some(1),
                ..Self::new(ErrorCode::Unavailable, "too much waits for the database; try again")
            };
        }
        static FAILED: Occasional = Occasional::new();
        if let Some(left_out) = FAILED.pass(Now::tick()) {
            tracing::warn!(error = error.with_causes(), left_out, "the store failed");
        }
        if error.is_retryable() {
            Self::new(ErrorCode::Unavailable, "the database is away; try again")
        } else {
            Self::new(ErrorCode::Internal, "the server failed")
        }
    }
}

impl From<Unauthorized> for Denied {
    fn from(unauthorized: Unauthorized) -> Self {
        match unauthorized {
            Unauthorized::NoAccount => ACCOUNT_DELETED,
            Unauthorized::Disabled => DISABLED,
            Unauthorized::Revoked => REVOKED,
            Unauthorized::StepUpRequired => STEP_UP_REQUIRED,
            Unauthorized::FactorRequired => FACTOR_REQUIRED,
            Unauthorized::Provisional => PROVISIONAL,
        }
    }
}

pub(super) const UNKNOWN_DEVICE: Denied =
    Denied::new(ErrorCode::UnknownDevice, "the device is not registered to this user; register it first");

pub(super) const DISABLED: Denied = Denied::new(ErrorCode::Forbidden, "the account is disabled");
pub(super) const ACCOUNT_DELETED: Denied = Denied::new(ErrorCode::Revoked, "the account was deleted");

impl Router {
    /// Who shows this token, and on which device.
    pub(crate) async fn prove_by_token(&self, proof: TokenProof, now: Now) -> Result<Identity, Denied> {
        let proved_at = self.revocations.last();
        let claims = self.check_token_for(&proof.token, proof.device_id.as_ref(), now)?;
        let token = Some(TokenLife::of(&claims));
        let fingerprint = self.fingerprint_of(claims.sub, now).await?;
        let device = match proof.device_id.or(claims.did) {
            Some(device) => {
                self.registered_to(claims.sub, &device, now).await?;
                device
            }
            None => ephemeral(),
        };
        let family = Some(claims.sid);
        Ok(Identity { user: claims.sub, device, fingerprint, token, family, proved_at })
    }

    /// Whose this key is, and on which device it speaks. A key never seen makes an account, where that is allowed; an
    /// identity's key registers a free device by naming it.
    pub(crate) async fn prove_by_key(
        &self,
        proof: KeyProof,
        address: AddressKey,
        now: Now,
    ) -> Result<ProvedByKey, Denied> {
        let KeyProof { key, device_id, factor } = proof;
        let proved_at = self.revocations.last();
        let proved = |user, device, fingerprint, due| {
            let identity = Identity { user, device, fingerprint, token: None, family: None, proved_at };
            ProvedByKey { identity, due }
        };
        let Some(device) = device_id else {
            let (user, fingerprint) = self.owner_of_key(&key, address, now).await?;
            let due = self.factor_due(user, factor, now).await?;
            return Ok(proved(user, ephemeral(), Some(fingerprint), due));
        };
        match self.find_device(&device, now).await? {
            Some(owner) if owner.is_proved_by(&key) && owner.disabled => Err(DISABLED),
            // Registering the device was its second factor.
            Some(owner) if owner.is_proved_by(&key) => {
                let fingerprint = self.fingerprint_of(owner.user_id, now).await?;
                Ok(proved(owner.user_id, device, fingerprint, None))
            }
            Some(owner) => {
                let (user, fingerprint) = self.device_of_identity(owner, &key, now).await?;
                let due = self.factor_due(user, factor, now).await?;
                Ok(proved(user, device, fingerprint, due))
            }
            None if device.is_ephemeral() => Err(UNKNOWN_DEVICE),
            None => {
                let (user, fingerprint) = self.owner_of_key(&key, address, now).await?;
                // No session waits for a device that is not there, and nothing is made for half a proof.
                let second_factor = self.require_factor(user, factor.as_ref(), now).await?;
                let credential = Credential::identity_key(user, *key.as_bytes(), second_factor);
                // Boxed, as it is rare and large: every handshake would have its size.
                Box::pin(self.register_by_name(&credential, &device)).await?;
                Ok(proved(user, device, Some(fingerprint), None))
            }
        }
    }

    /// The account that a key proves, made where the key was never seen. The second value says whether it was made.
    pub(super) async fn account_of_key(
        &self,
        key: &PublicKey,
        address: AddressKey,
        now: Now,
    ) -> Result<(store::Identity, bool), Denied> {
        if let Some(identity) = self.find_identity(key.as_bytes(), now).await? {
            return allowed(identity).map(|identity| (identity, false));
        }
        self.refuse_replaced(key).await?;
        if self.settings.registration == Registration::Closed {
            return Err(Denied::new(ErrorCode::RegistrationClosed, "this server takes no new accounts"));
        }
        self.limit_key_accounts(address, now)?;
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account_for_key(user, *key.as_bytes(), unix_ms_i64()).await? {
            IdentityCreation::Created => {
                // It may have been a device's key.
                self.revoked().await;
                let fingerprint = key.fingerprint();
                let identity = store::Identity {
                    user_id: user,
                    fingerprint,
                    active_key: *key.as_bytes(),
                    disabled_at_ms: None,
                };
                Ok((identity, true))
            }
            IdentityCreation::AlreadyThere(identity) if identity.active_key == *key.as_bytes() => {
                allowed(identity).map(|identity| (identity, false))
            }
            IdentityCreation::AlreadyThere(identity) => Err(self.replaced(&identity, key).await),
            IdentityCreation::Deleted => Err(ACCOUNT_DELETED),
        }
    }

    /// Whether a device is registered to a user and not removed.
    async fn registered_to(&self, user: UserId, device: &DeviceId, now: Now) -> Result<DeviceOwner, Denied> {
        match self.find_device(device, now).await? {
            Some(owner) if owner.user_id == user && !owner.removed => Ok(owner),
            _ => Err(UNKNOWN_DEVICE),
        }
    }

    async fn owner_of_key(
        &self,
        key: &PublicKey,
        address: AddressKey,
        now: Now,
    ) -> Result<(UserId, Fingerprint), Denied> {
        self.account_of_key(key, address, now)
            .await
            .map(|(identity, _)| (identity.user_id, identity.fingerprint))
    }

    /// A device that is somebody's, shown with what may be that somebody's identity key.
    async fn device_of_identity(
        &self,
        owner: DeviceOwner,
        key: &PublicKey,
        now: Now,
    ) -> Result<(UserId, Option<Fingerprint>), Denied> {
        match self.find_identity(key.as_bytes(), now).await? {
            Some(identity) if identity.user_id == owner.user_id && !owner.removed => {
                allowed(identity).map(|identity| (identity.user_id, Some(identity.fingerprint)))
            }
            _ => {
                self.refuse_replaced(key).await?;
                Err(UNKNOWN_DEVICE)
            }
        }
    }

    async fn register_by_name(&self, credential: &Credential, device: &DeviceId) -> Result<(), Denied> {
        let now_ms = unix_ms_i64();
        let new = NewDevice {
            device_id: device.clone(),
            pubkey: None,
            name: None,
            created_at_ms: now_ms,
            signature: None,
        };
        match self.register_within_limit(credential, &new, now_ms).await? {
            store::Registration::Registered => {
                self.notify(credential.user, device_alert(AlertKind::DeviceAdded, device), &[device]).await;
                Ok(())
            }
            store::Registration::Unchanged => Ok(()),
            store::Registration::TooMany => Err(Denied::new(
                ErrorCode::Conflict,
                "this user has as many devices as may be; remove one first",
            )),
            store::Registration::IdTaken | store::Registration::KeyInUse => Err(UNKNOWN_DEVICE),
        }
    }
}

fn allowed(identity: store::Identity) -> Result<store::Identity, Denied> {
    match identity.disabled_at_ms {
        None => Ok(identity),
        Some(_) => Err(DISABLED),
    }
}

fn ephemeral() -> DeviceId {
    DeviceId::ephemeral(Uuid::now_v7())
}

impl DeviceOwner {
    fn is_proved_by(&self, key: &PublicKey) -> bool {
        !self.removed && self.pubkey == Some(*key.as_bytes())
    }
}
