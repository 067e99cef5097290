//! Stores chat messages, many in one transaction.

use std::collections::{HashMap, HashSet};

use aldis_protocol::{Payload, RequestId, RoomId, Sender, SessionId, Timestamp, UserId};
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use super::Rooms;
use crate::store::{
    Store, StoreError,
    batch::{in_pieces, with_values},
    db::Tx,
    row,
    writer::{Append, Queued, ReplyTo},
};

/// A message for a room.
#[derive(Debug, Clone)]
pub(crate) struct NewChat {
    /// The room.
    pub(crate) room: RoomId,
    /// The sender.
    pub(crate) sender: Sender,
    /// The sender's session.
    pub(crate) session: SessionId,
    /// The request id, by which a repetition is recognised.
    pub(crate) request: Option<RequestId>,
    /// The payload, unchanged.
    pub(crate) payload: Payload<'static>,
    /// When the server received it.
    pub(crate) now_ms: i64,
}

/// The outcome of storing a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It was stored with this number.
    Stored {
        /// The number.
        seq: u64,
        /// When it was committed.
        at: Timestamp,
    },
    /// The same message was stored before, with this number.
    Duplicate {
        /// The number.
        seq: u64,
    },
    /// The sender's device used this id for another message.
    Conflict,
    /// The room does not exist.
    NoRoom,
}

impl Store {
    /// Queues a message for a room.
    pub(crate) fn say(&self, chat: NewChat, reply: ReplyTo<Said>) {
        self.writer.submit(Queued::Chat, chat, reply);
    }
}

impl NewChat {
    /// The key by which a repetition is recognised.
    fn name(&self) -> Option<Name<'_>> {
        Some((&self.room, self.sender.device_id.as_str(), self.request.as_ref()?.as_str()))
    }
}

type Name<'a> = (&'a RoomId, &'a str, &'a str);

impl Append for NewChat {
    type Answer = Said;
    type Locked = Rooms;

    fn user(&self) -> Option<UserId> {
        Some(self.sender.user_id)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.as_bytes().len()
    }

    /// First writes the batch as if no message were a repetition, which is the common case. If the number of inserted
    /// rows shows that some were, it undoes the insert, sets the repetitions aside and assigns the numbers again.
    async fn write(tx: &mut Tx, rooms: &mut Rooms, batch: &[Self]) -> Result<Vec<Said>, StoreError> {
        let before = rooms.clone();
        let mut said = Outcomes::of(batch, rooms);
        let mut numbered = said.number(rooms);
        if insert(tx, batch, &numbered).await? < numbered.len() {
            undo(tx, &before, &numbered).await?;
            *rooms = before;
            said.set_aside(&find_earlier(tx, batch, rooms).await?)?;
            numbered = said.number(rooms);
            insert(tx, batch, &numbered).await?;
        }
        Ok(said.finish(&numbered))
    }
}

/// The outcome of each message of a batch, as far as it is known, in the batch's order.
struct Outcomes<'a> {
    batch: &'a [NewChat],
    known: Vec<Option<Said>>,
}

/// A message that gets a number; `place` is its index in the batch.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    place: usize,
    room_id: Uuid,
    seq: i64,
    at_ms: i64,
}

impl<'a> Outcomes<'a> {
    fn of(batch: &'a [NewChat], rooms: &Rooms) -> Self {
        let known = batch.iter().map(|chat| rooms.of(&chat.room).is_none().then_some(Said::NoRoom));
        Self { batch, known: known.collect() }
    }

    /// Assigns numbers to the messages without an outcome. Of equal messages in the batch only the first gets one.
    fn number(&self, rooms: &mut Rooms) -> Vec<Numbered> {
        let mut names = HashSet::new();
        let mut numbered = Vec::with_capacity(self.batch.len());
        for (place, chat) in self.batch.iter().enumerate() {
            let is_first = chat.name().is_none_or(|name| names.insert(name));
            if let (None, true, Some(room)) = (self.known[place], is_first, rooms.of_mut(&chat.room)) {
                let (seq, at_ms) = room.number(chat.now_ms);
                numbered.push(Numbered { place, room_id: room.room_id, seq, at_ms });
            }
        }
        numbered
    }

    /// Marks the messages that were stored before under their ids.
    fn set_aside(&mut self, earlier: &[EarlierRow]) -> Result<(), StoreError> {
        for (place, seq, payload) in earlier {
            let place = usize::try_from(*place).map_err(row::unreadable)?;
            if let (Some(chat), Some(known)) = (self.batch.get(place), self.known.get_mut(place)) {
                let is_same = *payload == chat.payload.as_bytes();
                *known =
                    Some(if is_same { Said::Duplicate { seq: row::number(*seq)? } } else { Said::Conflict });
            }
        }
        Ok(())
    }

    /// A message that still has no number equals an earlier one of the batch.
    fn finish(mut self, numbered: &[Numbered]) -> Vec<Said> {
        let mut first = HashMap::new();
        for one in numbered {
            let seq = one.seq.unsigned_abs();
            self.known[one.place] = Some(Said::Stored { seq, at: Timestamp::from_ms(one.at_ms) });
            let chat = &self.batch[one.place];
            first.extend(chat.name().map(|name| (name, (chat.payload.as_bytes(), seq))));
        }
        let of_equal = |chat: &NewChat| match chat.name().and_then(|name| first.get(&name)) {
            Some((payload, seq)) if *payload == chat.payload.as_bytes() => Said::Duplicate { seq: *seq },
            _ => Said::Conflict,
        };
        self.batch
            .iter()
            .zip(self.known)
            .map(|(chat, known)| known.unwrap_or_else(|| of_equal(chat)))
            .collect()
    }
}

/// Inserts messages under their numbers and returns how many rows were inserted. Messages that were stored before are
/// skipped.
async fn insert(tx: &mut Tx, batch: &[NewChat], numbered: &[Numbered]) -> Result<usize, StoreError> {
    let inserted = match tx {
        Tx::Sqlite(tx) => insert_sqlite(tx, batch, numbered).await?,
        Tx::Postgres(tx) => insert_postgres(tx, batch, numbered).await?,
    };
    Ok(usize::try_from(inserted).unwrap_or(usize::MAX))
}

const COLUMNS: usize = 8;

async fn insert_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    batch: &[NewChat],
    numbered: &[Numbered],
) -> Result<u64, StoreError> {
    let insert = "INSERT OR IGNORE INTO chat_messages (room_id, seq, request_id, sender_device_id, sender_user_id, \
         sender_fingerprint, payload, created_at_ms)";
    let mut inserted = 0;
    for piece in in_pieces(numbered) {
        let mut query = sqlx::query(with_values(insert, COLUMNS, piece.len(), ""));
        for one in piece {
            let NewChat { sender, request, payload, .. } = &batch[one.place];
            query = query
                .bind(one.room_id)
                .bind(one.seq)
                .bind(request.as_ref().map(RequestId::as_str))
                .bind(sender.device_id.as_str())
                .bind(sender.user_id.as_uuid())
                .bind(sender.fingerprint.as_ref().map(|fingerprint| &fingerprint.0[..]))
                .bind(payload.as_bytes())
                .bind(one.at_ms);
        }
        inserted += query.execute(&mut **tx).await?.rows_affected();
    }
    Ok(inserted)
}

async fn insert_postgres(
    tx: &mut Transaction<'static, Postgres>,
    batch: &[NewChat],
    numbered: &[Numbered],
) -> Result<u64, StoreError> {
    let insert = "INSERT INTO chat_messages (room_id, seq, request_id, sender_device_id, sender_user_id, \
             sender_fingerprint, payload, created_at_ms) \
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::bytea[], $7::bytea[], \
             $8::bigint[]) ON CONFLICT DO NOTHING";
    let chats: Vec<&NewChat> = numbered.iter().map(|one| &batch[one.place]).collect();
    let requests: Vec<_> = chats.iter().map(|chat| chat.request.as_ref().map(RequestId::as_str)).collect();
    let fingerprints: Vec<_> = chats
        .iter()
        .map(|chat| chat.sender.fingerprint.as_ref().map(|fingerprint| &fingerprint.0[..]))
        .collect();
    let query = sqlx::query(insert)
        .bind(numbered.iter().map(|one| one.room_id).collect::<Vec<_>>())
        .bind(numbered.iter().map(|one| one.seq).collect::<Vec<_>>())
        .bind(requests)
        .bind(chats.iter().map(|chat| chat.sender.device_id.as_str()).collect::<Vec<_>>())
        .bind(chats.iter().map(|chat| chat.sender.user_id.as_uuid()).collect::<Vec<_>>())
        .bind(fingerprints)
        .bind(chats.iter().map(|chat| chat.payload.as_bytes()).collect::<Vec<_>>())
        .bind(numbered.iter().map(|one| one.at_ms).collect::<Vec<_>>());
    Ok(query.execute(&mut **tx).await?.rows_affected())
}

/// Undoes the inserts since the counters of the rooms were at `before`.
async fn undo(tx: &mut Tx, before: &Rooms, numbered: &[Numbered]) -> Result<(), StoreError> {
    match tx {
        Tx::Sqlite(tx) => {
            let delete = "DELETE FROM chat_messages WHERE (room_id, seq) IN \
                 (SELECT unhex(value ->> 0), value ->> 1 FROM json_each($1))";
            let rows = numbered.iter().map(|one| format!(r#"["{}",{}]"#, one.room_id.simple(), one.seq));
            let list = format!("[{}]", rows.collect::<Vec<_>>().join(","));
            sqlx::query(delete).bind(list).execute(&mut ***tx).await?;
        }
        Tx::Postgres(tx) => {
            let delete = "DELETE FROM chat_messages m USING unnest($1::uuid[], $2::bigint[]) AS batch (room_id, last_seq) \
                 WHERE m.room_id = batch.room_id AND m.seq > batch.last_seq";
            let (ids, last): (Vec<_>, Vec<_>) =
                before.all().map(|room| (room.room_id, room.last_seq)).unzip();
            sqlx::query(delete).bind(ids).bind(last).execute(&mut ***tx).await?;
        }
    }
    Ok(())
}

/// The index in the batch, and the number and content of the message that was stored before under the same id.
type EarlierRow = (i64, i64, Vec<u8>);

async fn find_earlier(tx: &mut Tx, batch: &[NewChat], rooms: &Rooms) -> Result<Vec<EarlierRow>, StoreError> {
    let asked = batch.iter().zip(0_i64..).filter_map(|(chat, place)| {
        let (room, device, request) = chat.name()?;
        Some((place, rooms.of(room)?.room_id, device, request))
    });
    match tx {
        Tx::Sqlite(tx) => {
            let select = "SELECT batch.value ->> 0, seq, payload FROM json_each($1) AS batch JOIN chat_messages m \
                 ON m.room_id = unhex(batch.value ->> 1) AND m.sender_device_id = batch.value ->> 2 \
                     AND m.request_id = batch.value ->> 3";
            // Ids contain no character that JSON has to escape.
            let rows = asked.map(|(place, room, device, request)| {
                format!(r#"[{place},"{}","{device}","{request}"]"#, room.simple())
            });
            let list = format!("[{}]", rows.collect::<Vec<_>>().join(","));
            Ok(sqlx::query_as(select).bind(list).fetch_all(&mut ***tx).await?)
        }
        Tx::Postgres(tx) => {
            let select = "SELECT batch.place, m.seq, m.payload \
                 FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[]) \
                     AS batch (place, room_id, sender_device_id, request_id) \
                 JOIN chat_messages m USING (room_id, sender_device_id, request_id)";
            let (mut places, mut ids, mut devices, mut requests) = (vec![], vec![], vec![], vec![]);
            for (place, room, device, request) in asked {
                places.push(place);
                ids.push(room);
                devices.push(device);
                requests.push(request);
            }
            let query = sqlx::query_as(select).bind(places).bind(ids).bind(devices).bind(requests);
            Ok(query.fetch_all(&mut ***tx).await?)
        }
    }
}
