//! Proofs: keys and tokens, shown, refused and replaced.

use super::*;

#[test]
fn a_key_answers_the_challenge_of_the_server_that_was_dialled() {
    let mut rig = Rig::with_key();
    assert_eq!(rig.dials, 1);
    rig.dialed();
    assert!(rig.sent.is_empty(), "a key has nothing to say before the challenge");
    rig.hear(None, challenge(AUDIENCE, 10_000));
    let ClientMessage::AuthResponse(response) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    let response = ChallengeResponse {
        public_key: response.public_key,
        signature: response.signature,
        device_id: response.device_id,
    };
    let issued = SocketChallenge::issue([5; 32], AUDIENCE, NOW_MS);
    assert_eq!(issued.accept(&response, NOW_MS), Ok(key().public_key()));
    rig.hear(None, ServerMessage::Connected(connected()));
    assert_eq!(rig.states, [State::Disconnected, State::Connecting, State::Authenticating, State::Connected]);
    assert!(matches!(rig.events.last(), Some(Event::Connected(session)) if session.device_id == device()));
}

#[test]
fn a_key_that_takes_its_time_is_waited_for() {
    let mut rig = Rig { signs_later: true, ..Rig::with_key() };
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    assert!(rig.sent.is_empty());
    assert_eq!(rig.to_sign[0].key(), &key().public_key());
    rig.sign();
    assert!(matches!(rig.says_last().message, ClientMessage::AuthResponse(_)));
}

#[test]
fn a_key_that_does_not_sign_ends_the_attempt_and_a_late_signature_is_nobodys() {
    let mut rig = Rig { signs_later: true, ..Rig::with_key() };
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    rig.act(|machine, now| machine.handle_signature(now, Err("the key is gone".into())));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed { cause: ConnectionError::Signature(_), retry_in: Some(_) })
    ));
    rig.wait();
    rig.dialed();
    rig.sign();
    assert!(rig.sent.is_empty(), "nothing was asked of this connection yet");
}

#[test]
fn a_challenge_of_another_server_or_of_over_two_minutes_is_not_signed() {
    for challenge in [challenge("other.example.test", 10_000), challenge(AUDIENCE, 120_001)] {
        let mut rig = Rig::with_key();
        rig.dialed();
        rig.hear(None, challenge);
        assert!(rig.sent.is_empty());
        assert_eq!(rig.hang_ups, 1);
        assert!(matches!(
            rig.events.last(),
            Some(Event::Closed { cause: ConnectionError::Challenge(_), retry_in: Some(_) })
        ));
    }
}

#[test]
fn one_challenge_is_answered_a_connection() {
    let mut rig = Rig::with_key();
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    rig.hear(None, challenge(AUDIENCE, 10_000));
    assert_eq!(rig.sent.len(), 1);
}

#[test]
fn a_token_is_asked_for_at_each_attempt_and_shown_at_once() {
    let mut rig = Rig::with_token();
    rig.token("first");
    rig.dialed();
    let ClientMessage::Auth(auth) = rig.says_last().message else { panic!("{:?}", rig.sent) };
    assert_eq!(auth.token.unwrap().expose(), "first");
    assert_eq!(auth.device_id, Some(device()));
    rig.closed(1012);
    rig.wait();
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Reconnecting]);
}

#[test]
fn an_expired_token_is_replaced_as_often_as_it_takes() {
    let mut rig = Rig::with_token();
    for _ in 0..3 {
        rig.token("old");
        rig.dialed();
        rig.hear(None, failure(ErrorCode::ExpiredToken));
        rig.closed(4003);
        rig.wait();
    }
    assert_eq!(rig.asked[1..], [TokenReason::Expired; 3]);
}

#[test]
fn an_invalid_token_is_replaced_once() {
    let mut rig = Rig::with_token();
    for _ in 0..2 {
        rig.token("bad");
        rig.dialed();
        rig.hear(None, failure(ErrorCode::InvalidToken));
        rig.closed(4002);
        if !rig.finished {
            rig.wait();
        }
    }
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Invalid]);
    assert!(rig.finished);
    assert_eq!(rig.states.last(), Some(&State::Disconnected));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed {
            cause: ConnectionError::Refused { code: ErrorCode::InvalidToken, .. },
            retry_in: None
        })
    ));
}

#[test]
fn a_provider_without_a_token_is_asked_again_later() {
    let mut rig = Rig::with_token();
    rig.no_token("not now", false);
    assert_eq!(rig.states.last(), Some(&State::Reconnecting));
    rig.wait();
    assert_eq!(rig.asked.len(), 2);
}

#[test]
fn a_provider_that_will_never_have_a_token_again_stops_the_client() {
    let mut rig = Rig::with_token();
    rig.no_token("signed out", true);
    assert!(rig.finished && rig.retry_in().is_none());
}

#[test]
fn a_key_comes_back_after_a_refusal_unless_that_is_final() {
    let refused = |code| {
        let mut rig = Rig::with_key();
        rig.dialed();
        rig.hear(None, failure(code));
        rig.closed(4002);
        rig.finished
    };
    assert!(!refused(ErrorCode::InvalidSignature));
    assert!(refused(ErrorCode::Revoked));
    assert!(refused(ErrorCode::TotpRequired));
}

#[test]
fn a_handshake_that_goes_nowhere_ends() {
    let mut rig = Rig::with_key();
    rig.dialed();
    rig.pass(Duration::from_secs(10));
    assert!(matches!(
        rig.events.last(),
        Some(Event::Closed { cause: ConnectionError::HandshakeTimedOut, retry_in: Some(_) })
    ));
}

#[test]
fn auth_required_is_answered_with_a_new_token() {
    let mut rig = Rig::with_token();
    rig.connect();
    let required = AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
    rig.hear(None, ServerMessage::AuthRequired(required));
    assert_eq!(rig.asked, [TokenReason::First, TokenReason::Expiring]);
    rig.token("next");
    let frame = rig.says_last();
    let id = frame.id.unwrap();
    let ClientMessage::Auth(auth) = frame.message else { panic!() };
    assert_eq!(auth.token.unwrap().expose(), "next");
    let expires_at = Some(Timestamp::from_ms(2));
    let success = AuthSuccess { user_id: UserId::new(uuid::Uuid::nil()), device_id: device(), expires_at };
    rig.hear(Some(id.as_str()), ServerMessage::AuthSuccess(success));
    assert!(
        matches!(rig.events.last(), Some(Event::Reauthenticated { expires_at: Some(at) }) if at.as_ms() == 2)
    );
    assert_eq!(rig.states.last(), Some(&State::Connected), "nothing was interrupted");
}

#[test]
fn a_refused_new_token_is_tried_three_times() {
    let mut rig = Rig::with_token();
    rig.connect();
    let required = AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
    rig.hear(None, ServerMessage::AuthRequired(required));
    for _ in 0..3 {
        rig.token("bad");
        let id = rig.says_last().id.unwrap();
        rig.hear(Some(id.as_str()), failure(ErrorCode::InvalidToken));
    }
    let asked = [TokenReason::First, TokenReason::Expiring, TokenReason::Invalid, TokenReason::Invalid];
    assert_eq!(rig.asked, asked);
    assert!(matches!(rig.events.last(), Some(Event::ReauthenticationFailed(_))));
}
