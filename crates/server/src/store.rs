//! The durable state: accounts, identities, devices, contacts, sightings, mailboxes, rooms and their messages,
//! notices, refresh tokens, second factors, revocations and used challenges, in SQLite or PostgreSQL.
//!
//! There is one file for each subject, with its statements. A statement is written once if both backends take the same
//! text. A write is a short transaction of its own, and users [take turns](turns) to run theirs. Frequent writes that
//! a caller waits for go through a [`writer`], which commits many of them in one transaction. All times are Unix
//! milliseconds and come from the caller.

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
mod keys;
mod mailbox;
mod migrations;
mod notices;
mod orders;
mod overview;
mod postgres;
mod relation_log;
mod restored;
mod revocations;
mod rooms;
mod rotation_backup;
mod rotation_ends;
mod row;
mod sightings;
pub(crate) mod snapshot;
mod sqlite;
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
    mailbox::{Marked, NewMessage, NewReceipt, Posted, SenderReceipt, StoredMessage, StoredMeta, Which},
    migrations::{Migration, Migrations},
    notices::{Notice, WaitingNotice},
    orders::{NumberedOrder, Order},
    overview::RoomSummary,
    restored::Restored,
    revocations::{KEPT_PER_USER, NumberedRevocation, Revocation},
    rooms::{MemberChange, NewRoom, Revisions, RoomAccess, RoomCreation, StateChange, StateDocument},
    rotation_ends::EndedRotation,
    sightings::Sighting,
    sweep::SweepClock,
    tokens::{FamilyCreation, LoginProof, NewFamily, REFRESH_IDLE_MS, RefreshFamily, RefreshUse},
    totp::{Evidence, FactorChange, FactorCheck},
    url::{DatabaseUrl, InvalidDatabaseUrl},
    writer::{PendingAppend, ReplyTo, WRITER_QUEUE_BYTES},
};
use self::{
    db::Db,
    health::WriteHealth,
    sweep::{SWEEP_ROWS, sweep_rows},
    url::Target,
    writer::{MessageBatch, SignInBatch, Writer},
};
use crate::metrics::WriterFigures;

/// The open database of one node. Owns its connections and the task of the group-commit writer until
/// [`close`](Self::close).
pub(crate) struct Store {
    db: Db,
    /// Messages, chat and receipts.
    writer: Writer<MessageBatch>,
    /// Sign-ins, and when devices were last seen.
    sign_ins: Writer<SignInBatch>,
    health: Arc<WriteHealth>,
}

/// Options of a [`Store`].
#[derive(Debug, Clone)]
pub(crate) struct StoreOptions {
    /// The most connections to PostgreSQL, 10 by default. Each costs the database a process, and more than a few for
    /// each of its cores only wait for each other.
    pub(crate) postgres_connections: u32,
    /// How long a call waits for a free connection, or for another process's lock on the SQLite file, before it fails
    /// with [`StoreError::Unavailable`]. 5 s by default, so that callers get the error before they give up.
    pub(crate) acquire_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { postgres_connections: 10, acquire_timeout: Duration::from_secs(5) }
    }
}

impl Store {
    /// Opens the database and migrates its tables. A missing SQLite file is created.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached or opened, [`StoreError::NewerDatabase`] and
    /// [`StoreError::Migration`] if its tables do not belong to this version of the server, [`StoreError::Unsuitable`]
    /// if this kind of database cannot be used. [`DatabaseUrl::explain`] turns them into a message for an operator.
    pub(crate) async fn open(url: &DatabaseUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let db = match &url.0 {
            Target::File(path) => sqlite::open_file(path, options).await?,
            Target::Memory => sqlite::open_memory(options).await?,
            Target::Postgres(connect) => postgres::open(connect, options).await?,
        };
        let health = Arc::<WriteHealth>::default();
        let writer = Writer::start(db.clone(), Arc::clone(&health));
        let sign_ins = Writer::start(db.clone(), Arc::clone(&health));
        Ok(Self { writer, sign_ins, health, db })
    }

    /// Carries out every queued append, waits for all other running calls, and closes the connections. Later calls
    /// fail with [`StoreError::Unavailable`].
    pub(crate) async fn close(&self) {
        tokio::join!(self.writer.close(), self.sign_ins.close());
        self.db.close().await;
    }

    /// Returns when the task of a writer has ended, because of [`close`](Self::close) or because it failed.
    pub(crate) async fn writer_ended(&self) {
        tokio::select! {
            () = self.writer.ended() => {}
            () = self.sign_ins.ended() => {}
        }
    }

    /// Commits from now on that other users have to hear of, in the order in which each sender made the requests. The
    /// receiver must answer each of them. There can be only one receiver.
    pub(crate) fn committed(&self) -> mpsc::Receiver<Vec<Committed>> {
        self.writer.committed()
    }

    /// What the writers tell about themselves.
    pub(crate) fn writers(&self) -> Vec<WriterFigures<'_>> {
        vec![self.writer.figures("messages"), self.sign_ins.figures("sign_ins")]
    }

    /// Whether nothing is queued and every connection is free. For the simulation, whose clock differs from the
    /// database's.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.writer.is_at_rest() && self.sign_ins.is_at_rest() && self.db.is_at_rest()
    }

    /// Deletes expired rows, a bounded number at a time, and returns how many. Tables are swept independently: a
    /// failure in one does not stop the others.
    ///
    /// # Errors
    /// The first [`StoreError`]. Deleted rows stay deleted, and the next sweep tries again.
    pub(crate) async fn sweep(&self, now_ms: i64) -> Result<u64, StoreError> {
        let db = &self.db;
        sweep::total([
            ("used_challenges", challenges::sweep(db, now_ms).await),
            ("refresh_tokens", tokens::sweep(db, now_ms).await),
            ("revocations", revocations::sweep(db, now_ms).await),
            ("notices", notices::sweep(db, now_ms).await),
            ("contact_requests", contacts::sweep(db, now_ms).await),
            ("room_refusals", rooms::sweep(db, now_ms).await),
            ("orders", orders::sweep(db, now_ms).await),
            ("relation log", relation_log::sweep(db, now_ms).await),
            ("second_factor_failures", totp::sweep(db, now_ms).await),
            ("kept_devices", rotation_backup::sweep(db, now_ms).await),
            ("messages", mailbox::sweep(db, now_ms).await),
            ("chat_messages", chat::sweep(db, now_ms).await),
        ])
    }
}

/// The version of the newest migration.
fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
}
