//! How connections end, and what follows.

use super::*;

#[test]
fn the_time_that_a_draining_server_names_is_kept() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.hear(None, ServerMessage::ServerDraining(ServerDraining { reconnect_after: 7 }));
    rig.closed(1012);
    let wait = rig.retry_in().unwrap();
    assert!((Duration::from_secs(7)..=Duration::from_millis(7_500)).contains(&wait), "{wait:?}");
}

#[test]
fn the_error_before_a_close_decides() {
    let mut rig = Rig::with_key();
    rig.connect();
    let error = ErrorReply {
        retry_after: Some(60),
        close: Some(4103),
        ..ErrorReply::new(ErrorCode::RateLimited, "slower")
    };
    rig.hear(None, ServerMessage::Error(error));
    rig.closed(4103);
    assert!(rig.retry_in().unwrap() >= Duration::from_secs(60));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed {
            cause: ConnectionError::Closed { code: 4103, error: Some(ErrorCode::RateLimited), .. },
            ..
        })
    ));
}

#[test]
fn a_replaced_connection_does_not_come_back() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Message);
    rig.closed(4300);
    assert!(rig.finished);
    assert_eq!(rig.settled, [(1, Err(RequestError::Stopped))]);
    rig.ask(2, MessageKind::Ping);
    assert_eq!(rig.settled[1], (2, Err(RequestError::Stopped)));
}

#[test]
fn waits_grow_until_a_connection_lasts_thirty_seconds() {
    let mut rig = Rig::with_key();
    for _ in 0..6 {
        rig.connect();
        rig.closed(1011);
        rig.wait();
    }
    rig.connect();
    rig.act(|machine, now| machine.handle_pong(now));
    rig.now.instant += Duration::from_secs(30);
    rig.closed(1011);
    assert!(rig.retry_in().unwrap() <= Duration::from_millis(500));
}

#[test]
fn silence_is_a_break() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.pings, 1);
    rig.pass(Duration::from_secs(20));
    assert!(matches!(rig.events.last(), Some(Event::Closed { cause: ConnectionError::Silent, .. })));
}

#[test]
fn a_stop_says_offline_and_closes() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Ping);
    rig.act(Machine::handle_stop);
    rig.act(Machine::handle_stop);
    let frame = rig.says_last();
    assert_eq!(frame.message, ClientMessage::Presence(SetPresence { status: Status::Offline, note: None }));
    let id = frame.id.unwrap();
    rig.hear(Some("m-1"), ServerMessage::Pong);
    assert_eq!(rig.settled, [(1, Ok(Reply::Pong))], "what was asked before is still answered");
    rig.hear(Some(id.as_str()), ack());
    assert_eq!(rig.closes, 1);
    rig.closed(1000);
    assert!(rig.finished);
    assert_eq!(rig.states.last(), Some(&State::Disconnected));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed { cause: ConnectionError::Stopped, retry_in: None })
    ));
}

#[test]
fn a_stop_waits_two_seconds_for_each_answer() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.act(Machine::handle_stop);
    rig.pass(Duration::from_secs(2));
    assert_eq!((rig.closes, rig.finished), (1, false));
    rig.pass(Duration::from_secs(2));
    assert!(rig.finished);
}

#[test]
fn a_stop_without_a_connection_is_done_at_once() {
    let mut rig = Rig::with_token();
    rig.ask(1, MessageKind::Message);
    rig.act(Machine::handle_stop);
    assert!(rig.finished);
    assert_eq!(rig.settled, [(1, Err(RequestError::Stopped))]);
}

#[test]
fn an_http_refusal_is_obeyed() {
    let mut rig = Rig::with_key();
    let busy = DialError::Refused { status: 503, retry_after: Some(Duration::from_secs(5)) };
    rig.act(|machine, now| machine.handle_dial_failed(now, busy));
    assert!(rig.retry_in().unwrap() >= Duration::from_secs(5));
    rig.wait();
    let forbidden = DialError::Refused { status: 403, retry_after: None };
    rig.act(|machine, now| machine.handle_dial_failed(now, forbidden));
    assert!(rig.finished);
}

#[test]
fn a_notice_that_came_again_after_a_break_was_told_twice() {
    let mut rig = Rig::with_key();
    rig.connect();
    let alert = || ServerMessage::Alert(aldis_protocol::Alert::new(aldis_protocol::AlertKind::DeviceAdded));
    rig.hear(Some("n-1"), alert());
    rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
    rig.wait();
    rig.connect();
    rig.hear(Some("n-1"), alert());
    rig.hear(Some("n-2"), alert());
    let told = rig.events.iter().filter(|event| matches!(event, Event::Alert(_))).count();
    assert_eq!(told, 2, "each once");
}
