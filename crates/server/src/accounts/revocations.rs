//! What was revoked: read from the store by every node, kept for as long as a token may still say otherwise, and
//! carried out on the sessions that are here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use aldis_auth::Claims;
use aldis_protocol::{CloseCode, DeviceId, UserId};
use uuid::Uuid;

use super::{Accounts, Identity};
use crate::{
    clock::{Now, milliseconds},
    link::{Closing, Outlet},
    store::{KEPT_PER_USER, NumberedRevocation, Revocation, StoreError},
};

/// How many are read at a time.
const BATCH: i64 = 500;

/// By how much the clocks of two nodes may differ, with room to spare: revocations are kept for so much longer.
const CLOCKS_DIFFER_MS: u64 = 10 * 60 * 1000;

/// How many are kept, some 10 MB. Of more, the oldest are forgotten, and tokens from before those have to be refreshed,
/// which asks the store.
const LIMIT: usize = 100_000;

/// The revocations that this node knows, of the last lifetime of a token.
pub(super) struct Revocations {
    known: RwLock<Known>,
    kept_ms: u64,
}

const SESSION_REVOKED: &str = "the session was revoked; sign in again";
const DEVICE_REMOVED: &str = "the device was removed";

/// What is known of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its family is in force.
    InForce,
    /// Its family is revoked.
    Revoked,
    /// It is from a time of which not everything is known any more.
    TooOld,
}

#[derive(Default)]
struct Known {
    /// The number of the last one.
    last: i64,
    recent: VecDeque<Recent>,
    /// Those of families among them.
    families: HashSet<Uuid>,
    /// The time of the last one that was forgotten for want of room.
    forgotten_ms: i64,
    /// Users of whom too many were revoked, and the time of the last one of theirs that was forgotten. Each is among the
    /// recent ones too.
    trimmed: HashMap<UserId, i64>,
}

struct Recent {
    entry: NumberedRevocation,
    /// The tick at which it was learned: a wall clock that jumps ahead must not make tokens good again.
    learned: u64,
}

impl Revocations {
    pub(super) fn new(token_lifetime: Duration) -> Self {
        let kept_ms = milliseconds(token_lifetime).saturating_add(CLOCKS_DIFFER_MS);
        Self { known: RwLock::default(), kept_ms }
    }

    /// Up to which number they are known. Who takes it before he looks at a proof can [ask](Self::since) later what
    /// was revoked while he looked.
    pub(super) fn last(&self) -> i64 {
        self.read().last
    }

    /// Whether a token counts.
    pub(super) fn standing(&self, claims: &Claims) -> Standing {
        self.read().standing(claims.sub, claims.sid, claims.iat)
    }

    /// Lets a session go on with a family, unless that is revoked. A revocation that comes meanwhile waits, and then
    /// finds the session.
    pub(super) fn renew(&self, outlet: &Outlet, family: Uuid) -> bool {
        let known = self.read();
        let in_force = !known.families.contains(&family);
        if in_force {
            outlet.set_family(Some(family));
        }
        in_force
    }

    /// How a session has to end because of what was revoked after this number.
    fn since(&self, number: i64, outlet: &Outlet) -> Option<Closing> {
        let known = self.read();
        let later = known.recent.iter().rev().take_while(|recent| recent.entry.number > number);
        // The first that concerns it decides, as it would have for a session that was there.
        later.filter_map(|recent| closing(&recent.entry.revocation, outlet)).last()
    }

    fn start_after(&self, number: i64) {
        self.write().last = number;
    }

    fn learn(&self, entries: &[NumberedRevocation], tick: u64) {
        let mut known = self.write();
        for entry in entries {
            known.learn(entry, tick);
        }
        if let Some(until) = tick.checked_sub(self.kept_ms) {
            known.forget(until);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn standing(&self, user: UserId, family: Uuid, issued_s: u64) -> Standing {
        let issued_ms = i64::try_from(issued_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let forgotten_ms = self.trimmed.get(&user).map_or(self.forgotten_ms, |ms| self.forgotten_ms.max(*ms));
        if self.families.contains(&family) {
            Standing::Revoked
        } else if issued_ms <= forgotten_ms {
            Standing::TooOld
        } else {
            Standing::InForce
        }
    }

    /// One that is known already, because two read at the same time, changes nothing.
    fn learn(&mut self, entry: &NumberedRevocation, learned: u64) {
        if entry.number <= self.last {
            return;
        }
        self.last = entry.number;
        match entry.revocation {
            Revocation::Family { family, .. } => {
                self.families.insert(family);
            }
            Revocation::Trimmed { user, until_ms } => self.trim(user, until_ms),
            Revocation::KeyChanged { .. }
            | Revocation::DeviceRemoved { .. }
            | Revocation::AccountDisabled { .. }
            | Revocation::SignedOut { .. }
            | Revocation::AccountDeleted { .. } => {}
        }
        self.recent.push_back(Recent { entry: entry.clone(), learned });
        if self.recent.len() > LIMIT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.forgotten_ms = self.forgotten_ms.max(oldest.entry.at_ms);
            self.let_go(&oldest.entry);
        }
    }

    /// Forgets those that were learned at this tick and before: the tokens that they concern have expired.
    fn forget(&mut self, until: u64) {
        while let Some(oldest) = self.recent.pop_front_if(|recent| recent.learned <= until) {
            self.let_go(&oldest.entry);
        }
    }

    /// The oldest revocations of a user's sign-ins and devices are written down no more: they are forgotten here too.
    fn trim(&mut self, user: UserId, until_ms: i64) {
        let is_of_user = |entry: &NumberedRevocation| entry.revocation.user() == user;
        let is_trimmed = |entry: &NumberedRevocation| is_of_user(entry) && entry.revocation.is_trimmed();
        let mut surplus = self
            .recent
            .iter()
            .filter(|recent| is_trimmed(&recent.entry))
            .count()
            .saturating_sub(KEPT_PER_USER);
        let mut families = Vec::new();
        self.recent.retain(|Recent { entry, .. }| {
            let is_surplus = surplus > 0 && is_trimmed(entry);
            surplus -= usize::from(is_surplus);
            let is_former = is_of_user(entry) && matches!(entry.revocation, Revocation::Trimmed { .. });
            let goes = is_surplus || is_former;
            if let (true, Revocation::Family { family, .. }) = (goes, &entry.revocation) {
                families.push(*family);
            }
            !goes
        });
        families.iter().for_each(|family| {
            self.families.remove(family);
        });
        self.trimmed.insert(user, until_ms);
    }

    fn let_go(&mut self, entry: &NumberedRevocation) {
        match entry.revocation {
            Revocation::Family { family, .. } => {
                self.families.remove(&family);
            }
            Revocation::Trimmed { user, .. } => {
                self.trimmed.remove(&user);
            }
            Revocation::KeyChanged { .. }
            | Revocation::DeviceRemoved { .. }
            | Revocation::AccountDisabled { .. }
            | Revocation::SignedOut { .. }
            | Revocation::AccountDeleted { .. } => {}
        }
    }
}

impl Accounts {
    /// Learns, before the node serves anybody, what was revoked while tokens lived that may still be shown.
    pub(crate) async fn recall_revocations(&self, now: Now) -> Result<(), StoreError> {
        // A clock that is ahead must not leave any out.
        let newest_ms = self.store.newest_time().await?.unwrap_or(i64::MAX).min(now.store_ms());
        let since_ms = newest_ms.saturating_sub_unsigned(self.revocations.kept_ms);
        self.revocations.start_after(self.store.last_revocation_until(since_ms).await?);
        // Nothing is remembered yet that an earlier change could make untrue.
        self.cache.read_up_to(self.store.last_change().await?);
        self.read_revocations(now).await
    }

    /// Reads what was revoked or changed since the last time, on whichever node: closes the sessions that it concerns,
    /// and forgets what is no longer so.
    pub(crate) async fn read_revocations(&self, now: Now) -> Result<(), StoreError> {
        while self.read_some_revocations(now).await? {}
        while self.read_some_changes().await? {}
        self.cache.is_current_since(now);
        Ok(())
    }

    /// Says whether there may be more.
    async fn read_some_revocations(&self, now: Now) -> Result<bool, StoreError> {
        let entries = self.store.revocations_after(self.revocations.last(), BATCH).await?;
        // First, so that whoever is proved when these are known is not proved by what they made untrue.
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

    /// Ends the sessions of a user whose revocations were forgotten, perhaps before this node has read them.
    async fn end_revoked_sessions_of(&self, user: UserId) -> Result<(), StoreError> {
        let sessions = self.registry.of_user(user);
        if sessions.is_empty() {
            return Ok(());
        }
        let in_force = self.store.families_in_force(user).await?;
        let devices = self.store.devices_of(user).await?;
        let registered: HashSet<DeviceId> = devices.into_iter().map(|device| device.device_id).collect();
        for attached in sessions {
            let outlet = attached.handle;
            if !outlet.device.is_ephemeral() && !registered.contains(&outlet.device) {
                outlet.close_with(Closing::new(CloseCode::DeviceUnknown, "", DEVICE_REMOVED));
            } else if outlet.family().is_some_and(|family| !in_force.contains(&family)) {
                outlet.close_with(Closing::new(CloseCode::SessionRevoked, "", SESSION_REVOKED));
            }
        }
        Ok(())
    }

    /// Says whether there may be more.
    async fn read_some_changes(&self) -> Result<bool, StoreError> {
        let changed = self.store.changes_after(self.cache.last_change(), BATCH).await?;
        for account in &changed {
            self.cache.forget(account.user);
            // Who connects from here on asks what waits for him; who is here already is told.
            self.notices.may_wait_for(account.user);
        }
        changed.last().into_iter().for_each(|last| self.cache.read_up_to(last.number));
        Ok(is_whole_batch(changed.len()))
    }

    /// Carries out at once what this node has just revoked. Should the database go away right now, it is revoked all the
    /// same, and carried out when the database is back.
    pub(super) async fn revoked(&self, now: Now) {
        if let Err(error) = self.read_revocations(now).await {
            tracing::warn!(%error, "cannot read revocations; trying again");
        }
    }

    /// Somebody came back to his session, and proved anew who he is.
    pub(crate) fn proved_again(&self, outlet: &Outlet, identity: &Identity) {
        outlet.set_family(identity.family);
        self.end_if_revoked_since(identity.proved_at, outlet);
    }

    /// Ends a session that was proved when no later revocation than this was known, if one has come since.
    pub(crate) fn end_if_revoked_since(&self, number: i64, outlet: &Outlet) {
        if let Some(closing) = self.revocations.since(number, outlet) {
            outlet.close_with(closing);
        }
    }

    fn carry_out(&self, revocation: &Revocation) {
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

fn is_whole_batch(count: usize) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= BATCH)
}

/// How a revocation ends a session, if it concerns it.
fn closing(revocation: &Revocation, outlet: &Outlet) -> Option<Closing> {
    let (concerned, code, message) = match revocation {
        Revocation::Family { family, .. } => {
            (outlet.family() == Some(*family), CloseCode::SessionRevoked, SESSION_REVOKED)
        }
        Revocation::KeyChanged { .. } => {
            (true, CloseCode::KeyChanged, "the identity's key has changed; sign in again")
        }
        Revocation::DeviceRemoved { device, .. } => {
            (outlet.device == *device, CloseCode::DeviceUnknown, DEVICE_REMOVED)
        }
        Revocation::AccountDisabled { .. } => (true, CloseCode::AccountDisabled, "the account is disabled"),
        Revocation::SignedOut { .. } => {
            (true, CloseCode::SessionRevoked, "every session of the account was revoked; sign in again")
        }
        Revocation::AccountDeleted { .. } => (true, CloseCode::SessionRevoked, "the account was deleted"),
        // Which sessions it concerns, only the store can tell.
        Revocation::Trimmed { .. } => return None,
    };
    let concerned = concerned && outlet.user == revocation.user();
    concerned.then(|| Closing::new(code, "", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::new(Uuid::nil());
    const LIFETIME: Duration = Duration::from_secs(900);
    const KEPT_MS: u64 = 900_000 + CLOCKS_DIFFER_MS;

    fn revoked(number: i64, at_ms: i64) -> NumberedRevocation {
        let revocation = Revocation::Family { user: USER, family: family(number) };
        NumberedRevocation { number, at_ms, revocation }
    }

    fn family(number: i64) -> Uuid {
        Uuid::from_u128(u128::try_from(number).unwrap())
    }

    fn standing(revocations: &Revocations, number: i64, issued_s: u64) -> Standing {
        revocations.read().standing(USER, family(number), issued_s)
    }

    #[test]
    fn a_revocation_is_known_as_long_as_a_token_may_live() {
        let revocations = Revocations::new(LIFETIME);
        revocations.learn(&[revoked(1, 5_000)], 5_000);
        revocations.learn(&[revoked(2, 6_000)], 6_000);
        assert_eq!(revocations.last(), 2);
        revocations.learn(&[], 4_999 + KEPT_MS);
        assert_eq!(standing(&revocations, 1, 4), Standing::Revoked);
        revocations.learn(&[], 5_000 + KEPT_MS);
        assert_eq!(standing(&revocations, 1, 4), Standing::InForce);
        assert_eq!(standing(&revocations, 2, 4), Standing::Revoked);
        assert_eq!(revocations.last(), 2);
    }

    #[test]
    fn a_clock_that_jumped_made_revoked_tokens_good_again() {
        let revocations = Revocations::new(LIFETIME);
        revocations.learn(&[revoked(1, 5_000)], 5_000);
        // By the clock of the node that wrote the second one, the first is a month old.
        revocations.learn(&[revoked(2, 30 * 24 * 60 * 60 * 1_000)], 6_000);
        assert_eq!(standing(&revocations, 1, 4), Standing::Revoked);
    }

    #[test]
    fn two_readers_of_the_same_learn_it_once() {
        let revocations = Revocations::new(LIFETIME);
        revocations.learn(&[revoked(1, 5_000), revoked(2, 5_000)], 5_000);
        revocations.learn(&[revoked(1, 5_000)], 5_000);
        assert_eq!((revocations.last(), revocations.read().recent.len()), (2, 2));
    }

    #[test]
    fn a_user_who_signed_out_over_and_over_had_the_tokens_of_all_others_refused() {
        let revocations = Revocations::new(LIFETIME);
        let kept = i64::try_from(KEPT_PER_USER).unwrap();
        let many: Vec<_> = (1..=2 * kept).map(|number| revoked(number, number * 1_000)).collect();
        revocations.learn(&many, 0);
        let until_ms = kept * 1_000;
        let trimmed = |number| {
            let revocation = Revocation::Trimmed { user: USER, until_ms };
            NumberedRevocation { number, at_ms: 2 * until_ms, revocation }
        };
        revocations.learn(&[trimmed(2 * kept + 1), trimmed(2 * kept + 2)], 0);
        let known = (revocations.read().recent.len(), revocations.read().families.len());
        assert_eq!(known, (KEPT_PER_USER + 1, KEPT_PER_USER));
        assert_eq!(standing(&revocations, 1, 100), Standing::TooOld);
        assert_eq!(standing(&revocations, kept + 1, 100), Standing::Revoked);
        assert_eq!(standing(&revocations, 1_000, 101), Standing::InForce);
        let other = UserId::new(Uuid::from_u128(7));
        assert_eq!(revocations.read().standing(other, family(1), 1), Standing::InForce);
        revocations.learn(&[], KEPT_MS);
        assert!(revocations.read().trimmed.is_empty() && revocations.read().recent.is_empty());
    }

    #[test]
    fn over_the_limit_older_tokens_are_refused_instead() {
        let revocations = Revocations::new(LIFETIME);
        let limit = i64::try_from(LIMIT).unwrap();
        let many: Vec<_> = (1..=limit + 2).map(|number| revoked(number, number * 1_000)).collect();
        revocations.learn(&many, 0);
        let known = (revocations.read().recent.len(), revocations.read().families.len());
        assert_eq!(known, (LIMIT, LIMIT));
        assert_eq!(standing(&revocations, 1, 1), Standing::TooOld);
        assert_eq!(standing(&revocations, limit + 3, 1), Standing::TooOld);
        assert_eq!(standing(&revocations, limit + 3, 2), Standing::TooOld);
        assert_eq!(standing(&revocations, limit + 3, 3), Standing::InForce);
        assert_eq!(standing(&revocations, 3, 3), Standing::Revoked);
    }
}
