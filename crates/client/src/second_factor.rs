//! Asking the user for the code of his authenticator app.

use std::{fmt, future::Future, sync::Arc};

use aldis_protocol::{ErrorCode, Secret};
use futures::future::BoxFuture;

use crate::SignInError;

/// How often the user is asked at one sign-in. The server locks the second factor at five wrong codes in 15 minutes;
/// that leaves two for the next sign-in.
pub const MAX_TOTP_TRIES: u32 = 3;

/// Why the user is asked for a TOTP code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TotpAsked {
    /// Which time it is at this sign-in, from 1 to [`MAX_TOTP_TRIES`].
    pub attempt: u32,
    /// Whether the code before this one was refused: wrong, or used already.
    pub was_wrong: bool,
}

/// Asks the user; see [`Server::totp`](crate::Server::totp).
#[derive(Clone)]
pub(crate) struct TotpPrompt(
    Arc<dyn Fn(TotpAsked) -> BoxFuture<'static, Option<Secret<'static>>> + Send + Sync>,
);

impl TotpPrompt {
    pub(crate) fn new<F, T>(ask: F) -> Self
    where
        F: Fn(TotpAsked) -> T + Send + Sync + 'static,
        T: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Arc::new(move |asked| {
            let answer = ask(asked);
            Box::pin(async move { answer.await.map(Secret::from) })
        }))
    }
}

/// Makes attempts until one needs no (other) code, the user gives up, or was asked often enough. The first is made
/// without one: whether there is a second factor, the server says only after the right first.
pub(crate) async fn with_code<T, F, A>(prompt: Option<&TotpPrompt>, attempt: A) -> Result<T, SignInError>
where
    F: Future<Output = Result<T, SignInError>>,
    A: Fn(Option<Secret<'static>>) -> F,
{
    let mut outcome = attempt(None).await;
    let Some(prompt) = prompt else { return outcome };
    for number in 1..=MAX_TOTP_TRIES {
        let Some(was_wrong) = outcome.as_ref().err().and_then(asks_for_code) else { break };
        let Some(code) = (prompt.0)(TotpAsked { attempt: number, was_wrong }).await else { break };
        outcome = attempt(Some(code)).await;
    }
    outcome
}

/// Whether the server wants a code, and if so, whether one was refused.
fn asks_for_code(error: &SignInError) -> Option<bool> {
    let was_wrong = error.code()? == ErrorCode::InvalidTotp;
    (was_wrong || error.code()? == ErrorCode::TotpRequired).then_some(was_wrong)
}

impl fmt::Debug for TotpPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpPrompt")
    }
}
