//! What operators ask about rooms and messages. No content is read.

use aldis_protocol::{MessageId, RoomId, UserId};
use uuid::Uuid;

use super::{Store, StoreError, db::on};

/// A room as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct RoomSummary {
    /// Its name.
    pub(crate) name: String,
    owner_id: Uuid,
    /// `public` or `private`.
    pub(crate) visibility: String,
    /// When it was stored.
    pub(crate) created_at_ms: i64,
    /// Users who joined, the owner among them.
    pub(crate) members: i64,
    /// Users who are invited.
    pub(crate) invited: i64,
    /// Messages that are kept.
    pub(crate) messages: i64,
    /// When the last message was sent; 0 if there was none.
    pub(crate) last_at_ms: i64,
}

/// What is known about the way of a stored message.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct MessageTrace {
    sender_id: Uuid,
    /// The device that sent it.
    pub(crate) sender_device_id: String,
    /// The request in which it came.
    pub(crate) request_id: String,
    /// Its number in the sender's mailbox.
    pub(crate) sender_seq: i64,
    recipient_id: Uuid,
    /// Its number in the recipient's mailbox.
    pub(crate) recipient_seq: i64,
    /// The size of its content.
    pub(crate) bytes: i64,
    /// When it was stored.
    pub(crate) created_at_ms: i64,
    /// When a device of the recipient confirmed it.
    pub(crate) delivered_at_ms: Option<i64>,
    /// When the recipient read it.
    pub(crate) read_at_ms: Option<i64>,
}

impl RoomSummary {
    /// The owner.
    pub(crate) const fn owner(&self) -> UserId {
        UserId::new(self.owner_id)
    }
}

impl MessageTrace {
    /// The sender.
    pub(crate) const fn sender(&self) -> UserId {
        UserId::new(self.sender_id)
    }

    /// The recipient.
    pub(crate) const fn recipient(&self) -> UserId {
        UserId::new(self.recipient_id)
    }
}

const SELECT_ROOMS: &str = "SELECT r.name, r.owner_id, r.visibility, r.created_at_ms, \
         (SELECT COUNT(*) FROM room_members m WHERE m.room_id = r.room_id AND m.standing = 'joined') AS members, \
         (SELECT COUNT(*) FROM room_members m WHERE m.room_id = r.room_id AND m.standing = 'invited') AS invited, \
         r.last_seq - r.first_seq + 1 AS messages, r.last_at_ms FROM rooms r";

impl Store {
    /// Up to `limit` rooms whose names follow this one, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rooms_after(&self, name: &str, limit: i64) -> Result<Vec<RoomSummary>, StoreError> {
        let select = format!("{SELECT_ROOMS} WHERE r.name > $1 ORDER BY r.name LIMIT $2");
        Ok(on!(&self.db, r, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(name).bind(limit).fetch_all(pool).await?
        }))
    }

    /// The room of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_summary(&self, room: &RoomId) -> Result<Option<RoomSummary>, StoreError> {
        let select = format!("{SELECT_ROOMS} WHERE r.name = $1");
        Ok(on!(&self.db, r, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(room.as_str()).fetch_optional(pool).await?
        }))
    }

    /// The users of a room with their standing (`joined`, `invited`, `removed` or `ignored`), in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_standings(&self, room: &RoomId) -> Result<Vec<(UserId, String)>, StoreError> {
        let select = "SELECT m.user_id, m.standing FROM room_members m JOIN rooms r ON r.room_id = m.room_id \
             WHERE r.name = $1 ORDER BY m.user_id";
        let rows: Vec<(Uuid, String)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(room.as_str()).fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(|(user, standing)| (UserId::new(user), standing)).collect())
    }

    /// The way of a stored message.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn trace_message(&self, message: MessageId) -> Result<Option<MessageTrace>, StoreError> {
        let select = "SELECT sender_id, sender_device_id, request_id, sender_seq, recipient_id, recipient_seq, \
             CAST(LENGTH(encrypted_content) AS BIGINT) AS bytes, created_at_ms, delivered_at_ms, read_at_ms \
             FROM messages WHERE message_id = $1";
        Ok(on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(message.as_uuid()).fetch_optional(pool).await?
        }))
    }
}
