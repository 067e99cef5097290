//! Refresh tokens: families of single-use tokens, stored as hashes.

use std::collections::HashSet;

use aldis_protocol::{AlertKind, DeviceId, UserId};
use uuid::Uuid;

use super::{
    Credential, Store, StoreError, accounts,
    db::{Db, Tx, on, within},
    devices, identity,
    notices::{self, Notice, Recipients},
    revocations::{self, Revocation},
    row, sweep_rows, totp,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long a family can be unused before it ends.
pub(crate) const REFRESH_IDLE_MS: i64 = 30 * DAY_MS;

/// How long after its login a family ends, even if it is used.
pub(crate) const REFRESH_LIFETIME_MS: i64 = 90 * DAY_MS;

/// Within this time, a used token whose successor is unused may be shown again: by two tabs, or after a lost response.
pub(crate) const REFRESH_GRACE_MS: i64 = 10 * 1000;

/// A new family.
#[derive(Debug, Clone)]
pub(crate) struct NewFamily {
    /// Its id.
    pub(crate) family_id: Uuid,
    /// The user.
    pub(crate) user_id: UserId,
    /// The device it is bound to.
    pub(crate) device_id: Option<DeviceId>,
    /// The hash of its first token.
    pub(crate) token_hash: [u8; 32],
    /// Whether the login showed the user's second factor.
    pub(crate) second_factor: bool,
}

/// The proof of a login, if it can change while it is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LoginProof<'a> {
    /// A password that matched this hash.
    Password(&'a str),
    /// The key of an identity.
    IdentityKey(&'a [u8; 32]),
    /// The key of the device that the family is bound to. It does not prove again who the user is: the family has the
    /// authentication time of the login that registered the device, and counts as having shown the second factor.
    DeviceKey(&'a [u8; 32]),
}

/// The outcome of creating a family. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FamilyCreation {
    /// The family was created.
    Created {
        /// When the user last proved who they are, by a password or an identity's key.
        auth_time_ms: i64,
    },
    /// The account was deleted, or its password or key has changed.
    Refused,
    /// A second factor was activated that the login did not show.
    FactorRequired,
    /// The account is disabled.
    Disabled,
    /// The device is not registered to the user.
    UnknownDevice,
}

/// The family of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefreshFamily {
    /// Its id.
    pub(crate) family_id: Uuid,
    /// The user.
    pub(crate) user_id: UserId,
    /// The device it is bound to.
    pub(crate) device_id: Option<DeviceId>,
    /// When the user last proved who they are.
    pub(crate) auth_time_ms: i64,
    /// When it ends if it is not used before.
    pub(crate) expires_at_ms: i64,
}

/// The outcome of using a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefreshUse {
    /// The token was used up; the successor is now the family's token.
    Rotated(RefreshFamily),
    /// The token was used a moment ago, and its successor is still unused and remains the family's token.
    Repeated(RefreshFamily),
    /// The token was used before, so somebody has a stolen copy. The family was revoked now, and every device is
    /// alerted.
    Reused(RefreshFamily),
    /// Its family was revoked.
    Revoked,
    /// The family has expired.
    Expired,
    /// The token does not exist, or its family ended long ago.
    Unknown,
}

/// A selection of a user's families.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    /// All.
    All,
    /// All except this one.
    AllBut(Uuid),
    /// Only this one.
    One(Uuid),
    /// Those bound to this device.
    OfDevice(&'a DeviceId),
}

impl Choice<'_> {
    /// All except this one, if there is one.
    pub(super) const fn all_but(family: Option<Uuid>) -> Self {
        match family {
            Some(family) => Self::AllBut(family),
            None => Self::All,
        }
    }
}

impl Store {
    /// Creates a family for a login. If the password, the key or the second factor has changed since the login was
    /// proved, it creates none.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Internal`] if the family or its token exists.
    pub(crate) async fn create_family(
        &self,
        family: &NewFamily,
        proof: LoginProof<'_>,
        now_ms: i64,
    ) -> Result<FamilyCreation, StoreError> {
        let mut tx = self.db.begin_for(family.user_id).await?;
        let outcome = may_begin(&mut tx, family, proof, now_ms).await?;
        let FamilyCreation::Created { auth_time_ms } = outcome else {
            tx.rollback().await?;
            return Ok(outcome);
        };
        insert_family(&mut tx, family, auth_time_ms, now_ms).await?;
        insert_token(&mut tx, &family.token_hash, family.family_id).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// Uses up a token and replaces it by its successor. Of concurrent calls one succeeds; the others get
    /// [`RefreshUse::Repeated`].
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Unavailable`] the token may or may not be used up.
    pub(crate) async fn use_refresh_token(
        &self,
        token_hash: &[u8; 32],
        successor_hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<RefreshUse, StoreError> {
        let user = match self.find_status(token_hash, now_ms).await? {
            Ok(user) => user,
            Err(unusable) => return Ok(unusable),
        };
        let mut tx = self.db.begin_for(user).await?;
        let outcome = use_token(&mut tx, token_hash, successor_hash, now_ms).await?;
        tx.end(matches!(outcome, RefreshUse::Rotated(_))).await?;
        if let RefreshUse::Reused(family) = outcome {
            self.revoke_reused(family, now_ms).await
        } else {
            Ok(outcome)
        }
    }

    /// Revokes a family whose token was used twice, and alerts every device. This locks the account before the family,
    /// as every revocation does, so it cannot run in the transaction that found the reuse. A used token stays used.
    async fn revoke_reused(&self, family: RefreshFamily, now_ms: i64) -> Result<RefreshUse, StoreError> {
        let user = family.user_id;
        let mut tx = self.db.begin_for(user).await?;
        accounts::lock(&mut tx, user).await?;
        let revoked = revoke(&mut tx, user, Choice::One(family.family_id), now_ms).await?;
        if revoked.is_empty() {
            tx.rollback().await?;
            return Ok(RefreshUse::Revoked);
        }
        let reused = Notice::of_account(AlertKind::RefreshReused);
        notices::add(&mut tx, user, &reused, &Recipients::all(), now_ms).await?;
        revocations::append(&mut tx, &revoked, now_ms).await?;
        tx.commit().await?;
        Ok(RefreshUse::Reused(family))
    }

    /// The family of a token, or why the token can never be used again. Needs no transaction.
    async fn find_status(
        &self,
        token_hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<Result<UserId, RefreshUse>, StoreError> {
        let select = "SELECT f.user_id, f.expires_at_ms, f.revoked_at_ms FROM refresh_tokens t \
             JOIN refresh_families f ON f.family_id = t.family_id WHERE t.token_hash = $1";
        let found: Option<(Uuid, i64, Option<i64>)> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(token_hash.to_vec()).fetch_optional(pool).await?
        });
        Ok(match found {
            None => Err(RefreshUse::Unknown),
            Some((_, _, Some(_))) => Err(RefreshUse::Revoked),
            Some((_, expires_at_ms, None)) if expires_at_ms <= now_ms => Err(RefreshUse::Expired),
            Some((user, _, None)) => Ok(UserId::new(user)),
        })
    }

    /// The valid families of a user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn families_in_force(&self, user: UserId) -> Result<HashSet<Uuid>, StoreError> {
        let select = "SELECT family_id FROM refresh_families WHERE user_id = $1 AND revoked_at_ms IS NULL";
        let families: Vec<Uuid> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_all(pool).await?
        });
        Ok(families.into_iter().collect())
    }

    /// The hash of the successor of a used token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn successor_of(&self, token_hash: &[u8; 32]) -> Result<Option<[u8; 32]>, StoreError> {
        let select = "SELECT successor_hash FROM refresh_tokens WHERE token_hash = $1";
        let found: Option<Option<Vec<u8>>> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(token_hash.to_vec()).fetch_optional(pool).await?
        });
        row::optional_array(found.flatten().as_deref())
    }

    /// Signs out: revokes the caller's family, or every family of the user. A concurrent login creates its family
    /// either before this, and it is revoked, or after.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revoke_families(
        &self,
        credential: &Credential,
        everywhere: bool,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let choice = match credential.family() {
            Some(family) if !everywhere => Choice::One(family),
            Some(_) | None => Choice::All,
        };
        let mut tx = self.begin_for(credential).await?;
        let revoked = revoke(&mut tx, credential.user, choice, now_ms).await?;
        revocations::append(&mut tx, &revoked, now_ms).await?;
        tx.commit().await
    }

    /// The family of a token, used or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn family_of_refresh_token(
        &self,
        token_hash: &[u8; 32],
    ) -> Result<Option<Uuid>, StoreError> {
        let select = "SELECT family_id FROM refresh_tokens WHERE token_hash = $1";
        Ok(on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(token_hash.to_vec()).fetch_optional(pool).await?
        }))
    }
}

/// Revokes families of a user. The transaction must have locked the user. The caller must
/// [append](revocations::append) the returned revocations in the same transaction.
pub(super) async fn revoke(
    tx: &mut Tx,
    user: UserId,
    choice: Choice<'_>,
    now_ms: i64,
) -> Result<Vec<Revocation>, StoreError> {
    let families = match choice {
        Choice::All => revoke_by_id(tx, user, Uuid::nil(), false, now_ms).await?,
        Choice::AllBut(family) => revoke_by_id(tx, user, family, false, now_ms).await?,
        Choice::One(family) => revoke_by_id(tx, user, family, true, now_ms).await?,
        Choice::OfDevice(device) => revoke_by_device(tx, user, device, now_ms).await?,
    };
    Ok(families.into_iter().map(|family| Revocation::Family { user, family }).collect())
}

/// Locks a family of a user until the transaction ends. False if it is not valid.
pub(super) async fn lock_in_force(tx: &mut Tx, user: UserId, family: Uuid) -> Result<bool, StoreError> {
    let touch = "UPDATE refresh_families SET revoked_at_ms = NULL \
         WHERE family_id = $1 AND user_id = $2 AND revoked_at_ms IS NULL";
    Ok(within!(tx, connection => {
        let query = sqlx::query(touch).bind(family).bind(user.as_uuid());
        query.execute(connection).await?.rows_affected() == 1
    }))
}

/// The time of the login that began a family.
pub(super) async fn auth_time_ms(tx: &mut Tx, family: Uuid) -> Result<i64, StoreError> {
    let select = "SELECT auth_time_ms FROM refresh_families WHERE family_id = $1";
    Ok(within!(tx, connection => sqlx::query_scalar(select).bind(family).fetch_one(connection).await?))
}

/// Deletes families that have ended, and used tokens that are so old that their reuse is no sign of theft.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let tokens = "DELETE FROM refresh_tokens WHERE token_hash IN \
         (SELECT token_hash FROM refresh_tokens WHERE used_at_ms <= $1 ORDER BY used_at_ms, token_hash LIMIT $2)";
    let families = "DELETE FROM refresh_families WHERE family_id IN (SELECT family_id FROM refresh_families \
         WHERE expires_at_ms <= $1 ORDER BY expires_at_ms, family_id LIMIT $2)";
    let used = sweep_rows(db, tokens, now_ms - REFRESH_IDLE_MS).await;
    Ok(sweep_rows(db, families, now_ms).await? + used?)
}

#[derive(sqlx::FromRow)]
struct FamilyRow {
    family_id: Uuid,
    user_id: Uuid,
    device_id: Option<String>,
    created_at_ms: i64,
    auth_time_ms: i64,
    expires_at_ms: i64,
    revoked_at_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    used_at_ms: Option<i64>,
    successor_hash: Option<Vec<u8>>,
}

impl TryFrom<FamilyRow> for RefreshFamily {
    type Error = StoreError;

    fn try_from(row: FamilyRow) -> Result<Self, StoreError> {
        Ok(Self {
            family_id: row.family_id,
            user_id: UserId::new(row.user_id),
            device_id: row.device_id.as_deref().map(row::device_id).transpose()?,
            auth_time_ms: row.auth_time_ms,
            expires_at_ms: row.expires_at_ms,
        })
    }
}

/// Locks the account, so that revoking all of its families happens either before or after, and checks whether the
/// login still holds.
async fn may_begin(
    tx: &mut Tx,
    family: &NewFamily,
    proof: LoginProof<'_>,
    now_ms: i64,
) -> Result<FamilyCreation, StoreError> {
    let user = family.user_id;
    let Some(account) = accounts::lock(tx, user).await? else { return Ok(FamilyCreation::Refused) };
    if account.disabled_at_ms.is_some() {
        return Ok(FamilyCreation::Disabled);
    }
    let holds = match proof {
        LoginProof::Password(hash) => account.password_hash.as_deref() == Some(hash),
        LoginProof::IdentityKey(key) => identity::active_key(tx, user).await?.as_ref() == Some(key),
        LoginProof::DeviceKey(key) => return may_begin_by_device(tx, family, key).await,
    };
    if !holds {
        return Ok(FamilyCreation::Refused);
    }
    if let Some(device) = &family.device_id
        && !devices::is_registered_to(tx, user, device).await?
    {
        return Ok(FamilyCreation::UnknownDevice);
    }
    if !family.second_factor && totp::is_in_force(tx, user).await? {
        return Ok(FamilyCreation::FactorRequired);
    }
    Ok(FamilyCreation::Created { auth_time_ms: now_ms })
}

async fn may_begin_by_device(
    tx: &mut Tx,
    family: &NewFamily,
    key: &[u8; 32],
) -> Result<FamilyCreation, StoreError> {
    let Some(device) = &family.device_id else { return Ok(FamilyCreation::UnknownDevice) };
    let auth_time_ms = devices::auth_time_of_key(tx, family.user_id, device, key).await?;
    Ok(auth_time_ms
        .map_or(FamilyCreation::UnknownDevice, |auth_time_ms| FamilyCreation::Created { auth_time_ms }))
}

async fn insert_family(
    tx: &mut Tx,
    family: &NewFamily,
    auth_time_ms: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO refresh_families \
         (family_id, user_id, device_id, created_at_ms, auth_time_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6)";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(family.family_id)
            .bind(family.user_id.as_uuid())
            .bind(family.device_id.as_ref().map(DeviceId::as_str))
            .bind(now_ms)
            .bind(auth_time_ms)
            .bind(now_ms + REFRESH_IDLE_MS)
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn insert_token(tx: &mut Tx, token_hash: &[u8; 32], family_id: Uuid) -> Result<(), StoreError> {
    let insert = "INSERT INTO refresh_tokens (token_hash, family_id) VALUES ($1, $2)";
    within!(tx, connection => {
        sqlx::query(insert).bind(token_hash.to_vec()).bind(family_id).execute(connection).await?;
    });
    Ok(())
}

/// Runs under the lock of the token's family, so that the second of two callers sees what the first has done.
async fn use_token(
    tx: &mut Tx,
    token_hash: &[u8; 32],
    successor_hash: &[u8; 32],
    now_ms: i64,
) -> Result<RefreshUse, StoreError> {
    let Some(row) = lock_family_of(tx, token_hash).await? else { return Ok(RefreshUse::Unknown) };
    if row.revoked_at_ms.is_some() {
        return Ok(RefreshUse::Revoked);
    }
    if row.expires_at_ms <= now_ms {
        return Ok(RefreshUse::Expired);
    }
    let expires_at_ms = (now_ms + REFRESH_IDLE_MS).min(row.created_at_ms + REFRESH_LIFETIME_MS);
    let family = RefreshFamily::try_from(row)?;
    if use_up(tx, token_hash, successor_hash, now_ms).await? {
        prolong(tx, family.family_id, expires_at_ms).await?;
        insert_token(tx, successor_hash, family.family_id).await?;
        return Ok(RefreshUse::Rotated(RefreshFamily { expires_at_ms, ..family }));
    }
    if is_repetition(tx, token_hash, successor_hash, now_ms).await? {
        return Ok(RefreshUse::Repeated(family));
    }
    Ok(RefreshUse::Reused(family))
}

async fn lock_family_of(tx: &mut Tx, token_hash: &[u8; 32]) -> Result<Option<FamilyRow>, StoreError> {
    let touch = "UPDATE refresh_families SET expires_at_ms = expires_at_ms \
         WHERE family_id = (SELECT family_id FROM refresh_tokens WHERE token_hash = $1) \
         RETURNING family_id, user_id, device_id, created_at_ms, auth_time_ms, expires_at_ms, revoked_at_ms";
    Ok(within!(tx, connection => {
        sqlx::query_as(touch).bind(token_hash.to_vec()).fetch_optional(connection).await?
    }))
}

async fn prolong(tx: &mut Tx, family_id: Uuid, expires_at_ms: i64) -> Result<(), StoreError> {
    let update = "UPDATE refresh_families SET expires_at_ms = $2 WHERE family_id = $1";
    within!(tx, connection => {
        sqlx::query(update).bind(family_id).bind(expires_at_ms).execute(connection).await?;
    });
    Ok(())
}

/// Uses up a token in one statement. False if it was used before.
async fn use_up(
    tx: &mut Tx,
    token_hash: &[u8; 32],
    successor_hash: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let update = "UPDATE refresh_tokens SET used_at_ms = $3, successor_hash = $2 \
         WHERE token_hash = $1 AND used_at_ms IS NULL RETURNING family_id";
    let family: Option<Uuid> = within!(tx, connection => {
        let query = sqlx::query_scalar(update).bind(token_hash.to_vec()).bind(successor_hash.to_vec());
        query.bind(now_ms).fetch_optional(connection).await?
    });
    Ok(family.is_some())
}

/// Whether a used token was used a moment ago with this successor, which is unused.
async fn is_repetition(
    tx: &mut Tx,
    token_hash: &[u8; 32],
    successor_hash: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let (Some(used), Some(successor)) =
        (find_token(tx, token_hash).await?, find_token(tx, successor_hash).await?)
    else {
        return Ok(false);
    };
    let lately = used.used_at_ms.is_some_and(|used_at_ms| now_ms - used_at_ms < REFRESH_GRACE_MS);
    let same = used.successor_hash.as_deref() == Some(successor_hash);
    Ok(lately && same && successor.used_at_ms.is_none())
}

async fn find_token(tx: &mut Tx, token_hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
    let select = "SELECT used_at_ms, successor_hash FROM refresh_tokens WHERE token_hash = $1";
    Ok(within!(tx, connection => {
        sqlx::query_as(select).bind(token_hash.to_vec()).fetch_optional(connection).await?
    }))
}

/// Revokes the family with this id if `is_it`, otherwise all others.
async fn revoke_by_id(
    tx: &mut Tx,
    user: UserId,
    family: Uuid,
    is_it: bool,
    now_ms: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let update = "UPDATE refresh_families SET revoked_at_ms = $2 \
         WHERE user_id = $1 AND revoked_at_ms IS NULL AND (family_id = $3) = $4 RETURNING family_id";
    Ok(within!(tx, connection => {
        let query = sqlx::query_scalar(update).bind(user.as_uuid()).bind(now_ms).bind(family).bind(is_it);
        query.fetch_all(connection).await?
    }))
}

async fn revoke_by_device(
    tx: &mut Tx,
    user: UserId,
    device: &DeviceId,
    now_ms: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let update = "UPDATE refresh_families SET revoked_at_ms = $2 \
         WHERE user_id = $1 AND revoked_at_ms IS NULL AND device_id = $3 RETURNING family_id";
    Ok(within!(tx, connection => {
        let query = sqlx::query_scalar(update).bind(user.as_uuid()).bind(now_ms).bind(device.as_str());
        query.fetch_all(connection).await?
    }))
}
