//! Authentication of sockets: who a token or a key proves, and on which device.

use aldis_auth::{PublicKey, SecondFactor};
use aldis_protocol::{AlertKind, DeviceId, ErrorCode, UserId};
use uuid::Uuid;

use super::{
    Accounts, FactorDue,
    key_owner::{KeyOwner, KeyRole},
};
use crate::{
    clock::Now,
    link::{Identity, TokenLife},
    rate::AddressKey,
    refusal::Refusal,
    store::{self, Credential, DeviceOwner, NewDevice, Notice},
};

/// A token, for a device.
#[derive(Debug)]
pub(crate) struct TokenProof {
    pub(crate) token: String,
    pub(crate) device_id: Option<DeviceId>,
}

/// A key whose possession the client proved, for a device.
#[derive(Debug)]
pub(crate) struct KeyProof {
    pub(crate) key: PublicKey,
    pub(crate) device_id: Option<DeviceId>,
    pub(crate) factor: Option<SecondFactor>,
}

/// The user that a key proves, and the second factor that is due before a new session of theirs begins.
#[derive(Debug)]
pub(crate) struct ProvedByKey {
    pub(crate) identity: Identity,
    pub(crate) due: Option<FactorDue>,
}

pub(super) const UNKNOWN_DEVICE: Refusal =
    Refusal::new(ErrorCode::UnknownDevice, "the device is not registered to this user; register it first");

impl Accounts {
    /// Authenticates a token for a device.
    pub(crate) async fn prove_by_token(&self, proof: TokenProof, now: Now) -> Result<Identity, Refusal> {
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

    /// Authenticates a key for a device. A key never seen makes an account, if registration is open. An identity's key
    /// registers a device id that nobody has, by naming it.
    pub(crate) async fn prove_by_key(
        &self,
        proof: KeyProof,
        address: AddressKey,
        now: Now,
    ) -> Result<ProvedByKey, Refusal> {
        let KeyProof { key, device_id, factor } = proof;
        let proved_at = self.revocations.last();
        let registered = match &device_id {
            Some(device) => self.find_device(device, now).await?,
            None => None,
        };
        let (owner, device) = match (device_id, registered) {
            (None, _) => (self.owner_of_key(&key, address, now).await?, ephemeral()),
            (Some(device), Some(registered)) => (self.owner_on_device(&key, registered, now).await?, device),
            (Some(device), None) if device.is_ephemeral() => return Err(UNKNOWN_DEVICE),
            (Some(device), None) => {
                let owner = self.owner_of_key(&key, address, now).await?;
                // No session waits for a device that does not exist, and an incomplete proof must not create anything.
                let second_factor = self.require_factor(owner.user, factor.as_ref(), now).await?;
                let credential = Credential::identity_key(owner.user, *key.as_bytes(), second_factor);
                // Boxed, as it is rare and large: every handshake would have its size.
                Box::pin(self.register_by_name(&credential, &device, now)).await?;
                return Ok(ProvedByKey { identity: owner.on(device, proved_at), due: None });
            }
        };
        let due = match owner.role {
            KeyRole::Identity => self.factor_due(owner.user, factor, now).await?,
            KeyRole::Device => None,
        };
        Ok(ProvedByKey { identity: owner.on(device, proved_at), due })
    }

    /// The device, if it is registered to a user and not removed.
    async fn registered_to(&self, user: UserId, device: &DeviceId, now: Now) -> Result<DeviceOwner, Refusal> {
        match self.find_device(device, now).await? {
            Some(owner) if owner.user_id == user && !owner.removed => Ok(owner),
            _ => Err(UNKNOWN_DEVICE),
        }
    }

    async fn register_by_name(
        &self,
        credential: &Credential,
        device: &DeviceId,
        now: Now,
    ) -> Result<(), Refusal> {
        let new = NewDevice {
            device_id: device.clone(),
            pubkey: None,
            name: None,
            created_at_ms: now.store_ms(),
            signature: None,
        };
        match self.register_within_limit(credential, &new, now).await? {
            store::Registration::Registered => {
                tracing::info!(user = %credential.user, device = device.as_str(), "device added");
                let added = Notice::of_device(AlertKind::DeviceAdded, device);
                self.notices.tell_written(credential.user, &added, &[device], now).await;
                Ok(())
            }
            store::Registration::Unchanged => Ok(()),
            store::Registration::TooMany => Err(Refusal::new(
                ErrorCode::Conflict,
                "this user has as many devices as may be; remove one first",
            )),
            store::Registration::IdTaken | store::Registration::KeyInUse => Err(UNKNOWN_DEVICE),
        }
    }
}

impl KeyOwner {
    /// The owner as a session on this device. `proved_at` is the last revocation that was known before the proof.
    fn on(self, device: DeviceId, proved_at: i64) -> Identity {
        let Self { user, fingerprint, .. } = self;
        Identity { user, device, fingerprint, token: None, family: None, proved_at }
    }
}

fn ephemeral() -> DeviceId {
    DeviceId::ephemeral(Uuid::now_v7())
}
