//! Where users stand towards each other, remembered for a moment, so that a signal does not cost a query.

use std::sync::atomic::{AtomicU64, Ordering};

use aldis_protocol::UserId;
use aldis_registry::Stance;
use dashmap::DashMap;

use super::Router;
use crate::{clock::Now, store::StoreError};

/// Pairs that are remembered at most; then all are forgotten, and each costs one query again.
const LIMIT: usize = 65_536;

/// For how long a pair is remembered: so long may a block that was made on another node take to reach this one. What
/// is changed on this node is forgotten at once.
const LIFETIME_MS: u64 = 1_000;

/// What is remembered of pairs of users, the lower id first.
#[derive(Debug, Default)]
pub(super) struct Relations {
    known: DashMap<(UserId, UserId), Known>,
    /// How often something was forgotten: what was read before must not be remembered after.
    forgotten: AtomicU64,
}

/// How somebody and whom he wants to reach stand towards each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Relation {
    pub(super) sender: Stance,
    pub(super) target: Stance,
    /// Both have joined one private room.
    pub(super) share_private_room: bool,
}

/// What the store says of two users, the lower id first.
#[derive(Debug, Clone, Copy)]
struct Found {
    stances: [Stance; 2],
    share_private_room: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    found: Found,
    until_tick: u64,
}

impl Relations {
    /// Of these two something is no longer as it was.
    pub(super) fn forget(&self, one: UserId, other: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.remove(&key(one, other));
    }

    /// Of this user and anybody something is no longer as it was.
    pub(super) fn forget_all_of(&self, user: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.retain(|(one, other), _| *one != user && *other != user);
    }

    fn get(&self, sender: UserId, target: UserId, now: Now) -> Option<Relation> {
        let known = self.known.get(&key(sender, target)).map(|known| *known)?;
        (now.tick < known.until_tick).then(|| known.found.turned(sender, target))
    }

    fn remember(&self, one: UserId, other: UserId, found: Found, read: Read) {
        if self.known.len() >= LIMIT {
            self.known.clear();
        }
        let key = key(one, other);
        self.known.insert(key, Known { found, until_tick: read.at.tick.saturating_add(LIFETIME_MS) });
        // Whoever forgets counts first and removes then: of the two, one comes after the other's insertion.
        if self.forgotten.load(Ordering::SeqCst) != read.forgotten {
            self.known.remove(&key);
        }
    }

    /// How many pairs are remembered, each of which has cost one query.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    fn begin_read(&self, now: Now) -> Read {
        Read { at: now, forgotten: self.forgotten.load(Ordering::SeqCst) }
    }
}

/// The state of things when a read began.
#[derive(Debug, Clone, Copy)]
struct Read {
    at: Now,
    forgotten: u64,
}

impl Found {
    fn turned(self, sender: UserId, target: UserId) -> Relation {
        let Self { stances: [low, high], share_private_room } = self;
        let (sender, target) = if sender < target { (low, high) } else { (high, low) };
        Relation { sender, target, share_private_room }
    }
}

fn key(one: UserId, other: UserId) -> (UserId, UserId) {
    (one.min(other), one.max(other))
}

impl Router {
    /// How two users stand, as far as that is known without asking. Oneself is always known.
    pub(super) fn known_relation(&self, sender: UserId, target: UserId, now: Now) -> Option<Relation> {
        if sender == target {
            return Some(Relation::default());
        }
        self.relations.get(sender, target, now)
    }

    /// How two users stand. Asks the same, whoever they are and whether they exist.
    pub(super) async fn relation(&self, sender: UserId, target: UserId) -> Result<Relation, StoreError> {
        let now = Now::read();
        if let Some(known) = self.known_relation(sender, target, now) {
            return Ok(known);
        }
        let read = self.relations.begin_read(now);
        let (low, high) = key(sender, target);
        let peers = [high];
        let (stances, roommates) =
            futures::try_join!(self.store.stances(low, high), self.store.roommates(low, &peers))?;
        let found = Found { stances, share_private_room: !roommates.is_empty() };
        self.relations.remember(low, high, found, read);
        Ok(found.turned(sender, target))
    }
}

#[cfg(test)]
mod tests {
    use aldis_protocol::api::ContactDecision;
    use uuid::Uuid;

    use super::*;

    const LOW: UserId = UserId::new(Uuid::from_u128(1));
    const HIGH: UserId = UserId::new(Uuid::from_u128(2));
    const BLOCKS: Stance = Stance { decision: Some(ContactDecision::Blocked), reached_out: false };
    const NOTHING: Stance = Stance { decision: None, reached_out: false };

    const fn found(stances: [Stance; 2]) -> Found {
        Found { stances, share_private_room: true }
    }

    const fn relation(sender: Stance, target: Stance) -> Option<Relation> {
        Some(Relation { sender, target, share_private_room: true })
    }

    fn at(tick: u64) -> Now {
        Now { tick, unix_ms: 0 }
    }

    #[test]
    fn a_relation_is_known_from_both_sides_for_a_second() {
        let relations = Relations::default();
        relations.remember(LOW, HIGH, found([BLOCKS, NOTHING]), relations.begin_read(at(10)));
        assert_eq!(relations.get(LOW, HIGH, at(1_009)), relation(BLOCKS, NOTHING));
        assert_eq!(relations.get(HIGH, LOW, at(1_009)), relation(NOTHING, BLOCKS));
        assert_eq!(relations.get(LOW, HIGH, at(1_010)), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let relations = Relations::default();
        let read = relations.begin_read(at(0));
        relations.forget(HIGH, LOW);
        relations.remember(LOW, HIGH, found([NOTHING, NOTHING]), read);
        assert_eq!(relations.get(LOW, HIGH, at(1)), None);
    }

    #[test]
    fn all_relations_of_a_user_are_forgotten_together() {
        let relations = Relations::default();
        let third = UserId::new(Uuid::from_u128(3));
        let pairs = [(LOW, HIGH), (HIGH, third), (LOW, third)];
        for (one, other) in pairs {
            relations.remember(one, other, found([NOTHING, NOTHING]), relations.begin_read(at(0)));
        }
        relations.forget_all_of(HIGH);
        let known = pairs.map(|(one, other)| relations.get(one, other, at(1)).is_some());
        assert_eq!(known, [false, false, true]);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let relations = Relations::default();
        for number in 0..=LIMIT {
            let other = UserId::new(Uuid::from_u128(number as u128 + 3));
            relations.remember(LOW, other, found([NOTHING, NOTHING]), relations.begin_read(at(0)));
        }
        assert_eq!(relations.known.len(), 1);
    }
}
