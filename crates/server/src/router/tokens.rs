//! Access and refresh tokens: given, checked, renewed.

use std::time::Duration;

use aldis_auth::{Claims, RefreshToken, TokenError};
use aldis_protocol::{
    DeviceId, ErrorCode, Fingerprint, UserId,
    api::{TokenResponse, TokenType},
};
use rand::RngExt;
use uuid::Uuid;

use super::{Denied, Router};
use crate::{
    clock::{Now, unix_ms_i64},
    store::{NewFamily, RefreshFamily, RefreshUse},
};

/// Who calls over HTTP, by a token that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    /// The device that the token is bound to.
    pub(crate) device: Option<DeviceId>,
}

const INVALID_REFRESH: Denied =
    Denied::new(ErrorCode::InvalidToken, "the refresh token is not valid; sign in again");

impl Router {
    /// Who shows this token over HTTP.
    pub(crate) fn caller(&self, token: &str, now: Now) -> Result<Caller, Denied> {
        self.check_token(token, now).map(|claims| Caller { user: claims.sub, device: claims.did })
    }

    /// Whether a token is good, without asking anybody.
    pub(crate) fn check_token(&self, token: &str, now: Now) -> Result<Claims, Denied> {
        if token.is_empty() {
            return Err(Denied::new(ErrorCode::MissingToken, "a token is needed"));
        }
        self.tokens.verify(token, now.unix_ms).map_err(|error| match error {
            TokenError::Expired => Denied::new(ErrorCode::ExpiredToken, "the token has expired; refresh it"),
            _ => Denied::new(ErrorCode::InvalidToken, "the token is not valid; sign in again"),
        })
    }

    /// Whether a token is good, and for this device. A token for one device opens no other.
    pub(crate) fn check_token_for(
        &self,
        token: &str,
        device: Option<&DeviceId>,
        now: Now,
    ) -> Result<Claims, Denied> {
        let claims = self.check_token(token, now)?;
        match (device, &claims.did) {
            (Some(asked), Some(bound)) if asked != bound => {
                Err(Denied::new(ErrorCode::InvalidToken, "the token is for another device"))
            }
            _ => Ok(claims),
        }
    }

    /// Begins a family of tokens with a login of now.
    pub(super) async fn begin_family(
        &self,
        user: UserId,
        device: Option<DeviceId>,
        fingerprint: Option<Fingerprint>,
    ) -> Result<TokenResponse, Denied> {
        let refresh = RefreshToken::first(rand::rng().random());
        let now_ms = unix_ms_i64();
        let family = NewFamily {
            family_id: Uuid::now_v7(),
            user_id: user,
            device_id: device.clone(),
            token_hash: refresh.hash(),
        };
        self.store.create_family(&family, now_ms).await?;
        let family = RefreshFamily {
            family_id: family.family_id,
            user_id: user,
            device_id: device,
            auth_time_ms: now_ms,
        };
        self.token_pair(family, &refresh, fingerprint)
    }

    /// Gives a new pair for a refresh token, which is used up by it.
    pub(crate) async fn refresh(&self, presented: &str) -> Result<TokenResponse, Denied> {
        let presented = RefreshToken::parse(presented).map_err(|_| INVALID_REFRESH)?;
        let successor = presented.successor(&self.successors);
        match self.store.use_refresh_token(&presented.hash(), &successor.hash(), unix_ms_i64()).await? {
            RefreshUse::Rotated(family) => {
                if let Some(device) = &family.device_id {
                    self.registered_to(family.user_id, device).await?;
                }
                self.token_pair(family, &successor, None)
            }
            RefreshUse::Reused(family) => {
                tracing::warn!(user = %family.user_id, "a refresh token was used twice");
                Err(Denied::new(ErrorCode::RefreshReused, "the refresh token was used before; sign in again"))
            }
            RefreshUse::Revoked(_) => {
                Err(Denied::new(ErrorCode::Revoked, "the session was revoked; sign in again"))
            }
            RefreshUse::Expired => {
                Err(Denied::new(ErrorCode::ExpiredToken, "the refresh token has expired; sign in again"))
            }
            RefreshUse::Unknown => Err(INVALID_REFRESH),
        }
    }

    fn token_pair(
        &self,
        family: RefreshFamily,
        refresh: &RefreshToken,
        fingerprint: Option<Fingerprint>,
    ) -> Result<TokenResponse, Denied> {
        let lifetime = self.settings.access_token_lifetime;
        let claims = claims(&family, lifetime, Now::read());
        let access_token = self.tokens.mint(&claims).map_err(|error| {
            tracing::error!(%error, "cannot sign a token");
            Denied::new(ErrorCode::Internal, "the server failed")
        })?;
        Ok(TokenResponse {
            access_token: access_token.into(),
            token_type: TokenType::Bearer,
            expires_in: lifetime.as_secs(),
            refresh_token: refresh.to_text().into(),
            user_id: family.user_id,
            fingerprint,
        })
    }
}

fn claims(family: &RefreshFamily, lifetime: Duration, now: Now) -> Claims {
    let now_s = now.unix_ms / 1000;
    Claims {
        sub: family.user_id,
        sid: family.family_id,
        did: family.device_id.clone(),
        jti: Uuid::now_v7().to_string(),
        iat: now_s,
        nbf: now_s,
        exp: now_s + lifetime.as_secs(),
        auth_time: u64::try_from(family.auth_time_ms).unwrap_or_default() / 1000,
    }
}
