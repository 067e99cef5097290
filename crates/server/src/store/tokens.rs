//! Refresh tokens: families of single-use tokens, of which only hashes are kept.

use aldis_protocol::{DeviceId, UserId};
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    row, sweep_rows,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A family ends when it was not used for so long.
pub(crate) const REFRESH_IDLE_MS: i64 = 30 * DAY_MS;

/// A family ends so long after the login that began it, however much it is used.
pub(crate) const REFRESH_LIFETIME_MS: i64 = 90 * DAY_MS;

/// A family that a login begins.
#[derive(Debug, Clone)]
pub(crate) struct NewFamily {
    /// Its id.
    pub(crate) family_id: Uuid,
    /// Whose it is.
    pub(crate) user_id: UserId,
    /// The device it is bound to.
    pub(crate) device_id: Option<DeviceId>,
    /// The hash of its first token.
    pub(crate) token_hash: [u8; 32],
}

/// Whose tokens a family's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefreshFamily {
    /// Its id.
    pub(crate) family_id: Uuid,
    /// Whose it is.
    pub(crate) user_id: UserId,
    /// The device it is bound to.
    pub(crate) device_id: Option<DeviceId>,
    /// When its user last proved who he is.
    pub(crate) auth_time_ms: i64,
}

/// What became of the use of a refresh token. Only the first changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefreshUse {
    /// It is used up, and the successor is the family's token now.
    Rotated(RefreshFamily),
    /// It was used up before.
    Reused(RefreshFamily),
    /// Its family was revoked.
    Revoked(RefreshFamily),
    /// Its family has ended by time.
    Expired,
    /// No such token, or one that ended long ago.
    Unknown,
}

impl Store {
    /// Begins a family with a login of now.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Internal`] where the family or its token exist, or the user does not.
    pub(crate) async fn create_family(&self, family: &NewFamily, now_ms: i64) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        insert_family(&mut tx, family, now_ms).await?;
        insert_token(&mut tx, &family.token_hash, family.family_id).await?;
        tx.commit().await
    }

    /// Uses up a token and puts its successor in its place: of many at once, one succeeds.
    ///
    /// # Errors
    /// [`StoreError`]; where it is [`StoreError::Unavailable`], the token may be used up.
    pub(crate) async fn use_refresh_token(
        &self,
        token_hash: &[u8; 32],
        successor_hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<RefreshUse, StoreError> {
        let mut tx = self.db.begin().await?;
        if let Some(family) = prolong_family(&mut tx, token_hash, now_ms).await?
            && use_up(&mut tx, token_hash, successor_hash, now_ms).await?
        {
            insert_token(&mut tx, successor_hash, family.family_id).await?;
            tx.commit().await?;
            return Ok(RefreshUse::Rotated(family));
        }
        tx.rollback().await?;
        self.why_not(token_hash).await
    }

    async fn why_not(&self, token_hash: &[u8; 32]) -> Result<RefreshUse, StoreError> {
        let select = "SELECT f.family_id, f.user_id, f.device_id, f.auth_time_ms, f.revoked_at_ms, t.used_at_ms \
             FROM refresh_tokens t JOIN refresh_families f ON f.family_id = t.family_id WHERE t.token_hash = $1";
        let found: Option<RefusedRow> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(token_hash.to_vec()).fetch_optional(pool).await?
        });
        let Some(row) = found else { return Ok(RefreshUse::Unknown) };
        let (revoked, used) = (row.revoked_at_ms.is_some(), row.used_at_ms.is_some());
        let family = RefreshFamily::try_from(row.family)?;
        Ok(match (revoked, used) {
            (true, _) => RefreshUse::Revoked(family),
            (false, true) => RefreshUse::Reused(family),
            (false, false) => RefreshUse::Expired,
        })
    }
}

/// Deletes families that have ended, and used tokens whose reuse would by now be no sign of theft but of a very old
/// copy.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let tokens = "DELETE FROM refresh_tokens WHERE token_hash IN \
         (SELECT token_hash FROM refresh_tokens WHERE used_at_ms <= $1 ORDER BY used_at_ms, token_hash LIMIT $2)";
    let families = "DELETE FROM refresh_families WHERE family_id IN (SELECT family_id FROM refresh_families \
         WHERE expires_at_ms <= $1 ORDER BY expires_at_ms, family_id LIMIT $2)";
    let used = sweep_rows(db, tokens, now_ms - REFRESH_IDLE_MS).await?;
    Ok(used + sweep_rows(db, families, now_ms).await?)
}

#[derive(sqlx::FromRow)]
struct FamilyRow {
    family_id: Uuid,
    user_id: Uuid,
    device_id: Option<String>,
    auth_time_ms: i64,
}

#[derive(sqlx::FromRow)]
struct RefusedRow {
    #[sqlx(flatten)]
    family: FamilyRow,
    revoked_at_ms: Option<i64>,
    used_at_ms: Option<i64>,
}

impl TryFrom<FamilyRow> for RefreshFamily {
    type Error = StoreError;

    fn try_from(row: FamilyRow) -> Result<Self, StoreError> {
        Ok(Self {
            family_id: row.family_id,
            user_id: UserId::new(row.user_id),
            device_id: row.device_id.as_deref().map(row::device_id).transpose()?,
            auth_time_ms: row.auth_time_ms,
        })
    }
}

async fn insert_family(tx: &mut Tx, family: &NewFamily, now_ms: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO refresh_families \
         (family_id, user_id, device_id, created_at_ms, auth_time_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $4, $5)";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(family.family_id)
            .bind(family.user_id.as_uuid())
            .bind(family.device_id.as_ref().map(DeviceId::as_str))
            .bind(now_ms)
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

/// Locks the token's family, if it is in force, until the transaction ends, and moves its end.
async fn prolong_family(
    tx: &mut Tx,
    token_hash: &[u8; 32],
    now_ms: i64,
) -> Result<Option<RefreshFamily>, StoreError> {
    let update = "UPDATE refresh_families SET expires_at_ms = \
             CASE WHEN created_at_ms + $4 < $3 THEN created_at_ms + $4 ELSE $3 END \
         WHERE family_id = (SELECT family_id FROM refresh_tokens WHERE token_hash = $1) \
             AND revoked_at_ms IS NULL AND expires_at_ms > $2 \
         RETURNING family_id, user_id, device_id, auth_time_ms";
    let row: Option<FamilyRow> = within!(tx, connection => {
        let query = sqlx::query_as(update).bind(token_hash.to_vec()).bind(now_ms);
        query.bind(now_ms + REFRESH_IDLE_MS).bind(REFRESH_LIFETIME_MS).fetch_optional(connection).await?
    });
    row.map(RefreshFamily::try_from).transpose()
}

/// Uses up a token in one statement. False where it was used before.
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
