//! When users were last seen by others.

use std::collections::{BTreeMap, HashMap};

use aldis_protocol::UserId;
use sqlx::{Postgres, QueryBuilder, Sqlite, Transaction};
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Tx, on},
};

/// What is stored about when a user was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// At this time.
    At(i64),
    /// The account was deleted, and this time with it.
    Deleted,
}

/// How many users share a transaction, so that on SQLite nobody waits long for the writing connection.
const USERS_PER_WRITE: usize = 256;

impl Store {
    /// Stores when users were last seen. A time before the stored one changes nothing, and a deleted account stays
    /// deleted.
    ///
    /// # Errors
    /// [`StoreError`]; some of them may be stored.
    pub(crate) async fn set_sightings(&self, seen: &BTreeMap<UserId, i64>) -> Result<(), StoreError> {
        let seen: Vec<_> = seen.iter().map(|(user, at_ms)| (user.as_uuid(), *at_ms)).collect();
        for some in seen.chunks(USERS_PER_WRITE) {
            let mut tx = self.db.begin().await?;
            match &mut tx {
                Tx::Sqlite(tx) => set_sqlite(tx, some).await?,
                Tx::Postgres(tx) => set_postgres(tx, some).await?,
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// When these users were last seen. Users without a stored time are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn sightings_of(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Sighting>, StoreError> {
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, Option<i64>)> = on!(&self.db, r, pool => {
            let mut statement = QueryBuilder::new("SELECT user_id, at_ms FROM sightings WHERE user_id IN (");
            let mut list = statement.separated(", ");
            for user in users {
                list.push_bind(user.as_uuid());
            }
            statement.push(")");
            statement.build_query_as().persistent(false).fetch_all(pool).await?
        });
        let known = rows
            .into_iter()
            .map(|(user, at_ms)| (UserId::new(user), at_ms.map_or(Sighting::Deleted, Sighting::At)));
        Ok(known.collect())
    }
}

async fn set_sqlite(tx: &mut Transaction<'static, Sqlite>, seen: &[(Uuid, i64)]) -> Result<(), StoreError> {
    let upsert = "INSERT INTO sightings (user_id, at_ms) VALUES ($1, $2) \
         ON CONFLICT (user_id) DO UPDATE SET at_ms = excluded.at_ms WHERE sightings.at_ms < excluded.at_ms";
    for (user, at_ms) in seen {
        sqlx::query(upsert).bind(user).bind(at_ms).execute(&mut **tx).await?;
    }
    Ok(())
}

/// In the order of the ids, so that two nodes with the same users cannot deadlock.
async fn set_postgres(
    tx: &mut Transaction<'static, Postgres>,
    seen: &[(Uuid, i64)],
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO sightings (user_id, at_ms) \
         SELECT user_id, at_ms FROM unnest($1::uuid[], $2::bigint[]) AS seen (user_id, at_ms) ORDER BY user_id \
         ON CONFLICT (user_id) DO UPDATE SET at_ms = excluded.at_ms WHERE sightings.at_ms < excluded.at_ms";
    let (users, times): (Vec<Uuid>, Vec<i64>) = seen.iter().copied().unzip();
    sqlx::query(upsert).bind(users).bind(times).execute(&mut **tx).await?;
    Ok(())
}
