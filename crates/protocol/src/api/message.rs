//! Encrypted messages that are kept.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{DeviceId, MailboxMessage, MessageId, Timestamp, UserId, UserRef, binary, whole};

/// The query of `GET /api/messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct ConversationQuery {
    /// With whom.
    pub peer: UserRef,
    /// Only what has a lower number in the caller's mailbox.
    #[serde(default, deserialize_with = "whole::query::number", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(maximum = 9_007_199_254_740_991_i64))]
    pub before_seq: Option<u64>,
    /// How many at the most: 100 where none is given, cut to 500; 0 is refused.
    #[serde(default, deserialize_with = "whole::query::count", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(minimum = 1, default = 100, format = "uint64"))]
    pub limit: Option<u64>,
}

/// What `GET /api/messages` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredMessageList {
    /// The newest first: as many as were asked for, and at most 1 MiB and one message.
    pub messages: Vec<StoredMessage>,
    /// The `before_seq` to go on with; null where there is nothing older.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<u64>,
}

/// A message of the caller's mailbox; its fields are those of [`MailboxMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredMessage {
    /// Its id.
    pub message_id: MessageId,
    /// Its number in the caller's mailbox.
    pub seq: u64,
    /// From whom.
    pub sender_user_id: UserId,
    /// From which device.
    pub sender_device_id: DeviceId,
    /// For whom.
    pub recipient_id: UserId,
    /// What only the recipient can read.
    #[serde(with = "binary::bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::EncryptedContent))]
    pub encrypted_content: Vec<u8>,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When it first reached a device of the recipient.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub delivered_at: Option<Timestamp>,
    /// When the recipient read it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub read_at: Option<Timestamp>,
}

impl From<MailboxMessage<'_>> for StoredMessage {
    fn from(message: MailboxMessage<'_>) -> Self {
        Self {
            message_id: message.message_id,
            seq: message.seq,
            sender_user_id: message.sender_user_id,
            sender_device_id: message.sender_device_id,
            recipient_id: message.recipient_id,
            encrypted_content: message.encrypted_content.into_owned(),
            created_at: message.created_at,
            delivered_at: message.delivered_at,
            read_at: message.read_at,
        }
    }
}
