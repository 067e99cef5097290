//! The requests in flight, in the order of their tickets.
//!
//! A request begins when the earlier ones allow it, and its reply leaves in its turn. A reply that needs a place
//! among the frames of others comes through the session's queue; the other replies are made here.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use aldis_protocol::ServerMessage;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};

use super::live::PendingRequest;
use crate::{
    link::{Frame, Ticket},
    relay::{Outcome, Part},
};

/// The caller bounds its length. Allocates only while there are requests.
#[derive(Default)]
pub(super) struct InFlight(Option<Box<Line>>);

#[derive(Default)]
struct Line(VecDeque<Entry>);

struct Entry {
    ticket: Ticket,
    state: State,
}

/// The progress of a request.
pub(super) enum State {
    /// It is in this frame, and waits for earlier requests.
    Deferred(PendingRequest, Bytes),
    /// It waits for the store.
    Running(PendingRequest, BoxFuture<'static, Outcome>),
    /// Its reply comes through the session's queue.
    Queued(PendingRequest),
    /// Its reply is streamed in parts.
    Streaming(PendingRequest, Streamed),
    /// Its reply waits for earlier ones.
    Replied(PendingRequest, Box<ServerMessage<'static>>),
    /// As [`Replied`](Self::Replied), and the reply is encoded.
    Encoded(Frame),
}

/// The next thing to do.
pub(super) enum Progress {
    /// Write the reply to a request.
    Reply(PendingRequest, Box<ServerMessage<'static>>),
    /// Write an encoded reply.
    Encoded(Frame),
    /// Write a streamed part, whose frames are not counted.
    Part(Vec<Bytes>),
    /// Carry out the request in this frame.
    Begin(Ticket, Bytes),
}

/// A streamed reply. A part is begun only if the socket has room, but then it runs to its end even if the room is
/// gone, because it may hold a database connection.
pub(super) struct Streamed {
    parts: BoxStream<'static, Part>,
    is_begun: bool,
    /// A finished part that waits for room.
    made: Option<Part>,
}

impl InFlight {
    /// Sets the progress of a request, which is added if it is new.
    pub(super) fn set(&mut self, ticket: Ticket, state: State) {
        let line = &mut self.0.get_or_insert_default().0;
        match line.iter_mut().find(|entry| entry.ticket == ticket) {
            Some(entry) => entry.state = state,
            None => line.push_back(Entry { ticket, state }),
        }
    }

    /// Takes a reply that came through the session's queue.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: Box<ServerMessage<'static>>) {
        let entry = self.entries_mut().find(|entry| entry.ticket == ticket);
        if let Some(entry) = entry {
            entry.state.reply(reply);
        }
    }

    /// Whether there is no other request.
    pub(super) fn is_alone(&self, ticket: Ticket) -> bool {
        self.entries().all(|entry| entry.ticket == ticket)
    }

    /// Removes a request that has its reply.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.retain(|entry| entry.ticket != ticket);
    }

    /// How many requests are in flight.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |line| line.0.len())
    }

    /// Whether the earlier requests allow this one to begin.
    ///
    /// A request that is stored may begin when the earlier ones were carried out, because the store commits them in
    /// order. Any other request reaches users at once, so it waits for the earlier replies. A repetition waits until
    /// the reply to the first one is written, and then gets the same reply.
    pub(super) fn allows(&self, ticket: Ticket, request: &PendingRequest) -> bool {
        self.entries().take_while(|entry| entry.ticket < ticket).all(|entry| match &entry.state {
            State::Encoded(_) => true,
            State::Replied(earlier, _) => !earlier.is_same(request),
            State::Queued(earlier) => request.is_stored() && !earlier.is_same(request),
            State::Deferred(..) | State::Running(..) | State::Streaming(..) => false,
        })
    }

    /// Whether a subscription waits for its reply.
    pub(super) fn awaits_subscription(&self) -> bool {
        self.entries().any(|entry| match &entry.state {
            State::Running(request, _) | State::Queued(request) | State::Replied(request, _) => {
                request.subscribes()
            }
            State::Deferred(..) | State::Streaming(..) | State::Encoded(_) => false,
        })
    }

    /// Whether the next reply is streamed in parts.
    pub(super) fn has_parts(&self) -> bool {
        self.entries().next().is_some_and(|first| matches!(first.state, State::Streaming(..)))
    }

    /// Roughly how many bytes are held by deferred requests and by parts that wait for the socket.
    pub(super) fn held_bytes(&self) -> usize {
        self.entries()
            .map(|entry| match &entry.state {
                State::Deferred(_, frame) => frame.len(),
                State::Streaming(_, Streamed { made: Some(part), .. }) => part.bytes(),
                State::Running(..)
                | State::Queued(_)
                | State::Streaming(..)
                | State::Replied(..)
                | State::Encoded(_) => 0,
            })
            .sum()
    }

    /// The socket is gone. Drops streamed requests, which the client repeats. All others are carried out, because the
    /// client may not come back to repeat them.
    pub(super) fn lose_socket(&mut self) {
        self.retain(|entry| match &entry.state {
            State::Streaming(..) => false,
            State::Deferred(request, _) => !request.is_streamed(),
            State::Running(..) | State::Queued(_) | State::Replied(..) | State::Encoded(_) => true,
        });
    }

    /// The next thing to do; parts only if the socket `has_room`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Progress> {
        self.poll_running(cx);
        if let Some(reply) = self.take_reply() {
            return Poll::Ready(reply);
        }
        if let Poll::Ready(part) = self.poll_parts(cx, has_room) {
            return Poll::Ready(part);
        }
        self.take_deferred().map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the next reply, if it is there.
    pub(super) fn take_reply(&mut self) -> Option<Progress> {
        let is_reply = |first: &mut Entry| matches!(first.state, State::Replied(..) | State::Encoded(_));
        let first = self.0.as_mut()?.0.pop_front_if(is_reply)?;
        self.shrink();
        match first.state {
            State::Replied(request, reply) => Some(Progress::Reply(request, reply)),
            State::Encoded(reply) => Some(Progress::Encoded(reply)),
            State::Deferred(..) | State::Running(..) | State::Queued(_) | State::Streaming(..) => None,
        }
    }

    /// At most one request runs: the later ones wait.
    fn poll_running(&mut self, cx: &mut Context<'_>) {
        for entry in self.entries_mut() {
            if let State::Running(_, running) = &mut entry.state {
                match running.poll_unpin(cx) {
                    Poll::Ready(Outcome::Reply(reply)) => entry.state.reply(Box::new(reply)),
                    Poll::Ready(Outcome::Queued) => entry.state.queue(),
                    Poll::Pending => {}
                }
                return;
            }
        }
    }

    fn poll_parts(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Progress> {
        let Some(first) = self.entries_mut().next() else { return Poll::Pending };
        let State::Streaming(_, streamed) = &mut first.state else { return Poll::Pending };
        match ready!(streamed.poll(cx, has_room)) {
            Some(Part::Frames(frames)) => return Poll::Ready(Progress::Part(frames)),
            Some(Part::Reply(reply)) => first.state.reply(reply),
            None => first.state.queue(),
        }
        self.take_reply().map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the first deferred request, if the earlier ones allow it.
    fn take_deferred(&mut self) -> Option<Progress> {
        let deferred = self.entries().find(|entry| matches!(entry.state, State::Deferred(..)))?;
        let State::Deferred(request, frame) = &deferred.state else { return None };
        self.allows(deferred.ticket, request).then(|| Progress::Begin(deferred.ticket, frame.clone()))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|line| &line.0)
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut().flat_map(|line| &mut line.0)
    }

    fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        if let Some(line) = &mut self.0 {
            line.0.retain(keep);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        self.0.take_if(|line| line.0.is_empty());
    }
}

impl State {
    /// The state of a request whose reply is streamed.
    pub(super) fn streaming(request: PendingRequest, parts: BoxStream<'static, Part>) -> Self {
        Self::Streaming(request, Streamed { parts, is_begun: false, made: None })
    }

    fn reply(&mut self, reply: Box<ServerMessage<'static>>) {
        self.advance(|request| Self::Replied(request, reply));
    }

    fn queue(&mut self) {
        self.advance(Self::Queued);
    }

    fn advance(&mut self, to: impl FnOnce(PendingRequest) -> Self) {
        let placeholder = Self::Encoded(Frame::new(Bytes::new(), false));
        *self = match std::mem::replace(self, placeholder) {
            Self::Deferred(request, _)
            | Self::Running(request, _)
            | Self::Queued(request)
            | Self::Streaming(request, _) => to(request),
            replied @ (Self::Replied(..) | Self::Encoded(_)) => replied,
        };
    }
}

impl Streamed {
    /// The next part, if the socket `has_room`.
    fn poll(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Option<Part>> {
        if self.made.is_none() && (has_room || self.is_begun) {
            self.is_begun = true;
            let Some(part) = ready!(self.parts.poll_next_unpin(cx)) else { return Poll::Ready(None) };
            self.is_begun = false;
            self.made = Some(part);
        }
        if has_room && self.made.is_some() { Poll::Ready(self.made.take()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn request(kind: &str) -> PendingRequest {
        PendingRequest::nameless(kind == "subscribe", kind == "store", kind == "sync")
    }

    /// The tickets 1, 2, …
    fn tickets<const N: usize>() -> [Ticket; N] {
        let mut ticket = Ticket::default();
        std::array::from_fn(|_| {
            ticket = ticket.next();
            ticket
        })
    }

    fn poll(in_flight: &mut InFlight, has_room: bool) -> Poll<Progress> {
        in_flight.poll(&mut Context::from_waker(Waker::noop()), has_room)
    }

    fn pong() -> Box<ServerMessage<'static>> {
        Box::new(ServerMessage::Pong)
    }

    #[test]
    fn a_subscription_is_awaited_until_its_reply_is_written() {
        let [first, second] = tickets();
        let mut in_flight = InFlight::default();
        in_flight.set(first, State::Queued(request("store")));
        in_flight.set(second, State::Replied(request("subscribe"), pong()));
        assert!(poll(&mut in_flight, true).is_pending(), "the first is not replied to");
        assert!(in_flight.awaits_subscription(), "carried out, and its reply not written");
        in_flight.reply(first, pong());
        assert!(matches!(in_flight.take_reply(), Some(Progress::Reply(..))));
        assert!(in_flight.awaits_subscription());
        assert!(matches!(in_flight.take_reply(), Some(Progress::Reply(..))));
        assert!(!in_flight.awaits_subscription() && in_flight.len() == 0);
    }

    #[test]
    fn stored_requests_share_a_commit_and_others_wait_for_the_replies() {
        let [first, second, third] = tickets();
        let mut in_flight = InFlight::default();
        in_flight.set(first, State::Queued(request("store")));
        assert!(in_flight.allows(second, &request("store")));
        assert!(!in_flight.allows(second, &request("signal")));
        in_flight.set(second, State::Deferred(request("signal"), Bytes::from_static(b"signal")));
        assert!(!in_flight.allows(third, &request("store")), "it would overtake the signal");
        assert_eq!(in_flight.held_bytes(), 6);
        assert!(poll(&mut in_flight, true).is_pending());
        in_flight.reply(first, pong());
        assert!(matches!(poll(&mut in_flight, true), Poll::Ready(Progress::Reply(..))));
        let Poll::Ready(Progress::Begin(ticket, frame)) = poll(&mut in_flight, true) else {
            panic!("it begins")
        };
        assert_eq!((ticket, frame), (second, Bytes::from_static(b"signal")));
    }

    #[test]
    fn a_break_drops_streams_and_carries_out_other_requests() {
        let [first, second, third] = tickets();
        let mut in_flight = InFlight::default();
        in_flight.set(first, State::streaming(request("sync"), Box::pin(futures::stream::pending())));
        in_flight.set(second, State::Deferred(request("signal"), Bytes::from_static(b"signal")));
        in_flight.set(third, State::Deferred(request("sync"), Bytes::from_static(b"sync")));
        assert!(poll(&mut in_flight, true).is_pending(), "the first is streamed");
        in_flight.lose_socket();
        let Poll::Ready(Progress::Begin(ticket, _)) = poll(&mut in_flight, false) else {
            panic!("it begins")
        };
        assert_eq!((ticket, in_flight.len()), (second, 1));
    }

    #[test]
    fn a_begun_part_is_finished_without_room_and_waits_for_it() {
        let (database, answered) = oneshot::channel();
        let (mut in_flight, [ticket]) = (InFlight::default(), tickets());
        let part = async { Part::Frames(vec![answered.await.unwrap()]) };
        let parts = Box::pin(futures::stream::once(part));
        in_flight.set(ticket, State::streaming(request("sync"), parts));
        assert!(poll(&mut in_flight, false).is_pending());
        assert!(poll(&mut in_flight, true).is_pending());
        database.send(Bytes::from_static(b"part")).unwrap();
        assert!(poll(&mut in_flight, false).is_pending(), "there is no room");
        assert_eq!(in_flight.held_bytes(), 4, "it was made all the same");
        assert!(matches!(poll(&mut in_flight, true), Poll::Ready(Progress::Part(_))));
    }
}
