//! The five doors as data (docs/protocol/doors.md).

#[cfg(feature = "protobuf")]
use crate::Codec;

/// A WebSocket endpoint. All doors lead to the same session; they differ in how identity is proved, how a refusal looks
/// and which codec is the default.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `/v1/connect`: an Ed25519 key or a token, on the socket.
    Connect,
    /// `/v1/chat/{room}`: a token in the first message; the session is then in the room.
    Chat,
    /// `/signal?token=…&device_id=…`.
    Signal,
    /// `/ws?token=…`: protobuf.
    Protobuf,
    /// `/api/ws?token=…`: refused before the upgrade.
    Api,
}

/// How identity is proved.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// On the socket: by key, answering the challenge that the server sends at once, or by token.
    KeyOrToken,
    /// On the socket: the first message is `auth`.
    FirstMessage,
    /// In the query, or in `Authorization: Bearer`.
    Query,
}

/// How a refusal looks.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `auth_failure`, then the close.
    AuthFailure,
    /// Close 1008 with one of four reasons.
    PolicyViolation,
    /// The upgrade, then the close.
    Close,
    /// HTTP 401 instead of the upgrade.
    Unauthorized,
}

/// The names in the query of the three doors that take the proof there.
pub mod query {
    /// The access token; `Authorization: Bearer` serves as well.
    pub const TOKEN: &str = "token";
    /// The device that connects.
    pub const DEVICE_ID: &str = "device_id";
    /// The resume token of the session to go on with.
    pub const RESUME: &str = "resume";
    /// How many counted messages of that session the client has received.
    pub const RECEIVED: &str = "received";
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Chat, Self::Signal, Self::Protobuf, Self::Api];

    /// The path, with `{room}` where it has one.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Connect => "/v1/connect",
            Self::Chat => "/v1/chat/{room}",
            Self::Signal => "/signal",
            Self::Protobuf => "/ws",
            Self::Api => "/api/ws",
        }
    }

    /// How identity is proved.
    #[must_use]
    pub const fn proof(self) -> Proof {
        match self {
            Self::Connect => Proof::KeyOrToken,
            Self::Chat => Proof::FirstMessage,
            Self::Signal | Self::Protobuf | Self::Api => Proof::Query,
        }
    }

    /// How a refusal looks.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Connect => Refusal::AuthFailure,
            Self::Chat => Refusal::PolicyViolation,
            Self::Signal | Self::Protobuf => Refusal::Close,
            Self::Api => Refusal::Unauthorized,
        }
    }

    /// The codec where the client names none.
    #[cfg(feature = "protobuf")]
    #[must_use]
    pub const fn default_codec(self) -> Codec {
        match self {
            Self::Protobuf => Codec::Proto,
            Self::Connect | Self::Chat | Self::Signal | Self::Api => Codec::Json,
        }
    }
}
