//! Deletes messages beyond the number and age that rooms keep, and those of deleted rooms.

use uuid::Uuid;

use super::{KEPT, expired_at};
use crate::store::{
    SWEEP_ROWS, StoreError,
    db::{Db, Tx, on, within},
};

/// Deletes messages that rooms no longer keep, and those of deleted rooms.
pub(in crate::store) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let nameless = sweep_rooms_without_name(db).await;
    Ok(trim(db, now_ms).await? + nameless?)
}

/// How many rooms a sweep reads at a time.
const SWEEP_ROOMS: i64 = 100;

async fn sweep_rooms_without_name(db: &Db) -> Result<u64, StoreError> {
    let select = "SELECT room_id FROM rooms WHERE name IS NULL ORDER BY room_id LIMIT $1";
    let delete = "DELETE FROM chat_messages WHERE room_id = $1 AND seq IN \
         (SELECT seq FROM chat_messages WHERE room_id = $1 ORDER BY seq LIMIT $2)";
    let mut total = 0;
    loop {
        let rooms: Vec<Uuid> =
            on!(db, r, pool => sqlx::query_scalar(select).bind(SWEEP_ROOMS).fetch_all(pool).await?);
        for room in &rooms {
            loop {
                let deleted = on!(db, w, pool => {
                    sqlx::query(delete).bind(room).bind(SWEEP_ROWS).execute(pool).await?.rows_affected()
                });
                total += deleted;
                if deleted < SWEEP_ROWS.unsigned_abs() {
                    break;
                }
            }
            total += on!(db, w, pool => {
                let query = sqlx::query("DELETE FROM rooms WHERE room_id = $1 AND name IS NULL").bind(room);
                query.execute(pool).await?.rows_affected()
            });
        }
        if rooms.is_empty() {
            return Ok(total);
        }
    }
}

/// Deletes messages beyond the number and age that rooms keep.
async fn trim(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let select = "SELECT r.room_id FROM rooms r WHERE r.room_id > $1 AND r.name IS NOT NULL \
         AND (r.last_seq - r.first_seq >= $2 OR EXISTS (SELECT 1 FROM chat_messages m \
             WHERE m.room_id = r.room_id AND m.seq = r.first_seq AND m.created_at_ms <= $3)) \
         ORDER BY r.room_id LIMIT $4";
    let (mut total, mut after) = (0, Uuid::nil());
    loop {
        let rooms: Vec<Uuid> = on!(db, r, pool => {
            let query = sqlx::query_scalar(select).bind(after).bind(KEPT).bind(expired_at(now_ms));
            query.bind(SWEEP_ROOMS).fetch_all(pool).await?
        });
        let Some(last) = rooms.last() else { return Ok(total) };
        after = *last;
        for room in rooms {
            total += trim_room(db, room, now_ms).await?;
        }
    }
}

async fn trim_room(db: &Db, room_id: Uuid, now_ms: i64) -> Result<u64, StoreError> {
    let mut total = 0;
    loop {
        let mut tx = db.begin().await?;
        let deleted = trim_some(&mut tx, room_id, now_ms).await?;
        tx.commit().await?;
        total += deleted.unsigned_abs();
        if deleted < SWEEP_ROWS {
            return Ok(total);
        }
    }
}

/// Locks the room first, as appending does.
async fn trim_some(tx: &mut Tx, room_id: Uuid, now_ms: i64) -> Result<i64, StoreError> {
    let lock = "UPDATE rooms SET first_seq = first_seq WHERE room_id = $1 RETURNING first_seq, last_seq";
    let count = "SELECT COUNT(*) FROM chat_messages WHERE room_id = $1 AND seq >= $2 AND seq < $2 + $3 \
         AND (seq <= $4 OR created_at_ms <= $5)";
    let delete = "DELETE FROM chat_messages WHERE room_id = $1 AND seq >= $2 AND seq < $3";
    let advance = "UPDATE rooms SET first_seq = $2 WHERE room_id = $1";
    let counters: Option<(i64, i64)> = within!(tx, connection => {
        sqlx::query_as(lock).bind(room_id).fetch_optional(connection).await?
    });
    let Some((first, last)) = counters else { return Ok(0) };
    let expired: i64 = within!(tx, connection => {
        let query = sqlx::query_scalar(count).bind(room_id).bind(first).bind(SWEEP_ROWS).bind(last - KEPT);
        query.bind(expired_at(now_ms)).fetch_one(connection).await?
    });
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(room_id).bind(first).bind(first + expired);
        query.execute(&mut *connection).await?;
        sqlx::query(advance).bind(room_id).bind(first + expired).execute(connection).await?;
    });
    Ok(expired)
}
