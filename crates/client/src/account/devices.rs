//! The devices of the account.

use aldis_auth::SecretKey;
use aldis_protocol::{
    DeviceId,
    api::{Device, DeviceList},
};

use super::Account;
use crate::{
    AccountError, IdentityError,
    api::Call,
    server::{device_path, registration},
};

impl Account {
    /// All of the account's devices.
    ///
    /// ```no_run
    /// use aldis_client::Account;
    ///
    /// # async fn example(account: &Account) -> Result<(), aldis_client::AccountError> {
    /// for device in account.devices().await? {
    ///     println!("{} {:?}", device.device_id, device.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn devices(&self) -> Result<Vec<Device>, AccountError> {
        let list: DeviceList = self.call(Call::get("/devices/")).await?.json()?;
        Ok(list.devices)
    }

    /// Removes a device: its socket closes, its sign-ins are revoked, and its key proves nothing any more. Removing
    /// this program's own device signs the account out here.
    ///
    /// # Errors
    /// [`AccountError`]; an unknown device is [`ErrorCode::UnknownDevice`](aldis_protocol::ErrorCode::UnknownDevice).
    pub async fn remove_device(&self, device_id: &DeviceId) -> Result<(), AccountError> {
        self.call(Call::delete(device_path(device_id))).await?;
        if self.device().is_some_and(|device| device.id() == device_id) {
            self.with_state(|state| state.device = None);
            self.forget_login().await?;
        }
        Ok(())
    }

    /// Signs this program's device with the identity's key, so that others encrypt to it and trust its signatures.
    /// Call it after [`link`](Self::link), after a login by password, and with the new key after
    /// [`rotate`](Self::rotate). It needs a login of the last five minutes, as all of these do.
    ///
    /// # Errors
    /// [`IdentityError`]; a key that is not the identity's active one is
    /// [`ErrorCode::InvalidSignature`](aldis_protocol::ErrorCode::InvalidSignature).
    pub async fn vouch_for_device(&self, identity: &SecretKey) -> Result<(), IdentityError> {
        let device = self.device().ok_or(AccountError::NoDevice)?;
        let fingerprint = self.own_fingerprint().await?;
        let body = registration(&device, None, Some((fingerprint, identity)));
        self.call(Call::post("/devices/register").json(&body)?).await?;
        Ok(())
    }
}
