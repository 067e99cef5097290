//! Mailboxes: encrypted messages, numbered for sender and recipient, with the times of delivery and reading.

use aldis_protocol::{DeviceId, MailboxMessage, MessageId, RequestId, Timestamp, UserId};
use bytes::Bytes;
use uuid::Uuid;

mod counters;
mod expiry;
mod pages;
mod post;
mod receipts;

pub(super) use self::{counters::Mailboxes, expiry::sweep};
pub(crate) use self::{
    post::{NewMessage, Posted, StoredMeta},
    receipts::{Marked, NewReceipt, SenderReceipt, Which},
};
use super::{
    StoreError,
    db::{Tx, within},
    row,
};

/// How long a message is kept.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// How many undelivered messages a mailbox holds.
const UNDELIVERED_PER_MAILBOX: i64 = 1_000;

/// How many of them may be from one sender.
const UNDELIVERED_PER_SENDER: i64 = 250;

/// How many of them may be from senders whom the user has not allowed, so that strangers never keep out a contact.
const UNDELIVERED_OF_STRANGERS: i64 = UNDELIVERED_PER_MAILBOX / 2;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredMessage {
    /// Its id.
    pub(crate) message_id: MessageId,
    /// The sender.
    pub(crate) sender: UserId,
    /// The sender's device.
    pub(crate) sender_device: DeviceId,
    /// The sender's request id.
    pub(crate) request: RequestId,
    /// The recipient.
    pub(crate) recipient: UserId,
    /// Its number in the mailbox that was read.
    pub(crate) seq: u64,
    /// The encrypted content.
    pub(crate) encrypted_content: Bytes,
    /// When it was committed.
    pub(crate) created_at_ms: i64,
    /// When it was delivered.
    pub(crate) delivered_at_ms: Option<i64>,
    /// When it was read.
    pub(crate) read_at_ms: Option<i64>,
}

impl StoredMessage {
    /// The message in the form of the wire.
    pub(crate) fn as_message(&self) -> MailboxMessage<'_> {
        MailboxMessage::new(
            self.message_id,
            self.seq,
            self.sender,
            self.sender_device.clone(),
            self.recipient,
            self.encrypted_content.as_ref().into(),
            Timestamp::from_ms(self.created_at_ms),
        )
        .with_delivered_at(self.delivered_at_ms.map(Timestamp::from_ms))
        .with_read_at(self.read_at_ms.map(Timestamp::from_ms))
    }
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    message_id: Uuid,
    sender_id: Uuid,
    sender_device_id: String,
    request_id: String,
    recipient_id: Uuid,
    seq: i64,
    encrypted_content: Vec<u8>,
    created_at_ms: i64,
    delivered_at_ms: Option<i64>,
    read_at_ms: Option<i64>,
    delivered_masked: bool,
    read_masked: bool,
}

impl MessageRow {
    /// The message as one of the two users sees it in their mailbox.
    fn seen_by(self, user: UserId) -> Result<StoredMessage, StoreError> {
        let is_recipient = self.recipient_id == user.as_uuid();
        let read_at_ms = self.read_at_ms.filter(|_| is_recipient || !self.read_masked);
        // For the sender, a message that was read counts as delivered.
        let is_arrival_shown = is_recipient || !self.delivered_masked;
        let delivered_at_ms = if is_arrival_shown { self.delivered_at_ms } else { read_at_ms };
        Ok(StoredMessage {
            message_id: MessageId::new(self.message_id),
            sender: UserId::new(self.sender_id),
            sender_device: row::device_id(&self.sender_device_id)?,
            request: self.request_id.parse().map_err(row::unreadable)?,
            recipient: UserId::new(self.recipient_id),
            seq: sequence(self.seq),
            encrypted_content: self.encrypted_content.into(),
            created_at_ms: self.created_at_ms,
            delivered_at_ms,
            read_at_ms,
        })
    }
}

/// Creates the mailbox of a new account.
pub(super) async fn create(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    within!(tx, connection => {
        let insert = "INSERT INTO mailboxes (user_id) VALUES ($1)";
        sqlx::query(insert).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

/// Deletes the mailbox of an account. The messages stay in the mailboxes of the other users.
pub(super) async fn delete(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM mailboxes WHERE user_id = $1",
        "DELETE FROM messages WHERE sender_id = $1 AND recipient_id = $1",
    ] {
        within!(tx, connection => {
            sqlx::query(delete).bind(user.as_uuid()).execute(connection).await?;
        });
    }
    Ok(())
}

/// Converts a stored number to that of the wire.
fn sequence(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or_default()
}

/// Converts a number of the wire to a stored one.
fn stored_sequence(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
