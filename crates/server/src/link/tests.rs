use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use aldis_protocol::{
    CloseCode, Codec, Door, ServerMessage, SessionId, UserId,
    limits::{QUEUE_BYTES, QUEUE_FRAMES},
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    Arriving, Backlog, Broken, Claim, Closing, Control, Fed, Frame, HandOver, Identity, Incoming, Item,
    Leftovers, Offer, Outgoing, Pushed, ResumeToken, SessionHandle, Taken, Ticket, Wire, control::HAND_OVERS,
};

fn session() -> SessionHandle {
    let user = UserId::new(Uuid::from_u128(1));
    let session = SessionId::new(Uuid::from_u128(2));
    SessionHandle::new(session, user, "phone".parse().unwrap(), None, None, Codec::Json)
}

fn frame(length: usize) -> Frame {
    Frame::new(Bytes::from(vec![b'x'; length]), true)
}

/// A socket that does nothing, of a client that has received this many frames.
fn offer(received: usize) -> Offer {
    let arriving = Arriving { socket: Box::new(NoSocket), early: VecDeque::new() };
    let user = UserId::new(Uuid::from_u128(1));
    let device = "phone".parse().unwrap();
    let identity = Identity { user, device, fingerprint: None, token: None, family: None, proved_at: 0 };
    let token = ResumeToken::new(SessionId::new(Uuid::from_u128(2)), [0; 16]);
    let (offer, ..) = Offer::new(HandOver {
        arriving,
        id: None,
        door: Door::Signal,
        codec: Codec::Json,
        room: None,
        identity,
        claim: Claim { token, received: received as u64 },
        device_claim: DeviceClaim::default(),
    });
    offer
}

struct NoSocket;

impl Wire for NoSocket {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Pending
    }

    fn enqueue(&mut self, _: Outgoing) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Pending
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    fn take_has_written(&mut self) -> bool {
        false
    }

    fn take_small_frames(&mut self) -> u32 {
        0
    }

    fn set_message_limit(&mut self, _: usize) {}
}

fn closing(code: CloseCode) -> Closing {
    Closing::new(code, "", "why")
}

fn take(session: &SessionHandle) -> Poll<Taken> {
    session.poll_take(&mut Context::from_waker(Waker::noop()))
}

fn takes_frames(session: &SessionHandle) -> Option<usize> {
    match take(session) {
        Poll::Ready(Taken::Items(items)) => Some(items.len()),
        Poll::Ready(Taken::Control(_)) | Poll::Pending => None,
    }
}

fn takes_close(session: &SessionHandle) -> Option<CloseCode> {
    match take(session) {
        Poll::Ready(Taken::Control(Control::Close(closing))) => Some(closing.code),
        Poll::Ready(_) | Poll::Pending => None,
    }
}

#[test]
fn taken_frames_count_until_they_are_written() {
    let session = session();
    for _ in 0..QUEUE_FRAMES {
        assert_eq!(session.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(takes_frames(&session), Some(QUEUE_FRAMES));
    assert_eq!(session.push(frame(1)), Pushed::Full);
    assert_eq!(takes_close(&session), Some(CloseCode::SlowConsumer));
    assert!(take(&session).is_pending(), "asked again: all is written");
    assert_eq!(session.push(frame(1)), Pushed::Queued);
}

#[test]
fn frames_taken_before_a_hand_over_count_until_they_are_written() {
    let session = session();
    assert_eq!(session.take_now(0, 0).len(), 0);
    for _ in 0..QUEUE_FRAMES / 2 {
        assert_eq!(session.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(takes_frames(&session), Some(QUEUE_FRAMES / 2));
    assert_eq!(session.push(frame(1)), Pushed::Queued);
    // All but one of the frames taken before are written.
    assert_eq!(session.take_now(1, 1).len(), 1);
    for _ in 0..QUEUE_FRAMES - 2 {
        assert_eq!(session.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(session.push(frame(1)), Pushed::Full);
}

#[test]
fn frames_taken_without_a_socket_count_until_there_is_one() {
    let session = session();
    session.set_detached(true);
    for number in 0..QUEUE_FRAMES - 1 {
        assert_eq!(session.push(frame(1)), Pushed::Buffered);
        // Both ways to take: in the loop, and before a hand-over is checked.
        let taken = if number % 2 == 0 { takes_frames(&session) } else { Some(session.take_now(0, 0).len()) };
        assert_eq!(taken, Some(1));
        assert!(take(&session).is_pending());
    }
    session.hold(&frame(1));
    assert_eq!(session.push(frame(1)), Pushed::Full, "a frame of its own is kept in the same room");
    assert_eq!(takes_close(&session), Some(CloseCode::SlowConsumer));
    session.set_detached(false);
    assert_eq!(session.push(frame(1)), Pushed::Queued);
}

#[test]
fn a_reply_keeps_its_place_among_frames_and_takes_no_room() {
    let session = session();
    for _ in 0..QUEUE_FRAMES {
        assert_eq!(session.push(frame(1)), Pushed::Queued);
        session.reply(Ticket::default(), ServerMessage::Pong);
    }
    let Poll::Ready(Taken::Items(items)) = take(&session) else { panic!("all of it") };
    let is_reply: Vec<bool> = items.iter().map(|item| matches!(item, Item::Reply(..))).collect();
    assert_eq!(is_reply, [false, true].repeat(QUEUE_FRAMES));
}

#[test]
fn a_sync_ends_at_its_reply_and_new_mail_follows() {
    let session = session();
    session.begin_sync();
    assert_eq!(session.push_mail(5, || frame(1)), Fed::Known);
    assert!(
        !session.end_sync(4, Ticket::default(), ServerMessage::Pong),
        "the fifth is still to be streamed"
    );
    assert!(session.end_sync(5, Ticket::default(), ServerMessage::Pong));
    assert_eq!(session.push_mail(6, || frame(1)), Fed::Pushed(Pushed::Queued));
    let items = session.take_now(0, 0);
    assert!(matches!(items.iter().collect::<Vec<_>>()[..], [Item::Reply(..), Item::Frame(_)]));
}

#[test]
fn the_limit_in_bytes_is_exact() {
    let session = session();
    assert_eq!(session.push(frame(QUEUE_BYTES)), Pushed::Queued);
    assert_eq!(session.held().total(), QUEUE_BYTES);
    assert_eq!(session.push(frame(1)), Pushed::Full);
}

#[test]
fn marks_are_held_until_there_is_a_socket() {
    let session = session();
    let watched = UserId::new(Uuid::from_u128(3));
    session.set_detached(true);
    session.mark(watched);
    assert!(take(&session).is_pending());
    assert_eq!(session.take_marks(), None);
    assert!(session.held().total() > 0, "it is kept");
    session.set_detached(false);
    assert_eq!(session.take_marks(), Some(vec![watched]));
    assert_eq!((session.take_marks(), session.held().total()), (None, 0));
}

#[test]
fn the_first_close_goes_before_frames_and_sockets() {
    let session = session();
    assert_eq!(session.push(frame(1)), Pushed::Queued);
    assert!(session.hand_over(offer(1)).is_ok());
    session.close_with(closing(CloseCode::Replaced));
    assert!(session.hand_over(offer(2)).is_err(), "it has to close");
    session.close_with(closing(CloseCode::Restart));
    assert_eq!(takes_close(&session), Some(CloseCode::Replaced));
    assert!(matches!(take(&session), Poll::Ready(Taken::Control(Control::HandOver(_)))));
    assert_eq!(takes_frames(&session), Some(1));
}

#[test]
fn sockets_are_checked_in_order_and_their_number_is_limited() {
    let session = session();
    for number in 0..HAND_OVERS {
        assert!(session.hand_over(offer(number)).is_ok());
    }
    assert!(session.hand_over(offer(HAND_OVERS)).is_err());
    for number in 0..HAND_OVERS {
        let Poll::Ready(Taken::Control(Control::HandOver(offer))) = take(&session) else {
            panic!("a socket")
        };
        assert_eq!(offer.take().map(|(hand_over, _)| hand_over.claim.received), Some(number as u64));
    }
    assert!(take(&session).is_pending());
}

#[test]
fn an_ended_session_returns_what_it_did_not_take() {
    let session = session();
    session.set_detached(true);
    assert_eq!(session.push(frame(1)), Pushed::Buffered);
    assert!(session.hand_over(offer(1)).is_ok());
    let Leftovers { items, offers } = session.close();
    assert_eq!((items.len(), offers.len()), (1, 1));
    assert_eq!(session.push(frame(1)), Pushed::Gone);
    assert!(session.hand_over(offer(2)).is_err());
}
