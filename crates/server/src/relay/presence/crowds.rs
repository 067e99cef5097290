//! Telling the watchers of a user: the first few hundred at once, the rest of a crowd in chunks, so that nobody waits
//! for it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aldis_protocol::{SessionId, UserId};
use tokio::{sync::Notify, task::yield_now};

use super::WATCHERS_AT_ONCE;
use crate::relay::Relay;

/// Users whose crowds are still to be told, and after which session to go on. There are never more than there are users
/// with a crowd: of one who changes again, the crowd is told once.
#[derive(Debug, Default)]
pub(in crate::relay) struct Crowds {
    waiting: Mutex<HashMap<UserId, SessionId>>,
    added: Notify,
}

impl Crowds {
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
    /// Has every session that watches this user, and may see him, tell its client.
    pub(super) fn tell_watchers(&self, user: UserId) {
        if let Some(after) = self.tell_some(user, None) {
            self.crowds.add(user, after);
        }
    }

    /// Tells crowds, for ever.
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

    /// Gives the session after which to go on.
    fn tell_some(&self, user: UserId, after: Option<SessionId>) -> Option<SessionId> {
        let page = self.registry.watchers(user, after, WATCHERS_AT_ONCE);
        page.handles.iter().for_each(|session| session.mark(user));
        page.next
    }
}
