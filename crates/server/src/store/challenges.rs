//! Used challenges: each can be used once, on any node.

use std::collections::HashSet;

use aldis_protocol::UserId;
use sqlx::{Postgres, Sqlite, Transaction};

use super::{
    Store, StoreError,
    db::{Db, Tx, on},
    row, sweep_rows,
    writer::{Append, Queued},
};

/// How long a used challenge is kept after it has expired. This is far longer than an append waits and than the clocks
/// of two nodes differ, so no challenge is forgotten while a node may still accept it.
const KEPT_AFTER_EXPIRY_MS: i64 = 10 * 60 * 1000;

impl Store {
    /// Uses up a challenge. True for the first caller before it expires, false for all others.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Unavailable`] the challenge may or may not be used up.
    pub(crate) async fn use_challenge(
        &self,
        challenge: [u8; 32],
        expires_at_ms: i64,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        if expires_at_ms <= now_ms || self.is_used(challenge).await? {
            return Ok(false);
        }
        self.sign_ins.append(Queued::Challenge, UsedChallenge { challenge, expires_at_ms }).await
    }

    /// Whether a challenge was used before. Needs no transaction.
    async fn is_used(&self, challenge: [u8; 32]) -> Result<bool, StoreError> {
        let select = "SELECT 1 FROM used_challenges WHERE challenge = $1";
        let found: Option<i32> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(challenge.to_vec()).fetch_optional(pool).await?
        });
        Ok(found.is_some())
    }
}

/// A challenge to use up. The answer is whether this was the first use.
pub(super) struct UsedChallenge {
    challenge: [u8; 32],
    expires_at_ms: i64,
}

impl Append for UsedChallenge {
    type Answer = bool;
    type Locked = ();

    /// Challenges are given for any key, so they belong to no user.
    fn user(&self) -> Option<UserId> {
        None
    }

    async fn write(tx: &mut Tx, (): &mut (), batch: &[Self]) -> Result<Vec<bool>, StoreError> {
        let mut first = match tx {
            Tx::Sqlite(tx) => insert_sqlite(tx, batch).await?,
            Tx::Postgres(tx) => insert_postgres(tx, batch).await?,
        };
        // If a batch has equal challenges, only one was inserted; the first of them takes it.
        Ok(batch.iter().map(|used| first.remove(&used.challenge)).collect())
    }
}

/// Deletes challenges that have expired for good.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM used_challenges WHERE challenge IN \
         (SELECT challenge FROM used_challenges WHERE expires_at_ms <= $1 ORDER BY expires_at_ms, challenge LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_AFTER_EXPIRY_MS).await
}

async fn insert_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    batch: &[UsedChallenge],
) -> Result<HashSet<[u8; 32]>, StoreError> {
    let insert =
        "INSERT INTO used_challenges (challenge, expires_at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let mut inserted = HashSet::with_capacity(batch.len());
    for used in batch {
        let query = sqlx::query(insert).bind(used.challenge.to_vec()).bind(used.expires_at_ms);
        if query.execute(&mut **tx).await?.rows_affected() == 1 {
            inserted.insert(used.challenge);
        }
    }
    Ok(inserted)
}

/// Inserts in the order of the challenges, so that two nodes with the same challenges cannot deadlock.
async fn insert_postgres(
    tx: &mut Transaction<'static, Postgres>,
    batch: &[UsedChallenge],
) -> Result<HashSet<[u8; 32]>, StoreError> {
    let insert = "INSERT INTO used_challenges (challenge, expires_at_ms) \
         SELECT challenge, expires_at_ms FROM unnest($1::bytea[], $2::bigint[]) AS batch (challenge, expires_at_ms) \
         ORDER BY challenge ON CONFLICT DO NOTHING RETURNING challenge";
    let (challenges, expiries): (Vec<_>, Vec<_>) =
        batch.iter().map(|used| (used.challenge, used.expires_at_ms)).unzip();
    let query = sqlx::query_scalar::<_, Vec<u8>>(insert).bind(challenges).bind(expiries);
    query.fetch_all(&mut **tx).await?.iter().map(|bytes| row::array(bytes)).collect()
}
