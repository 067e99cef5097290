//! Access tokens: JSON Web Tokens that the server makes and verifies.

mod provider;

use std::fmt;

use aldis_protocol::{DeviceId, Hash, UserId};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, decode, decode_header, encode,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use uuid::Uuid;

use crate::SecretKey;

/// The longest token that is parsed.
pub const MAX_TOKEN_BYTES: usize = 4_096;
/// The shortest secret for HS256; a shorter one can be guessed from any token.
pub const MIN_SECRET_BYTES: usize = 32;
/// How much the clocks of two nodes may differ.
pub const TOKEN_LEEWAY_MS: u64 = 5_000;
/// The most older keys whose tokens are still accepted.
pub const MAX_RETIRED_TOKEN_KEYS: usize = 8;

/// The claims of an access token. Times are Unix seconds.
///
/// Issuer and audience are not included: [`TokenKeys`] writes its own and accepts no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: UserId,
    /// The family of the sign-in.
    pub sid: Uuid,
    /// The only device that the token is valid for, if it is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did: Option<DeviceId>,
    /// The token's own id.
    pub jti: String,
    /// When it was issued.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: u64,
    /// The time from which it is valid.
    #[serde(deserialize_with = "numeric_date")]
    pub nbf: u64,
    /// The time until which it is valid.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
    /// When its user last proved who they are by more than a token.
    #[serde(deserialize_with = "numeric_date")]
    pub auth_time: u64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is valid except for its expiry.
    #[error("the token has expired")]
    Expired,
    /// In every other case.
    #[error("the token is not valid")]
    Invalid,
}

/// The secret is shorter than [`MIN_SECRET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret for tokens has at least {MIN_SECRET_BYTES} bytes")]
pub struct SecretTooShort;

/// The token could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// Makes tokens with one key, and verifies those of this and older keys. Each key has one algorithm, whatever a
/// token's header says.
pub struct TokenKeys {
    current: TokenKey,
    retired: Vec<TokenKey>,
}

struct TokenKey {
    header: Header,
    kid: String,
    /// The public key, for an algorithm with which others can verify tokens.
    public: Option<[u8; 32]>,
    issuer: String,
    audience: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

impl TokenKeys {
    /// HS256: the UTF-8 bytes of the secret are the key.
    ///
    /// # Errors
    /// [`SecretTooShort`] if it has fewer than [`MIN_SECRET_BYTES`].
    pub fn hs256(secret: &str, issuer: &str, audience: &str) -> Result<Self, SecretTooShort> {
        let secret = secret.as_bytes();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(SecretTooShort);
        }
        let (signing, verifying) = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
        Ok(Self::new(Algorithm::HS256, &key_id(secret), signing, verifying, issuer, audience))
    }

    /// EdDSA over Ed25519: others can verify the tokens with the public key.
    #[must_use]
    pub fn eddsa(secret: &SecretKey, issuer: &str, audience: &str) -> Self {
        let public = secret.public_key();
        // Despite its name, the crate's own provider takes both halves as they are.
        let signing = EncodingKey::from_ed_der(&*secret.to_bytes());
        let verifying = DecodingKey::from_ed_der(public.as_bytes());
        let mut keys =
            Self::new(Algorithm::EdDSA, &key_id(public.as_bytes()), signing, verifying, issuer, audience);
        keys.current.public = Some(*public.as_bytes());
        keys
    }

    fn new(
        algorithm: Algorithm,
        kid: &str,
        signing: EncodingKey,
        verifying: DecodingKey,
        issuer: &str,
        audience: &str,
    ) -> Self {
        provider::install();
        let current = TokenKey {
            header: Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) },
            kid: kid.to_owned(),
            public: None,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            signing,
            verifying,
            validation: validation(algorithm, issuer, audience),
        };
        Self { current, retired: Vec::new() }
    }

    /// Also accepts tokens that an older key has signed and named in their header. At most [`MAX_RETIRED_TOKEN_KEYS`]
    /// are kept: the first ones added.
    #[must_use]
    pub fn with_retired(mut self, older: Self) -> Self {
        self.retired.push(older.current);
        self.retired.extend(older.retired);
        self.retired.truncate(MAX_RETIRED_TOKEN_KEYS);
        self
    }

    /// The id of the current key in the headers of its tokens. It is derived from the key, so it is the same on every
    /// node.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.current.kid
    }

    /// The public keys with their ids, the current one first. There are none for HS256.
    pub fn public_keys(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        let keys = std::iter::once(&self.current).chain(&self.retired);
        keys.filter_map(|key| Some((key.kid.as_str(), key.public.as_ref()?)))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`SigningFailed`], which does not happen with valid claims.
    pub fn mint(&self, claims: &Claims) -> Result<String, SigningFailed> {
        let key = &self.current;
        let issued = IssuedClaims { iss: &key.issuer, aud: &key.audience, claims };
        encode(&key.header, &issued, &key.signing).map_err(|_| SigningFailed)
    }

    /// Verifies a token. Its claims were true when it was made; the caller must check whether its user, family or
    /// device was revoked since.
    ///
    /// # Errors
    /// [`TokenError::Expired`] for a valid token whose expiry is at least [`TOKEN_LEEWAY_MS`] ago, otherwise
    /// [`TokenError::Invalid`].
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        self.key_of(token).verify(token, now_ms)
    }

    /// The key for a token. Without a key id, or with an unknown one, it is the current key, which refuses a token
    /// with an unknown id.
    fn key_of(&self, token: &str) -> &TokenKey {
        if self.retired.is_empty() {
            return &self.current;
        }
        let kid = decode_header(token).ok().and_then(|header| header.kid);
        self.retired.iter().find(|key| kid.as_ref() == Some(&key.kid)).unwrap_or(&self.current)
    }
}

impl TokenKey {
    fn verify(&self, token: &str, now_ms: u64) -> Result<Claims, TokenError> {
        let TokenData { header, claims, .. } =
            decode::<Claims>(token, &self.verifying, &self.validation).map_err(|_| TokenError::Invalid)?;
        if self.knows(&header) { within_its_time(claims, now_ms) } else { Err(TokenError::Invalid) }
    }

    fn knows(&self, header: &Header) -> bool {
        header.kid.as_ref().is_none_or(|kid| *kid == self.kid)
            && header.typ.as_ref().is_none_or(|typ| typ == "JWT")
            && header.crit.is_none()
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("kid", &self.current.kid).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    #[serde(flatten)]
    claims: &'a Claims,
}

/// A time as in RFC 7519: a number that may have a fraction, which is dropped.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumericDate {
        Whole(u64),
        Float(f64),
    }
    match NumericDate::deserialize(deserializer)? {
        NumericDate::Whole(seconds) => Ok(seconds),
        NumericDate::Float(seconds) if (0.0..MAX_FLOAT_DATE).contains(&seconds) => Ok(seconds as u64),
        NumericDate::Float(_) => Err(D::Error::custom("no time")),
    }
}

/// In seconds; far beyond any time, and below the limit of an integer.
const MAX_FLOAT_DATE: f64 = 1e15;

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    // The library would read the system's clock; `within_its_time` checks instead.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn within_its_time(claims: Claims, now_ms: u64) -> Result<Claims, TokenError> {
    let begins_ms = claims.nbf.max(claims.iat).max(claims.auth_time).saturating_mul(1_000);
    let ends_ms = claims.exp.saturating_mul(1_000).saturating_add(TOKEN_LEEWAY_MS);
    if begins_ms > now_ms.saturating_add(TOKEN_LEEWAY_MS) {
        Err(TokenError::Invalid)
    } else if ends_ms <= now_ms {
        Err(TokenError::Expired)
    } else {
        Ok(claims)
    }
}

fn key_id(key: &[u8]) -> String {
    Hash::of(&[b"aldis/v1/token-key-id\0", key].concat()).to_string().chars().take(16).collect()
}
