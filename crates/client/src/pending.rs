//! Requests that wait for their reply.

use std::{collections::VecDeque, time::Instant};

use aldis_protocol::{
    MessageKind, RequestId,
    limits::{MAX_UNANSWERED_REQUESTS, REMEMBERED_REPLIES},
};
use bytes::Bytes;

use crate::RequestError;

/// A request, encoded, and whoever waits for its reply.
#[derive(Debug)]
pub(crate) struct Request<R> {
    pub(crate) id: RequestId,
    pub(crate) kind: MessageKind,
    pub(crate) frame: Bytes,
    /// When waiting ends.
    pub(crate) deadline: Instant,
    pub(crate) reply_to: R,
}

impl<R> Request<R> {
    /// Whether the server keeps it, so that sending it again is harmless and worth while.
    fn is_durable(&self) -> bool {
        matches!(self.kind, MessageKind::Message | MessageKind::ChatMessage)
    }
}

/// At most [`MAX_UNANSWERED_REQUESTS`], in the order asked for.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    requests: Vec<Request<R>>,
    /// Ids of the last requests that this session sent again: more than one reply may come.
    sent_again: VecDeque<RequestId>,
}

impl<R> Pending<R> {
    pub(crate) const fn new() -> Self {
        Self { requests: Vec::new(), sent_again: VecDeque::new() }
    }

    /// Keeps a request. While there is no session, only what is durable.
    pub(crate) fn insert(&mut self, request: Request<R>, session: bool) -> Result<(), (R, RequestError)> {
        if self.requests.iter().any(|other| other.id == request.id) {
            return Err((request.reply_to, RequestError::IdInUse));
        }
        if !session && !request.is_durable() {
            return Err((request.reply_to, RequestError::NotConnected));
        }
        if self.requests.len() >= MAX_UNANSWERED_REQUESTS {
            return Err((request.reply_to, RequestError::QueueFull));
        }
        self.requests.push(request);
        Ok(())
    }

    /// Whoever waits for the reply to this id.
    pub(crate) fn take(&mut self, id: &RequestId) -> Option<R> {
        let at = self.requests.iter().position(|request| request.id == *id)?;
        Some(self.requests.remove(at).reply_to)
    }

    /// Whether a reply to this id, for which nobody waits, may be the second one.
    pub(crate) fn was_sent_again(&self, id: &RequestId) -> bool {
        self.sent_again.contains(id)
    }

    /// The largest request: the only one that a server can have found too large.
    pub(crate) fn take_largest(&mut self) -> Option<R> {
        let (at, _) = self.requests.iter().enumerate().max_by_key(|(_, request)| request.frame.len())?;
        Some(self.requests.remove(at).reply_to)
    }

    /// What the end of a session leaves without a reply: all but what is durable.
    pub(crate) fn take_lost(&mut self) -> impl Iterator<Item = R> + use<R> {
        self.sent_again.clear();
        let (kept, lost): (Vec<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(Request::is_durable);
        self.requests = kept;
        lost.into_iter().map(|request| request.reply_to)
    }

    pub(crate) fn take_overdue(&mut self, now: Instant) -> impl Iterator<Item = R> + use<R> {
        let (overdue, kept): (Vec<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(|request| request.deadline <= now);
        self.requests = kept;
        overdue.into_iter().map(|request| request.reply_to)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = R> + use<R> {
        std::mem::take(&mut self.requests).into_iter().map(|request| request.reply_to)
    }

    /// What to send on a new connection: everything that is left, in its order.
    pub(crate) fn send_again(&mut self) -> impl Iterator<Item = Bytes> {
        self.sent_again.extend(self.requests.iter().map(|request| request.id.clone()));
        let too_many = self.sent_again.len().saturating_sub(REMEMBERED_REPLIES);
        self.sent_again.drain(..too_many);
        self.requests.iter().map(|request| request.frame.clone())
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.requests.iter().map(|request| request.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(id: &str, kind: MessageKind, reply_to: u32) -> Request<u32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        Request { id: id.parse().unwrap(), kind, frame: Bytes::from(id.to_owned()), deadline, reply_to }
    }

    #[test]
    fn the_end_of_a_session_leaves_what_the_server_keeps() {
        let mut pending = Pending::new();
        for (reply_to, kind) in
            [MessageKind::Offer, MessageKind::Message, MessageKind::Ping, MessageKind::ChatMessage]
                .into_iter()
                .enumerate()
        {
            let reply_to = u32::try_from(reply_to).unwrap();
            pending.insert(request(&format!("m-{reply_to}"), kind, reply_to), true).unwrap();
        }
        assert_eq!(pending.take_lost().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(pending.send_again().collect::<Vec<_>>(), ["m-1", "m-3"]);
    }

    #[test]
    fn without_a_session_only_durable_requests_are_kept() {
        let mut pending = Pending::new();
        assert_eq!(
            pending.insert(request("a", MessageKind::Offer, 1), false),
            Err((1, RequestError::NotConnected))
        );
        assert_eq!(pending.insert(request("a", MessageKind::Message, 2), false), Ok(()));
    }

    #[test]
    fn an_id_waits_once() {
        let mut pending = Pending::new();
        pending.insert(request("a", MessageKind::Offer, 1), true).unwrap();
        assert_eq!(
            pending.insert(request("a", MessageKind::Offer, 2), true),
            Err((2, RequestError::IdInUse))
        );
        assert_eq!(pending.take(&"a".parse().unwrap()), Some(1));
        assert_eq!(pending.take(&"a".parse().unwrap()), None);
    }

    #[test]
    fn at_most_128_wait() {
        let mut pending = Pending::new();
        for n in 0..128 {
            pending.insert(request(&n.to_string(), MessageKind::Offer, n), true).unwrap();
        }
        let one_more = request("one-more", MessageKind::Offer, 128);
        assert_eq!(pending.insert(one_more, true), Err((128, RequestError::QueueFull)));
    }

    #[test]
    fn more_replies_may_come_to_what_a_session_sent_again() {
        let (mut pending, id) = (Pending::new(), "a".parse().unwrap());
        pending.insert(request("a", MessageKind::Offer, 1), true).unwrap();
        assert_eq!(pending.send_again().count(), 1);
        assert_eq!(pending.take(&id), Some(1));
        assert!(pending.was_sent_again(&id));
        assert_eq!(pending.take_lost().count(), 0);
        assert!(!pending.was_sent_again(&id));
    }
}
