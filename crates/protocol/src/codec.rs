//! Frames as bytes. A codec encodes and decodes the frames of both sides; it knows nothing about sessions.

mod json;
#[cfg(feature = "protobuf")]
mod proto;

use bytes::Bytes;

use crate::{ClientFrame, ErrorCode, MessageKind, RequestId, ServerFrame};

#[cfg(feature = "openapi")]
pub(crate) use json::fields;
#[cfg(feature = "protobuf")]
pub use proto::schema;

/// The two wire formats.
// Exhaustive on purpose: who encodes decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames, one JSON object each.
    Json,
    /// Binary frames, one `aldis.v1.Envelope` each.
    #[cfg(feature = "protobuf")]
    Proto,
}

/// Why a frame could not be decoded. The server answers with an `error`, and the connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The id of the request, if it could be read.
    pub id: Option<RequestId>,
    /// The type of the message, if it could be read.
    pub kind: Option<MessageKind>,
    /// `bad_request`, `unknown_type` or `too_large`.
    pub code: ErrorCode,
    /// What is wrong, with the name of the field. At most a few hundred bytes.
    pub message: String,
}

/// Limits how much of a malformed frame an error quotes.
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
    /// All.
    #[cfg(feature = "protobuf")]
    pub const ALL: [Self; 2] = [Self::Json, Self::Proto];

    /// All.
    #[cfg(not(feature = "protobuf"))]
    pub const ALL: [Self; 1] = [Self::Json];

    /// The name by which `Sec-WebSocket-Protocol` picks it.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "aldis.v1.json",
            #[cfg(feature = "protobuf")]
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
    /// [`DecodeError`] if the frame is malformed. It has the id of the request, if that could be read.
    ///
    /// ```
    /// use aldis_protocol::{ClientMessage, Codec};
    /// let frame = br#"{"type":"ping","id":"p-1"}"#.as_slice().into();
    /// assert_eq!(Codec::Json.decode_client(&frame).unwrap().message, ClientMessage::Ping);
    /// ```
    pub fn decode_client(self, frame: &Bytes) -> Result<ClientFrame<'_>, DecodeError> {
        match self {
            Self::Json => json::decode_client(frame),
            #[cfg(feature = "protobuf")]
            Self::Proto => proto::decode_client(frame),
        }
    }

    /// Writes a client's frame.
    #[must_use]
    pub fn encode_client(self, frame: &ClientFrame<'_>) -> Bytes {
        match self {
            Self::Json => json::encode_client(frame),
            #[cfg(feature = "protobuf")]
            Self::Proto => proto::encode_client(frame),
        }
    }

    /// Reads a server's frame.
    ///
    /// # Errors
    /// [`DecodeError`] if the frame is malformed. A message of an unknown type is none: it is
    /// [`ServerMessage::Unknown`](crate::ServerMessage::Unknown).
    pub fn decode_server(self, frame: &Bytes) -> Result<ServerFrame<'_>, DecodeError> {
        match self {
            Self::Json => json::decode_server(frame),
            #[cfg(feature = "protobuf")]
            Self::Proto => proto::decode_server(frame),
        }
    }

    /// Writes a server's frame.
    #[must_use]
    pub fn encode_server(self, frame: &ServerFrame<'_>) -> Bytes {
        match self {
            Self::Json => json::encode_server(frame),
            #[cfg(feature = "protobuf")]
            Self::Proto => proto::encode_server(frame),
        }
    }
}
