//! The account's own identity: link, publish and rotate it.

use aldis_auth::{Chain, EncryptionKey, Rotation, SecretKey, Statement};
use aldis_protocol::{
    Fingerprint, PendingRotation, Timestamp,
    api::{EncryptionKeyBody, LinkRequest, LinkResponse, UserKeys},
    statement::EncryptionKeyStatement,
};
use bytes::Bytes;

use super::Account;
use crate::{
    AccountError, IdentityError, PutBlobError,
    api::Call,
    clock::unix_ms,
    server::{Answered, MAX_BLOB_BYTES},
};

impl Account {
    /// Links a new key to an email account as its identity, after a login of the last five minutes. Call
    /// [`vouch_for_device`](Self::vouch_for_device) and [`publish_encryption_key`](Self::publish_encryption_key)
    /// next.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn link(&self, identity: &SecretKey) -> Result<Fingerprint, IdentityError> {
        let Answered { challenge, signature } =
            self.server().answer_challenge(identity, None).await.map_err(AccountError::from)?;
        let body = LinkRequest { public_key: *identity.public_key().as_bytes(), challenge, signature };
        let linked: LinkResponse = self
            .call(Call::post("/api/identity/link").json(&body)?)
            .await?
            .json()
            .map_err(AccountError::from)?;
        self.with_state(|state| state.fingerprint = Some(linked.fingerprint));
        self.keep().await.map_err(AccountError::from)?;
        Ok(linked.fingerprint)
    }

    /// Rotates the identity to a new key, after a login of the last five minutes. The new key is active at once. For
    /// 72 hours the old one can cancel the rotation ([`Server::cancel_rotation`](crate::Server::cancel_rotation)),
    /// and until then this account may not link a key, change password or TOTP, or delete itself.
    ///
    /// All other sign-ins of the user end, and all sockets close. The old key's statements about devices and the
    /// encryption key no longer count: call [`vouch_for_device`](Self::vouch_for_device) and
    /// [`publish_encryption_key`](Self::publish_encryption_key) with the new key. If the answer was lost, repeat the
    /// call to learn the outcome.
    ///
    /// # Errors
    /// [`IdentityError`]; `reason` has at most 200 bytes.
    pub async fn rotate(
        &self,
        old: &SecretKey,
        new: &SecretKey,
        reason: &str,
    ) -> Result<PendingRotation, IdentityError> {
        let fingerprint = self.own_fingerprint().await?;
        let chain = self.server().chain(fingerprint).await?;
        if let Some(already) = rotated_to(&chain, old, new) {
            return Ok(already);
        }
        if chain.state(unix_ms()).active_key != old.public_key() {
            return Err(IdentityError::NotActive);
        }
        let rotation = Rotation::sign(fingerprint, chain.head(), old, new, reason, unix_ms());
        let call = Call::post("/api/identity/rotate").json(&rotation.to_request())?;
        let pending = self.call(call).await?.json()?;
        Ok(pending)
    }

    /// Publishes the key that others encrypt to, signed by the identity's active key; unsigned if the account has no
    /// identity.
    ///
    /// # Errors
    /// [`IdentityError`]; without a signature where there is an identity,
    /// [`ErrorCode::BadRequest`](aldis_protocol::ErrorCode::BadRequest).
    pub async fn publish_encryption_key(
        &self,
        key: &EncryptionKey,
        identity: Option<&SecretKey>,
    ) -> Result<(), IdentityError> {
        let mut body =
            EncryptionKeyBody { encryption_key: *key.as_bytes(), created_at_ms: None, signature: None };
        if let Some(identity) = identity {
            let (fingerprint, created_at_ms) = (self.own_fingerprint().await?, unix_ms());
            let statement =
                EncryptionKeyStatement { fingerprint, encryption_key: key.as_bytes(), created_at_ms };
            body.created_at_ms = Some(created_at_ms);
            body.signature = Some(identity.sign_encryption_key(&statement));
        }
        self.call(Call::put("/api/keys/encryption").json(&body)?).await?;
        Ok(())
    }

    /// Publishes bytes, up to 256 KiB, for everybody who knows the fingerprint. They replace the version that
    /// `replaces` names ([`Blob::version`](crate::Blob::version)); with `None` there must be no version yet. Returns
    /// the new version.
    ///
    /// # Errors
    /// [`PutBlobError::Changed`] if there is another version, [`PutBlobError::Exists`] if there is one and none was
    /// named; [`PutBlobError`].
    pub async fn put_blob(
        &self,
        content: impl Into<Bytes>,
        replaces: Option<&str>,
    ) -> Result<String, PutBlobError> {
        let content = content.into();
        if content.len() > MAX_BLOB_BYTES {
            return Err(PutBlobError::TooLarge);
        }
        let mut call = Call::put("/api/identity/blob").bytes(content);
        if let Some(version) = replaces {
            call = call.if_match(version);
        }
        let answer = self.call(call).await?;
        Ok(answer.tag().map_err(AccountError::from)?)
    }

    /// The account's identity; asks the server if it is unknown.
    pub(super) async fn own_fingerprint(&self) -> Result<Fingerprint, IdentityError> {
        if let Some(fingerprint) = self.fingerprint() {
            return Ok(fingerprint);
        }
        let path = format!("/api/users/{}/keys", self.user_id());
        let keys: UserKeys = self.call(Call::get(path)).await?.json()?;
        let fingerprint = keys.fingerprint.ok_or(IdentityError::NoIdentity)?;
        self.with_state(|state| state.fingerprint = Some(fingerprint));
        Ok(fingerprint)
    }
}

/// Finds a rotation that was carried out although its answer was lost.
fn rotated_to(chain: &Chain, old: &SecretKey, new: &SecretKey) -> Option<PendingRotation> {
    let link = chain.links().last()?;
    let Statement::Rotation(rotation) = link.statement() else { return None };
    let is_it = rotation.old_key == old.public_key() && rotation.new_key == new.public_key();
    let deadline_ms = link.cancellation_deadline_ms().filter(|_| is_it)?;
    Some(PendingRotation::new(
        chain.head().sequence,
        link.hash(),
        Timestamp::from_ms(i64::try_from(deadline_ms).unwrap_or(i64::MAX)),
    ))
}
