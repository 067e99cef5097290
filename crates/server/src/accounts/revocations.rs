//! The revocations that a node remembers, each for as long as a token may still claim the opposite.

mod reading;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use aldis_auth::Claims;
use aldis_protocol::UserId;
use uuid::Uuid;

use crate::{
    clock::milliseconds,
    link::{Closing, SessionHandle},
    store::{KEPT_PER_USER, NumberedRevocation, Revocation},
};

/// How far the clocks of two nodes may differ, with room to spare. Revocations are kept for so much longer.
const CLOCKS_DIFFER_MS: u64 = 10 * 60 * 1000;

/// How many are kept, some 10 MB. Beyond that the oldest are forgotten, and tokens from before them have to be refreshed,
/// which asks the store.
const LIMIT: usize = 100_000;

/// The revocations that this node knows from the last lifetime of a token.
pub(super) struct Revocations {
    remembered: RwLock<Remembered>,
    kept_ms: u64,
}

/// Whether a token counts, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenStatus {
    /// Its family is in force.
    InForce,
    /// Its family is revoked.
    Revoked,
    /// It is from a time whose revocations were partly forgotten.
    TooOld,
}

#[derive(Default)]
struct Remembered {
    /// The number of the last revocation.
    last: i64,
    recent: VecDeque<Recent>,
    /// The families among the recent ones.
    families: HashSet<Uuid>,
    /// The time of the last one that was forgotten for lack of room.
    forgotten_ms: i64,
    /// Users with too many revocations, and the time of their last one that was forgotten. Each is also among the recent
    /// ones.
    trimmed: HashMap<UserId, i64>,
}

struct Recent {
    entry: NumberedRevocation,
    /// The tick at which it was learned: a wall clock that jumps ahead must not make a revoked token valid.
    learned: u64,
}

impl Revocations {
    pub(super) fn new(token_lifetime: Duration) -> Self {
        let kept_ms = milliseconds(token_lifetime).saturating_add(CLOCKS_DIFFER_MS);
        Self { remembered: RwLock::default(), kept_ms }
    }

    /// The number of the last known revocation. A caller that reads it before checking a proof can later
    /// [ask](Self::since) what was revoked meanwhile.
    pub(super) fn last(&self) -> i64 {
        self.read().last
    }

    /// Whether a token counts.
    pub(super) fn status(&self, claims: &Claims) -> TokenStatus {
        self.read().status(claims.sub, claims.sid, claims.iat)
    }

    /// Lets a session go on with a family, unless that is revoked. A revocation that arrives meanwhile waits for the lock,
    /// and then finds the session.
    pub(super) fn renew(&self, session: &SessionHandle, family: Uuid) -> bool {
        let remembered = self.read();
        let in_force = !remembered.families.contains(&family);
        if in_force {
            session.set_family(Some(family));
        }
        in_force
    }

    /// How a session has to close because of revocations after this number.
    fn since(&self, number: i64, session: &SessionHandle) -> Option<Closing> {
        let remembered = self.read();
        let later = remembered.recent.iter().rev().take_while(|recent| recent.entry.number > number);
        // The first one that concerns the session decides, as it would have for a session that was registered.
        later.filter_map(|recent| reading::closing(&recent.entry.revocation, session)).last()
    }

    fn start_after(&self, number: i64) {
        self.write().last = number;
    }

    fn learn(&self, entries: &[NumberedRevocation], tick: u64) {
        let mut remembered = self.write();
        for entry in entries {
            remembered.learn(entry, tick);
        }
        if let Some(until) = tick.checked_sub(self.kept_ms) {
            remembered.forget(until);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Remembered> {
        self.remembered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Remembered> {
        self.remembered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn status(&self, user: UserId, family: Uuid, issued_s: u64) -> TokenStatus {
        let issued_ms = i64::try_from(issued_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let forgotten_ms = self.trimmed.get(&user).map_or(self.forgotten_ms, |ms| self.forgotten_ms.max(*ms));
        if self.families.contains(&family) {
            TokenStatus::Revoked
        } else if issued_ms <= forgotten_ms {
            TokenStatus::TooOld
        } else {
            TokenStatus::InForce
        }
    }

    /// A revocation that is known already, because two tasks read at once, changes nothing.
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

    /// Forgets the revocations that were learned at this tick or before: the tokens that they concern have expired.
    fn forget(&mut self, until: u64) {
        while let Some(oldest) = self.recent.pop_front_if(|recent| recent.learned <= until) {
            self.let_go(&oldest.entry);
        }
    }

    /// The store keeps only a user's latest revocations of sign-ins and devices; the others are forgotten here too.
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

    fn status(revocations: &Revocations, number: i64, issued_s: u64) -> TokenStatus {
        revocations.read().status(USER, family(number), issued_s)
    }

    #[test]
    fn a_revocation_is_known_as_long_as_a_token_may_live() {
        let revocations = Revocations::new(LIFETIME);
        revocations.learn(&[revoked(1, 5_000)], 5_000);
        revocations.learn(&[revoked(2, 6_000)], 6_000);
        assert_eq!(revocations.last(), 2);
        revocations.learn(&[], 4_999 + KEPT_MS);
        assert_eq!(status(&revocations, 1, 4), TokenStatus::Revoked);
        revocations.learn(&[], 5_000 + KEPT_MS);
        assert_eq!(status(&revocations, 1, 4), TokenStatus::InForce);
        assert_eq!(status(&revocations, 2, 4), TokenStatus::Revoked);
        assert_eq!(revocations.last(), 2);
    }

    #[test]
    fn a_clock_that_jumped_made_revoked_tokens_good_again() {
        let revocations = Revocations::new(LIFETIME);
        revocations.learn(&[revoked(1, 5_000)], 5_000);
        // By the clock of the node that wrote the second one, the first is a month old.
        revocations.learn(&[revoked(2, 30 * 24 * 60 * 60 * 1_000)], 6_000);
        assert_eq!(status(&revocations, 1, 4), TokenStatus::Revoked);
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
        assert_eq!(status(&revocations, 1, 100), TokenStatus::TooOld);
        assert_eq!(status(&revocations, kept + 1, 100), TokenStatus::Revoked);
        assert_eq!(status(&revocations, 1_000, 101), TokenStatus::InForce);
        let other = UserId::new(Uuid::from_u128(7));
        assert_eq!(revocations.read().status(other, family(1), 1), TokenStatus::InForce);
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
        assert_eq!(status(&revocations, 1, 1), TokenStatus::TooOld);
        assert_eq!(status(&revocations, limit + 3, 1), TokenStatus::TooOld);
        assert_eq!(status(&revocations, limit + 3, 2), TokenStatus::TooOld);
        assert_eq!(status(&revocations, limit + 3, 3), TokenStatus::InForce);
        assert_eq!(status(&revocations, 3, 3), TokenStatus::Revoked);
    }
}
