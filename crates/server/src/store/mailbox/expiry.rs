//! Deletes expired messages.

use std::collections::HashMap;

use aldis_protocol::UserId;
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use super::{KEPT_MS, Mailboxes};
use crate::store::{
    SWEEP_ROWS, StoreError,
    batch::hex_list,
    db::{Db, Tx, on},
};

/// Deletes messages that are older than the limit.
pub(in crate::store) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let oldest_kept = u64::try_from(now_ms - KEPT_MS).unwrap_or_default();
    // Ids begin with the time.
    let bound = uuid::Builder::from_unix_timestamp_millis(oldest_kept, &[0; 10]).into_uuid();
    let mut total = 0;
    loop {
        let expired = find(db, bound).await?;
        if !expired.is_empty() {
            total += delete(db, &expired).await?;
        }
        if expired.len() < usize::try_from(SWEEP_ROWS).unwrap_or(usize::MAX) {
            return Ok(total);
        }
    }
}

async fn find(db: &Db, bound: Uuid) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    let select =
        "SELECT message_id, recipient_id FROM messages WHERE message_id < $1 ORDER BY message_id LIMIT $2";
    Ok(on!(db, r, pool => sqlx::query_as(select).bind(bound).bind(SWEEP_ROWS).fetch_all(pool).await?))
}

/// Locks the mailboxes first, as every change of messages does.
async fn delete(db: &Db, expired: &[(Uuid, Uuid)]) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let recipients = expired.iter().map(|(_, recipient)| UserId::new(*recipient));
    let mut mailboxes = Mailboxes::lock(&mut tx, recipients).await?;
    let ids: Vec<Uuid> = expired.iter().map(|(id, _)| *id).collect();
    let gone = match &mut tx {
        Tx::Sqlite(tx) => delete_sqlite(tx, &ids).await?,
        Tx::Postgres(tx) => delete_postgres(tx, &ids).await?,
    };
    let mut undelivered: HashMap<UserId, i64> = HashMap::new();
    for (recipient, was_undelivered) in &gone {
        *undelivered.entry(UserId::new(*recipient)).or_default() += i64::from(*was_undelivered);
    }
    for (recipient, count) in undelivered {
        if let Some(mailbox) = mailboxes.of(recipient) {
            mailbox.change_undelivered(-count);
        }
    }
    mailboxes.write(&mut tx).await?;
    tx.commit().await?;
    Ok(gone.len() as u64)
}

async fn delete_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, bool)>, StoreError> {
    let delete = "DELETE FROM messages WHERE message_id IN (SELECT unhex(value) FROM json_each($1)) \
         RETURNING recipient_id, delivered_at_ms IS NULL";
    Ok(sqlx::query_as(delete).bind(hex_list(ids.iter().copied())).fetch_all(&mut **tx).await?)
}

async fn delete_postgres(
    tx: &mut Transaction<'static, Postgres>,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, bool)>, StoreError> {
    let delete =
        "DELETE FROM messages WHERE message_id = ANY ($1) RETURNING recipient_id, delivered_at_ms IS NULL";
    Ok(sqlx::query_as(delete).bind(ids).fetch_all(&mut **tx).await?)
}
