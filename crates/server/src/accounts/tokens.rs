//! Access and refresh tokens: issued, checked and refreshed.

use std::time::Duration;

use aldis_auth::{Claims, KeyRing, RefreshToken, RootKey, SecretKey, TokenError, TokenKeys};
use aldis_protocol::{
    AlertKind, DeviceId, ErrorCode, Fingerprint, UserId,
    api::{JsonWebKey, JsonWebKeySet, TokenResponse, TokenType},
    binary,
};
use rand::RngExt;
use uuid::Uuid;

use super::{Accounts, Caller, identity::UNKNOWN_DEVICE, revocations::TokenStatus};
use crate::{
    clock::Now,
    config::{Config, Origin, TokenAlgorithm},
    link::{SessionHandle, TokenLife},
    metrics::Method,
    refusal::{DISABLED, FACTOR_REQUIRED, REVOKED, Refusal},
    store::{FamilyCreation, LoginProof, NewFamily, Notice, REFRESH_IDLE_MS, RefreshFamily, RefreshUse},
};

/// A login that is about to begin a family of tokens.
pub(super) struct Login<'a> {
    pub(super) user: UserId,
    pub(super) device: Option<DeviceId>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) proof: LoginProof<'a>,
    /// Whether the second factor was shown.
    pub(super) second_factor: bool,
}

/// The configured key for HS256 tokens is too short.
#[derive(Debug, thiserror::Error)]
#[error("SECRET_KEY is too short; it needs at least 32 bytes")]
pub(crate) struct SecretKeyTooShort;

/// The issuer of a server that knows no public name of its own.
const NAMELESS_ISSUER: &str = "aldis";

pub(super) const INVALID_TOKEN: Refusal =
    Refusal::new(ErrorCode::InvalidToken, "the token is not valid; sign in again");
const EXPIRED_TOKEN: Refusal = Refusal::new(ErrorCode::ExpiredToken, "the token has expired; refresh it");
const REFRESH_REUSED_ALERT: Notice = Notice::of_account(AlertKind::RefreshReused);
const INVALID_REFRESH: Refusal =
    Refusal::new(ErrorCode::InvalidToken, "the refresh token is not valid; sign in again");

impl Accounts {
    /// Authenticates a token over HTTP.
    pub(crate) async fn caller(&self, token: &str, now: Now) -> Result<Caller, Refusal> {
        let claims = self.check_token(token, now)?;
        self.require_account(claims.sub).await?;
        Ok(Caller { user: claims.sub, device: claims.did, family: claims.sid, auth_time: claims.auth_time })
    }

    /// The public keys that verify access tokens. None if the secret is needed to verify them.
    pub(crate) fn token_verifiers(&self) -> Option<JsonWebKeySet> {
        let keys: Vec<_> =
            self.tokens.public_keys().map(|(kid, public)| JsonWebKey::ed25519(kid, public)).collect();
        (!keys.is_empty()).then_some(JsonWebKeySet { keys })
    }

    /// Checks a token without a query. One that expired a moment ago passes, because the clocks of nodes differ.
    pub(crate) fn check_token(&self, token: &str, now: Now) -> Result<Claims, Refusal> {
        if token.is_empty() {
            return Err(Refusal::new(ErrorCode::MissingToken, "a token is needed"));
        }
        let claims = self.tokens.verify(token, now.unix_ms).map_err(|error| match error {
            TokenError::Expired => EXPIRED_TOKEN,
            TokenError::Invalid => INVALID_TOKEN,
        })?;
        match self.revocations.status(&claims) {
            TokenStatus::InForce => Ok(claims),
            TokenStatus::Revoked => Err(REVOKED),
            TokenStatus::TooOld => {
                Err(Refusal::new(ErrorCode::ExpiredToken, "the token is too old; refresh it"))
            }
        }
    }

    /// Checks a new token of a live session. From then on the session ends with the token's family.
    pub(crate) fn renew_token(
        &self,
        session: &SessionHandle,
        token: &str,
        now: Now,
    ) -> Result<Claims, Refusal> {
        let claims = self.check_token_of_session(token, now)?;
        let is_its_own =
            claims.sub == session.user && claims.did.as_ref().is_none_or(|device| *device == session.device);
        // A session that a key proved ends with the key, whatever token it presents later.
        let renewed = || session.family().is_none() || self.revocations.renew(session, claims.sid);
        if is_its_own && !renewed() { Err(REVOKED) } else { Ok(claims) }
    }

    /// Checks a token for a session. One that expired a moment ago fails, because the session would end at once.
    fn check_token_of_session(&self, token: &str, now: Now) -> Result<Claims, Refusal> {
        let claims = self.check_token(token, now)?;
        if TokenLife::of(&claims).expires_ms > now.unix_ms { Ok(claims) } else { Err(EXPIRED_TOKEN) }
    }

    /// Checks a token for a session on this device. A token that is bound to a device is not valid on another.
    pub(crate) fn check_token_for(
        &self,
        token: &str,
        device: Option<&DeviceId>,
        now: Now,
    ) -> Result<Claims, Refusal> {
        let claims = self.check_token_of_session(token, now)?;
        match (device, &claims.did) {
            (Some(asked), Some(bound)) if asked != bound => {
                Err(Refusal::new(ErrorCode::InvalidToken, "the token is for another device"))
            }
            _ => Ok(claims),
        }
    }

    /// Begins a family of tokens. Returns none if the login is no longer valid: the account was deleted, or its password or
    /// key changed, while the proof was checked.
    pub(super) async fn begin_family(
        &self,
        login: Login<'_>,
        now: Now,
    ) -> Result<Option<TokenResponse>, Refusal> {
        let Login { user, device, fingerprint, proof, second_factor } = login;
        let refresh = RefreshToken::first(rand::rng().random());
        let now_ms = now.store_ms();
        let family = NewFamily {
            family_id: Uuid::now_v7(),
            user_id: user,
            device_id: device.clone(),
            token_hash: refresh.hash(),
            second_factor,
        };
        let method = method(&proof);
        let auth_time_ms = match self.store.create_family(&family, proof, now_ms).await? {
            FamilyCreation::Created { auth_time_ms } => auth_time_ms,
            FamilyCreation::Refused => return Ok(None),
            FamilyCreation::FactorRequired => return Err(FACTOR_REQUIRED),
            FamilyCreation::Disabled => return Err(DISABLED),
            FamilyCreation::UnknownDevice => return Err(UNKNOWN_DEVICE),
        };
        let device_id = device.as_ref().map(DeviceId::as_str);
        tracing::info!(%user, method = method.as_str(), device = device_id, second_factor, "signed in");
        let family = RefreshFamily {
            family_id: family.family_id,
            user_id: user,
            device_id: device,
            auth_time_ms,
            expires_at_ms: now_ms + REFRESH_IDLE_MS,
        };
        self.token_pair(family, &refresh, fingerprint, now).map(Some)
    }

    /// Exchanges a refresh token for a new pair. The token is used up.
    pub(crate) async fn refresh(&self, presented: &str, now: Now) -> Result<TokenResponse, Refusal> {
        let refreshed = self.try_refresh(presented, now).await;
        refreshed.inspect_err(|refusal| {
            self.metrics.lines.sign_in_refused(Method::Refresh, refusal.code, None);
        })
    }

    async fn try_refresh(&self, presented: &str, now: Now) -> Result<TokenResponse, Refusal> {
        let presented = RefreshToken::parse(presented).map_err(|_| INVALID_REFRESH)?;
        self.limit_refresh(&presented, now).await?;
        let successor = self.successor_of(&presented).await?;
        match self.store.use_refresh_token(&presented.hash(), &successor.hash(), now.store_ms()).await? {
            RefreshUse::Rotated(family) | RefreshUse::Repeated(family) => {
                self.token_pair(family, &successor, None, now)
            }
            RefreshUse::Reused(family) => Err(self.refresh_reused(&family, now).await),
            RefreshUse::Revoked => Err(REVOKED),
            RefreshUse::Expired => {
                Err(Refusal::new(ErrorCode::ExpiredToken, "the refresh token has expired; sign in again"))
            }
            RefreshUse::Unknown => Err(INVALID_REFRESH),
        }
    }

    /// The successor of a refresh token. If an older key derived a successor that is in use, it is that one again.
    async fn successor_of(&self, presented: &RefreshToken) -> Result<RefreshToken, Refusal> {
        let current = presented.successor(self.successors.current().1);
        let by_older_keys: Vec<_> =
            self.successors.iter().skip(1).map(|key| presented.successor(key)).collect();
        if by_older_keys.is_empty() {
            return Ok(current);
        }
        let followed = self.store.successor_of(&presented.hash()).await?;
        Ok(by_older_keys.into_iter().find(|successor| Some(successor.hash()) == followed).unwrap_or(current))
    }

    /// A refresh token was used twice, so somebody has a copy of it and its family is revoked. Alerts the user.
    async fn refresh_reused(&self, family: &RefreshFamily, now: Now) -> Refusal {
        tracing::warn!(user = %family.user_id, family = %family.family_id, "a refresh token was used twice");
        self.revoked(now).await;
        self.notices.tell_written(family.user_id, &REFRESH_REUSED_ALERT, &[], now).await;
        Refusal::new(ErrorCode::RefreshReused, "the refresh token was used before; sign in again")
    }

    fn token_pair(
        &self,
        family: RefreshFamily,
        refresh: &RefreshToken,
        fingerprint: Option<Fingerprint>,
        now: Now,
    ) -> Result<TokenResponse, Refusal> {
        let claims = claims(&family, self.settings.access_token_lifetime, now);
        let access_token = self.tokens.mint(&claims).map_err(|error| {
            tracing::error!(%error, "cannot sign a token");
            Refusal::new(ErrorCode::Internal, "the server failed")
        })?;
        Ok(TokenResponse {
            access_token: access_token.into(),
            token_type: TokenType::Bearer,
            expires_in: claims.exp.saturating_sub(claims.iat),
            refresh_token: refresh.to_text().into(),
            user_id: family.user_id,
            fingerprint,
        })
    }
}

const fn method(proof: &LoginProof<'_>) -> Method {
    match proof {
        LoginProof::Password(_) => Method::Password,
        LoginProof::IdentityKey(_) => Method::Key,
        LoginProof::DeviceKey(_) => Method::DeviceKey,
    }
}

/// The claims of an access token. It expires with its family at the latest, so a revocation of a family that has ended
/// need not be remembered.
fn claims(family: &RefreshFamily, lifetime: Duration, now: Now) -> Claims {
    let now_s = now.unix_ms / 1000;
    let family_ends_s = u64::try_from(family.expires_at_ms).unwrap_or_default() / 1000;
    Claims {
        sub: family.user_id,
        sid: family.family_id,
        did: family.device_id.clone(),
        jti: Uuid::now_v7().to_string(),
        iat: now_s,
        nbf: now_s,
        exp: (now_s + lifetime.as_secs()).min(family_ends_s),
        auth_time: u64::try_from(family.auth_time_ms).unwrap_or_default() / 1000,
    }
}

pub(super) fn keys(config: &Config, ring: &KeyRing) -> Result<TokenKeys, SecretKeyTooShort> {
    let keys = keys_of(config, ring.current())?;
    if config.algorithm == TokenAlgorithm::Hs256 && config.secret_key.is_some() {
        // This one key does not come from the ring.
        return Ok(keys);
    }
    ring.iter().skip(1).try_fold(keys, |keys, older| Ok(keys.with_retired(keys_of(config, older)?)))
}

/// A token names this server as its issuer and audience, so two servers with the same secret do not accept each other's
/// tokens.
fn keys_of(config: &Config, root: &RootKey) -> Result<TokenKeys, SecretKeyTooShort> {
    let issuer = config.public_origin.as_ref().map_or(NAMELESS_ISSUER, Origin::as_str);
    match (config.algorithm, &config.secret_key) {
        (TokenAlgorithm::EdDsa, _) => {
            let secret = SecretKey::from_bytes(root.sub_key("access-tokens-eddsa").as_bytes());
            Ok(TokenKeys::eddsa(&secret, issuer, issuer))
        }
        (TokenAlgorithm::Hs256, Some(secret)) => {
            TokenKeys::hs256(secret.expose(), issuer, issuer).map_err(|_| SecretKeyTooShort)
        }
        (TokenAlgorithm::Hs256, None) => {
            let secret = binary::encode(root.sub_key("access-tokens-hs256").as_bytes());
            TokenKeys::hs256(&secret, issuer, issuer).map_err(|_| SecretKeyTooShort)
        }
    }
}
