//! What a request changes for the client itself.

use std::borrow::Cow;

use aldis_protocol::{ClientMessage, Hash, RoomId, SetPresence, Signal, SignalKind, Target, UserRef};

/// From where an application follows a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// Messages from now on.
    Now,
    /// Messages with a higher number: the last one that the application has, or 0 for all that the server keeps.
    Seq(u64),
}

/// What a request of the application changes for the client itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Nothing,
    /// An offer opens a call.
    Call(Target),
    Join(RoomId, Since),
    Leave(RoomId),
    /// A message in a room; the number in its `ack` is skipped in the stream.
    Chat(RoomId),
    /// A request that needs membership of the room.
    InRoom(RoomId),
    /// A message to a mailbox, with the hash of its content; the number in its `ack` is one of the own mailbox.
    Message(Hash),
    Sync,
    Presence(SetPresence<'static>),
    Subscribe(Vec<UserRef>),
    Unsubscribe(Vec<UserRef>),
}

/// A request that the client makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackgroundRequest {
    Join(RoomId),
    History(RoomId),
    Presence,
    Subscribe(Vec<UserRef>),
    Sync,
    /// Acknowledges the first so many stored messages.
    Delivered(usize),
}

impl Purpose {
    pub(crate) fn of(message: &ClientMessage<'_>) -> Self {
        let in_room = |room: &Option<RoomId>| room.clone().map_or(Self::Nothing, Self::InRoom);
        match message {
            ClientMessage::Signal(Signal { kind: SignalKind::Offer, target, .. }) => {
                Self::Call(target.clone())
            }
            ClientMessage::Join(join) => {
                join.room.clone().map_or(Self::Nothing, |room| Self::Join(room, Since::Now))
            }
            ClientMessage::Leave(leave) => leave.room.clone().map_or(Self::Nothing, Self::Leave),
            ClientMessage::ChatMessage(chat) => chat.room.clone().map_or(Self::Nothing, Self::Chat),
            ClientMessage::Broadcast(broadcast) => in_room(&broadcast.room),
            ClientMessage::History(history) => in_room(&history.room),
            ClientMessage::Message(message) => Self::Message(Hash::of(&message.encrypted_content)),
            ClientMessage::Sync(_) => Self::Sync,
            ClientMessage::Presence(presence) => Self::Presence(owned(presence)),
            ClientMessage::PresenceSubscribe(subscribe) => Self::Subscribe(subscribe.user_ids.clone()),
            ClientMessage::PresenceUnsubscribe(subscribe) => Self::Unsubscribe(subscribe.user_ids.clone()),
            ClientMessage::Signal(_)
            | ClientMessage::AuthResponse(_)
            | ClientMessage::Auth(_)
            | ClientMessage::IceServers
            | ClientMessage::Delivered(_)
            | ClientMessage::Read(_)
            | ClientMessage::Received(_)
            | ClientMessage::Ping => Self::Nothing,
        }
    }

    /// The room whose membership the request needs.
    pub(crate) const fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Chat(room) | Self::InRoom(room) => Some(room),
            Self::Nothing
            | Self::Call(_)
            | Self::Join(..)
            | Self::Leave(_)
            | Self::Message(_)
            | Self::Sync
            | Self::Presence(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_) => None,
        }
    }
}

fn owned(presence: &SetPresence<'_>) -> SetPresence<'static> {
    let note = presence.note.as_ref().map(|note| Cow::Owned(note.clone().into_owned()));
    SetPresence { status: presence.status, note }
}
