//! A sign-in or a renewal of tokens, step by step.

use std::time::Duration;

use aldis_client_core::{
    AccountError, Answer, AwaitingAnswer, AwaitingCode, AwaitingRefresh, AwaitingSignature, BoxError, Call,
    CallError, Endpoint, Renewal, SignIn as CoreSignIn, SignInError, SignInStep, Tokens,
    protocol::{Secret, api::TokenResponse},
    renewed_after,
};
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{
    call::{Fetch, answer},
    connection::endpoint,
    failure::Failure,
    keys::key,
};

/// What has to be done next.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Step {
    Call { request: Fetch },
    Sign { bytes: Vec<u8> },
    AskCode { attempt: u32, was_wrong: bool },
    Done { tokens: Box<TokenResponse> },
    Fail { error: Failure },
}

/// A sign-in, or a renewal of tokens.
#[wasm_bindgen]
pub struct SignIn {
    endpoint: Endpoint,
    next: Next,
}

enum Next {
    Begin(Renewal),
    Answer(AwaitingAnswer),
    Refresh(AwaitingRefresh),
    Signature(AwaitingSignature),
    Code(AwaitingCode),
    Over,
}

#[wasm_bindgen]
impl SignIn {
    /// By address and password.
    pub fn by_password(url: &str, is_insecure: bool, email: &str, password: &str) -> Result<Self, String> {
        let endpoint = endpoint(url, is_insecure)?;
        let begin = CoreSignIn::by_password(email, password, None);
        Ok(Self { endpoint, next: Next::Begin(Renewal::SignIn(begin)) })
    }

    /// By an identity's key.
    pub fn by_key(url: &str, is_insecure: bool, public_key: &[u8]) -> Result<Self, String> {
        let endpoint = endpoint(url, is_insecure)?;
        let begin = CoreSignIn::by_key(key(public_key)?, &endpoint.audience, None);
        Ok(Self { endpoint, next: Next::Begin(Renewal::SignIn(begin)) })
    }

    /// By a refresh token.
    pub fn renewal(url: &str, is_insecure: bool, refresh_token: String) -> Result<Self, String> {
        let endpoint = endpoint(url, is_insecure)?;
        let (_, renewal) = Tokens::saved(Some(Secret::from(refresh_token))).renewal(None, &endpoint.audience);
        Ok(Self { endpoint, next: Next::Begin(renewal) })
    }

    /// The first step, as JSON.
    pub fn begin(&mut self) -> String {
        let Next::Begin(renewal) = self.take() else { return self.misused() };
        self.renew(renewal)
    }

    /// The call had this answer; as `call_answer` takes it.
    pub fn take_answer(
        &mut self,
        unix_ms: f64,
        status: u16,
        retry_after: Option<String>,
        body: String,
        failed: Option<String>,
    ) -> String {
        let answer: Result<Answer, CallError> = answer(status, retry_after, body, failed);
        match self.take() {
            Next::Answer(awaiting) => self.sign_in(awaiting.handle_answer(unix_ms as u64, answer)),
            Next::Refresh(awaiting) => self.renew(awaiting.handle_answer(answer)),
            Next::Begin(_) | Next::Signature(_) | Next::Code(_) | Next::Over => self.misused(),
        }
    }

    /// The key has signed.
    pub fn take_signature(&mut self, signature: &[u8]) -> String {
        let signature = signature.try_into().map_err(|_| "a signature has 64 bytes".into());
        self.signed(signature)
    }

    /// The key could not sign.
    pub fn take_no_signature(&mut self, error: &str) -> String {
        self.signed(Err(error.into()))
    }

    /// The user has named a code; none gives up.
    pub fn take_code(&mut self, code: Option<String>) -> String {
        let Next::Code(awaiting) = self.take() else { return self.misused() };
        self.sign_in(awaiting.handle_code(code.map(Secret::from)))
    }
}

impl SignIn {
    fn take(&mut self) -> Next {
        std::mem::replace(&mut self.next, Next::Over)
    }

    fn signed(&mut self, signature: Result<[u8; 64], BoxError>) -> String {
        let Next::Signature(awaiting) = self.take() else { return self.misused() };
        self.sign_in(awaiting.handle_signature(signature))
    }

    fn renew(&mut self, renewal: Renewal) -> String {
        match renewal {
            Renewal::Refresh(call, awaiting) => self.call(&call, Next::Refresh(awaiting)),
            Renewal::SignIn(step) => self.sign_in(step),
            Renewal::Done(Ok(tokens)) => write(&Step::Done { tokens }),
            Renewal::Done(Err(error)) => write(&Step::Fail { error: Failure::from(&error) }),
        }
    }

    fn sign_in(&mut self, step: SignInStep) -> String {
        match step {
            SignInStep::Call(call, awaiting) => self.call(&call, Next::Answer(awaiting)),
            SignInStep::Sign(request, awaiting) => {
                self.next = Next::Signature(awaiting);
                write(&Step::Sign { bytes: request.bytes().to_vec() })
            }
            SignInStep::AskCode(asked, awaiting) => {
                self.next = Next::Code(awaiting);
                write(&Step::AskCode { attempt: asked.attempt, was_wrong: asked.was_wrong })
            }
            SignInStep::Done(Ok(tokens)) => write(&Step::Done { tokens }),
            SignInStep::Done(Err(error)) => write(&Step::Fail { error: Failure::from(&error) }),
        }
    }

    fn call(&mut self, call: &Call, next: Next) -> String {
        match Fetch::of(call, &self.endpoint) {
            Ok(request) => {
                self.next = next;
                write(&Step::Call { request })
            }
            Err(error) => write(&Step::Fail { error: Failure::from(&error) }),
        }
    }

    fn misused(&self) -> String {
        write(&Step::Fail { error: Failure::mistake("internal", "this step was not asked for") })
    }
}

/// How long after its issue a token of this life is renewed: seconds in, milliseconds out.
#[wasm_bindgen]
pub fn renew_after(expires_in: f64) -> f64 {
    renewed_after(Duration::try_from_secs_f64(expires_in).unwrap_or_default()).as_secs_f64() * 1000.0
}

fn write(step: &Step) -> String {
    serde_json::to_string(step).unwrap_or_default()
}

impl From<&SignInError> for Failure {
    fn from(error: &SignInError) -> Self {
        if let SignInError::Call(error) = error {
            return error.into();
        }
        let code = match error {
            SignInError::Challenge(_) => "challenge_refused",
            SignInError::Signature(_) => "signing_failed",
            SignInError::NoDevice => "no_device",
            SignInError::NotSaved(_) | SignInError::OtherUser | SignInError::Call(_) | _ => "sign_in_failed",
        };
        Self::mistake(code, error.to_string()).judged(error.is_retryable(), error.needs_credentials())
    }
}

impl From<&AccountError> for Failure {
    fn from(error: &AccountError) -> Self {
        let failure = if let AccountError::Call(error) = error {
            Self::from(error)
        } else {
            let code = match error {
                AccountError::SignedOut => "signed_out",
                AccountError::Challenge(_) => "challenge_refused",
                AccountError::Signature(_) => "signing_failed",
                AccountError::NoDevice => "no_device",
                AccountError::NotSaved(_) | AccountError::Call(_) | _ => "renewal_failed",
            };
            Self::mistake(code, error.to_string())
        };
        let needs_credentials = error.needs_credentials();
        failure.judged(error.is_retryable(), needs_credentials).ending_sign_in(error.ends_sign_in())
    }
}
