//! Frames as bytes. A codec is four functions and one error, and knows nothing about sessions.

mod json;
mod proto;

use bytes::Bytes;

use crate::{ClientFrame, ErrorCode, MessageKind, RequestId, ServerFrame};

#[cfg(feature = "openapi")]
pub(crate) use json::fields;
pub use proto::schema;

/// The two wire formats.
// Exhaustive on purpose: who encodes decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames, one JSON object each.
    Json,
    /// Binary frames, one `aldis.v1.Envelope` each.
    Proto,
}

/// Why a frame was not understood. The connection stays; this becomes an `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The request's id, where that much was understood.
    pub id: Option<RequestId>,
    /// What the frame was meant to say, where that much was understood.
    pub kind: Option<MessageKind>,
    /// `bad_request`, `unknown_type` or `too_large`.
    pub code: ErrorCode,
    /// What is wrong, naming the field; a few hundred bytes at the most.
    pub message: String,
}

/// What a sender wrote may be quoted in the answer, but not at any length.
const MAX_ERROR_TEXT: usize = 256;

impl DecodeError {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message.into())
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, message.into())
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::bad_request(format!("missing field `{field}`"))
    }

    fn unknown_type(name: &str) -> Self {
        Self::new(ErrorCode::UnknownType, format!("there is no message type {name:?}"))
    }

    fn new(code: ErrorCode, mut message: String) -> Self {
        message.truncate(message.floor_char_boundary(MAX_ERROR_TEXT));
        Self { id: None, kind: None, code, message }
    }

    fn in_field(self, field: &str) -> Self {
        Self { message: format!("`{field}`: {}", self.message), ..self }
    }

    fn of_frame(self, id: Option<RequestId>, kind: Option<MessageKind>) -> Self {
        Self { id, kind, ..self }
    }
}

impl Codec {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Proto];

    /// The name by which `Sec-WebSocket-Protocol` picks it.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "aldis.v1.json",
            Self::Proto => "aldis.v1.proto",
        }
    }

    /// The codec of that name.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.subprotocol() == name)
    }

    /// Reads a client's frame. JSON borrows its text and payload from it; protobuf shares the payload's bytes.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is malformed; it holds the request's id as far as that was understood.
    ///
    /// ```
    /// use aldis_protocol::{ClientMessage, Codec};
    /// let frame = br#"{"type":"ping","id":"p-1"}"#.as_slice().into();
    /// assert_eq!(Codec::Json.decode_client(&frame).unwrap().message, ClientMessage::Ping);
    /// ```
    pub fn decode_client(self, frame: &Bytes) -> Result<ClientFrame<'_>, DecodeError> {
        match self {
            Self::Json => json::decode_client(frame),
            Self::Proto => proto::decode_client(frame),
        }
    }

    /// Writes a client's frame.
    #[must_use]
    pub fn encode_client(self, frame: &ClientFrame<'_>) -> Bytes {
        match self {
            Self::Json => json::encode_client(frame),
            Self::Proto => proto::encode_client(frame),
        }
    }

    /// Reads a server's frame.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is malformed, or of a kind that only clients send.
    pub fn decode_server(self, frame: &Bytes) -> Result<ServerFrame<'_>, DecodeError> {
        match self {
            Self::Json => json::decode_server(frame),
            Self::Proto => proto::decode_server(frame),
        }
    }

    /// Writes a server's frame.
    #[must_use]
    pub fn encode_server(self, frame: &ServerFrame<'_>) -> Bytes {
        match self {
            Self::Json => json::encode_server(frame),
            Self::Proto => proto::encode_server(frame),
        }
    }
}
