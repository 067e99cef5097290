//! A signed-in user signs out, changes their password, or deletes their account.

use aldis_protocol::{AlertKind, DeviceId, ErrorCode, api::ChangePasswordRequest};

use super::{Accounts, Caller, passwords::HashCaller};
use crate::{
    clock::Now,
    refusal::Refusal,
    store::{Notice, PasswordChange},
};

const WRONG_PASSWORD: Refusal = Refusal::new(ErrorCode::InvalidCredentials, "`old_password` is wrong");
const BAD_PASSWORD: Refusal = Refusal::new(
    ErrorCode::BadRequest,
    "`new_password` has 8 characters or more, and at most 1,024 bytes (71 where the server hashes with bcrypt)",
);
const NO_PASSWORD: Refusal = Refusal::new(
    ErrorCode::Conflict,
    "the account has no address, and so no password; it is proved by its key",
);
const PASSWORD_CHANGED: Refusal =
    Refusal::new(ErrorCode::Conflict, "the password was changed at the same time; look which one it is now");
const PASSWORD_CHANGED_ALERT: Notice = Notice::of_account(AlertKind::PasswordChanged);

impl Accounts {
    /// Signs the caller out: of this sign-in, or of all.
    pub(crate) async fn logout(&self, caller: &Caller, everywhere: bool, now: Now) -> Result<(), Refusal> {
        self.store.revoke_families(&caller.credential(), everywhere, now.store_ms()).await?;
        tracing::info!(user = %caller.user, everywhere, "signed out");
        self.revoked(now).await;
        Ok(())
    }

    /// The address that the caller signs in with, if there is one.
    pub(crate) async fn address_of(&self, caller: &Caller) -> Result<Option<String>, Refusal> {
        Ok(self.store.email_of(caller.user).await?)
    }

    /// Sets a new password, and signs the caller out of all other sign-ins.
    pub(crate) async fn change_password(
        &self,
        caller: &Caller,
        request: ChangePasswordRequest,
        mut now: Now,
    ) -> Result<(), Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        let ChangePasswordRequest { old_password, new_password } = request;
        let credential = if old_password.is_some() { caller.credential() } else { caller.step_up(now)? };
        self.passwords.check(new_password.expose()).map_err(|_| BAD_PASSWORD)?;
        // An account without a password costs no hash.
        let stored = self.store.password_hash_of(caller.user).await?.ok_or(NO_PASSWORD)?;
        let permit = self.passwords.admit(HashCaller::User(caller.user))?;
        if let Some(old) = old_password {
            let old = old.expose().to_owned();
            let (verdict, later) = self.passwords.verify(&permit, old, Some(stored.clone()), "", now).await?;
            if !verdict.matches {
                return Err(WRONG_PASSWORD);
            }
            now = later;
        }
        let (fresh, now) = self.passwords.hash(&permit, new_password.expose().to_owned(), now).await?;
        match self.store.change_password(&credential, &stored, &fresh, now.store_ms()).await? {
            PasswordChange::Done => {
                tracing::info!(user = %caller.user, "password changed");
                self.revoked(now).await;
            }
            PasswordChange::Overtaken => return Err(PASSWORD_CHANGED),
        }
        let own: Vec<&DeviceId> = caller.device.iter().collect();
        self.notices.tell_written(caller.user, &PASSWORD_CHANGED_ALERT, &own, now).await;
        Ok(())
    }

    /// Deletes the caller's account.
    pub(crate) async fn delete_account(&self, caller: &Caller, now: Now) -> Result<(), Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        self.store.delete_account(&caller.step_up(now)?, now.store_ms()).await?;
        tracing::info!(user = %caller.user, "account deleted");
        self.revoked(now).await;
        Ok(())
    }
}
