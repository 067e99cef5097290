//! Either backend: its pools, its transactions, and the macros that write a statement once for both.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aldis_protocol::UserId;
use sqlx::{Database, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::{
    StoreError,
    turns::{Turn, Turns, Writing},
};

/// The open database.
#[derive(Clone)]
pub(super) enum Db {
    /// One connection that writes, several that only read (in memory: the same one).
    Sqlite {
        /// The one that writes.
        w: SqlitePool,
        /// Those that read.
        r: SqlitePool,
        /// The line in front of the one that writes.
        turns: Arc<Turns>,
    },
    /// Every connection does both. The line is in front of those that may write at once.
    Postgres(PgPool, Arc<Turns>),
}

/// A write transaction: rolled back unless committed.
#[must_use = "what is not committed is rolled back"]
pub(super) enum Tx {
    Sqlite(InTurn<Sqlite>),
    Postgres(InTurn<Postgres>),
}

/// A transaction in its turn. The turn ends when the connection is on its way back.
pub(super) struct InTurn<D: Database> {
    transaction: Transaction<'static, D>,
    turn: Option<Turn>,
}

/// Runs a statement outside a transaction: `on!(db, r, pool => …)` reads, `on!(db, w, pool => …)` writes.
///
/// What writes and returns rows belongs into a transaction: SQLite commits such a statement only when its last row
/// has been taken.
macro_rules! on {
    ($db:expr, $member:ident, $pool:ident => $run:expr) => {{
        $crate::store::db::count_call();
        match $db {
            $crate::store::db::Db::Sqlite { $member: $pool, .. } => $run,
            $crate::store::db::Db::Postgres($pool, _) => $run,
        }
    }};
}

/// Runs a statement inside a transaction: `within!(tx, connection => …)`.
macro_rules! within {
    ($tx:expr, $connection:ident => $run:expr) => {
        match $tx {
            $crate::store::db::Tx::Sqlite(tx) => {
                let $connection = &mut ***tx;
                $run
            }
            $crate::store::db::Tx::Postgres(tx) => {
                let $connection = &mut ***tx;
                $run
            }
        }
    };
}

pub(super) use {on, within};

/// Of all stores of the process, as [failures](super::failures) are.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How many statements and transactions were begun in this process.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// A statement or a transaction begins.
pub(super) fn count_call() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

impl Db {
    /// Begins a write transaction for nobody in particular: somebody who is not known yet, or the server.
    ///
    /// On SQLite it holds the write lock from here on, so it cannot fail half-way because somebody else began to write.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] where too many wait, else [`StoreError::Unavailable`].
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_as(Writing::ForNobody).await
    }

    /// The same for the user who asks for it: users [take turns](Turns), so that one with many writes holds up nobody.
    /// A change that a signed-in user asks for begins with [`Store::begin_for`](super::Store::begin_for), which comes here.
    pub(super) async fn begin_for(&self, user: UserId) -> Result<Tx, StoreError> {
        self.begin_as(Writing::For(user)).await
    }

    /// The same, for whomever.
    pub(super) async fn begin_as(&self, writing: Writing) -> Result<Tx, StoreError> {
        count_call();
        // Boxed: the library's futures have 4 KB, which every future that may begin a transaction would have too.
        Ok(match self {
            Self::Sqlite { w, turns, .. } => {
                let turn = Some(turns.take(writing).await?);
                let transaction = Box::pin(w.begin_with("BEGIN IMMEDIATE")).await?;
                Tx::Sqlite(InTurn { transaction, turn })
            }
            Self::Postgres(pool, turns) => {
                // One connection more than take turns is free for the one batch of messages.
                let takes_turns = writing != Writing::Messages;
                let turn = if takes_turns { Some(turns.take(writing).await?) } else { None };
                Tx::Postgres(InTurn { transaction: Box::pin(pool.begin()).await?, turn })
            }
        })
    }

    /// Whether every connection is free.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        fn is_free<D: Database>(pool: &sqlx::Pool<D>) -> bool {
            usize::try_from(pool.size()).is_ok_and(|open| open == pool.num_idle())
        }
        match self {
            Self::Sqlite { w, r, .. } => is_free(w) && is_free(r),
            Self::Postgres(pool, _) => is_free(pool),
        }
    }

    /// Waits for every connection to come back and closes it.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { w, r, .. } => {
                r.close().await;
                w.close().await;
            }
            Self::Postgres(pool, _) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes it durable. On an error it is not known whether it is.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    /// Undoes it, and returns when the connection is free again.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }

    /// Ends it: committed where `keep`, else undone.
    pub(super) async fn end(self, keep: bool) -> Result<(), StoreError> {
        if keep { self.commit().await } else { self.rollback().await }
    }
}

impl<D: Database> InTurn<D> {
    async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, turn } = self;
        transaction.commit().await?;
        drop(turn);
        Ok(())
    }

    async fn rollback(self) -> Result<(), StoreError> {
        let Self { transaction, turn } = self;
        transaction.rollback().await?;
        drop(turn);
        Ok(())
    }
}

impl<D: Database> Deref for InTurn<D> {
    type Target = Transaction<'static, D>;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl<D: Database> DerefMut for InTurn<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}
