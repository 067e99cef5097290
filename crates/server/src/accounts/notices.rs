//! Notices: messages to all devices of a user.
//!
//! A notice is written for every device in the transaction of the change that it is about. It is sent to live devices
//! at once, and to the others at their next connect. It is deleted when the device has confirmed it, so a device may
//! get one twice but never misses one. The frame's `id` is the same each time.

mod confirmed;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{DeviceId, RequestId, RoomId, RoomInvite, ServerFrame, ServerMessage, UserId};
use aldis_registry::Registry;
use tokio::sync::Notify;

use self::confirmed::ConfirmedNotices;
use super::cache::AccountCache;
use crate::{
    clock::Now,
    link::{Encoded, SessionHandle, deliver, fresh, status},
    metrics::Metrics,
    shared::Shared,
    store::{Notice, Store, StoreError, WaitingNotice},
};

/// Notices of one node.
pub(crate) struct Notices {
    store: Arc<Store>,
    registry: Arc<Registry<Arc<SessionHandle>>>,
    metrics: Arc<Metrics>,
    cache: Arc<AccountCache>,
    pending: PendingNotices,
    confirmed: ConfirmedNotices,
}

/// Users with sessions on this node for whose devices a notice may wait.
#[derive(Debug, Default)]
struct PendingNotices {
    users: Mutex<HashSet<UserId>>,
    added: Notify,
}

impl PendingNotices {
    fn add(&self, user: UserId) {
        self.lock().insert(user);
        self.added.notify_one();
    }

    fn take(&self) -> HashSet<UserId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notices {
    /// Notices for the sessions of a node.
    pub(super) fn new(shared: &Shared, cache: Arc<AccountCache>) -> Self {
        let Shared { store, registry, metrics, .. } = shared.clone();
        Self {
            store,
            registry,
            metrics,
            cache,
            pending: PendingNotices::default(),
            confirmed: ConfirmedNotices::default(),
        }
    }

    /// Something may wait for the devices of a user. If the user has no session, they are told when they connect.
    pub(super) fn may_wait_for(&self, user: UserId) {
        if self.registry.has_user(user) {
            self.pending.add(user);
        }
    }

    /// Delivers a notice that was written for the devices of a user, except these. If the server stops before this is
    /// done, each device gets it at its next connect.
    pub(super) async fn tell_written(&self, user: UserId, notice: &Notice, except: &[&DeviceId], now: Now) {
        self.tell_ephemeral(user, notice, except, now);
        for attached in self.registry.of_user(user) {
            self.tell_waiting(&attached.handle, now).await;
        }
    }

    /// As [`tell_written`](Self::tell_written), by another task: the time that this takes does not show whether the
    /// user is online.
    pub(crate) fn tell_soon(&self, user: UserId, notice: &Notice, now: Now) {
        self.tell_ephemeral(user, notice, &[], now);
        self.may_wait_for(user);
    }

    /// As [`tell_soon`](Self::tell_soon), for the invitation of many users to a room.
    pub(crate) fn tell_invited(&self, room: &RoomId, owner: UserId, invited: &[UserId], now: Now) {
        let invite = Notice::RoomInvite(RoomInvite::new(room.clone(), owner));
        for user in invited {
            self.tell_soon(*user, &invite, now);
        }
    }

    /// Sends a notice to the sessions without a registered device: nothing is stored for them.
    fn tell_ephemeral(&self, user: UserId, notice: &Notice, except: &[&DeviceId], now: Now) {
        // A session that connects from here on asks what waits.
        self.cache.forget(user);
        let sessions = self.registry.of_user(user).into_iter();
        let ephemeral = sessions.filter(|one| one.device.is_ephemeral() && !except.contains(&&one.device));
        let mut frame = None;
        for one in ephemeral.filter(|one| !one.handle.is_closing()) {
            let frame = frame.get_or_insert_with(|| Encoded::new(fresh(notice.clone().into(), now)));
            // A session that is over by now loses it, like one whose connection breaks.
            let _ = deliver(&one.handle, frame, &self.metrics);
        }
    }

    /// Delivers what waits for a device to its session, after a connect or a resume.
    pub(crate) async fn tell_waiting(&self, session: &SessionHandle, now: Now) {
        if self.nothing_waits_for(session, now) {
            return;
        }
        // Boxed, as it is rare and large: every handshake would have its size.
        Box::pin(self.tell_what_waits(session, now)).await;
    }

    /// Whether nothing waits for the device of a registered session, as far as the cache knows, or the session cannot be
    /// told: one that is closing may not write any more, so its device is told at its next connect.
    pub(crate) fn nothing_waits_for(&self, session: &SessionHandle, now: Now) -> bool {
        // A notice from here on finds the session registered.
        session.device.is_ephemeral()
            || session.is_detached()
            || session.is_closing()
            || self.cache.nothing_waits(session.user, &session.device, now)
    }

    async fn tell_what_waits(&self, session: &SessionHandle, now: Now) {
        match self.read_waiting(session.user, &session.device, now).await {
            Ok(notices) => notices.into_iter().for_each(|waiting| self.push_waiting(session, waiting, now)),
            Err(error) => {
                tracing::warn!(%error, "cannot read what waits for a device; it waits for its next connect");
            }
        }
    }

    async fn read_waiting(
        &self,
        user: UserId,
        device: &DeviceId,
        now: Now,
    ) -> Result<Vec<WaitingNotice>, StoreError> {
        let (read, now_ms) = (self.cache.begin_read(), now.store_ms());
        // The end of a rotation's window is a notice that nobody stores.
        let next_ms = self.store.next_rotation_end(user, now_ms).await?;
        let until_ms = next_ms.map_or(u64::MAX, i64::unsigned_abs);
        let confirmed = self.confirmed.of_device(device);
        let mut notices = self.store.waiting_notices(user, device, now_ms).await?;
        notices.retain(|waiting| !confirmed.contains(&waiting.id));
        if notices.is_empty() {
            self.cache.remember_that_nothing_waits(user, device, until_ms, read);
        }
        Ok(notices)
    }

    /// Sends a notice that waits, unless this session has been sent it before.
    fn push_waiting(&self, session: &SessionHandle, waiting: WaitingNotice, now: Now) {
        let WaitingNotice { id, notice } = waiting;
        let encoded = || {
            let id = Some(RequestId::from_uuid(id));
            Encoded::new(ServerFrame { id, timestamp: now.timestamp(), message: notice.into() })
                .for_codec(session.codec)
        };
        if let Some(pushed) = session.push_notice(id, encoded) {
            // Where there is no room, it waits for the next connect.
            let _ = status(pushed, &self.metrics);
        }
    }

    /// Returns when a notice may wait for users who have sessions on this node.
    pub(crate) async fn pending_added(&self) {
        self.pending.added.notified().await;
    }

    /// Delivers the notices that wait for devices with sessions on this node, from whichever node they came.
    pub(crate) async fn tell_pending(&self, now: Now) {
        for user in self.pending.take() {
            for attached in self.registry.of_user(user) {
                self.tell_waiting(&attached.handle, now).await;
            }
        }
    }

    /// Sends a message to a live session.
    pub(super) fn push(&self, target: &SessionHandle, message: ServerMessage<'static>, now: Now) {
        // A session that is over by now loses it, like one whose connection breaks.
        let _ = deliver(target, &Encoded::new(fresh(message, now)), &self.metrics);
    }
}
