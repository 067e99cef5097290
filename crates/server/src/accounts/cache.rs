//! A cache of accounts, so that a connect of a recent user costs no query.
//!
//! Whatever makes a cached fact untrue is written as a revocation or as a change of the account, in the same transaction.
//! Each node reads both every second and drops the account from its cache. A node that could not read for two seconds
//! uses no cached fact.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aldis_protocol::{DeviceId, Fingerprint, UserId};
use dashmap::DashMap;

use super::{Accounts, tokens::INVALID_TOKEN};
use crate::{
    clock::Now,
    refusal::{ACCOUNT_DELETED, Refusal},
    store::{AccountState, DeviceOwner, Identity, StoreError},
};

/// How many accounts, devices and keys are cached, some 20 MB. A full cache is cleared, and each account costs its queries
/// again.
const LIMIT: usize = 65_536;

/// Cached devices of one account: as many as it may have.
const DEVICES: usize = 20;

/// How long cached facts may be used after a reading of revocations and changes began. What another node changes takes
/// effect here within this time.
const FRESH_MS: u64 = 2_000;

/// The facts that a connect needs.
#[derive(Debug, Default)]
pub(super) struct AccountCache {
    accounts: DashMap<UserId, Account>,
    /// The account in which to look for a device. Only the account says what the device is.
    by_device: DashMap<DeviceId, UserId>,
    /// The account in which to look for an identity's key.
    by_key: DashMap<[u8; 32], UserId>,
    /// How often something was dropped. A fact that was read before a drop must not be cached after it.
    forgotten: AtomicU64,
    /// The number of the last change that was read.
    last_change: AtomicI64,
    /// The tick until which facts may be used.
    fresh_until: AtomicU64,
}

/// The state of the cache when a read of the store began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    forgotten: u64,
}

/// What is cached of an account.
#[derive(Debug, Default)]
struct Account {
    /// Boxed, because most accounts have none.
    identity: Option<Option<Box<CachedIdentity>>>,
    second_factor: Option<bool>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct CachedIdentity {
    fingerprint: Fingerprint,
    /// The key that proves it, if that was looked up.
    active_key: Option<[u8; 32]>,
}

/// A device that is registered to the account, which is not disabled.
#[derive(Debug)]
struct Device {
    id: DeviceId,
    pubkey: Option<[u8; 32]>,
    /// Until which time no notice waits for it, in Unix milliseconds.
    nothing_waits_until_ms: u64,
}

impl AccountCache {
    /// Drops an account: it changed, or a notice waits for its devices.
    pub(super) fn forget(&self, user: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.remove(user);
    }

    /// Call this before reading facts from the store that are to be cached.
    pub(super) fn begin_read(&self) -> Read {
        Read { forgotten: self.forgotten.load(Ordering::SeqCst) }
    }

    /// The number of the last change that was read.
    pub(super) fn last_change(&self) -> i64 {
        self.last_change.load(Ordering::SeqCst)
    }

    /// Notes that changes were read up to this number, and carried out.
    pub(super) fn read_up_to(&self, number: i64) {
        self.last_change.fetch_max(number, Ordering::SeqCst);
    }

    /// Notes that everything committed by `began` was read and carried out.
    pub(super) fn is_current_since(&self, began: Now) {
        self.fresh_until.fetch_max(began.tick.saturating_add(FRESH_MS), Ordering::SeqCst);
    }

    /// Whether the cache knows that no notice waits for a device.
    pub(super) fn nothing_waits(&self, user: UserId, id: &DeviceId, now: Now) -> bool {
        let until_ms = |account: &Account| account.device(id).map(|device| device.nothing_waits_until_ms);
        self.account(user, now, until_ms).is_some_and(|until_ms| now.unix_ms < until_ms)
    }

    /// Notes that no notice waits for a device until `until_ms`.
    pub(super) fn remember_that_nothing_waits(&self, user: UserId, id: &DeviceId, until_ms: u64, read: Read) {
        self.remember(user, read, |account| {
            if let Some(device) = account.device_mut(id) {
                device.nothing_waits_until_ms = until_ms;
            }
        });
    }

    /// Whether there is such an account. This may be used while the database is away: the deletion of an account is a
    /// revocation, which drops it.
    fn includes(&self, user: UserId) -> bool {
        self.accounts.contains_key(&user)
    }

    fn fingerprint_of(&self, user: UserId, now: Now) -> Option<Option<Fingerprint>> {
        self.account(user, now, |account| {
            let identity = account.identity.as_ref()?;
            Some(identity.as_ref().map(|identity| identity.fingerprint))
        })
    }

    fn has_second_factor(&self, user: UserId, now: Now) -> Option<bool> {
        self.account(user, now, |account| account.second_factor)
    }

    fn identity(&self, key: &[u8; 32], now: Now) -> Option<Identity> {
        let user_id = *self.by_key.get(key)?;
        let fingerprint = self.account(user_id, now, |account| {
            let known = account.identity.as_ref()?.as_deref()?;
            (known.active_key == Some(*key)).then_some(known.fingerprint)
        })?;
        Some(Identity { user_id, fingerprint, active_key: *key, disabled_at_ms: None })
    }

    fn device(&self, id: &DeviceId, now: Now) -> Option<DeviceOwner> {
        let user_id = *self.by_device.get(id)?;
        let pubkey = self.account(user_id, now, |account| account.device(id).map(|device| device.pubkey))?;
        Some(DeviceOwner { user_id, pubkey, removed: false, disabled: false })
    }

    fn remember_device(&self, id: &DeviceId, owner: DeviceOwner, read: Read) {
        if owner.removed || owner.disabled {
            return;
        }
        self.by_device.insert(id.clone(), owner.user_id);
        self.remember(owner.user_id, read, |account| account.add_device(id, owner.pubkey));
    }

    fn remember_fingerprint(&self, user: UserId, fingerprint: Option<Fingerprint>, read: Read) {
        self.remember(user, read, |account| {
            let identity = |fingerprint| Box::new(CachedIdentity { fingerprint, active_key: None });
            account.identity.get_or_insert_with(|| fingerprint.map(identity));
        });
    }

    fn remember_identity(&self, identity: &Identity, read: Read) {
        if identity.disabled_at_ms.is_some() {
            return;
        }
        self.by_key.insert(identity.active_key, identity.user_id);
        self.remember(identity.user_id, read, |account| {
            let Identity { fingerprint, active_key, .. } = *identity;
            let known = CachedIdentity { fingerprint, active_key: Some(active_key) };
            account.identity = Some(Some(Box::new(known)));
        });
    }

    fn remember(&self, user: UserId, read: Read, fact: impl FnOnce(&mut Account)) {
        if [self.accounts.len(), self.by_device.len(), self.by_key.len()].iter().any(|len| *len >= LIMIT) {
            self.clear();
        }
        fact(&mut self.accounts.entry(user).or_default());
        // A drop first counts and then removes. So either it is seen here, or its removal comes after this insertion.
        if self.forgotten.load(Ordering::SeqCst) != read.forgotten {
            self.remove(user);
        }
    }

    fn account<T>(&self, user: UserId, now: Now, fact: impl FnOnce(&Account) -> Option<T>) -> Option<T> {
        if now.tick > self.fresh_until.load(Ordering::SeqCst) {
            return None;
        }
        fact(&*self.accounts.get(&user)?)
    }

    fn remove(&self, user: UserId) {
        let Some((_, account)) = self.accounts.remove(&user) else { return };
        for device in account.devices {
            self.by_device.remove_if(&device.id, |_, owner| *owner == user);
        }
        if let Some(key) = account.identity.flatten().and_then(|known| known.active_key) {
            self.by_key.remove_if(&key, |_, owner| *owner == user);
        }
    }

    fn clear(&self) {
        self.accounts.clear();
        self.by_device.clear();
        self.by_key.clear();
    }
}

impl Account {
    fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == *id)
    }

    fn add_device(&mut self, id: &DeviceId, pubkey: Option<[u8; 32]>) {
        if let Some(device) = self.device_mut(id) {
            device.pubkey = pubkey;
        } else if self.devices.len() < DEVICES {
            // There are many accounts with few devices each.
            self.devices.reserve_exact(1);
            self.devices.push(Device { id: id.clone(), pubkey, nothing_waits_until_ms: 0 });
        }
    }

    fn device_mut(&mut self, id: &DeviceId) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.id == *id)
    }
}

impl Accounts {
    /// Refuses the user of a genuine token who has no account: another server may have the same key.
    pub(crate) async fn require_account(&self, user: UserId) -> Result<(), Refusal> {
        if self.cache.includes(user) { Ok(()) } else { self.read_fingerprint_of(user).await.map(drop) }
    }

    /// The fingerprint of a user, if they have an identity. Refuses a user without an account.
    pub(super) async fn fingerprint_of(
        &self,
        user: UserId,
        now: Now,
    ) -> Result<Option<Fingerprint>, Refusal> {
        match self.cache.fingerprint_of(user, now) {
            Some(known) => Ok(known),
            None => self.read_fingerprint_of(user).await,
        }
    }

    async fn read_fingerprint_of(&self, user: UserId) -> Result<Option<Fingerprint>, Refusal> {
        let read = self.cache.begin_read();
        match self.store.account_state(user).await? {
            AccountState::Exists { fingerprint } => {
                self.cache.remember_fingerprint(user, fingerprint, read);
                Ok(fingerprint)
            }
            AccountState::Deleted => Err(ACCOUNT_DELETED),
            AccountState::Unknown => Err(INVALID_TOKEN),
        }
    }

    /// Whether a user has a second factor in force.
    pub(super) async fn has_second_factor(&self, user: UserId, now: Now) -> Result<bool, StoreError> {
        if let Some(known) = self.cache.has_second_factor(user, now) {
            return Ok(known);
        }
        let read = self.cache.begin_read();
        let enrolled = self.store.has_second_factor(user).await?;
        self.cache.remember(user, read, |account| account.second_factor = Some(enrolled));
        Ok(enrolled)
    }

    /// The identity that this key proves.
    pub(super) async fn find_identity(
        &self,
        key: &[u8; 32],
        now: Now,
    ) -> Result<Option<Identity>, StoreError> {
        if let Some(known) = self.cache.identity(key, now) {
            return Ok(Some(known));
        }
        let read = self.cache.begin_read();
        let identity = self.store.find_identity(key).await?;
        if let Some(identity) = &identity {
            self.cache.remember_identity(identity, read);
        }
        Ok(identity)
    }

    /// The owner of a device, removed or not.
    pub(super) async fn find_device(
        &self,
        device: &DeviceId,
        now: Now,
    ) -> Result<Option<DeviceOwner>, StoreError> {
        if let Some(known) = self.cache.device(device, now) {
            return Ok(Some(known));
        }
        let read = self.cache.begin_read();
        let owner = self.store.find_device(device).await?;
        if let Some(owner) = owner {
            self.cache.remember_device(device, owner, read);
        }
        Ok(owner)
    }
}

#[cfg(test)]
mod tests;
