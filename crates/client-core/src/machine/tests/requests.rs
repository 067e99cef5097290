//! Requests and their replies, and what comes unasked.

use super::*;

#[test]
fn a_reply_goes_to_its_request_and_a_signal_of_that_id_does_not() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Ping);
    rig.ask(2, MessageKind::Offer);
    rig.hear(Some("m-2"), signal(SignalKind::Signal));
    rig.hear(Some("m-2"), ServerMessage::Error(ErrorReply::new(ErrorCode::TargetUnavailable, "gone")));
    rig.hear(Some("m-1"), ServerMessage::Pong);
    let (two, one) = (&rig.settled[0], &rig.settled[1]);
    assert!(matches!(two, (2, Err(RequestError::Refused(refusal))) if refusal.message == "gone"));
    assert_eq!(*one, (1, Ok(Reply::Pong)));
    rig.hear(Some("m-1"), ServerMessage::Pong);
    assert_eq!(rig.settled.len(), 2);
}

#[test]
fn a_lost_session_fails_signals_and_keeps_messages_for_the_next_one() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Offer);
    rig.ask(2, MessageKind::Message);
    rig.ask(3, MessageKind::ChatMessage);
    rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
    rig.ask(4, MessageKind::Offer);
    assert_eq!(rig.settled, [], "nobody knows yet that it is lost");
    rig.wait();
    rig.sent.clear();
    rig.connect();
    let lost = |reply_to| (reply_to, Err(RequestError::ConnectionLost));
    assert_eq!(rig.settled, [lost(1), lost(4)]);
    assert_eq!(rig.sent.iter().map(Bytes::len).collect::<Vec<_>>(), [2, 3]);
    rig.hear(Some("m-2"), ack());
    assert!(matches!(rig.settled.last(), Some((2, Ok(Reply::Ack(_))))));
}

#[test]
fn without_a_session_only_messages_wait() {
    let mut rig = Rig::with_key();
    rig.ask(1, MessageKind::Offer);
    rig.ask(2, MessageKind::Message);
    assert_eq!(rig.settled, [(1, Err(RequestError::NotConnected))]);
}

#[test]
fn a_message_that_was_too_large_is_dropped() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(2, MessageKind::Message);
    rig.ask(9, MessageKind::Message);
    rig.closed(CloseCode::TooLarge.as_u16());
    assert_eq!(rig.settled, [(9, Err(RequestError::TooLarge))]);
    assert!(!rig.finished);
}

#[test]
fn a_request_waits_for_its_reply_until_its_deadline() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Ping);
    rig.pass(Duration::from_millis(29_999));
    assert!(rig.settled.is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.settled, [(1, Err(RequestError::TimedOut))]);
}

#[test]
fn an_answer_outside_a_call_is_dropped_and_counted() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.hear(Some("s-1"), signal(SignalKind::Answer));
    assert!(matches!(
        rig.events.last(),
        Some(Event::SignalRefused { reason: SignalRefused::OutsideCall, total: 1, .. })
    ));
    rig.hear(Some("s-2"), signal(SignalKind::Offer));
    rig.hear(Some("s-3"), signal(SignalKind::IceCandidate));
    assert!(matches!(rig.events.last(), Some(Event::Signal(_))));
}

#[test]
fn a_reply_that_is_not_understood_is_an_outcome() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Ping);
    let bytes = Bytes::from_static(br#"{"type":"ack","id":"m-1","timestamp":"2026-01-01T00:00:00.000Z"}"#);
    rig.act(|machine, now| machine.handle_frame(now, &bytes));
    assert_eq!(rig.settled, [(1, Err(RequestError::UnexpectedReply))]);
}
