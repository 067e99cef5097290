//! The five doors as data (docs/protocol/doors.md).

#[cfg(feature = "protobuf")]
use crate::Codec;

/// A WebSocket endpoint. All doors lead to the same kind of session. They differ in how a client authenticates, in how
/// the server refuses it and in the default codec.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `/v1/connect`: the client authenticates on the socket, by an Ed25519 key or a token.
    Connect,
    /// `/v1/chat/{room}`: the client sends a token in its first message, and the session joins the room.
    Chat,
    /// `/signal?token=…&device_id=…`: the token is in the query; JSON by default.
    Signal,
    /// `/ws?token=…`: the token is in the query; protobuf by default.
    Protobuf,
    /// `/api/ws?token=…`: the token is in the query; a refusal is an HTTP response instead of the upgrade.
    Api,
}

/// How a client authenticates.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// On the socket, by a signature of the challenge that the server sends at once, or by a token.
    KeyOrToken,
    /// On the socket, by `auth` as the first message.
    FirstMessage,
    /// By a token in the query or in `Authorization: Bearer`.
    Query,
}

/// How the server refuses a client.
// Exhaustive on purpose: a server decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It sends `auth_failure`, then closes.
    AuthFailure,
    /// It closes with 1008 and one of four reasons.
    PolicyViolation,
    /// It accepts the upgrade, then closes.
    Close,
    /// It answers with HTTP 401 instead of the upgrade.
    Unauthorized,
}

/// The names of the query parameters of the three doors that take a token in the query.
pub mod query {
    /// The access token. `Authorization: Bearer` works as well.
    pub const TOKEN: &str = "token";
    /// The device that connects.
    pub const DEVICE_ID: &str = "device_id";
    /// The resume token of the session to resume.
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

    /// How a client authenticates.
    #[must_use]
    pub const fn proof(self) -> Proof {
        match self {
            Self::Connect => Proof::KeyOrToken,
            Self::Chat => Proof::FirstMessage,
            Self::Signal | Self::Protobuf | Self::Api => Proof::Query,
        }
    }

    /// How the server refuses a client.
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
