//! How a connection becomes a session, for all five doors (docs/protocol/doors.md, handshake.md, codes.md).
//!
//! One type per state: [`Arrival`] → [`AwaitingProof`] (on the two doors where the proof comes on the socket) →
//! [`AuthQuery`] (for the accounts) → an identity or a [`Rejection`]. Each step consumes the proof, so that it cannot
//! be used twice.

use std::time::Duration;

use aldis_auth::{AuthError, ChallengeResponse, SocketChallenge};
use aldis_protocol::{
    Auth, AuthChallenge, AuthFailure, AuthResponse, ClientFrame, ClientMessage, CloseCode, Codec,
    DecodeError, DeviceId, Door, ErrorCode, ErrorReply, MessageKind, Proof, Refusal as Manner, RequestId,
    RoomId, ServerMessage, limits::HANDSHAKE_TIMEOUT, reason,
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;

use crate::{
    accounts::{KeyProof, TokenProof, shown_factor},
    clock::Now,
    link::{Claim, Closing},
    rate::AddressKey,
    refusal::Refusal,
};

/// A connection that came in at a door.
pub(crate) struct Arrival {
    pub(crate) door: Door,
    pub(crate) codec: Codec,
    /// The address that it counts against.
    pub(crate) address: AddressKey,
    /// The room of the chat door.
    pub(crate) room: Option<RoomId>,
    pub(crate) credentials: Credentials,
    /// The order in which its request came in, which decides who has the device.
    pub(crate) device_claim: DeviceClaim,
}

/// The credentials of the upgrade request.
pub(crate) enum Credentials {
    /// On a query door: its query and `Authorization`.
    Query {
        /// The token, or why it cannot be checked.
        token: Result<String, Refusal>,
        device_id: Option<Result<DeviceId, Refusal>>,
        resume: Option<Claim>,
    },
    /// On `/v1/connect`: the 32 bytes and the audience of the challenge to send.
    Challenge { challenge: [u8; 32], audience: String },
    /// On the chat door: nothing yet.
    FirstMessage,
}

/// A connection whose proof comes on the socket.
#[derive(Debug)]
pub(crate) struct AwaitingProof {
    door: Door,
    codec: Codec,
    challenge: Option<SocketChallenge>,
}

/// A proof for the accounts to check.
#[must_use = "a proof that is not asked about proves nothing"]
pub(crate) struct AuthQuery {
    /// The id of the message that brought the proof.
    pub(crate) id: Option<RequestId>,
    pub(crate) proof: Credential,
    /// The session that the client wants to resume.
    pub(crate) resume: Option<Claim>,
}

/// The credential that a client shows.
pub(crate) enum Credential {
    /// A token.
    Token(TokenProof),
    /// A key and the proof that the client has it.
    Key(KeyProof),
}

/// The next step of a connection.
pub(crate) enum Begun {
    /// Send this message, if there is one, and wait for the proof.
    Await(AwaitingProof, Option<ServerMessage<'static>>),
    /// The proof is there.
    Ask(AuthQuery),
}

/// A refusal of a connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejection {
    /// The id of the message that is refused.
    pub(crate) id: Option<RequestId>,
    pub(crate) code: ErrorCode,
    /// The frame before the close.
    pub(crate) message: Box<ServerMessage<'static>>,
    pub(crate) close: CloseCode,
    pub(crate) reason: &'static str,
}

/// How long the client has for its proof.
pub(crate) const TIME_FOR_PROOF: Duration = HANDSHAKE_TIMEOUT;

impl Arrival {
    /// The first step.
    pub(crate) fn begin(self, now: Now) -> Result<Begun, Rejection> {
        let (door, codec) = (self.door, self.codec);
        match self.credentials {
            Credentials::Query { token, device_id, resume } => {
                let proof = token.and_then(|token| {
                    Ok(Credential::Token(TokenProof { token, device_id: device_id.transpose()? }))
                });
                let ask = proof.map(|proof| Begun::Ask(AuthQuery { id: None, proof, resume }));
                ask.map_err(|refusal| Rejection::of(door, refusal))
            }
            Credentials::Challenge { challenge, audience } => {
                let challenge = SocketChallenge::issue(challenge, &audience, now.unix_ms);
                let message = ServerMessage::AuthChallenge(AuthChallenge {
                    challenge: *challenge.challenge(),
                    audience: audience.into(),
                    expires_at_ms: challenge.expires_at_ms(),
                });
                Ok(Begun::Await(AwaitingProof { door, codec, challenge: Some(challenge) }, Some(message)))
            }
            Credentials::FirstMessage => {
                Ok(Begun::Await(AwaitingProof { door, codec, challenge: None }, None))
            }
        }
    }
}

impl AwaitingProof {
    /// Reads the first message, which must be the proof.
    pub(crate) fn receive(self, frame: &Bytes, now: Now) -> Result<AuthQuery, Rejection> {
        let (id, taken) = match self.codec.decode_client(frame) {
            Ok(ClientFrame { id, message: ClientMessage::Auth(auth) }) => (id, self.take_token(auth)),
            Ok(ClientFrame { id, message: ClientMessage::AuthResponse(response) }) => {
                (id, self.take_response(response, now))
            }
            Ok(ClientFrame { id, .. }) => (id, Err(self.no_proof())),
            Err(error) => (error.id.clone(), Err(self.malformed(&error))),
        };
        match taken {
            Ok((proof, resume)) => Ok(AuthQuery { id, proof, resume }),
            Err(rejection) => Err(rejection.answering(id)),
        }
    }

    /// The refusal of a client that sent no proof in time.
    pub(crate) fn timed_out(self) -> Rejection {
        match self.door.refusal() {
            Manner::PolicyViolation => {
                let refusal = Refusal::new(ErrorCode::MissingToken, "nothing came in time");
                Rejection::policy(&refusal, reason::AUTHENTICATION_TIMEOUT)
            }
            Manner::AuthFailure | Manner::Close | Manner::Unauthorized => {
                Rejection::of(self.door, Refusal::new(ErrorCode::MissingToken, "no proof came in time"))
            }
        }
    }

    fn take_token(self, auth: Auth<'_>) -> Result<(Credential, Option<Claim>), Rejection> {
        match auth.token.filter(|token| !token.expose().is_empty()) {
            Some(token) => {
                let token = token.expose().to_owned();
                let proof = Credential::Token(TokenProof { token, device_id: auth.device_id });
                Ok((proof, auth.resume.as_ref().and_then(Claim::parse)))
            }
            None => {
                Err(Rejection::of(self.door, Refusal::new(ErrorCode::MissingToken, "`auth` has no token")))
            }
        }
    }

    fn take_response(
        self,
        response: AuthResponse<'_>,
        now: Now,
    ) -> Result<(Credential, Option<Claim>), Rejection> {
        let Some(challenge) = self.challenge else { return Err(self.no_proof()) };
        let factor = shown_factor(response.totp_code.as_ref());
        let factor = factor.map_err(|refusal| Rejection::of(self.door, refusal))?;
        let proof = ChallengeResponse {
            public_key: response.public_key,
            signature: response.signature,
            device_id: response.device_id,
        };
        match challenge.accept(&proof, now.unix_ms) {
            Ok(key) => {
                let proof = Credential::Key(KeyProof { key, device_id: proof.device_id, factor });
                Ok((proof, response.resume.as_ref().and_then(Claim::parse)))
            }
            Err(error) => Err(Rejection::of(self.door, challenge_failed(error))),
        }
    }

    fn no_proof(&self) -> Rejection {
        match self.door.refusal() {
            Manner::PolicyViolation => self.not_auth(),
            Manner::AuthFailure | Manner::Close | Manner::Unauthorized => Rejection::of(
                self.door,
                Refusal::new(ErrorCode::MissingToken, "the first message must be auth_response or auth"),
            ),
        }
    }

    fn malformed(&self, error: &DecodeError) -> Rejection {
        let meant_as_proof = matches!(error.kind, Some(MessageKind::Auth | MessageKind::AuthResponse));
        match self.door.refusal() {
            Manner::PolicyViolation => self.not_auth(),
            _ if !meant_as_proof => self.no_proof(),
            Manner::AuthFailure | Manner::Close | Manner::Unauthorized => {
                let mut rejection =
                    Rejection::of(self.door, Refusal::new(ErrorCode::BadRequest, "the proof is malformed"));
                if let ServerMessage::AuthFailure(failure) = &mut *rejection.message {
                    failure.message = error.message.clone().into();
                }
                rejection
            }
        }
    }

    fn not_auth(&self) -> Rejection {
        let refusal = Refusal::new(ErrorCode::Unauthenticated, "the first message must be auth");
        Rejection::policy(&refusal, reason::FIRST_MESSAGE_MUST_BE_AUTH)
    }
}

impl Rejection {
    /// The refusal of a door.
    pub(crate) fn of(door: Door, refusal: Refusal) -> Self {
        let close = close_code(refusal.code);
        match (door.refusal(), close) {
            (
                Manner::PolicyViolation,
                CloseCode::TokenMissing | CloseCode::TokenInvalid | CloseCode::TokenExpired,
            ) => Self::policy(&refusal, policy_reason(refusal.code)),
            (Manner::AuthFailure, _) => {
                let Refusal { code, message, rotation, .. } = refusal;
                let failure = AuthFailure { code, message: message.into(), rotation };
                Self {
                    id: None,
                    code,
                    message: Box::new(ServerMessage::AuthFailure(failure)),
                    close,
                    reason: "",
                }
            }
            (Manner::PolicyViolation | Manner::Close | Manner::Unauthorized, _) => {
                Self::with_error(&refusal, close, "")
            }
        }
    }

    /// The refusal as the reply to a request.
    pub(crate) fn answering(self, id: Option<RequestId>) -> Self {
        Self { id, ..self }
    }

    /// The refusal of a frame that the socket itself rejected.
    pub(crate) fn of_socket(close: CloseCode, message: &'static str) -> Self {
        Self::with_error(&Refusal::new(close.error_code(), message), close, "")
    }

    /// A close that does not depend on the client's proof.
    pub(crate) fn closing(closing: Closing) -> Self {
        let Closing { code: close, reason, error } = closing;
        Self { id: None, code: error.code, message: Box::new(ServerMessage::Error(error)), close, reason }
    }

    fn policy(refusal: &Refusal, reason: &'static str) -> Self {
        Self::with_error(refusal, CloseCode::PolicyViolation, reason)
    }

    fn with_error(refusal: &Refusal, close: CloseCode, reason: &'static str) -> Self {
        let error =
            ErrorReply { close: Some(close.as_u16()), ..ErrorReply::new(refusal.code, refusal.message) };
        Self { id: None, code: refusal.code, message: Box::new(ServerMessage::Error(error)), close, reason }
    }
}

fn challenge_failed(error: AuthError) -> Refusal {
    let code = error.code();
    if code == ErrorCode::InvalidKey {
        Refusal::new(code, "this is no key, or one that everybody can sign for")
    } else if code == ErrorCode::InvalidSignature {
        Refusal::new(code, "the signature does not verify")
    } else {
        Refusal::new(ErrorCode::ExpiredToken, "the challenge has expired")
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other rejection is that of an invalid proof")]
fn close_code(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::MissingToken => CloseCode::TokenMissing,
        ErrorCode::ExpiredToken => CloseCode::TokenExpired,
        ErrorCode::UnknownDevice => CloseCode::DeviceUnknown,
        ErrorCode::Overloaded => CloseCode::TooManyConnections,
        ErrorCode::RateLimited => CloseCode::RateLimited,
        ErrorCode::Forbidden => CloseCode::AccountDisabled,
        ErrorCode::Unavailable | ErrorCode::Draining => CloseCode::Overloaded,
        ErrorCode::Internal => CloseCode::InternalError,
        _ => CloseCode::TokenInvalid,
    }
}

fn policy_reason(code: ErrorCode) -> &'static str {
    if code == ErrorCode::MissingToken { reason::MISSING_AUTH_TOKEN } else { reason::INVALID_TOKEN }
}

/// Whether this door's proof comes on the socket.
pub(crate) fn proves_on_socket(door: Door) -> bool {
    match door.proof() {
        Proof::KeyOrToken | Proof::FirstMessage => true,
        Proof::Query => false,
    }
}

#[cfg(test)]
mod tests;
