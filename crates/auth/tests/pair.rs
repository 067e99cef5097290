//! The server's and the client's part of a challenge, together.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_auth::{
    AuthError, ChallengeBinding, ChallengeRefused, ChallengeResponse, HTTP_CHALLENGE_LIFETIME_MS,
    HttpChallenges, InvalidKey, InvalidSignature, IssuedChallenge, KeyRing, PublicKey, ReceivedChallenge,
    RootKey, SOCKET_CHALLENGE_LIFETIME_MS, SecretKey, SocketChallenge, VerifiedChallenge,
    create_auth_response, verify_challenge,
};
use aldis_protocol::{DeviceId, ErrorCode, statement::Transport};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

const NOW: u64 = 1_767_225_600_000;
const AUDIENCE: &str = "relay.example.test";

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn device() -> DeviceId {
    DeviceId::new("phone-1").unwrap()
}

fn on_the_socket(challenge: &SocketChallenge) -> VerifiedChallenge {
    let received = ReceivedChallenge {
        challenge: *challenge.challenge(),
        audience: challenge.audience(),
        expires_at_ms: challenge.expires_at_ms(),
        transport: Transport::WebSocket,
    };
    verify_challenge(&received, AUDIENCE, NOW).unwrap()
}

fn socket_challenge() -> SocketChallenge {
    SocketChallenge::issue([5; 32], AUDIENCE, NOW)
}

fn socket_answer() -> (SocketChallenge, ChallengeResponse) {
    let challenge = socket_challenge();
    let response = create_auth_response(&key(), &on_the_socket(&challenge), Some(&device()));
    (challenge, response)
}

#[test]
fn a_key_authenticates_on_a_socket() {
    let (challenge, response) = socket_answer();
    assert_eq!(challenge.accept(&response, NOW), Ok(key().public_key()));
}

#[test]
fn a_socket_challenge_lives_ten_seconds() {
    let (challenge, response) = socket_answer();
    assert_eq!(challenge.expires_at_ms(), NOW + 10_000);
    assert!(challenge.accept(&response, NOW + SOCKET_CHALLENGE_LIFETIME_MS - 1).is_ok());
    let refused = socket_challenge().accept(&response, NOW + SOCKET_CHALLENGE_LIFETIME_MS).unwrap_err();
    assert_eq!((refused, refused.code()), (AuthError::ExpiredChallenge, ErrorCode::ExpiredToken));
}

#[test]
fn an_answer_is_valid_only_for_its_key_device_challenge_and_audience() {
    let (_, good) = socket_answer();
    let wrong = Err(AuthError::Signature(InvalidSignature));
    let other_key = ChallengeResponse {
        public_key: *SecretKey::from_bytes(&[2; 32]).public_key().as_bytes(),
        ..good.clone()
    };
    let no_device = ChallengeResponse { device_id: None, ..good.clone() };
    assert_eq!(socket_challenge().accept(&other_key, NOW), wrong);
    assert_eq!(socket_challenge().accept(&no_device, NOW), wrong);
    assert_eq!(SocketChallenge::issue([6; 32], AUDIENCE, NOW).accept(&good, NOW), wrong);
    assert_eq!(SocketChallenge::issue([5; 32], "other.example.test", NOW).accept(&good, NOW), wrong);
    assert_eq!(SocketChallenge::issue([5; 32], AUDIENCE, NOW + 1).accept(&good, NOW), wrong);
}

#[test]
fn a_weak_key_is_refused_with_its_universal_signature() {
    let mut signature = [0; 64];
    signature[0] = 1;
    let mut public_key = [0; 32];
    public_key[0] = 1;
    let response = ChallengeResponse { public_key, signature, device_id: None };
    let refused = socket_challenge().accept(&response, NOW).unwrap_err();
    assert_eq!((refused, refused.code()), (AuthError::Key(InvalidKey), ErrorCode::InvalidKey));
}

#[test]
fn a_client_signs_only_for_the_dialled_server() {
    let received = ReceivedChallenge {
        challenge: [5; 32],
        audience: "other.example.test",
        expires_at_ms: NOW + 10_000,
        transport: Transport::WebSocket,
    };
    assert_eq!(verify_challenge(&received, AUDIENCE, NOW).unwrap_err(), ChallengeRefused::ForeignAudience);
}

#[test]
fn a_client_signs_nothing_that_lives_longer_than_two_minutes() {
    let received = |expires_at_ms| ReceivedChallenge {
        challenge: [5; 32],
        audience: AUDIENCE,
        expires_at_ms,
        transport: Transport::Http,
    };
    assert!(verify_challenge(&received(NOW + 120_000), AUDIENCE, NOW).is_ok());
    for later in [NOW + 120_001, u64::MAX] {
        assert_eq!(
            verify_challenge(&received(later), AUDIENCE, NOW).unwrap_err(),
            ChallengeRefused::LivesTooLong
        );
    }
    assert!(
        verify_challenge(&received(NOW - 3_600_000), AUDIENCE, NOW).is_ok(),
        "a fast clock signs all the same"
    );
}

/// A server with root keys of these bytes, the newest first.
fn server_with(keys: &[u8]) -> HttpChallenges {
    let keys = keys.iter().map(|byte| RootKey::new([*byte; 32])).collect();
    HttpChallenges::new(KeyRing::from_keys(keys).unwrap().sub_keys("challenges"))
}

fn server() -> HttpChallenges {
    server_with(&[3])
}

fn issue(binding: &ChallengeBinding<'_>) -> IssuedChallenge {
    server().issue(&mut StdRng::seed_from_u64(4), binding, NOW)
}

fn over_http(issued: &IssuedChallenge) -> VerifiedChallenge {
    let received = ReceivedChallenge {
        challenge: issued.challenge,
        audience: AUDIENCE,
        expires_at_ms: issued.expires_at_ms,
        transport: Transport::Http,
    };
    verify_challenge(&received, AUDIENCE, NOW).unwrap()
}

fn binding<'a>(public_key: &'a PublicKey, device_id: Option<&'a DeviceId>) -> ChallengeBinding<'a> {
    ChallengeBinding { audience: AUDIENCE, public_key, device_id }
}

#[test]
fn a_key_logs_in_over_http() {
    let (public_key, device) = (key().public_key(), device());
    for device_id in [None, Some(&device)] {
        let binding = binding(&public_key, device_id);
        let issued = issue(&binding);
        let response = create_auth_response(&key(), &over_http(&issued), device_id);
        let opened = server().open(&issued.challenge, &binding, NOW).unwrap();
        assert_eq!((opened.challenge(), opened.expires_at_ms()), (&issued.challenge, NOW + 60_000));
        assert_eq!(opened.verify(&response.signature), Ok(public_key));
    }
}

#[test]
fn an_http_challenge_lives_sixty_seconds() {
    let public_key = key().public_key();
    let binding = binding(&public_key, None);
    let issued = issue(&binding);
    assert!(server().open(&issued.challenge, &binding, NOW + HTTP_CHALLENGE_LIFETIME_MS - 1).is_ok());
    let late = server().open(&issued.challenge, &binding, NOW + HTTP_CHALLENGE_LIFETIME_MS).unwrap_err();
    assert_eq!((late, late.code()), (AuthError::InvalidChallenge, ErrorCode::InvalidChallenge));
}

#[test]
fn an_http_challenge_outlives_a_change_of_the_key() {
    let public_key = key().public_key();
    let binding = binding(&public_key, None);
    let issued = issue(&binding);
    assert!(server_with(&[5, 3]).open(&issued.challenge, &binding, NOW).is_ok());
    let newer = server_with(&[5, 3]).issue(&mut StdRng::seed_from_u64(4), &binding, NOW);
    assert!(server().open(&newer.challenge, &binding, NOW).is_err(), "the newest key issues them");
}

#[test]
fn an_http_challenge_is_valid_only_for_its_binding_and_server() {
    let (public_key, other_key) = (key().public_key(), SecretKey::from_bytes(&[2; 32]).public_key());
    let device = device();
    let good = binding(&public_key, Some(&device));
    let issued = issue(&good);
    let foreign = server_with(&[4]);
    let refused = |server: &HttpChallenges, binding: ChallengeBinding<'_>| {
        server.open(&issued.challenge, &binding, NOW).unwrap_err()
    };
    for refused in [
        refused(&foreign, good),
        refused(&server(), ChallengeBinding { audience: "other.example.test", ..good }),
        refused(&server(), ChallengeBinding { public_key: &other_key, ..good }),
        refused(&server(), ChallengeBinding { device_id: None, ..good }),
    ] {
        assert_eq!(refused, AuthError::InvalidChallenge);
    }
}

#[test]
fn an_answer_for_a_socket_is_invalid_over_http() {
    let public_key = key().public_key();
    let binding = binding(&public_key, None);
    let issued = issue(&binding);
    let received = ReceivedChallenge {
        challenge: issued.challenge,
        audience: AUDIENCE,
        expires_at_ms: issued.expires_at_ms,
        transport: Transport::WebSocket,
    };
    let challenge = verify_challenge(&received, AUDIENCE, NOW).unwrap();
    let response = create_auth_response(&key(), &challenge, None);
    let opened = server().open(&issued.challenge, &binding, NOW).unwrap();
    assert_eq!(opened.verify(&response.signature), Err(AuthError::Signature(InvalidSignature)));
}

#[test]
fn no_two_challenges_are_equal() {
    let public_key = key().public_key();
    let binding = binding(&public_key, None);
    let mut rng = StdRng::seed_from_u64(4);
    let first = server().issue(&mut rng, &binding, NOW);
    assert_ne!(first, server().issue(&mut rng, &binding, NOW));
}

proptest! {
    #[test]
    fn a_changed_challenge_is_refused(at in 0..32_usize, bits in 1..=255_u8) {
        let public_key = key().public_key();
        let binding = binding(&public_key, None);
        let mut challenge = issue(&binding).challenge;
        challenge[at] ^= bits;
        prop_assert_eq!(server().open(&challenge, &binding, NOW).unwrap_err(), AuthError::InvalidChallenge);
    }

    #[test]
    fn a_changed_signature_is_refused(at in 0..64_usize, bits in 1..=255_u8) {
        let (challenge, mut response) = socket_answer();
        response.signature[at] ^= bits;
        prop_assert_eq!(challenge.accept(&response, NOW), Err(AuthError::Signature(InvalidSignature)));
    }

    #[test]
    fn any_answer_is_accepted_or_refused_without_a_panic(public_key: [u8; 32], signature_low: [u8; 32], signature_high: [u8; 32]) {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&signature_low);
        signature[32..].copy_from_slice(&signature_high);
        let response = ChallengeResponse { public_key, signature, device_id: None };
        prop_assert!(socket_challenge().accept(&response, NOW).is_err());
    }
}
