//! Requests that wait for their reply.

use std::collections::VecDeque;

use aldis_protocol::{
    MessageKind, RequestId, RoomId,
    limits::{MAX_UNANSWERED_REQUESTS, REMEMBERED_REPLIES},
};
use bytes::Bytes;

use crate::{
    Instant, RequestError,
    purpose::{BackgroundRequest, Purpose},
};

/// An encoded request, and who made it.
#[derive(Debug)]
pub(crate) struct Request<R> {
    pub(crate) id: RequestId,
    pub(crate) kind: MessageKind,
    pub(crate) frame: Bytes,
    pub(crate) origin: Origin<R>,
}

/// Who made a request.
#[derive(Debug)]
pub(crate) enum Origin<R> {
    Application {
        purpose: Purpose,
        /// When the caller stops waiting.
        deadline: Instant,
        reply_to: R,
    },
    Client(BackgroundRequest),
}

impl<R> Request<R> {
    /// Whether the request may be sent in another session: the server knows it by its id, or may carry it out twice.
    fn is_durable(&self) -> bool {
        let is_kind = matches!(
            self.kind,
            MessageKind::Message
                | MessageKind::Delivered
                | MessageKind::Read
                | MessageKind::ChatMessage
                | MessageKind::Join
                | MessageKind::History
                | MessageKind::Presence
                | MessageKind::PresenceSubscribe
                | MessageKind::PresenceUnsubscribe
        );
        is_kind && self.purpose().is_some()
    }

    /// The purpose of an application's request.
    pub(crate) const fn purpose(&self) -> Option<&Purpose> {
        match &self.origin {
            Origin::Application { purpose, .. } => Some(purpose),
            Origin::Client(_) => None,
        }
    }

    const fn deadline(&self) -> Option<Instant> {
        match &self.origin {
            Origin::Application { deadline, .. } => Some(*deadline),
            Origin::Client(_) => None,
        }
    }
}

/// The unanswered requests in order: at most [`MAX_UNANSWERED_REQUESTS`] of the application's, and the client's own,
/// which their window bounds.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    requests: Vec<Waiting<R>>,
    /// Ids of requests that this session sent again: more than one reply may come.
    sent_again: VecDeque<RequestId>,
    /// Requests that timed out, if their reply would tell that the server has stored something. The oldest is forgotten
    /// above [`MAX_UNANSWERED_REQUESTS`].
    given_up: VecDeque<(RequestId, Purpose)>,
}

#[derive(Debug)]
struct Waiting<R> {
    request: Request<R>,
    sending: Sending,
    /// The session that could answer the request is lost.
    is_lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Has to be sent.
    Due,
    /// Was made on an earlier connection, and has to be sent on this one.
    DueAgain,
    Sent,
}

/// A frame that has to be sent.
#[derive(Debug)]
pub(crate) struct Unsent<'a, R> {
    waiting: &'a mut Waiting<R>,
    sent_again: &'a mut VecDeque<RequestId>,
}

impl<R> Pending<R> {
    pub(crate) const fn new() -> Self {
        Self { requests: Vec::new(), sent_again: VecDeque::new(), given_up: VecDeque::new() }
    }

    /// Whether there is room for a request of the application. Without a session, only durable ones are kept.
    pub(crate) fn admit(&self, request: &Request<R>, session: bool) -> Result<(), RequestError> {
        if self.requests.iter().any(|other| other.request.id == request.id) {
            return Err(RequestError::IdInUse);
        }
        if !session && !request.is_durable() {
            return Err(RequestError::NotConnected);
        }
        if self.requests.len() - self.background_requests() >= MAX_UNANSWERED_REQUESTS {
            return Err(RequestError::QueueFull);
        }
        Ok(())
    }

    /// Keeps a request of the application, which was [admitted](Self::admit).
    pub(crate) fn insert(&mut self, request: Request<R>) {
        self.requests.push(Waiting { request, sending: Sending::Due, is_lost: false });
    }

    /// Keeps a request of the client itself, which was already sent.
    pub(crate) fn insert_background(&mut self, request: Request<R>) {
        self.requests.push(Waiting { request, sending: Sending::Sent, is_lost: false });
    }

    /// The number of the client's own requests.
    pub(crate) fn background_requests(&self) -> usize {
        self.requests.iter().filter(|it| matches!(it.request.origin, Origin::Client(_))).count()
    }

    /// The request of this id.
    pub(crate) fn take(&mut self, id: &RequestId) -> Option<Request<R>> {
        let at = self.requests.iter().position(|it| it.request.id == *id)?;
        Some(self.requests.remove(at).request)
    }

    /// Settles a request of the application before its reply has come, because the outcome is known.
    pub(crate) fn take_known(&mut self, is_it: impl Fn(&Request<R>) -> bool) -> Option<R> {
        let is_it = |it: &Waiting<R>| it.request.purpose().is_some() && is_it(&it.request);
        let at = self.requests.iter().position(is_it)?;
        let Request { id, origin, .. } = self.requests.remove(at).request;
        remember(&mut self.sent_again, &id);
        if let Origin::Application { reply_to, .. } = origin { Some(reply_to) } else { None }
    }

    /// Whether a reply without a pending request may be a second one.
    pub(crate) fn was_sent_again(&self, id: &RequestId) -> bool {
        self.sent_again.contains(id)
    }

    /// Whether a request of the application with such a purpose is pending.
    pub(crate) fn has(&self, is_it: impl Fn(&Purpose) -> bool) -> bool {
        self.requests.iter().filter_map(|it| it.request.purpose()).any(is_it)
    }

    /// The largest request of the application, which a server may have found too large.
    pub(crate) fn take_largest(&mut self) -> Option<Request<R>> {
        let of_application =
            self.requests.iter().enumerate().filter(|(_, it)| it.request.purpose().is_some());
        let (at, _) = of_application.max_by_key(|(_, it)| it.request.frame.len())?;
        Some(self.requests.remove(at).request)
    }

    /// Takes the requests that are lost with their session: all but durable ones. A `join` that a `leave` follows is not
    /// durable.
    pub(crate) fn take_lost(&mut self) -> Vec<Request<R>> {
        self.sent_again.clear();
        self.given_up.clear();
        let mut left: Vec<RoomId> = Vec::new();
        for waiting in self.requests.iter_mut().rev() {
            waiting.is_lost = match waiting.request.purpose() {
                Some(Purpose::Join(room, _)) => left.contains(room),
                Some(Purpose::Leave(room)) => {
                    left.push(room.clone());
                    true
                }
                _ => !waiting.request.is_durable(),
            };
        }
        let (lost, kept): (Vec<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(|it| it.is_lost);
        self.requests = kept;
        lost.into_iter().map(|it| it.request).collect()
    }

    pub(crate) fn take_overdue(&mut self, now: Instant) -> Vec<Request<R>> {
        let overdue = self.take_where(|request| request.deadline().is_some_and(|deadline| deadline <= now));
        overdue.iter().for_each(|request| self.give_up(request));
        overdue
    }

    /// The purpose of a request whose reply came too late, if the reply tells that something was stored.
    pub(crate) fn take_late(&mut self, id: &RequestId) -> Option<Purpose> {
        let at = self.given_up.iter().position(|(given_up, _)| given_up == id)?;
        self.given_up.remove(at).map(|(_, purpose)| purpose)
    }

    /// The caller does not wait any more, or the reply may come a second time.
    pub(crate) fn give_up(&mut self, request: &Request<R>) {
        let Some(purpose @ (Purpose::Chat(_) | Purpose::Message(_))) = request.purpose() else { return };
        if self.given_up.len() == MAX_UNANSWERED_REQUESTS {
            self.given_up.pop_front();
        }
        self.given_up.push_back((request.id.clone(), purpose.clone()));
    }

    /// Takes the application's requests to join this room.
    pub(crate) fn take_joins(&mut self, room: &RoomId) -> Vec<Request<R>> {
        self.take_where(|request| matches!(request.purpose(), Some(Purpose::Join(other, _)) if other == room))
    }

    pub(crate) fn take_all(&mut self) -> Vec<Request<R>> {
        self.take_where(|_| true)
    }

    /// On a new connection, all pending requests have to be sent in order.
    pub(crate) fn send_again(&mut self) {
        self.requests.iter_mut().for_each(|it| it.sending = Sending::DueAgain);
    }

    /// The next request to send, except those that wait for their room.
    pub(crate) fn next_unsent(&mut self, holds_up: impl Fn(&RoomId) -> bool) -> Option<Unsent<'_, R>> {
        let is_held_up =
            |request: &Request<R>| request.purpose().and_then(Purpose::room).is_some_and(&holds_up);
        let waiting =
            self.requests.iter_mut().find(|it| it.sending != Sending::Sent && !is_held_up(&it.request))?;
        Some(Unsent { waiting, sent_again: &mut self.sent_again })
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.requests.iter().filter_map(|it| it.request.deadline()).min()
    }

    fn take_where(&mut self, is_taken: impl Fn(&Request<R>) -> bool) -> Vec<Request<R>> {
        let (taken, kept): (Vec<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(|it| is_taken(&it.request));
        self.requests = kept;
        taken.into_iter().map(|it| it.request).collect()
    }
}

impl<R> Unsent<'_, R> {
    /// Whether the request was made on an earlier connection.
    pub(crate) fn is_again(&self) -> bool {
        self.waiting.sending == Sending::DueAgain
    }

    /// The id, if the request is a `sync`.
    pub(crate) fn sync(&self) -> Option<RequestId> {
        let request = &self.waiting.request;
        (request.kind == MessageKind::Sync).then(|| request.id.clone())
    }

    /// The frame to send; marks the request as sent.
    pub(crate) fn send(self) -> Bytes {
        if self.is_again() {
            remember(self.sent_again, &self.waiting.request.id);
        }
        self.waiting.sending = Sending::Sent;
        self.waiting.request.frame.clone()
    }
}

fn remember(sent_again: &mut VecDeque<RequestId>, id: &RequestId) {
    if sent_again.len() == REMEMBERED_REPLIES {
        sent_again.pop_front();
    }
    sent_again.push_back(id.clone());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Since;

    fn request(id: &str, kind: MessageKind, reply_to: u32) -> Request<u32> {
        let deadline = Instant::default() + Duration::from_secs(30);
        let origin = Origin::Application { purpose: Purpose::Nothing, deadline, reply_to };
        Request { id: id.parse().unwrap(), kind, frame: Bytes::from(id.to_owned()), origin }
    }

    fn in_room(id: &str, room: &str) -> Request<u32> {
        let purpose = Purpose::Chat(room.parse().unwrap());
        let origin = Origin::Application { purpose, deadline: Instant::default(), reply_to: 0 };
        Request { origin, ..request(id, MessageKind::ChatMessage, 0) }
    }

    fn reply_to(request: Request<u32>) -> u32 {
        let Origin::Application { reply_to, .. } = request.origin else { panic!("{request:?}") };
        reply_to
    }

    fn insert(pending: &mut Pending<u32>, request: Request<u32>, session: bool) -> Result<(), RequestError> {
        pending.admit(&request, session).map(|()| pending.insert(request))
    }

    fn send_all(pending: &mut Pending<u32>) -> Vec<Bytes> {
        std::iter::from_fn(|| pending.next_unsent(|_| false).map(Unsent::send)).collect()
    }

    #[test]
    fn the_end_of_a_session_leaves_what_is_as_good_in_the_next() {
        let mut pending = Pending::new();
        let kinds = [
            MessageKind::Offer,
            MessageKind::Message,
            MessageKind::Ping,
            MessageKind::ChatMessage,
            MessageKind::Broadcast,
            MessageKind::Join,
        ];
        for (number, kind) in (0..).zip(kinds) {
            insert(&mut pending, request(&format!("m-{number}"), kind, number), true).unwrap();
        }
        assert_eq!(send_all(&mut pending).len(), 6);
        assert_eq!(pending.take_lost().into_iter().map(reply_to).collect::<Vec<_>>(), [0, 2, 4]);
        pending.send_again();
        assert_eq!(send_all(&mut pending), ["m-1", "m-3", "m-5"]);
        assert!(send_all(&mut pending).is_empty());
    }

    #[test]
    fn to_enter_a_room_and_leave_it_ends_with_the_session() {
        let mut pending = Pending::new();
        let room: RoomId = "hall".parse().unwrap();
        let join = || (MessageKind::Join, Purpose::Join(room.clone(), Since::Now));
        let steps = [join(), (MessageKind::Leave, Purpose::Leave(room.clone())), join()];
        for (number, (kind, purpose)) in (0..).zip(steps) {
            let origin = Origin::Application { purpose, deadline: Instant::default(), reply_to: number };
            let request = Request { origin, ..request(&number.to_string(), kind, number) };
            insert(&mut pending, request, true).unwrap();
        }
        assert_eq!(pending.take_lost().into_iter().map(reply_to).collect::<Vec<_>>(), [0, 1]);
        pending.send_again();
        assert_eq!(send_all(&mut pending), ["2"]);
    }

    #[test]
    fn a_background_request_ends_with_its_session() {
        let mut pending = Pending::new();
        let origin = Origin::Client(BackgroundRequest::Sync);
        pending.insert_background(Request { origin, ..request("s", MessageKind::Sync, 0) });
        assert_eq!((pending.background_requests(), pending.next_deadline()), (1, None));
        assert!(pending.take_largest().is_none());
        assert_eq!(pending.take_lost().len(), 1);
    }

    #[test]
    fn without_a_session_only_durable_requests_are_kept() {
        let mut pending = Pending::new();
        let offer = request("a", MessageKind::Offer, 1);
        assert_eq!(insert(&mut pending, offer, false), Err(RequestError::NotConnected));
        assert_eq!(insert(&mut pending, request("a", MessageKind::Message, 2), false), Ok(()));
    }

    #[test]
    fn an_id_waits_once() {
        let mut pending = Pending::new();
        insert(&mut pending, request("a", MessageKind::Offer, 1), true).unwrap();
        let again = request("a", MessageKind::Offer, 2);
        assert_eq!(insert(&mut pending, again, true), Err(RequestError::IdInUse));
        assert_eq!(pending.take(&"a".parse().unwrap()).map(reply_to), Some(1));
        assert!(pending.take(&"a".parse().unwrap()).is_none());
    }

    #[test]
    fn at_most_128_of_the_application_wait() {
        let mut pending = Pending::new();
        let origin = Origin::Client(BackgroundRequest::Presence);
        pending.insert_background(Request { origin, ..request("p", MessageKind::Presence, 0) });
        for n in 0..128 {
            insert(&mut pending, request(&n.to_string(), MessageKind::Offer, n), true).unwrap();
        }
        let one_more = request("one-more", MessageKind::Offer, 128);
        assert_eq!(insert(&mut pending, one_more, true), Err(RequestError::QueueFull));
    }

    #[test]
    fn what_is_said_in_a_room_waits_for_it() {
        let mut pending = Pending::new();
        for request in [in_room("a", "hall"), in_room("b", "attic"), in_room("c", "hall")] {
            insert(&mut pending, request, true).unwrap();
        }
        let holds_up = |room: &RoomId| room.as_str() == "hall";
        assert_eq!(pending.next_unsent(holds_up).map(Unsent::send).unwrap(), "b");
        assert!(pending.next_unsent(holds_up).is_none());
        assert_eq!(send_all(&mut pending), ["a", "c"]);
    }

    #[test]
    fn more_replies_may_come_to_what_a_session_sent_again() {
        let (mut pending, id) = (Pending::new(), "a".parse().unwrap());
        insert(&mut pending, request("a", MessageKind::Offer, 1), true).unwrap();
        pending.send_again();
        assert_eq!(send_all(&mut pending).len(), 1);
        assert_eq!(pending.take(&id).map(reply_to), Some(1));
        assert!(pending.was_sent_again(&id));
        assert_eq!(pending.take_lost().len(), 0);
        assert!(!pending.was_sent_again(&id));
    }

    #[test]
    fn what_was_given_up_is_known_until_its_session_ends() {
        let mut pending = Pending::new();
        for id in ["a", "b"] {
            insert(&mut pending, in_room(id, "hall"), true).unwrap();
        }
        assert_eq!(pending.take_overdue(Instant::default()).len(), 2);
        assert_eq!(pending.take_late(&"a".parse().unwrap()), Some(Purpose::Chat("hall".parse().unwrap())));
        pending.take_lost();
        assert_eq!(pending.take_late(&"b".parse().unwrap()), None);
    }

    #[test]
    fn a_reply_that_is_known_already_may_still_come() {
        let (mut pending, id) = (Pending::new(), "a".parse().unwrap());
        insert(&mut pending, in_room("a", "hall"), true).unwrap();
        assert!(pending.take_known(|_| false).is_none());
        assert_eq!(pending.take_known(|request| request.id == id), Some(0));
        assert!(pending.was_sent_again(&id));
    }
}
