//! A server's sessions, and a client at the other end of wires that break anywhere.

use aldis_protocol::Resume;
use uuid::Uuid;

use super::*;

/// A session as the server has it, with what a model keeps for it. What was sent is kept from the first frame on.
pub(super) struct Restorable<T> {
    pub(super) number: usize,
    token: String,
    former: Option<String>,
    pub(super) sent: Vec<Bytes>,
    pub(super) confirmed: usize,
    /// Which wire serves it, as far as the server has noticed.
    wire: Option<usize>,
    pub(super) state: T,
}

#[derive(Default)]
struct Wire {
    to_server: VecDeque<Bytes>,
    to_client: VecDeque<Bytes>,
    proved: bool,
}

/// All that the server knows of its one client.
pub(super) struct Sessions<T> {
    wires: Vec<Wire>,
    pub(super) session: Option<Restorable<T>>,
    /// Sockets that it greeted, each with a new token.
    pub(super) tokens: usize,
    /// Sessions that there ever were.
    pub(super) begun: usize,
}

impl<T: Default> Sessions<T> {
    /// Takes what a wire brings; gives what is asked of the session.
    fn receive<'a>(&mut self, wire: usize, bytes: &'a Bytes) -> Option<ClientFrame<'a>> {
        let frame = Codec::Json.decode_client(bytes).unwrap();
        if !std::mem::replace(&mut self.wires[wire].proved, true) {
            let ClientMessage::Auth(auth) = frame.message else { panic!("{frame:?}") };
            self.enter(wire, auth.resume.as_ref());
            return None;
        }
        let session = self.session.as_mut().filter(|session| session.wire == Some(wire))?;
        session.former = None;
        if let ClientMessage::Received(received) = frame.message {
            let count = usize::try_from(received.count).unwrap();
            assert!(count <= session.sent.len(), "{count} of {} are confirmed", session.sent.len());
            session.confirmed = session.confirmed.max(count);
            return None;
        }
        Some(frame)
    }

    fn enter(&mut self, wire: usize, claim: Option<&Resume<'_>>) {
        self.tokens += 1;
        let token = format!("token {}", self.tokens);
        let resumed = claim.and_then(|claim| self.resume(wire, claim, token.clone()));
        if resumed.is_none() {
            self.begin(wire, token.clone());
        }
        let missed =
            resumed.map_or(Vec::new(), |received| self.session.as_ref().unwrap().sent[received..].to_vec());
        let session = SessionInfo {
            id: SessionId::new(Uuid::from_u128(self.begun as u128 - 1)),
            resume_token: token.into(),
            resumed: resumed.is_some(),
            replayed: missed.len() as u64,
            ..connected().session
        };
        let connected = ServerMessage::Connected(Connected { session, ..connected() });
        self.wires[wire].to_client.push_back(Codec::Json.encode_server(&dated(0, None, connected)));
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
        let number = self.begun;
        self.begun += 1;
        let (sent, state) = (Vec::new(), T::default());
        self.session =
            Some(Restorable { number, token, former: None, sent, confirmed: 0, wire: Some(wire), state });
    }

    /// Sends to the session, and over its wire where it has one.
    pub(super) fn send(&mut self, frame: ServerFrame<'_>, is_counted: bool) {
        let Some(session) = &mut self.session else { return };
        let frame = Codec::Json.encode_server(&frame);
        if is_counted {
            session.sent.push(frame.clone());
        }
        if let Some(wire) = session.wire {
            self.wires[wire].to_client.push_back(frame);
        }
    }
}

/// How much of what the rig recorded was carried out.
#[derive(Default)]
struct Seen {
    sent: usize,
    hang_ups: usize,
    pings: usize,
}

/// The client and the server, and the wire between them.
pub(super) struct Net<T> {
    pub(super) rig: Rig,
    pub(super) sessions: Sessions<T>,
    /// The client's socket.
    wire: Option<usize>,
    seen: Seen,
}

impl<T: Default> Net<T> {
    pub(super) fn new(rig: Rig) -> Self {
        let sessions = Sessions { wires: Vec::new(), session: None, tokens: 0, begun: 0 };
        Self { rig, sessions, wire: None, seen: Seen::default() }
    }

    /// Whatever the client waits for next in order to be connected.
    pub(super) fn attempt(&mut self) {
        if let Phase::Waiting(until) = self.rig.machine.phase {
            self.rig.pass(until.saturating_duration_since(self.rig.now.instant));
        } else if matches!(self.rig.machine.phase, Phase::AskingToken) {
            self.rig.token("a token");
        } else if matches!(self.rig.machine.phase, Phase::Dialing(_)) {
            self.sessions.wires.push(Wire::default());
            self.wire = Some(self.sessions.wires.len() - 1);
            self.rig.dialed();
        }
        self.carry_out();
    }

    /// Does what the machine wants done; gives what it has sent.
    pub(super) fn carry_out(&mut self) -> Vec<Bytes> {
        let sent = self.rig.sent[self.seen.sent..].to_vec();
        self.seen.sent = self.rig.sent.len();
        if let Some(wire) = self.wire {
            self.sessions.wires[wire].to_server.extend(sent.iter().cloned());
        }
        if self.rig.hang_ups > std::mem::replace(&mut self.seen.hang_ups, self.rig.hang_ups) {
            self.wire = None;
        }
        if self.rig.pings > std::mem::replace(&mut self.seen.pings, self.rig.pings) && self.wire.is_some() {
            self.rig.act(|machine, now| machine.handle_pong(now));
        }
        sent
    }

    /// So many frames arrive at the server; gives what they ask of the session.
    pub(super) fn arrive_at_server(&mut self, count: usize) -> Vec<Bytes> {
        self.arrive_over(self.wire, count)
    }

    /// The same over the wire that the client gave up. A proof that comes so late would begin a session of its own.
    pub(super) fn arrive_late_at_server(&mut self, count: usize) -> Vec<Bytes> {
        let late = self.sessions.wires.len().checked_sub(2);
        self.arrive_over(late.filter(|wire| self.sessions.wires[*wire].proved), count)
    }

    fn arrive_over(&mut self, wire: Option<usize>, count: usize) -> Vec<Bytes> {
        let Some(wire) = wire else { return Vec::new() };
        let mut asked = Vec::new();
        for _ in 0..count {
            let Some(frame) = self.sessions.wires[wire].to_server.pop_front() else { break };
            if self.sessions.receive(wire, &frame).is_some() {
                asked.push(frame);
            }
        }
        asked
    }

    pub(super) fn arrive_at_client(&mut self, count: usize) {
        for _ in 0..count {
            let Some(wire) = self.wire else { return };
            let Some(frame) = self.sessions.wires[wire].to_client.pop_front() else { return };
            self.rig.act(|machine, now| machine.handle_frame(now, &frame));
            self.carry_out();
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        let wire = self.wire.map(|wire| &self.sessions.wires[wire]);
        wire.is_some_and(|wire| wire.to_server.is_empty() && wire.to_client.is_empty())
    }

    /// The wire is gone, and whether the server notices too.
    pub(super) fn break_wire(&mut self, noticed: bool) {
        let Some(wire) = self.wire.take() else { return };
        if let Some(session) = self.sessions.session.as_mut().filter(|it| noticed && it.wire == Some(wire)) {
            session.wire = None;
        }
        self.rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
        self.carry_out();
    }

    /// All that was written arrives, then a close.
    pub(super) fn close(&mut self, code: u16) {
        let Some(wire) = self.wire else { return };
        if self.sessions.session.as_ref().is_none_or(|session| session.wire != Some(wire)) {
            return;
        }
        self.arrive_at_client(usize::MAX);
        if self.wire.take_if(|it| *it == wire).is_none() {
            return;
        }
        match CloseCode::from_u16(code).filter(|code| code.keeps_session("")) {
            Some(_) => self.sessions.session.as_mut().unwrap().wire = None,
            None => self.sessions.session = None,
        }
        self.rig.closed(code);
        self.carry_out();
    }

    /// The server has no session for the client any more.
    pub(super) fn forget(&mut self) {
        if self.wire.is_none() {
            self.sessions.session = None;
        }
    }
}

/// A frame of that time.
pub(super) fn dated(ms: i64, id: Option<RequestId>, message: ServerMessage<'_>) -> ServerFrame<'_> {
    ServerFrame { id, timestamp: Timestamp::from_ms(ms), message }
}
