//! Requests that were carried out, or are being carried out, and whose replies are not written yet.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use aldis_protocol::ServerMessage;
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};

use super::live::Asked;
use crate::router::{After, Frame, Part};

/// In the order of the requests. Its user bounds how many there are. Nothing is kept where none waits.
#[derive(Default)]
pub(super) struct Unanswered(Option<Box<Line>>);

#[derive(Default)]
struct Line(VecDeque<Waiting>);

/// What may be written next.
pub(super) enum Answer {
    /// The answer to a request.
    Message(Asked, Box<ServerMessage<'static>>),
    /// The end of what a request streamed.
    End(Asked, Box<ServerMessage<'static>>),
    /// A reply that waited for those before it.
    Reply(Frame),
    /// Some of what a request streams, none of it counted.
    Part(Vec<Bytes>),
}

enum Waiting {
    ForAnswer(Asked, BoxFuture<'static, ServerMessage<'static>>),
    InParts(Asked, Streamed),
    Answered(Asked, Box<ServerMessage<'static>>),
    ForTurn(Frame),
}

/// What a request streams. A part is begun when the socket has room for it; once begun it is carried on whether or not
/// there still is, for it may hold a connection of the database.
struct Streamed {
    parts: BoxStream<'static, Part>,
    is_begun: bool,
    /// It was made, and the socket has no room for it any more.
    made: Option<Part>,
}

impl Unanswered {
    /// A request waits for its answer.
    pub(super) fn push(&mut self, asked: Asked, answer: BoxFuture<'static, ServerMessage<'static>>) {
        self.line().push_back(Waiting::ForAnswer(asked, answer));
    }

    /// A request is answered in parts, the last of which is its reply.
    pub(super) fn push_parts(&mut self, asked: Asked, parts: BoxStream<'static, Part>) {
        self.line().push_back(Waiting::InParts(asked, Streamed { parts, is_begun: false, made: None }));
    }

    /// A reply waits for those before it.
    pub(super) fn push_reply(&mut self, reply: Frame) {
        self.line().push_back(Waiting::ForTurn(reply));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |line| line.0.len())
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a request with this id is being carried out, so that a repetition has to wait for its `ack`.
    pub(super) fn includes(&self, asked: &Asked) -> bool {
        self.iter().any(|waiting| match waiting {
            Waiting::ForAnswer(earlier, _) | Waiting::Answered(earlier, _) => earlier.is_same(asked),
            Waiting::InParts(..) | Waiting::ForTurn(_) => false,
        })
    }

    /// Whether somebody's presence was asked for, and that is not answered yet.
    pub(super) fn awaits_subscription(&self) -> bool {
        self.iter().any(|waiting| match waiting {
            Waiting::ForAnswer(asked, _) | Waiting::Answered(asked, _) => asked.subscribes(),
            Waiting::InParts(..) | Waiting::ForTurn(_) => false,
        })
    }

    /// Whether the next answer comes in parts.
    pub(super) fn has_parts(&self) -> bool {
        matches!(self.iter().next(), Some(Waiting::InParts(..)))
    }

    /// How many bytes were made to be written and wait for the socket, about.
    pub(super) fn held_bytes(&self) -> usize {
        match self.iter().next() {
            Some(Waiting::InParts(_, Streamed { made: Some(part), .. })) => part.bytes(),
            Some(
                Waiting::InParts(..) | Waiting::ForAnswer(..) | Waiting::Answered(..) | Waiting::ForTurn(_),
            )
            | None => 0,
        }
    }

    /// The socket is gone, and with it what is streamed: the client asks again.
    pub(super) fn drop_parts(&mut self) {
        if let Some(line) = &mut self.0 {
            line.0.retain(|waiting| !matches!(waiting, Waiting::InParts(..)));
        }
        self.shrink();
    }

    /// The next answer in the order of the requests; parts only where the socket `has_room`.
    ///
    /// Asks all that waits, in that order: where one gets on, those after it may.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Answer> {
        if let Some(answer) = self.take_first() {
            return Poll::Ready(answer);
        }
        self.poll_all(cx);
        match self.take_first() {
            Some(answer) => Poll::Ready(answer),
            None => self.poll_parts(cx, has_room),
        }
    }

    /// Lets all that waits get on.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) {
        self.0.iter_mut().flat_map(|line| &mut line.0).for_each(|waiting| waiting.poll(cx));
    }

    /// The next answer, where it is there and comes before a frame that follows so much.
    pub(super) fn take_up_to(&mut self, after: After) -> Option<Answer> {
        let is_later = self.iter().next().is_some_and(|next| !next.place().comes_before(after));
        if is_later { None } else { self.take_first() }
    }

    fn take_first(&mut self) -> Option<Answer> {
        let is_ready = |first: &mut Waiting| matches!(first, Waiting::Answered(..) | Waiting::ForTurn(_));
        let first = self.0.as_mut()?.0.pop_front_if(is_ready)?;
        self.shrink();
        match first {
            Waiting::Answered(asked, message) => Some(Answer::Message(asked, message)),
            Waiting::ForTurn(reply) => Some(Answer::Reply(reply)),
            Waiting::ForAnswer(..) | Waiting::InParts(..) => None,
        }
    }

    fn poll_parts(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Answer> {
        let Some(line) = &mut self.0 else { return Poll::Pending };
        let Some(Waiting::InParts(_, parts)) = line.0.front_mut() else { return Poll::Pending };
        match parts.poll(cx, has_room) {
            Poll::Ready(Some(Part::Frames(frames))) => Poll::Ready(Answer::Part(frames)),
            Poll::Ready(Some(Part::Reply(message))) => {
                let first = line.0.pop_front();
                self.shrink();
                if let Some(Waiting::InParts(asked, _)) = first {
                    return Poll::Ready(Answer::End(asked, message));
                }
                Poll::Pending
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn line(&mut self) -> &mut VecDeque<Waiting> {
        &mut self.0.get_or_insert_default().0
    }

    fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter().flat_map(|line| &line.0)
    }

    fn shrink(&mut self) {
        self.0.take_if(|line| line.0.is_empty());
    }
}

impl Streamed {
    /// The next part, where the socket `has_room`.
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

/// Where an answer belongs among what others cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The number in the sender's mailbox of a message that this says is stored.
    mail: Option<u64>,
    /// Among the requests that join rooms, or keep something in one.
    rooms: Option<u64>,
}

impl Place {
    /// Whether the answer has a place at all.
    pub(super) fn is_anywhere(self) -> bool {
        self != Self::default()
    }

    /// Whether the answer was known before a frame that follows so much.
    pub(super) fn comes_before(self, after: After) -> bool {
        self.mail.is_none_or(|number| number <= after.mail)
            && self.rooms.is_none_or(|place| place <= after.rooms)
    }
}

impl Answer {
    /// Where it belongs.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Message(asked, message) => place(asked, message),
            Self::End(..) | Self::Reply(_) | Self::Part(_) => Place::default(),
        }
    }
}

fn place(asked: &Asked, message: &ServerMessage<'_>) -> Place {
    let ack = if let ServerMessage::Ack(ack) = message { Some(ack) } else { None };
    let mail = ack.filter(|ack| ack.message_id.is_some()).and_then(|ack| ack.seq);
    Place { mail, rooms: asked.place_in_rooms() }
}

impl Waiting {
    fn place(&self) -> Place {
        match self {
            Self::Answered(asked, message) => place(asked, message),
            Self::ForAnswer(..) | Self::InParts(..) | Self::ForTurn(_) => Place::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let Self::ForAnswer(_, answer) = self else { return };
        let Poll::Ready(message) = answer.as_mut().poll(cx) else { return };
        let this = std::mem::replace(self, Self::ForTurn(Frame::new(Bytes::new(), false)));
        if let Self::ForAnswer(asked, _) = this {
            *self = Self::Answered(asked, Box::new(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn poll(unanswered: &mut Unanswered) -> bool {
        let answer = unanswered.poll(&mut Context::from_waker(Waker::noop()), true);
        matches!(answer, Poll::Ready(Answer::Message(..)))
    }

    #[test]
    fn a_subscription_is_awaited_until_it_is_answered_in_its_turn() {
        let (slow, answered) = oneshot::channel();
        let mut unanswered = Unanswered::default();
        unanswered.push(Asked::nameless(false), Box::pin(async { answered.await.unwrap() }));
        assert!(!unanswered.awaits_subscription());
        unanswered.push(Asked::nameless(true), Box::pin(async { ServerMessage::Pong }));
        assert!(!poll(&mut unanswered), "the first is not answered");
        assert!(unanswered.awaits_subscription(), "carried out, and not answered");
        slow.send(ServerMessage::Pong).unwrap();
        assert!(poll(&mut unanswered));
        assert!(unanswered.awaits_subscription());
        assert!(poll(&mut unanswered));
        assert!(!unanswered.awaits_subscription());
    }

    #[test]
    fn a_part_that_was_begun_is_made_without_room_and_waits_for_it() {
        let (database, answered) = oneshot::channel();
        let (mut unanswered, mut cx) = (Unanswered::default(), Context::from_waker(Waker::noop()));
        let part = async { Part::Frames(vec![answered.await.unwrap()]) };
        unanswered.push_parts(Asked::nameless(false), Box::pin(futures::stream::once(part)));
        assert!(unanswered.poll(&mut cx, false).is_pending());
        assert!(unanswered.poll(&mut cx, true).is_pending());
        database.send(Bytes::from_static(b"part")).unwrap();
        assert!(unanswered.poll(&mut cx, false).is_pending(), "there is no room");
        let Some(Waiting::InParts(_, streamed)) = unanswered.iter().next() else { panic!("it is gone") };
        assert!(streamed.made.is_some(), "it was made all the same");
        assert!(matches!(unanswered.poll(&mut cx, true), Poll::Ready(Answer::Part(_))));
    }

    #[test]
    fn an_answer_comes_before_what_follows_it_in_both_orders() {
        let after = After { mail: 5, rooms: 2 };
        let comes_before = |mail, rooms| Place { mail, rooms }.comes_before(after);
        assert!(comes_before(None, None) && comes_before(Some(5), Some(2)));
        assert!(comes_before(Some(1), None) && comes_before(None, Some(1)));
        assert!(!comes_before(Some(6), None) && !comes_before(None, Some(3)));
        assert!(!comes_before(Some(5), Some(3)) && !comes_before(Some(6), Some(2)));
    }
}
