//! The blobs of identities: owners publish them, and everybody who knows the fingerprint reads them.

use aldis_protocol::{ErrorCode, Fingerprint, Hash};

use super::{Accounts, Caller, rotation::NO_IDENTITY};
use crate::{
    refusal::Refusal,
    store::{BlobPublication, Precondition},
};

const NO_BLOB: Refusal = Refusal::new(ErrorCode::NotFound, "there is no such blob");
const PRECONDITION_REQUIRED: Refusal = Refusal::new(
    ErrorCode::PreconditionRequired,
    "there is a blob; say which one you overwrite, with If-Match and its ETag",
);
const PRECONDITION_FAILED: Refusal =
    Refusal::new(ErrorCode::PreconditionFailed, "the blob is not the one that you saw; read it again");

impl Accounts {
    /// Publishes the blob of the caller's identity, and returns its hash.
    pub(crate) async fn publish_blob(
        &self,
        caller: &Caller,
        content: &[u8],
        precondition: &Precondition,
    ) -> Result<Hash, Refusal> {
        match self.store.publish_blob(&caller.credential(), content, precondition).await? {
            BlobPublication::Published(hash) => Ok(hash),
            BlobPublication::PreconditionRequired => Err(PRECONDITION_REQUIRED),
            BlobPublication::PreconditionFailed => Err(PRECONDITION_FAILED),
            BlobPublication::NoIdentity => Err(NO_IDENTITY),
        }
    }

    /// The blob of an identity, and its hash.
    pub(crate) async fn blob(&self, fingerprint: Fingerprint) -> Result<(Vec<u8>, Hash), Refusal> {
        self.store.blob(fingerprint).await?.ok_or(NO_BLOB)
    }
}
