//! Notices that devices have confirmed, until they are deleted.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{DeviceId, UserId};
use tokio::sync::Notify;
use uuid::Uuid;

use super::Notices;
use crate::link::SessionHandle;

/// What is to be deleted. A session confirms each notice once, and a device has at most 200, so this is bounded by the
/// sessions of the node.
#[derive(Debug, Default)]
pub(super) struct ConfirmedNotices {
    /// The first is being deleted.
    batches: Mutex<VecDeque<Confirmed>>,
    added: Notify,
}

#[derive(Debug, Clone)]
struct Confirmed {
    user: UserId,
    device: DeviceId,
    ids: Vec<Uuid>,
}

impl ConfirmedNotices {
    /// The notices of a device that are confirmed and may not be deleted yet. Ask before you read what waits.
    pub(super) fn of_device(&self, device: &DeviceId) -> Vec<Uuid> {
        self.lock().iter().filter(|one| one.device == *device).flat_map(|one| one.ids.clone()).collect()
    }

    fn first(&self) -> Option<Confirmed> {
        self.lock().front().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Confirmed>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notices {
    /// The client of a session has confirmed these notices.
    pub(crate) fn confirmed(&self, session: &SessionHandle, ids: Vec<Uuid>) {
        let confirmed = Confirmed { user: session.user, device: session.device.clone(), ids };
        self.confirmed.lock().push_back(confirmed);
        self.confirmed.added.notify_one();
    }

    /// Returns when there are confirmed notices to delete.
    pub(crate) async fn confirmed_added(&self) {
        self.confirmed.added.notified().await;
    }

    /// Deletes the confirmed notices. Those that cannot be deleted are sent again at the next connect.
    pub(crate) async fn delete_confirmed(&self) {
        while let Some(Confirmed { user, device, ids }) = self.confirmed.first() {
            if let Err(error) = self.store.delete_notices(user, &device, &ids).await {
                tracing::warn!(%error, "cannot delete confirmed notices; the device gets them again");
            }
            self.confirmed.lock().pop_front();
        }
    }
}
