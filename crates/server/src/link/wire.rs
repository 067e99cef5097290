//! What a session needs of a socket.

use std::task::{Context, Poll};

use aldis_protocol::CloseCode;
use bytes::Bytes;

/// The socket of a session.
pub(crate) type Socket = Box<dyn Wire>;

/// A socket that frames come from and go to. Nothing here blocks or allocates without bound.
pub(crate) trait Wire: Send + Unpin + 'static {
    /// The next thing that the other side did.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;

    /// Puts something behind what waits to be written. The caller bounds how much that is.
    fn enqueue(&mut self, outgoing: Outgoing);

    /// Writes what waits; ready when all of it is written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;

    /// How much waits to be written.
    fn backlog(&self) -> Backlog;

    /// Whether something was written since this was last asked; tells a slow reader from one that does not read at all.
    fn take_has_written(&mut self) -> bool;

    /// How many frames came since this was last asked that are no messages and yet cost something: pings, pongs and
    /// small parts of messages.
    fn take_small_frames(&mut self) -> u32;

    /// Takes larger messages from now on.
    fn set_message_limit(&mut self, limit: usize);
}

/// What came over a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole message, of the kind that the codec has.
    Frame(Bytes),
    /// A ping; its pong is on the way.
    Ping,
    /// A pong.
    Pong,
    /// A close frame, with its code where it has one.
    Closed(Option<u16>),
    /// Something that this close code answers.
    Refused(CloseCode, &'static str),
    /// The stream ended without a close frame.
    Broken,
}

/// What goes over a socket.
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
