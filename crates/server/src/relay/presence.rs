//! Presence: how devices show themselves, and who is told (docs/protocol/messages.md).
//!
//! A session that watches is never handed a presence. It is [marked](SessionHandle::mark), and asks what it is to
//! [tell](Relay::tell) when its socket has room: so that is the latest, and what its user may see by then.

mod crowds;
mod rights;
mod standings;

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, Presence, ServerMessage, SetPresence, Timestamp, UserId, UserRef, limits::MAX_SUBSCRIPTIONS,
};
use aldis_registry::{DevicePresence, TooManyWatches, Watcher};

pub(super) use self::{crowds::Crowds, standings::Standings};
use super::{Outcome, Relay, Reply, done, error};
use crate::{
    clock::{Now, unix_ms_i64},
    link::SessionHandle,
    store::StoreError,
};

/// Watchers that are told in one go; where there are more, others have their turn in between.
const WATCHERS_AT_ONCE: usize = 256;

/// What a subscription costs, roughly: an entry on the side of the session, and one on that of the user.
const BYTES_PER_WATCH: usize = 256;

impl Relay {
    /// Sets how a session's device shows itself. It comes after what was asked before.
    pub(super) fn set_presence(&self, from: &SessionHandle, presence: SetPresence<'_>, now: Now) -> Reply {
        let SetPresence { status, note } = presence;
        let note = note.map(|note| note.into());
        let presence = DevicePresence { status, note, said_at: now.tick, has_left: false };
        self.present(from, presence);
        Reply::Now(done("Presence set"))
    }

    /// Lets a session watch users, all of them or none. It is told of each once the request is answered.
    pub(super) fn subscribe(self: &Arc<Self>, from: &Arc<SessionHandle>, users: Vec<UserRef>) -> Reply {
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            let watched = relay.watch(&from, &users).await;
            Outcome::Reply(watched.map_or_else(|refusal| refusal, |()| done("Subscribed")))
        }))
    }

    /// Lets a session watch users no more.
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

    /// What a session is to tell its client of a watched user by now, if there is anything.
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

    /// A session is to tell its client how a watched user shows himself, whatever it told before.
    pub(crate) fn tell_again(&self, session: &SessionHandle, user: UserId) {
        self.registry.untell(session.session, user);
        session.mark(user);
    }

    /// The client of a session has closed its connection, and may come back: others see it go at once.
    pub(crate) fn client_left(&self, session: &SessionHandle) {
        let former = self.registry.set_left(session.user, session.session, true);
        self.presence_changed(session.user, former.as_ref());
    }

    /// The client of a session is back, and shows itself as before.
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

    /// A session whose device showed itself like this is over.
    pub(super) fn session_ended(&self, session: &SessionHandle, former: Option<&DevicePresence>) {
        self.registry.unwatch_all(session.session);
        self.presence_changed(session.user, former);
    }

    fn present(&self, session: &SessionHandle, presence: DevicePresence) {
        let former = self.registry.present(session.user, session.session, presence);
        self.presence_changed(session.user, former.as_ref());
    }

    /// Tells whoever watches a user, if there is something to tell. `former` is how a device showed itself that shows
    /// itself in another way now, or is gone.
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
        let added =
            self.registry.watch(&watcher, &users, MAX_SUBSCRIPTIONS).map_err(|TooManyWatches| too_many())?;
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
    tracing::warn!(error = %failure, "cannot look up whose presence is asked for");
    error(ErrorCode::Unavailable, "the database is away; try again")
}
