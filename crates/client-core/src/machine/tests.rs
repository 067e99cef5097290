mod delivery;
mod ends;
mod mailbox;
mod model;
mod net;
mod page;
mod proving;
mod requests;
mod resume;
mod rooms;
mod states;

use aldis_auth::{ChallengeResponse, SecretKey, SocketChallenge};
use aldis_protocol::{
    Ack, AckStatus, AuthChallenge, AuthFailure, AuthRequired, AuthSuccess, ClientFrame, ClientMessage,
    CloseCode, Connected, ErrorCode, ErrorReply, Heartbeat, Payload, RelayedSignal, Sender, ServerDraining,
    ServerFrame, ServerMessage, SessionId, SessionInfo, SessionLimits, SetPresence, SignalKind, Status,
    Timestamp, UserId,
};
use proptest::prelude::*;

use super::*;
use crate::{SignalRefused, purpose::Purpose};

const AUDIENCE: &str = "relay.example.test";
const NOW_MS: u64 = 1_767_225_600_000;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn by_key() -> Proof {
    Proof::Key(key().public_key())
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
    to_sign: Vec<SigningRequest>,
    /// Whether signatures take until [`sign`](Self::sign).
    signs_later: bool,
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
        Self::started(proof, mailbox, Pings::Frames)
    }

    /// As in a page, whose sockets show no pings.
    fn in_page() -> Self {
        Self::started(by_key(), None, Pings::Messages)
    }

    fn started(proof: Proof, mailbox: Option<u64>, pings: Pings) -> Self {
        let settings = Settings {
            codec: Codec::Json,
            pings,
            audience: AUDIENCE.into(),
            proof,
            device_id: Some(device()),
            handshake_timeout: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            mailbox,
            seed: [3; 32],
        };
        let now = Now { instant: Instant::default(), unix_ms: NOW_MS };
        let mut rig = Self {
            machine: Machine::new(settings),
            now,
            asked: Vec::new(),
            dials: 0,
            sent: Vec::new(),
            pings: 0,
            closes: 0,
            hang_ups: 0,
            to_sign: Vec::new(),
            signs_later: false,
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
        Self::new(by_key())
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
                Output::Sign(request) if self.signs_later => self.to_sign.push(request),
                Output::Sign(request) => {
                    self.machine.handle_signature(self.now, Ok(key().sign_request(&request)));
                }
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

    fn no_token(&mut self, error: &str, is_final: bool) {
        let failed = TokenError { error: error.into(), is_final };
        self.act(|machine, now| machine.handle_token(now, Err(failed)));
    }

    /// The key signs what it was asked for first.
    fn sign(&mut self) {
        let signature = key().sign_request(&self.to_sign.remove(0));
        self.act(|machine, now| machine.handle_signature(now, Ok(signature)));
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
        let origin = Origin::Application { purpose, deadline, reply_to };
        self.act(|machine, now| machine.take_request(now, Request { id, kind, frame, origin }));
    }

    /// Asks something whose frame is nothing but its length.
    fn ask(&mut self, reply_to: u32, kind: MessageKind) {
        let deadline = self.now.instant + Duration::from_secs(30);
        let request = Request {
            id: format!("m-{reply_to}").parse().unwrap(),
            kind,
            frame: Bytes::from(vec![b' '; usize::try_from(reply_to).unwrap()]),
            origin: Origin::Application { purpose: purpose_of(kind), deadline, reply_to },
        };
        self.act(|machine, now| machine.take_request(now, request));
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
        limits: SessionLimits::new(65_536, 48_000, 128),
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
    let sender = Sender::new("phone".parse().unwrap(), UserId::new(uuid::Uuid::nil()));
    let payload = Payload::from_json("{}").unwrap();
    ServerMessage::Signal(RelayedSignal::new(kind, sender, payload))
}
