use super::*;

fn outlet() -> Outlet {
    let user = UserId::new(Uuid::from_u128(1));
    let session = SessionId::new(Uuid::from_u128(2));
    Outlet::new(session, user, "phone".parse().unwrap(), None, None, Codec::Json)
}

fn frame(length: usize) -> Frame {
    Frame::new(Bytes::from(vec![b'x'; length]), true)
}

fn closing(code: CloseCode) -> Closing {
    Closing::new(code, "", "why")
}

fn take(outlet: &Outlet) -> Poll<Taken> {
    outlet.poll_take(&mut Context::from_waker(Waker::noop()))
}

fn takes_frames(outlet: &Outlet) -> Option<usize> {
    match take(outlet) {
        Poll::Ready(Taken::Frames(frames)) => Some(frames.len()),
        Poll::Ready(Taken::Order(_)) | Poll::Pending => None,
    }
}

fn takes_close(outlet: &Outlet) -> Option<CloseCode> {
    match take(outlet) {
        Poll::Ready(Taken::Order(Order::Close(closing))) => Some(closing.code),
        Poll::Ready(_) | Poll::Pending => None,
    }
}

#[test]
fn what_was_taken_counts_until_it_is_written() {
    let outlet = outlet();
    for _ in 0..QUEUE_FRAMES {
        assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(takes_frames(&outlet), Some(QUEUE_FRAMES));
    assert_eq!(outlet.push(frame(1)), Pushed::Full);
    assert_eq!(takes_close(&outlet), Some(CloseCode::SlowConsumer));
    assert!(take(&outlet).is_pending(), "asked again: all is written");
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
}

#[test]
fn what_is_taken_ahead_counts_until_it_is_written() {
    let outlet = outlet();
    assert_eq!(outlet.take_ahead(0, 0).len(), 0);
    for _ in 0..QUEUE_FRAMES / 2 {
        assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(takes_frames(&outlet), Some(QUEUE_FRAMES / 2));
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    // All but one of those that were taken before are written.
    assert_eq!(outlet.take_ahead(1, 1).len(), 1);
    for _ in 0..QUEUE_FRAMES - 2 {
        assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    }
    assert_eq!(outlet.push(frame(1)), Pushed::Full);
}

#[test]
fn what_a_session_without_a_socket_took_counts_until_it_has_one() {
    let outlet = outlet();
    outlet.set_detached(true);
    for number in 0..QUEUE_FRAMES - 1 {
        assert_eq!(outlet.push(frame(1)), Pushed::Buffered);
        // As a socket that is offered and declined makes it, and an answer in its place.
        let taken = if number % 2 == 0 { takes_frames(&outlet) } else { Some(outlet.take_ahead(0, 0).len()) };
        assert_eq!(taken, Some(1));
        assert!(take(&outlet).is_pending());
    }
    outlet.hold(&frame(1));
    assert_eq!(outlet.push(frame(1)), Pushed::Full, "a frame of its own is kept in the same room");
    assert_eq!(takes_close(&outlet), Some(CloseCode::SlowConsumer));
    outlet.set_detached(false);
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
}

#[test]
fn what_tells_of_mail_comes_behind_the_answers_that_it_follows() {
    let outlet = outlet();
    assert_eq!(outlet.push_mail(5, || frame(1)), Fed::Pushed(Pushed::Queued));
    assert_eq!(outlet.pass_mail(6), Fed::Known);
    assert_eq!(outlet.push_in_order(frame(1)), Pushed::Queued);
    assert_eq!(outlet.push_mail(7, || frame(1)), Fed::Pushed(Pushed::Queued));
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    let after_mail: Vec<u64> = outlet.take_ahead(0, 0).iter().map(|frame| frame.after.mail).collect();
    assert_eq!(after_mail, [4, 6, 6, 0]);
}

#[test]
fn what_is_told_of_rooms_comes_behind_the_answers_that_it_follows() {
    let outlet = outlet();
    assert_eq!(outlet.push_in_order(frame(1)), Pushed::Queued);
    outlet.room_replies.answered();
    assert_eq!(outlet.push_in_order(frame(1)), Pushed::Queued);
    assert_eq!(outlet.push_mail(1, || frame(1)), Fed::Pushed(Pushed::Queued));
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    let after: Vec<u64> = outlet.take_ahead(0, 0).iter().map(|frame| frame.after.rooms).collect();
    assert_eq!(after, [0, 1, 1, 0]);
}

#[test]
fn the_limit_in_bytes_is_exact() {
    let outlet = outlet();
    assert_eq!(outlet.push(frame(QUEUE_BYTES)), Pushed::Queued);
    assert_eq!(outlet.held().total(), QUEUE_BYTES);
    assert_eq!(outlet.push(frame(1)), Pushed::Full);
}

#[test]
fn marks_are_held_until_there_is_a_socket() {
    let outlet = outlet();
    let watched = UserId::new(Uuid::from_u128(3));
    outlet.set_detached(true);
    outlet.mark(watched);
    assert!(take(&outlet).is_pending());
    assert_eq!(outlet.take_marks(), None);
    assert!(outlet.held().total() > 0, "it is kept");
    outlet.set_detached(false);
    assert_eq!(outlet.take_marks(), Some(vec![watched]));
    assert_eq!((outlet.take_marks(), outlet.held().total()), (None, 0));
}

#[test]
fn the_first_close_stands_and_goes_before_frames_and_sockets() {
    let outlet = outlet();
    assert_eq!(outlet.push(frame(1)), Pushed::Queued);
    assert!(outlet.hand_over(Box::new("a socket")).is_ok());
    outlet.close_with(closing(CloseCode::Replaced));
    assert!(outlet.hand_over(Box::new("another")).is_err(), "it has to close");
    outlet.close_with(closing(CloseCode::Restart));
    assert_eq!(takes_close(&outlet), Some(CloseCode::Replaced));
    assert!(matches!(take(&outlet), Poll::Ready(Taken::Order(Order::HandOver(_)))));
    assert_eq!(takes_frames(&outlet), Some(1));
}

#[test]
fn sockets_are_looked_at_in_the_order_in_which_they_came_and_no_more_wait_than_may() {
    let outlet = outlet();
    for number in 0..HAND_OVERS {
        assert!(outlet.hand_over(Box::new(number)).is_ok());
    }
    assert!(outlet.hand_over(Box::new("one too many")).is_err());
    for number in 0..HAND_OVERS {
        let Poll::Ready(Taken::Order(Order::HandOver(socket))) = take(&outlet) else { panic!("a socket") };
        assert_eq!(socket.downcast_ref(), Some(&number));
    }
    assert!(take(&outlet).is_pending());
}

#[test]
fn a_session_that_is_over_gives_back_what_it_did_not_take() {
    let outlet = outlet();
    outlet.set_detached(true);
    assert_eq!(outlet.push(frame(1)), Pushed::Buffered);
    assert!(outlet.hand_over(Box::new("a socket")).is_ok());
    let Left { frames, hand_overs } = outlet.close();
    assert_eq!((frames.len(), hand_overs.len()), (1, 1));
    assert_eq!(outlet.push(frame(1)), Pushed::Gone);
    assert!(outlet.hand_over(Box::new("late")).is_err());
}
