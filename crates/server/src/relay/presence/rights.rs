//! Who may see whom: looked up when a session subscribes, and again whenever something changes between two users.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aldis_protocol::UserId;
use aldis_registry::{Decision, Facts, PendingDecision, Purpose, Stance, may_reach};

use crate::{
    link::SessionHandle,
    relay::Relay,
    store::{Sighting, StoreError},
};

/// How many subscriptions to a deleted user are hidden at a time.
const HIDDEN_AT_ONCE: usize = 256;

/// How many users are looked up at a time against one user.
const PEERS_AT_ONCE: usize = 256;

impl Relay {
    /// Decides whether a session may see the users to whom it has just subscribed. The queries are the same for all
    /// users, existing or not, visible or not. Users about whom something changed meanwhile are looked up again.
    pub(super) async fn decide_first(
        &self,
        from: &SessionHandle,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        let mut undecided = users.to_vec();
        while !undecided.is_empty() {
            let stamps: Vec<_> = undecided
                .iter()
                .filter_map(|user| Some((*user, self.registry.stamp(from.session, *user)?)))
                .collect();
            let here: Vec<_> = undecided.iter().map(|user| self.accounts.last_seen.of_user(*user)).collect();
            let stances = self.store.stances_with(from.user, &undecided).await?;
            let roommates = self.store.roommates(from.user, &undecided).await?;
            let sightings = self.store.sightings_of(&undecided).await?;
            let facts = Known { stances, roommates, sightings };
            for (user, here) in undecided.iter().zip(here) {
                if let Some(at_ms) = facts.last_seen_ms(*user).max(here).filter(|_| !facts.is_deleted(*user))
                {
                    self.registry.saw(*user, at_ms);
                }
            }
            undecided = stamps
                .into_iter()
                .filter(|(user, stamp)| {
                    let sees = self.may_see((from.user, *user), from.user, &facts);
                    self.registry.decide(from.session, *user, *stamp, sees) == Decision::Outdated
                })
                .map(|(user, _)| user)
                .collect();
        }
        Ok(())
    }

    /// The reachability between two users has changed. Drops what is cached about them, and decides their
    /// subscriptions to each other again.
    pub(in crate::relay) async fn relation_changed(
        &self,
        one: UserId,
        other: UserId,
    ) -> Result<(), StoreError> {
        if one == other {
            return self.place_in_rooms_changed(one).await;
        }
        let pending = self.begin_decisions_between(one, other);
        if pending.is_empty() { Ok(()) } else { self.resolve_all(one, other, &pending).await }
    }

    /// As [`relation_changed`](Self::relation_changed). If the look-up fails, it is repeated at the next read of the
    /// list.
    pub(in crate::relay) async fn follow_relation(&self, one: UserId, other: UserId) {
        if let Err(error) = self.relation_changed(one, other).await {
            self.look_again(one, other, &error);
        }
    }

    /// As [`follow_relation`](Self::follow_relation), for the user who made the change. It always asks the store, so
    /// that its duration does not reveal who watches.
    pub(in crate::relay) async fn relation_was_changed(&self, one: UserId, other: UserId) {
        let pending = self.begin_decisions_between(one, other);
        if let Err(error) = self.resolve_all(one, other, &pending).await {
            self.look_again(one, other, &error);
        }
    }

    /// A user has entered or left a room, which may change the reachability between them and everybody in it.
    async fn place_in_rooms_changed(&self, user: UserId) -> Result<(), StoreError> {
        self.relations.forget_all_of(user);
        self.check_rooms_of(user).await?;
        for peers in self.registry.watch_peers(user).chunks(PEERS_AT_ONCE) {
            let of_peers = peers.iter().filter(|peer| **peer != user);
            let pending: Vec<_> =
                of_peers.flat_map(|peer| self.begin_decisions_between(user, *peer)).collect();
            if !pending.is_empty() {
                self.resolve_with(user, peers, &pending).await?;
            }
        }
        Ok(())
    }

    /// Hides a deleted user from everybody who watches them.
    pub(in crate::relay) fn hide_for_good(&self, user: UserId) {
        let mut after = None;
        loop {
            let pending = self.registry.begin_decisions(user, after, HIDDEN_AT_ONCE);
            let Some(last) = pending.last() else { return };
            after = Some(last.watcher.session);
            pending.iter().for_each(|pending| self.resolve(pending, false));
        }
    }

    fn look_again(&self, one: UserId, other: UserId, error: &StoreError) {
        tracing::warn!(%error, "cannot look up the relation of two users; trying again");
        self.relation_log.note_unsettled(one, other);
    }

    fn begin_decisions_between(
        &self,
        one: UserId,
        other: UserId,
    ) -> Vec<PendingDecision<Arc<SessionHandle>>> {
        self.relations.forget(one, other);
        let mut pending = self.registry.begin_decision(one, other);
        pending.extend(self.registry.begin_decision(other, one));
        pending
    }

    /// Decides the doubted subscriptions. If the look-up fails, nothing is shown.
    async fn resolve_all(
        &self,
        one: UserId,
        other: UserId,
        pending: &[PendingDecision<Arc<SessionHandle>>],
    ) -> Result<(), StoreError> {
        self.resolve_with(one, &[other], pending).await
    }

    /// As [`resolve_all`](Self::resolve_all), between one user and many.
    async fn resolve_with(
        &self,
        one: UserId,
        others: &[UserId],
        pending: &[PendingDecision<Arc<SessionHandle>>],
    ) -> Result<(), StoreError> {
        let facts = self.facts_between(one, others).await;
        for pending in pending {
            let pair = (pending.watcher.user, pending.watched);
            self.resolve(pending, facts.as_ref().is_ok_and(|facts| self.may_see(pair, one, facts)));
        }
        facts.map(drop)
    }

    fn resolve(&self, pending: &PendingDecision<Arc<SessionHandle>>, sees: bool) {
        let PendingDecision { watcher, watched, stamp } = pending;
        if self.registry.decide(watcher.session, *watched, *stamp, sees) == Decision::Changed {
            watcher.handle.mark(*watched);
        }
    }

    /// What the store knows about one user and others, whichever of them watches.
    async fn facts_between(&self, one: UserId, others: &[UserId]) -> Result<Known, StoreError> {
        let stances = self.store.stances_with(one, others).await?;
        let roommates = self.store.roommates(one, others).await?;
        let mut all = others.to_vec();
        all.push(one);
        let sightings = self.store.sightings_of(&all).await?;
        Ok(Known { stances, roommates, sightings })
    }

    /// Whether a watcher may see a user, by the facts between `one` of them and others.
    fn may_see(&self, (watcher, user): (UserId, UserId), one: UserId, known: &Known) -> bool {
        let other = if watcher == one { user } else { watcher };
        let [of_one, of_other] = known.stances.get(&other).copied().unwrap_or_default();
        let (sender, target) = if watcher == one { (of_one, of_other) } else { (of_other, of_one) };
        let facts = Facts {
            same_user: watcher == user,
            sender,
            target,
            offered: false,
            share_private_room: known.roommates.contains(&other),
            share_public_room: false,
        };
        !known.is_deleted(user) && may_reach(self.settings.routing, Purpose::Presence, facts)
    }
}

/// The facts between one user and others.
struct Known {
    /// The stance of the one user towards each other user, and of each towards the one.
    stances: HashMap<UserId, [Stance; 2]>,
    /// The users who share a private room with the one user.
    roommates: HashSet<UserId>,
    sightings: HashMap<UserId, Sighting>,
}

impl Known {
    fn is_deleted(&self, user: UserId) -> bool {
        self.sightings.get(&user) == Some(&Sighting::Deleted)
    }

    fn last_seen_ms(&self, user: UserId) -> Option<i64> {
        match self.sightings.get(&user)? {
            Sighting::At(at_ms) => Some(*at_ms),
            Sighting::Deleted => None,
        }
    }
}
