//! Rooms: made, looked at, entered in their list of members; what was said there, and their state document.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    DeviceId, Fingerprint, HistoryMessage, InvalidPayload, MessageKind, Payload, RequestId, RoomId,
    Timestamp, UserId, UserRef, limits::MAX_JSON_DEPTH, names::names, payload::depth_exceeds,
};

/// `POST /api/rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateRoom {
    /// Its name, which nobody else has taken.
    pub room: RoomId,
    /// Who may join it.
    pub visibility: RoomVisibility,
    /// Who is in it besides the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<UserRef>>,
    /// Who sets its state document; its owner alone where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_writers: Option<StateWriters>,
}

/// The name that no new room may have: `GET /api/rooms/invitations` is a call of its own.
pub const RESERVED_ROOM: &str = "invitations";

/// What `GET /api/rooms/invitations` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoomInvitations {
    /// The oldest first.
    pub invitations: Vec<RoomInvitation>,
}

/// A private room that the caller was put in and has not joined yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoomInvitation {
    /// The room.
    pub room: RoomId,
    /// Its owner.
    pub user_id: UserId,
    /// When the owner put the caller in it.
    pub since: Timestamp,
}

/// A room, as a user who may join it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Room {
    /// Its name.
    pub room: RoomId,
    /// Who decides about it.
    pub owner_id: UserId,
    /// Who may join it.
    pub visibility: RoomVisibility,
    /// Who sets its state document.
    pub state_writers: StateWriters,
    /// Who was put in it, its owner first. Of a private room, also those who have not joined it yet.
    pub members: Vec<UserId>,
    /// When it was made; null where it was joined but never made.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub created_at: Option<Timestamp>,
}

names! {
    /// Who may join a room.
    RoomVisibility {
        /// Everybody who was not removed from it.
        Public = "public",
        /// Its members.
        Private = "private",
    }
}

names! {
    /// Who sets a room's state document.
    StateWriters {
        /// Its owner.
        Owner = "owner",
        /// Everybody whom the owner added.
        Members = "members",
    }
}

/// What `GET /api/rooms/{room}/messages` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoomMessages {
    /// In the order of their numbers: as many as were asked for, and at most 1 MiB and one message.
    pub messages: Vec<RoomMessage>,
    /// Nothing newer than the last given is there.
    pub complete: bool,
    /// The number of the oldest message kept.
    pub first_seq: u64,
    /// The `since_seq` to go on with; null where `complete` is true.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<u64>,
}

/// A chat message, with the members of its frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoomMessage {
    /// What its frame is.
    #[serde(rename = "type")]
    pub kind: ChatMessageKind,
    /// The sender's id of it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub id: Option<RequestId>,
    /// When it was committed.
    pub timestamp: Timestamp,
    /// The room.
    pub room: RoomId,
    /// Its number in the room.
    pub seq: u64,
    /// The sender's device.
    pub sender_device_id: DeviceId,
    /// The sender.
    pub sender_user_id: UserId,
    /// The sender's identity, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_fingerprint: Option<Fingerprint>,
    /// `{content}`, byte for byte as it was sent.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::ChatContent))]
    pub payload: Box<RawValue>,
}

names! {
    /// The one kind of frame that a room keeps.
    ChatMessageKind {
        /// A chat message.
        ChatMessage = "chat_message",
    }
}

impl From<ChatMessageKind> for MessageKind {
    fn from(_: ChatMessageKind) -> Self {
        Self::ChatMessage
    }
}

impl TryFrom<HistoryMessage<'_>> for RoomMessage {
    type Error = InvalidPayload;

    fn try_from(entry: HistoryMessage<'_>) -> Result<Self, InvalidPayload> {
        let HistoryMessage { id, timestamp, message } = entry;
        let sender = message.sender;
        Ok(Self {
            kind: ChatMessageKind::ChatMessage,
            id,
            timestamp,
            room: message.room,
            seq: message.seq,
            sender_device_id: sender.device_id,
            sender_user_id: sender.user_id,
            sender_fingerprint: sender.fingerprint,
            payload: message.payload.to_raw()?,
        })
    }
}

/// `PUT /api/rooms/{room}/state`, with the revision that it follows in `If-Match`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRoomState {
    /// Any JSON value of up to 32 KiB, which nests 126 levels at the most.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub state: Box<RawValue>,
}

impl SetRoomState {
    /// Whether the document nests so deep that the frame which carries it would nest deeper than frames may.
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        depth_exceeds(self.state.get().as_bytes(), MAX_JSON_DEPTH - LEVELS_AROUND_STATE)
    }
}

/// The frame and its payload.
const LEVELS_AROUND_STATE: usize = 2;

/// A room's state document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoomState {
    /// Goes up with each change; 0 where none was set.
    pub revision: u64,
    /// The document; null where none was set.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub state: Box<RawValue>,
}

impl RoomState {
    /// The document with its number.
    ///
    /// # Errors
    /// [`InvalidPayload`] where it is no JSON.
    pub fn new(revision: u64, state: &Payload<'_>) -> Result<Self, InvalidPayload> {
        Ok(Self { revision, state: state.to_raw()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Sender, StoredChatMessage};

    #[test]
    fn a_message_has_the_members_of_its_frame_and_its_bytes() {
        let user = UserId::new(uuid::Uuid::from_u128(1));
        let entry = HistoryMessage {
            id: Some("m-1".parse().unwrap()),
            timestamp: Timestamp::from_ms(1_800_000_000_000),
            message: StoredChatMessage {
                room: "kitchen".parse().unwrap(),
                seq: 7,
                sender: Sender { device_id: "phone".parse().unwrap(), user_id: user, fingerprint: None },
                payload: Payload::from_json(r#"{ "content" : "hi" }"#).unwrap(),
            },
        };
        let text = serde_json::to_string(&RoomMessage::try_from(entry).unwrap()).unwrap();
        assert!(text.contains(r#""payload":{ "content" : "hi" }"#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "type": "chat_message", "id": "m-1", "timestamp": "2027-01-15T08:00:00.000Z", "room": "kitchen", "seq": 7,
            "sender_device_id": "phone", "sender_user_id": user, "payload": {"content": "hi"},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_document_may_be_as_deep_as_its_frame_allows() {
        let nested = |levels: usize| {
            let text = format!(r#"{{"state":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
            serde_json::from_str::<SetRoomState>(&text).unwrap().is_too_deep()
        };
        assert!(!nested(126));
        assert!(nested(127));
    }

    #[test]
    fn a_document_may_be_null_but_not_missing() {
        assert_eq!(serde_json::from_str::<SetRoomState>(r#"{"state":null}"#).unwrap().state.get(), "null");
        assert!(serde_json::from_str::<SetRoomState>("{}").is_err());
    }
}
