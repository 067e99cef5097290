//! Reads mailboxes and conversations in pages.

use aldis_protocol::UserId;

use super::{MessageRow, StoredMessage, receipts, sequence, stored_sequence};
use crate::store::{Store, StoreError, Which, db::on};

/// A page of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MailboxPage {
    /// In the order of their numbers.
    pub(crate) messages: Vec<StoredMessage>,
    /// The number of the oldest message kept; if there is none, the number of the next message.
    pub(crate) first_seq: u64,
    /// The last number that was assigned.
    pub(crate) last_seq: u64,
}

/// A page of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConversationPage {
    /// The newest first.
    pub(crate) messages: Vec<StoredMessage>,
    /// Their approximate size in a response.
    pub(crate) bytes: usize,
    /// Whether there are older messages.
    pub(crate) is_more: bool,
}

#[derive(sqlx::FromRow)]
struct ConversationRow {
    #[sqlx(flatten)]
    message: MessageRow,
    size: i64,
    found: i64,
}

/// Received and sent messages. A message to oneself comes once.
const SELECT_PAGE: &str = "SELECT * FROM ( \
     SELECT * FROM (SELECT message_id, sender_id, sender_device_id, request_id, recipient_id, recipient_seq AS seq, \
             encrypted_content, created_at_ms, delivered_at_ms, read_at_ms, delivered_masked, read_masked FROM messages \
         WHERE recipient_id = $1 AND recipient_seq > $2 ORDER BY recipient_seq LIMIT $3) AS received \
     UNION ALL \
     SELECT * FROM (SELECT message_id, sender_id, sender_device_id, request_id, recipient_id, sender_seq AS seq, \
             encrypted_content, created_at_ms, delivered_at_ms, read_at_ms, delivered_masked, read_masked FROM messages \
         WHERE sender_id = $1 AND sender_seq > $2 AND recipient_id <> $1 ORDER BY sender_seq LIMIT $3) AS sent \
     ) AS both_ways ORDER BY seq LIMIT $3";

/// The newest messages below a number, as far as they fit. The sizes are those in a response.
const SELECT_CONVERSATION: &str = "WITH both_ways AS ( \
         SELECT * FROM (SELECT message_id, recipient_seq AS seq, LENGTH(encrypted_content) * 4 / 3 + 400 AS size \
             FROM messages WHERE sender_id = $2 AND recipient_id = $1 AND recipient_seq < $3 \
             ORDER BY sender_seq DESC LIMIT $4) AS received \
         UNION ALL \
         SELECT * FROM (SELECT message_id, sender_seq AS seq, LENGTH(encrypted_content) * 4 / 3 + 400 AS size \
             FROM messages WHERE sender_id = $1 AND recipient_id = $2 AND $1 <> $2 AND sender_seq < $3 \
             ORDER BY sender_seq DESC LIMIT $4) AS sent), \
     page AS (SELECT message_id, seq, size FROM both_ways ORDER BY seq DESC LIMIT $4), \
     placed AS (SELECT message_id, seq, CAST(size AS BIGINT) AS size, \
         CAST(SUM(size) OVER (ORDER BY seq DESC) - size AS BIGINT) AS bytes_before FROM page) \
     SELECT m.message_id, m.sender_id, m.sender_device_id, m.request_id, m.recipient_id, placed.seq, \
         m.encrypted_content, m.created_at_ms, m.delivered_at_ms, m.read_at_ms, m.delivered_masked, m.read_masked, placed.size, \
         (SELECT COUNT(*) FROM page) AS found \
     FROM placed JOIN messages m ON m.message_id = placed.message_id \
     WHERE placed.bytes_before <= $5 ORDER BY placed.seq DESC";

const SELECT_BOUNDS: &str = "SELECT COALESCE( \
     (SELECT MIN(seq) FROM (SELECT MIN(recipient_seq) AS seq FROM messages WHERE recipient_id = $1 \
         UNION ALL SELECT MIN(sender_seq) FROM messages WHERE sender_id = $1) AS oldest), \
     (SELECT last_seq + 1 FROM mailboxes WHERE user_id = $1), 1), \
     COALESCE((SELECT last_seq FROM mailboxes WHERE user_id = $1), 0)";

impl Store {
    /// The messages of a mailbox after a number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn mailbox_page(
        &self,
        user: UserId,
        since_seq: u64,
        limit: u32,
    ) -> Result<MailboxPage, StoreError> {
        let rows: Vec<MessageRow> = on!(&self.db, r, pool => {
            let query = sqlx::query_as(SELECT_PAGE).bind(user.as_uuid()).bind(stored_sequence(since_seq));
            query.bind(i64::from(limit)).fetch_all(pool).await?
        });
        let (first, last): (i64, i64) = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_BOUNDS).bind(user.as_uuid()).fetch_one(pool).await?
        });
        let messages: Result<_, _> = rows.into_iter().map(|row| row.seen_by(user)).collect();
        Ok(MailboxPage { messages: messages?, first_seq: sequence(first), last_seq: sequence(last) })
    }

    /// The conversation of two users below a number of `user`'s mailbox, the newest first: at most `limit` messages,
    /// and at most `most_bytes` plus one message, measured as they are in a response.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn conversation(
        &self,
        user: UserId,
        peer: UserId,
        before_seq: u64,
        limit: u32,
        most_bytes: usize,
    ) -> Result<ConversationPage, StoreError> {
        // Reads one row more than the limit to see whether there are more.
        let mut rows: Vec<ConversationRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_CONVERSATION)
                .bind(user.as_uuid())
                .bind(peer.as_uuid())
                .bind(stored_sequence(before_seq))
                .bind(i64::from(limit) + 1)
                .bind(i64::try_from(most_bytes).unwrap_or(i64::MAX))
                .fetch_all(pool)
                .await?
        });
        rows.truncate(limit as usize);
        let found = rows.first().map_or(0, |row| row.found);
        let is_more = usize::try_from(found).is_ok_and(|found| found > rows.len());
        let bytes = rows.iter().map(|row| usize::try_from(row.size).unwrap_or_default()).sum();
        let messages: Result<_, _> = rows.into_iter().map(|row| row.message.seen_by(user)).collect();
        Ok(ConversationPage { messages: messages?, bytes, is_more })
    }

    /// The senders of those messages that are addressed to the user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn senders_of(&self, user: UserId, which: &Which) -> Result<Vec<UserId>, StoreError> {
        receipts::senders_of(&self.db, user, which).await
    }
}
