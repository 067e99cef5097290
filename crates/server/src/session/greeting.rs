//! The first frames for a client: `auth_success` if it proved itself on the socket, then `connected`.

use aldis_protocol::{
    AuthSuccess, Connected, Door, Heartbeat, RequestId, ServerFrame, ServerMessage, SessionId, SessionInfo,
    SessionLimits,
    limits::{
        HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MAX_ENCRYPTED_CONTENT_BYTES, MAX_MESSAGE_BYTES,
        MAX_UNANSWERED_REQUESTS,
    },
};
use rand::RngExt;

use super::{
    handshake::proves_on_socket,
    live::{Live, expiry, fresh},
};
use crate::link::{Identity, Outgoing, ResumeToken, SessionHandle, Wire};

/// What a greeting says about the session.
pub(super) struct Greeting<'a> {
    /// The id of the message that brought the proof.
    id: Option<RequestId>,
    door: Door,
    token: &'a ResumeToken,
    resume_window: u64,
    resumed: bool,
    replayed: usize,
}

impl<'a> Greeting<'a> {
    /// The greeting of a new session.
    pub(super) fn fresh(live: &Live, token: &'a ResumeToken, id: Option<RequestId>) -> Self {
        let (door, resume_window) = (live.door(), live.resume_window_ms() / 1000);
        Self { id, door, token, resume_window, resumed: false, replayed: 0 }
    }

    /// The greeting of a resumed session, with the number of messages that the client missed.
    pub(super) fn resumed(
        live: &Live,
        token: &'a ResumeToken,
        id: Option<RequestId>,
        replayed: usize,
    ) -> Self {
        Self { resumed: true, replayed, ..Self::fresh(live, token, id) }
    }
}

/// Greets a client on its socket.
pub(super) fn greet(
    socket: &mut dyn Wire,
    session: &SessionHandle,
    identity: &Identity,
    greeting: Greeting<'_>,
) {
    let mut say = |frame| socket.enqueue(Outgoing::Frame(session.codec.encode_server(&frame)));
    if proves_on_socket(greeting.door) {
        let message = ServerMessage::AuthSuccess(AuthSuccess {
            user_id: session.user,
            device_id: session.device.clone(),
            expires_at: identity.token.map(expiry),
        });
        say(ServerFrame { id: greeting.id, ..fresh(message) });
    }
    say(fresh(ServerMessage::Connected(Connected {
        device_id: session.device.clone(),
        user_id: session.user,
        message: Connected::MESSAGE.into(),
        session: SessionInfo {
            id: session.session,
            resume_token: greeting.token.to_secret(),
            resume_window: greeting.resume_window,
            resumed: greeting.resumed,
            replayed: greeting.replayed as u64,
        },
        heartbeat: Heartbeat { interval: HEARTBEAT_INTERVAL.as_secs(), timeout: HEARTBEAT_TIMEOUT.as_secs() },
        limits: SessionLimits::new(
            MAX_MESSAGE_BYTES as u64,
            MAX_ENCRYPTED_CONTENT_BYTES as u64,
            MAX_UNANSWERED_REQUESTS as u64,
        ),
    })));
}

/// A fresh token for a session.
pub(super) fn resume_token(session: SessionId) -> ResumeToken {
    ResumeToken::new(session, rand::rng().random())
}
