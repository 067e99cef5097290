//! A short-lived cache of the relations between users, so that a signal does not cost a query.

use std::sync::atomic::{AtomicU64, Ordering};

use aldis_protocol::UserId;
use aldis_registry::Stance;
use dashmap::DashMap;

use super::Relay;
use crate::{clock::Now, store::StoreError};

/// How many pairs are cached. A full cache is cleared, and each pair costs one query again.
const LIMIT: usize = 65_536;

/// How long a pair is cached, so how long a block on another node may take to take effect here. A change on this node
/// drops the pair at once.
const LIFETIME_MS: u64 = 1_000;

/// What is cached of pairs of users, the lower id first.
#[derive(Debug, Default)]
pub(super) struct RelationCache {
    known: DashMap<(UserId, UserId), CachedRelation>,
    /// Counts the drops. What was read before a drop must not be cached after it.
    forgotten: AtomicU64,
}

/// How a sender and a target are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Relation {
    pub(super) sender: Stance,
    pub(super) target: Stance,
    /// Both have joined one private room.
    pub(super) share_private_room: bool,
}

/// The stances of two users, the lower id first.
#[derive(Debug, Clone, Copy)]
struct Found {
    stances: [Stance; 2],
    share_private_room: bool,
}

#[derive(Debug, Clone, Copy)]
struct CachedRelation {
    found: Found,
    until_tick: u64,
}

impl RelationCache {
    /// Drops a pair: something changed between these two.
    pub(super) fn forget(&self, one: UserId, other: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.remove(&key(one, other));
    }

    /// Drops all pairs of a user: something changed between them and others.
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
        self.known
            .insert(key, CachedRelation { found, until_tick: read.at.tick.saturating_add(LIFETIME_MS) });
        // A drop first counts and then removes. So either its count is visible here, or it removes this entry
        // afterwards.
        if self.forgotten.load(Ordering::SeqCst) != read.forgotten {
            self.known.remove(&key);
        }
    }

    /// How many pairs are cached. Each cost one query.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    fn begin_read(&self, now: Now) -> Read {
        Read { at: now, forgotten: self.forgotten.load(Ordering::SeqCst) }
    }
}

/// The state of the cache when a read of the store began.
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

impl Relay {
    /// How two users are related, if the cache knows. A user's relation to themselves is always known.
    pub(super) fn known_relation(&self, sender: UserId, target: UserId, now: Now) -> Option<Relation> {
        if sender == target {
            return Some(Relation::default());
        }
        self.relations.get(sender, target, now)
    }

    /// How two users are related. The queries are the same for all users, existing or not.
    pub(super) async fn relation(
        &self,
        sender: UserId,
        target: UserId,
        now: Now,
    ) -> Result<Relation, StoreError> {
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
    fn a_relation_is_cached_for_both_directions_for_a_second() {
        let relations = RelationCache::default();
        relations.remember(LOW, HIGH, found([BLOCKS, NOTHING]), relations.begin_read(at(10)));
        assert_eq!(relations.get(LOW, HIGH, at(1_009)), relation(BLOCKS, NOTHING));
        assert_eq!(relations.get(HIGH, LOW, at(1_009)), relation(NOTHING, BLOCKS));
        assert_eq!(relations.get(LOW, HIGH, at(1_010)), None);
    }

    #[test]
    fn a_relation_read_before_a_change_is_not_cached_after_it() {
        let relations = RelationCache::default();
        let read = relations.begin_read(at(0));
        relations.forget(HIGH, LOW);
        relations.remember(LOW, HIGH, found([NOTHING, NOTHING]), read);
        assert_eq!(relations.get(LOW, HIGH, at(1)), None);
    }

    #[test]
    fn all_relations_of_a_user_are_dropped_together() {
        let relations = RelationCache::default();
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
    fn the_cache_does_not_outgrow_its_limit() {
        let relations = RelationCache::default();
        for number in 0..=LIMIT {
            let other = UserId::new(Uuid::from_u128(number as u128 + 3));
            relations.remember(LOW, other, found([NOTHING, NOTHING]), relations.begin_read(at(0)));
        }
        assert_eq!(relations.known.len(), 1);
    }
}
