//! Reads the chat messages of a room in pages.

use aldis_protocol::{
    Fingerprint, HistoryMessage, Payload, RoomId, Sender, StoredChatMessage, Timestamp, UserId,
};
use uuid::Uuid;

use super::{KEPT, expired_at};
use crate::store::{Store, StoreError, db::on, row};

/// A page of a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomPage {
    /// In the order of their numbers.
    pub(crate) messages: Vec<HistoryMessage<'static>>,
    /// Whether there is no newer message than the last of them.
    pub(crate) complete: bool,
    /// The number of the oldest message kept; if there is none, the number of the next message.
    pub(crate) first_seq: u64,
    /// The last number that was assigned.
    pub(crate) last_seq: u64,
}

impl Store {
    /// The chat messages of a room after a number: at most `limit` messages, and at most `most_bytes` plus one
    /// message, measured as they are in a response. `None` if the room does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_history(
        &self,
        room: &RoomId,
        since_seq: u64,
        limit: u32,
        most_bytes: usize,
        now_ms: i64,
    ) -> Result<Option<RoomPage>, StoreError> {
        let since = i64::try_from(since_seq).unwrap_or(i64::MAX);
        let around = i32::try_from(BYTES_AROUND_MESSAGE + room.as_str().len()).unwrap_or(i32::MAX);
        let most = i64::try_from(most_bytes).unwrap_or(i64::MAX);
        let rows: Vec<PageRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_PAGE)
                .bind(room.as_str())
                .bind(since)
                .bind(i64::from(limit))
                .bind(expired_at(now_ms))
                .bind(KEPT)
                .bind(around)
                .bind(most)
                .fetch_all(pool)
                .await?
        });
        RoomPage::of(room, rows)
    }
}

/// The size of a message in a response, without its payload, ids and room, in the larger codec.
pub(crate) const BYTES_AROUND_MESSAGE: usize = 284;

/// Reads the page and the room's counters in one statement, so that concurrent trimming cannot leave a gap.
const SELECT_PAGE: &str = "WITH room AS ( \
         SELECT r.room_id, r.last_seq, COALESCE((SELECT k.seq FROM chat_messages k WHERE k.room_id = r.room_id \
             AND k.seq >= r.first_seq AND k.seq > r.last_seq - $5 AND k.created_at_ms > $4 ORDER BY k.seq LIMIT 1), \
             r.last_seq + 1) AS first_seq \
         FROM rooms r WHERE r.name = $1), \
     page AS ( \
         SELECT m.seq, LENGTH(m.payload) + LENGTH(m.sender_device_id) + COALESCE(LENGTH(m.request_id), 0) + $6 AS size \
         FROM chat_messages m WHERE m.room_id = (SELECT room_id FROM room) AND m.seq > $2 \
             AND m.seq >= (SELECT first_seq FROM room) ORDER BY m.seq LIMIT $3), \
     placed AS (SELECT seq, SUM(size) OVER (ORDER BY seq) - size AS bytes_before FROM page) \
     SELECT room.first_seq, room.last_seq, m.seq, m.request_id, m.sender_device_id, m.sender_user_id, \
         m.sender_fingerprint, m.payload, m.created_at_ms \
     FROM room LEFT JOIN placed ON placed.bytes_before <= $7 \
         LEFT JOIN chat_messages m ON m.room_id = room.room_id AND m.seq = placed.seq ORDER BY m.seq";

#[derive(sqlx::FromRow)]
struct PageRow {
    first_seq: i64,
    last_seq: i64,
    seq: Option<i64>,
    request_id: Option<String>,
    sender_device_id: Option<String>,
    sender_user_id: Option<Uuid>,
    sender_fingerprint: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    created_at_ms: Option<i64>,
}

impl RoomPage {
    fn of(room: &RoomId, rows: Vec<PageRow>) -> Result<Option<Self>, StoreError> {
        let Some(first) = rows.first() else { return Ok(None) };
        let (first_seq, last_seq) = (row::number(first.first_seq)?, row::number(first.last_seq)?);
        let messages: Result<Vec<_>, _> = rows.into_iter().filter_map(|row| row.read(room)).collect();
        let messages = messages?;
        let complete = messages.last().is_none_or(|last| last.message.seq >= last_seq);
        Ok(Some(Self { messages, complete, first_seq, last_seq }))
    }
}

impl PageRow {
    /// The message; `None` for the row of a room without messages.
    fn read(self, room: &RoomId) -> Option<Result<HistoryMessage<'static>, StoreError>> {
        let (seq, device, user) = (self.seq?, self.sender_device_id?, self.sender_user_id?);
        let (payload, created_at_ms) = (self.payload?, self.created_at_ms?);
        let read = || {
            let sender = Sender::new(row::device_id(&device)?, UserId::new(user))
                .with_fingerprint(row::optional_array(self.sender_fingerprint.as_deref())?.map(Fingerprint));
            let payload = Payload::from_bytes(payload.into()).map_err(row::unreadable)?;
            let message = StoredChatMessage::new(room.clone(), row::number(seq)?, sender, payload);
            let id = self.request_id.map(|id| id.parse()).transpose().map_err(row::unreadable)?;
            Ok(HistoryMessage::new(id, Timestamp::from_ms(created_at_ms), message))
        };
        Some(read())
    }
}
