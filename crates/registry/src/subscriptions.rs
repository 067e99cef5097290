//! Subscriptions to presence (watches): who watches whom, and what each watcher may see.
//!
//! A watch is requested, decided, and decided again whenever its rights may have changed. Each new decision gives
//! the watch a new stamp. The caller reads the stamp before it looks up the facts, and passes it to the decision. If
//! another decision began in between, the stamps differ and the decision is discarded, so facts from before a change never
//! override it. Locks are taken in the order watching session, watched user, user.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound::{self, Excluded, Unbounded},
    sync::atomic::{AtomicU64, Ordering},
};

use aldis_protocol::{SessionId, UserId};
use dashmap::{DashMap, Entry};

use crate::{Registry, UserPresence};

/// The watches of a node.
#[derive(Debug)]
pub(crate) struct Subscriptions<H> {
    /// The users that each session watches.
    watching: DashMap<SessionId, HashSet<UserId>>,
    watched: DashMap<UserId, Watched<H>>,
    /// The last stamp; no two decisions have the same one.
    stamp: AtomicU64,
}

/// A watching session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher<H> {
    /// Its id.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// The handle that reaches it.
    pub handle: H,
}

/// The session watches the maximum number of users; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySubscriptions;

/// A watch that must be decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "until it is decided, the watcher sees the same as before"]
pub struct PendingDecision<H> {
    /// The watcher.
    pub watcher: Watcher<H>,
    /// The watched user.
    pub watched: UserId,
    /// The stamp to pass to [`decide`](Registry::decide).
    pub stamp: u64,
}

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The watcher must be told: this is the first decision, or it differs from the last.
    Changed,
    /// The decision is the same as before.
    Unchanged,
    /// Another decision began since, or the watch has ended.
    Outdated,
}

/// What a watcher sees of a user.
#[must_use = "the watcher counts as told"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The presence of the user, as this watcher sees it.
    pub presence: UserPresence,
    /// When the user was last seen, in Unix milliseconds, if this watcher may know.
    pub last_seen_ms: Option<i64>,
}

/// A page of a user's watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherPage<H> {
    /// The watchers who may see the user.
    pub handles: Vec<H>,
    /// The session after which the next page begins; `None` at the end.
    pub next: Option<SessionId>,
}

#[derive(Debug)]
struct Watched<H> {
    /// The user's presence at the last refresh.
    presence: UserPresence,
    /// How often it has changed.
    revision: u64,
    last_seen_ms: Option<i64>,
    watchers: BTreeMap<SessionId, Watch<H>>,
}

#[derive(Debug)]
struct Watch<H> {
    user: UserId,
    handle: H,
    /// `None` until the first decision.
    sees: Option<bool>,
    stamp: u64,
    told: Option<Told>,
}

/// What a watcher was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// That the user is not visible.
    Nothing,
    /// The presence with this revision.
    Revision(u64),
}

impl<H> Default for Subscriptions<H> {
    fn default() -> Self {
        Self { watching: DashMap::new(), watched: DashMap::new(), stamp: AtomicU64::new(0) }
    }
}

impl Sight {
    /// What is shown of a user who was never here, or whom the watcher may not see.
    pub const NOTHING: Self = Self { presence: UserPresence::OFFLINE, last_seen_ms: None };
}

impl<H: Clone> Registry<H> {
    /// Lets a session watch users, and returns those that it did not watch before. It sees nothing of them until that
    /// is [decided](Self::decide). `limit` is the maximum number of watched users.
    ///
    /// # Errors
    /// [`TooManySubscriptions`].
    pub fn watch(
        &self,
        watcher: &Watcher<H>,
        users: &[UserId],
        limit: usize,
    ) -> Result<Vec<UserId>, TooManySubscriptions> {
        let mut watching = self.subscriptions.watching.entry(watcher.session).or_default();
        let mut new = HashSet::new();
        let added: Vec<UserId> =
            users.iter().copied().filter(|user| !watching.contains(user) && new.insert(*user)).collect();
        if watching.len() + added.len() > limit {
            return Err(TooManySubscriptions);
        }
        for user in &added {
            watching.insert(*user);
            let mut watched = self.subscriptions.watched.entry(*user).or_insert_with(|| Watched {
                presence: self.presence(*user),
                revision: 0,
                last_seen_ms: None,
                watchers: BTreeMap::new(),
            });
            let (user, handle) = (watcher.user, watcher.handle.clone());
            let watch =
                Watch { user, handle, sees: None, stamp: self.subscriptions.next_stamp(), told: None };
            watched.watchers.insert(watcher.session, watch);
        }
        Ok(added)
    }

    /// Ends a session's watches of these users.
    pub fn unwatch(&self, session: SessionId, users: &[UserId]) {
        let Entry::Occupied(mut watching) = self.subscriptions.watching.entry(session) else { return };
        for user in users {
            if watching.get_mut().remove(user) {
                self.subscriptions.remove(session, *user);
            }
        }
        if watching.get().is_empty() {
            watching.remove();
        }
    }

    /// Ends all watches of a session that has ended.
    pub fn unwatch_all(&self, session: SessionId) {
        if let Some((_, users)) = self.subscriptions.watching.remove(&session) {
            users.into_iter().for_each(|user| self.subscriptions.remove(session, user));
        }
    }

    /// How many users a session watches.
    #[must_use]
    pub fn watch_count(&self, session: SessionId) -> usize {
        self.subscriptions.watching.get(&session).map_or(0, |users| users.len())
    }

    /// The stamp of a watch; `None` if there is no such watch. Read it before the facts.
    #[must_use]
    pub fn stamp(&self, session: SessionId, user: UserId) -> Option<u64> {
        self.subscriptions.watched.get(&user)?.watchers.get(&session).map(|watch| watch.stamp)
    }

    /// Records that the rights of `watcher` to see `user` may have changed, and returns the watches that must be
    /// decided again. Subscriptions without a decision are left out: their pending decision will be outdated.
    pub fn begin_decision(&self, watcher: UserId, user: UserId) -> Vec<PendingDecision<H>> {
        let sessions = self.of_user(watcher);
        let Some(mut watched) = self.subscriptions.watched.get_mut(&user) else { return Vec::new() };
        let mut doubted = Vec::new();
        for session in sessions.iter().map(|attached| attached.session) {
            let Some(watch) = watched.watchers.get_mut(&session) else { continue };
            watch.stamp = self.subscriptions.next_stamp();
            if watch.sees.is_some() {
                doubted.push(watch.begin_decision(session, user));
            }
        }
        doubted
    }

    /// The users whom the sessions of a user watch, and the users whose sessions watch this user.
    #[must_use]
    pub fn watch_peers(&self, user: UserId) -> Vec<UserId> {
        let mut peers = HashSet::new();
        for attached in self.of_user(user) {
            if let Some(watching) = self.subscriptions.watching.get(&attached.session) {
                peers.extend(watching.iter().copied());
            }
        }
        if let Some(watched) = self.subscriptions.watched.get(&user) {
            peers.extend(watched.watchers.values().map(|watch| watch.user));
        }
        peers.into_iter().collect()
    }

    /// Records that nobody may see this user any more. Returns the watches to decide, at most `limit` of them after a
    /// session.
    pub fn begin_decisions(
        &self,
        user: UserId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Vec<PendingDecision<H>> {
        let Some(mut watched) = self.subscriptions.watched.get_mut(&user) else { return Vec::new() };
        let some = watched.watchers.range_mut(following(after)).take(limit);
        some.map(|(session, watch)| {
            watch.stamp = self.subscriptions.next_stamp();
            watch.begin_decision(*session, user)
        })
        .collect()
    }

    /// Decides whether a session sees a user, by facts that were read after this stamp.
    pub fn decide(&self, session: SessionId, user: UserId, stamp: u64, sees: bool) -> Decision {
        let mut watched = self.subscriptions.watched.get_mut(&user);
        let watch = watched.as_mut().and_then(|watched| watched.watchers.get_mut(&session));
        match watch.filter(|watch| watch.stamp == stamp) {
            None => Decision::Outdated,
            Some(watch) if watch.sees == Some(sees) => Decision::Unchanged,
            Some(watch) => {
                watch.sees = Some(sees);
                watch.told = None;
                Decision::Changed
            }
        }
    }

    /// Records when a user was last seen. A later known time stays.
    pub fn saw(&self, user: UserId, at_ms: i64) {
        if let Some(mut watched) = self.subscriptions.watched.get_mut(&user) {
            watched.last_seen_ms = watched.last_seen_ms.max(Some(at_ms));
        }
    }

    /// Updates the user's presence. True if it has changed, so that the [`watchers`](Self::watchers) must be told.
    /// Call it after each change of the user's sessions.
    pub fn refresh(&self, user: UserId, now_ms: i64) -> bool {
        let Some(mut watched) = self.subscriptions.watched.get_mut(&user) else { return false };
        let presence = self.presence(user);
        if presence == watched.presence {
            return false;
        }
        if !presence.is_visible() {
            watched.last_seen_ms = watched.last_seen_ms.max(Some(now_ms));
        }
        watched.presence = presence;
        watched.revision += 1;
        true
    }

    /// Those of the next `limit` watchers after a session who may see the user.
    #[must_use]
    pub fn watchers(&self, user: UserId, after: Option<SessionId>, limit: usize) -> WatcherPage<H> {
        let Some(watched) = self.subscriptions.watched.get(&user) else {
            return WatcherPage { handles: Vec::new(), next: None };
        };
        let mut rest = watched.watchers.range(following(after));
        let (mut handles, mut last) = (Vec::new(), None);
        for (session, watch) in rest.by_ref().take(limit) {
            last = Some(*session);
            if watch.sees == Some(true) {
                handles.push(watch.handle.clone());
            }
        }
        WatcherPage { handles, next: last.filter(|_| rest.next().is_some()) }
    }

    /// What a session must tell its client about a user; this then counts as told. `None` if the session does not
    /// watch the user, the watch is not decided yet, or the client was told this already.
    pub fn tell(&self, session: SessionId, user: UserId) -> Option<Sight> {
        let mut watched = self.subscriptions.watched.get_mut(&user)?;
        let Watched { presence, revision, last_seen_ms, watchers } = &mut *watched;
        let watch = watchers.get_mut(&session)?;
        let news = if watch.sees? { Told::Revision(*revision) } else { Told::Nothing };
        if watch.told.replace(news) == Some(news) {
            return None;
        }
        Some(match news {
            Told::Revision(_) => Sight { presence: presence.clone(), last_seen_ms: *last_seen_ms },
            Told::Nothing => Sight::NOTHING,
        })
    }

    /// Records that what a client was told about a user was lost, or is requested again.
    pub fn untell(&self, session: SessionId, user: UserId) {
        if let Some(mut watched) = self.subscriptions.watched.get_mut(&user)
            && let Some(watch) = watched.watchers.get_mut(&session)
        {
            watch.told = None;
        }
    }
}

impl<H> Subscriptions<H> {
    fn remove(&self, session: SessionId, user: UserId) {
        if let Entry::Occupied(mut watched) = self.watched.entry(user) {
            watched.get_mut().watchers.remove(&session);
            if watched.get().watchers.is_empty() {
                watched.remove();
            }
        }
    }

    fn next_stamp(&self) -> u64 {
        self.stamp.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl<H: Clone> Watch<H> {
    fn begin_decision(&self, session: SessionId, watched: UserId) -> PendingDecision<H> {
        let watcher = Watcher { session, user: self.user, handle: self.handle.clone() };
        PendingDecision { watcher, watched, stamp: self.stamp }
    }
}

/// The sessions after this one, or all.
fn following(after: Option<SessionId>) -> (Bound<SessionId>, Bound<SessionId>) {
    (after.map_or(Unbounded, Excluded), Unbounded)
}
