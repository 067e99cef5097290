//! Operations of the command line on accounts.

use std::fmt;

use aldis_protocol::{AlertKind, Fingerprint, UserId};
use uuid::Uuid;

use super::{
    Store, StoreError, accounts,
    db::{Tx, on, within},
    notices::{self, Notice, Recipients},
    revocations::{self, Revocation},
    row,
    tokens::{self, Choice},
    totp,
};

/// An account as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountSummary {
    /// The user.
    pub(crate) user_id: UserId,
    /// The email address.
    pub(crate) email: Option<String>,
    /// The fingerprint of the identity.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// When it was created.
    pub(crate) created_at_ms: i64,
    /// Since when the account is disabled.
    pub(crate) disabled_at_ms: Option<i64>,
    /// Since when a second factor is active.
    pub(crate) second_factor_at_ms: Option<i64>,
}

/// An account to import. `Debug` does not show the hash.
#[derive(Clone)]
pub(crate) struct ImportedAccount {
    /// The id that it gets.
    pub(crate) user_id: UserId,
    /// Its address, in lower case.
    pub(crate) email: String,
    /// The hash of its password.
    pub(crate) password_hash: String,
}

impl fmt::Debug for ImportedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

/// The outcome of an operation on an account. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Administered {
    /// The operation was carried out.
    Done,
    /// There was nothing to change.
    Unchanged,
    /// The account has no address and so no password.
    NoPassword,
    /// There is no such account.
    NoAccount,
}

impl Store {
    /// Up to `limit` accounts after the given id, in the order of their ids, without deleted ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn accounts_after(
        &self,
        after: Option<UserId>,
        limit: i64,
    ) -> Result<Vec<AccountSummary>, StoreError> {
        let select = "SELECT u.user_id, u.email, i.fingerprint, u.created_at_ms, u.disabled_at_ms, t.confirmed_at_ms \
             FROM users u LEFT JOIN identities i ON i.user_id = u.user_id LEFT JOIN totp t ON t.user_id = u.user_id \
             WHERE u.deleted_at_ms IS NULL AND u.user_id > $1 ORDER BY u.user_id LIMIT $2";
        let after = after.map_or(Uuid::nil(), |user| user.as_uuid());
        let rows: Vec<AccountRow> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(after).bind(limit).fetch_all(pool).await?
        });
        rows.into_iter().map(AccountSummary::try_from).collect()
    }

    /// Disables an account: it cannot sign in, every family is revoked and every session is closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn disable_account(
        &self,
        user: UserId,
        now_ms: i64,
    ) -> Result<Administered, StoreError> {
        let mut tx = self.db.begin().await?;
        let outcome = disable(&mut tx, user, now_ms).await?;
        tx.end(outcome == Administered::Done).await?;
        Ok(outcome)
    }

    /// Enables a disabled account. Revoked sign-ins stay revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn enable_account(&self, user: UserId) -> Result<Administered, StoreError> {
        let mut tx = self.db.begin().await?;
        let outcome = match accounts::lock(&mut tx, user).await? {
            None => Administered::NoAccount,
            Some(account) if account.disabled_at_ms.is_none() => Administered::Unchanged,
            Some(_) => {
                set_disabled(&mut tx, user, None).await?;
                Administered::Done
            }
        };
        tx.end(outcome == Administered::Done).await?;
        Ok(outcome)
    }

    /// Sets the password of an account, revokes every family and alerts every device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn set_password(
        &self,
        user: UserId,
        hash: &str,
        now_ms: i64,
    ) -> Result<Administered, StoreError> {
        let mut tx = self.db.begin().await?;
        let outcome = match accounts::lock(&mut tx, user).await? {
            None => Administered::NoAccount,
            Some(account) if account.password_hash.is_none() => Administered::NoPassword,
            Some(_) => {
                accounts::set_password_hash(&mut tx, user, hash).await?;
                let revoked = tokens::revoke(&mut tx, user, Choice::All, now_ms).await?;
                tell(&mut tx, user, AlertKind::PasswordChanged, now_ms).await?;
                revocations::append(&mut tx, &revoked, now_ms).await?;
                Administered::Done
            }
        };
        tx.end(outcome == Administered::Done).await?;
        Ok(outcome)
    }

    /// Removes the second factor of an account, active or not, and the count of wrong codes. If it was active, every
    /// device is alerted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remove_second_factor(
        &self,
        user: UserId,
        now_ms: i64,
    ) -> Result<Administered, StoreError> {
        let mut tx = self.db.begin().await?;
        let outcome = match accounts::lock(&mut tx, user).await? {
            None => Administered::NoAccount,
            Some(_) if totp::take_away(&mut tx, user).await? => {
                tell(&mut tx, user, AlertKind::TotpChanged, now_ms).await?;
                Administered::Done
            }
            Some(_) => Administered::Unchanged,
        };
        tx.end(outcome != Administered::NoAccount).await?;
        Ok(outcome)
    }

    /// Revokes every family of an account and closes every session, including those proved by a key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn sign_out(&self, user: UserId, now_ms: i64) -> Result<Administered, StoreError> {
        let mut tx = self.db.begin().await?;
        if accounts::lock(&mut tx, user).await?.is_none() {
            tx.rollback().await?;
            return Ok(Administered::NoAccount);
        }
        end_sessions(&mut tx, Revocation::SignedOut { user }, now_ms).await?;
        tx.commit().await?;
        Ok(Administered::Done)
    }

    /// Creates these accounts: all of them or, on an error, none. Accounts whose address is taken are skipped. Returns
    /// how many were created.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn import_accounts(
        &self,
        mut imported: Vec<ImportedAccount>,
        now_ms: i64,
    ) -> Result<usize, StoreError> {
        // Two concurrent imports lock addresses in the same order, so they cannot deadlock.
        imported.sort_by(|one, other| one.email.cmp(&other.email));
        let mut tx = self.db.begin().await?;
        let mut created = 0;
        for account in &imported {
            let ImportedAccount { user_id, email, password_hash } = account;
            created += usize::from(accounts::insert(&mut tx, *user_id, email, password_hash, now_ms).await?);
        }
        tx.commit().await?;
        Ok(created)
    }
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    user_id: Uuid,
    email: Option<String>,
    fingerprint: Option<Vec<u8>>,
    created_at_ms: i64,
    disabled_at_ms: Option<i64>,
    confirmed_at_ms: Option<i64>,
}

impl TryFrom<AccountRow> for AccountSummary {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::new(row.user_id),
            email: row.email,
            fingerprint: row::optional_array(row.fingerprint.as_deref())?.map(Fingerprint),
            created_at_ms: row.created_at_ms,
            disabled_at_ms: row.disabled_at_ms,
            second_factor_at_ms: row.confirmed_at_ms,
        })
    }
}

async fn disable(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<Administered, StoreError> {
    match accounts::lock(tx, user).await? {
        None => Ok(Administered::NoAccount),
        Some(account) if account.disabled_at_ms.is_some() => Ok(Administered::Unchanged),
        Some(_) => {
            set_disabled(tx, user, Some(now_ms)).await?;
            end_sessions(tx, Revocation::AccountDisabled { user }, now_ms).await?;
            Ok(Administered::Done)
        }
    }
}

async fn set_disabled(tx: &mut Tx, user: UserId, since_ms: Option<i64>) -> Result<(), StoreError> {
    let update = "UPDATE users SET disabled_at_ms = $2 WHERE user_id = $1";
    within!(tx, connection => {
        sqlx::query(update).bind(user.as_uuid()).bind(since_ms).execute(connection).await?;
    });
    Ok(())
}

/// Revokes every family. The revocation that ends all sessions is written first, because it decides their close code.
/// Call it last in a transaction.
async fn end_sessions(tx: &mut Tx, revocation: Revocation, now_ms: i64) -> Result<(), StoreError> {
    let families = tokens::revoke(tx, revocation.user(), Choice::All, now_ms).await?;
    let mut revoked = vec![revocation];
    revoked.extend(families);
    revocations::append(tx, &revoked, now_ms).await
}

/// Call it last in a transaction, or right before appending revocations.
async fn tell(tx: &mut Tx, user: UserId, kind: AlertKind, now_ms: i64) -> Result<(), StoreError> {
    notices::add(tx, user, &Notice::of_account(kind), &Recipients::all(), now_ms).await
}
