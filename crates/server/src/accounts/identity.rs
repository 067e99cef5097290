//! Who somebody is: the handshake's questions, answered from the keys, the tokens and the store.

use aldis_auth::{Claims, PublicKey, SecondFactor};
use aldis_protocol::{AlertKind, DeviceId, ErrorCode, Fingerprint, UserId};
use uuid::Uuid;

use super::{Accounts, FactorDue, notices::device_alert};
use crate::{
    clock::Now,
    config::Registration,
    rate::AddressKey,
    refusal::{ACCOUNT_DELETED, DISABLED, Denied},
    store::{self, Credential, DeviceOwner, IdentityCreation, NewDevice},
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

/// Who somebody is, and on which device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// None where a key was the proof.
    pub(crate) token: Option<TokenLife>,
    /// The sign-in that the token descends from; none where a key was the proof.
    pub(crate) family: Option<Uuid>,
    /// The last revocation that was known before the proof was looked at.
    pub(crate) proved_at: i64,
}

/// From when to when a token counts, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenLife {
    pub(crate) issued_ms: u64,
    pub(crate) expires_ms: u64,
}

impl TokenLife {
    pub(crate) const fn of(claims: &Claims) -> Self {
        Self { issued_ms: claims.iat.saturating_mul(1000), expires_ms: claims.exp.saturating_mul(1000) }
    }
}

pub(super) const UNKNOWN_DEVICE: Denied =
    Denied::new(ErrorCode::UnknownDevice, "the device is not registered to this user; register it first");

impl Accounts {
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
                Box::pin(self.register_by_name(&credential, &device, now)).await?;
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
        self.refuse_replaced(key, now).await?;
        if self.settings.registration == Registration::Closed {
            return Err(Denied::new(ErrorCode::RegistrationClosed, "this server takes no new accounts"));
        }
        self.limit_key_accounts(address, now)?;
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account_for_key(user, *key.as_bytes(), now.store_ms()).await? {
            IdentityCreation::Created => {
                // It may have been a device's key.
                self.revoked(now).await;
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
            IdentityCreation::AlreadyThere(identity) => Err(self.replaced(&identity, key, now).await),
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
                self.refuse_replaced(key, now).await?;
                Err(UNKNOWN_DEVICE)
            }
        }
    }

    async fn register_by_name(
        &self,
        credential: &Credential,
        device: &DeviceId,
        now: Now,
    ) -> Result<(), Denied> {
        let new = NewDevice {
            device_id: device.clone(),
            pubkey: None,
            name: None,
            created_at_ms: now.store_ms(),
            signature: None,
        };
        match self.register_within_limit(credential, &new, now).await? {
            store::Registration::Registered => {
                self.notices
                    .notify(credential.user, device_alert(AlertKind::DeviceAdded, device), &[device], now)
                    .await;
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
