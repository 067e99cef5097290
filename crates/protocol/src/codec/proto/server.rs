//! What servers send, as protobuf.

mod read;
mod write;

use bytes::Bytes;
use prost::Message;

use super::{field::required, head::read_head, read_envelope};
use crate::{DecodeError, MessageKind, ServerFrame, ServerMessage, Timestamp};

pub(in crate::codec) fn decode_server(frame: &Bytes) -> Result<ServerFrame<'static>, DecodeError> {
    let head = read_head(frame)?;
    match read_frame(head.kind, frame) {
        Ok((timestamp, message)) => Ok(ServerFrame { id: head.id, timestamp, message }),
        Err(error) => Err(error.of_frame(head.id, Some(head.kind))),
    }
}

fn read_frame(kind: MessageKind, frame: &Bytes) -> Result<(Timestamp, ServerMessage<'static>), DecodeError> {
    let mut envelope = read_envelope(frame)?;
    let body = required("body", envelope.body.take())?;
    Ok((Timestamp::from_ms(envelope.timestamp_ms), read::body(kind, &envelope, body)?))
}

pub(in crate::codec) fn encode_server(frame: &ServerFrame<'_>) -> Bytes {
    let mut envelope = write::envelope(frame.id.as_ref(), frame.timestamp);
    envelope.body = Some(write::body(&mut envelope, &frame.message));
    envelope.encode_to_vec().into()
}
