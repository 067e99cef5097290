//! How the client proves who it is.

use std::{error::Error, fmt, future::Future, sync::Arc};

use aldis_auth::SecretKey;
use aldis_protocol::{DeviceId, Secret};
use futures::future::BoxFuture;

use crate::AccountError;

/// What the client shows the server, at every attempt.
pub struct Credentials {
    pub(crate) proof: Proof,
    pub(crate) device_id: Option<DeviceId>,
    pub(crate) tokens: Option<TokenProvider>,
}

/// The kind of proof, as far as the connection's logic has to know it.
#[derive(Debug)]
pub(crate) enum Proof {
    Key(Box<SecretKey>),
    Token,
}

/// Why a token provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenReason {
    /// The first attempt.
    First,
    /// An attempt after a break that had nothing to do with the token: one that is still good may be given again.
    Reconnecting,
    /// The token of the live connection ends within a minute; nothing is interrupted while the provider works.
    Expiring,
    /// The server refused the last token because its time is over, or ended the session for it.
    Expired,
    /// The server refused the last token. A second refusal in a row stops the client.
    Invalid,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// Asked for a token; see [`Credentials::token`].
#[derive(Clone)]
pub(crate) struct TokenProvider(
    Arc<dyn Fn(TokenReason) -> BoxFuture<'static, Result<Secret<'static>, BoxError>> + Send + Sync>,
);

impl Credentials {
    /// An identity's key. A key that the server never saw makes the account, where registration is open.
    ///
    /// The device is an ephemeral one, unless [`for_device`](Self::for_device) names it.
    #[must_use]
    pub fn key(identity: SecretKey) -> Self {
        Self { proof: Proof::Key(Box::new(identity)), device_id: None, tokens: None }
    }

    /// A registered device's own key: it needs no TOTP code and can be removed without touching the identity.
    #[must_use]
    pub fn device_key(device_id: DeviceId, key: SecretKey) -> Self {
        Self { proof: Proof::Key(Box::new(key)), device_id: Some(device_id), tokens: None }
    }

    /// Access tokens, from a provider that is asked before every attempt and again before a token expires, and is told
    /// why. It may take its time; an error is reported as a failed attempt and followed by another one.
    /// [`Account::token_credentials`](crate::Account::token_credentials) is such a provider; where its account is signed
    /// out, the client stops.
    ///
    /// ```
    /// use aldis_client::{Credentials, TokenReason};
    ///
    /// let credentials = Credentials::token(|why| async move {
    ///     match why {
    ///         TokenReason::Reconnecting => Ok::<_, std::io::Error>("the one from before".to_owned()),
    ///         _ => Ok("a new one".to_owned()),
    ///     }
    /// });
    /// # drop(credentials);
    /// ```
    #[must_use]
    pub fn token<F, T, E>(provider: F) -> Self
    where
        F: Fn(TokenReason) -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let boxed = move |reason| -> BoxFuture<'static, _> {
            let answer = provider(reason);
            Box::pin(async move { answer.await.map(Secret::from).map_err(Into::into) })
        };
        Self { proof: Proof::Token, device_id: None, tokens: Some(TokenProvider(Arc::new(boxed))) }
    }

    /// Names the device to connect as. An identity key registers a free id by naming it; with a token it must be a
    /// device of that user already. Only registered devices keep what is sent to them while they are away.
    #[must_use]
    pub fn for_device(self, device_id: DeviceId) -> Self {
        Self { device_id: Some(device_id), ..self }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("proof", &self.proof).field("device_id", &self.device_id).finish()
    }
}

/// Whether a provider will never have a token again: its account is signed out.
pub(crate) fn is_final(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref().is_some_and(AccountError::needs_credentials)
}

impl TokenProvider {
    pub(crate) fn ask(&self, reason: TokenReason) -> BoxFuture<'static, Result<Secret<'static>, BoxError>> {
        (self.0)(reason)
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_print_no_secret() {
        let key = Credentials::key(SecretKey::from_bytes(&[7; 32])).for_device("phone".parse().unwrap());
        assert_eq!(
            format!("{key:?}"),
            "Credentials { proof: Key(SecretKey(..)), device_id: Some(DeviceId(\"phone\")) }"
        );
        let token = Credentials::token(|_| async { Ok::<_, std::io::Error>("secret".into()) });
        assert_eq!(format!("{token:?}"), "Credentials { proof: Token, device_id: None }");
    }
}
