//! What this node remembers of accounts, so that a connect of somebody who was here lately costs no query.
//!
//! Whatever makes one of these facts untrue is written down as a revocation or as a change of the account, in the same
//! transaction. Each node reads both every second and forgets the account; where it could not read for two seconds, it
//! asks as if it remembered nothing.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aldis_protocol::{DeviceId, Fingerprint, UserId};
use dashmap::DashMap;

use super::{Accounts, tokens::INVALID_TOKEN};
use crate::{
    clock::Now,
    refusal::{ACCOUNT_DELETED, Denied},
    store::{AccountState, DeviceOwner, Identity, StoreError},
};

/// Accounts, and devices of all of them, that are remembered at most, some 20 MB; then all are forgotten, and each costs
/// its queries again.
const LIMIT: usize = 65_536;

/// Devices that are remembered of one account: as many as it may have.
const DEVICES: usize = 20;

/// How long ago the reading of revocations and changes may have begun for facts to be told: what another node changes
/// counts here after that time at the latest.
const FRESH_MS: u64 = 2_000;

/// The facts that a connect asks for.
#[derive(Debug, Default)]
pub(super) struct KnownAccounts {
    accounts: DashMap<UserId, Account>,
    /// In whose account to look for a device. What it is, only the account says.
    by_device: DashMap<DeviceId, UserId>,
    /// In whose account to look for an identity's key.
    by_key: DashMap<[u8; 32], UserId>,
    /// How often something was forgotten: what was read before must not be remembered after.
    forgotten: AtomicU64,
    /// The number of the last change that was read.
    last_change: AtomicI64,
    /// Until which tick facts may be told.
    fresh_until: AtomicU64,
}

/// The state of things when a read began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    forgotten: u64,
}

/// What was asked about an account, and the answers.
#[derive(Debug, Default)]
struct Account {
    /// Most have none; so it is boxed.
    identity: Option<Option<Box<KnownIdentity>>>,
    second_factor: Option<bool>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct KnownIdentity {
    fingerprint: Fingerprint,
    /// The key that proves it, where that was asked.
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

impl KnownAccounts {
    /// An account is no longer what it was, or something waits for its devices.
    pub(super) fn forget(&self, user: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.remove(user);
    }

    /// Before facts are read that are to be remembered.
    pub(super) fn begin_read(&self) -> Read {
        Read { forgotten: self.forgotten.load(Ordering::SeqCst) }
    }

    /// Up to which number changes were read.
    pub(super) fn last_change(&self) -> i64 {
        self.last_change.load(Ordering::SeqCst)
    }

    /// Changes were read up to this number, and carried out.
    pub(super) fn read_up_to(&self, number: i64) {
        self.last_change.fetch_max(number, Ordering::SeqCst);
    }

    /// Everything was read and carried out that was committed when `began`.
    pub(super) fn is_current_since(&self, began: Now) {
        self.fresh_until.fetch_max(began.tick.saturating_add(FRESH_MS), Ordering::SeqCst);
    }

    /// Whether it is known that no notice waits for a device.
    pub(super) fn nothing_waits(&self, user: UserId, id: &DeviceId, now: Now) -> bool {
        let until_ms = |account: &Account| account.device(id).map(|device| device.nothing_waits_until_ms);
        self.account(user, now, until_ms).is_some_and(|until_ms| now.unix_ms < until_ms)
    }

    /// All that waited for a device was taken; the next comes to wait at `until_ms` at the latest.
    pub(super) fn remember_that_nothing_waits(&self, user: UserId, id: &DeviceId, until_ms: u64, read: Read) {
        self.remember(user, read, |account| {
            if let Some(device) = account.device_mut(id) {
                device.nothing_waits_until_ms = until_ms;
            }
        });
    }

    /// Whether there is such an account. What was read of it was true, and its deletion is a revocation: so this may be
    /// told while the database is away.
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
            let identity = |fingerprint| Box::new(KnownIdentity { fingerprint, active_key: None });
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
            let known = KnownIdentity { fingerprint, active_key: Some(active_key) };
            account.identity = Some(Some(Box::new(known)));
        });
    }

    fn remember(&self, user: UserId, read: Read, fact: impl FnOnce(&mut Account)) {
        if [self.accounts.len(), self.by_device.len(), self.by_key.len()].iter().any(|len| *len >= LIMIT) {
            self.clear();
        }
        fact(&mut self.accounts.entry(user).or_default());
        // Whoever forgets counts first and removes then: of the two, one comes after the other's insertion.
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
            // Accounts have few devices each, and there are many accounts.
            self.devices.reserve_exact(1);
            self.devices.push(Device { id: id.clone(), pubkey, nothing_waits_until_ms: 0 });
        }
    }

    fn device_mut(&mut self, id: &DeviceId) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.id == *id)
    }
}

impl Accounts {
    /// Refuses a user of a genuine token who has no account: another server may have the same key.
    pub(crate) async fn require_account(&self, user: UserId) -> Result<(), Denied> {
        if self.known.includes(user) { Ok(()) } else { self.read_fingerprint_of(user).await.map(drop) }
    }

    /// The fingerprint of a user who has an identity. Refuses one who has no account.
    pub(super) async fn fingerprint_of(&self, user: UserId, now: Now) -> Result<Option<Fingerprint>, Denied> {
        match self.known.fingerprint_of(user, now) {
            Some(known) => Ok(known),
            None => self.read_fingerprint_of(user).await,
        }
    }

    async fn read_fingerprint_of(&self, user: UserId) -> Result<Option<Fingerprint>, Denied> {
        let read = self.known.begin_read();
        match self.store.account_state(user).await? {
            AccountState::Exists { fingerprint } => {
                self.known.remember_fingerprint(user, fingerprint, read);
                Ok(fingerprint)
            }
            AccountState::Deleted => Err(ACCOUNT_DELETED),
            AccountState::Unknown => Err(INVALID_TOKEN),
        }
    }

    /// Whether a user has a second factor in force.
    pub(super) async fn has_second_factor(&self, user: UserId, now: Now) -> Result<bool, StoreError> {
        if let Some(known) = self.known.has_second_factor(user, now) {
            return Ok(known);
        }
        let read = self.known.begin_read();
        let enrolled = self.store.has_second_factor(user).await?;
        self.known.remember(user, read, |account| account.second_factor = Some(enrolled));
        Ok(enrolled)
    }

    /// The identity that this key proves.
    pub(super) async fn find_identity(
        &self,
        key: &[u8; 32],
        now: Now,
    ) -> Result<Option<Identity>, StoreError> {
        if let Some(known) = self.known.identity(key, now) {
            return Ok(Some(known));
        }
        let read = self.known.begin_read();
        let identity = self.store.find_identity(key).await?;
        if let Some(identity) = &identity {
            self.known.remember_identity(identity, read);
        }
        Ok(identity)
    }

    /// Whose a device is, removed or not.
    pub(super) async fn find_device(
        &self,
        device: &DeviceId,
        now: Now,
    ) -> Result<Option<DeviceOwner>, StoreError> {
        if let Some(known) = self.known.device(device, now) {
            return Ok(Some(known));
        }
        let read = self.known.begin_read();
        let owner = self.store.find_device(device).await?;
        if let Some(owner) = owner {
            self.known.remember_device(device, owner, read);
        }
        Ok(owner)
    }
}

#[cfg(test)]
mod tests;
