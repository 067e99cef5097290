//! How the client proves who it is.

use std::{fmt, future::Future, sync::Arc};

use aldis_auth::SecretKey;
use aldis_client_core::{Proof, TokenError, TokenReason};
use aldis_protocol::{DeviceId, Secret};
use futures::future::BoxFuture;

use crate::BoxError;

/// What the client shows the server, at every attempt.
pub struct Credentials {
    pub(crate) proof: Proof,
    pub(crate) device_id: Option<DeviceId>,
    pub(crate) tokens: Option<TokenProvider>,
}

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
    /// [`SignedOut`] stops the client. [`Account::token_credentials`](crate::Account::token_credentials) is such a
    /// provider.
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

/// The error of a token provider that will never have a token again, because its user is signed out: the client stops.
/// Any other error of a provider is followed by another attempt.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SignedOut(BoxError);

impl SignedOut {
    /// Wraps the reason, which [`ConnectionError::Token`](crate::ConnectionError::Token) then names.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }
}

impl TokenProvider {
    pub(crate) async fn ask(self, reason: TokenReason) -> Result<Secret<'static>, TokenError> {
        (self.0)(reason).await.map_err(|error| match error.downcast::<SignedOut>() {
            Ok(signed_out) => TokenError { error: signed_out.0, is_final: true },
            Err(error) => TokenError { error, is_final: false },
        })
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
