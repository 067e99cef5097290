//! What follows a restore: every sign-in of the backup ends, because what was revoked since would be valid again, and
//! every registered device is told.

use aldis_protocol::AlertKind;
use uuid::Uuid;

use super::{
    Notice, Store, StoreError,
    db::{Tx, within},
    revocations,
};

/// What was ended and who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Restored {
    /// Accounts whose sign-ins and sessions have ended.
    pub(crate) accounts: u64,
    /// Sign-ins that were valid in the backup.
    pub(crate) sign_ins: u64,
    /// Devices that are told at their next connect.
    pub(crate) devices: u64,
}

impl Store {
    /// Ends every sign-in and session of every account, and leaves an alert for every registered device.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was changed.
    pub(crate) async fn end_what_a_restore_revives(&self, now_ms: i64) -> Result<Restored, StoreError> {
        let mut tx = self.db.begin().await?;
        let sign_ins = revoke_families(&mut tx, now_ms).await?;
        let devices = tell_devices(&mut tx, now_ms).await?;
        let accounts = sign_out_all(&mut tx, now_ms).await?;
        tx.commit().await?;
        Ok(Restored { accounts, sign_ins, devices })
    }
}

async fn revoke_families(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let update = "UPDATE refresh_families SET revoked_at_ms = $1 WHERE revoked_at_ms IS NULL";
    Ok(within!(tx, connection => sqlx::query(update).bind(now_ms).execute(connection).await?.rows_affected()))
}

async fn tell_devices(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let notice = Notice::of_account(AlertKind::ServerRestored);
    let row = notice.columns()?;
    let delete = "DELETE FROM notices WHERE kind = $1 AND subject = $2";
    let insert = "INSERT INTO notices (device_id, notice_id, kind, subject, of_chain, body, created_at_ms) \
         SELECT device_id, $1, $2, $3, $4, $5, $6 FROM devices WHERE removed_at_ms IS NULL";
    Ok(within!(tx, connection => {
        sqlx::query(delete).bind(row.kind).bind(&*row.subject).execute(&mut *connection).await?;
        let insert = sqlx::query(insert).bind(Uuid::now_v7()).bind(row.kind).bind(&*row.subject);
        let insert = insert.bind(row.of_chain).bind(&*row.body).bind(now_ms);
        insert.execute(connection).await?.rows_affected()
    }))
}

/// Running nodes, which a PostgreSQL database may have, read these rows and close the sessions. A row `trimmed` makes them
/// ask the database about every access token that was issued until now.
async fn sign_out_all(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let count = "SELECT COUNT(*) FROM users WHERE deleted_at_ms IS NULL";
    let count: i64 = within!(tx, connection => sqlx::query_scalar(count).fetch_one(connection).await?);
    let last = revocations::draw_numbers(tx, 2 * count).await?;
    let signed_out = "INSERT INTO revocations (number, kind, user_id, at_ms) \
         SELECT $1 + ROW_NUMBER() OVER (ORDER BY user_id), 'signed_out', user_id, $2 \
         FROM users WHERE deleted_at_ms IS NULL";
    let trimmed = "INSERT INTO revocations (number, kind, user_id, until_ms, at_ms) \
         SELECT $1 + ROW_NUMBER() OVER (ORDER BY user_id), 'trimmed', user_id, $2, $2 \
         FROM users WHERE deleted_at_ms IS NULL";
    Ok(within!(tx, connection => {
        sqlx::query(signed_out).bind(last - 2 * count).bind(now_ms).execute(&mut *connection).await?;
        sqlx::query(trimmed).bind(last - count).bind(now_ms).execute(connection).await?.rows_affected()
    }))
}
