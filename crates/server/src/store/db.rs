//! The two backends: pools, transactions, and macros that write a statement once for both.

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
    /// One connection that writes, and several that only read. A database in memory has the same one for both.
    Sqlite {
        /// The writing connection.
        w: SqlitePool,
        /// The reading connections.
        r: SqlitePool,
        /// The line for the writing connection.
        turns: Arc<Turns>,
    },
    /// Every connection reads and writes. The line is for the transactions that may run at once.
    Postgres(PgPool, Arc<Turns>),
}

/// A write transaction. It is rolled back unless it is committed.
#[must_use = "what is not committed is rolled back"]
pub(super) enum Tx {
    Sqlite(InTurn<Sqlite>),
    Postgres(InTurn<Postgres>),
}

/// A transaction with its turn. The turn ends when the connection goes back to the pool.
pub(super) struct InTurn<D: Database> {
    transaction: Transaction<'static, D>,
    turn: Option<Turn>,
}

/// Runs a statement outside a transaction: `on!(db, r, pool => …)` reads, `on!(db, w, pool => …)` writes.
///
/// A statement that writes and returns rows belongs in a transaction: SQLite commits such a statement only when its
/// last row has been read.
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

/// Counts for all stores of the process, as [failures](super::failures) do.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How many statements and transactions were begun in this process.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Counts a statement or a transaction.
pub(super) fn count_call() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

impl Db {
    /// Begins a write transaction that belongs to no known user, for example one of the server itself.
    ///
    /// On SQLite it takes the write lock at once, so it cannot fail half-way because another transaction began to
    /// write.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] if too many wait, otherwise [`StoreError::Unavailable`].
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_as(Writing::ForNobody).await
    }

    /// The same for a user: users [take turns](Turns), so a user with many writes delays nobody else. A change by a
    /// signed-in user begins with [`Store::begin_for`](super::Store::begin_for), which calls this.
    pub(super) async fn begin_for(&self, user: UserId) -> Result<Tx, StoreError> {
        self.begin_as(Writing::For(user)).await
    }

    /// The same for any kind of write.
    pub(super) async fn begin_as(&self, writing: Writing) -> Result<Tx, StoreError> {
        count_call();
        // Boxed: the library's future is 4 KB, which every future that may begin a transaction would contain.
        Ok(match self {
            Self::Sqlite { w, turns, .. } => {
                let turn = Some(turns.take(writing).await?);
                let transaction = Box::pin(w.begin_with("BEGIN IMMEDIATE")).await?;
                Tx::Sqlite(InTurn { transaction, turn })
            }
            Self::Postgres(pool, turns) => {
                // There is one connection more than turns, which stays free for the batch of messages.
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

    /// Waits until every connection is back in the pool and closes it.
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
    /// Commits. After an error it is not known whether the transaction was committed.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    /// Rolls back, and returns when the connection is free again.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }

    /// Ends the transaction: commits if `keep`, otherwise rolls back.
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
