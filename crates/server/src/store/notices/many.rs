//! One notice for many users.

use aldis_protocol::{MessageKind, UserId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{NOTICES_PER_QUOTA, Notice};
use crate::store::{
    StoreError, changes,
    db::{Tx, within},
};

/// How many users one statement takes.
const USERS_PER_STATEMENT: usize = 1_000;

/// How many invitations of one owner wait for a device, so that one owner cannot displace the requests of others.
const INVITES_PER_OWNER: i64 = 20;

/// Stores a notice for all registered devices of users; live devices take it from there. The transaction must have
/// locked the users. It runs the same statements whether the users exist or not. Call it last in a transaction, as
/// [`add`](super::add).
pub(in crate::store) async fn add_for_all(
    tx: &mut Tx,
    users: &[UserId],
    notice: &Notice,
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in users.chunks(USERS_PER_STATEMENT) {
        delete_same(tx, some, notice).await?;
        insert(tx, some, notice, now_ms).await?;
        trim_invites(tx, some, notice).await?;
        trim(tx, some).await?;
    }
    changes::note_all(tx, users).await
}

async fn delete_same(tx: &mut Tx, users: &[UserId], notice: &Notice) -> Result<(), StoreError> {
    let row = notice.columns()?;
    within!(tx, connection => {
        let mut delete = QueryBuilder::new("DELETE FROM notices WHERE kind = ");
        delete.push_bind(row.kind).push(" AND subject = ").push_bind(row.subject);
        delete.push(" AND device_id IN (SELECT device_id FROM devices WHERE user_id IN (");
        users.iter().fold(delete.separated(", "), |mut list, user| {
            list.push_bind(user.as_uuid());
            list
        });
        delete.push("))");
        delete.build().persistent(users.len() == 1).execute(connection).await?;
    });
    Ok(())
}

async fn insert(tx: &mut Tx, users: &[UserId], notice: &Notice, now_ms: i64) -> Result<(), StoreError> {
    let row = notice.columns()?;
    within!(tx, connection => {
        let mut insert = QueryBuilder::new(
            "INSERT INTO notices (device_id, notice_id, kind, subject, of_chain, body, created_at_ms) SELECT device_id, ",
        );
        insert.push_bind(Uuid::now_v7()).push(", ").push_bind(row.kind).push(", ").push_bind(row.subject);
        insert.push(", ").push_bind(row.of_chain).push(", ").push_bind(row.body).push(", ").push_bind(now_ms);
        insert.push(" FROM devices WHERE removed_at_ms IS NULL AND user_id IN (");
        users.iter().fold(insert.separated(", "), |mut list, user| {
            list.push_bind(user.as_uuid());
            list
        });
        insert.push(")");
        insert.build().persistent(users.len() == 1).execute(connection).await?;
    });
    Ok(())
}

/// Deletes the oldest invitations of one owner beyond the limit.
async fn trim_invites(tx: &mut Tx, users: &[UserId], notice: &Notice) -> Result<(), StoreError> {
    let Notice::RoomInvite(invite) = notice else { return Ok(()) };
    let of_owner = format!("%\"{}\"%", invite.user_id);
    within!(tx, connection => {
        let mut delete = QueryBuilder::new(
            "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM \
                 (SELECT n.device_id, n.notice_id, ROW_NUMBER() OVER (PARTITION BY n.device_id \
                      ORDER BY n.created_at_ms DESC, n.notice_id DESC) AS place \
                  FROM notices n JOIN devices d ON d.device_id = n.device_id WHERE n.kind = ",
        );
        delete.push_bind(MessageKind::RoomInvite.as_str()).push(" AND n.body LIKE ").push_bind(of_owner);
        delete.push(" AND d.user_id IN (");
        users.iter().fold(delete.separated(", "), |mut list, user| {
            list.push_bind(user.as_uuid());
            list
        });
        delete.push(")) AS placed WHERE place > ").push_bind(INVITES_PER_OWNER).push(")");
        delete.build().persistent(users.len() == 1).execute(connection).await?;
    });
    Ok(())
}

async fn trim(tx: &mut Tx, users: &[UserId]) -> Result<(), StoreError> {
    within!(tx, connection => {
        let mut delete = QueryBuilder::new(
            "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM \
                 (SELECT n.device_id, n.notice_id, ROW_NUMBER() OVER (PARTITION BY n.device_id \
                      ORDER BY n.created_at_ms DESC, n.notice_id DESC) AS place \
                  FROM notices n JOIN devices d ON d.device_id = n.device_id WHERE n.kind <> ",
        );
        delete.push_bind(MessageKind::Alert.as_str()).push(" AND d.user_id IN (");
        users.iter().fold(delete.separated(", "), |mut list, user| {
            list.push_bind(user.as_uuid());
            list
        });
        delete.push(")) AS placed WHERE place > ").push_bind(NOTICES_PER_QUOTA).push(")");
        delete.build().persistent(users.len() == 1).execute(connection).await?;
    });
    Ok(())
}
