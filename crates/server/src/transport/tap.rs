//! A stream between the WebSocket library and the network that follows the boundaries of frames.
//!
//! The library hides four things that a server with many idle connections needs: how large a message is before memory
//! is reserved for it; whether its read buffer is empty (only then can it be replaced by a small one); when it would
//! write its own control frames into the middle of one of ours; and how many frames arrive that are no messages.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A message over the limit; the socket is closed with 1009.
#[derive(Debug, thiserror::Error)]
#[error("a message is over the limit of {limit} bytes")]
pub(super) struct OverLimit {
    limit: u32,
}

/// A stream, with the position in its frames.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    frames: FrameBoundaries,
    /// One of our own frames is half written, so the library has to wait.
    mid_frame: bool,
    /// The library wanted to write and had to wait.
    held_back: bool,
    /// Our close frame is written: what the library still wants to write is dropped.
    closed: bool,
    /// How many small frames arrived since the last query.
    small_frames: u16,
    /// How many more small frames may be read before the task yields.
    small_frames_left: u8,
}

/// How many small frames are read without yielding. The library reads parts of a message as long as any arrive, and
/// other tasks would not run.
const SMALL_FRAMES_AT_ONCE: u8 = 64;

impl<S> Tap<S> {
    /// Watches `stream`. `already_read` are the bytes that the library gets first.
    pub(super) fn new(stream: S, message_limit: usize, already_read: &[u8]) -> Result<Self, OverLimit> {
        let mut frames = FrameBoundaries::new(bounded(message_limit));
        let small_frames = frames.pass(already_read)?;
        Ok(Self {
            stream,
            frames,
            mid_frame: false,
            held_back: false,
            closed: false,
            small_frames,
            small_frames_left: SMALL_FRAMES_AT_ONCE,
        })
    }

    /// Starts a new read: the full number of small frames may be read again.
    pub(super) fn begin_read(&mut self) {
        self.small_frames_left = SMALL_FRAMES_AT_ONCE;
    }

    /// How many small frames arrived since the last call: pings, pongs and small parts of messages.
    pub(super) fn take_small_frames(&mut self) -> u16 {
        std::mem::take(&mut self.small_frames)
    }

    /// Sets the limit of a message.
    pub(super) fn set_message_limit(&mut self, limit: usize) {
        self.frames.limit = bounded(limit);
    }

    /// Whether the bytes that were read end with a complete message.
    pub(super) fn at_message_end(&self) -> bool {
        self.frames.at_message_end()
    }

    /// Sets whether one of our own frames is half written.
    pub(super) fn set_mid_frame(&mut self, mid_frame: bool) {
        self.mid_frame = mid_frame;
    }

    /// Records that our close frame is written; nothing may follow it.
    pub(super) fn set_closed(&mut self) {
        self.closed = true;
    }

    /// Whether the library had to wait since the last call.
    pub(super) fn take_held_back(&mut self) -> bool {
        std::mem::take(&mut self.held_back)
    }

    /// The inner stream.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// The inner stream, for our own frames.
    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.small_frames_left == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let small_frames = self.frames.pass(&buffer.filled()[before..]).map_err(io::Error::other)?;
        self.small_frames = self.small_frames.saturating_add(small_frames);
        let left = u16::from(self.small_frames_left).saturating_sub(small_frames);
        self.small_frames_left = u8::try_from(left).unwrap_or(0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.mid_frame {
            // No waker is needed: the code that completes the frame calls `take_held_back`.
            self.held_back = true;
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const LONGEST_HEADER: usize = 14;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const CONTINUATION: u8 = 0x00;
const CLOSE: u8 = 0x08;
/// No honest client sends smaller parts of a message, because it gains nothing by that.
const SMALL_PART: u64 = 1024;

/// Follows the frames of a stream (RFC 6455, section 5.2) without storing them.
#[derive(Debug)]
struct FrameBoundaries {
    limit: u32,
    header: [u8; LONGEST_HEADER],
    header_read: u8,
    payload_left: u64,
    /// The size of the current message, up to the limit.
    message_bytes: u32,
    in_message: bool,
}

/// Converts a limit to the type of the counter.
fn bounded(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl FrameBoundaries {
    const fn new(limit: u32) -> Self {
        Self {
            limit,
            header: [0; LONGEST_HEADER],
            header_read: 0,
            payload_left: 0,
            message_bytes: 0,
            in_message: false,
        }
    }

    fn at_message_end(&self) -> bool {
        self.header_read == 0 && self.payload_left == 0 && !self.in_message
    }

    /// Follows the frames through `bytes`, and returns how many small ones begin in them.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<u16, OverLimit> {
        let mut small_frames: u16 = 0;
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len() as u64);
            self.payload_left -= skipped;
            bytes = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
            if let Some((&byte, rest)) = bytes.split_first() {
                bytes = rest;
                let ends_header = self.take_header_byte(byte)?;
                small_frames = small_frames.saturating_add(u16::from(ends_header && self.is_small()));
            }
        }
        Ok(small_frames)
    }

    /// Takes a byte of a header, and returns whether it was the last one.
    fn take_header_byte(&mut self, byte: u8) -> Result<bool, OverLimit> {
        self.header[usize::from(self.header_read)] = byte;
        self.header_read += 1;
        let ends_header = self.header_read >= 2 && usize::from(self.header_read) == self.header_length();
        if ends_header {
            self.begin_payload()?;
            self.header_read = 0;
        }
        Ok(ends_header)
    }

    /// Whether the frame of this header is a ping, a pong or a small part of a message. The first part of a message
    /// counts with the message, and a connection has only one close frame.
    fn is_small(&self) -> bool {
        match self.header[0] & OPCODE {
            CONTINUATION => self.payload_left < SMALL_PART,
            opcode => opcode & CONTROL != 0 && opcode != CLOSE,
        }
    }

    fn header_length(&self) -> usize {
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        2 + self.length_bytes() + mask
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload_length(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.header[1] & !MASKED),
            count => self.header[2..2 + count].iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        }
    }

    fn begin_payload(&mut self) -> Result<(), OverLimit> {
        self.payload_left = self.payload_length();
        if self.header[0] & CONTROL != 0 {
            return Ok(());
        }
        let message_bytes = u64::from(self.message_bytes).saturating_add(self.payload_left);
        self.message_bytes = match u32::try_from(message_bytes) {
            Ok(bytes) if bytes <= self.limit => bytes,
            _ => return Err(OverLimit { limit: self.limit }),
        };
        self.in_message = self.header[0] & FINAL == 0;
        if !self.in_message {
            self.message_bytes = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(u8::try_from(length).unwrap() | mask),
            126..=65_535 => {
                bytes.push(126 | mask);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(127 | mask);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
        bytes
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_stream_is_cut(
            lengths in prop::collection::vec((0_usize..70_000, any::<bool>()), 1..6),
            cut in 1_usize..5_000,
        ) {
            let mut boundaries = FrameBoundaries::new(70_000);
            for (length, masked) in lengths {
                let bytes = frame(0x81, length, masked);
                for part in bytes[..bytes.len() - 1].chunks(cut) {
                    boundaries.pass(part).unwrap();
                    prop_assert!(!boundaries.at_message_end());
                }
                boundaries.pass(&bytes[bytes.len() - 1..]).unwrap();
                prop_assert!(boundaries.at_message_end());
            }
        }
    }

    #[test]
    fn the_limit_is_for_the_message_and_applies_at_the_header() {
        let mut boundaries = FrameBoundaries::new(100);
        boundaries.pass(&frame(0x01, 60, true)).unwrap();
        boundaries.pass(&frame(0x89, 60, true)).unwrap();
        assert!(!boundaries.at_message_end());
        let next = frame(0x80, 60, true);
        assert!(boundaries.pass(&next[..6]).is_err());
    }

    #[test]
    fn pings_pongs_and_small_parts_are_counted_but_not_messages() {
        let small = |frames: &[(u8, usize)]| {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(first, length)| frame(*first, *length, true)).collect();
            [1, 7, bytes.len()].map(|cut| {
                let mut boundaries = FrameBoundaries::new(100_000);
                bytes.chunks(cut).map(|part| boundaries.pass(part).unwrap()).sum::<u16>()
            })
        };
        assert_eq!(small(&[(0x89, 0), (0x8a, 125), (0x89, 4)]), [3; 3]);
        assert_eq!(small(&[(0x01, 10), (0x00, 0), (0x89, 0), (0x00, 1023), (0x80, 1024)]), [3; 3]);
        assert_eq!(small(&[(0x81, 0), (0x82, 10), (0x88, 2)]), [0; 3]);
    }

    /// The library used to read them without yielding for as long as any arrived.
    #[tokio::test]
    async fn endless_small_frames_do_not_starve_other_tasks() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let pings: Vec<u8> = (0..1_000).flat_map(|_| frame(0x89, 0, true)).collect();
        tokio::io::AsyncWriteExt::write_all(&mut client, &pings).await.unwrap();
        let mut tap = Tap::new(server, 100, &[]).unwrap();
        let mut total = 0;
        let mut reads = |tap: &mut Tap<_>| {
            let (mut bytes, mut read) = ([0; 100], 0);
            loop {
                let mut buffer = ReadBuf::new(&mut bytes);
                let mut cx = Context::from_waker(std::task::Waker::noop());
                match Pin::new(&mut *tap).poll_read(&mut cx, &mut buffer) {
                    Poll::Ready(read_some) => read_some.unwrap(),
                    Poll::Pending => break,
                }
                read += buffer.filled().len();
            }
            total += usize::from(tap.take_small_frames());
            read
        };
        let at_once = reads(&mut tap);
        assert!((64 * 6..64 * 6 + 200).contains(&at_once), "{at_once} bytes in one go");
        assert_eq!(reads(&mut tap), 0);
        let mut read = at_once;
        while read < pings.len() {
            tap.begin_read();
            read += reads(&mut tap);
        }
        assert_eq!(total, 1_000);
    }

    #[test]
    fn a_length_of_two_to_the_63_is_over_any_limit() {
        let mut boundaries = FrameBoundaries::new(u32::MAX);
        assert!(boundaries.pass(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
