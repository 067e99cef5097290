//! The ends of rotation windows: finds rotations that nobody can cancel any more, and alerts every device once.
//!
//! The chain contains the times: nothing is stored for the alert when a rotation is accepted, so a cancellation has
//! nothing to undo. After the end, a device that connects or a node with live sessions finds the rotation first, and
//! stores the alert for every device that the user had at the end.

use aldis_auth::{CANCELLATION_WINDOW_MS, Chain};
use aldis_protocol::{AlertKind, DeviceId, UserId, api::ChainHead};
use uuid::Uuid;

use super::{
    Store, StoreError, chain,
    db::{Tx, on, within},
    notices::{self, Notice, Recipients},
};

/// A rotation whose window ended without a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedRotation {
    /// The owner of the identity.
    pub(crate) user_id: UserId,
    /// Its sequence in the chain.
    pub(crate) sequence: u64,
    /// When its window ended.
    pub(crate) ended_at_ms: i64,
}

/// The condition that a statement `r` was accepted no later than the time `$n`.
macro_rules! has_ended {
    ($accepted_until:literal) => {
        concat!(
            "r.kind = 'rotation' AND r.accepted_at_ms <= ",
            $accepted_until,
            " AND NOT EXISTS (SELECT 1 FROM chain_statements c WHERE c.user_id = r.user_id \
                 AND c.sequence = r.sequence + 1 AND c.kind = 'cancellation')"
        )
    };
}

impl Store {
    /// Up to `limit` rotations whose windows ended after `after_ms` and not after `until_ms`, in the order of their
    /// ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rotations_ended(
        &self,
        after_ms: i64,
        until_ms: i64,
        limit: i64,
    ) -> Result<Vec<EndedRotation>, StoreError> {
        let select = concat!(
            "SELECT r.user_id, r.sequence, r.accepted_at_ms FROM chain_statements r WHERE r.accepted_at_ms > $1 AND ",
            has_ended!("$2"),
            " ORDER BY r.accepted_at_ms, r.user_id LIMIT $3"
        );
        let rows: Vec<(Uuid, i64, i64)> = on!(&self.db, r, pool => {
            let query = sqlx::query_as(select).bind(accepted(after_ms)).bind(accepted(until_ms)).bind(limit);
            query.fetch_all(pool).await?
        });
        let ended = rows.into_iter().map(|(user_id, sequence, accepted_at_ms)| EndedRotation {
            user_id: UserId::new(user_id),
            sequence: sequence.unsigned_abs(),
            ended_at_ms: accepted_at_ms.saturating_add(WINDOW_MS),
        });
        Ok(ended.collect())
    }

    /// When a user's next window ends, if no rotation is cancelled before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn next_rotation_end(
        &self,
        user: UserId,
        now_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        let select = "SELECT MIN(accepted_at_ms) FROM chain_statements \
             WHERE user_id = $1 AND kind = 'rotation' AND accepted_at_ms > $2";
        let accepted_at_ms: Option<i64> = on!(&self.db, r, pool => {
            let query = sqlx::query_scalar(select).bind(user.as_uuid()).bind(accepted(now_ms));
            query.fetch_one(pool).await?
        });
        Ok(accepted_at_ms.map(|accepted_at_ms| accepted_at_ms.saturating_add(WINDOW_MS)))
    }

    /// The alert about a rotation's end, if the rotation is in the user's chain.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rotation_end(&self, rotation: &EndedRotation) -> Result<Option<Notice>, StoreError> {
        let chain = self.chain_of(rotation.user_id).await?;
        Ok(chain.and_then(|chain| end_of(&chain, rotation.sequence)).map(|(_, notice)| notice))
    }

    /// Whether a notice waits for a device of a user, including alerts about ended rotations that are not stored yet.
    pub(super) async fn has_notices(
        &self,
        user: UserId,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let select = concat!(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM notices WHERE device_id = $1) \
                 OR EXISTS (SELECT 1 FROM chain_statements r WHERE r.user_id = $2 AND ",
            has_ended!("$3"),
            " AND NOT EXISTS (SELECT 1 FROM told_rotation_ends t \
                 WHERE t.user_id = r.user_id AND t.sequence = r.sequence))"
        );
        Ok(on!(&self.db, r, pool => {
            let query = sqlx::query(select).bind(device.as_str()).bind(user.as_uuid()).bind(accepted(now_ms));
            query.fetch_optional(pool).await?.is_some()
        }))
    }
}

/// Stores the missing alerts about a user's ended rotations for each device. The transaction must have locked the
/// user.
pub(super) async fn tell(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let untold = mark_told(tx, user, now_ms).await?;
    if untold.is_empty() {
        return Ok(());
    }
    let Some(chain) = chain::load(tx, user).await? else { return Ok(()) };
    for (ended_at_ms, notice) in
        untold.into_iter().filter_map(|sequence| end_of(&chain, sequence.unsigned_abs()))
    {
        notices::add(tx, user, &notice, &Recipients::all(), ended_at_ms).await?;
    }
    Ok(())
}

const WINDOW_MS: i64 = CANCELLATION_WINDOW_MS as i64;

/// The time at which a rotation was accepted, given the end of its window.
const fn accepted(end_ms: i64) -> i64 {
    end_ms.saturating_sub(WINDOW_MS)
}

/// Marks ended rotations as told, and returns the sequences of those that were not marked before.
async fn mark_told(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<Vec<i64>, StoreError> {
    let insert = concat!(
        "INSERT INTO told_rotation_ends (user_id, sequence) \
             SELECT r.user_id, r.sequence FROM chain_statements r WHERE r.user_id = $1 AND ",
        has_ended!("$2"),
        " ON CONFLICT (user_id, sequence) DO NOTHING RETURNING sequence"
    );
    Ok(within!(tx, connection => {
        let query = sqlx::query_scalar(insert).bind(user.as_uuid()).bind(accepted(now_ms));
        query.fetch_all(connection).await?
    }))
}

/// The end of the window of the rotation with this sequence, and the alert about it.
fn end_of(chain: &Chain, sequence: u64) -> Option<(i64, Notice)> {
    let link = chain.links().get(usize::try_from(sequence).ok()?)?;
    let ended_at_ms = i64::try_from(link.cancellation_deadline_ms()?).ok()?;
    let rotation = ChainHead { sequence, hash: link.hash() };
    Some((ended_at_ms, Notice::of_identity(AlertKind::RotationFinal, chain.fingerprint(), Some(rotation))))
}
