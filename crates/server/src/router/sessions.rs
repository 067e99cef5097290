//! Signing out, and what only somebody may do who proved a moment ago who he is.

use aldis_protocol::{AlertKind, DeviceId, ErrorCode, api::ChangePasswordRequest};

use super::{Caller, Denied, Router, passwords::HashCaller};
use crate::{
    clock::{Now, unix_ms_i64},
    link::Outlet,
    store::{Credential, Notice, PasswordChange},
};

/// How long a login counts as of now, in seconds.
const STEP_UP_SECONDS: u64 = 5 * 60;

pub(super) const STEP_UP_REQUIRED: Denied =
    Denied::new(ErrorCode::StepUpRequired, "this needs a login of the last five minutes; sign in again");
const WRONG_PASSWORD: Denied = Denied::new(ErrorCode::InvalidCredentials, "`old_password` is wrong");
const BAD_PASSWORD: Denied = Denied::new(
    ErrorCode::BadRequest,
    "`new_password` has 8 characters or more, and at most 1,024 bytes (71 where the server hashes with bcrypt)",
);
const NO_PASSWORD: Denied = Denied::new(
    ErrorCode::Conflict,
    "the account has no address, and so no password; it is proved by its key",
);
const PASSWORD_CHANGED: Denied =
    Denied::new(ErrorCode::Conflict, "the password was changed at the same time; look which one it is now");
const PASSWORD_CHANGED_ALERT: Notice = Notice::of_account(AlertKind::PasswordChanged);

impl Caller {
    /// What the caller's changes are asked with.
    pub(super) fn credential(&self) -> Credential {
        Credential::token(self.user, self.family, self.device.clone())
    }

    /// The same, if the caller signed in a moment ago. What makes a stolen token a lasting credential asks for it.
    pub(super) fn step_up(&self, now: Now) -> Result<Credential, Denied> {
        let since_login = (now.unix_ms / 1000).saturating_sub(self.auth_time);
        if since_login <= STEP_UP_SECONDS {
            Ok(Credential::recent_login(self.user, self.family, self.device.clone()))
        } else {
            Err(STEP_UP_REQUIRED)
        }
    }
}

impl Router {
    /// Signs the caller out, here or everywhere.
    pub(crate) async fn logout(&self, caller: &Caller, everywhere: bool) -> Result<(), Denied> {
        self.store.revoke_families(&caller.credential(), everywhere, unix_ms_i64()).await?;
        self.revoked().await;
        Ok(())
    }

    /// The address that the caller signs in with, if there is one.
    pub(crate) async fn address_of(&self, caller: &Caller) -> Result<Option<String>, Denied> {
        Ok(self.store.email_of(caller.user).await?)
    }

    /// Sets another password, and signs the caller out everywhere but here.
    pub(crate) async fn change_password(
        &self,
        caller: &Caller,
        request: ChangePasswordRequest,
        now: Now,
    ) -> Result<(), Denied> {
        self.forbid_while_provisional(caller, now).await?;
        let ChangePasswordRequest { old_password, new_password } = request;
        let credential = if old_password.is_some() { caller.credential() } else { caller.step_up(now)? };
        self.passwords.check(new_password.expose()).map_err(|_| BAD_PASSWORD)?;
        // An account without a password costs no hash.
        let stored = self.store.password_hash_of(caller.user).await?.ok_or(NO_PASSWORD)?;
        let leave = self.passwords.admit(HashCaller::User(caller.user))?;
        if let Some(old) = old_password {
            let old = old.expose().to_owned();
            if !self.passwords.verify(&leave, old, Some(stored.clone()), "").await?.matches {
                return Err(WRONG_PASSWORD);
            }
        }
        let fresh = self.passwords.hash(&leave, new_password.expose().to_owned()).await?;
        match self.store.change_password(&credential, &stored, &fresh, unix_ms_i64()).await? {
            PasswordChange::Done => self.revoked().await,
            PasswordChange::Overtaken => return Err(PASSWORD_CHANGED),
        }
        let own: Vec<&DeviceId> = caller.device.iter().collect();
        // What a key has proved goes on, with the caller's own sign-in.
        let ends = |outlet: &Outlet| outlet.family().is_some_and(|family| family != caller.family);
        self.notify_around(caller.user, PASSWORD_CHANGED_ALERT, &own, ends).await;
        Ok(())
    }

    /// Deletes the caller's account.
    pub(crate) async fn delete_account(&self, caller: &Caller, now: Now) -> Result<(), Denied> {
        self.forbid_while_provisional(caller, now).await?;
        self.store.delete_account(&caller.step_up(now)?, unix_ms_i64()).await?;
        self.revoked().await;
        Ok(())
    }
}
