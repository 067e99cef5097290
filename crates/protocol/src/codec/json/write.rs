//! Frames as text, `type` first.

use serde::Serialize;

use super::scratch::Scratch;
use crate::{RequestId, Timestamp};

/// What a frame begins with.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    /// Its `type`.
    pub(super) name: &'a str,
    pub(super) id: Option<&'a RequestId>,
    /// Only servers tell it.
    pub(super) timestamp: Option<Timestamp>,
}

/// A message without members of its own.
#[derive(Serialize)]
pub(super) struct NoMembers {}

/// A frame of the members of `body`, with `payload` unchanged.
pub(super) fn write(start: Start<'_>, body: &impl Serialize, payload: Option<&[u8]>) -> Vec<u8> {
    write_with(start, |head| head.put_members(body), payload)
}

/// A frame of the members that `put` adds, with `payload` unchanged. The buffer has exactly the size of the frame, because
/// many frames wait in queues and replay buffers.
pub(super) fn write_with(
    start: Start<'_>,
    put: impl FnOnce(&mut Scratch),
    payload: Option<&[u8]>,
) -> Vec<u8> {
    let mut frame = Vec::new();
    append_with(&mut frame, start, put, payload);
    frame
}

/// Appends the frame to `frame`.
pub(super) fn append_with(
    frame: &mut Vec<u8>,
    start: Start<'_>,
    put: impl FnOnce(&mut Scratch),
    payload: Option<&[u8]>,
) {
    let mut head = Scratch::new();
    put_start(&mut head, start);
    put(&mut head);
    let pieces = match payload {
        Some(payload) => [head.as_bytes(), PAYLOAD, payload, b"}"],
        None => [head.as_bytes(), b"", b"", b"}"],
    };
    let length = pieces.iter().map(|piece| piece.len()).sum();
    if frame.is_empty() {
        frame.reserve_exact(length)
    } else {
        frame.reserve(length)
    }
    for piece in pieces {
        frame.extend_from_slice(piece);
    }
}

const PAYLOAD: &[u8] = b",\"payload\":";

fn put_start(head: &mut Scratch, start: Start<'_>) {
    head.put(b"{\"type\":\"");
    head.put(start.name.as_bytes());
    head.put(b"\"");
    if let Some(id) = start.id {
        head.put_plain("id", id.as_str());
    }
    if let Some(timestamp) = start.timestamp {
        head.put(b",\"timestamp\":\"");
        head.put(&timestamp.to_text());
        head.put(b"\"");
    }
}
