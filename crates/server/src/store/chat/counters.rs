//! The counters of rooms, locked while a batch is written.
//!
//! A batch assigns numbers in memory, and writes the counters and the messages in the transaction that holds the row
//! locks. The locks last until the commit, so a later number is never visible before an earlier one. A rollback undoes
//! counters and messages together, so numbers have no gaps.

use std::collections::{BTreeSet, HashMap};

use aldis_protocol::RoomId;
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use crate::store::{StoreError, db::Tx, row};

/// The rooms that a transaction has locked.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Rooms(HashMap<RoomId, Room>);

/// The counter of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) room_id: Uuid,
    pub(super) last_seq: i64,
    /// The time of the last message.
    last_at_ms: i64,
    is_changed: bool,
}

impl Room {
    /// The next number and its time; neither ever goes back.
    pub(super) fn number(&mut self, now_ms: i64) -> (i64, i64) {
        self.is_changed = true;
        self.last_seq += 1;
        self.last_at_ms = self.last_at_ms.max(now_ms);
        (self.last_seq, self.last_at_ms)
    }
}

impl Rooms {
    /// Locks the rooms with these names in the order of their ids.
    pub(in crate::store) async fn lock<'a>(
        tx: &mut Tx,
        names: impl Iterator<Item = &'a RoomId>,
    ) -> Result<Self, StoreError> {
        let names: BTreeSet<&str> = names.map(RoomId::as_str).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let rows = match tx {
            Tx::Sqlite(tx) => select_sqlite(tx, &names).await?,
            Tx::Postgres(tx) => select_postgres(tx, &names).await?,
        };
        let rooms = rows.into_iter().map(|(name, room_id, last_seq, last_at_ms)| {
            let room = name.parse().map_err(row::unreadable)?;
            Ok((room, Room { room_id, last_seq, last_at_ms, is_changed: false }))
        });
        Ok(Self(rooms.collect::<Result<_, StoreError>>()?))
    }

    pub(super) fn of(&self, room: &RoomId) -> Option<&Room> {
        self.0.get(room)
    }

    pub(super) fn of_mut(&mut self, room: &RoomId) -> Option<&mut Room> {
        self.0.get_mut(room)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Room> {
        self.0.values()
    }

    /// Writes the counters back.
    pub(in crate::store) async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let changed: Vec<Room> = self.0.into_values().filter(|room| room.is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        match tx {
            Tx::Sqlite(tx) => update_sqlite(tx, &changed).await,
            Tx::Postgres(tx) => update_postgres(tx, &changed).await,
        }
    }
}

type CounterRow = (String, Uuid, i64, i64);

/// The transaction has locked the whole database.
async fn select_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    names: &BTreeSet<&str>,
) -> Result<Vec<CounterRow>, StoreError> {
    let select = "SELECT name, room_id, last_seq, last_at_ms FROM json_each($1) AS batch \
         JOIN rooms ON name = batch.value";
    // Names contain no character that JSON has to escape.
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let list = format!("[{}]", names.join(","));
    Ok(sqlx::query_as(select).bind(list).fetch_all(&mut **tx).await?)
}

async fn select_postgres(
    tx: &mut Transaction<'static, Postgres>,
    names: &BTreeSet<&str>,
) -> Result<Vec<CounterRow>, StoreError> {
    let select = "SELECT name, room_id, last_seq, last_at_ms FROM rooms WHERE name = ANY ($1) \
         ORDER BY room_id FOR NO KEY UPDATE";
    let names: Vec<&str> = names.iter().copied().collect();
    Ok(sqlx::query_as(select).bind(names).fetch_all(&mut **tx).await?)
}

async fn update_sqlite(tx: &mut Transaction<'static, Sqlite>, changed: &[Room]) -> Result<(), StoreError> {
    let update = "UPDATE rooms SET last_seq = batch.value ->> 1, last_at_ms = batch.value ->> 2 \
         FROM json_each($1) AS batch WHERE room_id = unhex(batch.value ->> 0)";
    let rows = changed
        .iter()
        .map(|room| format!(r#"["{}",{},{}]"#, room.room_id.simple(), room.last_seq, room.last_at_ms));
    let list = format!("[{}]", rows.collect::<Vec<_>>().join(","));
    sqlx::query(update).bind(list).execute(&mut **tx).await?;
    Ok(())
}

async fn update_postgres(
    tx: &mut Transaction<'static, Postgres>,
    changed: &[Room],
) -> Result<(), StoreError> {
    let update = "UPDATE rooms SET last_seq = batch.last_seq, last_at_ms = batch.last_at_ms \
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS batch (room_id, last_seq, last_at_ms) \
         WHERE rooms.room_id = batch.room_id";
    let ids: Vec<Uuid> = changed.iter().map(|room| room.room_id).collect();
    let numbers: Vec<i64> = changed.iter().map(|room| room.last_seq).collect();
    let times: Vec<i64> = changed.iter().map(|room| room.last_at_ms).collect();
    sqlx::query(update).bind(ids).bind(numbers).bind(times).execute(&mut **tx).await?;
    Ok(())
}
