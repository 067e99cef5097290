//! The machine against a model of the server that forgets nothing, over wires that break anywhere.

use std::collections::HashMap;

use aldis_protocol::{
    EncryptedMessage, MailboxMessage, MessageId, Presence, Resume, Signal, Sync, Synced, Target, UserRef,
};
use uuid::Uuid;

use super::*;

/// A session as the server has it. What was sent is kept from the first frame on.
struct Kept {
    number: usize,
    token: String,
    former: Option<String>,
    sent: Vec<Bytes>,
    confirmed: usize,
    acks: HashMap<RequestId, Ack<'static>>,
    /// Which wire serves it, as far as the server has noticed.
    wire: Option<usize>,
}

#[derive(Default)]
struct Wire {
    to_server: VecDeque<Bytes>,
    to_client: VecDeque<Bytes>,
    proved: bool,
}

#[derive(Default)]
struct Server {
    wires: Vec<Wire>,
    session: Option<Kept>,
    tokens: usize,
    /// What each session was told and counted, by the session's number.
    told: Vec<Vec<u64>>,
    /// How often a request was carried out, over all sessions.
    carried_out: HashMap<RequestId, u32>,
}

impl Server {
    fn receive(&mut self, wire: usize, bytes: &Bytes) {
        let frame = Codec::Json.decode_client(bytes).unwrap();
        if !std::mem::replace(&mut self.wires[wire].proved, true) {
            let ClientMessage::Auth(auth) = frame.message else { panic!("{frame:?}") };
            return self.enter(wire, auth.resume.as_ref());
        }
        let Some(session) = self.session.as_mut().filter(|session| session.wire == Some(wire)) else {
            return;
        };
        session.former = None;
        if let ClientMessage::Received(received) = frame.message {
            let count = usize::try_from(received.count).unwrap();
            assert!(count <= session.sent.len(), "{count} of {} are confirmed", session.sent.len());
            session.confirmed = session.confirmed.max(count);
        } else {
            self.answer(frame.id.unwrap(), &frame.message);
        }
    }

    fn enter(&mut self, wire: usize, claim: Option<&Resume<'_>>) {
        self.tokens += 1;
        let token = format!("token {}", self.tokens);
        let resumed = claim.and_then(|claim| self.resume(wire, claim, token.clone()));
        if resumed.is_none() {
            self.begin(wire, token.clone());
        }
        let number = self.told.len() - 1;
        let session = SessionInfo {
            id: SessionId::new(Uuid::from_u128(number as u128)),
            resume_token: token.into(),
            resumed: resumed.is_some(),
            ..connected().session
        };
        self.write(wire, None, ServerMessage::Connected(Connected { session, ..connected() }));
        let missed =
            resumed.map_or(Vec::new(), |received| self.session.as_ref().unwrap().sent[received..].to_vec());
        self.wires[wire].to_client.extend(missed);
    }

    /// How many messages the client has, where it may have its session back.
    fn resume(&mut self, wire: usize, claim: &Resume<'_>, next: String) -> Option<usize> {
        let session = self.session.as_mut()?;
        let received = usize::try_from(claim.received).unwrap();
        let shown = claim.token.expose();
        let is_good = session.token == shown || session.former.as_deref() == Some(shown);
        if !is_good {
            return None;
        }
        assert!((session.confirmed..=session.sent.len()).contains(&received), "a count that never was");
        session.former = Some(shown.to_owned());
        session.token = next;
        session.wire = Some(wire);
        Some(received)
    }

    fn begin(&mut self, wire: usize, token: String) {
        let number = self.told.len();
        self.told.push(Vec::new());
        let (sent, acks) = (Vec::new(), HashMap::new());
        self.session = Some(Kept { number, token, former: None, sent, confirmed: 0, acks, wire: Some(wire) });
    }

    fn answer(&mut self, id: RequestId, message: &ClientMessage<'_>) {
        let known = self.session.as_ref().unwrap().acks.get(&id).cloned();
        if let Some(ack) = known {
            return self.send(Some(id), ServerMessage::Ack(ack));
        }
        if matches!(message, ClientMessage::Ping) {
            self.send(Some(id), ServerMessage::Pong);
        } else if matches!(message, ClientMessage::Sync(_)) {
            (0..2).for_each(|_| self.send(Some(id.clone()), stored_message()));
            let synced = Synced { seq: 2, first_seq: 1, complete: true };
            self.send(Some(id), ServerMessage::Synced(synced));
        } else if message.kind() == MessageKind::Offer {
            self.send(Some(id), ServerMessage::Error(ErrorReply::new(ErrorCode::TargetUnavailable, "gone")));
        } else {
            self.carry_out(id);
        }
    }

    fn carry_out(&mut self, id: RequestId) {
        *self.carried_out.entry(id.clone()).or_default() += 1;
        let ack = Ack::new(AckStatus::Done, id.as_str().to_owned());
        self.session.as_mut().unwrap().acks.insert(id.clone(), ack.clone());
        self.send(Some(id), ServerMessage::Ack(ack));
    }

    /// Tells the client something of its own accord.
    fn tell(&mut self, number: u64) {
        let Some(session) = &self.session else { return };
        self.told[session.number].push(number);
        let ServerMessage::Signal(template) = signal(SignalKind::Signal) else { return };
        let payload = Payload::from_json(&number.to_string()).unwrap().into_owned();
        let id = format!("told-{number}").parse().unwrap();
        self.send(Some(id), ServerMessage::Signal(RelayedSignal { payload, ..template }));
    }

    fn send(&mut self, id: Option<RequestId>, message: ServerMessage<'_>) {
        let Some(session) = &mut self.session else { return };
        let is_streamed = id.as_ref().is_some_and(|id| id.as_str().starts_with("Sync"));
        if message.is_counted() && !is_streamed {
            session.sent.push(encoded(id.clone(), message.clone()));
        }
        if let Some(wire) = session.wire {
            self.write(wire, id, message);
        }
    }

    fn write(&mut self, wire: usize, id: Option<RequestId>, message: ServerMessage<'_>) {
        self.wires[wire].to_client.push_back(encoded(id, message));
    }
}

#[derive(Debug, Clone)]
enum Happens {
    /// Whatever the client waits for next in order to be connected.
    Attempt,
    /// So many frames arrive.
    AtServer(usize),
    AtClient(usize),
    /// Frames arrive of the wire that the client gave up. A proof that comes so late would begin a session of its own.
    LateAtServer(usize),
    Tell,
    TellUncounted,
    Ask(Asked),
    /// The wire is gone, and whether the server notices too.
    Break(bool),
    /// All that was written arrives, then a close.
    Close(u16),
    /// The server has no session for the client any more.
    Forget,
    Pass(u64),
}

/// One request of each treatment.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// Carried out each time.
    Ping,
    /// Answered by a stream that is not counted.
    Sync,
    /// Refused.
    Offer,
    /// Carried out once, in the session that was asked.
    Signal,
    /// Carried out once, in whatever session.
    Message,
}

impl Asked {
    fn message(self) -> ClientMessage<'static> {
        let signal = |kind| {
            let (target, payload) = (Target::Device(device()), Payload::from_json("{}").unwrap());
            ClientMessage::Signal(Signal { kind, target, payload, signature: None })
        };
        match self {
            Self::Ping => ClientMessage::Ping,
            Self::Sync => ClientMessage::Sync(Sync { since_seq: 0, limit: None }),
            Self::Offer => signal(SignalKind::Offer),
            Self::Signal => signal(SignalKind::Signal),
            Self::Message => ClientMessage::Message(EncryptedMessage {
                recipient: UserRef::Id(UserId::new(Uuid::nil())),
                encrypted_content: b"sealed".as_slice().into(),
            }),
        }
    }
}

struct World {
    rig: Rig,
    server: Server,
    /// The client's socket.
    wire: Option<usize>,
    told: u64,
    asked: u32,
    seen: Seen,
}

/// How much of what the rig recorded was carried out.
#[derive(Default)]
struct Seen {
    sent: usize,
    hang_ups: usize,
    pings: usize,
}

impl World {
    fn new() -> Self {
        let (rig, server) = (Rig::with_token(), Server::default());
        Self { rig, server, wire: None, told: 0, asked: 0, seen: Seen::default() }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Attempt => self.attempt(),
            Happens::AtServer(count) => self.arrive_at_server(self.wire, count),
            Happens::LateAtServer(count) => {
                let late = self.server.wires.len().checked_sub(2);
                self.arrive_at_server(late.filter(|wire| self.server.wires[*wire].proved), count);
            }
            Happens::AtClient(count) => self.arrive_at_client(count),
            Happens::Tell => {
                self.server.tell(self.told);
                self.told += 1;
            }
            Happens::TellUncounted => self.server.send(None, presence()),
            Happens::Ask(kind) => self.ask(kind),
            Happens::Break(noticed) => self.break_wire(noticed),
            Happens::Close(code) => self.close(code),
            Happens::Forget => {
                if self.wire.is_none() {
                    self.server.session = None;
                }
            }
            Happens::Pass(ms) => self.rig.pass(Duration::from_millis(ms)),
        }
        self.carry_out();
    }

    fn attempt(&mut self) {
        if let Phase::Waiting(until) = self.rig.machine.phase {
            self.rig.pass(until - self.rig.now.instant);
        } else if matches!(self.rig.machine.phase, Phase::AskingToken) {
            self.rig.token("a token");
        } else if matches!(self.rig.machine.phase, Phase::Dialing(_)) {
            self.server.wires.push(Wire::default());
            self.wire = Some(self.server.wires.len() - 1);
            self.rig.dialed();
        }
    }

    /// Does what the machine wants done.
    fn carry_out(&mut self) {
        let sent = self.rig.sent[self.seen.sent..].to_vec();
        self.seen.sent = self.rig.sent.len();
        if let Some(wire) = self.wire {
            self.server.wires[wire].to_server.extend(sent);
        }
        if self.rig.hang_ups > std::mem::replace(&mut self.seen.hang_ups, self.rig.hang_ups) {
            self.wire = None;
        }
        if self.rig.pings > std::mem::replace(&mut self.seen.pings, self.rig.pings) && self.wire.is_some() {
            self.rig.act(|machine, now| machine.handle_pong(now));
        }
    }

    fn arrive_at_server(&mut self, wire: Option<usize>, count: usize) {
        let Some(wire) = wire else { return };
        for _ in 0..count {
            let Some(frame) = self.server.wires[wire].to_server.pop_front() else { return };
            self.server.receive(wire, &frame);
        }
    }

    fn arrive_at_client(&mut self, count: usize) {
        for _ in 0..count {
            let Some(wire) = self.wire else { return };
            let Some(frame) = self.server.wires[wire].to_client.pop_front() else { return };
            self.rig.act(|machine, now| machine.handle_frame(now, &frame));
            self.carry_out();
        }
    }

    fn ask(&mut self, asked: Asked) {
        let message = asked.message();
        let id: RequestId = format!("{asked:?}-{}", self.asked).parse().unwrap();
        let kind = message.kind();
        let frame = Codec::Json.encode_client(&ClientFrame { id: Some(id.clone()), message });
        let deadline = self.rig.now.instant + Duration::from_secs(30);
        let request = Request { id, kind, frame, deadline, reply_to: self.asked };
        self.asked += 1;
        self.rig.act(|machine, _| machine.handle_request(request, None));
    }

    fn break_wire(&mut self, noticed: bool) {
        let Some(wire) = self.wire.take() else { return };
        if let Some(session) = self.server.session.as_mut().filter(|it| noticed && it.wire == Some(wire)) {
            session.wire = None;
        }
        self.rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
    }

    fn close(&mut self, code: u16) {
        let Some(wire) = self.wire else { return };
        if self.server.session.as_ref().is_none_or(|session| session.wire != Some(wire)) {
            return;
        }
        self.arrive_at_client(usize::MAX);
        if self.wire.take_if(|it| *it == wire).is_none() {
            return;
        }
        match CloseCode::from_u16(code).filter(|code| code.keeps_session("")) {
            Some(_) => self.server.session.as_mut().unwrap().wire = None,
            None => self.server.session = None,
        }
        self.rig.closed(code);
    }

    /// Lets everything arrive that is under way, over wires that hold.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.happens(Happens::Attempt);
            self.happens(Happens::AtServer(usize::MAX));
            self.happens(Happens::AtClient(usize::MAX));
        }
    }

    fn check(&self) {
        let session = self.server.session.as_ref().unwrap();
        assert_eq!(session.confirmed, session.sent.len(), "all is confirmed");
        assert_eq!(session.number as u128, self.last_session().as_uuid().as_u128());
        self.check_events();
        self.check_outcomes();
    }

    fn last_session(&self) -> SessionId {
        self.rig.machine.session.as_ref().unwrap().id()
    }

    /// In each session exactly what was told, in order, up to the session's loss; nothing in the last.
    fn check_events(&self) {
        let (mut heard, mut current) = (vec![Vec::new(); self.server.told.len()], None);
        for event in &self.rig.events {
            if let Event::Connected(session) = event {
                let number = usize::try_from(session.id.as_uuid().as_u128()).unwrap();
                assert_eq!(session.resumed, current == Some(number));
                current = Some(number);
            } else if let Event::Signal(told) = event {
                let number = std::str::from_utf8(told.signal.payload.as_bytes()).unwrap();
                heard[current.unwrap()].push(number.parse::<u64>().unwrap());
            } else {
                let expected = matches!(event, Event::Closed { .. } | Event::Presence(_) | Event::Message(_));
                assert!(expected, "{event:?}");
            }
        }
        for (heard, told) in heard.iter().zip(&self.server.told) {
            assert!(told.starts_with(heard), "{heard:?} of {told:?}");
        }
        assert_eq!(heard.last(), self.server.told.last());
    }

    /// One outcome for each request, and for each `ack` one execution.
    fn check_outcomes(&self) {
        let mut outcomes: Vec<_> = self.rig.settled.iter().map(|(reply_to, _)| *reply_to).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, (0..self.asked).collect::<Vec<_>>());
        for (_, outcome) in &self.rig.settled {
            match outcome {
                Ok(Reply::Ack(ack)) => {
                    let times = self.server.carried_out[&ack.message.parse::<RequestId>().unwrap()];
                    assert!(times == 1 || ack.message.starts_with("Message"), "{ack:?}: {times}");
                }
                Ok(_) | Err(RequestError::Refused(_) | RequestError::TimedOut) => {}
                Err(RequestError::NotConnected | RequestError::ConnectionLost | RequestError::QueueFull) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        for (id, times) in &self.server.carried_out {
            assert!(*times == 1 || id.as_str().starts_with("Message"), "{id} was carried out {times} times");
        }
    }
}

fn encoded(id: Option<RequestId>, message: ServerMessage<'_>) -> Bytes {
    Codec::Json.encode_server(&ServerFrame { id, timestamp: Timestamp::from_ms(0), message })
}

fn presence() -> ServerMessage<'static> {
    let user_id = UserId::new(Uuid::nil());
    ServerMessage::Presence(Presence {
        user_id,
        status: Status::Online,
        note: None,
        devices: 1,
        last_seen: None,
    })
}

pub(super) fn stored_message() -> ServerMessage<'static> {
    let (user, now) = (UserId::new(Uuid::nil()), Timestamp::from_ms(0));
    ServerMessage::Message(MailboxMessage {
        message_id: MessageId::new(Uuid::nil()),
        seq: 1,
        sender_user_id: user,
        sender_device_id: device(),
        recipient_id: user,
        encrypted_content: b"sealed".as_slice().into(),
        created_at: now,
        delivered_at: None,
        read_at: None,
    })
}

fn happening() -> impl Strategy<Value = Happens> {
    let asked = vec![Asked::Ping, Asked::Sync, Asked::Offer, Asked::Signal, Asked::Message];
    prop_oneof![
        8 => Just(Happens::Attempt),
        8 => (1..6_usize).prop_map(Happens::AtServer),
        8 => (1..6_usize).prop_map(Happens::AtClient),
        2 => (1..4_usize).prop_map(Happens::LateAtServer),
        6 => Just(Happens::Tell),
        1 => Just(Happens::TellUncounted),
        6 => prop::sample::select(asked).prop_map(Happens::Ask),
        3 => any::<bool>().prop_map(Happens::Break),
        1 => prop::sample::select(vec![1001, 1011, 1012, 4100, 4101, 4103, 4104, 4200]).prop_map(Happens::Close),
        1 => Just(Happens::Forget),
        1 => (0..6_000_u64).prop_map(Happens::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_breaks_nothing_is_lost_doubled_or_out_of_order(
        happenings in prop::collection::vec(happening(), 0..120),
    ) {
        let mut world = World::new();
        for what in happenings {
            world.happens(what);
        }
        world.settle();
        world.happens(Happens::Pass(5_000));
        world.settle();
        world.check();
    }
}
