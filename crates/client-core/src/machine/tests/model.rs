//! The machine against a model of the server that forgets nothing, over wires that break anywhere.

use std::collections::HashMap;

use aldis_protocol::{
    EncryptedMessage, MailboxMessage, MessageId, Presence, Signal, Sync, Synced, Target, UserRef,
};
use uuid::Uuid;

use super::{
    net::{Net, dated},
    *,
};

/// What each session keeps: the replies to requests that it carried out.
type Acks = HashMap<RequestId, Ack<'static>>;

#[derive(Default)]
struct Server {
    /// What each session was told and counted, by the session's number.
    told: HashMap<usize, Vec<u64>>,
    /// How often a request was carried out, over all sessions.
    carried_out: HashMap<RequestId, u32>,
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
    net: Net<Acks>,
    server: Server,
    told: u64,
    asked: u32,
}

impl World {
    fn new() -> Self {
        Self { net: Net::new(Rig::with_token()), server: Server::default(), told: 0, asked: 0 }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Attempt => self.net.attempt(),
            Happens::AtServer(count) => {
                let asked = self.net.arrive_at_server(count);
                self.answer_all(&asked);
            }
            Happens::LateAtServer(count) => {
                let asked = self.net.arrive_late_at_server(count);
                self.answer_all(&asked);
            }
            Happens::AtClient(count) => self.net.arrive_at_client(count),
            Happens::Tell => {
                self.tell(self.told);
                self.told += 1;
            }
            Happens::TellUncounted => self.net.sessions.send(dated(0, None, presence()), false),
            Happens::Ask(kind) => self.ask(kind),
            Happens::Break(noticed) => self.net.break_wire(noticed),
            Happens::Close(code) => self.net.close(code),
            Happens::Forget => self.net.forget(),
            Happens::Pass(ms) => self.net.rig.pass(Duration::from_millis(ms)),
        }
        self.net.carry_out();
    }

    fn answer_all(&mut self, asked: &[Bytes]) {
        for bytes in asked {
            let frame = Codec::Json.decode_client(bytes).unwrap();
            self.answer(frame.id.unwrap(), &frame.message);
        }
    }

    fn answer(&mut self, id: RequestId, message: &ClientMessage<'_>) {
        let Some(session) = &self.net.sessions.session else { return };
        if let Some(ack) = session.state.get(&id).cloned() {
            return self.send(Some(id), ServerMessage::Ack(ack));
        }
        if matches!(message, ClientMessage::Ping) {
            self.send(Some(id), ServerMessage::Pong);
        } else if matches!(message, ClientMessage::Sync(_)) {
            (0..2).for_each(|_| self.send(Some(id.clone()), stored_message()));
            let synced = Synced::new(2, 1, true);
            self.send(Some(id), ServerMessage::Synced(synced));
        } else if message.kind() == MessageKind::Offer {
            self.send(Some(id), ServerMessage::Error(ErrorReply::new(ErrorCode::TargetUnavailable, "gone")));
        } else {
            self.carry_out(id);
        }
    }

    fn carry_out(&mut self, id: RequestId) {
        *self.server.carried_out.entry(id.clone()).or_default() += 1;
        let ack = Ack::new(AckStatus::Done, id.as_str().to_owned());
        let session = self.net.sessions.session.as_mut().unwrap();
        session.state.insert(id.clone(), ack.clone());
        self.send(Some(id), ServerMessage::Ack(ack));
    }

    /// Tells the client something of the server's own accord.
    fn tell(&mut self, number: u64) {
        let Some(session) = &self.net.sessions.session else { return };
        self.server.told.entry(session.number).or_default().push(number);
        let ServerMessage::Signal(mut signal) = signal(SignalKind::Signal) else { return };
        signal.payload = Payload::from_json(&number.to_string()).unwrap().into_owned();
        let id = format!("told-{number}").parse().unwrap();
        self.send(Some(id), ServerMessage::Signal(signal));
    }

    fn send(&mut self, id: Option<RequestId>, message: ServerMessage<'_>) {
        let is_streamed = id.as_ref().is_some_and(|id| id.as_str().starts_with("Sync"));
        let is_counted = message.is_counted() && !is_streamed;
        self.net.sessions.send(dated(0, id, message), is_counted);
    }

    fn ask(&mut self, asked: Asked) {
        let message = asked.message();
        let id: RequestId = format!("{asked:?}-{}", self.asked).parse().unwrap();
        let kind = message.kind();
        let frame = Codec::Json.encode_client(&ClientFrame { id: Some(id.clone()), message });
        let deadline = self.net.rig.now.instant + Duration::from_secs(30);
        let origin = Origin::Application { purpose: purpose_of(kind), deadline, reply_to: self.asked };
        let request = Request { id, kind, frame, origin };
        self.asked += 1;
        self.net.rig.act(|machine, now| machine.take_request(now, request));
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
        let session = self.net.sessions.session.as_ref().unwrap();
        assert_eq!(session.confirmed, session.sent.len(), "all is confirmed");
        assert_eq!(session.number as u128, self.last_session().as_uuid().as_u128());
        self.check_events();
        self.check_outcomes();
    }

    fn last_session(&self) -> SessionId {
        self.net.rig.machine.session.as_ref().unwrap().id()
    }

    /// In each session exactly what was told, in order, up to the session's loss; nothing in the last.
    fn check_events(&self) {
        let (mut heard, mut current) = (vec![Vec::new(); self.net.sessions.begun], None);
        for event in &self.net.rig.events {
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
        let told = |number| self.server.told.get(&number).cloned().unwrap_or_default();
        for (number, heard) in heard.iter().enumerate() {
            assert!(told(number).starts_with(heard), "{heard:?} of {:?}", told(number));
        }
        assert_eq!(heard.last(), Some(&told(heard.len() - 1)));
    }

    /// One outcome for each request, and for each `ack` one execution.
    fn check_outcomes(&self) {
        let mut outcomes: Vec<_> = self.net.rig.settled.iter().map(|(reply_to, _)| *reply_to).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, (0..self.asked).collect::<Vec<_>>());
        for (_, outcome) in &self.net.rig.settled {
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

fn presence() -> ServerMessage<'static> {
    let user_id = UserId::new(Uuid::nil());
    ServerMessage::Presence(Presence::new(user_id, Status::Online, 1))
}

pub(super) fn stored_message() -> ServerMessage<'static> {
    let (user, now) = (UserId::new(Uuid::nil()), Timestamp::from_ms(0));
    ServerMessage::Message(MailboxMessage::new(
        MessageId::new(Uuid::nil()),
        1,
        user,
        device(),
        user,
        b"sealed".as_slice().into(),
        now,
    ))
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
