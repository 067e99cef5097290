//! Changes of accounts that end no session: every node drops what it has cached about the account.
//!
//! Only the last change of each account is kept, so there are at most as many rows as accounts. A change is numbered
//! like a [revocation](super::revocations), from the same counter: a node that asks for the changes after the last
//! number that it has seen misses none.

use aldis_protocol::UserId;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Tx, on, within},
    revocations,
};

/// How many accounts one statement marks as changed.
const USERS_PER_STATEMENT: usize = 1_000;

/// An account that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChangedAccount {
    /// The number of the change; changes and revocations share one sequence.
    pub(crate) number: i64,
    /// The user.
    pub(crate) user: UserId,
}

impl Store {
    /// Up to `limit` accounts that changed after a number, in the order of their last changes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn changes_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<ChangedAccount>, StoreError> {
        let select = "SELECT number, user_id FROM account_changes WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<(i64, Uuid)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        Ok(rows
            .into_iter()
            .map(|(number, user)| ChangedAccount { number, user: UserId::new(user) })
            .collect())
    }

    /// The number of the last change; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_change(&self) -> Result<i64, StoreError> {
        let select = "SELECT COALESCE(MAX(number), 0) FROM account_changes";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).fetch_one(pool).await?))
    }
}

/// Marks an account as changed. The statements are the same whether the account exists or not. Call it last in a
/// transaction, or right before revocations are [appended](revocations::append), because it locks their counter.
pub(super) async fn note(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let number = revocations::draw_numbers(tx, 1).await?;
    let upsert = "INSERT INTO account_changes (user_id, number) SELECT user_id, $2 FROM users WHERE user_id = $1 \
         ON CONFLICT (user_id) DO UPDATE SET number = excluded.number";
    within!(tx, connection => {
        sqlx::query(upsert).bind(user.as_uuid()).bind(number).execute(connection).await?;
    });
    Ok(())
}

/// Marks several accounts as changed, as [`note`] does for one.
pub(super) async fn note_all(tx: &mut Tx, users: &[UserId]) -> Result<(), StoreError> {
    for some in users.chunks(USERS_PER_STATEMENT) {
        let count = i64::try_from(some.len()).unwrap_or(i64::MAX);
        let last = revocations::draw_numbers(tx, count).await?;
        within!(tx, connection => {
            let mut upsert = QueryBuilder::new("INSERT INTO account_changes (user_id, number) SELECT user_id, ");
            upsert.push_bind(last - count).push(" + ROW_NUMBER() OVER (ORDER BY user_id) FROM users WHERE user_id IN (");
            some.iter().fold(upsert.separated(", "), |mut list, user| {
                list.push_bind(user.as_uuid());
                list
            });
            upsert.push(") ON CONFLICT (user_id) DO UPDATE SET number = excluded.number");
            upsert.build().persistent(some.len() == 1).execute(connection).await?;
        });
    }
    Ok(())
}
