//! Blobs of identities: bytes that the server does not interpret.

use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    identity, row,
};
use aldis_protocol::{Fingerprint, Hash, UserId};

/// The precondition for overwriting a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// The caller named none: there must be no blob yet.
    Absent,
    /// There must be a blob.
    Any,
    /// There must be a blob with one of these hashes.
    OneOf(Vec<Hash>),
}

/// The outcome of publishing a blob. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobPublication {
    /// The blob was stored; this is its hash.
    Published(Hash),
    /// There is a blob, and the caller named no precondition.
    PreconditionRequired,
    /// The precondition does not hold.
    PreconditionFailed,
    /// The account has no identity.
    NoIdentity,
}

impl Precondition {
    fn check(&self, current: Option<Hash>) -> Result<(), BlobPublication> {
        match (self, current) {
            (Self::Absent, None) | (Self::Any, Some(_)) => Ok(()),
            (Self::Absent, Some(_)) => Err(BlobPublication::PreconditionRequired),
            (Self::OneOf(hashes), Some(current)) if hashes.contains(&current) => Ok(()),
            (Self::Any | Self::OneOf(_), _) => Err(BlobPublication::PreconditionFailed),
        }
    }
}

impl Store {
    /// Stores the blob of a user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn publish_blob(
        &self,
        credential: &Credential,
        content: &[u8],
        precondition: &Precondition,
    ) -> Result<BlobPublication, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let publication = publish(&mut tx, credential.user, content, precondition).await?;
        tx.end(matches!(publication, BlobPublication::Published(_))).await?;
        Ok(publication)
    }

    /// The blob of an identity and its hash, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn blob(&self, fingerprint: Fingerprint) -> Result<Option<(Vec<u8>, Hash)>, StoreError> {
        let select = "SELECT b.content, b.content_hash FROM identity_blobs b \
             JOIN identities i ON i.user_id = b.user_id WHERE i.fingerprint = $1";
        let found: Option<(Vec<u8>, Vec<u8>)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(fingerprint.0.to_vec()).fetch_optional(pool).await?
        });
        found.map(|(content, hash)| Ok((content, Hash(row::array(&hash)?)))).transpose()
    }
}

async fn publish(
    tx: &mut Tx,
    user: UserId,
    content: &[u8],
    precondition: &Precondition,
) -> Result<BlobPublication, StoreError> {
    if identity::active_key(tx, user).await?.is_none() {
        return Ok(BlobPublication::NoIdentity);
    }
    if let Err(refused) = precondition.check(current_hash(tx, user).await?) {
        return Ok(refused);
    }
    let hash = Hash::of(content);
    let upsert = "INSERT INTO identity_blobs (user_id, content, content_hash) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET content = excluded.content, content_hash = excluded.content_hash";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(user.as_uuid()).bind(content).bind(hash.0.to_vec());
        query.execute(connection).await?;
    });
    Ok(BlobPublication::Published(hash))
}

async fn current_hash(tx: &mut Tx, user: UserId) -> Result<Option<Hash>, StoreError> {
    let select = "SELECT content_hash FROM identity_blobs WHERE user_id = $1";
    let found: Option<Vec<u8>> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    Ok(row::optional_array(found.as_deref())?.map(Hash))
}
