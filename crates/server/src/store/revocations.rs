//! Revocations: they are numbered in the order of their commits, and every node reads them.
//!
//! A number from a database sequence is drawn before its transaction commits, so a reader that has seen 7 may still
//! miss 6. These numbers come from one row that stays locked until the commit. So a higher number is committed later,
//! and a reader that asks for the rows after the last number that it has seen misses none. The row is locked last in a
//! transaction, for the time of a commit, and no lock is taken after it that others take first, so it cannot deadlock.

use std::collections::BTreeSet;

use aldis_protocol::{DeviceId, UserId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Store, StoreError,
    db::{Db, Tx, on, within},
    row, sweep_rows,
};

/// The longest lifetime of an access token, plus more than the clocks of two nodes differ.
const KEPT_MS: i64 = 31 * 24 * 60 * 60 * 1000;

/// The least number of sign-ins and devices of a user whose revocations are kept. At twice as many, the older half is
/// deleted at once.
pub(crate) const KEPT_PER_USER: usize = 100;

/// Revocations older than this are left to the sweep, so that the two cannot deadlock.
const LEFT_TO_SWEEP_MS: i64 = KEPT_MS - 24 * 60 * 60 * 1000;

/// How many rows one statement writes. Each has seven parameters, and a statement of SQLite takes 32,766.
const ROWS_PER_INSERT: usize = 1_000;

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// A family was revoked, with all its tokens.
    Family {
        /// The user.
        user: UserId,
        /// The family.
        family: Uuid,
    },
    /// The active key of an identity changed; everything that the previous key proved ends.
    KeyChanged {
        /// The user.
        user: UserId,
    },
    /// A device was removed. Its families are revoked too.
    DeviceRemoved {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// An account was disabled. Its families are revoked too.
    AccountDisabled {
        /// The user.
        user: UserId,
    },
    /// Every session of a user ends, whatever proved it. Their families are revoked too.
    SignedOut {
        /// The user.
        user: UserId,
    },
    /// An account was deleted. Its families are revoked too.
    AccountDeleted {
        /// The user.
        user: UserId,
    },
    /// Old revocations of a user's sign-ins and devices were deleted, because there were too many. Whether one of
    /// these is revoked, only the families and devices in the database tell.
    Trimmed {
        /// The user.
        user: UserId,
        /// The time of the newest deleted revocation.
        until_ms: i64,
    },
}

/// A revocation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberedRevocation {
    /// Its number.
    pub(crate) number: i64,
    /// When it happened, by the clock of the node that wrote it.
    pub(crate) at_ms: i64,
    /// The revocation.
    pub(crate) revocation: Revocation,
}

impl Revocation {
    /// The user whom it concerns.
    pub(crate) const fn user(&self) -> UserId {
        match self {
            Self::Family { user, .. }
            | Self::KeyChanged { user }
            | Self::DeviceRemoved { user, .. }
            | Self::AccountDisabled { user }
            | Self::SignedOut { user }
            | Self::AccountDeleted { user }
            | Self::Trimmed { user, .. } => *user,
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
            Self::Trimmed { .. } => "trimmed",
        }
    }

    const fn family(&self) -> Option<Uuid> {
        match self {
            Self::Family { family, .. } => Some(*family),
            Self::KeyChanged { .. }
            | Self::DeviceRemoved { .. }
            | Self::AccountDisabled { .. }
            | Self::SignedOut { .. }
            | Self::AccountDeleted { .. }
            | Self::Trimmed { .. } => None,
        }
    }

    pub(super) const fn until_ms(&self) -> Option<i64> {
        match self {
            Self::Trimmed { until_ms, .. } => Some(*until_ms),
            Self::Family { .. }
            | Self::KeyChanged { .. }
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
            | Self::AccountDeleted { .. }
            | Self::Trimmed { .. } => None,
        }
    }

    /// Whether a user can cause any number of them; then only a limited number is kept.
    pub(crate) const fn is_trimmed(&self) -> bool {
        matches!(self, Self::Family { .. } | Self::DeviceRemoved { .. })
    }
}

impl Store {
    /// Up to `limit` revocations after a number, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revocations_after(
        &self,
        number: i64,
        limit: i64,
    ) -> Result<Vec<NumberedRevocation>, StoreError> {
        let select = "SELECT number, kind, user_id, family_id, device_id, until_ms, at_ms FROM revocations \
             WHERE number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<RevocationRow> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(number).bind(limit).fetch_all(pool).await?
        });
        rows.into_iter().map(NumberedRevocation::try_from).collect()
    }

    /// The number of the last revocation that is not newer than this time; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_revocation_until(&self, at_ms: i64) -> Result<i64, StoreError> {
        let select = "SELECT COALESCE(MAX(number), 0) FROM revocations WHERE at_ms <= $1";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).bind(at_ms).fetch_one(pool).await?))
    }
}

/// Stores revocations in this order. Call it last in a transaction: from here on all other revocations wait for this
/// transaction.
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
    let users: BTreeSet<UserId> =
        revocations.iter().filter(|one| one.is_trimmed()).map(Revocation::user).collect();
    for user in users {
        trim(tx, user, now_ms).await?;
    }
    Ok(())
}

/// Deletes the oldest revocations of sign-ins and devices of a user who has too many. A row tells each node so,
/// because a node may not have read them yet.
async fn trim(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let kept = i64::try_from(KEPT_PER_USER).unwrap_or(i64::MAX);
    let select = "SELECT number FROM revocations WHERE user_id = $1 AND kind IN ('family', 'device_removed') \
         AND at_ms > $2 ORDER BY number DESC LIMIT $3";
    let newest: Vec<i64> = within!(tx, connection => {
        let query = sqlx::query_scalar(select).bind(user.as_uuid()).bind(now_ms - LEFT_TO_SWEEP_MS);
        query.bind(2 * kept).fetch_all(connection).await?
    });
    let Some(last_forgotten) = newest.get(KEPT_PER_USER).filter(|_| newest.len() == 2 * KEPT_PER_USER) else {
        return Ok(());
    };
    let delete = "DELETE FROM revocations WHERE user_id = $1 AND at_ms > $3 \
         AND (kind = 'trimmed' OR (number <= $2 AND kind IN ('family', 'device_removed'))) \
         RETURNING COALESCE(until_ms, at_ms)";
    let times: Vec<i64> = within!(tx, connection => {
        let query = sqlx::query_scalar(delete).bind(user.as_uuid()).bind(*last_forgotten);
        query.bind(now_ms - LEFT_TO_SWEEP_MS).fetch_all(connection).await?
    });
    let until_ms = times.into_iter().max().unwrap_or(now_ms);
    let number = draw_numbers(tx, 1).await?;
    insert(tx, &[(number, &Revocation::Trimmed { user, until_ms })], now_ms).await
}

/// Deletes revocations of tokens that have expired by now.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM revocations WHERE number IN \
         (SELECT number FROM revocations WHERE at_ms <= $1 ORDER BY at_ms, number LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}

/// Draws `count` numbers and returns the last one.
pub(super) async fn draw_numbers(tx: &mut Tx, count: i64) -> Result<i64, StoreError> {
    let update = "UPDATE revocation_counter SET last = last + $1 RETURNING last";
    Ok(within!(tx, connection => sqlx::query_scalar(update).bind(count).fetch_one(connection).await?))
}

async fn insert(tx: &mut Tx, rows: &[(i64, &Revocation)], now_ms: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO revocations (number, kind, user_id, family_id, device_id, until_ms, at_ms) ";
    within!(tx, connection => {
        let mut statement = QueryBuilder::new(insert);
        statement.push_values(rows, |mut row, (number, revocation)| {
            row.push_bind(*number)
                .push_bind(revocation.kind())
                .push_bind(revocation.user().as_uuid())
                .push_bind(revocation.family())
                .push_bind(revocation.device().map(DeviceId::as_str))
                .push_bind(revocation.until_ms())
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
    until_ms: Option<i64>,
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
            ("trimmed", ..) => Revocation::Trimmed { user, until_ms: row.until_ms.unwrap_or(row.at_ms) },
            _ => return Err(sqlx::Error::Decode("an unknown kind of revocation".into()).into()),
        };
        Ok(Self { number: row.number, at_ms: row.at_ms, revocation })
    }
}
