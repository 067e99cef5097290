//! How the client proves who it is.

use std::{convert::Infallible, fmt, future::Future, sync::Arc};

use aldis_auth::{PublicKey, SecretKey, SigningRequest};
use aldis_client_core::{Proof, TokenError, TokenReason};
use aldis_protocol::{DeviceId, Secret};
use futures::future::BoxFuture;

use crate::BoxError;

/// What the client shows the server, at every attempt.
pub struct Credentials {
    pub(crate) proof: Proof,
    pub(crate) device_id: Option<DeviceId>,
    pub(crate) source: ProofSource,
}

/// Where proofs come from.
#[derive(Debug, Clone)]
pub(crate) enum ProofSource {
    Signer(Signer),
    Tokens(TokenProvider),
}

/// Signs for a key; see [`Credentials::signer`].
#[derive(Clone)]
pub(crate) struct Signer(Arc<dyn Fn(SigningRequest) -> BoxFuture<'static, Signature> + Send + Sync>);

/// A key's signature, or why there is none.
pub(crate) type Signature = Result<[u8; 64], BoxError>;

pub(crate) type TokenAnswer = Result<Secret<'static>, TokenError>;

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
        let public_key = identity.public_key();
        let key = Arc::new(identity);
        Self::signer(public_key, move |request| {
            let signature = key.sign_request(&request);
            async move { Ok::<_, Infallible>(signature) }
        })
    }

    /// A registered device's own key: it needs no TOTP code and can be removed without touching the identity.
    #[must_use]
    pub fn device_key(device_id: DeviceId, key: SecretKey) -> Self {
        Self::key(key).for_device(device_id)
    }

    /// A key that this program does not hold, of an identity or of a device: one in a hardware token or in the system's
    /// keychain. `sign` is called once a connection, with what the server asks to be signed; it may take until the
    /// handshake times out. An error is a failed attempt and followed by another one.
    ///
    /// ```
    /// use aldis_client::{Credentials, auth::{PublicKey, SigningRequest}};
    ///
    /// async fn sign_in_the_token(bytes: Vec<u8>) -> std::io::Result<[u8; 64]> {
    ///     // …
    /// #   Ok([0; 64])
    /// }
    ///
    /// fn credentials(key: PublicKey) -> Credentials {
    ///     Credentials::signer(key, |request: SigningRequest| sign_in_the_token(request.bytes().to_vec()))
    /// }
    /// # drop(credentials);
    /// ```
    #[must_use]
    pub fn signer<F, T, E>(key: PublicKey, sign: F) -> Self
    where
        F: Fn(SigningRequest) -> T + Send + Sync + 'static,
        T: Future<Output = Result<[u8; 64], E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let boxed = move |request| -> BoxFuture<'static, _> {
            let signature = sign(request);
            Box::pin(async move { signature.await.map_err(Into::into) })
        };
        let source = ProofSource::Signer(Signer(Arc::new(boxed)));
        Self { proof: Proof::Key(key), device_id: None, source }
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
        let source = ProofSource::Tokens(TokenProvider(Arc::new(boxed)));
        Self { proof: Proof::Token, device_id: None, source }
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
    async fn ask(self, reason: TokenReason) -> TokenAnswer {
        (self.0)(reason).await.map_err(|error| match error.downcast::<SignedOut>() {
            Ok(signed_out) => TokenError { error: signed_out.0, is_final: true },
            Err(error) => TokenError { error, is_final: false },
        })
    }
}

impl ProofSource {
    /// Asks for a token, where tokens are the proof.
    pub(crate) fn ask(&self, reason: TokenReason) -> Option<BoxFuture<'static, TokenAnswer>> {
        if let Self::Tokens(tokens) = self { Some(Box::pin(tokens.clone().ask(reason))) } else { None }
    }

    /// Has the key sign, where a key is the proof.
    pub(crate) fn sign(&self, request: SigningRequest) -> Option<BoxFuture<'static, Signature>> {
        if let Self::Signer(signer) = self { Some((signer.0)(request)) } else { None }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
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
        let secret = SecretKey::from_bytes(&[7; 32]);
        let public_key = secret.public_key();
        let key = Credentials::key(secret).for_device("phone".parse().unwrap());
        assert_eq!(
            format!("{key:?}"),
            format!("Credentials {{ proof: Key({public_key:?}), device_id: Some(DeviceId(\"phone\")) }}")
        );
        let token = Credentials::token(|_| async { Ok::<_, std::io::Error>("secret".into()) });
        assert_eq!(format!("{token:?}"), "Credentials { proof: Token, device_id: None }");
    }
}
