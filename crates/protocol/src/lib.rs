//! The words of the Aldis protocol.
//!
//! In the order in which they come up: a [`Door`] leads to a session; a frame is decoded by a [`Codec`] into a
//! [`ClientFrame`] and answered by a [`ServerFrame`]; [`ErrorCode`]s and [`CloseCode`]s say what went wrong;
//! [`statement`] has the bytes that keys sign; [`api`] has the bodies of the HTTP API. This crate knows no runtime, no
//! clock and no socket.
//!
//! # The envelope
//!
//! Each frame has a `type` (a [`MessageKind`]), an `id` that ties a reply to its request, and, from the server, a
//! `timestamp`. `target_…`, `sender_…`, `room` and `seq` route. `payload` is the content: relayed as the bytes in which
//! it came, and never parsed ([`Payload`]).
//!
//! ```
//! use aldis_protocol::{ClientFrame, ClientMessage, Codec, Payload, RequestId, Signal, SignalKind, Target};
//!
//! let offer = Signal {
//!     kind: SignalKind::Offer,
//!     target: Target::Device("phone".parse()?),
//!     payload: Payload::from_json(r#"{"type":"offer","sdp":"v=0"}"#)?,
//!     signature: None,
//! };
//! let frame = ClientFrame { id: Some(RequestId::new("m-1")?), message: ClientMessage::Signal(offer) };
//! let bytes = Codec::Json.encode_client(&frame);
//! assert_eq!(Codec::Json.decode_client(&bytes)?, frame);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod api;
pub mod binary;
mod check;
mod client;
mod close;
mod code;
mod codec;
#[cfg(feature = "openapi")]
pub mod description;
mod door;
mod ids;
mod kind;
pub mod limits;
mod message;
mod names;
#[cfg(feature = "openapi")]
mod openapi;
mod payload;
mod secret;
mod server;
pub mod statement;
mod timestamp;
pub mod whole;

pub use client::{ClientFrame, ClientMessage};
pub use close::{Advice, CloseCode, reason};
pub use code::ErrorCode;
#[cfg(feature = "protobuf")]
pub use codec::schema;
pub use codec::{Codec, DecodeError};
pub use door::{Door, Proof, Refusal, query};
pub use ids::{
    ContactLabel, DeviceId, Fingerprint, Hash, InvalidId, MAX_ID_LEN, MessageId, RequestId, RoomId,
    SessionId, UserId, UserRef,
};
pub use kind::MessageKind;
pub use message::{
    Ack, AckStatus, Alert, AlertKind, Auth, AuthChallenge, AuthFailure, AuthRequired, AuthResponse,
    AuthSuccess, Broadcast, ChatContent, ChatMessage, Connected, ContactRequest, DEFAULT_STUN_SERVERS,
    Delivered, EncryptedMessage, ErrorReply, Heartbeat, History, HistoryMessage, HistoryRequest, IceServer,
    IceServers, Join, Leave, MailboxMessage, MemberJoined, MemberLeft, PendingRotation, Presence,
    PresenceSubscribe, PresenceUnsubscribe, Read, Receipt, Received, RelayedBroadcast, RelayedSignal, Resume,
    RoomInvite, RoomMember, RoomMembers, RoomUpdate, Sender, ServerDraining, SessionInfo, SessionLimits,
    SetPresence, Signal, SignalKind, SignalSignature, Status, StoredChatMessage, Sync, Synced, Target,
    UnknownMessage,
};
pub use names::{UnknownName, UnknownWord};
pub use payload::{InvalidPayload, Payload};
pub use secret::Secret;
pub use server::{ServerFrame, ServerMessage};
pub use timestamp::{InvalidTimestamp, Timestamp};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
