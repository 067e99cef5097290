//! `ack` and `error` (docs/protocol/messages.md).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{DeviceId, ErrorCode, MessageId, names::names};

/// S→C: the request was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Ack<'a> {
    /// For people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// What was done with the request.
    pub status: AckStatus,
    /// The number that a stored message got, in its room or in the sender's mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The id of a stored encrypted message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The devices that a signal to a user reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceId>>,
    /// The same request was stored before; this is its first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

impl<'a> Ack<'a> {
    /// An `ack` with a status and a text alone.
    #[must_use]
    pub fn new(status: AckStatus, message: impl Into<Cow<'a, str>>) -> Self {
        Self { message: message.into(), status, seq: None, message_id: None, devices: None, duplicate: None }
    }
}

names! {
    /// What was done with a request.
    open AckStatus {
        /// Handed to a live connection.
        Delivered = "delivered",
        /// Held for a device inside its resume window, and for that window only.
        Buffered = "buffered",
        /// Committed to disk.
        Stored = "stored",
        /// Done.
        Done = "done",
    }
}

/// S→C: the request was refused, or the connection is about to be closed.
// Exhaustive on purpose: client libraries handle it, and decide about each field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorReply<'a> {
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// Before a close: whether the client should come back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<bool>,
    /// When to try again, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The close code that follows. An `error` with it is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<u16>,
}

impl<'a> ErrorReply<'a> {
    /// An `error` that answers a request.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'a, str>>) -> Self {
        Self { code, message: message.into(), reconnect: None, retry_after: None, close: None }
    }
}
