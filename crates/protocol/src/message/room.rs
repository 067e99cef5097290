//! Rooms: who is in them, and what is said there (docs/protocol/messages.md).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::page;
use crate::{DeviceId, Payload, RequestId, RoomId, Sender, Timestamp, UserId};

/// C→S: the session enters a room.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Join {
    /// The room; on `/v1/chat/{room}` it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
}

/// C→S: the session leaves a room.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leave {
    /// The room; on `/v1/chat/{room}` it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
}

/// S→C: who is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RoomMembers {
    /// The room.
    pub room: RoomId,
    /// How many users are in it.
    pub count: u64,
    /// Who they are; none in a room of over 256 users.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub members: Option<Vec<RoomMember>>,
}

/// A user in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RoomMember {
    /// The user.
    pub user_id: UserId,
    /// The devices with which the user is in the room.
    pub device_ids: Vec<DeviceId>,
}

/// S→C: a device entered a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MemberJoined {
    /// The room.
    pub room: RoomId,
    /// The user.
    pub user_id: UserId,
    /// The device.
    pub device_id: DeviceId,
}

/// S→C: a device left a room, or was removed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MemberLeft {
    /// The room.
    pub room: RoomId,
    /// The user.
    pub user_id: UserId,
    /// The device.
    pub device_id: DeviceId,
}

/// S→C: the owner of a private room put this user in it. Until they join it, it opens nothing, in either direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RoomInvite {
    /// The room.
    pub room: RoomId,
    /// Its owner.
    pub user_id: UserId,
}

/// C→S: said in a room; stored and numbered.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChatMessage<'a> {
    /// The room; on `/v1/chat/{room}` it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// `{content}`, where `content` is a string.
    #[serde(borrow, skip_serializing)]
    pub payload: Payload<'a>,
}

/// What a chat message's payload holds.
// Exhaustive on purpose: who says it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChatContent<'a> {
    /// What is said.
    #[serde(borrow)]
    pub content: Cow<'a, str>,
}

/// C→S: said in a room; neither stored nor numbered.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Broadcast<'a> {
    /// The room; on `/v1/chat/{room}` it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// The content, relayed without being looked into.
    #[serde(borrow, skip_serializing)]
    pub payload: Payload<'a>,
}

/// S→C: a stored chat message, live or out of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredChatMessage<'a> {
    /// The room.
    pub room: RoomId,
    /// Its number in the room.
    pub seq: u64,
    /// Who said it.
    #[serde(flatten)]
    pub sender: Sender,
    /// `{content}`, byte for byte as it was sent.
    #[serde(skip_serializing)]
    pub payload: Payload<'a>,
}

/// S→C: something said in a room, neither stored nor numbered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RelayedBroadcast<'a> {
    /// The room.
    pub room: RoomId,
    /// Who said it.
    #[serde(flatten)]
    pub sender: Sender,
    /// The content, byte for byte as it was sent.
    #[serde(skip_serializing)]
    pub payload: Payload<'a>,
}

/// C→S: asks for what was said in a room.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryRequest {
    /// The room; on `/v1/chat/{room}` it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// Only what has a higher number.
    #[serde(default, deserialize_with = "page::since")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub since_seq: u64,
    /// How many at most: 100 where none is given, cut to 500; 0 is refused.
    #[serde(default, deserialize_with = "page::limit", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub limit: Option<u32>,
}

/// S→C: what was said in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct History<'a> {
    /// The room.
    pub room: RoomId,
    /// In the order of their numbers.
    pub messages: Vec<HistoryMessage<'a>>,
    /// Nothing newer than the last given is there.
    pub complete: bool,
    /// The number of the oldest message kept.
    pub first_seq: u64,
    /// The newest number that the room has given. Where it is lower than what was asked from, the server was restored from
    /// a backup. None from servers that do not tell.
    pub last_seq: Option<u64>,
}

/// A chat message of the history, with what its own frame had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryMessage<'a> {
    /// The sender's id of it.
    pub id: Option<RequestId>,
    /// When it was committed.
    pub timestamp: Timestamp,
    /// The message.
    pub message: StoredChatMessage<'a>,
}

/// S→C: the room's state document, at joining and at each change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomUpdate<'a> {
    /// The room.
    pub room: RoomId,
    /// Goes up with each change; 0 where none was set.
    pub revision: u64,
    /// The document; `null` where none was set.
    pub state: Payload<'a>,
}
