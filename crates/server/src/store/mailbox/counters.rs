//! The counters of mailboxes, locked while a batch is written.
//!
//! As with the counters of rooms, the row locks last until the commit: numbers become visible in order and without gaps.

use std::collections::{BTreeSet, HashMap};

use aldis_protocol::UserId;
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use crate::store::{
    StoreError,
    batch::{hex_list, in_pieces, with_values},
    db::Tx,
};

/// The mailboxes that a transaction has locked. An id without a mailbox belongs to no user.
#[derive(Clone, Default)]
pub(in crate::store) struct Mailboxes(HashMap<UserId, Mailbox>);

/// The counters of a mailbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mailbox {
    /// The last number that was assigned.
    last_seq: i64,
    /// Messages that were received and not delivered.
    pub(super) undelivered: i64,
    is_changed: bool,
}

impl Mailbox {
    /// The next number.
    pub(super) fn number(&mut self) -> i64 {
        self.is_changed = true;
        self.last_seq += 1;
        self.last_seq
    }

    /// Changes the number of undelivered messages.
    pub(super) fn change_undelivered(&mut self, by: i64) {
        self.is_changed |= by != 0;
        self.undelivered += by;
    }
}

impl Mailboxes {
    /// Locks the mailboxes of these users in the order of their ids.
    pub(in crate::store) async fn lock(
        tx: &mut Tx,
        users: impl Iterator<Item = UserId>,
    ) -> Result<Self, StoreError> {
        let users: BTreeSet<Uuid> = users.map(|user| user.as_uuid()).collect();
        if users.is_empty() {
            return Ok(Self::default());
        }
        let rows = match tx {
            Tx::Sqlite(tx) => select_sqlite(tx, users).await?,
            Tx::Postgres(tx) => select_postgres(tx, users).await?,
        };
        let mailboxes = rows.into_iter().map(|(user, last_seq, undelivered)| {
            (UserId::new(user), Mailbox { last_seq, undelivered, is_changed: false })
        });
        Ok(Self(mailboxes.collect()))
    }

    pub(super) fn of(&mut self, user: UserId) -> Option<&mut Mailbox> {
        self.0.get_mut(&user)
    }

    pub(super) fn has(&self, user: UserId) -> bool {
        self.0.contains_key(&user)
    }

    /// Writes the counters back.
    pub(in crate::store) async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let changed: Vec<(Uuid, Mailbox)> = self
            .0
            .into_iter()
            .filter(|(_, mailbox)| mailbox.is_changed)
            .map(|(user, mailbox)| (user.as_uuid(), mailbox))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        match tx {
            Tx::Sqlite(tx) => update_sqlite(tx, &changed).await,
            Tx::Postgres(tx) => update_postgres(tx, &changed).await,
        }
    }
}

type CounterRow = (Uuid, i64, i64);

/// The transaction has locked the whole database.
async fn select_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    users: BTreeSet<Uuid>,
) -> Result<Vec<CounterRow>, StoreError> {
    let select = "SELECT user_id, last_seq, undelivered FROM json_each($1) AS batch \
         JOIN mailboxes ON user_id = unhex(batch.value)";
    Ok(sqlx::query_as(select).bind(hex_list(users)).fetch_all(&mut **tx).await?)
}

async fn select_postgres(
    tx: &mut Transaction<'static, Postgres>,
    users: BTreeSet<Uuid>,
) -> Result<Vec<CounterRow>, StoreError> {
    let select = "SELECT user_id, last_seq, undelivered FROM mailboxes WHERE user_id = ANY ($1) \
         ORDER BY user_id FOR NO KEY UPDATE";
    let users: Vec<Uuid> = users.into_iter().collect();
    Ok(sqlx::query_as(select).bind(users).fetch_all(&mut **tx).await?)
}

async fn update_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    changed: &[(Uuid, Mailbox)],
) -> Result<(), StoreError> {
    const COLUMNS: usize = 3;
    // All rows exist, so this updates them; it is faster than an update that reads a list.
    let insert = "INSERT INTO mailboxes (user_id, last_seq, undelivered)";
    let on_conflict = "ON CONFLICT (user_id) DO UPDATE SET last_seq = excluded.last_seq, \
         undelivered = excluded.undelivered";
    for piece in in_pieces(changed) {
        let mut query = sqlx::query(with_values(insert, COLUMNS, piece.len(), on_conflict));
        for (user, mailbox) in piece {
            query = query.bind(user).bind(mailbox.last_seq).bind(mailbox.undelivered);
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn update_postgres(
    tx: &mut Transaction<'static, Postgres>,
    changed: &[(Uuid, Mailbox)],
) -> Result<(), StoreError> {
    let update = "UPDATE mailboxes SET last_seq = batch.last_seq, undelivered = batch.undelivered \
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS batch (user_id, last_seq, undelivered) \
         WHERE mailboxes.user_id = batch.user_id";
    let users: Vec<Uuid> = changed.iter().map(|(user, _)| *user).collect();
    let numbers: Vec<i64> = changed.iter().map(|(_, mailbox)| mailbox.last_seq).collect();
    let undelivered: Vec<i64> = changed.iter().map(|(_, mailbox)| mailbox.undelivered).collect();
    sqlx::query(update).bind(users).bind(numbers).bind(undelivered).execute(&mut **tx).await?;
    Ok(())
}
