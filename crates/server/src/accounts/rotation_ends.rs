//! The ends of rotations' cancellation windows. Live devices are told here, at once; all others are told at their next
//! connect, so nothing depends on this.

use std::{mem, sync::Arc};

use super::Accounts;
use crate::{
    clock::Now,
    link::SessionHandle,
    store::{EndedRotation, StoreError},
};

/// How many are read at a time. If more end in the same millisecond, the rest is told at the next connect.
const BATCH: i64 = 500;

/// How far a node has looked for ended windows, and whom it still has to tell.
pub(crate) struct RotationEnds {
    until_ms: i64,
    /// Sessions of registered devices that are to be told. A session without a socket stays until it has one or ends, so for
    /// a resume window at most.
    due: Vec<Arc<SessionHandle>>,
}

impl RotationEnds {
    /// Looks for windows that end after this time.
    pub(crate) fn after(now: Now) -> Self {
        Self { until_ms: now.store_ms(), due: Vec::new() }
    }
}

impl Accounts {
    /// Tells the live devices of this node which windows have ended since the last call.
    pub(crate) async fn tell_rotation_ends(
        &self,
        ends: &mut RotationEnds,
        now: Now,
    ) -> Result<(), StoreError> {
        let now_ms = now.store_ms();
        while ends.until_ms < now_ms {
            let ended = self.store.rotations_ended(ends.until_ms, now_ms, BATCH).await?;
            for rotation in &ended {
                tracing::info!(user = %rotation.user_id, sequence = rotation.sequence, "rotation final");
                self.collect_due(rotation, &mut ends.due, now).await;
            }
            let is_all = i64::try_from(ended.len()).unwrap_or(BATCH) < BATCH;
            ends.until_ms = ended.last().filter(|_| !is_all).map_or(now_ms, |rotation| rotation.ended_at_ms);
        }
        for session in mem::take(&mut ends.due) {
            if !self.has_session(&session) {
                // The session is over: the next one is told what waits.
            } else if session.is_detached() {
                ends.due.push(session);
            } else {
                self.notices.tell_waiting(&session, now).await;
            }
        }
        Ok(())
    }

    fn has_session(&self, session: &SessionHandle) -> bool {
        self.registry.of_user(session.user).iter().any(|attached| attached.session == session.session)
    }

    /// Collects the sessions to tell. Nothing is stored for an ephemeral device, so it is told at once.
    async fn collect_due(&self, rotation: &EndedRotation, due: &mut Vec<Arc<SessionHandle>>, now: Now) {
        let sessions = self.registry.of_user(rotation.user_id).into_iter().map(|attached| attached.handle);
        let (ephemeral, registered): (Vec<_>, Vec<_>) =
            sessions.partition(|session| session.device.is_ephemeral());
        due.extend(registered);
        if ephemeral.is_empty() {
            return;
        }
        match self.store.rotation_end(rotation).await {
            Ok(Some(notice)) => {
                for session in &ephemeral {
                    self.notices.push(session, notice.clone().into(), now);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot read a rotation; sessions without a device miss its end");
            }
        }
    }
}
