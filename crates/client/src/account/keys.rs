//! The keys of others.

use aldis_client_core::UserKeys;
use aldis_protocol::{UserRef, api};

use super::Account;
use crate::{IdentityError, api::Call, clock::unix_ms};

impl Account {
    /// The verified keys of a user: the identity's chain is checked as in [`Server::chain`](crate::Server::chain),
    /// each device and the encryption key by their statements.
    ///
    /// ```no_run
    /// use aldis_client::{Account, protocol::Fingerprint};
    ///
    /// # async fn example(account: &Account, friend: Fingerprint) -> Result<(), aldis_client::IdentityError> {
    /// let keys = account.keys_of(friend).await?;
    /// for device in &keys.devices {
    ///     println!("{} is theirs", device.device_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn keys_of(&self, user: impl Into<UserRef>) -> Result<UserKeys, IdentityError> {
        let user = user.into();
        let call = Call::get(format!("/api/users/{user}/keys"));
        let claimed: api::UserKeys = self.call(call).await?.json()?;
        let Some(fingerprint) = UserKeys::identity_of(&claimed, user)? else {
            return Ok(UserKeys::unverified(claimed));
        };
        let chain = self.server().chain(fingerprint).await?;
        Ok(self.server().with_pinned(|pins| UserKeys::verified(claimed, &chain, pins, unix_ms())))
    }
}
