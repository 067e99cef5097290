//! Second factors: sealed secrets, hashes of recovery codes, and the count of wrong codes.

use aldis_protocol::{AlertKind, UserId};
use uuid::Uuid;

use super::{
    Credential, Store, StoreError, chain, changes,
    db::{Db, Tx, on, within},
    notices::{self, Notice, Recipients},
    sweep_rows,
};

/// This many wrong codes within [`FAILURE_WINDOW_MS`] lock a user's second factor until the oldest is older than that.
pub(crate) const MAX_FAILURES: i64 = 5;

/// How long a wrong code counts.
pub(crate) const FAILURE_WINDOW_MS: i64 = 15 * 60 * 1000;

/// How long an accepted recovery code is remembered: as long as a code of the app is valid. A form that is submitted
/// twice sends it again.
const REPEAT_WINDOW_MS: i64 = 30 * 1000;

/// What a signed-in user uses a code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FactorChange {
    /// To activate the factor, by showing that the app has the secret.
    Confirmation,
    /// To remove the factor.
    Removal,
}

/// The value of a code, checked against the sealed secret.
pub(crate) enum Evidence {
    /// The app's code of this step. The secret is stored in this sealed form from now on.
    Step { step: i64, sealed_secret: Vec<u8> },
    /// A recovery code with one of these hashes.
    Recovery(Vec<[u8; 32]>),
    /// Nothing.
    Wrong,
}

/// The outcome of checking a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FactorCheck {
    /// The code was correct and is used up; its action was carried out.
    Accepted,
    /// The code was wrong, or of an earlier step than the last used one. It counts as a failure.
    Wrong,
    /// The code that was accepted last was sent again. It is refused and does not count.
    Repeated,
    /// There were too many wrong codes; this one was not checked.
    Locked,
    /// The user has no such factor.
    NotEnrolled,
}

impl FactorCheck {
    /// Whether the transaction is committed.
    const fn is_kept(self) -> bool {
        matches!(self, Self::Accepted | Self::Wrong)
    }
}

impl Store {
    /// Stores a new secret and its recovery codes, replacing any that were never confirmed. False, without a change,
    /// if a factor is active.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn enroll_totp(
        &self,
        credential: &Credential,
        sealed_secret: &[u8],
        recovery_hashes: &[[u8; 32]],
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let user = credential.user;
        let mut tx = self.begin_for(credential).await?;
        chain::forbid_while_provisional(&mut tx, user, now_ms).await?;
        let enrolled = replace_unconfirmed(&mut tx, user, sealed_secret).await?;
        if enrolled {
            replace_recovery_codes(&mut tx, user, recovery_hashes).await?;
        }
        tx.end(enrolled).await?;
        Ok(enrolled)
    }

    /// Whether a user has an active second factor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn has_second_factor(&self, user: UserId) -> Result<bool, StoreError> {
        let select = "SELECT confirmed_at_ms FROM totp WHERE user_id = $1 AND confirmed_at_ms IS NOT NULL";
        let confirmed: Option<i64> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        Ok(confirmed.is_some())
    }

    /// Uses up a code at a sign-in, for which the factor must be active. `judge` gets the sealed secret while nobody
    /// else can use or change the factor. So of equal concurrent codes only one is accepted, and no more than
    /// [`MAX_FAILURES`] wrong ones are checked.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Unavailable`] the code may or may not be used up.
    pub(crate) async fn check_second_factor(
        &self,
        user: UserId,
        now_ms: i64,
        judge: impl FnOnce(&[u8]) -> Evidence + Send,
    ) -> Result<FactorCheck, StoreError> {
        let mut tx = self.db.begin_for(user).await?;
        let checked = match lock(&mut tx, user).await? {
            Some(factor) if factor.confirmed => {
                check(&mut tx, user, now_ms, || judge(&factor.sealed_secret)).await?
            }
            _ => FactorCheck::NotEnrolled,
        };
        tx.end(checked.is_kept()).await?;
        Ok(checked)
    }

    /// Uses up a code in the same way, activates or removes the factor, and alerts every device if that changed
    /// something.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Unavailable`] the change may or may not be made.
    pub(crate) async fn change_second_factor(
        &self,
        credential: &Credential,
        change: FactorChange,
        now_ms: i64,
        judge: impl FnOnce(&[u8]) -> Evidence + Send,
    ) -> Result<FactorCheck, StoreError> {
        let user = credential.user;
        let mut tx = self.begin_for(credential).await?;
        chain::forbid_while_provisional(&mut tx, user, now_ms).await?;
        let Some(factor) = lock(&mut tx, user).await? else {
            tx.rollback().await?;
            return Ok(FactorCheck::NotEnrolled);
        };
        let checked = check(&mut tx, user, now_ms, || judge(&factor.sealed_secret)).await?;
        if checked == FactorCheck::Accepted {
            apply(&mut tx, credential, change, &factor, now_ms).await?;
        }
        tx.end(checked.is_kept()).await?;
        Ok(checked)
    }
}

/// Deletes failures that no longer count.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM second_factor_failures WHERE failure_id IN (SELECT failure_id \
         FROM second_factor_failures WHERE failed_at_ms <= $1 ORDER BY failed_at_ms, failure_id LIMIT $2)";
    sweep_rows(db, delete, now_ms - FAILURE_WINDOW_MS).await
}

/// Whether a user has an active second factor. The transaction must have locked the user.
pub(super) async fn is_in_force(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    let select = "SELECT 1 FROM totp WHERE user_id = $1 AND confirmed_at_ms IS NOT NULL";
    Ok(within!(tx, connection => {
        sqlx::query(select).bind(user.as_uuid()).fetch_optional(connection).await?.is_some()
    }))
}

struct Factor {
    sealed_secret: Vec<u8>,
    confirmed: bool,
}

/// Locks a user's factor until the transaction ends.
async fn lock(tx: &mut Tx, user: UserId) -> Result<Option<Factor>, StoreError> {
    // The update changes nothing: it locks the row and makes the statement return it.
    let update =
        "UPDATE totp SET last_step = last_step WHERE user_id = $1 RETURNING sealed_secret, confirmed_at_ms";
    let row: Option<(Vec<u8>, Option<i64>)> = within!(tx, connection => {
        sqlx::query_as(update).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    Ok(row.map(|(sealed_secret, confirmed_at_ms)| Factor {
        sealed_secret,
        confirmed: confirmed_at_ms.is_some(),
    }))
}

async fn check(
    tx: &mut Tx,
    user: UserId,
    now_ms: i64,
    judge: impl FnOnce() -> Evidence + Send,
) -> Result<FactorCheck, StoreError> {
    if failures_since(tx, user, now_ms - FAILURE_WINDOW_MS).await? >= MAX_FAILURES {
        return Ok(FactorCheck::Locked);
    }
    let used = match judge() {
        Evidence::Step { step, sealed_secret } => use_step(tx, user, step, &sealed_secret).await?,
        Evidence::Recovery(hashes) => use_recovery_code(tx, user, &hashes, now_ms).await?,
        Evidence::Wrong => FactorCheck::Wrong,
    };
    if used == FactorCheck::Wrong {
        insert_failure(tx, user, now_ms).await?;
    }
    if used != FactorCheck::Accepted {
        return Ok(used);
    }
    Ok(FactorCheck::Accepted)
}

async fn failures_since(tx: &mut Tx, user: UserId, since_ms: i64) -> Result<i64, StoreError> {
    let select = "SELECT COUNT(*) FROM second_factor_failures WHERE user_id = $1 AND failed_at_ms > $2";
    Ok(within!(tx, connection => {
        sqlx::query_scalar(select).bind(user.as_uuid()).bind(since_ms).fetch_one(connection).await?
    }))
}

async fn insert_failure(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO second_factor_failures (failure_id, user_id, failed_at_ms) VALUES ($1, $2, $3)";
    within!(tx, connection => {
        let query = sqlx::query(insert).bind(Uuid::now_v7()).bind(user.as_uuid()).bind(now_ms);
        query.execute(connection).await?;
    });
    Ok(())
}

/// Uses up a step, unless this or a later one was used before.
async fn use_step(
    tx: &mut Tx,
    user: UserId,
    step: i64,
    sealed_secret: &[u8],
) -> Result<FactorCheck, StoreError> {
    let update = "UPDATE totp SET last_step = $2, sealed_secret = $3 WHERE user_id = $1 AND last_step < $2";
    let is_used = within!(tx, connection => {
        let query = sqlx::query(update).bind(user.as_uuid()).bind(step).bind(sealed_secret);
        query.execute(connection).await?.rows_affected() == 1
    });
    if is_used {
        return Ok(FactorCheck::Accepted);
    }
    let select = "SELECT COUNT(*) FROM totp WHERE user_id = $1 AND last_step = $2";
    let repeated: i64 = within!(tx, connection => {
        sqlx::query_scalar(select).bind(user.as_uuid()).bind(step).fetch_one(connection).await?
    });
    Ok(if repeated == 0 { FactorCheck::Wrong } else { FactorCheck::Repeated })
}

/// Uses up a recovery code with one of these hashes.
async fn use_recovery_code(
    tx: &mut Tx,
    user: UserId,
    hashes: &[[u8; 32]],
    now_ms: i64,
) -> Result<FactorCheck, StoreError> {
    for hash in hashes {
        if take_recovery_code(tx, user, hash, now_ms).await? {
            return Ok(FactorCheck::Accepted);
        }
    }
    let select = "SELECT COUNT(*) FROM totp \
         WHERE user_id = $1 AND last_recovery_hash = $2 AND last_recovery_at_ms > $3";
    for hash in hashes {
        let repeated: i64 = within!(tx, connection => {
            let query = sqlx::query_scalar(select).bind(user.as_uuid()).bind(hash.to_vec());
            query.bind(now_ms - REPEAT_WINDOW_MS).fetch_one(connection).await?
        });
        if repeated > 0 {
            return Ok(FactorCheck::Repeated);
        }
    }
    Ok(FactorCheck::Wrong)
}

/// Uses up a recovery code, and keeps its hash for as long as a repetition of it must be told from a wrong code. False
/// if no code matches.
async fn take_recovery_code(
    tx: &mut Tx,
    user: UserId,
    hash: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let delete = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
    let is_taken = within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(hash.to_vec());
        query.execute(connection).await?.rows_affected() == 1
    });
    if is_taken {
        let update = "UPDATE totp SET last_recovery_hash = $2, last_recovery_at_ms = $3 WHERE user_id = $1";
        within!(tx, connection => {
            let query = sqlx::query(update).bind(user.as_uuid()).bind(hash.to_vec()).bind(now_ms);
            query.execute(connection).await?;
        });
    }
    Ok(is_taken)
}

async fn apply(
    tx: &mut Tx,
    credential: &Credential,
    change: FactorChange,
    factor: &Factor,
    now_ms: i64,
) -> Result<(), StoreError> {
    let user = credential.user;
    match change {
        FactorChange::Confirmation if factor.confirmed => return changes::note(tx, user).await,
        FactorChange::Confirmation => confirm(tx, credential, now_ms).await?,
        FactorChange::Removal => remove(tx, user).await?,
    }
    let changed = Notice::of_account(AlertKind::TotpChanged);
    notices::add(tx, user, &changed, &Recipients::all(), now_ms).await
}

async fn confirm(tx: &mut Tx, credential: &Credential, now_ms: i64) -> Result<(), StoreError> {
    let update = "UPDATE totp SET confirmed_at_ms = $2, confirmed_by = $3 \
         WHERE user_id = $1 AND confirmed_at_ms IS NULL";
    within!(tx, connection => {
        let query = sqlx::query(update).bind(credential.user.as_uuid()).bind(now_ms);
        query.bind(credential.family()).execute(connection).await?;
    });
    Ok(())
}

/// Removes a user's factor and the count of wrong codes. False if none was active.
pub(super) async fn take_away(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    let confirmed = lock(tx, user).await?.is_some_and(|factor| factor.confirmed);
    remove(tx, user).await?;
    within!(tx, connection => {
        let delete = "DELETE FROM second_factor_failures WHERE user_id = $1";
        sqlx::query(delete).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(confirmed)
}

/// Removes the factor and its recovery codes.
async fn remove(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    within!(tx, connection => {
        let delete = "DELETE FROM totp WHERE user_id = $1";
        sqlx::query(delete).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

async fn replace_unconfirmed(tx: &mut Tx, user: UserId, sealed_secret: &[u8]) -> Result<bool, StoreError> {
    let upsert = "INSERT INTO totp (user_id, sealed_secret) VALUES ($1, $2) ON CONFLICT (user_id) \
         DO UPDATE SET sealed_secret = excluded.sealed_secret, last_step = -1 WHERE totp.confirmed_at_ms IS NULL";
    Ok(within!(tx, connection => {
        let query = sqlx::query(upsert).bind(user.as_uuid()).bind(sealed_secret);
        query.execute(connection).await?.rows_affected() == 1
    }))
}

async fn replace_recovery_codes(tx: &mut Tx, user: UserId, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
    within!(tx, connection => {
        let delete = "DELETE FROM recovery_codes WHERE user_id = $1";
        sqlx::query(delete).bind(user.as_uuid()).execute(connection).await?;
    });
    let insert = "INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)";
    for hash in hashes {
        within!(tx, connection => {
            sqlx::query(insert).bind(user.as_uuid()).bind(hash.to_vec()).execute(connection).await?;
        });
    }
    Ok(())
}
