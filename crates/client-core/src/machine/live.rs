//! After `connected`: replies, events, keepalive, a new token in time.

use std::time::Duration;

use aldis_protocol::{
    Auth, AuthFailure, AuthSuccess, ClientFrame, ClientMessage, ErrorReply, Heartbeat, RelayedSignal,
    RequestId, Secret, ServerDraining, ServerFrame, ServerMessage, Timestamp,
};

use super::{
    ConnectionError, Event, Machine, Now, Output, Phase, Pings, TokenReason,
    liveness::{Due, Liveness},
};
use crate::{BoxError, IncomingSignal, Instant, Proof};

/// Tokens that are tried for one `auth_required`; after that the server ends the session at its deadline.
const MAX_REAUTHENTICATIONS: u32 = 3;

/// How long the client waits for replayed messages, so that a wrong count does not hold back requests for good.
const LONGEST_REPLAY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Live {
    pub(super) since: Instant,
    pub(super) liveness: Liveness,
    /// Messages that the server replays first. A waiting request may have its answer among them.
    replayed: u64,
    reauthentication: Option<Reauthentication>,
}

#[derive(Debug)]
struct Reauthentication {
    /// The id of the `auth` that was sent; none while the provider works.
    id: Option<RequestId>,
    tries: u32,
}

impl Live {
    pub(super) fn new(heartbeat: Heartbeat, replayed: u64, now: Now) -> Self {
        let liveness = Liveness::new(heartbeat, now.instant);
        Self { since: now.instant, liveness, replayed, reauthentication: None }
    }

    /// A counted message arrived.
    pub(super) fn count_replayed(&mut self) {
        self.replayed = self.replayed.saturating_sub(1);
    }

    /// Until when messages may still be replayed, if they may.
    pub(super) fn replaying_until(&self, now: Instant) -> Option<Instant> {
        let until = self.since + LONGEST_REPLAY;
        (self.replayed > 0 && now < until).then_some(until)
    }
}

impl<R> Machine<R> {
    pub(super) fn handle_live(&mut self, now: Now, frame: ServerFrame<'_>) {
        let Some(ServerFrame { id, timestamp, message }) = self.settle_reply(now, frame) else { return };
        match message {
            ServerMessage::Error(error) => self.handle_error(&error),
            ServerMessage::AuthRequired(required) => self.handle_auth_required(required.expires_at),
            ServerMessage::AuthSuccess(success) => self.handle_auth_success(id.as_ref(), &success),
            ServerMessage::AuthFailure(failure) => self.handle_auth_failure(id.as_ref(), failure),
            ServerMessage::Signal(signal) => self.handle_signal(now, id, timestamp, signal),
            ServerMessage::IceServers(servers) => self.tell(Event::IceServers(servers.into_owned())),
            ServerMessage::Presence(presence) => self.tell(Event::Presence(presence.into_owned())),
            ServerMessage::Alert(alert) => self.tell_notice(id, Event::Alert(alert)),
            ServerMessage::ContactRequest(request) => self.tell_notice(id, Event::ContactRequest(request)),
            ServerMessage::RoomInvite(invite) => self.tell_notice(id, Event::RoomInvite(invite)),
            ServerMessage::ServerDraining(draining) => self.handle_draining(draining),
            ServerMessage::ChatMessage(chat) => self.handle_chat(now, id, timestamp, chat),
            ServerMessage::Message(message) => {
                if let Some(message) = self.handle_mail(now, timestamp, message) {
                    self.tell_other(id, timestamp, ServerMessage::Message(message));
                }
            }
            ServerMessage::MemberLeft(left) => {
                self.note_member_left(&left);
                self.tell_other(id, timestamp, ServerMessage::MemberLeft(left));
            }
            message @ (ServerMessage::RoomMembers(_)
            | ServerMessage::MemberJoined(_)
            | ServerMessage::Broadcast(_)
            | ServerMessage::RoomUpdate(_)
            | ServerMessage::Receipt(_)
            | ServerMessage::Unknown(_)) => self.tell_other(id, timestamp, message),
            ServerMessage::Pong => self.handle_pong(now),
            // Replies to requests that waited no longer, and what has no place here.
            ServerMessage::AuthChallenge(_)
            | ServerMessage::Connected(_)
            | ServerMessage::Ack(_)
            | ServerMessage::History(_)
            | ServerMessage::Synced(_)
            | _ => {}
        }
    }

    fn tell_notice(&mut self, id: Option<RequestId>, notice: Event) {
        if self.told_notices.is_new(id) {
            self.tell(notice);
        }
    }

    fn tell_other(&mut self, id: Option<RequestId>, timestamp: Timestamp, message: ServerMessage<'_>) {
        let message = message.into_owned();
        self.tell(Event::Message(Box::new(ServerFrame { id, timestamp, message })));
    }

    /// The provider's answer to [`TokenReason::Expiring`] or [`TokenReason::Invalid`] on a live session.
    pub(super) fn handle_next_token(&mut self, token: Result<Secret<'static>, BoxError>) {
        let id = self.fresh_id();
        let Some(reauthentication) = self.reauthentication() else { return };
        match token {
            Ok(token) => {
                reauthentication.id = Some(id.clone());
                let message = ClientMessage::Auth(Auth { token: Some(token), device_id: None, resume: None });
                let frame = self.settings.codec.encode_client(&ClientFrame { id: Some(id), message });
                self.outputs.push_back(Output::Send(frame));
            }
            Err(error) => {
                self.give_up_reauthentication(ConnectionError::Token(error));
            }
        }
    }

    pub(super) fn keep_alive(&mut self, now: Now) {
        let Phase::Live(live) = &mut self.phase else { return };
        match live.liveness.due(now.instant) {
            Some(Due::Ping) => self.ping(),
            Some(Due::Break) => self.handle_end(now, ConnectionError::Silent),
            None => {}
        }
    }

    /// Asks whether the server is still there.
    pub(super) fn ping(&mut self) {
        match self.settings.pings {
            Pings::Frames => self.outputs.push_back(Output::Ping),
            Pings::Messages => self.say(ClientMessage::Ping),
        }
    }

    fn handle_error(&mut self, error: &ErrorReply<'_>) {
        match error.close {
            Some(close) => self.note_closing(error, close),
            None => {
                self.tell(Event::Error { code: error.code, message: error.message.clone().into_owned() });
            }
        }
    }

    fn handle_signal(
        &mut self,
        now: Now,
        id: Option<RequestId>,
        timestamp: Timestamp,
        signal: RelayedSignal<'_>,
    ) {
        match self.calls.admit(&signal, id.as_ref(), now.unix_ms) {
            Ok(()) => {
                self.tell(Event::Signal(IncomingSignal { id, timestamp, signal: signal.into_owned() }));
            }
            Err(reason) => {
                self.refused_signals += 1;
                let (kind, sender, total) = (signal.kind, signal.sender, self.refused_signals);
                self.tell(Event::SignalRefused { reason, kind, sender, total });
            }
        }
    }

    fn handle_draining(&mut self, draining: ServerDraining) {
        let reconnect_after = Duration::from_secs(draining.reconnect_after);
        self.reconnect_after = Some(reconnect_after);
        self.tell(Event::ServerDraining { reconnect_after });
    }

    fn handle_auth_required(&mut self, expires_at: Timestamp) {
        let Phase::Live(live) = &mut self.phase else { return };
        if matches!(self.settings.proof, Proof::Key(_)) || live.reauthentication.is_some() {
            return;
        }
        live.reauthentication = Some(Reauthentication { id: None, tries: 1 });
        self.tell(Event::AuthRequired { expires_at });
        self.outputs.push_back(Output::AskToken(TokenReason::Expiring));
    }

    fn handle_auth_success(&mut self, id: Option<&RequestId>, success: &AuthSuccess) {
        let Phase::Live(live) = &mut self.phase else { return };
        if live.reauthentication.take_if(|it| it.id.as_ref() == id).is_some() {
            self.tell(Event::Reauthenticated { expires_at: success.expires_at });
        }
    }

    fn handle_auth_failure(&mut self, id: Option<&RequestId>, failure: AuthFailure<'_>) {
        let Some(reauthentication) = self.reauthentication() else { return };
        if reauthentication.id.is_none() || reauthentication.id.as_ref() != id {
            return;
        }
        if reauthentication.tries < MAX_REAUTHENTICATIONS {
            *reauthentication = Reauthentication { id: None, tries: reauthentication.tries + 1 };
            return self.outputs.push_back(Output::AskToken(TokenReason::Invalid));
        }
        self.give_up_reauthentication(ConnectionError::Refused {
            code: failure.code,
            message: failure.message.into_owned(),
            rotation: failure.rotation,
        });
    }

    fn give_up_reauthentication(&mut self, cause: ConnectionError) {
        if let Phase::Live(live) = &mut self.phase {
            live.reauthentication = None;
            self.tell(Event::ReauthenticationFailed(cause));
        }
    }

    fn reauthentication(&mut self) -> Option<&mut Reauthentication> {
        if let Phase::Live(live) = &mut self.phase { live.reauthentication.as_mut() } else { None }
    }
}
