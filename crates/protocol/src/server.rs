//! The frames of servers.

use crate::{
    Ack, Alert, AuthChallenge, AuthFailure, AuthRequired, AuthSuccess, Connected, ContactRequest, ErrorReply,
    History, IceServers, MailboxMessage, MemberJoined, MemberLeft, MessageKind, Presence, Receipt,
    RelayedBroadcast, RelayedSignal, RequestId, RoomInvite, RoomMembers, RoomUpdate, ServerDraining,
    StoredChatMessage, Synced, Timestamp, UnknownMessage,
};

/// A frame from a server.
// Exhaustive on purpose: the envelope of version 1.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFrame<'a> {
    /// The request's where it answers one, the sender's where it is relayed, else a fresh one.
    pub id: Option<RequestId>,
    /// When it was sent; on stored messages, when they were committed.
    pub timestamp: Timestamp,
    /// The message.
    pub message: ServerMessage<'a>,
}

/// A message of a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the message inside it, documented there")]
pub enum ServerMessage<'a> {
    AuthChallenge(AuthChallenge<'a>),
    AuthSuccess(AuthSuccess),
    AuthFailure(AuthFailure<'a>),
    Connected(Connected<'a>),
    AuthRequired(AuthRequired<'a>),
    Ack(Ack<'a>),
    Error(ErrorReply<'a>),
    Signal(RelayedSignal<'a>),
    IceServers(IceServers<'a>),
    RoomMembers(RoomMembers),
    MemberJoined(MemberJoined),
    MemberLeft(MemberLeft),
    ChatMessage(StoredChatMessage<'a>),
    Broadcast(RelayedBroadcast<'a>),
    History(History<'a>),
    RoomUpdate(RoomUpdate<'a>),
    Message(MailboxMessage<'a>),
    Synced(Synced),
    Receipt(Receipt),
    Presence(Presence<'a>),
    Alert(Alert),
    ContactRequest(ContactRequest),
    RoomInvite(RoomInvite),
    ServerDraining(ServerDraining),
    /// The server is still there.
    Pong,
    Unknown(UnknownMessage),
}

impl ServerMessage<'_> {
    /// Its kind; none where this version does not know its type.
    #[must_use]
    pub const fn kind(&self) -> Option<MessageKind> {
        Some(match self {
            Self::AuthChallenge(_) => MessageKind::AuthChallenge,
            Self::AuthSuccess(_) => MessageKind::AuthSuccess,
            Self::AuthFailure(_) => MessageKind::AuthFailure,
            Self::Connected(_) => MessageKind::Connected,
            Self::AuthRequired(_) => MessageKind::AuthRequired,
            Self::Ack(_) => MessageKind::Ack,
            Self::Error(_) => MessageKind::Error,
            Self::Signal(signal) => signal.kind.message_kind(),
            Self::IceServers(_) => MessageKind::IceServers,
            Self::RoomMembers(_) => MessageKind::RoomMembers,
            Self::MemberJoined(_) => MessageKind::MemberJoined,
            Self::MemberLeft(_) => MessageKind::MemberLeft,
            Self::ChatMessage(_) => MessageKind::ChatMessage,
            Self::Broadcast(_) => MessageKind::Broadcast,
            Self::History(_) => MessageKind::History,
            Self::RoomUpdate(_) => MessageKind::RoomUpdate,
            Self::Message(_) => MessageKind::Message,
            Self::Synced(_) => MessageKind::Synced,
            Self::Receipt(_) => MessageKind::Receipt,
            Self::Presence(_) => MessageKind::Presence,
            Self::Alert(_) => MessageKind::Alert,
            Self::ContactRequest(_) => MessageKind::ContactRequest,
            Self::RoomInvite(_) => MessageKind::RoomInvite,
            Self::ServerDraining(_) => MessageKind::ServerDraining,
            Self::Pong => MessageKind::Pong,
            Self::Unknown(_) => return None,
        })
    }

    /// Whether a client confirms it by `received` (docs/protocol/resume.md).
    ///
    /// A message alone does not tell everything: what a `sync` streams, its `synced`, and all messages before `connected`
    /// are not counted either.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        match self {
            Self::Error(error) => error.close.is_none(),
            Self::Unknown(message) => !message.uncounted,
            Self::AuthChallenge(_)
            | Self::Connected(_)
            | Self::Pong
            | Self::ServerDraining(_)
            | Self::Presence(_)
            | Self::History(_)
            | Self::Synced(_) => false,
            Self::AuthSuccess(_)
            | Self::AuthFailure(_)
            | Self::AuthRequired(_)
            | Self::Ack(_)
            | Self::Signal(_)
            | Self::IceServers(_)
            | Self::RoomMembers(_)
            | Self::MemberJoined(_)
            | Self::MemberLeft(_)
            | Self::ChatMessage(_)
            | Self::Broadcast(_)
            | Self::RoomUpdate(_)
            | Self::Message(_)
            | Self::Receipt(_)
            | Self::Alert(_)
            | Self::ContactRequest(_)
            | Self::RoomInvite(_) => true,
        }
    }
}
