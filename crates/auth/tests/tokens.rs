//! Access tokens: which are accepted, and which attacks are refused.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_auth::{Claims, MAX_TOKEN_BYTES, SecretKey, SecretTooShort, TokenError, TokenKeys};
use aldis_protocol::{DeviceId, UserId};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

const NOW: u64 = 1_767_225_600;
const NOW_MS: u64 = NOW * 1_000;
const SECRET: &str = "a secret of thirty-two bytes, ok?";
const ISSUER: &str = "aldis";
const AUDIENCE: &str = "relay.example.test";

fn hs256() -> TokenKeys {
    TokenKeys::hs256(SECRET, ISSUER, AUDIENCE).unwrap()
}

fn eddsa() -> TokenKeys {
    TokenKeys::eddsa(&SecretKey::from_bytes(&[1; 32]), ISSUER, AUDIENCE)
}

fn claims() -> Claims {
    Claims {
        sub: UserId::new(Uuid::from_u128(1)),
        sid: Uuid::from_u128(2),
        did: Some(DeviceId::new("phone-1").unwrap()),
        jti: "token-1".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 900,
        auth_time: NOW,
    }
}

/// The claims of a token, for tests to change.
fn payload() -> Value {
    let mut payload = serde_json::to_value(claims()).unwrap();
    payload["iss"] = json!(ISSUER);
    payload["aud"] = json!(AUDIENCE);
    payload
}

/// A token that another program made with the right secret.
fn signed(header: &str, payload: &str) -> String {
    signed_with(SECRET.as_bytes(), header, payload)
}

fn signed_with(key: &[u8], header: &str, payload: &str) -> String {
    let message =
        format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let tag = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}

fn with_header(header: &str) -> String {
    signed(header, &payload().to_string())
}

fn with_payload(payload: &Value) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, &payload.to_string())
}

fn is_invalid(token: &str) {
    assert_eq!(hs256().verify(token, NOW_MS), Err(TokenError::Invalid), "{token}");
}

#[test]
fn a_minted_token_verifies() {
    for keys in [hs256(), eddsa()] {
        let token = keys.mint(&claims()).unwrap();
        assert_eq!(keys.verify(&token, NOW_MS), Ok(claims()));
    }
}

#[test]
fn the_header_names_type_and_key() {
    let header: Value = {
        let token = hs256().mint(&claims()).unwrap();
        let header = token.split('.').next().unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
    };
    assert_eq!(header, json!({"typ": "JWT", "alg": "HS256", "kid": hs256().kid()}));
}

#[test]
fn a_token_without_kid_and_device_verifies() {
    let mut payload = payload();
    payload["did"] = Value::Null;
    assert_eq!(hs256().verify(&with_payload(&payload), NOW_MS), Ok(Claims { did: None, ..claims() }));
    payload.as_object_mut().unwrap().remove("did");
    assert!(hs256().verify(&signed(r#"{"alg":"HS256"}"#, &payload.to_string()), NOW_MS).is_ok());
}

#[test]
fn unknown_claims_are_ignored() {
    let mut payload = payload();
    payload["scope"] = json!(["everything"]);
    assert_eq!(hs256().verify(&with_payload(&payload), NOW_MS), Ok(claims()));
}

#[test]
fn a_short_secret_is_refused() {
    assert_eq!(TokenKeys::hs256(&"x".repeat(31), ISSUER, AUDIENCE).unwrap_err(), SecretTooShort);
    assert!(TokenKeys::hs256(&"x".repeat(32), ISSUER, AUDIENCE).is_ok());
}

#[test]
fn only_the_configured_algorithm_is_accepted() {
    let payload = payload().to_string();
    let unsigned = |header: &str| {
        format!("{}.{}.", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(&payload))
    };
    for none in ["none", "None", "NONE", "nOnE", ""] {
        is_invalid(&unsigned(&format!(r#"{{"alg":"{none}","typ":"JWT"}}"#)));
        is_invalid(&with_header(&format!(r#"{{"alg":"{none}","typ":"JWT"}}"#)));
    }
    for other in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
        is_invalid(&with_header(&format!(r#"{{"alg":"{other}","typ":"JWT"}}"#)));
    }
    is_invalid(&with_header(r#"{"typ":"JWT"}"#));
    is_invalid(&unsigned(r#"{"alg":"HS256","typ":"JWT"}"#));
}

#[test]
fn a_public_key_is_not_accepted_as_an_hmac_secret() {
    let public_key = SecretKey::from_bytes(&[1; 32]).public_key();
    let forged = signed_with(public_key.as_bytes(), r#"{"alg":"HS256","typ":"JWT"}"#, &payload().to_string());
    assert_eq!(eddsa().verify(&forged, NOW_MS), Err(TokenError::Invalid));
    let forged = signed_with(public_key.as_bytes(), r#"{"alg":"EdDSA","typ":"JWT"}"#, &payload().to_string());
    assert_eq!(eddsa().verify(&forged, NOW_MS), Err(TokenError::Invalid));
}

#[test]
fn a_token_of_another_key_is_invalid() {
    let others = [
        TokenKeys::hs256("another secret of at least 32 bytes", ISSUER, AUDIENCE).unwrap(),
        TokenKeys::hs256(SECRET, "somebody", AUDIENCE).unwrap(),
        TokenKeys::hs256(SECRET, ISSUER, "other.example.test").unwrap(),
        eddsa(),
    ];
    for other in others {
        is_invalid(&other.mint(&claims()).unwrap());
    }
    let token = hs256().mint(&claims()).unwrap();
    assert_eq!(eddsa().verify(&token, NOW_MS), Err(TokenError::Invalid));
}

#[test]
fn a_header_selects_nothing() {
    let kid = hs256().kid().to_owned();
    assert!(hs256().verify(&with_header(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)), NOW_MS).is_ok());
    for header in [
        r#"{"alg":"HS256","kid":""}"#,
        r#"{"alg":"HS256","kid":"../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"' OR 1=1"}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"{"alg":"HS256","typ":"JWE"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"["HS256"]"#,
        "HS256",
        "",
    ] {
        is_invalid(&with_header(header));
    }
}

#[test]
fn a_key_in_the_header_is_not_used() {
    let theirs = b"the attacker's own secret of 32 bytes";
    let jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, BASE64_URL_SAFE_NO_PAD.encode(theirs));
    let header = format!(r#"{{"alg":"HS256","jwk":{jwk},"jku":"https://attacker.example.test"}}"#);
    is_invalid(&signed_with(theirs, &header, &payload().to_string()));
}

#[test]
fn every_claim_but_the_device_is_required() {
    for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time"] {
        let mut payload = payload();
        payload[claim] = Value::Null;
        is_invalid(&with_payload(&payload));
        payload.as_object_mut().unwrap().remove(claim);
        is_invalid(&with_payload(&payload));
    }
}

#[test]
fn a_repeated_claim_is_refused() {
    for claim in ["iss", "aud", "sub", "sid", "did", "jti", "iat", "nbf", "exp", "auth_time"] {
        let once = payload();
        let twice = format!(r#"{{"{claim}":{},{}"#, once[claim], &once.to_string()[1..]);
        is_invalid(&signed(r#"{"alg":"HS256"}"#, &twice));
    }
}

#[test]
fn a_float_as_a_time_made_a_token_invalid() {
    for (exp, whole) in [(json!((NOW + 900) as f64), NOW + 900), (json!(NOW as f64 + 900.75), NOW + 900)] {
        let mut payload = payload();
        payload["exp"] = exp;
        for claim in ["iat", "nbf", "auth_time"] {
            payload[claim] = json!(NOW as f64);
        }
        let read = hs256().verify(&with_payload(&payload), NOW_MS).unwrap();
        assert_eq!(read, Claims { exp: whole, ..claims() });
    }
    let mut over = payload();
    over["exp"] = json!((NOW - 60) as f64);
    assert_eq!(hs256().verify(&with_payload(&over), NOW_MS), Err(TokenError::Expired));
}

#[test]
fn mistyped_claims_are_invalid() {
    for (claim, value) in [
        ("iss", json!(["other"])),
        ("iss", json!({})),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!(1)),
        ("sub", json!("alice")),
        ("sid", json!("family")),
        ("did", json!("not a device")),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!(-1)),
        ("nbf", json!(u64::MAX)),
        ("iat", json!(u64::MAX)),
        ("auth_time", json!(u64::MAX)),
    ] {
        let mut payload = payload();
        payload[claim] = value;
        is_invalid(&with_payload(&payload));
    }
}

#[test]
fn a_token_ends_five_seconds_after_its_time() {
    let token = hs256().mint(&claims()).unwrap();
    let end_ms = claims().exp * 1_000 + 5_000;
    assert!(hs256().verify(&token, end_ms - 1).is_ok());
    assert_eq!(hs256().verify(&token, end_ms), Err(TokenError::Expired));
    assert_eq!(hs256().verify(&token, u64::MAX), Err(TokenError::Expired));
}

#[test]
fn a_token_begins_five_seconds_before_its_time() {
    for begins in [Claims { nbf: NOW + 100, ..claims() }, Claims { iat: NOW + 100, ..claims() }] {
        let token = hs256().mint(&begins).unwrap();
        assert_eq!(hs256().verify(&token, NOW_MS + 95_000 - 1), Err(TokenError::Invalid));
        assert!(hs256().verify(&token, NOW_MS + 95_000).is_ok());
    }
}

#[test]
fn only_an_otherwise_valid_token_is_expired() {
    let late =
        Claims { exp: NOW - 900, nbf: NOW - 1_800, iat: NOW - 1_800, auth_time: NOW - 1_800, ..claims() };
    assert_eq!(hs256().verify(&hs256().mint(&late).unwrap(), NOW_MS), Err(TokenError::Expired));
    for foreign in [
        TokenKeys::hs256("another secret of at least 32 bytes", ISSUER, AUDIENCE).unwrap(),
        TokenKeys::hs256(SECRET, "somebody", AUDIENCE).unwrap(),
        TokenKeys::hs256(SECRET, ISSUER, "other.example.test").unwrap(),
        eddsa(),
    ] {
        is_invalid(&foreign.mint(&late).unwrap());
    }
    is_invalid(&hs256().mint(&Claims { nbf: NOW + 100, ..late.clone() }).unwrap());
    let mut payload = serde_json::to_value(&late).unwrap();
    payload["iss"] = json!(ISSUER);
    payload["aud"] = json!(AUDIENCE);
    is_invalid(&signed(r#"{"alg":"HS256","kid":"other"}"#, &payload.to_string()));
    payload.as_object_mut().unwrap().remove("sid");
    is_invalid(&with_payload(&payload));
}

#[test]
fn a_huge_token_is_not_parsed() {
    let of_length = |pad: usize| {
        let mut payload = payload();
        payload["pad"] = json!("x".repeat(pad));
        with_payload(&payload)
    };
    let fitting = of_length(2_400);
    assert!(fitting.len() <= MAX_TOKEN_BYTES && hs256().verify(&fitting, NOW_MS).is_ok());
    let huge = of_length(3_000);
    assert!(huge.len() > MAX_TOKEN_BYTES);
    is_invalid(&huge);
    is_invalid(&"a.".repeat(1_000_000));
}

#[test]
fn deep_json_is_invalid() {
    let deep = format!("{}{}", "[".repeat(1_400), "]".repeat(1_400));
    is_invalid(&signed(r#"{"alg":"HS256"}"#, &deep));
}

#[test]
fn tokens_of_older_keys_are_accepted_but_not_made() {
    const NEW: &str = "a newer secret of thirty-two bytes!!";
    let new = || TokenKeys::hs256(NEW, ISSUER, AUDIENCE).unwrap();
    let ring = new().with_retired(eddsa().with_retired(hs256()));
    for older in [hs256(), eddsa()] {
        assert_eq!(ring.verify(&older.mint(&claims()).unwrap(), NOW_MS), Ok(claims()));
    }
    let token = ring.mint(&claims()).unwrap();
    assert_eq!(ring.kid(), new().kid());
    assert_eq!(new().verify(&token, NOW_MS), Ok(claims()));
    is_invalid(&token);
}

#[test]
fn public_keys_are_those_of_eddsa_with_the_names_in_their_tokens() {
    let secret = |byte| SecretKey::from_bytes(&[byte; 32]);
    let keys = |byte| TokenKeys::eddsa(&secret(byte), ISSUER, AUDIENCE);
    let ring = keys(2).with_retired(hs256()).with_retired(keys(1));
    let expected = [2, 1].map(|byte| (keys(byte).kid().to_owned(), *secret(byte).public_key().as_bytes()));
    let published: Vec<_> = ring.public_keys().map(|(kid, key)| (kid.to_owned(), *key)).collect();
    assert_eq!(published, expected);
    assert_eq!(hs256().public_keys().count(), 0);
}

#[test]
fn a_key_id_cannot_select_another_keys_algorithm() {
    let ring = hs256().with_retired(eddsa());
    let public = SecretKey::from_bytes(&[1; 32]).public_key();
    let payload = payload().to_string();
    let named = |kid: &str| format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
    for forged in [
        signed_with(public.as_bytes(), &named(eddsa().kid()), &payload),
        signed(&named(eddsa().kid()), &payload),
        signed(&named("unknown"), &payload),
        signed_with(public.as_bytes(), r#"{"alg":"HS256"}"#, &payload),
    ] {
        assert_eq!(ring.verify(&forged, NOW_MS), Err(TokenError::Invalid));
    }
}

#[test]
fn the_debug_output_of_keys_is_not_secret() {
    let keys = hs256();
    assert_eq!(format!("{keys:?}"), format!("TokenKeys {{ kid: {:?}, .. }}", keys.kid()));
}

proptest! {
    #[test]
    fn a_changed_token_is_invalid(at: prop::sample::Index, with in "[A-Za-z0-9_.=-]") {
        for keys in [hs256(), eddsa()] {
            let token = keys.mint(&claims()).unwrap();
            let at = at.index(token.len());
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            prop_assume!(changed != token);
            prop_assert_eq!(keys.verify(&changed, NOW_MS), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn any_text_is_invalid(text in ".{0,200}", dotted in "[a-zA-Z0-9_-]{0,60}\\.[a-zA-Z0-9_-]{0,60}\\.[a-zA-Z0-9_-]{0,60}") {
        is_invalid(&text);
        is_invalid(&dotted);
    }
}
