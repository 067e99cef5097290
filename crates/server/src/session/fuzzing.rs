//! The handshake and the session as functions of what a client sends, for the fuzz targets in `tests/fuzz`.

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, Codec, DeviceId, Door, ServerMessage, SessionId, UserId, limits::DEFAULT_RESUME_WINDOW,
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    handshake::{Arrival, AwaitingProof, Begun, Credentials},
    live::{Arrived, Due, Live, PendingRequest, Step},
    pace::Pace,
};
use crate::{
    clock::Now,
    link::{ResumeToken, SessionHandle},
    metrics::Metrics,
    refusal::Refusal,
};

const START: Now = Now { tick: 0, unix_ms: 1_767_225_600_000 };
/// More deadlines than can be due at one time.
const MAX_DEADLINES: usize = 16;

/// Takes any bytes as the first message at each door that waits for one.
pub fn first_message(frame: &Bytes) {
    for door in Door::ALL {
        for codec in Codec::ALL {
            if let Some(waiting) = awaiting(door, codec) {
                let _ = waiting.receive(frame, START);
            }
        }
    }
}

fn awaiting(door: Door, codec: Codec) -> Option<AwaitingProof> {
    let credentials = match door {
        Door::Connect => Credentials::Challenge { challenge: [7; 32], audience: "relay.example.test".into() },
        Door::Chat | Door::Signal | Door::Protobuf | Door::Api => Credentials::FirstMessage,
    };
    let arrival = Arrival {
        door,
        codec,
        address: std::net::IpAddr::from([192, 0, 2, 1]).into(),
        room: None,
        credentials,
        device_claim: DeviceClaim::default(),
    };
    match arrival.begin(START) {
        Ok(Begun::Await(waiting, _)) => Some(waiting),
        Ok(Begun::Ask(_)) | Err(_) => None,
    }
}

/// A session whose relay accepts every request, and whose client sends what it likes until it is closed.
pub struct Session {
    live: Live,
    now: Now,
    is_closed: bool,
}

impl Session {
    /// A session that was just greeted.
    #[must_use]
    pub fn new() -> Self {
        let (id, user) = (SessionId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let handle = SessionHandle::new(id, user, device(), None, None, Codec::Json);
        let arrived = Arrived {
            door: Door::Connect,
            codec: Codec::Json,
            room: None,
            resume_window: DEFAULT_RESUME_WINDOW,
            device_claim: DeviceClaim::default(),
        };
        let token = ResumeToken::new(id, [9; 16]);
        let metrics = Arc::new(Metrics::new());
        let live = Live::new(Arc::new(handle), arrived, None, &token, Pace::new(true), metrics, START);
        Self { live, now: START, is_closed: false }
    }

    /// Lets this time pass, then takes a frame. A closed session takes nothing.
    ///
    /// # Panics
    /// If a deadline that has come stays due.
    pub fn receive(&mut self, frame: &Bytes, waits_ms: u64) {
        if self.is_closed {
            return;
        }
        self.pass(waits_ms);
        let step = self.live.receive(frame, self.now);
        self.carry_out(step);
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.tick += milliseconds;
        self.now.unix_ms += milliseconds;
        for _ in 0..MAX_DEADLINES {
            match self.live.take_due(self.now) {
                None => return,
                Some(Due::Ping) => self.live.pong(self.now),
                Some(Due::Close(_) | Due::GiveUp) => return self.is_closed = true,
                Some(Due::Say(_) | Due::IceServers | Due::Write | Due::Read) => {}
            }
        }
        assert!(self.live.take_due(self.now).is_none(), "a deadline that has come stays due");
    }

    fn carry_out(&mut self, step: Step<'_>) {
        match step {
            Step::Nothing => {}
            Step::Reply(frame) => self.is_closed = !self.live.count(&frame),
            Step::ReplyAndClose(..) | Step::Close(_) => self.is_closed = true,
            Step::Ask(request, _) => self.acknowledge(request),
            Step::CheckToken(request, _) => {
                let refusal = Refusal::new(aldis_protocol::ErrorCode::InvalidToken, "not a token");
                self.is_closed = self.live.reauthenticate(request, Err(refusal), self.now).is_err();
            }
        }
    }

    fn acknowledge(&mut self, request: PendingRequest) {
        let ack = ServerMessage::Ack(Ack::new(AckStatus::Done, ""));
        let reply = self.live.answer(request, ack, self.now);
        self.is_closed = !self.live.count(&reply);
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::expect_used, reason = "the text is a constant")]
fn device() -> DeviceId {
    DeviceId::new("phone").expect("a device id")
}
