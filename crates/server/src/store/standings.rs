//! Between whom something has changed that decides who may reach whom: a numbered list that every node reads, so that
//! what it remembers of two users, and lets its sessions see of them, follows what another node wrote.
//!
//! The numbers come from one row that stays locked until the commit, as those of revocations do, and for the same
//! reason: who asks for what follows the last number he has seen misses nothing.

use aldis_protocol::UserId;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    sweep_rows,
};

/// Nodes read the list every second; a day is for one whose database was away.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// Two users between whom something has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberedStanding {
    /// Its place in the list.
    pub(crate) number: i64,
    /// The one.
    pub(crate) user: UserId,
    /// The other.
    pub(crate) peer: UserId,
}

impl Store {
    /// What follows a number in the list, `limit` entries at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn standings_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<NumberedStanding>, StoreError> {
        let select =
            "SELECT number, user_id, peer_id FROM standings WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<(i64, Uuid, Uuid)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        let numbered = rows.into_iter().map(|(number, user, peer)| NumberedStanding {
            number,
            user: UserId::new(user),
            peer: UserId::new(peer),
        });
        Ok(numbered.collect())
    }

    /// The number of the last entry; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_standing(&self) -> Result<i64, StoreError> {
        let select = "SELECT last FROM standing_counter";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).fetch_one(pool).await?))
    }
}

/// Adds two users to the list. To be called last in a transaction, which everybody else who adds to it waits for from
/// here on.
pub(super) async fn append(tx: &mut Tx, user: UserId, peer: UserId, now_ms: i64) -> Result<(), StoreError> {
    let draw = "UPDATE standing_counter SET last = last + 1 RETURNING last";
    let number: i64 = within!(tx, connection => sqlx::query_scalar(draw).fetch_one(connection).await?);
    let insert = "INSERT INTO standings (number, user_id, peer_id, at_ms) VALUES ($1, $2, $3, $4)";
    within!(tx, connection => {
        let query = sqlx::query(insert).bind(number).bind(user.as_uuid()).bind(peer.as_uuid()).bind(now_ms);
        query.execute(connection).await?;
    });
    Ok(())
}

/// Deletes what every node has read.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM standings WHERE number IN \
         (SELECT number FROM standings WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}
