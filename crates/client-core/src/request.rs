//! A request on its way to the machine.

use aldis_protocol::{ClientFrame, ClientMessage, Codec, MessageKind, RequestId, limits::MAX_MESSAGE_BYTES};
use bytes::Bytes;

use crate::{
    RequestError, Since,
    pending::{Origin, Request},
    purpose::Purpose,
};

/// A request of the application, encoded.
///
/// Encoding needs no machine, so that many threads can prepare requests for one.
#[derive(Debug)]
pub struct OutgoingRequest {
    id: RequestId,
    kind: MessageKind,
    frame: Bytes,
    purpose: Purpose,
}

impl OutgoingRequest {
    /// Encodes a message under an id: the server carries out each id once.
    ///
    /// # Errors
    /// [`RequestError::Reserved`] for `auth`, `auth_response` and `received`, [`RequestError::TooLarge`] above 64 KiB.
    pub fn new(codec: Codec, id: RequestId, message: ClientMessage<'_>) -> Result<Self, RequestError> {
        let (kind, purpose) = (message.kind(), Purpose::of(&message));
        if matches!(kind, MessageKind::Auth | MessageKind::AuthResponse | MessageKind::Received) {
            return Err(RequestError::Reserved);
        }
        let frame = codec.encode_client(&ClientFrame { id: Some(id.clone()), message });
        if frame.len() > MAX_MESSAGE_BYTES {
            return Err(RequestError::TooLarge);
        }
        Ok(Self { id, kind, frame, purpose })
    }

    /// Where a `join` begins to follow its room; [`Since::Now`] by default.
    #[must_use]
    pub fn since(mut self, since: Since) -> Self {
        if let Purpose::Join(_, begin) = &mut self.purpose {
            *begin = since;
        }
        self
    }

    pub(crate) fn asked_by<R>(self, origin: impl FnOnce(Purpose) -> Origin<R>) -> Request<R> {
        Request { id: self.id, kind: self.kind, frame: self.frame, origin: origin(self.purpose) }
    }
}
