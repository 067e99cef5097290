//! Revocations: what every node has to know, numbered in the order in which it was committed.
//!
//! A number of a sequence is drawn before its transaction commits, so a reader who has seen 7 may still miss 6. These
//! come from one row that stays locked until the commit: who is numbered higher commits later, and a reader who asks
//! for what follows the last number he has seen misses nothing. The row is locked last in a transaction, for the time
//! of a commit, and nothing else that others lock first is locked after it, so it can be part of no deadlock.

use aldis_protocol::{DeviceId, UserId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    row, sweep_rows,
};

/// As long as the longest-lived access token may live, and more than the clocks of two nodes differ.
const KEPT_MS: i64 = 31 * 24 * 60 * 60 * 1000;

/// How many rows one statement writes: six parameters each, of the 32,766 that a statement of SQLite takes.
const ROWS_PER_INSERT: usize = 1_000;

/// Something that no longer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// A sign-in, with all tokens that descend from it.
    Family {
        /// Whose it was.
        user: UserId,
        /// Its id.
        family: Uuid,
    },
    /// What was proved by the identity's last key.
    KeyChanged {
        /// Whose identity it is.
        user: UserId,
    },
    /// A device. Its families are revoked beside it.
    DeviceRemoved {
        /// Whose it was.
        user: UserId,
        /// Its id.
        device: DeviceId,
    },
    /// An account, for now. Its families are revoked beside it.
    AccountDisabled {
        /// Whose it is.
        user: UserId,
    },
    /// Every session of a user, whatever proved it. His families are revoked beside it.
    SignedOut {
        /// Whose they were.
        user: UserId,
    },
    /// An account, for good. Its families are revoked beside it.
    AccountDeleted {
        /// Whose it was.
        user: UserId,
    },
}

/// A revocation as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberedRevocation {
    /// Its place among all of them.
    pub(crate) number: i64,
    /// When it happened, by the clock of whoever wrote it.
    pub(crate) at_ms: i64,
    /// What it was.
    pub(crate) revocation: Revocation,
}

impl Revocation {
    /// Whom it concerns.
    pub(crate) const fn user(&self) -> UserId {
        match self {
            Self::Family { user, .. }
            | Self::KeyChanged { user }
            | Self::DeviceRemoved { user, .. }
            | Self::AccountDisabled { user }
            | Self::SignedOut { user }
            | Self::AccountDeleted { user } => *user,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Family { .. } => "family",
            Self::KeyChanged { .. } => "key_changed",
            Self::DeviceRemoved { .. } => "device_removed",
            Self::AccountDisabled { .. } => "account_disabled",
            Self::SignedOut { .. } => "signed_out",
            Self::AccountDeleted { .. } => "account_deleted",
        }
    }

    const fn family(&self) -> Option<Uuid> {
        match self {
            Self::Family { family, .. } => Some(*family),
            Self::KeyChanged { .. }
            | Self::DeviceRemoved { .. }
            | Self::AccountDisabled { .. }
            | Self::SignedOut { .. }
            | Self::AccountDeleted { .. } => None,
        }
    }

    const fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::DeviceRemoved { device, .. } => Some(device),
            Self::Family { .. }
            | Self::KeyChanged { .. }
            | Self::AccountDisabled { .. }
            | Self::SignedOut { .. }
            | Self::AccountDeleted { .. } => None,
        }
    }
}

impl Store {
    /// The revocations that follow a number, in their order, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revocations_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<NumberedRevocation>, StoreError> {
        let select = "SELECT number, kind, user_id, family_id, device_id, at_ms FROM revocations \
             WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<RevocationRow> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        rows.into_iter().map(NumberedRevocation::try_from).collect()
    }

    /// The number of the last revocation that is as old as this or older; 0 where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_revocation_until(&self, at_ms: i64) -> Result<i64, StoreError> {
        let select = "SELECT COALESCE(MAX(number), 0) FROM revocations WHERE at_ms <= $1";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).bind(at_ms).fetch_one(pool).await?))
    }
}

/// Writes revocations down, in this order. To be called last in a transaction, which everybody else who revokes
/// something waits for from here on.
pub(super) async fn append(tx: &mut Tx, revocations: &[Revocation], now_ms: i64) -> Result<(), StoreError> {
    if revocations.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(revocations.len()).unwrap_or(i64::MAX);
    let last = draw_numbers(tx, count).await?;
    let numbered: Vec<_> = (last - count + 1..).zip(revocations).collect();
    for rows in numbered.chunks(ROWS_PER_INSERT) {
        insert(tx, rows, now_ms).await?;
    }
    Ok(())
}

/// Deletes what no token can contradict any more.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM revocations WHERE number IN \
         (SELECT number FROM revocations WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}

/// The last of `count` new numbers.
pub(super) async fn draw_numbers(tx: &mut Tx, count: i64) -> Result<i64, StoreError> {
    let update = "UPDATE revocation_counter SET last = last + $1 RETURNING last";
    Ok(within!(tx, connection => sqlx::query_scalar(update).bind(count).fetch_one(connection).await?))
}

async fn insert(tx: &mut Tx, rows: &[(i64, &Revocation)], now_ms: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO revocations (number, kind, user_id, family_id, device_id, at_ms) ";
    within!(tx, connection => {
        let mut statement = QueryBuilder::new(insert);
        statement.push_values(rows, |mut row, (number, revocation)| {
            row.push_bind(*number)
                .push_bind(revocation.kind())
                .push_bind(revocation.user().as_uuid())
                .push_bind(revocation.family())
                .push_bind(revocation.device().map(DeviceId::as_str))
                .push_bind(now_ms);
        });
        statement.build().execute(connection).await?;
    });
    Ok(())
}

#[derive(sqlx::FromRow)]
struct RevocationRow {
    number: i64,
    kind: String,
    user_id: Uuid,
    family_id: Option<Uuid>,
    device_id: Option<String>,
    at_ms: i64,
}

impl TryFrom<RevocationRow> for NumberedRevocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Self, StoreError> {
        let user = UserId::new(row.user_id);
        let revocation = match (&*row.kind, row.family_id, row.device_id) {
            ("family", Some(family), _) => Revocation::Family { user, family },
            ("key_changed", ..) => Revocation::KeyChanged { user },
            ("device_removed", _, Some(device)) => {
                Revocation::DeviceRemoved { user, device: row::device_id(&device)? }
            }
            ("account_disabled", ..) => Revocation::AccountDisabled { user },
            ("signed_out", ..) => Revocation::SignedOut { user },
            ("account_deleted", ..) => Revocation::AccountDeleted { user },
            _ => return Err(sqlx::Error::Decode("an unknown kind of revocation".into()).into()),
        };
        Ok(Self { number: row.number, at_ms: row.at_ms, revocation })
    }
}
