//! Signaling: how two devices set up a connection to each other (docs/protocol/messages.md).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{DeviceId, Fingerprint, MessageKind, Payload, Secret, Timestamp, UserId, UserRef};

/// The STUN servers that a server names where it is configured with no others.
pub const DEFAULT_STUN_SERVERS: [&str; 2] = ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"];

/// C→S: `offer`, `answer`, `ice-candidate` or `signal`, relayed unchanged.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal<'a> {
    /// Which of the four.
    pub kind: SignalKind,
    /// To whom.
    pub target: Target,
    /// The content, relayed without being looked into.
    pub payload: Payload<'a>,
    /// The sender's own signature, for the target to verify.
    pub signature: Option<SignalSignature>,
}

/// The four kinds of signal.
// Exhaustive on purpose: a fifth kind would be a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// A session description that begins a call.
    Offer,
    /// The session description that answers it.
    Answer,
    /// A network address to try.
    IceCandidate,
    /// Anything else.
    Signal,
}

impl SignalKind {
    /// The kind of message that carries it.
    #[must_use]
    pub const fn message_kind(self) -> MessageKind {
        match self {
            Self::Offer => MessageKind::Offer,
            Self::Answer => MessageKind::Answer,
            Self::IceCandidate => MessageKind::IceCandidate,
            Self::Signal => MessageKind::Signal,
        }
    }
}

/// To whom a signal goes.
// Exhaustive on purpose: who routes a signal decides about each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One device.
    Device(DeviceId),
    /// All live devices of a user.
    User(UserRef),
}

/// A signature over [`statement::SignalStatement`](crate::statement::SignalStatement), with the time it names.
// Exhaustive on purpose: it is what the statement `aldis/v1/signal` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSignature {
    /// By the device's key, else the identity's.
    pub signature: [u8; 64],
    /// When it was signed, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// S→C: a signal, with its sender as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayedSignal<'a> {
    /// Which of the four.
    pub kind: SignalKind,
    /// From whom.
    pub sender: Sender,
    /// The content, byte for byte as it was sent.
    pub payload: Payload<'a>,
    /// The sender's own signature, for the receiver to verify.
    pub signature: Option<SignalSignature>,
}

/// Who sent a relayed message; set by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sender {
    /// The device.
    #[serde(rename = "sender_device_id")]
    pub device_id: DeviceId,
    /// The user.
    #[serde(rename = "sender_user_id")]
    pub user_id: UserId,
    /// The user's identity, where there is one.
    #[serde(rename = "sender_fingerprint", default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// S→C: the servers that help two devices reach each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct IceServers<'a> {
    /// As browsers take them.
    #[serde(borrow)]
    pub ice_servers: Vec<IceServer<'a>>,
    /// When the credentials end; none where there are none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub expires_at: Option<Timestamp>,
}

/// A STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct IceServer<'a> {
    /// Its addresses.
    #[serde(borrow)]
    pub urls: Vec<Cow<'a, str>>,
    /// For TURN.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Cow<'a, str>>,
    /// For TURN.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret<'a>>,
}
