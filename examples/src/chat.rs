//! Decides whom to call and whom to answer, and relays the lines of the conversation.
//!
//! A device rings until somebody answers: it prepares one offer and sends it again and again. A busy device ignores
//! offers; their sender keeps ringing, and gets through when the call has ended. So a peer may leave and come back,
//! and either side may begin.

mod line;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use aldis_client::{
    Event, IncomingSignal,
    protocol::{Fingerprint, Target, UserRef},
};
use tokio::time::timeout;
use uuid::Uuid;
use webrtc::{
    data_channel::DataChannel,
    peer_connection::{RTCIceCandidateInit, RTCIceServer, RTCSessionDescription},
};

use self::line::Line;
use crate::{
    call::{Call, CallEvent, CallEvents},
    ice,
    signed::{CallId, Content, Letter, Signer, Writer},
    terminal::{harmless, show},
};

/// How often it rings: [`Chat::tick`] must be called at this interval.
pub const RING: Duration = Duration::from_secs(2);
/// How long an answered call may take until its channel is open.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a line may wait for those before it.
const SEND: Duration = Duration::from_secs(5);

/// One end of a conversation.
#[derive(Debug)]
pub struct Chat {
    signer: Signer,
    peer: Option<Fingerprint>,
    ice: Vec<RTCIceServer>,
    events: CallEvents,
    line: Line,
}

impl Chat {
    /// With a `peer`, calls that user and answers nobody else. Without one, calls the user's own other devices and
    /// answers everyone whom the server lets through. The events of calls come back through
    /// [`on_call`](Self::on_call).
    #[must_use]
    pub fn new(signer: Signer, peer: Option<Fingerprint>, events: CallEvents) -> Self {
        Self { signer, peer, ice: Vec::new(), events, line: Line::Idle }
    }

    /// Handles an event of the client.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a chat has no use for most of it")]
    pub async fn on_client(&mut self, event: Event) {
        match event {
            Event::Connected(session) => {
                show(format_args!(
                    "connected as {}, device {}",
                    self.signer.fingerprint(),
                    session.device_id
                ));
                self.ice = ice::reachable_servers(self.signer.client()).await;
                self.tick().await;
                self.show_whom_it_waits_for();
            }
            Event::Closed { cause, retry_in: Some(wait) } => {
                show(format_args!("no server: {cause}; trying again in {:.1} s", wait.as_secs_f32()));
            }
            Event::Closed { cause, retry_in: None } => show(format_args!("no server: {cause}")),
            Event::IceServers(servers) => self.ice = ice::only_reachable(servers.ice_servers).await,
            Event::Signal(signal) => self.on_signal(&signal).await,
            _ => {}
        }
    }

    /// Handles an event of a call. Events of a call that has ended are ignored.
    pub async fn on_call(&mut self, id: CallId, event: CallEvent) {
        if self.line.call_id() != Some(id) {
            return;
        }
        match event {
            CallEvent::Candidate(candidate) => self.send_candidate(id, candidate).await,
            CallEvent::Open(channel) => self.open(channel),
            CallEvent::Line(text) => show(format_args!("< {}", harmless(&text))),
            CallEvent::Lost => self.lost().await,
        }
    }

    /// Sends a typed line.
    pub async fn say(&mut self, text: &str) {
        match &self.line {
            Line::Open { channel, .. } => match timeout(SEND, channel.send_text(text)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => show(format_args!("not sent: {error}")),
                Err(_) => show("not sent: the peer takes no more"),
            },
            Line::Idle | Line::Ringing(_) | Line::Connecting { .. } => show("not sent: nobody is there"),
        }
    }

    /// Rings, and ends an attempt that takes too long.
    pub async fn tick(&mut self) {
        match &self.line {
            Line::Idle => self.ring_again().await,
            Line::Ringing(_) => self.ring().await,
            Line::Connecting { since, .. } if since.elapsed() > CONNECT => self.ring_again().await,
            Line::Connecting { .. } | Line::Open { .. } => {}
        }
    }

    /// Ends the call and tells the peer.
    pub async fn hang_up(&mut self) {
        let line = mem::replace(&mut self.line, Line::Idle);
        if let Line::Open { channel, .. } = &line {
            // A channel that cannot be closed is closed already.
            let _ = channel.close().await;
        }
        if let Some(peer) = line.peer() {
            self.signer.client().end_call(Target::Device(peer.device_id.clone())).await;
        }
        if let Some(call) = line.into_call() {
            call.close().await;
        }
    }

    fn show_whom_it_waits_for(&self) {
        match (&self.line, self.peer) {
            (Line::Open { .. }, _) => {}
            (_, Some(peer)) => show(format_args!("calling {peer}")),
            (_, None) => show("waiting for another terminal with this key file, or for somebody's call"),
        }
    }

    async fn lost(&mut self) {
        if let Line::Open { peer, .. } = &self.line {
            show(format_args!("{} has left; waiting", peer.fingerprint));
        }
        self.ring_again().await;
    }

    fn open(&mut self, channel: Arc<dyn DataChannel>) {
        self.line = match mem::replace(&mut self.line, Line::Idle) {
            Line::Connecting { call, peer, .. } => {
                show(format_args!("data channel open with {}", peer.fingerprint));
                Line::Open { call, peer, channel }
            }
            line @ (Line::Idle | Line::Ringing(_) | Line::Open { .. }) => line,
        };
    }
}

/// Outgoing and incoming signals.
impl Chat {
    fn callee(&self) -> Fingerprint {
        self.peer.unwrap_or_else(|| self.signer.fingerprint())
    }

    fn callee_target(&self) -> Target {
        Target::User(UserRef::Fingerprint(self.callee()))
    }

    async fn ring_again(&mut self) {
        self.hang_up().await;
        if self.signer.client().session().is_none() {
            return;
        }
        match Call::to_offer(Uuid::new_v4(), self.ice.clone(), self.events.clone()).await {
            Ok(call) => self.line = Line::Ringing(call),
            Err(error) => show(format_args!("cannot call: {error}")),
        }
        self.ring().await;
    }

    async fn ring(&mut self) {
        if let Line::Ringing(call) = &self.line
            && let Ok(offer) = call.description().await
        {
            // If the peer or the server is not there, the next ring may succeed.
            let _ = self.signer.send(&self.callee_target(), call.id(), Content::Offer(offer)).await;
        }
    }

    async fn send_candidate(&self, id: CallId, candidate: RTCIceCandidateInit) {
        let target = match self.line.peer() {
            Some(peer) => Target::Device(peer.device_id.clone()),
            None => self.callee_target(),
        };
        // An offer that was not received is sent again, with this candidate in it.
        let _ = self.signer.send(&target, id, Content::Candidate(candidate)).await;
    }

    async fn on_signal(&mut self, signal: &IncomingSignal) {
        let Ok((writer, letter)) = self.signer.open(signal) else {
            show(format_args!(
                "refused a signal of {} that it has not signed",
                signal.signal.sender.device_id
            ));
            return;
        };
        let Letter { call, content, .. } = letter;
        match content {
            Content::Offer(offer) => self.on_offer(writer, call, offer).await,
            Content::Answer(answer) => self.on_answer(writer, call, answer).await,
            Content::Candidate(candidate) => self.on_candidate(&writer, call, candidate).await,
        }
    }

    async fn on_offer(&mut self, caller: Writer, call: CallId, offer: RTCSessionDescription) {
        match &self.line {
            Line::Connecting { .. } | Line::Open { .. } => {}
            Line::Idle | Line::Ringing(_) if !self.answers(&caller) => {}
            Line::Ringing(_) if self.insists(&caller) => self.ring().await,
            Line::Idle | Line::Ringing(_) => self.answer(caller, call, offer).await,
        }
    }

    fn answers(&self, caller: &Writer) -> bool {
        self.peer.is_none_or(|peer| peer == caller.fingerprint)
    }

    /// If two devices ring each other at the same time, one of them has to yield.
    fn insists(&self, caller: &Writer) -> bool {
        caller.fingerprint == self.callee()
            && self.signer.client().is_polite_to(&caller.device_id) == Some(false)
    }

    async fn answer(&mut self, caller: Writer, id: CallId, offer: RTCSessionDescription) {
        self.hang_up().await;
        match Call::to_answer(id, offer, self.ice.clone(), self.events.clone()).await {
            Ok((call, answer)) => {
                let target = Target::Device(caller.device_id.clone());
                // If the answer does not arrive, the call does not connect in time.
                let _ = self.signer.send(&target, id, Content::Answer(answer)).await;
                self.line = Line::Connecting { call, peer: caller, since: Instant::now() };
            }
            Err(error) => show(format_args!("cannot answer: {error}")),
        }
    }

    async fn on_answer(&mut self, peer: Writer, id: CallId, answer: RTCSessionDescription) {
        if peer.fingerprint != self.callee() || self.line.call_id() != Some(id) {
            return;
        }
        self.line = match mem::replace(&mut self.line, Line::Idle) {
            Line::Ringing(call) => match call.accept(answer).await {
                Ok(()) => Line::Connecting { call, peer, since: Instant::now() },
                Err(_) => Line::Ringing(call),
            },
            line @ (Line::Idle | Line::Connecting { .. } | Line::Open { .. }) => line,
        };
    }

    async fn on_candidate(&self, peer: &Writer, id: CallId, candidate: RTCIceCandidateInit) {
        if let Line::Connecting { call, peer: expected, .. } | Line::Open { call, peer: expected, .. } =
            &self.line
            && call.id() == id
            && expected.fingerprint == peer.fingerprint
        {
            // If one address cannot be used, the others remain.
            let _ = call.add_candidate(candidate).await;
        }
    }
}
