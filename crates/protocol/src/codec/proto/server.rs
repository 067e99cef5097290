//! What servers send, as protobuf.

mod read;
mod write;

use bytes::Bytes;
use prost::{Message, encode_length_delimiter};

use super::{
    head::{Head, read_head},
    read_envelope,
    schema::Envelope,
};
use crate::{DecodeError, ServerFrame, ServerMessage, Timestamp, UnknownMessage, UnknownWord};

pub(in crate::codec) fn decode_server(frame: &Bytes) -> Result<ServerFrame<'static>, DecodeError> {
    let head = read_head(frame)?;
    let kind = head.kind();
    match read_frame(&head, frame) {
        Ok((timestamp, message)) => Ok(ServerFrame { id: head.id, timestamp, message }),
        Err(error) => Err(error.of_frame(head.id, kind)),
    }
}

fn read_frame(head: &Head<'_>, frame: &Bytes) -> Result<(Timestamp, ServerMessage<'static>), DecodeError> {
    let mut envelope = read_envelope(frame)?;
    let message = match envelope.body.take() {
        Some(body) => read::body(&envelope, body)?,
        None if head.kind().is_none() => None,
        None => return Err(DecodeError::missing("body")),
    };
    let message = message.map_or_else(|| read_unknown(head.number, &envelope), Ok)?;
    Ok((Timestamp::from_ms(envelope.timestamp_ms), message))
}

fn read_unknown(number: u64, envelope: &Envelope) -> Result<ServerMessage<'static>, DecodeError> {
    let number = number.to_string();
    let kind = UnknownWord::new(&number).ok_or_else(|| DecodeError::unknown_type(&number))?;
    Ok(ServerMessage::Unknown(UnknownMessage { kind, uncounted: envelope.uncounted }))
}

pub(in crate::codec) fn encode_server(frame: &ServerFrame<'_>) -> Bytes {
    let mut envelope = write::envelope(frame.id.as_ref(), frame.timestamp);
    if let ServerMessage::Unknown(message) = &frame.message {
        return encode_unknown(envelope, message).into();
    }
    envelope.body = write::body(&mut envelope, &frame.message);
    envelope.encode_to_vec().into()
}

/// An envelope with an empty body of the number that is the message's kind, which the schema does not have.
fn encode_unknown(mut envelope: Envelope, message: &UnknownMessage) -> Vec<u8> {
    const LENGTH_DELIMITED: usize = 2;
    envelope.uncounted = message.uncounted;
    let mut frame = envelope.encode_to_vec();
    if let Ok(number) = message.kind.as_str().parse::<usize>() {
        // A key is a number like a length.
        let _ = encode_length_delimiter(number << 3 | LENGTH_DELIMITED, &mut frame);
        frame.push(0);
    }
    frame
}
