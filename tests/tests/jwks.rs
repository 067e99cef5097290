//! The keys with which other services verify access tokens (docs/http.md, "Operations").

use aldis_auth::PublicKey;
use aldis_tests::{TestServer, token};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const PATH: &str = "/.well-known/jwks.json";

fn published(server: &TestServer) -> Vec<Value> {
    server.http().get(PATH).expects(200)["keys"].as_array().expect("keys").clone()
}

/// The published key that verifies a token, as another service would find it.
fn verifier<'a>(keys: &'a [Value], token: &str) -> Option<&'a Value> {
    let (signed, signature) = token.rsplit_once('.').expect("a token");
    let signature: [u8; 64] = bytes(signature);
    let kid = &token::header(token)["kid"];
    let key = keys.iter().find(|key| key["kid"] == *kid)?;
    let public = PublicKey::from_bytes(&bytes(key["x"].as_str().expect("x"))).expect("a key");
    public.verify(signed.as_bytes(), &signature).ok().map(|()| key)
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url").try_into().expect("its length")
}

#[test]
fn tokens_of_current_and_older_keys_verify_with_the_published_keys() {
    let server = TestServer::builder().env("ALGORITHM", "EdDSA").start();
    let before = server.user();
    let keys = published(&server);
    let expected = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(keys[0][name], *value, "{name}");
    }
    assert!(keys.len() == 1 && verifier(&keys, &before.token).is_some(), "{keys:?}");

    let directory = server.directory().to_str().unwrap().to_owned();
    let rotated = TestServer::builder().env("ALDIS_DATA_DIR", &directory).run(&["keys", "rotate"]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(server.terminate().success());
    server.restart_same_port();
    let after = server.user();
    let keys = published(&server);
    assert_eq!(keys.len(), 2);
    assert_eq!(verifier(&keys, &after.token), Some(&keys[0]), "the current one first");
    assert_eq!(verifier(&keys, &before.token), Some(&keys[1]));
    before.http().get("/devices/").expects(200);
}

#[test]
fn hs256_publishes_no_key() {
    TestServer::shared().http().get(PATH).expects_problem(404, "not_found");
}
