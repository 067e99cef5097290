//! Between whom something has changed that decides who may reach whom, or, where both are the same user, about whose
//! place in rooms: a numbered list that every node reads, so that
//! what it remembers of two users, and lets its sessions see of them, follows what another node wrote.
//!
//! The numbers come from one row that stays locked until the commit, as those of revocations do, and for the same
//! reason: who asks for what follows the last number he has seen misses nothing.

use aldis_protocol::UserId;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    sweep_rows,
};

/// Nodes read the list every second; a day is for one whose database was away.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// How many rows one statement writes: a batch of the writer has no more.
const ROWS_PER_INSERT: usize = 512;

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

/// Adds pairs of users to the list, in this order. To be called late in a transaction, which everybody else who adds to
/// it waits for from here on: what it locks afterwards, nobody may hold who comes here.
pub(super) async fn append(tx: &mut Tx, pairs: &[(UserId, UserId)], now_ms: i64) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let draw = "UPDATE standing_counter SET last = last + $1 RETURNING last";
    let count = i64::try_from(pairs.len()).unwrap_or(i64::MAX);
    let last: i64 =
        within!(tx, connection => sqlx::query_scalar(draw).bind(count).fetch_one(connection).await?);
    let numbered: Vec<_> = (last - count + 1..).zip(pairs).collect();
    for rows in numbered.chunks(ROWS_PER_INSERT) {
        within!(tx, connection => {
            let mut statement = QueryBuilder::new("INSERT INTO standings (number, user_id, peer_id, at_ms) ");
            statement.push_values(rows, |mut row, (number, (user, peer))| {
                row.push_bind(*number).push_bind(user.as_uuid()).push_bind(peer.as_uuid()).push_bind(now_ms);
            });
            statement.build().execute(connection).await?;
        });
    }
    Ok(())
}

/// Deletes what every node has read.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM standings WHERE number IN \
         (SELECT number FROM standings WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}
