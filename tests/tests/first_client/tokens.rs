//! Access tokens, verified by PyJWT as another service would.

use aldis_tests::{SECRET_KEY, TestServer, token};
use serde_json::{Value, json};

use crate::program::run;

const NAME: &str = "verify_token.py";

fn accepted(token: &str, issuer: &str, key: &str) -> Option<Value> {
    let output = run(NAME, &[token, issuer, key]);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Some(serde_json::from_str(&said).unwrap());
    }
    assert!(errors.starts_with("refused: "), "{errors}");
    None
}

#[test]
fn pyjwt_verifies_hs256_tokens_with_the_secret_and_refuses_all_others() {
    let user = TestServer::shared().user();
    let claims = accepted(&user.token, "aldis", SECRET_KEY).expect("a genuine token");
    assert_eq!(claims["sub"], user.id.as_str());
    let far = 10_000_000_000_u64;
    for other in [
        token::altered(&user.token, &json!({"aud": "https://other.example"})),
        token::altered(&user.token, &json!({"iss": "https://other.example"})),
        token::altered(&user.token, &json!({"auth_time": null})),
        token::altered(&user.token, &json!({"nbf": far})),
        token::aged(&user.token, 1000, -100),
        token::sign_with(
            "another key of 32 bytes and more!",
            &token::header(&user.token),
            &token::claims(&user.token),
        ),
        token::unsigned(&json!({"typ": "JWT", "alg": "none"}), &token::claims(&user.token)),
    ] {
        assert_eq!(accepted(&other, "aldis", SECRET_KEY), None, "{other}");
    }
}

#[test]
fn pyjwt_verifies_eddsa_tokens_with_the_published_keys() {
    let server = TestServer::builder().env("ALGORITHM", "EdDSA").start();
    let user = server.user();
    let keys = server.url("/.well-known/jwks.json");
    let claims = accepted(&user.token, "aldis", &keys).expect("a genuine token");
    assert_eq!(claims["sub"], user.id.as_str());
    assert_eq!(accepted(&user.token, "https://aldis.example", &keys), None);
    let forged = token::sign(&token::header(&user.token), &token::claims(&user.token));
    assert_eq!(accepted(&forged, "aldis", &keys), None, "HS256 is not what is configured");
}

#[test]
fn the_issuer_is_the_public_origin_where_one_is_configured() {
    let origin = "https://aldis.example";
    let user = TestServer::builder().env("ALDIS_PUBLIC_ORIGIN", origin).start().user();
    assert!(accepted(&user.token, origin, SECRET_KEY).is_some());
    assert_eq!(accepted(&user.token, "aldis", SECRET_KEY), None);
}
