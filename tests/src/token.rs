//! Takes access tokens apart and builds them by hand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{SECRET_KEY, now_ms};

/// The header of a token.
#[must_use]
pub fn header(token: &str) -> Value {
    part(token, 0)
}

/// The claims of a token.
#[must_use]
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// Whether a token is signed with HS256 by the server's own key: the UTF-8 bytes of `SECRET_KEY`.
#[must_use]
pub fn is_genuine(token: &str) -> bool {
    token.rsplit_once('.').is_some_and(|(signed, signature)| mac(signed, SECRET_KEY) == signature)
}

/// A token of any header and claims, signed with HS256 by the server's own key.
#[must_use]
pub fn sign(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    format!("{signed}.{}", mac(&signed, SECRET_KEY))
}

/// A token of any header and claims, signed with HS256 by another key.
#[must_use]
pub fn sign_with(key: &str, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    format!("{signed}.{}", mac(&signed, key))
}

/// A token without a signature.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", encode(header), encode(claims))
}

/// A valid token with some claims changed, or removed if the new value is null.
#[must_use]
pub fn altered(token: &str, changes: &Value) -> String {
    let mut claims = claims(token);
    let members = claims.as_object_mut().expect("claims");
    for (name, value) in changes.as_object().expect("changes") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    sign(&header(token), &claims)
}

/// A valid token that was issued `age` seconds ago and expires in `left` seconds.
#[must_use]
pub fn aged(token: &str, age: u64, left: i64) -> String {
    let now = i64::try_from(now_ms() / 1000).expect("a time");
    let made = now - i64::try_from(age).expect("an age");
    altered(token, &json!({"iat": made, "nbf": made, "exp": now + left}))
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON in a token")
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn mac(signed: &str, key: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
