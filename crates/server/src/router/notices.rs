//! Notices: what all devices of a user are told, live ones at once and the others at their next connect.

use std::sync::Arc;

use aldis_protocol::{AckStatus, Alert, AlertKind, DeviceId, RequestId, ServerFrame, ServerMessage, UserId};
use uuid::Uuid;

use super::{
    Router,
    deliver::{Encoded, deliver},
    outlet::Outlet,
};
use crate::{
    clock::{Now, unix_ms_i64},
    store::{Notice, Recipients},
};

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
        let live: Vec<DeviceId> = live.into_iter().map(|one| one.device).collect();
        let ending: Vec<&DeviceId> = ending.iter().map(|one| &one.device).collect();
        let waits_for = Recipients::all_but(live.iter().chain(except.iter().copied()));
        self.keep(user, &notice, &waits_for).await;
        let except: Vec<&DeviceId> = except.iter().copied().chain(ending).collect();
        self.tell_live(user, notice, &live, &except).await;
    }

    /// Tells every device of a user at its next connect: what this is about closes all of his sessions.
    pub(super) async fn notify_later(&self, user: UserId, notice: &Notice) {
        self.keep(user, notice, &Recipients::all_but([])).await;
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
            self.push_waiting(&newcomer).await;
        }
    }

    /// Hands a live session what waits for its device.
    pub(super) async fn push_waiting(&self, outlet: &Outlet) {
        for message in self.waiting_notices(outlet).await {
            self.push(outlet, message);
        }
    }

    /// What waited for the device of a session that has just connected. It waits no longer.
    pub(crate) async fn waiting_notices(&self, outlet: &Outlet) -> Vec<ServerMessage<'static>> {
        if outlet.device.is_ephemeral() {
            return Vec::new();
        }
        let taken = self.store.take_notices(outlet.user, &outlet.device, unix_ms_i64()).await;
        taken.map(|notices| notices.into_iter().map(Into::into).collect()).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read what waits for a device; it waits for its next connect");
            Vec::new()
        })
    }

    /// The devices of a user that are connected.
    pub(super) fn live_devices(&self, user: UserId) -> Vec<DeviceId> {
        self.registry.of_user(user).into_iter().map(|attached| attached.device).collect()
    }

    async fn keep(&self, user: UserId, notice: &Notice, waits_for: &Recipients) {
        if let Err(error) = self.store.add_notice(user, notice, waits_for, unix_ms_i64()).await {
            tracing::warn!(%error, "cannot write down a notice; devices that are away will not hear of it");
        }
    }

    /// Hands a live session one of them.
    pub(super) fn push(&self, target: &Outlet, message: ServerMessage<'static>) {
        // A session that is over by now has lost it, as one whose connection breaks with it under way.
        let _ = deliver(target, &Encoded::new(fresh(message)), &self.metrics);
    }

    fn push_notice(&self, user: UserId, notice: &Notice, live: &[DeviceId], except: &[&DeviceId]) -> Told {
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

/// Something happened to a device of the account.
pub(super) fn device_alert(kind: AlertKind, device: &DeviceId) -> Notice {
    Notice::Alert(Alert {
        kind,
        device_id: Some(device.clone()),
        fingerprint: None,
        sequence: None,
        hash: None,
    })
}

/// Whom a notice reached.
#[derive(Default)]
struct Told {
    reached: Vec<DeviceId>,
    /// Sessions that began since it was written down: theirs waits.
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
