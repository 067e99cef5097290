//! The ends of rotations' windows, told to the devices that are live when they come. All others hear of them at their next
//! connect, so nothing depends on this.

use std::{mem, sync::Arc};

use super::Accounts;
use crate::{
    clock::Now,
    link::Outlet,
    store::{EndedRotation, StoreError},
};

/// How many are read at a time. Of more that end in the same millisecond, the rest is told at the next connect.
const BATCH: i64 = 500;

/// Up to when a node has looked for them, and who has yet to be told.
pub(crate) struct RotationEnds {
    until_ms: i64,
    /// Sessions of registered devices that are to be told; those without a socket stay until they have one or are over, for
    /// no longer than a resume window.
    due: Vec<Arc<Outlet>>,
}

impl RotationEnds {
    /// To be looked for from this time on.
    pub(crate) fn after(now: Now) -> Self {
        Self { until_ms: now.store_ms(), due: Vec::new() }
    }
}

impl Accounts {
    /// Tells the live devices of this node which rotations' windows have ended since the last time.
    pub(crate) async fn tell_rotation_ends(
        &self,
        ends: &mut RotationEnds,
        now: Now,
    ) -> Result<(), StoreError> {
        let now_ms = now.store_ms();
        while ends.until_ms < now_ms {
            let ended = self.store.rotations_ended(ends.until_ms, now_ms, BATCH).await?;
            for rotation in &ended {
                self.collect_due(rotation, &mut ends.due, now).await;
            }
            let is_all = i64::try_from(ended.len()).unwrap_or(BATCH) < BATCH;
            ends.until_ms = ended.last().filter(|_| !is_all).map_or(now_ms, |rotation| rotation.ended_at_ms);
        }
        for outlet in mem::take(&mut ends.due) {
            if !self.has_session(&outlet) {
                // It is over: what waits is there for the next one.
            } else if outlet.is_detached() {
                ends.due.push(outlet);
            } else {
                self.notices.tell_waiting(&outlet, now).await;
            }
        }
        Ok(())
    }

    fn has_session(&self, outlet: &Outlet) -> bool {
        self.registry.of_user(outlet.user).iter().any(|attached| attached.session == outlet.session)
    }

    /// Nothing waits for an ephemeral device, so it is told at once.
    async fn collect_due(&self, rotation: &EndedRotation, due: &mut Vec<Arc<Outlet>>, now: Now) {
        let sessions = self.registry.of_user(rotation.user_id).into_iter().map(|attached| attached.handle);
        let (ephemeral, registered): (Vec<_>, Vec<_>) =
            sessions.partition(|outlet| outlet.device.is_ephemeral());
        due.extend(registered);
        if ephemeral.is_empty() {
            return;
        }
        match self.store.rotation_end(rotation).await {
            Ok(Some(notice)) => {
                ephemeral.iter().for_each(|outlet| self.notices.push(outlet, notice.clone().into(), now))
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot read a rotation; sessions without a device miss its end");
            }
        }
    }
}
