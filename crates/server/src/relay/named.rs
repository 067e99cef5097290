//! Users as clients name them: by id, or by the fingerprint of their identity.

use std::collections::HashSet;

use aldis_protocol::{UserId, UserRef};

use super::{Relay, decoy::decoy};
use crate::{link::SessionHandle, store::StoreError};

/// The user whom a reference names, if that needs no query.
pub(super) fn known_user(from: &SessionHandle, named: UserRef) -> Option<UserId> {
    match named {
        UserRef::Id(user) => Some(user),
        UserRef::Fingerprint(fingerprint) => (from.fingerprint == Some(fingerprint)).then_some(from.user),
    }
}

impl Relay {
    /// The user whom a reference names, or a decoy if there is none.
    pub(super) async fn named_user(&self, by: UserId, named: UserRef) -> Result<UserId, StoreError> {
        let fingerprint = match named {
            UserRef::Id(user) => return Ok(user),
            UserRef::Fingerprint(fingerprint) => fingerprint,
        };
        let identity = self.store.identity_of_fingerprint(fingerprint).await?;
        Ok(identity.map_or_else(|| decoy(by, &fingerprint.to_string()), |identity| identity.user_id))
    }

    /// The users whom references name, each once, by one query. Any id is accepted as a user's; an unknown
    /// fingerprint gets a decoy.
    pub(super) async fn users_named(&self, by: UserId, named: &[UserRef]) -> Result<Vec<UserId>, StoreError> {
        let fingerprints: Vec<_> = named
            .iter()
            .filter_map(|user| match user {
                UserRef::Fingerprint(fingerprint) => Some(*fingerprint),
                UserRef::Id(_) => None,
            })
            .collect();
        let known = self.store.users_of_fingerprints(&fingerprints).await?;
        let users = named.iter().map(|user| match user {
            UserRef::Id(id) => *id,
            UserRef::Fingerprint(fingerprint) => {
                known.get(fingerprint).copied().unwrap_or_else(|| decoy(by, &fingerprint.to_string()))
            }
        });
        let mut distinct = HashSet::new();
        Ok(users.filter(|user| distinct.insert(*user)).collect())
    }
}
