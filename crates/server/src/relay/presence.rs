//! Presence: the status of each device, and the watchers who see it (docs/protocol/messages.md).
//!
//! A session never receives a presence directly. It is [marked](SessionHandle::mark) and [reads](Relay::tell) the
//! presence when its socket has room. So it always sends the latest one, and only if its user may see it at that
//! moment.

mod crowds;
mod relation_log;
mod rights;

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, Presence, ServerMessage, SetPresence, Timestamp, UserId, UserRef, limits::MAX_SUBSCRIPTIONS,
};
use aldis_registry::{DevicePresence, TooManySubscriptions, Watcher};

pub(super) use self::{crowds::DeferredFanout, relation_log::RelationLogReader};
use super::{Outcome, Relay, Reply, done, error};
use crate::{
    clock::{Now, unix_ms_i64},
    link::SessionHandle,
    store::StoreError,
};

/// Watchers told in one go; for more, other tasks run in between.
const WATCHERS_AT_ONCE: usize = 256;

/// Roughly what a subscription costs: an entry for the session and one for the watched user.
const BYTES_PER_WATCH: usize = 256;

impl Relay {
    /// Sets the status of a session's device. Earlier requests of the session are answered before.
    pub(super) fn set_presence(&self, from: &SessionHandle, presence: SetPresence<'_>, now: Now) -> Reply {
        let SetPresence { status, note } = presence;
        let note = note.map(|note| note.into());
        let presence = DevicePresence { status, note, said_at: now.tick, has_left: false };
        self.present(from, presence);
        Reply::Now(done("Presence set"))
    }

    /// Subscribes a session to users, to all of them or none. Their presence follows the reply.
    pub(super) fn subscribe(self: &Arc<Self>, from: &Arc<SessionHandle>, users: Vec<UserRef>) -> Reply {
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            let watched = relay.watch(&from, &users).await;
            Outcome::Reply(watched.map_or_else(|refusal| refusal, |()| done("Subscribed")))
        }))
    }

    /// Ends a session's subscriptions to users.
    pub(super) fn unsubscribe(self: &Arc<Self>, from: &Arc<SessionHandle>, users: Vec<UserRef>) -> Reply {
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            Outcome::Reply(match relay.users_named(from.user, &users).await {
                Ok(users) => {
                    relay.unwatch(&from, &users);
                    done("Unsubscribed")
                }
                Err(failure) => unavailable(&failure),
            })
        }))
    }

    /// The presence of a watched user to send to a session, if there is news.
    pub(crate) fn tell(&self, to: &SessionHandle, user: UserId) -> Option<ServerMessage<'static>> {
        let sight = self.registry.tell(to.session, user)?;
        let is_here = sight.presence.is_visible();
        let last_seen_ms = if is_here { Some(unix_ms_i64()) } else { sight.last_seen_ms };
        Some(ServerMessage::Presence(
            Presence::new(user, sight.presence.status, sight.presence.devices)
                .with_note(sight.presence.note.map(|note| note.to_string().into()))
                .with_last_seen(last_seen_ms.map(Timestamp::from_ms)),
        ))
    }

    /// Whether a session watches a user.
    pub(crate) fn is_watching(&self, session: &SessionHandle, user: UserId) -> bool {
        self.registry.stamp(session.session, user).is_some()
    }

    /// Has a session send the presence of a watched user again, even if nothing changed.
    pub(crate) fn tell_again(&self, session: &SessionHandle, user: UserId) {
        self.registry.untell(session.session, user);
        session.mark(user);
    }

    /// The client of a session has closed its connection and may come back. Watchers see it leave at once.
    pub(crate) fn client_left(&self, session: &SessionHandle) {
        let former = self.registry.set_left(session.user, session.session, true);
        self.presence_changed(session.user, former.as_ref());
    }

    /// The client of a session is back with its former status.
    pub(crate) fn client_returned(&self, session: &SessionHandle) {
        if self.registry.set_left(session.user, session.session, false).is_some_and(|former| former.has_left)
        {
            self.presence_changed(session.user, None);
        }
    }

    /// A session has begun.
    pub(super) fn session_began(&self, session: &SessionHandle) {
        self.accounts.last_seen.note_user(session.user, unix_ms_i64());
        self.presence_changed(session.user, None);
    }

    /// A session has ended whose device had the status `former`.
    pub(super) fn session_ended(&self, session: &SessionHandle, former: Option<&DevicePresence>) {
        self.registry.unwatch_all(session.session);
        self.presence_changed(session.user, former);
    }

    fn present(&self, session: &SessionHandle, presence: DevicePresence) {
        let former = self.registry.present(session.user, session.session, presence);
        self.presence_changed(session.user, former.as_ref());
    }

    /// Tells the watchers of a user if there is news. `former` is the former status of a device that changed it or
    /// has gone.
    fn presence_changed(&self, user: UserId, former: Option<&DevicePresence>) {
        let now_ms = unix_ms_i64();
        if former.is_some_and(DevicePresence::is_visible) {
            self.accounts.last_seen.note_user(user, now_ms);
        }
        if self.registry.refresh(user, now_ms) {
            self.tell_watchers(user);
        }
    }

    async fn watch(
        &self,
        from: &Arc<SessionHandle>,
        users: &[UserRef],
    ) -> Result<(), ServerMessage<'static>> {
        let users = self.users_named(from.user, users).await.map_err(|failure| unavailable(&failure))?;
        let watcher = Watcher { session: from.session, user: from.user, handle: Arc::clone(from) };
        let added = self
            .registry
            .watch(&watcher, &users, MAX_SUBSCRIPTIONS)
            .map_err(|TooManySubscriptions| too_many())?;
        if let Err(failure) = self.decide_first(from, &users).await {
            self.unwatch(from, &added);
            return Err(unavailable(&failure));
        }
        from.set_subscriptions(self.registry.watch_count(from.session) * BYTES_PER_WATCH);
        users.into_iter().for_each(|user| self.tell_again(from, user));
        Ok(())
    }

    fn unwatch(&self, from: &SessionHandle, users: &[UserId]) {
        self.registry.unwatch(from.session, users);
        from.set_subscriptions(self.registry.watch_count(from.session) * BYTES_PER_WATCH);
    }
}

fn too_many() -> ServerMessage<'static> {
    error(
        ErrorCode::Conflict,
        format!("a session watches {MAX_SUBSCRIPTIONS} users at most; unsubscribe from some first"),
    )
}

fn unavailable(failure: &StoreError) -> ServerMessage<'static> {
    tracing::warn!(error = %failure, "cannot look up the users of a subscription");
    error(ErrorCode::Unavailable, "the database is away; try again")
}
