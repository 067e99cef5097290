//! A client that speaks protobuf, written from the published schema alone.

use aldis_protocol::schema::{Envelope, envelope::Body};
use prost::Message as _;

use crate::{Frame, Incoming, RawSocket};

/// One end of a session, in protobuf. It skips nothing that the server sends except alerts.
#[derive(Debug)]
pub struct ProtoPeer {
    /// The socket below, for frames that are not protobuf.
    pub socket: RawSocket,
}

impl ProtoPeer {
    /// Speaks protobuf over a socket.
    #[must_use]
    pub fn new(socket: RawSocket) -> Self {
        Self { socket }
    }

    /// Sends a request.
    #[expect(clippy::needless_pass_by_value, reason = "a scenario's own envelope")]
    pub fn sends(&mut self, envelope: Envelope) {
        self.socket.sends(&Frame::binary(envelope.encode_to_vec()));
    }

    /// Expects the next message to be one from which `pick` takes a value; `awaited` describes it in the error.
    #[track_caller]
    pub fn expects<T>(&mut self, awaited: &str, pick: impl FnOnce(Body) -> Option<T>) -> (Envelope, T) {
        let (mut envelope, bytes) = self.next(awaited);
        let body = envelope.body.take().unwrap_or_else(|| panic!("an envelope without a body: {bytes:?}"));
        let picked = pick(body).unwrap_or_else(|| panic!("awaited `{awaited}`, got another body: {bytes:?}"));
        (envelope, picked)
    }

    /// The next message, except alerts.
    #[track_caller]
    fn next(&mut self, awaited: &str) -> (Envelope, Vec<u8>) {
        loop {
            let bytes = match self.socket.next(awaited) {
                Incoming::Binary(bytes) => bytes,
                other => panic!("awaited `{awaited}`, got {other:?}"),
            };
            let envelope = Envelope::decode(bytes.as_slice()).expect("an envelope from the server");
            if !matches!(envelope.body, Some(Body::Alert(_))) {
                return (envelope, bytes);
            }
        }
    }
}
