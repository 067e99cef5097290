//! A WebSocket as a session sees it; the only file that uses the WebSocket library.
//!
//! The library reads, checks and reassembles frames, and answers pings. The server writes its own frames without the
//! library, header and shared payload in one write. So nothing is copied into a buffer that would stay as large as the
//! largest message it ever held.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use aldis_protocol::{CloseCode, Codec, limits::MAX_MESSAGE_BYTES};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{FutureExt, Sink, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::{CapacityError, ProtocolError},
        handshake::derive_accept_key,
        protocol::{
            Role, WebSocketConfig,
            frame::{
                FrameHeader,
                coding::{Control, Data, OpCode},
            },
        },
    },
};

use super::{
    io::Sent,
    tap::{OverLimit, Tap},
};
use crate::link::{Backlog, Broken, Incoming, Outgoing, Wire};

/// A log filter for the library, whose lines contain what people send.
pub(crate) const UNLOGGED: &str = "tungstenite=off,tokio_tungstenite=off";

/// Small, because most messages are; an idle connection keeps this much.
const READ_BUFFER: usize = 1024;
/// Only pongs pass through the library's write buffer.
const WRITE_BUFFER: usize = 1024;
const MAX_WRITE_BUFFER: usize = 16 * 1024;
/// After a message larger than this, the library's read buffer is replaced.
const LARGE_MESSAGE: usize = 8 * 1024;
/// The most slices of one vectored write: two for each frame.
const MAX_SLICES: usize = 64;
/// Up to this size frames are copied into one buffer for a plain write: that costs less than a vectored write.
const SMALL_WRITE: usize = 2048;
/// The longest header of an unmasked frame.
const LONGEST_HEADER: usize = 10;

/// A WebSocket over a stream.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    /// `None` only while it is being rebuilt.
    library: Option<WebSocketStream<Tap<S>>>,
    codec: Codec,
    unwritten: Option<Box<Unwritten>>,
    /// The library may have something to write: it answers pings and closes.
    library_may_write: bool,
    /// The other side has closed. The library's answer goes after our own frames.
    is_peer_closed: bool,
    /// Our close frame is queued, and nothing may follow it.
    is_closing: bool,
    /// The incoming bytes can no longer be parsed as frames.
    is_unreadable: bool,
    /// A large message was read, so the read buffer has grown.
    grown: bool,
    /// The byte count of the network when it was last read.
    sent: u64,
}

/// Unwritten frames; an idle connection keeps no memory for them.
#[derive(Debug, Default)]
struct Unwritten {
    frames: VecDeque<OutgoingFrame>,
    /// The number of unwritten bytes.
    bytes: usize,
    /// How much of the first frame is written.
    front_written: usize,
}

#[derive(Debug)]
struct OutgoingFrame {
    header: [u8; LONGEST_HEADER],
    header_length: usize,
    payload: Bytes,
}

impl OutgoingFrame {
    fn new(opcode: OpCode, payload: Bytes) -> Self {
        let mut header = [0; LONGEST_HEADER];
        let mut rest = header.as_mut_slice();
        // An unmasked header always fits.
        let _ = FrameHeader { opcode, ..FrameHeader::default() }.format(payload.len() as u64, &mut rest);
        let header_length = LONGEST_HEADER - rest.len();
        Self { header, header_length, payload }
    }

    fn parts(&self) -> [&[u8]; 2] {
        [&self.header[..self.header_length], &self.payload]
    }

    fn len(&self) -> usize {
        self.header_length + self.payload.len()
    }
}

impl Unwritten {
    /// Records that `count` more bytes are written.
    fn advance(&mut self, count: usize) {
        self.bytes -= count;
        self.front_written += count;
        while let Some(front) = self.frames.front() {
            if self.front_written < front.len() {
                break;
            }
            self.front_written -= front.len();
            self.frames.pop_front();
        }
    }

    /// The unwritten parts, as many as fit one write.
    fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(self.parts()) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        (slices, count)
    }

    /// The unwritten bytes in one piece, if they are at most [`SMALL_WRITE`].
    fn joined(&self) -> ([u8; SMALL_WRITE], usize) {
        let mut bytes = [0; SMALL_WRITE];
        let mut count = 0;
        for part in self.parts() {
            bytes[count..count + part.len()].copy_from_slice(part);
            count += part.len();
        }
        (bytes, count)
    }

    /// The unwritten parts.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.front_written;
        self.frames.iter().flat_map(OutgoingFrame::parts).filter_map(move |part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            (skipped < part.len()).then(|| &part[skipped..])
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Sent + Send + Unpin + 'static> Socket<S> {
    /// Takes over a stream after the upgrade. `already_read` is what the client sent after its request.
    pub(crate) fn new(stream: S, already_read: &[u8], codec: Codec, message_limit: usize) -> Option<Self> {
        let sent = stream.sent();
        let tap = Tap::new(stream, message_limit, already_read).ok()?;
        let library =
            WebSocketStream::from_partially_read(tap, already_read.to_vec(), Role::Server, Some(config()))
                .now_or_never()?;
        Some(Self {
            library: Some(library),
            codec,
            unwritten: None,
            library_may_write: false,
            is_peer_closed: false,
            is_closing: false,
            is_unreadable: false,
            grown: false,
            sent,
        })
    }

    /// Writes the response to the upgrade before any frame. It is written with the first frames if there are any at
    /// once.
    pub(super) fn write_first(&mut self, response: Vec<u8>) {
        self.push_part(OutgoingFrame {
            header: [0; LONGEST_HEADER],
            header_length: 0,
            payload: response.into(),
        });
        if let Some(library) = &mut self.library {
            library.get_mut().set_mid_frame(true);
        }
    }

    fn understand(&mut self, message: Message) -> Incoming {
        self.library_may_write |= matches!(message, Message::Ping(_) | Message::Close(_));
        match (message, self.codec) {
            (Message::Text(text), Codec::Json) => self.take_frame(text.into()),
            (Message::Binary(bytes), Codec::Proto) => self.take_frame(bytes),
            (Message::Text(_), Codec::Proto) => Incoming::Refused(
                CloseCode::UnsupportedFrame,
                "this connection speaks protobuf in binary frames",
            ),
            (Message::Binary(_), Codec::Json) => {
                Incoming::Refused(CloseCode::UnsupportedFrame, "this connection speaks JSON in text frames")
            }
            (Message::Ping(_), _) => Incoming::Ping,
            (Message::Pong(_) | Message::Frame(_), _) => Incoming::Pong,
            (Message::Close(frame), _) => {
                self.is_peer_closed = true;
                Incoming::Closed(frame.map(|frame| frame.code.into()))
            }
        }
    }

    fn refuse(&mut self, error: &Error) -> Incoming {
        let incoming = refusal(error);
        self.is_unreadable = matches!(incoming, Incoming::Refused(..));
        incoming
    }

    fn take_frame(&mut self, payload: Bytes) -> Incoming {
        self.grown |= payload.len() > LARGE_MESSAGE;
        Incoming::Frame(payload)
    }

    /// Replaces the read buffer that grew for a large message, once it is empty and no pong waits.
    fn shrink(&mut self, cx: &mut Context<'_>) -> bool {
        let at_message_end = self.library.as_ref().is_some_and(|library| library.get_ref().at_message_end());
        if !at_message_end || !matches!(self.poll_library_flush(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.library = self.library.take().and_then(|library| {
            WebSocketStream::from_raw_socket(library.into_inner(), Role::Server, Some(config()))
                .now_or_never()
        });
        self.grown = false;
        true
    }

    fn poll_library(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let Some(library) = &mut self.library else { return Poll::Ready(Incoming::Broken) };
        Poll::Ready(match ready!(library.poll_next_unpin(cx)) {
            Some(Ok(message)) => self.understand(message),
            Some(Err(error)) => self.refuse(&error),
            None => Incoming::Broken,
        })
    }

    /// Closes our half of a stream that cannot be parsed, and reads the other half until it ends: unread bytes would
    /// turn the close into a reset.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let Some(library) = &mut self.library else { return Poll::Ready(Incoming::Broken) };
        let mut stream = Pin::new(library.get_mut().stream_mut());
        if ready!(stream.as_mut().poll_shutdown(cx)).is_err() {
            return Poll::Ready(Incoming::Broken);
        }
        loop {
            let mut discarded = [0; READ_BUFFER];
            let mut buffer = ReadBuf::new(&mut discarded);
            if ready!(stream.as_mut().poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Incoming::Broken);
            }
        }
    }

    fn poll_library_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.is_unreadable || !self.library_may_write {
            return Poll::Ready(Ok(()));
        }
        let Some(library) = &mut self.library else { return Poll::Ready(Err(Broken)) };
        match ready!(Pin::new(library).poll_flush(cx)) {
            Ok(()) | Err(Error::ConnectionClosed) => {
                self.library_may_write = false;
                Poll::Ready(Ok(()))
            }
            Err(_) => Poll::Ready(Err(Broken)),
        }
    }

    fn poll_write_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while let Some(unwritten) = &self.unwritten {
            let Some(library) = &mut self.library else { return Poll::Ready(Err(Broken)) };
            let stream = Pin::new(library.get_mut().stream_mut());
            let written = if unwritten.bytes <= SMALL_WRITE {
                let (bytes, count) = unwritten.joined();
                stream.poll_write(cx, &bytes[..count])
            } else {
                let (slices, count) = unwritten.slices();
                stream.poll_write_vectored(cx, &slices[..count])
            };
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken)),
                Ok(count) => self.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.advance(count);
            if unwritten.frames.is_empty() {
                self.unwritten = None;
            }
        }
        let is_mid_frame = self.is_mid_frame();
        if let Some(library) = &mut self.library {
            library.get_mut().set_mid_frame(is_mid_frame);
            if self.is_closing && self.unwritten.is_none() {
                library.get_mut().set_closed();
            }
        }
    }

    fn push(&mut self, opcode: OpCode, payload: Bytes) {
        self.push_part(OutgoingFrame::new(opcode, payload));
    }

    fn push_part(&mut self, frame: OutgoingFrame) {
        let unwritten = self.unwritten.get_or_insert_default();
        unwritten.bytes += frame.len();
        unwritten.frames.push_back(frame);
    }

    /// Whether the library must not write: a frame is half written, or the response to the upgrade is not written.
    fn is_mid_frame(&self) -> bool {
        self.unwritten.as_ref().is_some_and(|unwritten| {
            unwritten.front_written > 0
                || unwritten.frames.front().is_some_and(|frame| frame.header_length == 0)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Sent + Send + Unpin + 'static> Wire for Socket<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.is_unreadable {
            return self.poll_discard(cx);
        }
        if let Some(library) = &mut self.library {
            library.get_mut().begin_read();
        }
        let incoming = self.poll_library(cx);
        if incoming.is_pending() && self.grown && self.shrink(cx) {
            // The new stream has not registered for the next bytes yet.
            return self.poll_library(cx);
        }
        incoming
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        if self.is_closing {
            return;
        }
        match (outgoing, self.codec) {
            (Outgoing::Frame(payload), Codec::Json) => self.push(OpCode::Data(Data::Text), payload),
            (Outgoing::Frame(payload), Codec::Proto) => self.push(OpCode::Data(Data::Binary), payload),
            (Outgoing::Ping, _) => self.push(OpCode::Control(Control::Ping), Bytes::new()),
            (Outgoing::Close(code, reason), _) => {
                self.is_closing = true;
                self.push(OpCode::Control(Control::Close), close_payload(code, reason));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.is_mid_frame() && !self.is_peer_closed {
            ready!(self.poll_library_flush(cx))?;
        }
        ready!(self.poll_write_outgoing(cx))?;
        let held_back = self.library.as_mut().is_some_and(|library| library.get_mut().take_held_back());
        if held_back || self.is_peer_closed {
            ready!(self.poll_library_flush(cx))?;
        }
        let Some(library) = &mut self.library else { return Poll::Ready(Err(Broken)) };
        Pin::new(library.get_mut().stream_mut()).poll_flush(cx).map_err(|_| Broken)
    }

    fn backlog(&self) -> Backlog {
        self.unwritten.as_ref().map_or_else(Backlog::default, |unwritten| Backlog {
            frames: unwritten.frames.len(),
            bytes: unwritten.bytes,
        })
    }

    fn take_has_written(&mut self) -> bool {
        let sent = self.library.as_ref().map_or(self.sent, |library| library.get_ref().stream().sent());
        std::mem::replace(&mut self.sent, sent) != sent
    }

    fn take_small_frames(&mut self) -> u32 {
        self.library.as_mut().map_or(0, |library| library.get_mut().take_small_frames().into())
    }

    fn set_message_limit(&mut self, limit: usize) {
        if let Some(library) = &mut self.library {
            library.get_mut().set_message_limit(limit);
        }
    }
}

/// The value of `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key`.
pub(super) fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

fn config() -> WebSocketConfig {
    // The tap has the real limit, which grows after authentication; it is at most this one.
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

fn close_payload(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code.as_u16());
    payload.put_slice(reason.as_bytes());
    payload.freeze()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other error is of the stream, or of a use that does not occur"
)]
fn refusal(error: &Error) -> Incoming {
    match error {
        Error::Io(error) if is_over_limit(error) => over_limit(),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => over_limit(),
        Error::Utf8(_) => Incoming::Refused(CloseCode::InvalidUtf8, "text frames are UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Broken,
        Error::Protocol(_) | Error::AttackAttempt => {
            Incoming::Refused(CloseCode::ProtocolError, "the frame breaks RFC 6455")
        }
        _ => Incoming::Broken,
    }
}

fn over_limit() -> Incoming {
    Incoming::Refused(CloseCode::TooLarge, "the message is over the limit")
}

fn is_over_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OverLimit>())
}

#[cfg(test)]
mod tests;
