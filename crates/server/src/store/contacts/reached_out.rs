//! Users whom a user once reached out to or allowed, and with whom nothing else is stored.

use std::collections::BTreeSet;

use aldis_protocol::{UserId, api::ContactDecision};
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use crate::store::{
    StoreError,
    batch::{hex_list, in_pieces, with_values},
    db::{Tx, within},
};

/// How many of them are remembered for each user.
const REACHED_OUT_KEPT: i64 = 1_000;

/// Each of these users wrote to another, who may answer from now on, unless the user has blocked the other meanwhile.
pub(in crate::store) async fn reach_out(
    tx: &mut Tx,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    match tx {
        Tx::Sqlite(tx) => upsert_sqlite(tx, pairs, now_ms).await?,
        Tx::Postgres(tx) => upsert_postgres(tx, pairs, now_ms).await?,
    }
    for user in find_crowded(tx, pairs).await? {
        trim_reached_out(tx, user).await?;
    }
    Ok(())
}

async fn upsert_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    const COLUMNS: usize = 3;
    let insert = "INSERT INTO contacts (user_id, peer_id, reached_out_at_ms)";
    let on_conflict = "ON CONFLICT (user_id, peer_id) DO UPDATE SET reached_out_at_ms = excluded.reached_out_at_ms \
         WHERE contacts.decision IS NULL OR contacts.decision <> ?";
    for piece in in_pieces(pairs) {
        let mut query = sqlx::query(with_values(insert, COLUMNS, piece.len(), on_conflict));
        for (user, peer) in piece {
            query = query.bind(user.as_uuid()).bind(peer.as_uuid()).bind(now_ms);
        }
        query.bind(ContactDecision::Blocked.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn upsert_postgres(
    tx: &mut Transaction<'static, Postgres>,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO contacts (user_id, peer_id, reached_out_at_ms) \
             SELECT user_id, peer_id, $3 FROM unnest($1::uuid[], $2::uuid[]) AS batch (user_id, peer_id) \
         ON CONFLICT (user_id, peer_id) DO UPDATE SET reached_out_at_ms = excluded.reached_out_at_ms \
         WHERE contacts.decision IS NULL OR contacts.decision <> $4";
    let (users, peers): (Vec<Uuid>, Vec<Uuid>) =
        pairs.iter().map(|(user, peer)| (user.as_uuid(), peer.as_uuid())).unzip();
    let query = sqlx::query(upsert).bind(users).bind(peers).bind(now_ms);
    query.bind(ContactDecision::Blocked.as_str()).execute(&mut **tx).await?;
    Ok(())
}

/// The users who have more than the limit of others whom they only reached out to or once allowed.
async fn find_crowded(tx: &mut Tx, pairs: &[(UserId, UserId)]) -> Result<Vec<UserId>, StoreError> {
    let users: BTreeSet<Uuid> = pairs.iter().map(|(user, _)| user.as_uuid()).collect();
    let crowded: Vec<Uuid> = match tx {
        Tx::Sqlite(tx) => {
            let select = "SELECT user_id FROM json_each($1) AS batch CROSS JOIN contacts ON user_id = unhex(batch.value) \
                 WHERE decision IS NULL AND asked_at_ms IS NULL AND asked_by_address_at_ms IS NULL \
                     AND was_asked_at_ms IS NULL GROUP BY user_id HAVING COUNT(*) > $2";
            let query = sqlx::query_scalar(select).bind(hex_list(users)).bind(REACHED_OUT_KEPT);
            query.fetch_all(&mut ***tx).await?
        }
        Tx::Postgres(tx) => {
            let select = "SELECT user_id FROM contacts WHERE user_id = ANY ($1) \
                     AND decision IS NULL AND asked_at_ms IS NULL AND asked_by_address_at_ms IS NULL \
                     AND was_asked_at_ms IS NULL GROUP BY user_id HAVING COUNT(*) > $2";
            let users: Vec<Uuid> = users.into_iter().collect();
            sqlx::query_scalar(select).bind(users).bind(REACHED_OUT_KEPT).fetch_all(&mut ***tx).await?
        }
    };
    Ok(crowded.into_iter().map(UserId::new).collect())
}

/// Deletes the oldest rows beyond the limit, of others with whom nothing else is stored.
pub(super) async fn trim_reached_out(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM contacts WHERE user_id = $1 AND peer_id IN (SELECT peer_id FROM \
             (SELECT peer_id, ROW_NUMBER() OVER (ORDER BY COALESCE(reached_out_at_ms, answered_at_ms, 0) DESC, peer_id) AS place \
              FROM contacts WHERE user_id = $1 AND decision IS NULL AND asked_at_ms IS NULL \
                  AND asked_by_address_at_ms IS NULL AND was_asked_at_ms IS NULL) AS placed WHERE place > $2)";
    within!(tx, connection => {
        sqlx::query(delete).bind(user.as_uuid()).bind(REACHED_OUT_KEPT).execute(connection).await?;
    });
    Ok(())
}
