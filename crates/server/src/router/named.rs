//! Users as clients name them: by id, or by the fingerprint of their identity.

use aldis_protocol::{UserId, UserRef};

use super::{Router, outlet::Outlet, stand_in::stand_in};
use crate::store::StoreError;

/// The user whom a session names, where nobody has to be asked.
pub(super) fn known_user(from: &Outlet, named: UserRef) -> Option<UserId> {
    match named {
        UserRef::Id(user) => Some(user),
        UserRef::Fingerprint(fingerprint) => (from.fingerprint == Some(fingerprint)).then_some(from.user),
    }
}

impl Router {
    /// The user whom somebody names, or one who stands for him where there is none.
    pub(super) async fn named_user(&self, by: UserId, named: UserRef) -> Result<UserId, StoreError> {
        let fingerprint = match named {
            UserRef::Id(user) => return Ok(user),
            UserRef::Fingerprint(fingerprint) => fingerprint,
        };
        let identity = self.store.identity_of_fingerprint(fingerprint).await?;
        Ok(identity.map_or_else(|| stand_in(by, &fingerprint.to_string()), |identity| identity.user_id))
    }
}
