//! The handshake as a function from a door's input to its outcome.

use aldis_auth::{ReceivedChallenge, SecretKey, create_auth_response, verify_challenge};
use aldis_protocol::{
    Auth, AuthResponse, ClientFrame, ClientMessage, Codec, Door, ErrorCode, RequestId, ServerMessage, reason,
    statement::Transport,
};
use bytes::Bytes;

use super::*;
use crate::clock::Now;

const NOW: Now = Now { tick: 0, unix_ms: 1_767_225_600_000 };
const AUDIENCE: &str = "relay.example.test";

fn arrival(door: Door, credentials: Credentials) -> Arrival {
    Arrival {
        door,
        codec: door.default_codec(),
        address: std::net::IpAddr::from([192, 0, 2, 1]).into(),
        room: None,
        credentials,
        device_claim: DeviceClaim::default(),
    }
}

fn awaiting(door: Door) -> (AwaitingProof, Option<ServerMessage<'static>>) {
    let credentials = match door {
        Door::Connect => Credentials::Challenge { challenge: [7; 32], audience: AUDIENCE.to_owned() },
        Door::Chat | Door::Signal | Door::Protobuf | Door::Api => Credentials::FirstMessage,
    };
    match arrival(door, credentials).begin(NOW) {
        Ok(Begun::Await(awaiting, message)) => (awaiting, message),
        _ => panic!("{door:?} waits for a proof"),
    }
}

fn refused_at(door: Door, text: &'static str) -> (ErrorCode, CloseCode, &'static str) {
    let frame = Bytes::from_static(text.as_bytes());
    match awaiting(door).0.receive(&frame, NOW) {
        Err(Rejection { code, close, reason, .. }) => (code, close, reason),
        Ok(_) => panic!("{text} is no proof"),
    }
}

fn shown_in_query(token: Result<&str, ErrorCode>) -> Credentials {
    let token = token.map(str::to_owned).map_err(|code| Refusal::new(code, "no"));
    Credentials::Query { token, device_id: None, resume: None }
}

/// A client's answer to the challenge of `/v1/connect`.
fn answer(message: Option<ServerMessage<'static>>, key: &SecretKey) -> AuthResponse<'static> {
    let Some(ServerMessage::AuthChallenge(challenge)) = message else { panic!("no challenge") };
    let received = ReceivedChallenge {
        challenge: challenge.challenge,
        audience: &challenge.audience,
        expires_at_ms: challenge.expires_at_ms,
        transport: Transport::WebSocket,
    };
    let verified = verify_challenge(&received, AUDIENCE, NOW.unix_ms).unwrap();
    let answer = create_auth_response(key, &verified, None);
    AuthResponse {
        public_key: answer.public_key,
        signature: answer.signature,
        device_id: answer.device_id,
        totp_code: None,
        resume: None,
    }
}

fn encode(message: ClientMessage<'_>) -> Bytes {
    let id = Some(RequestId::new("a-1").unwrap());
    Codec::Json.encode_client(&ClientFrame { id, message })
}

#[test]
fn the_chat_door_refuses_with_four_reasons() {
    let door = Door::Chat;
    let policy = CloseCode::PolicyViolation;
    for text in ["hello", "{", r#"{"type":"ping"}"#, r#"{"type":"auth","payload":{"token":5}}"#] {
        let refused = refused_at(door, text);
        assert_eq!(
            refused,
            (ErrorCode::Unauthenticated, policy, reason::FIRST_MESSAGE_MUST_BE_AUTH),
            "{text}"
        );
    }
    for text in
        [r#"{"type":"auth"}"#, r#"{"type":"auth","payload":{}}"#, r#"{"type":"auth","payload":{"token":""}}"#]
    {
        let refused = refused_at(door, text);
        assert_eq!(refused, (ErrorCode::MissingToken, policy, reason::MISSING_AUTH_TOKEN), "{text}");
    }
    let timed_out = awaiting(door).0.timed_out();
    assert_eq!((timed_out.close, timed_out.reason), (policy, reason::AUTHENTICATION_TIMEOUT));
    for code in [ErrorCode::InvalidToken, ErrorCode::ExpiredToken, ErrorCode::Revoked] {
        let rejection = Rejection::of(door, Refusal::new(code, "no"));
        assert_eq!((rejection.close, rejection.reason), (policy, reason::INVALID_TOKEN));
    }
}

#[test]
fn an_unknown_device_is_4303_and_one_connection_too_many_4304_on_every_door() {
    for door in Door::ALL {
        let close = |code| Rejection::of(door, Refusal::new(code, "no")).close;
        assert_eq!(close(ErrorCode::UnknownDevice), CloseCode::DeviceUnknown, "{door:?}");
        assert_eq!(close(ErrorCode::Overloaded), CloseCode::TooManyConnections, "{door:?}");
    }
}

#[test]
fn connect_refuses_by_auth_failure() {
    let door = Door::Connect;
    assert_eq!(
        refused_at(door, r#"{"type":"ping"}"#),
        (ErrorCode::MissingToken, CloseCode::TokenMissing, "")
    );
    assert_eq!(refused_at(door, "nonsense"), (ErrorCode::MissingToken, CloseCode::TokenMissing, ""));
    assert_eq!(
        refused_at(door, r#"{"type":"auth"}"#),
        (ErrorCode::MissingToken, CloseCode::TokenMissing, "")
    );
    let malformed = r#"{"type":"auth_response","public_key":"x","signature":"y"}"#;
    assert_eq!(refused_at(door, malformed), (ErrorCode::BadRequest, CloseCode::TokenInvalid, ""));
    assert_eq!(awaiting(door).0.timed_out().close, CloseCode::TokenMissing);
    for (code, close) in [
        (ErrorCode::ExpiredToken, CloseCode::TokenExpired),
        (ErrorCode::InvalidToken, CloseCode::TokenInvalid),
        (ErrorCode::Revoked, CloseCode::TokenInvalid),
        (ErrorCode::Unavailable, CloseCode::Overloaded),
    ] {
        let rejection = Rejection::of(door, Refusal::new(code, "no"));
        assert_eq!(rejection.close, close);
        assert!(matches!(*rejection.message, ServerMessage::AuthFailure(failure) if failure.code == code));
    }
}

#[test]
fn a_good_answer_to_the_challenge_proves_the_key() {
    let key = SecretKey::from_bytes(&[1; 32]);
    let (awaiting, challenge) = awaiting(Door::Connect);
    let frame = encode(ClientMessage::AuthResponse(answer(challenge, &key)));
    let query = awaiting.receive(&frame, NOW).unwrap();
    assert_eq!(query.id, RequestId::new("a-1").ok());
    assert!(matches!(query.proof, Credential::Key(proof) if proof.key == key.public_key()));
}

#[test]
fn a_late_answer_or_one_of_another_key_proves_nothing() {
    let key = SecretKey::from_bytes(&[1; 32]);
    let late = Now { unix_ms: NOW.unix_ms + 10_000, ..NOW };
    let (awaiting_late, challenge) = awaiting(Door::Connect);
    let frame = encode(ClientMessage::AuthResponse(answer(challenge.clone(), &key)));
    let rejection = awaiting_late.receive(&frame, late).err().unwrap();
    assert_eq!((rejection.code, rejection.close), (ErrorCode::ExpiredToken, CloseCode::TokenExpired));
    assert_eq!(rejection.id, RequestId::new("a-1").ok());

    let other_key = *SecretKey::from_bytes(&[2; 32]).public_key().as_bytes();
    let forged = AuthResponse { public_key: other_key, ..answer(challenge, &key) };
    let rejection =
        awaiting(Door::Connect).0.receive(&encode(ClientMessage::AuthResponse(forged)), NOW).err().unwrap();
    assert_eq!((rejection.code, rejection.close), (ErrorCode::InvalidSignature, CloseCode::TokenInvalid));
}

#[test]
fn a_malformed_resume_is_ignored() {
    let auth = Auth {
        token: Some("t".into()),
        device_id: None,
        resume: Some(aldis_protocol::Resume { token: "nonsense".into(), received: 1 }),
    };
    let query = awaiting(Door::Chat).0.receive(&encode(ClientMessage::Auth(auth)), NOW).unwrap();
    assert!(query.resume.is_none());
    assert!(matches!(query.proof, Credential::Token(proof) if proof.token == "t"));
}

#[test]
fn query_doors_check_at_once_and_refuse_by_close() {
    for door in [Door::Signal, Door::Protobuf, Door::Api] {
        let begun = arrival(door, shown_in_query(Ok("t"))).begin(NOW);
        let Ok(Begun::Ask(query)) = begun else { panic!("{door:?} asks at once") };
        assert!(matches!(query.proof, Credential::Token(proof) if proof.token == "t"));
        for (code, close) in [
            (ErrorCode::MissingToken, CloseCode::TokenMissing),
            (ErrorCode::InvalidToken, CloseCode::TokenInvalid),
            (ErrorCode::ExpiredToken, CloseCode::TokenExpired),
        ] {
            let rejection = arrival(door, shown_in_query(Err(code))).begin(NOW).err().unwrap();
            assert_eq!((rejection.code, rejection.close), (code, close), "{door:?}");
            let ServerMessage::Error(error) = &*rejection.message else { panic!("{door:?} says why") };
            assert_eq!(error.close, Some(close.as_u16()));
        }
    }
}
