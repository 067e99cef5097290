//! What must survive: accounts, identities, devices, contacts, sightings, mailboxes, rooms and what was said in them,
//! notices, refresh tokens, second factors, revocations, used challenges, in SQLite or PostgreSQL.
//!
//! One file per subject, each with its statements, written once where both backends take the same text. A write
//! is a short transaction of its own, for which users [take turns](turns); those that arrive in numbers and are waited
//! for go through a [`writer`], which commits many at once. All times are Unix milliseconds and come from the caller.

use std::{sync::Arc, time::Duration};

use sqlx::migrate::Migrator;
use tokio::sync::mpsc;

mod accounts;
mod administration;
mod batch;
mod blob;
mod chain;
mod challenges;
mod changes;
mod chat;
mod committed;
#[cfg(test)]
mod conformance;
mod contacts;
mod credential;
mod db;
mod devices;
mod error;
mod explain;
mod fair;
mod health;
mod identity;
mod kept;
mod keys;
mod mailbox;
mod notices;
mod postgres;
mod revocations;
mod rooms;
mod rotation_ends;
mod row;
mod sightings;
mod sqlite;
mod standings;
mod sweep;
mod tokens;
mod totp;
mod turns;
mod url;
mod writer;

pub(crate) use self::{
    accounts::{AccountCreation, AccountState, PasswordChange},
    administration::{AccountSummary, Administered, ImportedAccount},
    blob::{BlobPublication, Precondition},
    chain::ChainChange,
    chat::{BYTES_AROUND_MESSAGE, NewChat, RoomPage, Said},
    committed::{Committed, Durable},
    contacts::{Decided, NewRequest},
    credential::{Credential, Unauthorized},
    db::calls,
    devices::{Device, DeviceOwner, NewDevice, Registration},
    error::{StoreError, failures},
    identity::{Identity, IdentityCreation, IdentityLink},
    keys::{KeyPublication, PublishedKey},
    mailbox::{Arrival, Kept, Marked, NewMessage, NewReceipt, Posted, StoredMessage, Which},
    notices::{Notice, Recipients},
    revocations::{KEPT_PER_USER, NumberedRevocation, Revocation},
    rooms::{MemberChange, NewRoom, Revisions, RoomAccess, RoomCreation, StateChange, StateDocument},
    rotation_ends::EndedRotation,
    sightings::Sighting,
    sweep::SweepClock,
    tokens::{FamilyCreation, LoginProof, NewFamily, REFRESH_IDLE_MS, RefreshFamily, RefreshUse},
    totp::{Evidence, FactorChange, FactorCheck},
    url::{DatabaseUrl, InvalidDatabaseUrl},
    writer::{ReplyTo, Submitted},
};
use self::{
    db::Db,
    health::WriteHealth,
    sweep::{SWEEP_ROWS, sweep_rows},
    turns::Writing,
    url::Target,
    writer::Writer,
};

/// The open database of one node. Owns its connections and the task of the group-commit writer until
/// [`close`](Self::close).
pub(crate) struct Store {
    db: Db,
    /// Messages, chat and receipts.
    writer: Writer,
    /// Those that sign in, and devices that were seen.
    sign_ins: Writer,
    health: Arc<WriteHealth>,
}

/// What may be chosen about a [`Store`].
#[derive(Debug, Clone)]
pub(crate) struct StoreOptions {
    /// Connections to PostgreSQL at most, 10 by default: each costs the database a process, and more than a few
    /// for each of its cores only wait for each other.
    pub(crate) postgres_connections: u32,
    /// How long a call waits for a free connection, or for a lock of another process on the SQLite file, before it
    /// is [`StoreError::Unavailable`]; 5 s by default, so that callers hear of trouble before they give up.
    pub(crate) acquire_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { postgres_connections: 10, acquire_timeout: Duration::from_secs(5) }
    }
}

impl Store {
    /// Opens the database, a SQLite file made when missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be reached or opened, [`StoreError::NewerDatabase`] and
    /// [`StoreError::Migration`] where its tables are not those of this server, [`StoreError::Unsuitable`] where it is
    /// of a kind that cannot serve. [`DatabaseUrl::explain`] words them for an operator.
    pub(crate) async fn open(url: &DatabaseUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let db = match &url.0 {
            Target::File(path) => sqlite::open_file(path, options).await?,
            Target::Memory => sqlite::open_memory(options).await?,
            Target::Postgres(connect) => postgres::open(connect, options).await?,
        };
        let health = Arc::<WriteHealth>::default();
        let writer = |writing| Writer::start(db.clone(), writing, Arc::clone(&health));
        let (messages, sign_ins) = (writer(Writing::Messages), writer(Writing::SignIns));
        Ok(Self { writer: messages, sign_ins, health, db })
    }

    /// Carries out every append that was queued, waits for all else that is under way, and closes the connections.
    /// Calls that come later are [`StoreError::Unavailable`].
    pub(crate) async fn close(&self) {
        tokio::join!(self.writer.close(), self.sign_ins.close());
        self.db.close().await;
    }

    /// Returns when the task of a writer has ended: with [`close`](Self::close), or because it failed.
    pub(crate) async fn writer_ended(&self) {
        tokio::select! {
            () = self.writer.ended() => {}
            () = self.sign_ins.ended() => {}
        }
    }

    /// What is committed from now on and concerns others than whoever asked for it, in the order in which each user asked.
    /// Whoever takes it answers each; there can be one.
    pub(crate) fn committed(&self) -> mpsc::Receiver<Vec<Committed>> {
        self.writer.committed()
    }

    /// Whether nothing is queued and every connection is free. For a simulation, whose clock is not the database's.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.writer.is_at_rest() && self.sign_ins.is_at_rest() && self.db.is_at_rest()
    }

    /// Deletes what has expired, a bounded number of rows at a time, and says how many rows that were. Each table is swept
    /// by itself: one that fails keeps none of the others from it.
    ///
    /// # Errors
    /// The first [`StoreError`]; what was deleted stays deleted, and the next sweep tries again.
    pub(crate) async fn sweep(&self, now_ms: i64) -> Result<u64, StoreError> {
        let db = &self.db;
        sweep::total([
            ("used_challenges", challenges::sweep(db, now_ms).await),
            ("refresh_tokens", tokens::sweep(db, now_ms).await),
            ("revocations", revocations::sweep(db, now_ms).await),
            ("notices", notices::sweep(db, now_ms).await),
            ("contact_requests", contacts::sweep(db, now_ms).await),
            ("room_refusals", rooms::sweep(db, now_ms).await),
            ("standings", standings::sweep(db, now_ms).await),
            ("second_factor_failures", totp::sweep(db, now_ms).await),
            ("kept_devices", kept::sweep(db, now_ms).await),
            ("messages", mailbox::sweep(db, now_ms).await),
            ("chat_messages", chat::sweep(db, now_ms).await),
        ])
    }
}

/// The version of the newest migration.
fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
}
