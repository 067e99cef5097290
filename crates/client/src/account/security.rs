//! Password, second factor, and the end of the account.

use aldis_protocol::{
    Secret,
    api::{ChangePasswordRequest, TotpCodeRequest, TotpEnrollment},
};

use super::Account;
use crate::{AccountError, api::Call};

/// Room for the QR code.
const ENROLLMENT_BYTES: usize = 512 * 1024;

impl Account {
    /// Sets a new password, with the old one or after a login of the last five minutes. All other sign-ins of the
    /// user end.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn change_password(&self, old: Option<&str>, new: &str) -> Result<(), AccountError> {
        let body = ChangePasswordRequest {
            old_password: old.map(|old| Secret::from(old).into_owned()),
            new_password: Secret::from(new).into_owned(),
        };
        self.call(Call::post("/api/auth/password").json(&body)?).await.map(drop)
    }

    /// Begins the enrolment of a second factor, after a login of the last five minutes: what an authenticator app
    /// needs, and recovery codes for its owner to keep elsewhere. It is in force only after
    /// [`confirm_totp`](Self::confirm_totp).
    ///
    /// # Errors
    /// [`AccountError`]; while one is in force, [`ErrorCode::Conflict`](aldis_protocol::ErrorCode::Conflict).
    pub async fn enroll_totp(&self) -> Result<TotpEnrollment, AccountError> {
        let call = Call::post("/api/auth/totp/enroll").answer_up_to(ENROLLMENT_BYTES);
        Ok(self.call(call).await?.json()?)
    }

    /// Puts the second factor in force, by the first code that the app shows. Each code serves once.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn confirm_totp(&self, code: &str) -> Result<(), AccountError> {
        self.call(Call::post("/api/auth/totp/verify").json(&totp(code))?).await.map(drop)
    }

    /// Removes the second factor, with a code of the app or a recovery code.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn disable_totp(&self, code: &str) -> Result<(), AccountError> {
        self.call(Call::delete("/api/auth/totp").json(&totp(code))?).await.map(drop)
    }

    /// Deletes the account with all its data, after a login of the last five minutes. It cannot be restored.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn delete_account(&self) -> Result<(), AccountError> {
        self.call(Call::delete("/api/account")).await?;
        self.with_state(|state| state.device = None);
        self.forget_login().await
    }
}

fn totp(code: &str) -> TotpCodeRequest {
    TotpCodeRequest { code: Secret::from(code).into_owned() }
}
