mod delivery;
mod mailbox;
mod model;
mod net;
mod resume;
mod rooms;

use std::io;

use aldis_auth::{ChallengeResponse, SecretKey, SocketChallenge};
use aldis_protocol::{
    AckStatus, AuthChallenge, AuthFailure, AuthRequired, AuthSuccess, ClientFrame, ClientMessage, CloseCode,
    Connected, ErrorCode, ErrorReply, Heartbeat, Payload, RelayedSignal, Sender, ServerDraining, SessionId,
    SessionInfo, SessionLimits, SetPresence, SignalKind, Status, Timestamp, UserId,
};
use proptest::prelude::*;

use super::*;
use crate::{SignalRefused, purpose::Purpose};

const AUDIENCE: &str = "relay.example.test";
const NOW_MS: u64 = 1_767_225_600_000;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn device() -> DeviceId {
    "desk".parse().unwrap()
}

/// A machine, its time, and what it did.
struct Rig {
    machine: Machine<u32>,
    now: Now,
    asked: Vec<TokenReason>,
    dials: usize,
    sent: Vec<Bytes>,
    pings: usize,
    closes: usize,
    hang_ups: usize,
    states: Vec<State>,
    events: Vec<Event>,
    to_store: Vec<IncomingMessage>,
    cursors: Vec<u64>,
    settled: Vec<(u32, Result<Reply, RequestError>)>,
    finished: bool,
}

impl Rig {
    fn new(proof: Proof) -> Self {
        Self::keeping(proof, None)
    }

    /// With a mailbox that the application has up to a number.
    fn keeping(proof: Proof, mailbox: Option<u64>) -> Self {
        let settings = Settings {
            codec: Codec::Json,
            audience: AUDIENCE.into(),
            proof,
            device_id: Some(device()),
            handshake_timeout: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            mailbox,
            seed: [3; 32],
        };
        let now = Now { instant: Instant::now(), unix_ms: NOW_MS };
        let mut rig = Self {
            machine: Machine::new(settings),
            now,
            asked: Vec::new(),
            dials: 0,
            sent: Vec::new(),
            pings: 0,
            closes: 0,
            hang_ups: 0,
            states: vec![State::Disconnected],
            events: Vec::new(),
            to_store: Vec::new(),
            cursors: Vec::new(),
            settled: Vec::new(),
            finished: false,
        };
        rig.act(Machine::start);
        rig
    }

    fn with_key() -> Self {
        Self::new(Proof::Key(Box::new(key())))
    }

    fn with_token() -> Self {
        Self::new(Proof::Token)
    }

    fn act(&mut self, act: impl FnOnce(&mut Machine<u32>, Now)) {
        act(&mut self.machine, self.now);
        while let Some(output) = self.machine.poll_output() {
            let refusal = matches!(output, Output::Settle(..));
            assert!(!self.finished || refusal, "nothing else follows the end: {output:?}");
            match output {
                Output::AskToken(reason) => self.asked.push(reason),
                Output::Dial => self.dials += 1,
                Output::Send(frame) => self.sent.push(frame),
                Output::Ping => self.pings += 1,
                Output::Close => self.closes += 1,
                Output::HangUp => self.hang_ups += 1,
                Output::State(state) => self.states.push(state),
                Output::Session(_) => {}
                Output::Event(event) => self.events.push(event),
                Output::Store(message) => self.to_store.push(message),
                Output::Cursor(cursor) => self.cursors.push(cursor),
                Output::Settle(reply_to, outcome) => self.settled.push((reply_to, outcome)),
            }
        }
        self.finished = self.machine.is_finished();
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
        for _ in 0..3 {
            self.act(|machine, now| machine.handle_timeout(now));
            if self.machine.next_timeout().is_none_or(|next| next > self.now.instant) {
                return;
            }
        }
        panic!("a time that has come is asked for again and again");
    }

    fn token(&mut self, token: &str) {
        let token = Secret::from(token.to_owned());
        self.act(|machine, now| machine.handle_token(now, Ok(token)));
    }

    fn dialed(&mut self) {
        self.act(|machine, now| machine.handle_dialed(now));
    }

    fn hear(&mut self, id: Option<&str>, message: ServerMessage<'_>) {
        self.hear_at(0, id, message);
    }

    /// Hears what the server dates so.
    fn hear_at(&mut self, ms: i64, id: Option<&str>, message: ServerMessage<'_>) {
        let id = id.map(|id| id.parse().unwrap());
        let frame = ServerFrame { id, timestamp: Timestamp::from_ms(ms), message };
        let bytes = Codec::Json.encode_server(&frame);
        self.act(|machine, now| machine.handle_frame(now, &bytes));
    }

    fn closed(&mut self, code: u16) {
        self.act(|machine, now| machine.handle_closed(now, code, String::new()));
    }

    fn connect(&mut self) {
        if matches!(self.machine.phase, Phase::AskingToken) {
            self.token("a token");
        }
        self.dialed();
        self.hear(None, ServerMessage::Connected(connected()));
    }

    /// Asks something real.
    fn request(&mut self, reply_to: u32, message: ClientMessage<'_>, purpose: Purpose) {
        let id: RequestId = format!("m-{reply_to}").parse().unwrap();
        let kind = message.kind();
        let frame = Codec::Json.encode_client(&ClientFrame { id: Some(id.clone()), message });
        let deadline = self.now.instant + Duration::from_secs(30);
        let asker = Asker::Application { purpose, deadline, reply_to };
        self.act(|machine, now| machine.handle_request(now, Request { id, kind, frame, asker }));
    }

    /// Asks something whose frame is nothing but its length.
    fn ask(&mut self, reply_to: u32, kind: MessageKind) {
        let deadline = self.now.instant + Duration::from_secs(30);
        let request = Request {
            id: format!("m-{reply_to}").parse().unwrap(),
            kind,
            frame: Bytes::from(vec![b' '; usize::try_from(reply_to).unwrap()]),
            asker: Asker::Application { purpose: purpose_of(kind), deadline, reply_to },
        };
        self.act(|machine, now| machine.handle_request(now, request));
    }

    /// What it said last.
    fn says_last(&self) -> ClientFrame<'_> {
        Codec::Json.decode_client(self.sent.last().unwrap()).unwrap()
    }

    fn retry_in(&self) -> Option<Duration> {
        let Some(Event::Closed { retry_in, .. }) = self.events.last() else { panic!("{:?}", self.events) };
        *retry_in
    }

    /// Lets the wait for the next attempt pass.
    fn wait(&mut self) {
        self.pass(self.retry_in().unwrap());
    }
}

/// Of a request without a content.
fn purpose_of(kind: MessageKind) -> Purpose {
    if kind == MessageKind::Sync { Purpose::Sync } else { Purpose::Nothing }
}

fn connected() -> Connected<'static> {
    Connected {
        device_id: device(),
        user_id: UserId::new(uuid::Uuid::nil()),
        message: Connected::MESSAGE.into(),
        session: SessionInfo {
            id: SessionId::new(uuid::Uuid::nil()),
            resume_token: "token".into(),
            resume_window: 30,
            resumed: false,
            replayed: 0,
        },
        heartbeat: Heartbeat { interval: 30, timeout: 10 },
        limits: SessionLimits {
            max_message_bytes: 65_536,
            max_encrypted_content_bytes: 48_000,
            max_unanswered_requests: 128,
        },
    }
}

fn challenge(audience: &str, lifetime_ms: u64) -> ServerMessage<'_> {
    ServerMessage::AuthChallenge(AuthChallenge {
        challenge: [5; 32],
        audience: audience.into(),
        expires_at_ms: NOW_MS + lifetime_ms,
    })
}

fn ack() -> ServerMessage<'static> {
    ServerMessage::Ack(Ack::new(AckStatus::Done, ""))
}

fn failure(code: ErrorCode) -> ServerMessage<'static> {
    ServerMessage::AuthFailure(AuthFailure { code, message: "no".into(), rotation: None })
}

fn signal(kind: SignalKind) -> ServerMessage<'static> {
    let sender = Sender {
        device_id: "phone".parse().unwrap(),
        user_id: UserId::new(uuid::Uuid::nil()),
        fingerprint: None,
    };
    let payload = Payload::from_json("{}").unwrap();
    ServerMessage::Signal(RelayedSignal { kind, sender, payload, signature: None })
}

#[test]
fn a_key_answers_the_challenge_of_the_server_that_was_dialled() {
    let mut rig = Rig::with_key();
    assert_eq!(rig.dials, 1);
    rig.dialed();
    assert!(rig.sent.is_empty(), "a key has nothing to say before the challenge");
    rig.hear(None, challenge(AUDIENCE, 10_000));
    let ClientMessage::AuthResponse(response) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    let response = ChallengeResponse {
        public_key: response.public_key,
        signature: response.signature,
        device_id: response.device_id,
    };
    let issued = SocketChallenge::issue([5; 32], AUDIENCE, NOW_MS);
    assert_eq!(issued.accept(&response, NOW_MS), Ok(key().public_key()));
    rig.hear(None, ServerMessage::Connected(connected()));
    assert_eq!(rig.states, [State::Disconnected, State::Connecting, State::Authenticating, State::Connected]);
    assert!(matches!(rig.events.last(), Some(Event::Connected(session)) if session.device_id == device()));
}

#[test]
fn a_challenge_of_another_server_or_of_over_two_minutes_is_not_signed() {
    for challenge in [challenge("other.example.test", 10_000), challenge(AUDIENCE, 120_001)] {
        let mut rig = Rig::with_key();
        rig.dialed();
        rig.hear(None, challenge);
        assert!(rig.sent.is_empty());
        assert_eq!(rig.hang_ups, 1);
        assert!(matches!(
            rig.events.last(),
            Some(Event::Closed { cause: ConnectionError::Challenge(_), retry_in: Some(_) })
        ));
    }
}

#[test]
fn one_challenge_is_answered_a_connection() {
    let mut rig = Rig::with_key();
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    rig.hear(None, challenge(AUDIENCE, 10_000));
    assert_eq!(rig.sent.len(), 1);
}

#[test]
fn a_token_is_asked_for_at_each_attempt_and_shown_at_once() {
    let mut rig = Rig::with_token();
    rig.token("first");
    rig.dialed();
    let ClientMessage::Auth(auth) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert_eq!(auth.token.unwrap().expose(), "first");
    assert_eq!(auth.device_id, Some(device()));
    rig.closed(1012);
    rig.wait();
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Reconnecting]);
}

#[test]
fn an_expired_token_is_replaced_as_often_as_it_takes() {
    let mut rig = Rig::with_token();
    for _ in 0..3 {
        rig.token("old");
        rig.dialed();
        rig.hear(None, failure(ErrorCode::ExpiredToken));
        rig.closed(4003);
        rig.wait();
    }
    assert_eq!(rig.asked[1..], [TokenReason::Expired; 3]);
}

#[test]
fn an_invalid_token_is_replaced_once() {
    let mut rig = Rig::with_token();
    for _ in 0..2 {
        rig.token("bad");
        rig.dialed();
        rig.hear(None, failure(ErrorCode::InvalidToken));
        rig.closed(4002);
        if !rig.finished {
            rig.wait();
        }
    }
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Invalid]);
    assert!(rig.finished);
    assert_eq!(rig.states.last(), Some(&State::Disconnected));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed {
            cause: ConnectionError::Refused { code: ErrorCode::InvalidToken, .. },
            retry_in: None
        })
    ));
}

#[test]
fn a_provider_without_a_token_is_asked_again_later() {
    let mut rig = Rig::with_token();
    let error = Box::new(io::Error::other("not now"));
    rig.act(|machine, now| machine.handle_token(now, Err(error)));
    assert_eq!(rig.states.last(), Some(&State::Reconnecting));
    rig.wait();
    assert_eq!(rig.asked.len(), 2);
}

#[test]
fn a_key_comes_back_after_a_refusal_unless_that_is_final() {
    let refused = |code| {
        let mut rig = Rig::with_key();
        rig.dialed();
        rig.hear(None, failure(code));
        rig.closed(4002);
        rig.finished
    };
    assert!(!refused(ErrorCode::InvalidSignature));
    assert!(refused(ErrorCode::Revoked));
    assert!(refused(ErrorCode::TotpRequired));
}

#[test]
fn a_handshake_that_goes_nowhere_ends() {
    let mut rig = Rig::with_key();
    rig.dialed();
    rig.pass(Duration::from_secs(10));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed { cause: ConnectionError::HandshakeTimedOut, retry_in: Some(_) })
    ));
}

#[test]
fn auth_required_is_answered_with_a_new_token() {
    let mut rig = Rig::with_token();
    rig.connect();
    let required = AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
    rig.hear(None, ServerMessage::AuthRequired(required));
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Expiring]);
    rig.token("next");
    let frame = rig.says_last();
    let id = frame.id.unwrap();
    let ClientMessage::Auth(auth) = frame.message else { panic!() };
    assert_eq!(auth.token.unwrap().expose(), "next");
    let expires_at = Some(Timestamp::from_ms(2));
    let success = AuthSuccess { user_id: UserId::new(uuid::Uuid::nil()), device_id: device(), expires_at };
    rig.hear(Some(id.as_str()), ServerMessage::AuthSuccess(success));
    assert!(
        matches!(rig.events.last(), Some(Event::Reauthenticated { expires_at: Some(at) }) if at.as_ms() == 2)
    );
    assert_eq!(rig.states.last(), Some(&State::Connected), "nothing was interrupted");
}

#[test]
fn a_refused_new_token_is_tried_three_times() {
    let mut rig = Rig::with_token();
    rig.connect();
    let required = AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
    rig.hear(None, ServerMessage::AuthRequired(required));
    for _ in 0..3 {
        rig.token("bad");
        let id = rig.says_last().id.unwrap();
        rig.hear(Some(id.as_str()), failure(ErrorCode::InvalidToken));
    }
    let asked = [TokenReason::First, TokenReason::Expiring, TokenReason::Invalid, TokenReason::Invalid];
    assert_eq!(rig.asked, asked);
    assert!(matches!(rig.events.last(), Some(Event::ReauthenticationFailed(_))));
}

#[test]
fn a_reply_goes_to_whoever_asked_and_a_signal_of_that_id_does_not() {
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
fn a_paused_machine_takes_nothing_for_a_break() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.act(|machine, _| machine.pause());
    rig.pass(Duration::from_secs(3600));
    assert_eq!(rig.states.last(), Some(&State::Connected));
    rig.act(Machine::go_on);
    rig.pass(Duration::from_secs(20));
    assert_eq!((rig.pings, rig.states.last()), (1, Some(&State::Connected)));
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
fn a_reply_that_is_not_understood_is_an_outcome() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.ask(1, MessageKind::Ping);
    let bytes = Bytes::from_static(br#"{"type":"ack","id":"m-1","timestamp":"2026-01-01T00:00:00.000Z"}"#);
    rig.act(|machine, now| machine.handle_frame(now, &bytes));
    assert_eq!(rig.settled, [(1, Err(RequestError::UnexpectedReply))]);
}

#[derive(Debug, Clone)]
enum Step {
    Token(bool),
    Dialed,
    DialFailed(u16),
    Challenge,
    Connected,
    Failure(usize),
    AuthRequired,
    Ack(u32),
    Signal,
    ClosingError(u16, Option<bool>),
    Closed(u16),
    Broken,
    Pong,
    Noise(Vec<u8>),
    Ask(bool),
    Pass(u64),
    Pause,
    GoOn,
    Stop,
}

fn close_code() -> impl Strategy<Value = u16> {
    prop_oneof![prop::sample::select(CloseCode::ALL).prop_map(CloseCode::as_u16), any::<u16>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Token),
        3 => Just(Step::Dialed),
        1 => prop::sample::select(vec![403_u16, 429, 503]).prop_map(Step::DialFailed),
        1 => Just(Step::Challenge),
        4 => Just(Step::Connected),
        1 => (0..ErrorCode::ALL.len()).prop_map(Step::Failure),
        1 => Just(Step::AuthRequired),
        3 => (0..40_u32).prop_map(Step::Ack),
        1 => Just(Step::Signal),
        1 => (close_code(), any::<Option<bool>>()).prop_map(|(code, reconnect)| Step::ClosingError(code, reconnect)),
        2 => close_code().prop_map(Step::Closed),
        1 => Just(Step::Broken),
        1 => Just(Step::Pong),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Noise),
        4 => any::<bool>().prop_map(Step::Ask),
        4 => (0..40_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Pause),
        1 => Just(Step::GoOn),
        1 => Just(Step::Stop),
    ]
}

impl Rig {
    fn step(&mut self, step: Step, asked: &mut u32) {
        match step {
            Step::Token(true) => self.token("a token"),
            Step::Token(false) => {
                self.act(|machine, now| machine.handle_token(now, Err(Box::new(io::Error::other("none")))));
            }
            Step::Dialed => self.dialed(),
            Step::DialFailed(status) => {
                let error = DialError::Refused { status, retry_after: None };
                self.act(|machine, now| machine.handle_dial_failed(now, error));
            }
            Step::Challenge => self.hear(None, challenge(AUDIENCE, 10_000)),
            Step::Connected => self.hear(None, ServerMessage::Connected(connected())),
            Step::Failure(at) => self.hear(None, failure(ErrorCode::ALL[at])),
            Step::AuthRequired => {
                let required =
                    AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
                self.hear(None, ServerMessage::AuthRequired(required));
            }
            Step::Ack(at) => self.hear(Some(&format!("m-{at}")), ack()),
            Step::Signal => self.hear(None, signal(SignalKind::Offer)),
            Step::ClosingError(code, reconnect) => {
                let error =
                    ErrorReply { close: Some(code), reconnect, ..ErrorReply::new(ErrorCode::Overloaded, "") };
                self.hear(None, ServerMessage::Error(error));
            }
            Step::Closed(code) => self.closed(code),
            Step::Broken => self.act(|machine, now| machine.handle_broken(now, String::new())),
            Step::Pong => self.act(|machine, now| machine.handle_pong(now)),
            Step::Noise(bytes) => self.act(|machine, now| machine.handle_frame(now, &bytes.into())),
            Step::Ask(durable) => {
                self.ask(*asked, if durable { MessageKind::Message } else { MessageKind::Offer });
                *asked += 1;
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Step::Pause => self.act(|machine, _| machine.pause()),
            Step::GoOn => self.act(Machine::go_on),
            Step::Stop => self.act(Machine::handle_stop),
        }
    }
}

fn may_follow(from: State, to: State) -> bool {
    use State::{Authenticating, Connected, Connecting, Disconnected, Reconnecting};
    matches!(
        (from, to),
        (Disconnected, Connecting)
            | (Connecting | Reconnecting, Authenticating)
            | (Authenticating, Connected)
            | (Connecting | Authenticating | Connected, Reconnecting)
            | (Connecting | Authenticating | Connected | Reconnecting, Disconnected)
    )
}

proptest! {
    #[test]
    fn whatever_happens_states_move_along_their_edges_and_each_request_has_one_outcome(
        by_key: bool,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut rig = if by_key { Rig::with_key() } else { Rig::with_token() };
        let mut asked = 0;
        for step in steps {
            rig.step(step, &mut asked);
            prop_assert_eq!(rig.finished, rig.states.last() == Some(&State::Disconnected));
        }
        rig.act(Machine::handle_stop);
        rig.pass(Duration::from_secs(2));
        rig.pass(Duration::from_secs(2));
        prop_assert!(rig.finished, "a stop ends it");
        prop_assert!(rig.machine.next_timeout().is_none());
        for pair in rig.states.windows(2) {
            prop_assert!(may_follow(pair[0], pair[1]), "{:?}", pair);
        }
        let mut outcomes: Vec<_> = rig.settled.iter().map(|(reply_to, _)| *reply_to).collect();
        outcomes.sort_unstable();
        prop_assert_eq!(outcomes, (0..asked).collect::<Vec<_>>());
    }
}
