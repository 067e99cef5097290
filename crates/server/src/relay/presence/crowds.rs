//! Tells the watchers of a user: the first few hundred at once, the rest in chunks, so that no other task waits for
//! them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aldis_protocol::{SessionId, UserId};
use tokio::{sync::Notify, task::yield_now};

use super::WATCHERS_AT_ONCE;
use crate::relay::Relay;

/// Users with watchers still to tell, and the session after which to continue. A user has at most one entry: if they
/// change again meanwhile, each watcher reads the latest presence.
#[derive(Debug, Default)]
pub(in crate::relay) struct DeferredFanout {
    waiting: Mutex<HashMap<UserId, SessionId>>,
    added: Notify,
}

impl DeferredFanout {
    fn add(&self, user: UserId, after: SessionId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.entry(user).or_insert(after);
        *first = after.min(*first);
        drop(waiting);
        self.added.notify_one();
    }

    fn take(&self) -> Option<(UserId, SessionId)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let user = *waiting.keys().next()?;
        waiting.remove_entry(&user)
    }

    async fn next(&self) -> (UserId, SessionId) {
        loop {
            if let Some(crowd) = self.take() {
                return crowd;
            }
            self.added.notified().await;
        }
    }
}

impl Relay {
    /// Marks the user for every session that watches them and may see them.
    pub(super) fn tell_watchers(&self, user: UserId) {
        if let Some(after) = self.tell_some(user, None) {
            self.crowds.add(user, after);
        }
    }

    /// Tells watchers in chunks. Never returns.
    pub(crate) async fn tell_crowds(&self) {
        loop {
            let (user, after) = self.crowds.next().await;
            let mut next = Some(after);
            while next.is_some() {
                yield_now().await;
                next = self.tell_some(user, next);
            }
        }
    }

    /// Tells one chunk, and returns the session after which to continue.
    fn tell_some(&self, user: UserId, after: Option<SessionId>) -> Option<SessionId> {
        let page = self.registry.watchers(user, after, WATCHERS_AT_ONCE);
        page.handles.iter().for_each(|session| session.mark(user));
        page.next
    }
}
