//! The keys that verify access tokens.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// What `GET /.well-known/jwks.json` answers (RFC 7517): the current key first, then those whose tokens still count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JsonWebKeySet {
    /// The keys.
    pub keys: Vec<JsonWebKey>,
}

/// A public key that verifies signatures, Ed25519 in the form of RFC 8037.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JsonWebKey {
    /// The family of keys.
    pub kty: Cow<'static, str>,
    /// The curve.
    pub crv: Cow<'static, str>,
    /// The algorithm of the tokens, as their headers name it.
    pub alg: Cow<'static, str>,
    /// What it is for.
    #[serde(rename = "use")]
    pub usage: Cow<'static, str>,
    /// Its name in the headers of its tokens.
    pub kid: String,
    /// The key: base64url without padding, as this form has it.
    pub x: String,
}

impl JsonWebKey {
    /// An Ed25519 key under the name that its tokens give it.
    #[must_use]
    pub fn ed25519(kid: &str, public_key: &[u8; 32]) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
            kid: kid.to_owned(),
            x: BASE64_URL_SAFE_NO_PAD.encode(public_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8037, appendix A.2.
    #[test]
    fn a_key_has_the_form_of_rfc_8037() {
        let key: crate::Hash =
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse().unwrap();
        let json = serde_json::to_value(JsonWebKey::ed25519("one", &key.0)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "one",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            })
        );
    }
}
