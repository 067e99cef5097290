//! Breaks, and what comes after them.

use aldis_protocol::{Resume, Synced};

use super::{model::stored_message, *};

impl Rig {
    fn broken(&mut self) {
        self.act(|machine, now| machine.handle_broken(now, "reset".into()));
    }

    /// Waits for the next attempt, makes it, and gives what is claimed.
    fn comes_back(&mut self) -> Option<Resume<'static>> {
        self.wait();
        self.token("a token");
        self.dialed();
        let ClientMessage::Auth(auth) = self.says_last().message else { panic!("{:?}", self.sent) };
        auth.resume.map(|resume| Resume { token: resume.token.into_owned(), ..resume })
    }

    fn is_resumed(&mut self) {
        self.comes_back();
        self.sent.clear();
        self.hear(None, ServerMessage::Connected(resumed()));
    }

    fn hear_signals(&mut self, count: u32) {
        (0..count).for_each(|_| self.hear(None, signal(SignalKind::Signal)));
    }

    fn confirmed(&self) -> Vec<u64> {
        let count = |frame: &Bytes| {
            let frame = Codec::Json.decode_client(frame).ok()?;
            if let ClientMessage::Received(received) = frame.message { Some(received.count) } else { None }
        };
        self.sent.iter().filter_map(count).collect()
    }

    /// The requests of [`Rig::ask`] that were sent.
    fn asked_for(&self) -> Vec<usize> {
        self.sent.iter().filter(|frame| frame.iter().all(u8::is_ascii_whitespace)).map(Bytes::len).collect()
    }

    fn last_session(&self) -> &Session {
        self.events
            .iter()
            .rev()
            .find_map(|event| if let Event::Connected(session) = event { Some(session) } else { None })
            .unwrap()
    }

    /// The computer sleeps: its wall clock goes on, that of deadlines does not.
    fn sleep(&mut self, time: Duration) {
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
    }
}

fn live() -> Rig {
    let mut rig = Rig::with_token();
    rig.connect();
    rig
}

fn resumed() -> Connected<'static> {
    let fresh = connected();
    let session = SessionInfo { resume_token: "next token".into(), resumed: true, ..fresh.session };
    Connected { session, ..fresh }
}

#[test]
fn what_arrived_is_shown_with_the_last_token() {
    let mut rig = live();
    rig.hear_signals(3);
    rig.hear(None, ServerMessage::Pong);
    rig.broken();
    let claim = rig.comes_back().unwrap();
    assert_eq!((claim.token.expose(), claim.received), ("token", 3));
    rig.hear(None, ServerMessage::Connected(resumed()));
    assert!(rig.last_session().resumed);
    rig.hear_signals(2);
    rig.broken();
    let claim = rig.comes_back().unwrap();
    assert_eq!((claim.token.expose(), claim.received), ("next token", 5));
    rig.hear(None, ServerMessage::Connected(connected()));
    assert!(!rig.last_session().resumed);
    rig.broken();
    assert_eq!(rig.comes_back().unwrap().received, 0, "a fresh session counts from the start");
}

#[test]
fn a_key_shows_it_as_well() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.broken();
    rig.wait();
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    let ClientMessage::AuthResponse(response) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert_eq!(response.resume.unwrap().token.expose(), "token");
}

#[test]
fn a_resume_sends_again_what_is_unanswered_and_what_was_asked_meanwhile() {
    let mut rig = live();
    rig.ask(1, MessageKind::Offer);
    rig.ask(2, MessageKind::Ping);
    rig.ask(3, MessageKind::Message);
    rig.hear(Some("m-2"), ServerMessage::Pong);
    rig.settled.clear();
    rig.broken();
    rig.ask(4, MessageKind::Offer);
    rig.is_resumed();
    assert_eq!(rig.asked_for(), [1, 3, 4]);
    assert_eq!(rig.settled, [], "nothing has failed");
    rig.hear(Some("m-1"), ack());
    assert!(matches!(rig.settled[..], [(1, Ok(Reply::Ack(_)))]));
}

#[test]
fn what_is_answered_among_what_is_replayed_is_not_sent_again() {
    let mut rig = live();
    rig.ask(1, MessageKind::Offer);
    rig.ask(2, MessageKind::Offer);
    rig.broken();
    rig.comes_back();
    rig.sent.clear();
    let session = SessionInfo { replayed: 2, ..resumed().session };
    rig.hear(None, ServerMessage::Connected(Connected { session, ..resumed() }));
    rig.ask(3, MessageKind::Offer);
    rig.hear_signals(1);
    assert!(rig.asked_for().is_empty(), "one more is to come");
    let gone = ServerMessage::Error(ErrorReply::new(ErrorCode::TargetUnavailable, "gone"));
    rig.hear(Some("m-1"), gone);
    assert_eq!(rig.asked_for(), [2, 3]);
}

#[test]
fn a_replay_that_does_not_come_is_waited_for_5_seconds() {
    let mut rig = live();
    rig.ask(1, MessageKind::Offer);
    rig.broken();
    rig.comes_back();
    rig.sent.clear();
    let session = SessionInfo { replayed: 1, ..resumed().session };
    rig.hear(None, ServerMessage::Connected(Connected { session, ..resumed() }));
    rig.pass(Duration::from_millis(4_999));
    assert!(rig.asked_for().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.asked_for(), [1]);
}

#[test]
fn a_second_reply_to_what_was_sent_again_is_nobodys() {
    let mut rig = live();
    rig.ask(1, MessageKind::Offer);
    rig.broken();
    rig.is_resumed();
    let gone = || ServerMessage::Error(ErrorReply::new(ErrorCode::TargetUnavailable, "gone"));
    let events = rig.events.len();
    rig.hear(Some("m-1"), gone());
    rig.hear(Some("m-1"), gone());
    assert_eq!((rig.settled.len(), rig.events.len()), (1, events));
}

#[test]
fn at_most_128_requests_wait_for_a_resume() {
    let mut rig = live();
    rig.broken();
    (0..128).for_each(|n| rig.ask(n, MessageKind::Offer));
    assert_eq!(rig.settled, []);
    rig.ask(128, MessageKind::Offer);
    assert_eq!(rig.settled, [(128, Err(RequestError::QueueFull))]);
}

#[test]
fn the_server_waits_after_some_closes_only() {
    for &code in CloseCode::ALL {
        let mut rig = live();
        rig.ask(1, MessageKind::Offer);
        rig.closed(code.as_u16());
        if rig.finished {
            continue;
        }
        let kept = [4100, 4103, 4104, 4200].contains(&code.as_u16());
        assert_eq!(rig.settled.is_empty(), kept, "{code:?}");
        assert_eq!(rig.comes_back().is_some(), kept, "{code:?}");
    }
}

#[test]
fn a_close_that_was_announced_counts_where_the_socket_broke_before_it() {
    let mut rig = live();
    let error = ErrorReply { close: Some(4101), ..ErrorReply::new(ErrorCode::Overloaded, "slow") };
    rig.hear(None, ServerMessage::Error(error));
    rig.broken();
    assert_eq!(rig.comes_back(), None);
}

#[test]
fn a_session_is_given_up_a_heartbeat_after_its_window() {
    let mut rig = live();
    rig.broken();
    rig.wait();
    rig.pass(Duration::from_secs(69));
    rig.ask(1, MessageKind::Offer);
    assert_eq!(rig.settled, []);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.settled, [(1, Err(RequestError::ConnectionLost))]);
    rig.ask(2, MessageKind::Offer);
    assert_eq!(rig.settled[1], (2, Err(RequestError::NotConnected)));
    rig.token("a token");
    rig.dialed();
    let ClientMessage::Auth(auth) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert_eq!(auth.resume, None);
}

#[test]
fn a_server_without_a_window_waits_for_nobody() {
    let mut rig = Rig::with_token();
    rig.token("a token");
    rig.dialed();
    let fresh = connected();
    let session = SessionInfo { resume_window: 0, ..fresh.session };
    rig.hear(None, ServerMessage::Connected(Connected { session, ..fresh }));
    rig.ask(1, MessageKind::Offer);
    rig.broken();
    rig.pass(Duration::ZERO);
    assert_eq!(rig.settled, [(1, Err(RequestError::ConnectionLost))]);
    assert_eq!(rig.comes_back(), None);
}

#[test]
fn the_window_begins_again_with_a_claim_that_broke_before_its_answer() {
    let mut rig = live();
    rig.broken();
    rig.pass(Duration::from_secs(60));
    rig.token("a token");
    rig.dialed();
    rig.pass(Duration::from_secs(9));
    rig.broken();
    rig.pass(Duration::from_secs(60));
    rig.token("a token");
    rig.dialed();
    let ClientMessage::Auth(auth) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert_eq!(auth.resume.unwrap().token.expose(), "token");
}

#[test]
fn a_resume_that_was_not_asked_for_is_a_fresh_session() {
    let mut rig = Rig::with_token();
    rig.token("a token");
    rig.dialed();
    rig.hear(None, ServerMessage::Connected(resumed()));
    assert!(!rig.last_session().resumed);
    rig.ask(1, MessageKind::Offer);
    rig.broken();
    rig.comes_back();
    let other = Connected {
        session: SessionInfo { id: SessionId::new(uuid::Uuid::from_u128(9)), ..resumed().session },
        ..resumed()
    };
    rig.hear(None, ServerMessage::Connected(other));
    assert!(!rig.last_session().resumed);
    assert_eq!(rig.settled, [(1, Err(RequestError::ConnectionLost))]);
}

#[test]
fn what_arrived_is_confirmed_within_64_messages_or_5_seconds() {
    let mut rig = live();
    rig.hear_signals(63);
    assert!(rig.confirmed().is_empty());
    rig.hear_signals(1);
    assert_eq!(rig.confirmed(), [64]);
    rig.pass(Duration::from_secs(10));
    rig.hear_signals(1);
    rig.pass(Duration::from_secs(4));
    rig.hear_signals(1);
    assert_eq!(rig.confirmed(), [64]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.confirmed(), [64, 66]);
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.confirmed(), [64, 66], "nothing is new");
}

#[test]
fn a_confirmation_that_a_break_may_have_lost_is_repeated() {
    let mut rig = live();
    rig.hear_signals(64);
    rig.broken();
    rig.is_resumed();
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.confirmed(), [64]);
}

#[test]
fn a_changed_network_is_dialled_at_once_and_the_session_resumed() {
    let mut rig = live();
    rig.act(Machine::handle_network_change);
    assert_eq!((rig.asked.len(), rig.states.last()), (2, Some(&State::Reconnecting)));
    rig.token("a token");
    rig.act(Machine::handle_network_change);
    assert_eq!((rig.dials, rig.hang_ups), (3, 2), "a dial over the old network is given up");
    rig.dialed();
    let ClientMessage::Auth(auth) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert!(auth.resume.is_some());
    rig.hear(None, ServerMessage::Connected(resumed()));
    rig.broken();
    rig.act(Machine::handle_network_change);
    assert_eq!(rig.asked.len(), 3, "the wait ends as well");
}

#[test]
fn what_a_sync_streams_is_not_counted() {
    let mut rig = live();
    rig.ask(1, MessageKind::Sync);
    rig.hear(Some("m-1"), stored_message());
    rig.hear(Some("other"), stored_message());
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.settled, [(1, Err(RequestError::TimedOut))]);
    rig.act(|machine, now| machine.handle_pong(now));
    rig.hear(Some("m-1"), stored_message());
    rig.hear(Some("m-1"), ServerMessage::Synced(Synced::new(2, 1, true)));
    rig.hear(Some("m-1"), stored_message());
    rig.broken();
    assert_eq!(rig.comes_back().unwrap().received, 2, "of another id, and behind the end");
}

#[test]
fn what_is_not_understood_is_counted_as_the_server_counts_it() {
    let mut rig = live();
    let bytes = Bytes::from_static(br#"{"type":"of-tomorrow","timestamp":"2026-01-01T00:00:00.000Z"}"#);
    rig.act(|machine, now| machine.handle_frame(now, &bytes));
    rig.broken();
    assert_eq!(rig.comes_back().unwrap().received, 1);
}

#[test]
fn a_call_goes_on_after_a_resume() {
    let mut rig = live();
    rig.hear(Some("s-1"), signal(SignalKind::Offer));
    rig.broken();
    rig.is_resumed();
    rig.hear(Some("s-2"), signal(SignalKind::IceCandidate));
    assert!(matches!(rig.events.last(), Some(Event::Signal(_))));
}

#[test]
fn after_a_sleep_the_connection_has_5_seconds_to_show_that_it_is_one() {
    let mut rig = live();
    rig.sleep(Duration::from_secs(60));
    assert_eq!(rig.machine.next_timeout(), Some(rig.now.instant + Duration::from_secs(5)));
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.pings, rig.states.last()), (1, Some(&State::Connected)));
    rig.pass(Duration::from_secs(5));
    assert!(matches!(rig.events.last(), Some(Event::Closed { cause: ConnectionError::Silent, .. })));
    assert!(rig.comes_back().is_some(), "the server may wait all the same");
}

#[test]
fn a_connection_that_survives_a_sleep_is_kept() {
    let mut rig = live();
    rig.sleep(Duration::from_secs(60));
    rig.pass(Duration::from_secs(5));
    rig.act(|machine, now| machine.handle_pong(now));
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.pings, rig.states.last()), (1, Some(&State::Connected)));
}

#[test]
fn a_wait_passes_while_the_computer_sleeps() {
    let mut rig = live();
    rig.hear(None, ServerMessage::ServerDraining(ServerDraining { reconnect_after: 600 }));
    rig.closed(1012);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.asked.len(), 1);
    rig.sleep(Duration::from_secs(600));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.asked.len(), 2);
}

#[test]
fn a_clock_that_is_corrected_is_no_sleep() {
    let mut rig = live();
    for _ in 0..3 {
        rig.sleep(Duration::from_secs(4));
        rig.pass(Duration::from_secs(5));
    }
    rig.now.unix_ms -= 3_600_000;
    rig.pass(Duration::from_millis(4_999));
    assert_eq!(rig.pings, 0);
}
