//! The keys that others encrypt to and verify with: owners publish them, signed-in users read them.

use aldis_auth::{EncryptionKey, MAX_CLOCK_SKEW_MS, PublicKey};
use aldis_protocol::{
    ErrorCode, UserId, UserRef,
    api::{DeviceKey, EncryptionKeyBody, UserKeys},
    statement::EncryptionKeyStatement,
};

use super::{Accounts, Caller};
use crate::{
    clock::Now,
    refusal::Refusal,
    store::{Device, Identity, KeyPublication, PublishedKey},
};

const UNKNOWN_USER: Refusal = Refusal::new(ErrorCode::NotFound, "there is no such user");
const LOW_ORDER: Refusal =
    Refusal::new(ErrorCode::InvalidKey, "`encryption_key` is no X25519 key, or one that hides nothing");
const UNSIGNED: Refusal = Refusal::new(
    ErrorCode::BadRequest,
    "missing field `created_at_ms` or `signature`: the account's identity has to sign the key",
);
const NOT_SIGNED_BY_IDENTITY: Refusal =
    Refusal::new(ErrorCode::InvalidSignature, "the signature is not of this user's identity");
const OLDER: Refusal =
    Refusal::new(ErrorCode::Conflict, "a key that was signed later is there; sign with the time of now");
const CLOCK_SKEW: Refusal =
    Refusal::new(ErrorCode::ClockSkew, "`created_at_ms` is over ten minutes ahead; set the clock");

impl Accounts {
    /// Publishes the caller's encryption key.
    pub(crate) async fn publish_encryption_key(
        &self,
        caller: &Caller,
        body: EncryptionKeyBody,
        now: Now,
    ) -> Result<EncryptionKeyBody, Refusal> {
        let key = EncryptionKey::from_bytes(&body.encryption_key).map_err(|_| LOW_ORDER)?;
        let signer = match self.identity_of(caller.user).await? {
            Some(identity) => Some(verify(&identity, &key, &body, now)?),
            None if body.signature.is_some() => return Err(NOT_SIGNED_BY_IDENTITY),
            None => None,
        };
        let published = PublishedKey {
            encryption_key: *key.as_bytes(),
            created_at_ms: body.created_at_ms.and_then(|ms| i64::try_from(ms).ok()),
            signature: body.signature,
        };
        let publication = self.store.publish_encryption_key(&caller.credential(), &published, signer).await?;
        match publication {
            KeyPublication::Published => Ok(body),
            KeyPublication::WrongSigner => Err(NOT_SIGNED_BY_IDENTITY),
            KeyPublication::Older => Err(OLDER),
        }
    }

    /// The keys of a user and of their devices.
    pub(crate) async fn keys_of(&self, user: UserRef) -> Result<UserKeys, Refusal> {
        let user_id = self.user_named(user).await?;
        let identity = self.identity_of(user_id).await?;
        let published = self.store.encryption_key_of(user_id).await?;
        let devices = self.store.devices_of(user_id).await?;
        Ok(UserKeys {
            user_id,
            fingerprint: identity.map(|identity| identity.fingerprint),
            active_key: identity.map(|identity| identity.active_key),
            encryption_key: published.map(|published| published.encryption_key),
            created_at_ms: published
                .and_then(|published| published.created_at_ms)
                .and_then(|ms| u64::try_from(ms).ok()),
            signature: published.and_then(|published| published.signature),
            devices: devices.into_iter().map(shown).collect(),
        })
    }

    async fn user_named(&self, user: UserRef) -> Result<UserId, Refusal> {
        match user {
            UserRef::Id(user) if self.store.has_account(user).await? => Ok(user),
            UserRef::Id(_) => Err(UNKNOWN_USER),
            UserRef::Fingerprint(fingerprint) => {
                let identity = self.store.identity_of_fingerprint(fingerprint).await?;
                identity.map(|identity| identity.user_id).ok_or(UNKNOWN_USER)
            }
        }
    }

    async fn identity_of(&self, user: UserId) -> Result<Option<Identity>, Refusal> {
        match self.store.fingerprint_of(user).await? {
            Some(fingerprint) => Ok(self.store.identity_of_fingerprint(fingerprint).await?),
            None => Ok(None),
        }
    }
}

/// Verifies that the identity signed the key. Returns the identity's key that signed.
fn verify(
    identity: &Identity,
    key: &EncryptionKey,
    body: &EncryptionKeyBody,
    now: Now,
) -> Result<[u8; 32], Refusal> {
    let (Some(created_at_ms), Some(signature)) = (body.created_at_ms, body.signature) else {
        return Err(UNSIGNED);
    };
    // A time far ahead would block every later key.
    if created_at_ms > now.unix_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
        return Err(CLOCK_SKEW);
    }
    let statement = EncryptionKeyStatement {
        fingerprint: identity.fingerprint,
        encryption_key: key.as_bytes(),
        created_at_ms,
    };
    let signer = PublicKey::from_bytes(&identity.active_key).map_err(|_| NOT_SIGNED_BY_IDENTITY)?;
    signer.verify(&statement.bytes(), &signature).map_err(|_| NOT_SIGNED_BY_IDENTITY)?;
    Ok(identity.active_key)
}

fn shown(device: Device) -> DeviceKey {
    DeviceKey {
        created_at_ms: device.signature.and_then(|_| u64::try_from(device.created_at_ms).ok()),
        device_id: device.device_id,
        pubkey: device.pubkey,
        signature: device.signature,
    }
}
