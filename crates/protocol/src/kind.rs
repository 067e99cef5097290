//! The names of the messages.

macro_rules! message_kinds {
    ($($variant:ident = $name:literal,)*) => {
        /// The `type` of a message, one for each name on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is its name; the message types carry the meaning")]
        #[non_exhaustive]
        pub enum MessageKind {
            $($variant,)*
        }

        impl MessageKind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The kind of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

message_kinds! {
    AuthChallenge = "auth_challenge",
    AuthResponse = "auth_response",
    Auth = "auth",
    AuthSuccess = "auth_success",
    AuthFailure = "auth_failure",
    Connected = "connected",
    AuthRequired = "auth_required",
    Ack = "ack",
    Error = "error",
    Offer = "offer",
    Answer = "answer",
    IceCandidate = "ice-candidate",
    Signal = "signal",
    IceServers = "ice_servers",
    Join = "join",
    Leave = "leave",
    RoomMembers = "room_members",
    MemberJoined = "member_joined",
    MemberLeft = "member_left",
    ChatMessage = "chat_message",
    Broadcast = "broadcast",
    History = "history",
    RoomUpdate = "room_update",
    Message = "message",
    Sync = "sync",
    Synced = "synced",
    Delivered = "delivered",
    Read = "read",
    Receipt = "receipt",
    Presence = "presence",
    PresenceSubscribe = "presence_subscribe",
    PresenceUnsubscribe = "presence_unsubscribe",
    Alert = "alert",
    ContactRequest = "contact_request",
    ServerDraining = "server_draining",
    Received = "received",
    Ping = "ping",
    Pong = "pong",
    RoomInvite = "room_invite",
}
