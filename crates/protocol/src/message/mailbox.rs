//! Encrypted messages, kept for users who are away (docs/protocol/messages.md).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::page;
use crate::{DeviceId, MessageId, Timestamp, UserId, UserRef};

/// C→S: a message for a user's mailbox.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedMessage<'a> {
    /// For whom.
    pub recipient: UserRef,
    /// What only the recipient can read; at most 48,000 bytes.
    pub encrypted_content: Cow<'a, [u8]>,
}

/// S→C: a message of the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxMessage<'a> {
    /// Its id, the same for everyone.
    pub message_id: MessageId,
    /// Its number in the mailbox of the user who receives this frame.
    pub seq: u64,
    /// From whom.
    pub sender_user_id: UserId,
    /// From which device.
    pub sender_device_id: DeviceId,
    /// For whom.
    pub recipient_id: UserId,
    /// What only the recipient can read.
    pub encrypted_content: Cow<'a, [u8]>,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When it first reached a device of the recipient.
    pub delivered_at: Option<Timestamp>,
    /// When the recipient read it.
    pub read_at: Option<Timestamp>,
}

/// C→S: asks for the mailbox from a number on.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sync {
    /// Only what has a higher number.
    #[serde(default, deserialize_with = "page::since")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub since_seq: u64,
    /// How many at most: 100 where none is given, cut to 500; 0 is refused.
    #[serde(default, deserialize_with = "page::limit", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub limit: Option<u32>,
}

/// S→C: the end of what a `sync` streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Synced {
    /// The last number streamed; `since_seq` where there was nothing. Where `since_seq` is beyond the newest number, that
    /// number, which is lower: the server was restored from a backup.
    pub seq: u64,
    /// The number of the oldest message kept.
    pub first_seq: u64,
    /// False where `limit` ended it.
    pub complete: bool,
}

/// C→S: these messages arrived.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivered {
    /// At most 500, all addressed to this user.
    #[cfg_attr(feature = "openapi", schema(max_items = 500))]
    pub message_ids: Vec<MessageId>,
}

/// C→S: these messages were read.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Read {
    /// At most 500, all addressed to this user.
    #[cfg_attr(feature = "openapi", schema(max_items = 500))]
    pub message_ids: Vec<MessageId>,
}

/// S→C: messages arrived or were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Receipt {
    /// The messages.
    pub message_ids: Vec<MessageId>,
    /// When they arrived.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub delivered_at: Option<Timestamp>,
    /// When they were read.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub read_at: Option<Timestamp>,
}
