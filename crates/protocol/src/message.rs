//! The messages, one family a file, both directions.

mod build;
mod handshake;
mod liveness;
mod mailbox;
mod notice;
mod owned;
mod page;
mod presence;
mod reply;
mod room;
mod signaling;
mod unknown;

pub use handshake::{
    Auth, AuthChallenge, AuthFailure, AuthRequired, AuthResponse, AuthSuccess, Connected, Heartbeat,
    PendingRotation, Resume, SessionInfo, SessionLimits,
};
pub use liveness::Received;
pub use mailbox::{Delivered, EncryptedMessage, MailboxMessage, Read, Receipt, Sync, Synced};
pub use notice::{Alert, AlertKind, ContactRequest, ServerDraining};
pub use presence::{Presence, PresenceSubscribe, PresenceUnsubscribe, SetPresence, Status};
pub use reply::{Ack, AckStatus, ErrorReply};
pub use room::{
    Broadcast, ChatContent, ChatMessage, History, HistoryMessage, HistoryRequest, Join, Leave, MemberJoined,
    MemberLeft, RelayedBroadcast, RoomInvite, RoomMember, RoomMembers, RoomUpdate, StoredChatMessage,
};
pub use signaling::{
    DEFAULT_STUN_SERVERS, IceServer, IceServers, RelayedSignal, Sender, Signal, SignalKind, SignalSignature,
    Target,
};
pub use unknown::UnknownMessage;
