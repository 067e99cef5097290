//! Whose account a key proves, on sockets and over HTTP.

use aldis_auth::PublicKey;
use aldis_protocol::{ErrorCode, Fingerprint, UserId};
use uuid::Uuid;

use super::{Accounts, identity::UNKNOWN_DEVICE};
use crate::{
    clock::Now,
    metrics::Method,
    rate::AddressKey,
    refusal::{ACCOUNT_DELETED, DISABLED, Refusal},
    store::{self, DeviceOwner, IdentityCreation},
};

/// The user that a key proves.
#[derive(Debug)]
pub(super) struct KeyOwner {
    pub(super) user: UserId,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) role: KeyRole,
    /// Whether the account was made for the key.
    pub(super) created: bool,
}

/// What a key is in its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRole {
    /// It proves the identity. A second factor is due if the account has one.
    Identity,
    /// It proves one device. No second factor is due: registering the device required it.
    Device,
}

impl Accounts {
    /// The owner of a key that is shown without a registered device. A key never seen makes an account, if registration is
    /// open.
    pub(super) async fn owner_of_key(
        &self,
        key: &PublicKey,
        address: AddressKey,
        now: Now,
    ) -> Result<KeyOwner, Refusal> {
        let (identity, created) = self.account_of_key(key, address, now).await?;
        Ok(KeyOwner { created, ..KeyOwner::by_identity(&identity) })
    }

    /// The owner of a key that is shown for a device: the key of the device itself, or of its user's identity.
    pub(super) async fn owner_on_device(
        &self,
        key: &PublicKey,
        device: DeviceOwner,
        now: Now,
    ) -> Result<KeyOwner, Refusal> {
        if device.is_proved_by(key) {
            return if device.disabled { Err(DISABLED) } else { self.owner_by_device(device, now).await };
        }
        match self.find_identity(key.as_bytes(), now).await? {
            Some(identity) if identity.user_id == device.user_id && !device.removed => {
                allowed(identity).map(|identity| KeyOwner::by_identity(&identity))
            }
            _ => {
                self.refuse_replaced(key, now).await?;
                Err(UNKNOWN_DEVICE)
            }
        }
    }

    async fn owner_by_device(&self, device: DeviceOwner, now: Now) -> Result<KeyOwner, Refusal> {
        let user = device.user_id;
        let fingerprint = self.fingerprint_of(user, now).await?;
        Ok(KeyOwner { user, fingerprint, role: KeyRole::Device, created: false })
    }

    /// The account that an identity's key proves. A key never seen makes one, if registration is open. The second value says
    /// whether it was made.
    async fn account_of_key(
        &self,
        key: &PublicKey,
        address: AddressKey,
        now: Now,
    ) -> Result<(store::Identity, bool), Refusal> {
        if let Some(identity) = self.find_identity(key.as_bytes(), now).await? {
            return allowed(identity).map(|identity| (identity, false));
        }
        self.refuse_replaced(key, now).await?;
        if self.is_closed() {
            return Err(Refusal::new(ErrorCode::RegistrationClosed, "this server takes no new accounts"));
        }
        self.limit_key_accounts(address, now)?;
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account_for_key(user, *key.as_bytes(), now.store_ms()).await? {
            IdentityCreation::Created => {
                tracing::info!(%user, method = Method::Key.as_str(), "account created");
                // The key may have been a device's; that device is removed.
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
}

impl KeyOwner {
    const fn by_identity(identity: &store::Identity) -> Self {
        let fingerprint = Some(identity.fingerprint);
        Self { user: identity.user_id, fingerprint, role: KeyRole::Identity, created: false }
    }
}

fn allowed(identity: store::Identity) -> Result<store::Identity, Refusal> {
    match identity.disabled_at_ms {
        None => Ok(identity),
        Some(_) => Err(DISABLED),
    }
}

impl DeviceOwner {
    fn is_proved_by(&self, key: &PublicKey) -> bool {
        !self.removed && self.pubkey == Some(*key.as_bytes())
    }
}
