//! What a session sends to its client, and how much of it waits.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use aldis_protocol::{ServerMessage, UserId, limits::WRITE_STALL};
use bytes::Bytes;

use super::{Disconnect, Flow, Task};
use crate::{
    clock::{Now, milliseconds},
    link::{Backlog, Broken, Frame, Held, Item, Outgoing, StateMark},
    session::live::fresh,
};

impl Task {
    /// Sends a message that the server starts. False where the buffer for a client that is away ran over.
    pub(in crate::session) fn say(&mut self, message: ServerMessage<'_>) -> bool {
        let counted = message.is_counted();
        self.send_own(Frame::new(self.session().codec.encode_server(&fresh(message)), counted))
    }

    /// Passes on what waits, the library's pongs and what an encrypted stream still holds included.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let flushed = socket.poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.live.wrote(),
            Poll::Ready(Err(Broken)) => {}
            Poll::Pending => self.await_write(),
        }
        flushed
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.backlog().frames > 0
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.socket.as_ref().map(|socket| socket.backlog()).unwrap_or_default()
    }

    pub(super) fn await_write(&mut self) {
        if self.socket.as_mut().is_some_and(|socket| socket.take_has_written()) {
            self.live.wrote();
        }
        self.live.await_write(Now::tick() + milliseconds(WRITE_STALL));
    }

    /// Says how much the session holds for its client: what is not confirmed, what is not written of all else, and what
    /// is in flight.
    pub(super) fn note_held(&mut self) {
        self.unwritten = self.unwritten.min(self.backlog().bytes);
        let mut held = self.live.held();
        held += Held::new(self.unwritten + self.in_flight.held_bytes(), false);
        self.session().set_kept(held);
    }

    /// Sends what waited in the queue, in its order: what others cause, and the replies that stand among it.
    pub(super) fn send_all(&mut self, items: VecDeque<Item>) -> Flow {
        items.into_iter().try_for_each(|item| match item {
            Item::Frame(frame) => self.send_or_end(frame),
            Item::Notice(notice) => {
                let flow = self.send_or_end(notice.frame);
                self.live.note_notice(notice.id, Now::read());
                flow
            }
            Item::Reply(ticket, reply) => {
                self.in_flight.reply(ticket, reply);
                while let Some(reply) = self.in_flight.take_reply() {
                    self.make(reply)?;
                }
                Flow::Continue(())
            }
        })
    }

    /// Tells the client how these users show themselves by now.
    pub(super) fn tell_of(&mut self, users: Vec<UserId>) -> Flow {
        users.into_iter().try_for_each(|user| {
            let Some(message) = self.relay.tell(self.session(), user) else { return Flow::Continue(()) };
            self.unacked_presence.note(user, |user| self.relay.is_watching(self.live.session(), user));
            self.say_or_end(message)
        })
    }

    /// Tells the client the states of rooms, as far as they are news.
    pub(super) fn tell_states(&mut self, states: Vec<StateMark>) -> Flow {
        states.into_iter().try_for_each(|state| match self.relay.take_state(self.session(), state) {
            Some(frame) => self.send_own_or_end(frame),
            None => Flow::Continue(()),
        })
    }

    /// A client that is away for longer than its buffer lasts has lost its session.
    pub(super) fn send_or_end(&mut self, frame: Frame) -> Flow {
        if self.send(frame) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    pub(super) fn send_own_or_end(&mut self, frame: Frame) -> Flow {
        if self.send_own(frame) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    /// Sends what did not come through the queue.
    pub(super) fn send_own(&mut self, frame: Frame) -> bool {
        if self.socket.is_none() {
            self.session().hold(&frame);
        }
        self.send(frame)
    }

    pub(super) fn send(&mut self, frame: Frame) -> bool {
        let is_kept = self.live.count(&frame);
        if frame.counted {
            self.enqueue(frame.bytes);
        } else {
            self.write(frame.bytes);
        }
        is_kept
    }

    /// Writes what is not kept until the client confirms it.
    pub(super) fn write(&mut self, frame: Bytes) {
        self.unwritten += frame.len();
        self.enqueue(frame);
    }

    pub(super) fn enqueue(&mut self, frame: Bytes) {
        if let Some(socket) = &mut self.socket {
            self.journal.sent();
            socket.enqueue(Outgoing::Frame(frame));
        }
    }

    pub(super) fn say_or_end(&mut self, message: ServerMessage<'_>) -> Flow {
        if self.say(message) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    pub(super) fn ping(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.enqueue(Outgoing::Ping);
            self.unacked_presence.pinged();
        }
    }
}
