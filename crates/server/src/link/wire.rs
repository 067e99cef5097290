//! What a session needs from a socket.

use std::task::{Context, Poll};

use aldis_protocol::CloseCode;
use bytes::Bytes;

/// The socket of a session.
pub(crate) type Socket = Box<dyn Wire>;

/// A socket that frames come from and go to. Nothing here blocks or allocates without bound.
pub(crate) trait Wire: Send + Unpin + 'static {
    /// The next event from the other side.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;

    /// Appends a frame to those that wait to be written. The caller bounds how many.
    fn enqueue(&mut self, outgoing: Outgoing);

    /// Writes what waits; ready when everything is written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;

    /// How much waits to be written.
    fn backlog(&self) -> Backlog;

    /// Whether anything was written since the last call; tells a slow reader from one that does not read at all.
    fn take_has_written(&mut self) -> bool;

    /// How many frames without a message came since the last call: pings, pongs and small parts of messages. They
    /// cost something, too.
    fn take_small_frames(&mut self) -> u32;

    /// Accepts larger messages from now on.
    fn set_message_limit(&mut self, limit: usize);
}

/// An event from a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole message, of the kind that the codec uses.
    Frame(Bytes),
    /// A ping; its pong is on the way.
    Ping,
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Closed(Option<u16>),
    /// An error that this close code answers.
    Refused(CloseCode, &'static str),
    /// The stream ended without a close frame.
    Broken,
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A message.
    Frame(Bytes),
    /// A ping.
    Ping,
    /// A close frame; nothing is sent after it.
    Close(CloseCode, &'static str),
}

/// What waits to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// How many frames.
    pub(crate) frames: usize,
    /// How many bytes.
    pub(crate) bytes: usize,
}

/// The stream cannot be written to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;
