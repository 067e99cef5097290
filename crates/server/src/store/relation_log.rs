//! A numbered list of pairs of users whose relation has changed. If both are the same user, their place in rooms has
//! changed. Every node reads the list, so that its caches and its presence subscriptions follow changes of other
//! nodes.
//!
//! The numbers come from one row that stays locked until the commit, like those of revocations and for the same
//! reason: a reader that asks for the rows after the last number that it has seen misses none.

use aldis_protocol::UserId;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    sweep_rows,
};

/// Nodes read the list every second; a day covers a node whose database was unavailable.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// How many rows one statement writes; a batch of the writer has no more.
const ROWS_PER_INSERT: usize = 512;

/// Two users whose relation has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelationChange {
    /// The number of the entry.
    pub(crate) number: i64,
    /// One user.
    pub(crate) user: UserId,
    /// The other user.
    pub(crate) peer: UserId,
}

impl Store {
    /// Up to `limit` entries after a number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn relation_changes_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<RelationChange>, StoreError> {
        let select =
            "SELECT number, user_id, peer_id FROM standings WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<(i64, Uuid, Uuid)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        let numbered = rows.into_iter().map(|(number, user, peer)| RelationChange {
            number,
            user: UserId::new(user),
            peer: UserId::new(peer),
        });
        Ok(numbered.collect())
    }

    /// The number of the last entry; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_relation_change(&self) -> Result<i64, StoreError> {
        let select = "SELECT last FROM standing_counter";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).fetch_one(pool).await?))
    }
}

/// Appends pairs of users in this order. Call it late in a transaction: from here on all others that append wait for
/// it. A lock that is taken after it must not be held by a transaction that still calls it.
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

/// Deletes entries that every node has read.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM standings WHERE number IN \
         (SELECT number FROM standings WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}
