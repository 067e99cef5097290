//! Rate limits on what accounts do (docs/operations.md, "Rate limits").

use aldis_auth::RefreshToken;
use aldis_protocol::UserId;
use uuid::Uuid;

use super::{Accounts, Caller};
use crate::{
    clock::Now,
    rate::{AddressKey, Buckets, Limit, Rate, Wait},
    refusal::Refusal,
    store::{Credential, NewDevice, Registration, StoreError},
};

const REFRESHES: Rate = Rate::per_minute(10);
const KEY_ACCOUNTS: Rate = Rate::per_hour(30);
const BLOBS: Rate = Rate::per_minute(10);
const DEVICE_REGISTRATIONS: Rate = Rate::per_day(20);

/// The limits of one node.
#[derive(Debug)]
pub(super) struct Rates {
    /// By family of tokens.
    refreshes: Buckets<Uuid>,
    key_accounts: Buckets<AddressKey>,
    blobs: Buckets<UserId>,
    device_registrations: Buckets<UserId>,
}

impl Rates {
    pub(super) fn new(enforced: bool) -> Self {
        Self {
            refreshes: Buckets::new(REFRESHES, enforced),
            key_accounts: Buckets::new(KEY_ACCOUNTS, enforced),
            blobs: Buckets::new(BLOBS, enforced),
            device_registrations: Buckets::new(DEVICE_REGISTRATIONS, enforced),
        }
    }
}

impl Accounts {
    /// Limits refreshes, before one uses anything up.
    pub(super) async fn limit_refresh(&self, presented: &RefreshToken, now: Now) -> Result<(), Refusal> {
        if !self.rates.refreshes.is_enforced() {
            return Ok(());
        }
        let Some(family) = self.store.family_of_refresh_token(&presented.hash()).await? else {
            return Ok(());
        };
        self.rates.refreshes.take(family, now.tick).map_err(|wait| {
            self.over(
                Limit::Refreshes,
                "these tokens are refreshed too often; wait before the next time",
                wait,
            )
        })
    }

    /// Limits the new accounts by key of an address.
    pub(super) fn limit_key_accounts(&self, address: AddressKey, now: Now) -> Result<(), Refusal> {
        self.rates.key_accounts.take_of_address(address, now.tick).map_err(|wait| {
            self.over(
                Limit::KeyAccounts,
                "too many new accounts from this address; wait before the next",
                wait,
            )
        })
    }

    /// Limits the blobs that a user publishes.
    pub(crate) fn limit_blobs(&self, caller: &Caller, now: Now) -> Result<(), Refusal> {
        self.rates.blobs.take(caller.user, now.tick).map_err(|wait| {
            self.over(Limit::Blobs, "you published too many blobs; wait before the next one", wait)
        })
    }

    /// Registers a device, unless the user has registered too many lately. Only new devices count.
    pub(super) async fn register_within_limit(
        &self,
        credential: &Credential,
        new: &NewDevice,
        now: Now,
    ) -> Result<Registration, Refusal> {
        let user = credential.user;
        let registrations = &self.rates.device_registrations;
        if let Err(wait) = registrations.take(user, now.tick) {
            if self.is_registered(user, new).await? {
                return Ok(self.store.register_device(credential, new, now.store_ms()).await?);
            }
            let message = "you registered too many devices today; wait before the next one";
            return Err(self.over(Limit::DeviceRegistrations, message, wait));
        }
        let registered: Result<Registration, StoreError> =
            self.store.register_device(credential, new, now.store_ms()).await;
        if !matches!(registered, Ok(Registration::Registered)) {
            registrations.give_back(&user);
        }
        Ok(registered?)
    }

    /// Whether the user has this device already.
    async fn is_registered(&self, user: UserId, new: &NewDevice) -> Result<bool, StoreError> {
        let owner = self.store.find_device(&new.device_id).await?;
        Ok(owner.is_some_and(|owner| owner.user_id == user && !owner.removed))
    }

    fn over(&self, limit: Limit, message: &'static str, wait: Wait) -> Refusal {
        self.metrics.limited(limit);
        Refusal::rate_limited(limit, message, wait)
    }

    /// Frees the memory of limits that are not in use.
    pub(crate) fn sweep_rates(&self, now: Now) {
        self.rates.refreshes.sweep(now.tick);
        self.rates.key_accounts.sweep(now.tick);
        self.rates.blobs.sweep(now.tick);
        self.rates.device_registrations.sweep(now.tick);
    }
}
