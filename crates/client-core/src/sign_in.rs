//! Signs in over HTTP, by a key or a password, as requests out and answers in.
//!
//! [`SignIn`] returns the first [`SignInStep`]. A step says what to do, and contains the value that takes the outcome
//! and returns the next step. The last step is [`SignInStep::Done`].

use std::sync::Arc;

use aldis_auth::{PublicKey, ReceivedChallenge, SigningRequest, VerifiedChallenge, verify_challenge};
use aldis_protocol::{
    DeviceId, ErrorCode, Secret,
    api::{ChallengeRequest, ChallengeResponse, LoginRequest, TokenResponse, VerifyRequest},
    statement::Transport,
};

use crate::{Answer, BoxError, Call, CallError, SignInError};

/// How often the user is asked for a code at one sign-in. The server locks the second factor at five wrong codes in 15
/// minutes; that leaves two for the next sign-in.
pub const MAX_TOTP_TRIES: u32 = 3;

/// Why the user is asked for a TOTP code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TotpAsked {
    /// The number of this attempt, from 1 to [`MAX_TOTP_TRIES`].
    pub attempt: u32,
    /// Whether the previous code was refused because it was wrong or already used.
    pub was_wrong: bool,
}

/// What to do next, and the value that takes the outcome.
///
/// It is exhaustive on purpose, because a shell has to carry out every one.
#[derive(Debug)]
pub enum SignInStep {
    /// Make the call.
    Call(Box<Call>, AwaitingAnswer),
    /// Have the key sign.
    Sign(Box<SigningRequest>, AwaitingSignature),
    /// Ask the user for a code of their authenticator app.
    AskCode(TotpAsked, AwaitingCode),
    /// The sign-in has ended.
    Done(Result<Box<TokenResponse>, SignInError>),
}

/// Begins sign-ins.
#[derive(Debug)]
pub struct SignIn(());

impl SignIn {
    /// Signs in with an address and a password, as a device if one is named.
    #[must_use]
    pub fn by_password(email: &str, password: &str, device_id: Option<DeviceId>) -> SignInStep {
        let password = Secret::from(password).into_owned();
        Attempt::begin(Box::new(Attempt::new(
            Proof::Password { email: email.to_owned(), password },
            device_id,
        )))
    }

    /// Signs in with a key, of an identity or of the device that is named, at the server of this
    /// [audience](crate::Endpoint::audience).
    #[must_use]
    pub fn by_key(key: PublicKey, audience: &str, device_id: Option<DeviceId>) -> SignInStep {
        Attempt::begin(Box::new(Attempt::new(Proof::Key { key, audience: audience.to_owned() }, device_id)))
    }
}

/// A challenge over HTTP that the key may sign.
#[derive(Debug)]
pub struct HttpChallenge {
    challenge: [u8; 32],
    verified: VerifiedChallenge,
}

impl HttpChallenge {
    /// The call that asks for one.
    ///
    /// # Errors
    /// [`CallError::Unwritable`].
    pub fn call(key: &PublicKey, device_id: Option<&DeviceId>) -> Result<Call, CallError> {
        let body = ChallengeRequest { public_key: *key.as_bytes(), device_id: device_id.cloned() };
        Call::post("/api/auth/challenge").json(&body)
    }

    /// Checks that the challenge in an answer is one of the server with this audience.
    ///
    /// # Errors
    /// [`SignInError`].
    pub fn verify(answer: &Answer, audience: &str, now_unix_ms: u64) -> Result<Self, SignInError> {
        let asked: ChallengeResponse = answer.json()?;
        let received = ReceivedChallenge {
            challenge: asked.challenge,
            audience: &asked.audience,
            expires_at_ms: asked.expires_at_ms,
            transport: Transport::Http,
        };
        let verified = verify_challenge(&received, audience, now_unix_ms)?;
        Ok(Self { challenge: asked.challenge, verified })
    }

    /// The challenge itself, which goes back with the signature.
    #[must_use]
    pub const fn challenge(&self) -> [u8; 32] {
        self.challenge
    }

    /// Asks a key to sign it, for a device if one is named.
    #[must_use]
    pub fn signing_request(&self, key: PublicKey, device_id: Option<&DeviceId>) -> SigningRequest {
        self.verified.signing_request(key, device_id)
    }
}

#[derive(Debug)]
struct Attempt {
    proof: Proof,
    device_id: Option<DeviceId>,
    code: Option<Secret<'static>>,
    /// How often the user was asked for a code.
    asked: u32,
}

#[derive(Debug)]
enum Proof {
    Password { email: String, password: Secret<'static> },
    Key { key: PublicKey, audience: String },
}

/// Takes the outcome of a call.
#[derive(Debug)]
pub struct AwaitingAnswer {
    attempt: Box<Attempt>,
    is_challenge: bool,
}

/// Takes the signature of a challenge.
#[derive(Debug)]
pub struct AwaitingSignature {
    attempt: Box<Attempt>,
    challenge: [u8; 32],
}

/// Takes a code.
#[derive(Debug)]
pub struct AwaitingCode {
    attempt: Box<Attempt>,
    error: SignInError,
}

impl AwaitingAnswer {
    /// The call had this outcome.
    #[must_use]
    pub fn handle_answer(self, now_unix_ms: u64, outcome: Result<Answer, CallError>) -> SignInStep {
        if self.is_challenge {
            self.attempt.check_challenge(now_unix_ms, outcome)
        } else {
            self.attempt.take_tokens(outcome)
        }
    }
}

impl AwaitingSignature {
    /// The key has signed, or could not.
    #[must_use]
    pub fn handle_signature(self, signature: Result<[u8; 64], BoxError>) -> SignInStep {
        match signature {
            Ok(signature) => self.attempt.verify(self.challenge, signature),
            Err(error) => SignInStep::Done(Err(SignInError::Signature(Arc::from(error)))),
        }
    }
}

impl AwaitingCode {
    /// The code that the user entered; `None` if they gave up or cannot be asked.
    #[must_use]
    pub fn handle_code(self, code: Option<Secret<'static>>) -> SignInStep {
        let Self { mut attempt, error } = self;
        if code.is_none() {
            return SignInStep::Done(Err(error));
        }
        attempt.code = code;
        attempt.asked += 1;
        attempt.begin()
    }
}

impl Attempt {
    const fn new(proof: Proof, device_id: Option<DeviceId>) -> Self {
        Self { proof, device_id, code: None, asked: 0 }
    }

    /// The first attempt has no code, because the server says whether there is a second factor only after a correct
    /// first factor.
    fn begin(self: Box<Self>) -> SignInStep {
        let call = match &self.proof {
            Proof::Password { email, password } => Call::post("/auth/login").json(&LoginRequest {
                email: email.clone(),
                password: password.clone(),
                totp_code: self.code.clone(),
                device_id: self.device_id.clone(),
            }),
            Proof::Key { key, .. } => HttpChallenge::call(key, self.device_id.as_ref()),
        };
        let is_challenge = matches!(self.proof, Proof::Key { .. });
        self.make(call, is_challenge)
    }

    fn check_challenge(self: Box<Self>, now_unix_ms: u64, outcome: Result<Answer, CallError>) -> SignInStep {
        let Proof::Key { key, audience } = &self.proof else { return self.take_tokens(outcome) };
        let checked = outcome
            .map_err(SignInError::from)
            .and_then(|answer| HttpChallenge::verify(&answer, audience, now_unix_ms));
        match checked {
            Ok(challenge) => {
                let request = challenge.signing_request(*key, self.device_id.as_ref());
                let awaiting = AwaitingSignature { attempt: self, challenge: challenge.challenge() };
                SignInStep::Sign(Box::new(request), awaiting)
            }
            Err(error) => SignInStep::Done(Err(error)),
        }
    }

    fn verify(self: Box<Self>, challenge: [u8; 32], signature: [u8; 64]) -> SignInStep {
        let Proof::Key { key, .. } = &self.proof else { return self.begin() };
        let body = VerifyRequest {
            public_key: *key.as_bytes(),
            challenge,
            signature,
            device_id: self.device_id.clone(),
            totp_code: self.code.clone(),
        };
        self.make(Call::post("/api/auth/verify").json(&body), false)
    }

    fn take_tokens(self: Box<Self>, outcome: Result<Answer, CallError>) -> SignInStep {
        let error = match outcome.and_then(|answer| answer.json()) {
            Ok(tokens) => return SignInStep::Done(Ok(Box::new(tokens))),
            Err(error) => error,
        };
        match wants_code(&error).filter(|_| self.asked < MAX_TOTP_TRIES) {
            Some(was_wrong) => {
                let asked = TotpAsked { attempt: self.asked + 1, was_wrong };
                SignInStep::AskCode(asked, AwaitingCode { attempt: self, error: error.into() })
            }
            None => SignInStep::Done(Err(error.into())),
        }
    }

    fn make(self: Box<Self>, call: Result<Call, CallError>, is_challenge: bool) -> SignInStep {
        match call {
            Ok(call) => SignInStep::Call(Box::new(call), AwaitingAnswer { attempt: self, is_challenge }),
            Err(error) => SignInStep::Done(Err(error.into())),
        }
    }
}

/// Whether the server wants a code, and if so, whether one was refused.
fn wants_code(error: &CallError) -> Option<bool> {
    let was_wrong = error.code()? == ErrorCode::InvalidTotp;
    (was_wrong || error.code()? == ErrorCode::TotpRequired).then_some(was_wrong)
}

#[cfg(test)]
mod tests {
    use aldis_auth::SecretKey;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::{Endpoint, HttpAnswer, HttpRequest};

    const NOW: u64 = 1_767_225_600_000;
    const AUDIENCE: &str = "relay.test";

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
        let status = StatusCode::from_u16(status).unwrap();
        HttpAnswer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) }.into_result()
    }

    fn refused(code: &str) -> Result<Answer, CallError> {
        answer(401, &format!(r#"{{"code":"{code}","detail":"no"}}"#))
    }

    fn tokens() -> Result<Answer, CallError> {
        let user_id = uuid::Uuid::nil();
        let body = format!(
            r#"{{"user_id":"{user_id}","access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":900}}"#
        );
        answer(200, &body)
    }

    fn challenge(audience: &str) -> Result<Answer, CallError> {
        let challenge = aldis_protocol::binary::encode(&[5; 32]);
        let expires_at_ms = NOW + 60_000;
        answer(
            200,
            &format!(
                r#"{{"challenge":"{challenge}","audience":"{audience}","expires_at_ms":{expires_at_ms}}}"#
            ),
        )
    }

    fn request(call: &Call) -> HttpRequest {
        call.to_request(&Endpoint::parse("https://relay.test").unwrap()).unwrap()
    }

    /// Expects a call of this path; gives its body and what takes the answer.
    fn calls(step: SignInStep, path: &str) -> (String, AwaitingAnswer) {
        let SignInStep::Call(call, awaiting) = step else { panic!("{step:?}") };
        let request = request(&call);
        assert_eq!(request.path, path);
        (String::from_utf8(request.body.to_vec()).unwrap(), awaiting)
    }

    fn asks(step: SignInStep) -> (TotpAsked, AwaitingCode) {
        let SignInStep::AskCode(asked, awaiting) = step else { panic!("{step:?}") };
        (asked, awaiting)
    }

    #[test]
    fn a_key_answers_a_challenge() {
        let step = SignIn::by_key(key().public_key(), AUDIENCE, Some("desk".parse().unwrap()));
        let (_, awaiting) = calls(step, "/api/auth/challenge");
        let SignInStep::Sign(to_sign, awaiting) = awaiting.handle_answer(NOW, challenge(AUDIENCE)) else {
            panic!("nothing to sign")
        };
        let signature = key().sign_request(&to_sign);
        let (body, awaiting) = calls(awaiting.handle_signature(Ok(signature)), "/api/auth/verify");
        assert!(body.contains(r#""device_id":"desk""#) && !body.contains("totp"), "{body}");
        let done = awaiting.handle_answer(NOW, tokens());
        assert!(matches!(&done, SignInStep::Done(Ok(tokens)) if tokens.expires_in == 900), "{done:?}");
    }

    #[test]
    fn a_challenge_of_another_server_is_not_signed() {
        let step = SignIn::by_key(key().public_key(), AUDIENCE, None);
        let (_, awaiting) = calls(step, "/api/auth/challenge");
        let done = awaiting.handle_answer(NOW, challenge("other.test"));
        assert!(matches!(done, SignInStep::Done(Err(SignInError::Challenge(_)))), "{done:?}");
    }

    #[test]
    fn a_key_that_does_not_sign_ends_it() {
        let step = SignIn::by_key(key().public_key(), AUDIENCE, None);
        let (_, awaiting) = calls(step, "/api/auth/challenge");
        let SignInStep::Sign(_, awaiting) = awaiting.handle_answer(NOW, challenge(AUDIENCE)) else {
            panic!("nothing to sign")
        };
        let done = awaiting.handle_signature(Err("the key is gone".into()));
        assert!(matches!(done, SignInStep::Done(Err(SignInError::Signature(_)))), "{done:?}");
    }

    #[test]
    fn a_code_is_asked_for_three_times() {
        let (body, mut awaiting) = calls(SignIn::by_password("ann@a.test", "secret", None), "/auth/login");
        assert!(!body.contains("totp"), "{body}");
        for attempt in 1..=MAX_TOTP_TRIES {
            let code = if attempt == 1 { "totp_required" } else { "invalid_totp" };
            let (asked, code) = asks(awaiting.handle_answer(NOW, refused(code)));
            assert_eq!(asked, TotpAsked { attempt, was_wrong: attempt > 1 });
            let step = code.handle_code(Some(format!("00000{attempt}").into()));
            let (body, next) = calls(step, "/auth/login");
            assert!(body.contains(&format!("00000{attempt}")), "{body}");
            awaiting = next;
        }
        let done = awaiting.handle_answer(NOW, refused("invalid_totp"));
        assert!(
            matches!(&done, SignInStep::Done(Err(error)) if error.code() == Some(ErrorCode::InvalidTotp)),
            "{done:?}"
        );
    }

    #[test]
    fn a_user_who_gives_up_gets_the_servers_word() {
        let (_, awaiting) = calls(SignIn::by_password("ann@a.test", "secret", None), "/auth/login");
        let (_, code) = asks(awaiting.handle_answer(NOW, refused("totp_required")));
        let done = code.handle_code(None);
        assert!(
            matches!(&done, SignInStep::Done(Err(error)) if error.code() == Some(ErrorCode::TotpRequired)),
            "{done:?}"
        );
    }
}
