//! What lies between the WebSocket library and the stream: it sees where frames begin and end.
//!
//! The library hides three things that a server of many idle connections needs: how large a message is before memory
//! is set aside for it, whether its read buffer is empty (only then can it be rebuilt with a small one), and when its
//! own control frames would be written into the middle of ours.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A message over the limit; the socket is closed with 1009.
#[derive(Debug, thiserror::Error)]
#[error("a message over the limit of {limit} bytes")]
pub(super) struct OverLimit {
    limit: u32,
}

/// A stream and the frame boundaries in what was read from it.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    frames: FrameBoundaries,
    /// Set while half of one of our own frames is written: the library has to wait.
    mid_frame: bool,
    /// The library wanted to write and had to wait.
    held_back: bool,
    /// Our close frame is written: what the library still wants to write is dropped.
    closed: bool,
}

impl<S> Tap<S> {
    /// Watches `stream`; `already_read` is what the library is given of it beforehand.
    pub(super) fn new(stream: S, message_limit: usize, already_read: &[u8]) -> Result<Self, OverLimit> {
        let mut frames = FrameBoundaries::new(bounded(message_limit));
        frames.pass(already_read)?;
        Ok(Self { stream, frames, mid_frame: false, held_back: false, closed: false })
    }

    /// From now on messages may be this large.
    pub(super) fn set_message_limit(&mut self, limit: usize) {
        self.frames.limit = bounded(limit);
    }

    /// Whether what was read ends with a whole message.
    pub(super) fn at_message_end(&self) -> bool {
        self.frames.at_message_end()
    }

    /// Says whether half of one of our own frames is written.
    pub(super) fn set_mid_frame(&mut self, mid_frame: bool) {
        self.mid_frame = mid_frame;
    }

    /// Says that our close frame is written, after which nothing may follow.
    pub(super) fn set_closed(&mut self) {
        self.closed = true;
    }

    /// Whether the library had to wait since it was last asked.
    pub(super) fn take_held_back(&mut self) -> bool {
        std::mem::take(&mut self.held_back)
    }

    /// The stream itself, for our own frames.
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
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.frames.pass(&buffer.filled()[before..]).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.mid_frame {
            // No waker is needed: whoever ends the frame asks `take_held_back`.
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
const CONTROL: u8 = 0x08;

/// Follows frames (RFC 6455, section 5.2) through a stream without keeping them.
#[derive(Debug)]
struct FrameBoundaries {
    limit: u32,
    header: [u8; LONGEST_HEADER],
    header_read: u8,
    payload_left: u64,
    /// Of the message that is being read, up to the limit.
    message_bytes: u32,
    in_message: bool,
}

/// A limit in the size that it is kept in.
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

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), OverLimit> {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len() as u64);
            self.payload_left -= skipped;
            bytes = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
            if let Some((&byte, rest)) = bytes.split_first() {
                bytes = rest;
                self.take_header_byte(byte)?;
            }
        }
        Ok(())
    }

    fn take_header_byte(&mut self, byte: u8) -> Result<(), OverLimit> {
        self.header[usize::from(self.header_read)] = byte;
        self.header_read += 1;
        if self.header_read >= 2 && usize::from(self.header_read) == self.header_length() {
            self.begin_payload()?;
            self.header_read = 0;
        }
        Ok(())
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
    fn the_limit_is_of_the_message_and_is_known_with_the_header() {
        let mut boundaries = FrameBoundaries::new(100);
        boundaries.pass(&frame(0x01, 60, true)).unwrap();
        boundaries.pass(&frame(0x89, 60, true)).unwrap();
        assert!(!boundaries.at_message_end());
        let next = frame(0x80, 60, true);
        assert!(boundaries.pass(&next[..6]).is_err());
    }

    #[test]
    fn a_length_of_two_to_the_63_is_over_any_limit() {
        let mut boundaries = FrameBoundaries::new(u32::MAX);
        assert!(boundaries.pass(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
