//! Accounts that sign in with an email address and a password.

use std::fmt;

use aldis_protocol::UserId;
use uuid::Uuid;

use super::{Store, StoreError, db::on};

/// What became of a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountCreation {
    /// It exists now.
    Created,
    /// The address belongs to another one; nothing was changed.
    EmailTaken,
}

/// An account as a login needs it. Prints without the hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EmailAccount {
    /// Whose it is.
    pub(crate) user_id: UserId,
    /// The hash of its password, in the form that says how it was made.
    pub(crate) password_hash: String,
    /// Since when it may not sign in.
    pub(crate) disabled_at_ms: Option<i64>,
}

impl fmt::Debug for EmailAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailAccount")
            .field("user_id", &self.user_id)
            .field("disabled_at_ms", &self.disabled_at_ms)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes an account. `email` is in lower case: addresses are compared as they stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_account(
        &self,
        user: UserId,
        email: &str,
        password_hash: &str,
        now_ms: i64,
    ) -> Result<AccountCreation, StoreError> {
        let insert = "INSERT INTO users (user_id, email, password_hash, created_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (email) DO NOTHING";
        let created = on!(&self.db, w, pool => {
            let query = sqlx::query(insert).bind(user.as_uuid()).bind(email).bind(password_hash).bind(now_ms);
            query.execute(pool).await?.rows_affected() == 1
        });
        Ok(if created { AccountCreation::Created } else { AccountCreation::EmailTaken })
    }

    /// The account of an address in lower case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn find_email_account(&self, email: &str) -> Result<Option<EmailAccount>, StoreError> {
        let select = "SELECT user_id, password_hash, disabled_at_ms FROM users WHERE email = $1";
        let row: Option<(Uuid, String, Option<i64>)> =
            on!(&self.db, r, pool => sqlx::query_as(select).bind(email).fetch_optional(pool).await?);
        Ok(row.map(|(user_id, password_hash, disabled_at_ms)| EmailAccount {
            user_id: UserId::new(user_id),
            password_hash,
            disabled_at_ms,
        }))
    }

    /// Replaces a password's hash, unless it is another than `old` by now: two changes cannot undo each other, and
    /// making an old hash anew at a login cannot bring back a password that was changed meanwhile. Says whether it
    /// did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn replace_password_hash(
        &self,
        user: UserId,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError> {
        let update = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2";
        Ok(on!(&self.db, w, pool => {
            let query = sqlx::query(update).bind(user.as_uuid()).bind(old).bind(new);
            query.execute(pool).await?.rows_affected() == 1
        }))
    }
}
