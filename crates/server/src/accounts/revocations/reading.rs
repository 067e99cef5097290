//! Revocations and changes of accounts are read from the store, from whichever node, and carried out on the sessions of
//! this node.

use std::collections::HashSet;

use aldis_protocol::{CloseCode, DeviceId, UserId};

use crate::{
    accounts::Accounts,
    clock::Now,
    link::{Closing, Identity, SessionHandle},
    store::{Revocation, StoreError},
};

/// How many rows are read at a time.
const BATCH: i64 = 500;

const SESSION_REVOKED: &str = "the session was revoked; sign in again";
const DEVICE_REMOVED: &str = "the device was removed";

impl Accounts {
    /// Reads, before the node serves anybody, the revocations of all tokens that may still be alive.
    pub(crate) async fn recall_revocations(&self, now: Now) -> Result<(), StoreError> {
        // A wall clock that is ahead must not leave out any revocation.
        let newest_ms = self.store.newest_time().await?.unwrap_or(i64::MAX).min(now.store_ms());
        let since_ms = newest_ms.saturating_sub_unsigned(self.revocations.kept_ms);
        self.revocations.start_after(self.store.last_revocation_until(since_ms).await?);
        // The cache is empty, so no earlier change can make anything in it untrue.
        self.cache.read_up_to(self.store.last_change().await?);
        self.read_revocations(now).await
    }

    /// Reads what was revoked or changed since the last time, on whichever node. Closes the sessions that it concerns, and
    /// drops accounts that changed from the cache.
    pub(crate) async fn read_revocations(&self, now: Now) -> Result<(), StoreError> {
        while self.read_some_revocations(now).await? {}
        while self.read_some_changes().await? {}
        self.cache.is_current_since(now);
        Ok(())
    }

    /// Returns whether there may be more.
    async fn read_some_revocations(&self, now: Now) -> Result<bool, StoreError> {
        let entries = self.store.revocations_after(self.revocations.last(), BATCH).await?;
        // First: a proof that is checked once these are known must not rely on what they made untrue.
        for entry in entries.iter().filter(|entry| !matches!(entry.revocation, Revocation::Family { .. })) {
            self.cache.forget(entry.revocation.user());
        }
        self.revocations.learn(&entries, now.tick);
        for entry in &entries {
            self.carry_out(&entry.revocation);
            if let Revocation::Trimmed { user, .. } = entry.revocation {
                self.end_revoked_sessions_of(user).await?;
            }
        }
        Ok(is_whole_batch(entries.len()))
    }

    /// Closes the revoked sessions of a user whose revocations were trimmed, perhaps before this node read them.
    async fn end_revoked_sessions_of(&self, user: UserId) -> Result<(), StoreError> {
        let sessions = self.registry.of_user(user);
        if sessions.is_empty() {
            return Ok(());
        }
        let in_force = self.store.families_in_force(user).await?;
        let devices = self.store.devices_of(user).await?;
        let registered: HashSet<DeviceId> = devices.into_iter().map(|device| device.device_id).collect();
        for attached in sessions {
            let session = attached.handle;
            if !session.device.is_ephemeral() && !registered.contains(&session.device) {
                session.close_with(Closing::new(CloseCode::DeviceUnknown, "", DEVICE_REMOVED));
            } else if session.family().is_some_and(|family| !in_force.contains(&family)) {
                session.close_with(Closing::new(CloseCode::SessionRevoked, "", SESSION_REVOKED));
            }
        }
        Ok(())
    }

    /// Returns whether there may be more.
    async fn read_some_changes(&self) -> Result<bool, StoreError> {
        let changed = self.store.changes_after(self.cache.last_change(), BATCH).await?;
        for account in &changed {
            self.cache.forget(account.user);
            // A session that connects from here on asks what waits for it; a live one is told.
            self.notices.may_wait_for(account.user);
        }
        changed.last().into_iter().for_each(|last| self.cache.read_up_to(last.number));
        Ok(is_whole_batch(changed.len()))
    }

    /// Carries out at once what this node has just revoked. If the database goes away right now, the revocation stands and
    /// is carried out when the database is back.
    pub(in crate::accounts) async fn revoked(&self, now: Now) {
        if let Err(error) = self.read_revocations(now).await {
            tracing::warn!(%error, "cannot read revocations; trying again");
        }
    }

    /// A client came back to its session and proved again who it is.
    pub(crate) fn proved_again(&self, session: &SessionHandle, identity: &Identity) {
        session.set_family(identity.family);
        self.end_if_revoked_since(identity.proved_at, session);
    }

    /// Closes a session if a revocation concerns it that came after this number, the last one known before its proof.
    pub(crate) fn end_if_revoked_since(&self, number: i64, session: &SessionHandle) {
        if let Some(closing) = self.revocations.since(number, session) {
            session.close_with(closing);
        }
    }

    fn carry_out(&self, revocation: &Revocation) {
        log_of_operator(revocation);
        if let Revocation::AccountDeleted { user } = revocation
            && let Some(end) = self.on_deletion.get()
        {
            end(*user);
        }
        for attached in self.registry.of_user(revocation.user()) {
            if let Some(closing) = closing(revocation, &attached.handle) {
                attached.handle.close_with(closing);
            }
        }
    }
}

/// Logs what an operator did with `aldis accounts`. That program has no log of its own.
fn log_of_operator(revocation: &Revocation) {
    match revocation {
        Revocation::AccountDisabled { user } => tracing::info!(%user, "account disabled"),
        Revocation::SignedOut { user } => tracing::info!(%user, "every sign-in revoked"),
        Revocation::Family { .. }
        | Revocation::KeyChanged { .. }
        | Revocation::DeviceRemoved { .. }
        | Revocation::AccountDeleted { .. }
        | Revocation::Trimmed { .. } => {}
    }
}

fn is_whole_batch(count: usize) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= BATCH)
}

/// How a revocation closes a session, if it concerns it.
pub(super) fn closing(revocation: &Revocation, session: &SessionHandle) -> Option<Closing> {
    let (concerned, code, message) = match revocation {
        Revocation::Family { family, .. } => {
            (session.family() == Some(*family), CloseCode::SessionRevoked, SESSION_REVOKED)
        }
        Revocation::KeyChanged { .. } => {
            (true, CloseCode::KeyChanged, "the identity's key has changed; sign in again")
        }
        Revocation::DeviceRemoved { device, .. } => {
            (session.device == *device, CloseCode::DeviceUnknown, DEVICE_REMOVED)
        }
        Revocation::AccountDisabled { .. } => (true, CloseCode::AccountDisabled, "the account is disabled"),
        Revocation::SignedOut { .. } => {
            (true, CloseCode::SessionRevoked, "every session of the account was revoked; sign in again")
        }
        Revocation::AccountDeleted { .. } => (true, CloseCode::SessionRevoked, "the account was deleted"),
        // Only the store can tell which sessions it concerns.
        Revocation::Trimmed { .. } => return None,
    };
    let concerned = concerned && session.user == revocation.user();
    concerned.then(|| Closing::new(code, "", message))
}
