//! Who watches whom, and what each may see.
//!
//! A watch is asked for, decided, and decided anew whenever somebody doubts it. Each doubt gives it a new stamp, and who
//! decides shows the stamp that it had before he looked up the facts: a decision that a later doubt has overtaken counts
//! for nothing, so that facts which were read before a change cannot prevail over it. Locks are taken in the order
//! watching session, watched user, user.

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
pub(crate) struct Watches<H> {
    /// Whom each session watches.
    watching: DashMap<SessionId, HashSet<UserId>>,
    watched: DashMap<UserId, Watched<H>>,
    /// The last stamp; no two doubts have the same.
    stamp: AtomicU64,
}

/// A session that watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher<H> {
    /// Its id.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// What reaches it.
    pub handle: H,
}

/// The session watches as many users as it may; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyWatches;

/// A watch that is to be decided anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "until it is decided, the watcher sees what he saw before"]
pub struct Doubt<H> {
    /// Who watches.
    pub watcher: Watcher<H>,
    /// Who is watched.
    pub watched: UserId,
    /// Shown by whoever [decides](Registry::decide) it.
    pub stamp: u64,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The watcher is to be told: it is the first decision, or another than the last.
    Changed,
    /// It is as it was.
    Unchanged,
    /// It was doubted since, or is over.
    Outdated,
}

/// What a watcher sees of a user.
#[must_use = "the watcher counts as told"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// How the user shows himself to this watcher.
    pub presence: UserPresence,
    /// When he was last seen, in Unix milliseconds, as far as this watcher may know.
    pub last_seen_ms: Option<i64>,
}

/// Some watchers of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherPage<H> {
    /// Those who may see him.
    pub handles: Vec<H>,
    /// The session after which to go on; none at the end.
    pub next: Option<SessionId>,
}

#[derive(Debug)]
struct Watched<H> {
    /// How he showed himself when this was last looked at.
    presence: UserPresence,
    /// How often that has changed.
    revision: u64,
    last_seen_ms: Option<i64>,
    watchers: BTreeMap<SessionId, Watch<H>>,
}

#[derive(Debug)]
struct Watch<H> {
    user: UserId,
    handle: H,
    /// None until it is decided for the first time.
    sees: Option<bool>,
    stamp: u64,
    told: Option<Told>,
}

/// What a watcher was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// That there is nothing to be seen.
    Nothing,
    /// How the user showed himself after so many changes.
    Revision(u64),
}

impl<H> Default for Watches<H> {
    fn default() -> Self {
        Self { watching: DashMap::new(), watched: DashMap::new(), stamp: AtomicU64::new(0) }
    }
}

impl Sight {
    /// What is seen of somebody who was never here, and of whoever does not let himself be seen.
    pub const NOTHING: Self = Self { presence: UserPresence::OFFLINE, last_seen_ms: None };
}

impl<H: Clone> Registry<H> {
    /// Lets a session watch users, those whom it watches already aside, and gives the others. It sees nothing of these
    /// until that is [decided](Self::decide). `limit` is how many it may watch.
    ///
    /// # Errors
    /// [`TooManyWatches`].
    pub fn watch(
        &self,
        watcher: &Watcher<H>,
        users: &[UserId],
        limit: usize,
    ) -> Result<Vec<UserId>, TooManyWatches> {
        let mut watching = self.watches.watching.entry(watcher.session).or_default();
        let mut new = HashSet::new();
        let added: Vec<UserId> =
            users.iter().copied().filter(|user| !watching.contains(user) && new.insert(*user)).collect();
        if watching.len() + added.len() > limit {
            return Err(TooManyWatches);
        }
        for user in &added {
            watching.insert(*user);
            let mut watched = self.watches.watched.entry(*user).or_insert_with(|| Watched {
                presence: self.presence(*user),
                revision: 0,
                last_seen_ms: None,
                watchers: BTreeMap::new(),
            });
            let (user, handle) = (watcher.user, watcher.handle.clone());
            let watch = Watch { user, handle, sees: None, stamp: self.watches.next_stamp(), told: None };
            watched.watchers.insert(watcher.session, watch);
        }
        Ok(added)
    }

    /// Lets a session watch these users no more.
    pub fn unwatch(&self, session: SessionId, users: &[UserId]) {
        let Entry::Occupied(mut watching) = self.watches.watching.entry(session) else { return };
        for user in users {
            if watching.get_mut().remove(user) {
                self.watches.remove(session, *user);
            }
        }
        if watching.get().is_empty() {
            watching.remove();
        }
    }

    /// A session is over, and watches nobody any more.
    pub fn unwatch_all(&self, session: SessionId) {
        if let Some((_, users)) = self.watches.watching.remove(&session) {
            users.into_iter().for_each(|user| self.watches.remove(session, user));
        }
    }

    /// How many users a session watches.
    #[must_use]
    pub fn watch_count(&self, session: SessionId) -> usize {
        self.watches.watching.get(&session).map_or(0, |users| users.len())
    }

    /// The stamp of a watch; none where there is no such watch. To be asked for before the facts are.
    #[must_use]
    pub fn stamp(&self, session: SessionId, user: UserId) -> Option<u64> {
        self.watches.watched.get(&user)?.watchers.get(&session).map(|watch| watch.stamp)
    }

    /// Something has changed that decides whether `watcher` may see `user`. Gives the watches that are to be decided
    /// anew. Of those that were not decided yet, whoever asked for them finds out that his facts are out of date.
    pub fn doubt(&self, watcher: UserId, user: UserId) -> Vec<Doubt<H>> {
        let sessions = self.of_user(watcher);
        let Some(mut watched) = self.watches.watched.get_mut(&user) else { return Vec::new() };
        let mut doubted = Vec::new();
        for session in sessions.iter().map(|attached| attached.session) {
            let Some(watch) = watched.watchers.get_mut(&session) else { continue };
            watch.stamp = self.watches.next_stamp();
            if watch.sees.is_some() {
                doubted.push(watch.doubt(session, user));
            }
        }
        doubted
    }

    /// Whom the sessions of a user watch, and whose sessions watch him.
    #[must_use]
    pub fn watch_peers(&self, user: UserId) -> Vec<UserId> {
        let mut peers = HashSet::new();
        for attached in self.of_user(user) {
            if let Some(watching) = self.watches.watching.get(&attached.session) {
                peers.extend(watching.iter().copied());
            }
        }
        if let Some(watched) = self.watches.watched.get(&user) {
            peers.extend(watched.watchers.values().map(|watch| watch.user));
        }
        peers.into_iter().collect()
    }

    /// Nobody is to see this user any more. Gives the watches for which that is to be decided, `limit` of them after a
    /// session.
    pub fn doubt_all(&self, user: UserId, after: Option<SessionId>, limit: usize) -> Vec<Doubt<H>> {
        let Some(mut watched) = self.watches.watched.get_mut(&user) else { return Vec::new() };
        let some = watched.watchers.range_mut(following(after)).take(limit);
        some.map(|(session, watch)| {
            watch.stamp = self.watches.next_stamp();
            watch.doubt(*session, user)
        })
        .collect()
    }

    /// Decides whether a session sees a user, by facts that were looked up when the watch had this stamp.
    pub fn decide(&self, session: SessionId, user: UserId, stamp: u64, sees: bool) -> Decision {
        let mut watched = self.watches.watched.get_mut(&user);
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

    /// A user was seen at this time, by whoever keeps that. Later times that are known stand.
    pub fn saw(&self, user: UserId, at_ms: i64) {
        if let Some(mut watched) = self.watches.watched.get_mut(&user) {
            watched.last_seen_ms = watched.last_seen_ms.max(Some(at_ms));
        }
    }

    /// Looks how a user shows himself by now. True where that has changed, so that his
    /// [`watchers`](Self::watchers) are to be told. To be called after each change of his sessions.
    pub fn refresh(&self, user: UserId, now_ms: i64) -> bool {
        let Some(mut watched) = self.watches.watched.get_mut(&user) else { return false };
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

    /// Those of the next `limit` watchers of a user, after a session, who may see him.
    #[must_use]
    pub fn watchers(&self, user: UserId, after: Option<SessionId>, limit: usize) -> WatcherPage<H> {
        let Some(watched) = self.watches.watched.get(&user) else {
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

    /// What a session is to tell its client of a user, who counts as told; none where it does not watch him, is not
    /// answered yet, or has told this already.
    pub fn tell(&self, session: SessionId, user: UserId) -> Option<Sight> {
        let mut watched = self.watches.watched.get_mut(&user)?;
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

    /// What a session told its client of a user was lost, or is asked for again.
    pub fn untell(&self, session: SessionId, user: UserId) {
        if let Some(mut watched) = self.watches.watched.get_mut(&user)
            && let Some(watch) = watched.watchers.get_mut(&session)
        {
            watch.told = None;
        }
    }
}

impl<H> Watches<H> {
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
    fn doubt(&self, session: SessionId, watched: UserId) -> Doubt<H> {
        let watcher = Watcher { session, user: self.user, handle: self.handle.clone() };
        Doubt { watcher, watched, stamp: self.stamp }
    }
}

/// The sessions after one, or all.
fn following(after: Option<SessionId>) -> (Bound<SessionId>, Bound<SessionId>) {
    (after.map_or(Unbounded, Excluded), Unbounded)
}
