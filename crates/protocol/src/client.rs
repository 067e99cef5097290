//! The frames of clients.

use crate::{
    Auth, AuthResponse, Broadcast, ChatMessage, Delivered, EncryptedMessage, HistoryRequest, Join, Leave,
    MessageKind, PresenceSubscribe, PresenceUnsubscribe, Read, Received, RequestId, SetPresence, Signal,
    Sync,
};

/// A frame from a client.
// Exhaustive on purpose: the envelope of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFrame<'a> {
    /// The reply has the same id.
    pub id: Option<RequestId>,
    /// The message.
    pub message: ClientMessage<'a>,
}

/// A message of a client. Text, payloads and encrypted content borrow from the frame if the codec allows it.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the message inside it, documented there")]
pub enum ClientMessage<'a> {
    AuthResponse(AuthResponse<'a>),
    Auth(Auth<'a>),
    Signal(Signal<'a>),
    /// Asks for STUN and TURN servers.
    IceServers,
    Join(Join),
    Leave(Leave),
    ChatMessage(ChatMessage<'a>),
    Broadcast(Broadcast<'a>),
    History(HistoryRequest),
    Message(EncryptedMessage<'a>),
    Sync(Sync),
    Delivered(Delivered),
    Read(Read),
    Presence(SetPresence<'a>),
    PresenceSubscribe(PresenceSubscribe),
    PresenceUnsubscribe(PresenceUnsubscribe),
    Received(Received),
    /// Asks whether the server is still there.
    Ping,
}

impl ClientMessage<'_> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::AuthResponse(_) => MessageKind::AuthResponse,
            Self::Auth(_) => MessageKind::Auth,
            Self::Signal(signal) => signal.kind.message_kind(),
            Self::IceServers => MessageKind::IceServers,
            Self::Join(_) => MessageKind::Join,
            Self::Leave(_) => MessageKind::Leave,
            Self::ChatMessage(_) => MessageKind::ChatMessage,
            Self::Broadcast(_) => MessageKind::Broadcast,
            Self::History(_) => MessageKind::History,
            Self::Message(_) => MessageKind::Message,
            Self::Sync(_) => MessageKind::Sync,
            Self::Delivered(_) => MessageKind::Delivered,
            Self::Read(_) => MessageKind::Read,
            Self::Presence(_) => MessageKind::Presence,
            Self::PresenceSubscribe(_) => MessageKind::PresenceSubscribe,
            Self::PresenceUnsubscribe(_) => MessageKind::PresenceUnsubscribe,
            Self::Received(_) => MessageKind::Received,
            Self::Ping => MessageKind::Ping,
        }
    }
}
