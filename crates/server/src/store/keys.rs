//! Encryption keys: other users encrypt to them. The user's identity signs them, if there is one.

use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    identity, row,
};
use aldis_protocol::UserId;

/// An encryption key as its user published it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublishedKey {
    /// The X25519 key.
    pub(crate) encryption_key: [u8; 32],
    /// The time in its signed statement.
    pub(crate) created_at_ms: Option<i64>,
    /// The identity's signature of the statement.
    pub(crate) signature: Option<[u8; 64]>,
}

/// The outcome of publishing an encryption key. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPublication {
    /// The key was stored.
    Published,
    /// The signing key is not, or no longer, the active key of the user's identity.
    WrongSigner,
    /// There is a statement with a later time.
    Older,
}

impl Store {
    /// Stores the encryption key of a user. `signer` is the identity key whose signature was verified; `None` for a
    /// user without an identity.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn publish_encryption_key(
        &self,
        credential: &Credential,
        key: &PublishedKey,
        signer: Option<[u8; 32]>,
    ) -> Result<KeyPublication, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let publication = publish(&mut tx, credential.user, key, signer).await?;
        tx.end(publication == KeyPublication::Published).await?;
        Ok(publication)
    }

    /// The encryption key of a user, if they have published one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn encryption_key_of(&self, user: UserId) -> Result<Option<PublishedKey>, StoreError> {
        let select =
            "SELECT encryption_key, created_at_ms, signature FROM encryption_keys WHERE user_id = $1";
        let row: Option<KeyRow> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        row.map(|(encryption_key, created_at_ms, signature)| {
            Ok(PublishedKey {
                encryption_key: row::array(&encryption_key)?,
                created_at_ms,
                signature: row::optional_array(signature.as_deref())?,
            })
        })
        .transpose()
    }
}

type KeyRow = (Vec<u8>, Option<i64>, Option<Vec<u8>>);

async fn publish(
    tx: &mut Tx,
    user: UserId,
    key: &PublishedKey,
    signer: Option<[u8; 32]>,
) -> Result<KeyPublication, StoreError> {
    if identity::active_key(tx, user).await? != signer {
        return Ok(KeyPublication::WrongSigner);
    }
    let upsert = "INSERT INTO encryption_keys (user_id, encryption_key, created_at_ms, signature) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) DO UPDATE SET \
         encryption_key = excluded.encryption_key, created_at_ms = excluded.created_at_ms, \
         signature = excluded.signature WHERE encryption_keys.signature IS NULL \
         OR encryption_keys.created_at_ms <= excluded.created_at_ms";
    let written = within!(tx, connection => {
        sqlx::query(upsert)
            .bind(user.as_uuid())
            .bind(key.encryption_key.to_vec())
            .bind(key.created_at_ms)
            .bind(key.signature.map(|signature| signature.to_vec()))
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(if written == 1 { KeyPublication::Published } else { KeyPublication::Older })
}
