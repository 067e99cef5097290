//! The queue of a session: frames and replies for its client, in order, within limits.

use std::collections::VecDeque;

use aldis_protocol::{
    ServerMessage,
    limits::{QUEUE_BYTES, QUEUE_FRAMES},
};
use bytes::Bytes;
use uuid::Uuid;

use super::held::Held;

/// An item of the queue. Its position is its place in the order for the client.
#[derive(Debug)]
pub(crate) enum Item {
    /// A frame that others caused.
    Frame(Frame),
    /// A notice, which waits in the database until its client confirms it.
    Notice(Box<NoticeFrame>),
    /// The reply to the session's own request with this ticket.
    Reply(Ticket, Box<ServerMessage<'static>>),
}

/// A frame for a session, encoded in its codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Whether it is counted: kept for a resume until the client confirms it.
    pub(crate) counted: bool,
    /// Whether other sessions hold the same bytes.
    pub(crate) shared: bool,
}

/// The frame of a notice.
#[derive(Debug)]
pub(crate) struct NoticeFrame {
    pub(crate) id: Uuid,
    pub(crate) frame: Frame,
}

/// Numbers the requests of one session, in the order in which they were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Ticket(u64);

/// The outcome of pushing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "full and gone each want a decision"]
pub(crate) enum Pushed {
    /// It is on its way.
    Queued,
    /// The session has no socket; the frame is kept until its client is back.
    Buffered,
    /// There was no room; the session closes as a slow consumer.
    Full,
    /// The session is over.
    Gone,
}

/// The items that wait, and how much of the limits is taken.
///
/// Frames count from their push until they are written, so `taken` has the frames that the session took and has not
/// written yet. Without a socket, it has all frames that the session keeps since the break. Replies do not count: a
/// session has at most [`MAX_UNANSWERED_REQUESTS`](aldis_protocol::limits::MAX_UNANSWERED_REQUESTS) requests without
/// a reply.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    frames: u32,
    held: Held,
    taken: Load,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    frames: u32,
    bytes: u32,
}

/// A frame did not fit.
pub(super) struct Overflow;

impl Frame {
    /// A frame that only this session holds.
    pub(crate) const fn new(bytes: Bytes, counted: bool) -> Self {
        Self { bytes, counted, shared: false }
    }

    /// How much it counts while it waits.
    pub(crate) fn held(&self) -> Held {
        Held::new(self.bytes.len(), self.shared)
    }
}

impl Item {
    /// The frame, if it is not a reply.
    pub(crate) const fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Notice(notice) => Some(&notice.frame),
            Self::Reply(..) => None,
        }
    }
}

impl Ticket {
    /// The ticket of the next request.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Queue {
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), Overflow> {
        self.make_room(&frame)?;
        self.items.push_back(Item::Frame(frame));
        Ok(())
    }

    pub(super) fn push_notice(&mut self, notice: NoticeFrame) -> Result<(), Overflow> {
        self.make_room(&notice.frame)?;
        self.items.push_back(Item::Notice(Box::new(notice)));
        Ok(())
    }

    fn make_room(&mut self, frame: &Frame) -> Result<(), Overflow> {
        let frames = self.frames as usize + self.taken.frames();
        let bytes = self.held.total() + self.taken.bytes() + frame.bytes.len();
        if frames >= QUEUE_FRAMES || bytes > QUEUE_BYTES {
            return Err(Overflow);
        }
        self.frames += 1;
        self.held += frame.held();
        Ok(())
    }

    pub(super) fn push_reply(&mut self, ticket: Ticket, reply: ServerMessage<'static>) {
        self.items.push_back(Item::Reply(ticket, Box::new(reply)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many bytes wait.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes all items for a session with a socket. The arguments say how much of the items taken before is not
    /// written yet.
    pub(super) fn take(&mut self, unwritten_frames: usize, unwritten_bytes: usize) -> VecDeque<Item> {
        let unwritten = Load::new(unwritten_frames, unwritten_bytes);
        let unwritten = Load {
            frames: self.taken.frames.min(unwritten.frames),
            bytes: self.taken.bytes.min(unwritten.bytes),
        };
        let (frames, bytes) = (self.frames as usize, self.held.total());
        self.taken = Load::new(unwritten.frames() + frames, unwritten.bytes() + bytes);
        self.clear()
    }

    /// Takes all items for a session without a socket, which keeps the counted frames; they still count here.
    pub(super) fn take_to_keep(&mut self) -> VecDeque<Item> {
        let items = self.clear();
        for item in &items {
            if let Some(frame) = item.frame() {
                self.keep(frame);
            }
        }
        items
    }

    /// A session without a socket keeps a frame.
    pub(super) fn keep(&mut self, frame: &Frame) {
        if frame.counted {
            self.taken = self.taken.and(frame);
        }
    }

    /// Takes the next reply and leaves the frames before it.
    #[cfg(test)]
    pub(super) fn take_reply(&mut self) -> Option<ServerMessage<'static>> {
        let place = self.items.iter().position(|item| matches!(item, Item::Reply(..)))?;
        match self.items.remove(place)? {
            Item::Reply(_, reply) => Some(*reply),
            Item::Frame(_) | Item::Notice(_) => None,
        }
    }

    /// Everything that was taken is written, or kept elsewhere.
    pub(super) fn release(&mut self) {
        self.taken = Load::default();
    }

    fn clear(&mut self) -> VecDeque<Item> {
        (self.frames, self.held) = (0, Held::default());
        std::mem::take(&mut self.items)
    }
}

impl Load {
    fn new(frames: usize, bytes: usize) -> Self {
        // The queue's limits are far below.
        let half = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { frames: half(frames), bytes: half(bytes) }
    }

    /// The sum with one more frame.
    fn and(self, frame: &Frame) -> Self {
        Self::new(self.frames() + 1, self.bytes() + frame.bytes.len())
    }

    const fn frames(self) -> usize {
        self.frames as usize
    }

    const fn bytes(self) -> usize {
        self.bytes as usize
    }
}
