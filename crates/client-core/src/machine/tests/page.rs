//! In a page: pings are messages, the page sleeps, the system knows whether there is a network.

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connected_page() -> Rig {
    let mut rig = Rig::in_page();
    rig.connect();
    rig
}

/// Answers the last ping.
fn pong(rig: &mut Rig) {
    let frame = rig.says_last();
    assert_eq!(frame.message, ClientMessage::Ping);
    let id = frame.id.unwrap();
    rig.hear(Some(id.as_str()), ServerMessage::Pong);
}

#[test]
fn pings_are_messages_and_a_missing_pong_is_a_break() {
    let mut rig = connected_page();
    for _ in 0..3 {
        rig.pass(seconds(20));
        pong(&mut rig);
    }
    assert_eq!((rig.pings, rig.states.last()), (0, Some(&State::Connected)));
    rig.pass(seconds(20));
    rig.pass(seconds(20));
    assert_eq!(rig.states.last(), Some(&State::Reconnecting));
    assert!(matches!(rig.events.last(), Some(Event::Closed { cause: ConnectionError::Silent, .. })));
}

#[test]
fn a_heartbeat_that_cannot_be_seen_breaks_nothing() {
    let mut rig = Rig::in_page();
    rig.dialed();
    let heartbeat = Heartbeat { interval: 2, timeout: 1 };
    rig.hear(None, ServerMessage::Connected(Connected { heartbeat, ..connected() }));
    rig.pass(seconds(19));
    assert_eq!(rig.states.last(), Some(&State::Connected));
}

#[test]
fn a_dead_socket_is_noticed_within_five_seconds_of_waking_up() {
    let mut rig = connected_page();
    rig.act(Machine::handle_wake);
    rig.pass(seconds(4));
    pong(&mut rig);
    rig.pass(seconds(5));
    assert_eq!(rig.states.last(), Some(&State::Connected));
    rig.act(Machine::handle_wake);
    rig.pass(seconds(5));
    assert_eq!(rig.states.last(), Some(&State::Reconnecting));
}

#[test]
fn waking_up_ends_a_wait() {
    let mut rig = connected_page();
    rig.closed(1012);
    assert_eq!(rig.dials, 1);
    rig.act(Machine::handle_wake);
    assert_eq!(rig.dials, 2);
}

#[test]
fn without_a_network_no_attempt_is_made_and_no_wait_grows() {
    let mut rig = connected_page();
    rig.act(|machine, now| machine.handle_online(now, false));
    rig.closed(1006);
    for _ in 0..100 {
        rig.pass(seconds(60));
    }
    assert_eq!(rig.dials, 1);
    rig.act(|machine, now| machine.handle_online(now, true));
    assert_eq!(rig.dials, 2);
    rig.act(|machine, now| machine.handle_dial_failed(now, DialError::TimedOut));
    assert!(rig.retry_in().unwrap() <= seconds(1), "one failure was counted before");
}

#[test]
fn a_client_that_starts_without_a_network_waits_for_one() {
    let mut rig = Rig::in_page();
    rig.act(|machine, now| machine.handle_online(now, false));
    rig.act(|machine, now| machine.handle_dial_failed(now, DialError::TimedOut));
    rig.pass(seconds(3_600));
    assert_eq!(rig.dials, 1);
    rig.act(|machine, now| machine.handle_online(now, true));
    assert_eq!(rig.dials, 2);
}

#[test]
fn a_mailbox_that_is_kept_later_is_fetched_at_once() {
    let mut rig = connected_page();
    rig.act(|machine, now| machine.handle_mailbox(now, 7));
    let frame = rig.says_last();
    assert!(matches!(&frame.message, ClientMessage::Sync(sync) if sync.since_seq == 7), "{frame:?}");
    let sent = rig.sent.len();
    rig.act(|machine, now| machine.handle_mailbox(now, 0));
    assert_eq!(rig.sent.len(), sent, "the first cursor counts");
}

#[test]
fn other_credentials_end_the_session_and_keep_its_rooms() {
    let mut rig = Rig::new(Proof::Token);
    rig.connect();
    let join = ClientMessage::Join(aldis_protocol::Join { room: Some("hall".parse().unwrap()) });
    let purpose = Purpose::of(&join);
    rig.request(1, join, purpose);
    rig.hear(Some("m-1"), ack());
    rig.act(|machine, now| machine.handle_credentials(now, by_key(), Some(device())));
    assert_eq!((rig.closes, rig.dials), (1, 2));
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    assert!(
        matches!(rig.says_last().message, ClientMessage::AuthResponse(response) if response.resume.is_none())
    );
    rig.hear(None, ServerMessage::Connected(connected()));
    assert!(matches!(rig.says_last().message, ClientMessage::Join(_)), "it is in its room again");
}
