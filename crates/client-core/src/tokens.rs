//! The tokens of an account. They are renewed before they expire, once for all callers that wait.

use std::time::Duration;

use aldis_auth::PublicKey;
use aldis_protocol::{
    DeviceId, ErrorCode, Secret,
    api::{RefreshRequest, TokenResponse},
};

use crate::{AccountError, Answer, Call, CallError, Instant, SignIn, SignInError, SignInStep};

/// The server asks for re-authentication this long before a token expires, or after two thirds of a shorter life.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

/// How long after its issue an access token of this life is renewed.
#[must_use]
pub fn renewed_after(life: Duration) -> Duration {
    life - RENEWED_BEFORE.min(life / 3)
}

/// An access token and its number.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub token: Secret<'static>,
    /// Its number among the account's tokens, by which a caller names a token that the server refused.
    pub number: u64,
    renew_at: Instant,
}

/// The sign-in of an account.
#[derive(Debug)]
pub struct Tokens {
    access: Option<AccessToken>,
    refresh_token: Option<Secret<'static>>,
    /// Signed out, here or by the server. Only the application can sign in again.
    is_over: bool,
    /// Counts changes of the sign-in, and so its tokens.
    changes: u64,
    is_renewing: bool,
}

/// What a caller that needs an access token has to do.
#[derive(Debug)]
pub enum TokenDecision {
    /// Use this one.
    Use(AccessToken),
    /// Wait for the renewal in progress, because a refresh token can be used only once.
    Wait,
    /// Renew, and report the outcome to [`Tokens::handle_renewed`].
    Renew,
    /// Sign in again: this sign-in is over.
    SignedOut,
}

/// Names the sign-in that a renewal began with.
#[derive(Debug, Clone, Copy)]
pub struct RenewalOf(u64);

/// How tokens are renewed.
#[derive(Debug)]
pub enum Renewal {
    /// Make the call; [`AwaitingRefresh::handle_answer`] takes the outcome.
    Refresh(Box<Call>, AwaitingRefresh),
    /// Sign in as the device; [`Renewal::by_sign_in`] takes the outcome.
    SignIn(SignInStep),
    /// The renewal has ended.
    Done(Result<Box<TokenResponse>, AccountError>),
}

/// Takes the outcome of a refresh.
#[derive(Debug)]
pub struct AwaitingRefresh(Option<Box<Device>>);

#[derive(Debug)]
struct Device {
    key: PublicKey,
    id: DeviceId,
    audience: String,
}

impl Tokens {
    /// The tokens of a sign-in.
    #[must_use]
    pub fn issued(tokens: TokenResponse, now: Instant) -> Self {
        let mut issued = Self::saved(None);
        issued.take(tokens, now);
        issued
    }

    /// What was saved of a sign-in, if anything.
    #[must_use]
    pub const fn saved(refresh_token: Option<Secret<'static>>) -> Self {
        Self { access: None, refresh_token, is_over: false, changes: 0, is_renewing: false }
    }

    /// The refresh token, which has to be saved whenever it changes.
    #[must_use]
    pub const fn refresh_token(&self) -> Option<&Secret<'static>> {
        self.refresh_token.as_ref()
    }

    /// What a caller has to do. `refused` is the number of the token that the server refused, if it refused one.
    pub fn decide(&mut self, now: Instant, refused: Option<u64>) -> TokenDecision {
        if self.is_over {
            TokenDecision::SignedOut
        } else if let Some(access) = self.usable(now, refused) {
            TokenDecision::Use(access)
        } else if self.is_renewing {
            TokenDecision::Wait
        } else {
            self.is_renewing = true;
            TokenDecision::Renew
        }
    }

    /// Begins a renewal: by the refresh token, else by the key of the account's device at the server of this audience.
    #[must_use]
    pub fn renewal(&self, device: Option<(PublicKey, DeviceId)>, audience: &str) -> (RenewalOf, Renewal) {
        let audience = audience.to_owned();
        let device = device.map(|(key, id)| Box::new(Device { key, id, audience }));
        let renewal = match &self.refresh_token {
            Some(refresh_token) => Renewal::by_refresh(refresh_token.clone(), device),
            None => Renewal::by_device(device),
        };
        (RenewalOf(self.changes), renewal)
    }

    /// Takes the outcome of a renewal. If the user signed in again or out meanwhile, that counts.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn handle_renewed(
        &mut self,
        now: Instant,
        of: RenewalOf,
        outcome: Result<TokenResponse, AccountError>,
    ) -> Result<AccessToken, AccountError> {
        self.is_renewing = false;
        if self.changes != of.0 {
            return self.usable(now, None).ok_or(AccountError::SignedOut);
        }
        match outcome {
            Ok(tokens) => Ok(self.take(tokens, now)),
            Err(error) => {
                if error.ends_sign_in() {
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Continues with another sign-in; returns the access token of the one before.
    pub fn replace(&mut self, tokens: TokenResponse, now: Instant) -> Option<Secret<'static>> {
        let former = self.access.take().map(|access| access.token);
        self.take(tokens, now);
        self.is_over = false;
        former
    }

    /// Ends the sign-in.
    pub fn end(&mut self) {
        self.access = None;
        self.refresh_token = None;
        self.is_over = true;
        self.changes += 1;
    }

    fn take(&mut self, tokens: TokenResponse, now: Instant) -> AccessToken {
        self.changes += 1;
        let life = Duration::from_secs(tokens.expires_in);
        let access = AccessToken {
            token: tokens.access_token,
            number: self.changes,
            renew_at: now + renewed_after(life),
        };
        self.access = Some(access.clone());
        self.refresh_token = Some(tokens.refresh_token);
        access
    }

    /// The present token, unless it is about to expire or is the one that was refused.
    fn usable(&self, now: Instant, refused: Option<u64>) -> Option<AccessToken> {
        let is_good = |access: &&AccessToken| Some(access.number) != refused && now < access.renew_at;
        self.access.as_ref().filter(is_good).cloned()
    }
}

impl Renewal {
    fn by_refresh(refresh_token: Secret<'static>, device: Option<Box<Device>>) -> Self {
        match Call::post("/api/auth/refresh").json(&RefreshRequest { refresh_token }) {
            Ok(call) => Self::Refresh(Box::new(call), AwaitingRefresh(device)),
            Err(error) => Self::Done(Err(error.into())),
        }
    }

    fn by_device(device: Option<Box<Device>>) -> Self {
        match device.map(|device| *device) {
            Some(Device { key, id, audience }) => Self::SignIn(SignIn::by_key(key, &audience, Some(id))),
            None => Self::Done(Err(AccountError::SignedOut)),
        }
    }

    /// The sign-in as the device had this outcome. A device that was removed ends the account's sign-in.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn by_sign_in(outcome: Result<TokenResponse, SignInError>) -> Result<TokenResponse, AccountError> {
        outcome.map_err(|error| match error.code() {
            Some(ErrorCode::UnknownDevice) => AccountError::SignedOut,
            _ => error.into(),
        })
    }
}

impl AwaitingRefresh {
    /// The refresh had this outcome. A refresh token that is only too old is replaced by a sign-in as the device. One
    /// that was revoked or used twice is not: somebody wanted this sign-in to end.
    #[must_use]
    pub fn handle_answer(self, outcome: Result<Answer, CallError>) -> Renewal {
        match outcome {
            Ok(answer) => Renewal::Done(answer.json().map(Box::new).map_err(AccountError::from)),
            Err(error) if self.0.is_some() && error.refuses_token() => Renewal::by_device(self.0),
            Err(error) => Renewal::Done(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use aldis_protocol::UserId;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::HttpAnswer;

    fn tokens(number: u32, expires_in: u64) -> TokenResponse {
        let user_id = UserId::new(uuid::Uuid::nil());
        let body = serde_json::json!({
            "user_id": user_id, "access_token": format!("a{number}"), "refresh_token": format!("r{number}"),
            "token_type": "bearer", "expires_in": expires_in,
        });
        serde_json::from_value(body).unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn refused(code: &str) -> Result<Answer, CallError> {
        let body = Bytes::from(format!(r#"{{"code":"{code}","detail":"no"}}"#));
        HttpAnswer { status: StatusCode::UNAUTHORIZED, headers: HeaderMap::new(), body }.into_result()
    }

    fn device() -> (PublicKey, DeviceId) {
        (aldis_auth::SecretKey::from_bytes(&[1; 32]).public_key(), "desk".parse().unwrap())
    }

    #[test]
    fn a_token_is_used_until_a_minute_before_its_end_and_then_renewed_once() {
        let mut held = Tokens::issued(tokens(1, 900), at(0));
        assert!(
            matches!(held.decide(at(839), None), TokenDecision::Use(access) if access.token.expose() == "a1")
        );
        assert!(matches!(held.decide(at(840), None), TokenDecision::Renew));
        assert!(matches!(held.decide(at(840), None), TokenDecision::Wait));
        let (of, renewal) = held.renewal(None, "relay.test");
        assert!(matches!(renewal, Renewal::Refresh(..)));
        let access = held.handle_renewed(at(841), of, Ok(tokens(2, 900))).unwrap();
        assert_eq!((access.token.expose(), held.refresh_token().unwrap().expose()), ("a2", "r2"));
    }

    #[test]
    fn a_short_life_is_renewed_after_two_thirds_of_it() {
        let mut held = Tokens::issued(tokens(1, 30), at(0));
        assert!(matches!(held.decide(at(19), None), TokenDecision::Use(_)));
        assert!(matches!(held.decide(at(20), None), TokenDecision::Renew));
    }

    #[test]
    fn a_token_that_was_refused_is_renewed_unless_there_is_a_newer_one() {
        let mut held = Tokens::issued(tokens(1, 900), at(0));
        let TokenDecision::Use(first) = held.decide(at(1), None) else { panic!("{held:?}") };
        assert!(matches!(held.decide(at(1), Some(first.number)), TokenDecision::Renew));
        let (of, _) = held.renewal(None, "relay.test");
        held.handle_renewed(at(2), of, Ok(tokens(2, 900))).unwrap();
        assert!(matches!(held.decide(at(2), Some(first.number)), TokenDecision::Use(_)));
    }

    #[test]
    fn what_the_user_did_meanwhile_counts() {
        let mut held = Tokens::saved(Some("r0".into()));
        let (of, _) = held.renewal(None, "relay.test");
        held.replace(tokens(5, 900), at(0));
        assert_eq!(held.handle_renewed(at(1), of, Ok(tokens(1, 900))).unwrap().token.expose(), "a5");
        let (of, _) = held.renewal(None, "relay.test");
        held.end();
        assert!(matches!(held.handle_renewed(at(1), of, Ok(tokens(6, 900))), Err(AccountError::SignedOut)));
        assert!(
            matches!(held.decide(at(1), None), TokenDecision::SignedOut) && held.refresh_token().is_none()
        );
    }

    #[test]
    fn a_device_replaces_a_refresh_token_that_is_too_old_and_no_other() {
        let renewal = |code, device| {
            let held = Tokens::saved(Some("r0".into()));
            let (_, Renewal::Refresh(_, awaiting)) = held.renewal(device, "relay.test") else {
                panic!("{held:?}")
            };
            awaiting.handle_answer(refused(code))
        };
        assert!(matches!(renewal("expired_token", Some(device())), Renewal::SignIn(_)));
        for (code, device) in
            [("expired_token", None), ("refresh_reused", Some(device())), ("revoked", Some(device()))]
        {
            assert!(matches!(renewal(code, device), Renewal::Done(Err(_))), "{code}");
        }
        assert!(matches!(
            Tokens::saved(None).renewal(None, "relay.test").1,
            Renewal::Done(Err(AccountError::SignedOut))
        ));
    }

    #[test]
    fn a_refresh_token_that_was_used_twice_ends_the_sign_in() {
        let mut held = Tokens::saved(Some("r0".into()));
        let (of, _) = held.renewal(None, "relay.test");
        let error = refused("refresh_reused").unwrap_err().into();
        assert!(held.handle_renewed(at(1), of, Err(error)).is_err());
        assert!(matches!(held.decide(at(1), None), TokenDecision::SignedOut));
    }
}
