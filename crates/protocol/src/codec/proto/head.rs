//! The request id and the body's number, read from a frame's tags before it is decoded.

use prost::decode_length_delimiter;

use crate::{DecodeError, MessageKind, RequestId};

const REQUEST_ID: u64 = 1;
/// The number of the first body; the others follow in the order of [`MessageKind::ALL`].
const FIRST_BODY: u64 = 20;

pub(super) struct Head<'a> {
    pub(super) id: Option<RequestId>,
    /// The number of the body.
    pub(super) number: u64,
    pub(super) body: &'a [u8],
}

impl Head<'_> {
    /// The kind of the frame, if this version knows its type.
    pub(super) fn kind(&self) -> Option<MessageKind> {
        let index = usize::try_from(self.number.checked_sub(FIRST_BODY)?).ok()?;
        MessageKind::ALL.get(index).copied()
    }
}

pub(super) fn read_head(frame: &[u8]) -> Result<Head<'_>, DecodeError> {
    let (mut id, mut body) = (None, Err(DecodeError::missing("body")));
    for field in Fields(frame) {
        match field? {
            Field { number: REQUEST_ID, value } => id = Some(value),
            field if field.number >= FIRST_BODY => body = only_body(body.is_ok(), field),
            _ => {}
        }
    }
    let id = id.map(read_id).transpose()?;
    match body {
        Ok((number, body)) => Ok(Head { id, number, body }),
        Err(error) => Err(error.of_frame(id, None)),
    }
}

fn read_id(value: &[u8]) -> Result<RequestId, DecodeError> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    RequestId::new(text).map_err(|error| DecodeError::bad_request(format!("`request_id`: {error}")))
}

fn only_body(is_second: bool, field: Field<'_>) -> Result<(u64, &[u8]), DecodeError> {
    if is_second {
        Err(DecodeError::bad_request("duplicate field `body`"))
    } else {
        Ok((field.number, field.value))
    }
}

/// The fields of a message in the order in which they come.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// A field's number, and its bytes if it has a length.
pub(super) struct Field<'a> {
    pub(super) number: u64,
    value: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field =
            self.read().ok_or_else(|| DecodeError::bad_request("the message is not an aldis.v1.Envelope"));
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => self.varint().map(|_| &[][..]),
            1 => self.take(8).map(|_| &[][..]),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.take(length)
            }
            5 => self.take(4).map(|_| &[][..]),
            // Groups, which proto3 does not have.
            _ => None,
        }?;
        Some(Field { number: key >> 3, value })
    }

    fn varint(&mut self) -> Option<u64> {
        decode_length_delimiter(&mut self.0).ok().and_then(|value| u64::try_from(value).ok())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}
