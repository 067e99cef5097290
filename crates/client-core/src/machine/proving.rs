//! From the open socket to `connected` (docs/protocol/handshake.md).

use aldis_auth::{ReceivedChallenge, verify_challenge};
use aldis_protocol::{
    Auth, AuthChallenge, AuthFailure, AuthResponse, ClientFrame, ClientMessage, Connected, Heartbeat, Secret,
    ServerMessage, Timestamp, statement::Transport,
};

use super::{
    ConnectionError, Event, Live, Machine, Me, Now, Output, Phase, Pings, Resumable, Session, State,
};
use crate::{Instant, Proof};

#[derive(Debug)]
pub(super) struct Proving {
    pub(super) deadline: Instant,
    /// The refusal of the proof, which a close follows.
    pub(super) refusal: Option<ConnectionError>,
    /// A challenge came; only the first is answered.
    answered: bool,
    /// The key is asked for its signature.
    is_signing: bool,
    expires_at: Option<Timestamp>,
}

impl<R> Machine<R> {
    /// Sends the token at once; a key waits for the challenge.
    pub(super) fn prove(&mut self, now: Now, token: Option<Secret<'static>>) {
        let deadline = now.instant + self.settings.handshake_timeout;
        self.phase = Phase::Proving(Proving {
            deadline,
            refusal: None,
            answered: false,
            is_signing: false,
            expires_at: None,
        });
        self.set_state(State::Authenticating);
        if let Some(token) = token {
            let device_id = self.settings.device_id.clone();
            let resume = self.session.as_mut().map(Resumable::claim);
            self.say(ClientMessage::Auth(Auth { token: Some(token), device_id, resume }));
        }
    }

    pub(super) fn handle_handshake(&mut self, now: Now, message: ServerMessage<'_>) {
        match message {
            ServerMessage::AuthChallenge(challenge) => self.handle_challenge(now, &challenge),
            ServerMessage::AuthSuccess(success) => {
                if let Phase::Proving(proving) = &mut self.phase {
                    proving.expires_at = success.expires_at;
                }
            }
            ServerMessage::AuthFailure(failure) => self.handle_refusal(failure),
            ServerMessage::Error(error) => {
                if let Some(close) = error.close {
                    self.note_closing(&error, close);
                }
            }
            ServerMessage::Connected(connected) => self.handle_connected(now, &connected),
            ServerMessage::AuthRequired(_)
            | ServerMessage::Ack(_)
            | ServerMessage::Signal(_)
            | ServerMessage::IceServers(_)
            | ServerMessage::RoomMembers(_)
            | ServerMessage::MemberJoined(_)
            | ServerMessage::MemberLeft(_)
            | ServerMessage::ChatMessage(_)
            | ServerMessage::Broadcast(_)
            | ServerMessage::History(_)
            | ServerMessage::RoomUpdate(_)
            | ServerMessage::Message(_)
            | ServerMessage::Synced(_)
            | ServerMessage::Receipt(_)
            | ServerMessage::Presence(_)
            | ServerMessage::Alert(_)
            | ServerMessage::ContactRequest(_)
            | ServerMessage::RoomInvite(_)
            | ServerMessage::ServerDraining(_)
            | ServerMessage::Pong
            | ServerMessage::Unknown(_)
            | _ => {}
        }
    }

    /// Sends a message of the machine's own.
    pub(super) fn say(&mut self, message: ClientMessage<'_>) {
        let frame = ClientFrame { id: Some(self.fresh_id()), message };
        self.outputs.push_back(Output::Send(self.settings.codec.encode_client(&frame)));
    }

    /// Has the key sign a challenge of the server that was dialled, once per connection.
    fn handle_challenge(&mut self, now: Now, challenge: &AuthChallenge<'_>) {
        let (Phase::Proving(proving), Proof::Key(key)) = (&mut self.phase, &self.settings.proof) else {
            return;
        };
        if std::mem::replace(&mut proving.answered, true) {
            return;
        }
        let received = ReceivedChallenge {
            challenge: challenge.challenge,
            audience: &challenge.audience,
            expires_at_ms: challenge.expires_at_ms,
            transport: Transport::WebSocket,
        };
        match verify_challenge(&received, &self.settings.audience, now.unix_ms) {
            Ok(verified) => {
                let request = verified.signing_request(*key, self.settings.device_id.as_ref());
                proving.is_signing = true;
                self.outputs.push_back(Output::Sign(request));
            }
            Err(refused) => self.retry(now, refused.into(), None),
        }
    }

    /// Sends the signature of the challenge.
    pub(super) fn answer_challenge(&mut self, signature: [u8; 64]) {
        let (Phase::Proving(proving), Proof::Key(key)) = (&mut self.phase, &self.settings.proof) else {
            return;
        };
        if !std::mem::take(&mut proving.is_signing) {
            return;
        }
        let public_key = *key.as_bytes();
        let device_id = self.settings.device_id.clone();
        let resume = self.session.as_mut().map(Resumable::claim);
        self.say(ClientMessage::AuthResponse(AuthResponse {
            public_key,
            signature,
            device_id,
            totp_code: None,
            resume,
        }));
    }

    fn handle_refusal(&mut self, failure: AuthFailure<'_>) {
        self.disconnect.refusal = Some(failure.code);
        if let Phase::Proving(proving) = &mut self.phase {
            proving.refusal = Some(ConnectionError::Refused {
                code: failure.code,
                message: failure.message.into_owned(),
                rotation: failure.rotation,
            });
        }
    }

    fn handle_connected(&mut self, now: Now, connected: &Connected<'_>) {
        let Phase::Proving(proving) = &self.phase else { return };
        let expires_at = proving.expires_at;
        let resumed = self.enter_session(now, connected);
        let replayed = if resumed { connected.session.replayed } else { 0 };
        let session = Session {
            id: connected.session.id,
            user_id: connected.user_id,
            device_id: connected.device_id.clone(),
            resumed,
            expires_at,
            limits: connected.limits,
        };
        let heartbeat = match self.settings.pings {
            Pings::Frames => connected.heartbeat,
            Pings::Messages => Heartbeat { interval: 0, timeout: 0 },
        };
        self.phase = Phase::Live(Live::new(heartbeat, replayed, now));
        self.tried_new_token = false;
        self.outputs.push_back(Output::Session(session.clone()));
        self.set_state(State::Connected);
        self.tell(Event::Connected(session));
        self.me = Some(Me { user_id: connected.user_id, device_id: connected.device_id.clone() });
        self.pending.send_again();
        if !resumed {
            self.restart();
        }
    }
}
