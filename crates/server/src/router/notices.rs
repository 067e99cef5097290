//! Notices: what all devices of a user are told, live ones at once and the others at their next connect.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{
    AckStatus, Alert, AlertKind, DeviceId, RequestId, RoomId, RoomInvite, ServerFrame, ServerMessage, UserId,
};
use aldis_registry::Registry;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Router,
    deliver::{Encoded, deliver},
    outlet::Outlet,
};
use crate::{
    clock::{Now, unix_ms_i64},
    store::{Notice, Recipients, StoreError},
};

/// Users with sessions here for whose devices something may wait since it was last looked.
#[derive(Debug, Default)]
pub(super) struct Untold {
    users: Mutex<HashSet<UserId>>,
    added: Notify,
}

impl Untold {
    /// Something may wait for a user. It is of no interest where he has no session: he is told when he connects.
    pub(super) fn add(&self, user: UserId, registry: &Registry<Arc<Outlet>>) {
        if registry.has_user(user) {
            self.lock().insert(user);
            self.added.notify_one();
        }
    }

    fn take(&self) -> HashSet<UserId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// Tells every device of a user but `except`, live or at its next connect. That it could not be written down is no
    /// failure of what it is about.
    pub(crate) async fn notify(&self, user: UserId, notice: Notice, except: &[&DeviceId]) {
        let live = self.live_devices(user);
        let waits_for = Recipients::all_but(live.iter().chain(except.iter().copied()));
        self.keep(user, &notice, &waits_for).await;
        self.tell_live(user, notice, &live, except).await;
    }

    /// Tells every device of a user but `except`, where what it is about closes the sessions that `ends` names: their
    /// devices are told at their next connect.
    pub(super) async fn notify_around(
        &self,
        user: UserId,
        notice: Notice,
        except: &[&DeviceId],
        ends: impl Fn(&Outlet) -> bool,
    ) {
        let sessions = self.registry.of_user(user);
        let (ending, live): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|one| ends(&one.handle));
        let live = live.into_iter().filter(|one| is_live(&one.handle));
        let live: Vec<DeviceId> = live.map(|one| one.device).collect();
        let ending: Vec<&DeviceId> = ending.iter().map(|one| &one.device).collect();
        let waits_for = Recipients::all_but(live.iter().chain(except.iter().copied()));
        self.keep(user, &notice, &waits_for).await;
        let except: Vec<&DeviceId> = except.iter().copied().chain(ending).collect();
        self.tell_live(user, notice, &live, &except).await;
    }

    /// Tells the sessions of a user of a notice that was written for all of their devices together with what it is about.
    /// Should the server end before this is done, every device is told at its next connect.
    pub(super) async fn tell_written(&self, user: UserId, notice: &Notice) {
        // Whoever connects from here on asks what waits.
        self.known.forget(user);
        for attached in self.registry.of_user(user) {
            if attached.device.is_ephemeral() {
                self.push(&attached.handle, notice.clone().into());
            } else {
                self.tell_waiting(&attached.handle).await;
            }
        }
    }

    /// Tells the live devices of a user what waits for all others. `live` are those for which it does not.
    pub(super) async fn tell_live(
        &self,
        user: UserId,
        notice: Notice,
        live: &[DeviceId],
        except: &[&DeviceId],
    ) {
        let told = self.push_notice(user, &notice, live, except);
        let missed: Vec<&DeviceId> = live
            .iter()
            .filter(|device| {
                !device.is_ephemeral() && !except.contains(device) && !told.reached.contains(device)
            })
            .collect();
        if !missed.is_empty() {
            self.keep(user, &notice, &Recipients::only(missed)).await;
        }
        for newcomer in told.newcomers {
            self.tell_waiting(&newcomer).await;
        }
    }

    /// Hands the session of a client that has just connected, or come back, what waited for its device.
    pub(crate) async fn tell_waiting(&self, outlet: &Outlet) {
        if self.nothing_waits_for(outlet) {
            return;
        }
        // Boxed, as it is rare and large: every handshake would have its size.
        Box::pin(self.tell_what_waits(outlet)).await;
    }

    /// Whether it is known that nothing waits for the device of a registered session, or nobody is there to be told. One
    /// that closes may not write any more; its device is told at its next connect.
    pub(crate) fn nothing_waits_for(&self, outlet: &Outlet) -> bool {
        // What comes to wait from here on finds the session registered.
        outlet.device.is_ephemeral()
            || outlet.is_detached()
            || outlet.is_closing()
            || self.known.nothing_waits(outlet.user, &outlet.device, Now::read())
    }

    async fn tell_what_waits(&self, outlet: &Outlet) {
        let (user, device) = (outlet.user, &outlet.device);
        match self.take_waiting(user, device).await {
            Ok(notices) => {
                for notice in notices {
                    self.tell_or_keep(outlet, notice).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read what waits for a device; it waits for its next connect");
            }
        }
    }

    async fn take_waiting(&self, user: UserId, device: &DeviceId) -> Result<Vec<Notice>, StoreError> {
        let (read, now_ms) = (self.known.begin_read(), unix_ms_i64());
        // The end of a rotation's window is told of without anybody writing it down.
        let next_ms = self.store.next_rotation_end(user, now_ms).await?;
        let until_ms = next_ms.map_or(u64::MAX, i64::unsigned_abs);
        let notices = self.store.take_notices(user, device, now_ms).await?;
        self.known.remember_that_nothing_waits(user, device, until_ms, read);
        Ok(notices)
    }

    /// Has the devices of users told that they are invited to a room: what the store has let wait for them is handed to
    /// live ones soon. The caller does not learn from the time it takes who is here.
    pub(super) fn tell_invited(&self, room: &RoomId, owner: UserId, invited: &[UserId]) {
        let invite = RoomInvite::new(room.clone(), owner);
        let frame = Encoded::new(fresh(ServerMessage::RoomInvite(invite)));
        for user in invited {
            self.known.forget(*user);
            // Nothing waits for a device that is not registered.
            for one in self.registry.of_user(*user).iter().filter(|one| one.device.is_ephemeral()) {
                let _ = deliver(&one.handle, &frame, &self.metrics);
            }
            self.untold.add(*user, &self.registry);
        }
    }

    /// Returns when something may have come to wait for users who are here.
    pub(crate) async fn untold_added(&self) {
        self.untold.added.notified().await;
    }

    /// Hands the sessions that are here what came to wait for their devices, from whichever node.
    pub(crate) async fn tell_untold(&self) {
        for user in self.untold.take() {
            for attached in self.registry.of_user(user) {
                self.tell_waiting(&attached.handle).await;
            }
        }
    }

    /// The devices of a user that are connected. One whose client is away is not, unless nothing can wait for it.
    pub(super) fn live_devices(&self, user: UserId) -> Vec<DeviceId> {
        let sessions = self.registry.of_user(user).into_iter();
        sessions.filter(|one| is_live(&one.handle)).map(|one| one.device).collect()
    }

    async fn keep(&self, user: UserId, notice: &Notice, waits_for: &Recipients) {
        if let Err(error) = self.store.add_notice(user, notice, waits_for, unix_ms_i64()).await {
            tracing::warn!(%error, "cannot write down a notice; devices that are away will not hear of it");
        }
        self.known.forget(user);
    }

    async fn tell_or_keep(&self, outlet: &Outlet, notice: Notice) {
        let encoded = Encoded::new(fresh(notice.clone().into()));
        if deliver(outlet, &encoded, &self.metrics) != Some(AckStatus::Delivered) {
            self.keep(outlet.user, &notice, &Recipients::only([&outlet.device])).await;
        }
    }

    /// Hands a live session one of them.
    pub(super) fn push(&self, target: &Outlet, message: ServerMessage<'static>) {
        // A session that is over by now has lost it, as one whose connection breaks with it under way.
        let _ = deliver(target, &Encoded::new(fresh(message)), &self.metrics);
    }

    fn push_notice(&self, user: UserId, notice: &Notice, live: &[DeviceId], except: &[&DeviceId]) -> Told {
        // Whoever connects from here on asks what waits for him.
        self.known.forget(user);
        let frame = Encoded::new(fresh(notice.clone().into()));
        let mut told = Told::default();
        for attached in self.registry.of_user(user) {
            let device = attached.device;
            if except.contains(&&device) {
                continue;
            }
            if live.contains(&device) || device.is_ephemeral() {
                // What is only buffered is lost with a session that does not resume: better twice than never.
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

fn is_live(outlet: &Outlet) -> bool {
    outlet.device.is_ephemeral() || !outlet.is_detached()
}

/// Something happened to a device of the account.
pub(super) fn device_alert(kind: AlertKind, device: &DeviceId) -> Notice {
    Notice::Alert(Alert::new(kind).with_device_id(device.clone()))
}

/// Whom a notice reached.
#[derive(Default)]
struct Told {
    reached: Vec<DeviceId>,
    /// Sessions that began, or whose clients came back, since it was written down: theirs waits.
    newcomers: Vec<Arc<Outlet>>,
}

/// A message that the server starts.
pub(super) fn fresh(message: ServerMessage<'static>) -> ServerFrame<'static> {
    ServerFrame {
        id: Some(RequestId::from_uuid(Uuid::now_v7())),
        timestamp: Now::read().timestamp(),
        message,
    }
}
