//! Accounts that sign in with an email address and a password.

use std::fmt;

use aldis_auth::HashKind;
use aldis_protocol::{AlertKind, Fingerprint, UserId};
use uuid::Uuid;

use super::{
    Credential, Store, StoreError, chain,
    db::{Tx, on, within},
    mailbox,
    notices::{self, Notice, Recipients},
    revocations::{self, Revocation},
    rooms, row,
    tokens::{self, Choice},
};
use crate::email;

/// How many accounts one statement locks.
const ROWS_PER_LOCK: usize = 1_000;

/// The outcome of creating an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountCreation {
    /// The account was created.
    Created,
    /// The address belongs to another account; nothing was changed.
    EmailTaken,
}

/// An account as a login needs it. `Debug` does not show the hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EmailAccount {
    /// The user.
    pub(crate) user_id: UserId,
    /// The hash of the password; its format says which algorithm made it.
    pub(crate) password_hash: String,
    /// Since when the account is disabled.
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

/// The state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountState {
    /// It exists.
    Exists {
        /// Its identity, if it has one.
        fingerprint: Option<Fingerprint>,
    },
    /// It was deleted.
    Deleted,
    /// It never existed.
    Unknown,
}

/// The outcome of a password change. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordChange {
    /// The password was changed.
    Done,
    /// The password changed after the caller checked the old one.
    Overtaken,
}

impl Store {
    /// Creates an account. `email` must be in lower case, because addresses are compared byte for byte.
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
        let mut tx = self.db.begin().await?;
        let created = insert(&mut tx, user, email, password_hash, now_ms).await?;
        tx.end(created).await?;
        Ok(if created { AccountCreation::Created } else { AccountCreation::EmailTaken })
    }

    /// The account of an address in lower case, whichever [spelling](email::spellings) was stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn find_email_account(&self, email: &str) -> Result<Option<EmailAccount>, StoreError> {
        let select =
            "SELECT email, user_id, password_hash, disabled_at_ms FROM users WHERE email IN ($1, $2, $3)";
        let spellings = email::spellings(email);
        let [written, composed, decomposed] = &spellings;
        let rows: Vec<(String, Uuid, String, Option<i64>)> = on!(&self.db, r, pool => {
            let query = sqlx::query_as(select).bind(written).bind(composed).bind(decomposed);
            query.fetch_all(pool).await?
        });
        let rank = |kept: &String| spellings.iter().position(|spelling| spelling == kept);
        let found = rows.into_iter().min_by_key(|(kept, ..)| rank(kept));
        Ok(found.map(|(_, user_id, password_hash, disabled_at_ms)| EmailAccount {
            user_id: UserId::new(user_id),
            password_hash,
            disabled_at_ms,
        }))
    }

    /// The state of the account with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn account_state(&self, user: UserId) -> Result<AccountState, StoreError> {
        let select = "SELECT u.deleted_at_ms, i.fingerprint FROM users u \
             LEFT JOIN identities i ON i.user_id = u.user_id WHERE u.user_id = $1";
        let row: Option<(Option<i64>, Option<Vec<u8>>)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        Ok(match row {
            None => AccountState::Unknown,
            Some((Some(_), _)) => AccountState::Deleted,
            Some((None, fingerprint)) => {
                let fingerprint = row::optional_array(fingerprint.as_deref())?.map(Fingerprint);
                AccountState::Exists { fingerprint }
            }
        })
    }

    /// How many accounts have a password hash of each kind. This reads every account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn hash_kinds(&self) -> Result<Vec<(HashKind, u64)>, StoreError> {
        // A bcrypt hash begins with, for example, `$2b$12$`.
        let select = "SELECT CASE WHEN password_hash LIKE '$2%' THEN SUBSTR(password_hash, 5, 2) ELSE '' END, \
             COUNT(*) FROM users WHERE password_hash IS NOT NULL GROUP BY 1";
        let rows: Vec<(String, i64)> =
            on!(&self.db, r, pool => sqlx::query_as(select).fetch_all(pool).await?);
        let counted = rows.into_iter().map(|(cost, count)| {
            let kind = cost.parse().map_or(HashKind::Argon2id, HashKind::Bcrypt);
            row::number(count).map(|count| (kind, count))
        });
        counted.collect()
    }

    /// The email address of a user, if they have one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn email_of(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let select = "SELECT email FROM users WHERE user_id = $1";
        let found: Option<Option<String>> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        Ok(found.flatten())
    }

    /// The hash of a user's password, if they have one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn password_hash_of(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let select = "SELECT password_hash FROM users WHERE user_id = $1 AND password_hash IS NOT NULL";
        Ok(on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(pool).await?
        }))
    }

    /// Whether an account with this id exists and is not deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn has_account(&self, user: UserId) -> Result<bool, StoreError> {
        let select = "SELECT COUNT(*) FROM users WHERE user_id = $1 AND deleted_at_ms IS NULL";
        let found: i64 = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_one(pool).await?
        });
        Ok(found == 1)
    }

    /// Changes a password whose hash was `old`, and revokes every family except the caller's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn change_password(
        &self,
        credential: &Credential,
        old: &str,
        new: &str,
        now_ms: i64,
    ) -> Result<PasswordChange, StoreError> {
        let user = credential.user;
        let mut tx = self.begin_for(credential).await?;
        chain::forbid_while_provisional(&mut tx, user, now_ms).await?;
        if !exchange_password_hash(&mut tx, user, old, new).await? {
            tx.rollback().await?;
            return Ok(PasswordChange::Overtaken);
        }
        let revoked = tokens::revoke(&mut tx, user, Choice::all_but(credential.family()), now_ms).await?;
        let others = Recipients::all_but(credential.device());
        let changed = Notice::of_account(AlertKind::PasswordChanged);
        notices::add(&mut tx, user, &changed, &others, now_ms).await?;
        revocations::append(&mut tx, &revoked, now_ms).await?;
        tx.commit().await?;
        Ok(PasswordChange::Done)
    }

    /// Deletes the account of a user and all its data. Its id, its devices' ids and its keys stay recorded as used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn delete_account(
        &self,
        credential: &Credential,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let user = credential.user;
        let mut tx = self.begin_for(credential).await?;
        chain::forbid_while_provisional(&mut tx, user, now_ms).await?;
        let mut revoked = vec![Revocation::AccountDeleted { user }];
        revoked.extend(tokens::revoke(&mut tx, user, Choice::All, now_ms).await?);
        rooms::leave_private_rooms(&mut tx, user, now_ms).await?;
        empty(&mut tx, user, now_ms).await?;
        revocations::append(&mut tx, &revoked, now_ms).await?;
        tx.commit().await
    }

    /// Replaces the hash of a password, unless it no longer is `old`. So two changes cannot undo each other, and
    /// rehashing at a login cannot restore a password that was changed meanwhile. Returns whether it replaced the
    /// hash.
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

/// Creates an account. False if the address belongs to another one.
pub(super) async fn insert(
    tx: &mut Tx,
    user: UserId,
    email: &str,
    password_hash: &str,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO users (user_id, email, password_hash, created_at_ms) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (email) DO NOTHING";
    let created = within!(tx, connection => {
        let query = sqlx::query(insert).bind(user.as_uuid()).bind(email).bind(password_hash).bind(now_ms);
        query.execute(connection).await?.rows_affected() == 1
    });
    if created {
        mailbox::create(tx, user).await?;
    }
    Ok(created)
}

/// An account, locked by a transaction.
pub(super) struct LockedAccount {
    /// The hash of the password.
    pub(super) password_hash: Option<String>,
    /// Since when the account is disabled.
    pub(super) disabled_at_ms: Option<i64>,
}

/// Locks an account until the transaction ends. Every change of an account takes this lock first. `None` if the
/// account was deleted or never existed.
pub(super) async fn lock(tx: &mut Tx, user: UserId) -> Result<Option<LockedAccount>, StoreError> {
    let touch = "UPDATE users SET created_at_ms = created_at_ms WHERE user_id = $1 AND deleted_at_ms IS NULL \
         RETURNING password_hash, disabled_at_ms";
    let row: Option<(Option<String>, Option<i64>)> = within!(tx, connection => {
        sqlx::query_as(touch).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    Ok(row.map(|(password_hash, disabled_at_ms)| LockedAccount { password_hash, disabled_at_ms }))
}

/// Locks accounts until the transaction ends, in the order of their ids, so that two transactions cannot deadlock.
pub(super) async fn lock_all(tx: &mut Tx, users: &[UserId]) -> Result<(), StoreError> {
    let mut ids: Vec<Uuid> = users.iter().map(|user| user.as_uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    for some in ids.chunks(ROWS_PER_LOCK) {
        match tx {
            // A write transaction locks the whole database.
            Tx::Sqlite(_) => {}
            Tx::Postgres(tx) => {
                let select = "SELECT user_id FROM users WHERE user_id = ANY ($1) AND deleted_at_ms IS NULL \
                     ORDER BY user_id FOR NO KEY UPDATE";
                sqlx::query(select).bind(some).execute(&mut ***tx).await?;
            }
        }
    }
    Ok(())
}

/// Sets the hash of a password. The transaction must have locked the account.
pub(super) async fn set_password_hash(tx: &mut Tx, user: UserId, hash: &str) -> Result<(), StoreError> {
    let update = "UPDATE users SET password_hash = $2 WHERE user_id = $1";
    within!(tx, connection => {
        sqlx::query(update).bind(user.as_uuid()).bind(hash).execute(connection).await?;
    });
    Ok(())
}

/// Replaces a hash by another. False if `old` is not, or no longer, the account's hash.
async fn exchange_password_hash(tx: &mut Tx, user: UserId, old: &str, new: &str) -> Result<bool, StoreError> {
    let update = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2";
    Ok(within!(tx, connection => {
        let query = sqlx::query(update).bind(user.as_uuid()).bind(old).bind(new);
        query.execute(connection).await?.rows_affected() == 1
    }))
}

/// Deletes all data of an account, with one statement for each table.
async fn empty(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    // Before contacts: posting a message locks mailboxes and contacts in the same order.
    mailbox::delete(tx, user).await?;
    let marked = [
        "UPDATE users SET email = NULL, password_hash = NULL, deleted_at_ms = $2 WHERE user_id = $1",
        "UPDATE devices SET pubkey = NULL, name = NULL, signature = NULL, created_at_ms = 0, registered_at_ms = 0, \
             last_seen_at_ms = NULL, auth_time_ms = 0, removed_at_ms = COALESCE(removed_at_ms, $2) WHERE user_id = $1",
    ];
    for update in marked {
        within!(tx, connection => {
            sqlx::query(update).bind(user.as_uuid()).bind(now_ms).execute(connection).await?;
        });
    }
    let gone = [
        "DELETE FROM identities WHERE user_id = $1",
        "DELETE FROM encryption_keys WHERE user_id = $1",
        "DELETE FROM totp WHERE user_id = $1",
        "DELETE FROM second_factor_failures WHERE user_id = $1",
        "DELETE FROM refresh_families WHERE user_id = $1",
        "DELETE FROM contacts WHERE user_id = $1 OR peer_id = $1",
        "DELETE FROM contact_requests WHERE user_id = $1",
        "INSERT INTO sightings (user_id, at_ms) VALUES ($1, NULL) ON CONFLICT (user_id) DO UPDATE SET at_ms = NULL",
        "DELETE FROM notices WHERE device_id IN (SELECT device_id FROM devices WHERE user_id = $1)",
    ];
    for delete in gone.into_iter().chain(rooms::OF_ACCOUNT) {
        within!(tx, connection => {
            sqlx::query(delete).bind(user.as_uuid()).execute(connection).await?;
        });
    }
    Ok(())
}
