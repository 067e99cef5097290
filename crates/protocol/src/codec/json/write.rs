//! Frames as text, `type` first.

use serde::Serialize;

use crate::{MessageKind, RequestId, Timestamp};

/// What a frame begins with.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) kind: MessageKind,
    pub(super) id: Option<&'a RequestId>,
    /// Only servers tell it.
    pub(super) timestamp: Option<Timestamp>,
}

/// A message without members of its own.
#[derive(Serialize)]
pub(super) struct NoMembers {}

/// A frame of the members of `body`, with `payload` as it is.
pub(super) fn write(start: Start<'_>, body: &impl Serialize, payload: Option<&[u8]>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256 + payload.map_or(0, <[u8]>::len));
    append(&mut frame, start, body, payload);
    frame
}

/// The same behind what is there already.
pub(super) fn append(frame: &mut Vec<u8>, start: Start<'_>, body: &impl Serialize, payload: Option<&[u8]>) {
    append_start(frame, start);
    append_members(frame, body);
    if let Some(payload) = payload {
        frame.extend_from_slice(b",\"payload\":");
        frame.extend_from_slice(payload);
    }
    frame.push(b'}');
}

/// The members of `body` behind those that are there, without the brace that closes the object.
pub(super) fn append_members(frame: &mut Vec<u8>, body: &impl Serialize) {
    let start = frame.len();
    // Writing JSON into memory fails for maps with keys that are no strings, and no message has one.
    if serde_json::to_writer(&mut *frame, body).is_err() {
        frame.truncate(start);
        return;
    }
    if frame.get(start..) == Some(b"{}") {
        frame.truncate(start);
    } else {
        frame[start] = b',';
        frame.pop();
    }
}

fn append_start(frame: &mut Vec<u8>, start: Start<'_>) {
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(start.kind.as_str().as_bytes());
    if let Some(id) = start.id {
        frame.extend_from_slice(b"\",\"id\":\"");
        frame.extend_from_slice(id.as_str().as_bytes());
    }
    if let Some(timestamp) = start.timestamp {
        frame.extend_from_slice(b"\",\"timestamp\":\"");
        frame.extend_from_slice(&timestamp.to_text());
    }
    frame.push(b'"');
}
