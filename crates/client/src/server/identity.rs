//! Identities as everybody may look them up; and the one change that needs no login.

use aldis_auth::{Cancellation, Chain, SecretKey, Statement};
use aldis_protocol::{
    ErrorCode, Fingerprint, PendingRotation,
    api::{CancelResponse, ChainHead, ChainResponse, IdentityResponse},
};
use bytes::Bytes;

use super::Server;
use crate::{CallError, IdentityError, api::Call, clock::unix_ms};

/// The largest blob.
pub(crate) const MAX_BLOB_BYTES: usize = 256 * 1024;
/// Room for the 1,000 statements of a chain, each with the longest reason.
const CHAIN_BYTES: usize = 3 * 1024 * 1024;

/// What an identity published: bytes that the server does not look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The bytes.
    pub content: Bytes,
    /// Names this content: what [`Account::put_blob`](crate::Account::put_blob) replaces.
    pub version: String,
}

impl Server {
    /// An identity in short, on the server's word alone. [`chain`](Self::chain) proves it.
    ///
    /// # Errors
    /// [`CallError`]; one that is not there is [`ErrorCode::NotFound`].
    pub async fn look_up(&self, fingerprint: Fingerprint) -> Result<IdentityResponse, CallError> {
        self.call(&Call::get(format!("/api/identity/{fingerprint}"))).await?.json()
    }

    /// The chain of an identity: verified, held against what was seen of it before, and remembered. Its
    /// [`state`](Chain::state) says which key is active.
    ///
    /// ```no_run
    /// use aldis_client::{Server, protocol::Fingerprint};
    ///
    /// # async fn example(server: &Server, fingerprint: Fingerprint) -> Result<(), aldis_client::IdentityError> {
    /// let chain = server.chain(fingerprint).await?;
    /// println!("{} statements", chain.links().len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`IdentityError`]; a shorter chain than was seen, or another, is [`IdentityError::Forked`] each time.
    pub async fn chain(&self, fingerprint: Fingerprint) -> Result<Chain, IdentityError> {
        let call = Call::get(format!("/api/identity/{fingerprint}/chain")).answer_up_to(CHAIN_BYTES);
        let response: ChainResponse = self.call(&call).await?.json()?;
        let chain = Chain::from_response(fingerprint, &response)?;
        self.with_pinned(|pins| pins.see(&chain, unix_ms()))?;
        Ok(chain)
    }

    /// What an identity published, if it did.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn blob(&self, fingerprint: Fingerprint) -> Result<Option<Blob>, CallError> {
        let call = Call::get(format!("/api/identity/blob/{fingerprint}")).answer_up_to(MAX_BLOB_BYTES);
        match self.call(&call).await {
            Ok(answer) => Ok(Some(Blob { version: answer.tag()?, content: answer.into_body() })),
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes back the rotation of an identity that its chain shows, by the key that it replaced: within 72 hours, and
    /// without a login. All sign-ins of the account end.
    ///
    /// # Errors
    /// [`IdentityError::NothingToCancel`] where the chain has no rotation that this key can cancel;
    /// [`IdentityError`].
    pub async fn cancel_rotation(
        &self,
        fingerprint: Fingerprint,
        replaced_key: &SecretKey,
    ) -> Result<CancelResponse, IdentityError> {
        let chain = self.chain(fingerprint).await?;
        if let Some(already) = cancelled_by(&chain, replaced_key) {
            return Ok(already);
        }
        let provisional = chain.state(unix_ms()).provisional;
        let by_this_key = provisional.filter(|it| it.old_key == replaced_key.public_key());
        let rotation = by_this_key.ok_or(IdentityError::NothingToCancel)?.rotation;
        self.cancel(fingerprint, rotation, replaced_key).await
    }

    /// The same for a rotation that a refusal has named: [`ConnectionError::Refused`](crate::ConnectionError::Refused)
    /// on the socket, [`SignInError::pending_rotation`](crate::SignInError::pending_rotation) over HTTP. It is one
    /// call, for a moment in which every second counts.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn cancel_pending(
        &self,
        fingerprint: Fingerprint,
        pending: &PendingRotation,
        replaced_key: &SecretKey,
    ) -> Result<CancelResponse, IdentityError> {
        let rotation = ChainHead { sequence: pending.sequence, hash: pending.hash };
        self.cancel(fingerprint, rotation, replaced_key).await
    }

    async fn cancel(
        &self,
        fingerprint: Fingerprint,
        rotation: ChainHead,
        replaced_key: &SecretKey,
    ) -> Result<CancelResponse, IdentityError> {
        let cancellation = Cancellation::sign(fingerprint, rotation, replaced_key, unix_ms());
        let body = cancellation.to_request(fingerprint);
        let call = Call::post("/api/identity/rotate/cancel").json(&body)?;
        Ok(self.call(&call).await?.json()?)
    }
}

/// A cancellation that was carried out although its answer got lost.
fn cancelled_by(chain: &Chain, key: &SecretKey) -> Option<CancelResponse> {
    let Statement::Cancellation(cancellation) = chain.links().last()?.statement() else { return None };
    let ChainHead { sequence, hash } = chain.head();
    (cancellation.signer_key == key.public_key()).then(|| CancelResponse {
        sequence,
        hash,
        active_key: *cancellation.signer_key.as_bytes(),
    })
}
