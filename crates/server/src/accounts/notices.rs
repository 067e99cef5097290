//! Notices: messages to all devices of a user. Live devices get them at once, the others at their next connect.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{AckStatus, Alert, AlertKind, DeviceId, RoomId, RoomInvite, ServerMessage, UserId};
use aldis_registry::Registry;
use tokio::sync::Notify;

use super::cache::AccountCache;
use crate::{
    clock::Now,
    link::{Encoded, SessionHandle, deliver, fresh},
    metrics::Metrics,
    shared::Shared,
    store::{Notice, Recipients, Store, StoreError},
};

/// Notices of one node.
pub(crate) struct Notices {
    store: Arc<Store>,
    registry: Arc<Registry<Arc<SessionHandle>>>,
    metrics: Arc<Metrics>,
    cache: Arc<AccountCache>,
    pending: PendingNotices,
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
        Self { store, registry, metrics, cache, pending: PendingNotices::default() }
    }

    /// Something may wait for the devices of a user. If the user has no session, they are told when they connect.
    pub(super) fn may_wait_for(&self, user: UserId) {
        if self.registry.has_user(user) {
            self.pending.add(user);
        }
    }

    /// Notifies every device of a user but `except`. A notice that could not be stored is logged: the change that it is about
    /// stands.
    pub(crate) async fn notify(&self, user: UserId, notice: Notice, except: &[&DeviceId], now: Now) {
        let live = self.live_devices(user);
        let waits_for = Recipients::all_but(live.iter().chain(except.iter().copied()));
        self.keep(user, &notice, &waits_for, now).await;
        self.tell_live(user, notice, &live, except, now).await;
    }

    /// Notifies every device of a user but `except`, about a change that closes the sessions that `ends` selects: their
    /// devices are told at their next connect.
    pub(super) async fn notify_around(
        &self,
        user: UserId,
        notice: Notice,
        except: &[&DeviceId],
        ends: impl Fn(&SessionHandle) -> bool,
        now: Now,
    ) {
        let sessions = self.registry.of_user(user);
        let (ending, live): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|one| ends(&one.handle));
        let live = live.into_iter().filter(|one| is_live(&one.handle));
        let live: Vec<DeviceId> = live.map(|one| one.device).collect();
        let ending: Vec<&DeviceId> = ending.iter().map(|one| &one.device).collect();
        let waits_for = Recipients::all_but(live.iter().chain(except.iter().copied()));
        self.keep(user, &notice, &waits_for, now).await;
        let except: Vec<&DeviceId> = except.iter().copied().chain(ending).collect();
        self.tell_live(user, notice, &live, &except, now).await;
    }

    /// Delivers a notice that was stored for all devices of a user together with the change that it is about. If the server
    /// stops before this is done, every device is told at its next connect.
    pub(super) async fn tell_written(&self, user: UserId, notice: &Notice, now: Now) {
        // A session that connects from here on asks what waits.
        self.cache.forget(user);
        for attached in self.registry.of_user(user) {
            if attached.device.is_ephemeral() {
                self.push(&attached.handle, notice.clone().into(), now);
            } else {
                self.tell_waiting(&attached.handle, now).await;
            }
        }
    }

    /// Tells the live devices of a user a notice that is stored for all others. `live` are those for which it is not.
    pub(crate) async fn tell_live(
        &self,
        user: UserId,
        notice: Notice,
        live: &[DeviceId],
        except: &[&DeviceId],
        now: Now,
    ) {
        let told = self.push_notice(user, &notice, live, except, now);
        let missed: Vec<&DeviceId> = live
            .iter()
            .filter(|device| {
                !device.is_ephemeral() && !except.contains(device) && !told.reached.contains(device)
            })
            .collect();
        if !missed.is_empty() {
            self.keep(user, &notice, &Recipients::only(missed), now).await;
        }
        for newcomer in told.newcomers {
            self.tell_waiting(&newcomer, now).await;
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

    /// Whether nothing waits for the device of a registered session, as far as the cache knows, or the session cannot be told:
    /// one that is closing may not write any more, so its device is told at its next connect.
    pub(crate) fn nothing_waits_for(&self, session: &SessionHandle, now: Now) -> bool {
        // A notice from here on finds the session registered.
        session.device.is_ephemeral()
            || session.is_detached()
            || session.is_closing()
            || self.cache.nothing_waits(session.user, &session.device, now)
    }

    async fn tell_what_waits(&self, session: &SessionHandle, now: Now) {
        let (user, device) = (session.user, &session.device);
        match self.take_waiting(user, device, now).await {
            Ok(notices) => {
                for notice in notices {
                    self.tell_or_keep(session, notice, now).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read what waits for a device; it waits for its next connect");
            }
        }
    }

    async fn take_waiting(
        &self,
        user: UserId,
        device: &DeviceId,
        now: Now,
    ) -> Result<Vec<Notice>, StoreError> {
        let (read, now_ms) = (self.cache.begin_read(), now.store_ms());
        // The end of a rotation's window is a notice that nobody stores.
        let next_ms = self.store.next_rotation_end(user, now_ms).await?;
        let until_ms = next_ms.map_or(u64::MAX, i64::unsigned_abs);
        let notices = self.store.take_notices(user, device, now_ms).await?;
        self.cache.remember_that_nothing_waits(user, device, until_ms, read);
        Ok(notices)
    }

    /// Tells the devices of users that they are invited to a room. The notices are stored; live devices get them soon, by
    /// another task, so that the time that this takes does not show who is online.
    pub(crate) fn tell_invited(&self, room: &RoomId, owner: UserId, invited: &[UserId], now: Now) {
        let invite = RoomInvite::new(room.clone(), owner);
        let frame = Encoded::new(fresh(ServerMessage::RoomInvite(invite), now));
        for user in invited {
            self.cache.forget(*user);
            // Nothing is stored for a device that is not registered.
            for one in self.registry.of_user(*user).iter().filter(|one| one.device.is_ephemeral()) {
                let _ = deliver(&one.handle, &frame, &self.metrics);
            }
            self.may_wait_for(*user);
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

    /// The connected devices of a user. A device whose client is away does not count, unless nothing can be stored for it.
    pub(crate) fn live_devices(&self, user: UserId) -> Vec<DeviceId> {
        let sessions = self.registry.of_user(user).into_iter();
        sessions.filter(|one| is_live(&one.handle)).map(|one| one.device).collect()
    }

    async fn keep(&self, user: UserId, notice: &Notice, waits_for: &Recipients, now: Now) {
        if let Err(error) = self.store.add_notice(user, notice, waits_for, now.store_ms()).await {
            tracing::warn!(%error, "cannot write down a notice; devices that are away will not hear of it");
        }
        self.cache.forget(user);
    }

    async fn tell_or_keep(&self, session: &SessionHandle, notice: Notice, now: Now) {
        let encoded = Encoded::new(fresh(notice.clone().into(), now));
        if deliver(session, &encoded, &self.metrics) != Some(AckStatus::Delivered) {
            self.keep(session.user, &notice, &Recipients::only([&session.device]), now).await;
        }
    }

    /// Sends a message to a live session.
    pub(super) fn push(&self, target: &SessionHandle, message: ServerMessage<'static>, now: Now) {
        // A session that is over by now loses it, like one whose connection breaks.
        let _ = deliver(target, &Encoded::new(fresh(message, now)), &self.metrics);
    }

    fn push_notice(
        &self,
        user: UserId,
        notice: &Notice,
        live: &[DeviceId],
        except: &[&DeviceId],
        now: Now,
    ) -> Told {
        // A session that connects from here on asks what waits for it.
        self.cache.forget(user);
        let frame = Encoded::new(fresh(notice.clone().into(), now));
        let mut told = Told::default();
        for attached in self.registry.of_user(user) {
            let device = attached.device;
            if except.contains(&&device) {
                continue;
            }
            if live.contains(&device) || device.is_ephemeral() {
                // A buffered notice is lost if the session does not resume: better to tell it twice than never.
                if deliver(&attached.handle, &frame, &self.metrics) == Some(AckStatus::Delivered) {
                    told.reached.push(device);
                }
            } else {
                told.newcomers.push(attached.handle);
            }
        }
        told
    }
}

fn is_live(session: &SessionHandle) -> bool {
    session.device.is_ephemeral() || !session.is_detached()
}

/// The alert that something happened to a device of the account.
pub(super) fn device_alert(kind: AlertKind, device: &DeviceId) -> Notice {
    Notice::Alert(Alert::new(kind).with_device_id(device.clone()))
}

/// The devices that a notice reached.
#[derive(Default)]
struct Told {
    reached: Vec<DeviceId>,
    /// Sessions that began or resumed after the notice was stored: it waits for their devices.
    newcomers: Vec<Arc<SessionHandle>>,
}
