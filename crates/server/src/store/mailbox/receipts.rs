//! When messages were delivered and read. A time that is set never changes.

use std::collections::{BTreeMap, HashMap, HashSet};

use aldis_protocol::{DeviceId, MessageId, UserId};
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use super::{Mailboxes, stored_sequence};
use crate::store::{
    Store, StoreError,
    batch::hex_list,
    db::{Db, Tx, on, within},
    writer::{Append, Queued, ReplyTo},
};

/// How many messages one statement reads or changes.
const ROWS: usize = 2_000;

/// The assumed number of messages that one `sync` confirms, to size a batch; only the database knows the real number.
const USUAL_UPDATES: usize = 16;

/// A user received or read messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewReceipt {
    /// The recipient of the messages.
    pub(crate) user: UserId,
    /// The messages.
    pub(crate) which: Which,
    /// Whether they were read; then they also count as delivered.
    pub(crate) is_read: bool,
    /// The device that reports it.
    pub(crate) device: DeviceId,
    /// The senders who may see the receipt. It stays hidden from the others for good.
    pub(crate) may_hear: Vec<UserId>,
    /// When the server received it.
    pub(crate) now_ms: i64,
}

/// The messages of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// These.
    Ids(Vec<MessageId>),
    /// The messages up to this number in the recipient's mailbox.
    UpTo(u64),
}

/// The outcome of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marked {
    /// The receipt was stored. These are its changes, by sender.
    Done(Vec<SenderReceipt>),
    /// One of the messages is not addressed to the user; nothing was changed.
    Unknown,
}

/// Messages of one sender that were delivered or read at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SenderReceipt {
    /// The sender.
    pub(crate) sender: UserId,
    /// The messages.
    pub(crate) message_ids: Vec<MessageId>,
    /// When they were delivered.
    pub(crate) delivered_at_ms: i64,
    /// When they were delivered, as the sender sees it.
    pub(crate) shown_delivered_at_ms: i64,
    /// When they were read.
    pub(crate) read_at_ms: Option<i64>,
}

impl Store {
    /// Queues a receipt.
    pub(crate) fn mark(&self, receipt: NewReceipt, reply: ReplyTo<Marked>) {
        self.writer.submit(Queued::Receipt, receipt, reply);
    }
}

impl NewReceipt {
    /// The mailbox of the messages.
    pub(in crate::store) const fn mailbox(&self) -> UserId {
        self.user
    }
}

impl Append for NewReceipt {
    type Answer = Marked;
    type Locked = Mailboxes;

    fn bytes(&self) -> usize {
        let ids = if let Which::Ids(ids) = &self.which { size_of_val(ids.as_slice()) } else { 0 };
        size_of::<Self>() + ids + size_of_val(self.may_hear.as_slice())
    }

    fn user(&self) -> Option<UserId> {
        Some(self.user)
    }

    fn rows(&self) -> usize {
        match &self.which {
            Which::Ids(ids) => ids.len().max(1),
            Which::UpTo(_) => USUAL_UPDATES,
        }
    }

    async fn write(
        tx: &mut Tx,
        mailboxes: &mut Mailboxes,
        batch: &[Self],
    ) -> Result<Vec<Marked>, StoreError> {
        let now_ms = batch.iter().map(|receipt| receipt.now_ms).max().unwrap_or_default();
        let mut states = MessageStates::find(tx, batch).await?;
        let mut answers = Vec::with_capacity(batch.len());
        for receipt in batch {
            let found = match &receipt.which {
                Which::Ids(ids) => states.addressed_to(receipt.user, ids),
                Which::UpTo(seq) => Some(states.find_undelivered(tx, receipt.user, *seq).await?),
            };
            let mailbox = mailboxes.of(receipt.user);
            let (Some(ids), Some(mailbox)) = (found, mailbox) else {
                answers.push(Marked::Unknown);
                continue;
            };
            let marked = states.mark(&ids, receipt, now_ms);
            mailbox.change_undelivered(-marked.newly_delivered);
            answers.push(Marked::Done(marked.by_sender));
        }
        states.write(tx).await?;
        Ok(answers)
    }
}

/// The messages of a batch of receipts.
#[derive(Default)]
struct MessageStates(HashMap<MessageId, MessageState>);

#[derive(Debug, Clone, Copy)]
struct MessageState {
    sender: UserId,
    recipient: UserId,
    delivered_at_ms: Option<i64>,
    read_at_ms: Option<i64>,
    delivered_masked: bool,
    read_masked: bool,
    is_changed: bool,
}

/// The changes that a receipt made.
struct Changes {
    newly_delivered: i64,
    by_sender: Vec<SenderReceipt>,
}

#[derive(sqlx::FromRow)]
struct MessageStateRow {
    message_id: Uuid,
    sender_id: Uuid,
    recipient_id: Uuid,
    delivered_at_ms: Option<i64>,
    read_at_ms: Option<i64>,
    delivered_masked: bool,
    read_masked: bool,
}

impl MessageStates {
    async fn find(tx: &mut Tx, batch: &[NewReceipt]) -> Result<Self, StoreError> {
        let ids = batch.iter().flat_map(|receipt| match &receipt.which {
            Which::Ids(ids) => ids.as_slice(),
            Which::UpTo(_) => &[],
        });
        let mut ids: Vec<Uuid> = ids.map(MessageId::as_uuid).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut states = Self::default();
        for ids in ids.chunks(ROWS) {
            states.add(match tx {
                Tx::Sqlite(tx) => select_sqlite(tx, ids).await?,
                Tx::Postgres(tx) => select_postgres(tx, ids).await?,
            });
        }
        Ok(states)
    }

    async fn find_undelivered(
        &mut self,
        tx: &mut Tx,
        user: UserId,
        up_to: u64,
    ) -> Result<Vec<MessageId>, StoreError> {
        let select = "SELECT message_id, sender_id, recipient_id, delivered_at_ms, read_at_ms, delivered_masked, \
             read_masked FROM messages \
             WHERE recipient_id = $1 AND recipient_seq <= $2 AND delivered_at_ms IS NULL \
             AND $2 <= (SELECT last_seq FROM mailboxes WHERE user_id = $1)";
        // Never beyond the last number: after the restore of a backup, a client may still count by the lost numbers,
        // which meant other messages.
        let rows: Vec<MessageStateRow> = within!(tx, connection => {
            let query = sqlx::query_as(select).bind(user.as_uuid()).bind(stored_sequence(up_to));
            query.fetch_all(connection).await?
        });
        let ids = rows.iter().map(|row| MessageId::new(row.message_id)).collect();
        self.add(rows);
        Ok(ids)
    }

    /// Adds the rows, except those that this batch has changed already.
    fn add(&mut self, rows: Vec<MessageStateRow>) {
        for row in rows {
            let state = MessageState {
                sender: UserId::new(row.sender_id),
                recipient: UserId::new(row.recipient_id),
                delivered_at_ms: row.delivered_at_ms,
                read_at_ms: row.read_at_ms,
                delivered_masked: row.delivered_masked,
                read_masked: row.read_masked,
                is_changed: false,
            };
            self.0.entry(MessageId::new(row.message_id)).or_insert(state);
        }
    }

    /// The messages, without repetitions, if all of them are addressed to this user.
    fn addressed_to(&self, user: UserId, ids: &[MessageId]) -> Option<Vec<MessageId>> {
        let is_addressed = |id| self.0.get(id).is_some_and(|state| state.recipient == user);
        let mut ids = ids.iter().all(is_addressed).then(|| ids.to_vec())?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    fn mark(&mut self, ids: &[MessageId], receipt: &NewReceipt, now_ms: i64) -> Changes {
        let informed: HashSet<UserId> = receipt.may_hear.iter().copied().chain([receipt.user]).collect();
        let mut newly_delivered = 0;
        let mut groups: BTreeMap<(UserId, i64, i64), Vec<MessageId>> = BTreeMap::new();
        for id in ids {
            let Some(state) = self.0.get_mut(id) else { continue };
            let newly_arrived = state.delivered_at_ms.is_none();
            let hears = informed.contains(&state.sender);
            let Some((delivered_at_ms, shown_ms)) = state.mark(receipt.is_read, hears, now_ms) else {
                continue;
            };
            newly_delivered += i64::from(newly_arrived);
            groups.entry((state.sender, delivered_at_ms, shown_ms)).or_default().push(*id);
        }
        let read_at_ms = receipt.is_read.then_some(now_ms);
        let by_sender =
            groups.into_iter().map(|((sender, delivered_at_ms, shown_ms), message_ids)| SenderReceipt {
                sender,
                message_ids,
                delivered_at_ms,
                shown_delivered_at_ms: shown_ms,
                read_at_ms,
            });
        Changes { newly_delivered, by_sender: by_sender.collect() }
    }

    async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let changed: Vec<(MessageId, MessageState)> =
            self.0.into_iter().filter(|(_, state)| state.is_changed).collect();
        for changed in changed.chunks(ROWS) {
            match tx {
                Tx::Sqlite(tx) => update_sqlite(tx, changed).await?,
                Tx::Postgres(tx) => update_postgres(tx, changed).await?,
            }
        }
        Ok(())
    }
}

impl MessageState {
    /// Marks the message, if that changes anything. Returns when it was delivered, for the recipient and as its sender
    /// sees it.
    fn mark(&mut self, is_read: bool, hears: bool, now_ms: i64) -> Option<(i64, i64)> {
        let newly_arrived = self.delivered_at_ms.is_none();
        let is_news = newly_arrived || is_read && self.read_at_ms.is_none();
        if !is_news {
            return None;
        }
        self.is_changed = true;
        if newly_arrived {
            self.delivered_masked = !hears;
        }
        let delivered_at_ms = *self.delivered_at_ms.get_or_insert(now_ms);
        if is_read {
            self.read_at_ms = Some(now_ms);
            self.read_masked = !hears;
        }
        Some((delivered_at_ms, if self.delivered_masked { now_ms } else { delivered_at_ms }))
    }
}

/// The senders of those messages that are addressed to the user.
pub(super) async fn senders_of(db: &Db, user: UserId, which: &Which) -> Result<Vec<UserId>, StoreError> {
    let senders: Vec<Uuid> = match which {
        Which::UpTo(seq) => on!(db, r, pool => {
            let select = "SELECT DISTINCT sender_id FROM messages \
                 WHERE recipient_id = $1 AND recipient_seq <= $2 AND delivered_at_ms IS NULL";
            sqlx::query_scalar(select).bind(user.as_uuid()).bind(stored_sequence(*seq)).fetch_all(pool).await?
        }),
        Which::Ids(ids) => match db {
            Db::Sqlite { r, .. } => {
                let select = "SELECT DISTINCT sender_id FROM json_each($1) AS batch \
                     CROSS JOIN messages ON message_id = unhex(batch.value) WHERE recipient_id = $2";
                let ids = hex_list(ids.iter().map(MessageId::as_uuid));
                sqlx::query_scalar(select).bind(ids).bind(user.as_uuid()).fetch_all(r).await?
            }
            Db::Postgres(pool, _) => {
                let select = "SELECT DISTINCT sender_id FROM messages WHERE message_id = ANY ($1) AND recipient_id = $2";
                let ids: Vec<Uuid> = ids.iter().map(MessageId::as_uuid).collect();
                sqlx::query_scalar(select).bind(ids).bind(user.as_uuid()).fetch_all(pool).await?
            }
        },
    };
    Ok(senders.into_iter().map(UserId::new).collect())
}

async fn select_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    ids: &[Uuid],
) -> Result<Vec<MessageStateRow>, StoreError> {
    let select = "SELECT message_id, sender_id, recipient_id, delivered_at_ms, read_at_ms, delivered_masked, \
             read_masked FROM json_each($1) AS batch CROSS JOIN messages ON message_id = unhex(batch.value)";
    Ok(sqlx::query_as(select).bind(hex_list(ids.iter().copied())).fetch_all(&mut **tx).await?)
}

async fn select_postgres(
    tx: &mut Transaction<'static, Postgres>,
    ids: &[Uuid],
) -> Result<Vec<MessageStateRow>, StoreError> {
    let select = "SELECT message_id, sender_id, recipient_id, delivered_at_ms, read_at_ms, delivered_masked, \
             read_masked FROM messages \
         WHERE message_id = ANY ($1)";
    Ok(sqlx::query_as(select).bind(ids).fetch_all(&mut **tx).await?)
}

async fn update_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    changed: &[(MessageId, MessageState)],
) -> Result<(), StoreError> {
    let update = "UPDATE messages SET delivered_at_ms = batch.value ->> 1, read_at_ms = batch.value ->> 2, \
             delivered_masked = batch.value ->> 3, read_masked = batch.value ->> 4 \
         FROM json_each($1) AS batch WHERE message_id = unhex(batch.value ->> 0)";
    let rows: Vec<_> = changed
        .iter()
        .map(|(id, state)| {
            let masked = (state.delivered_masked, state.read_masked);
            (id.as_uuid().simple(), state.delivered_at_ms, state.read_at_ms, masked.0, masked.1)
        })
        .collect();
    let list = serde_json::to_string(&rows).unwrap_or_default();
    sqlx::query(update).bind(list).execute(&mut **tx).await?;
    Ok(())
}

async fn update_postgres(
    tx: &mut Transaction<'static, Postgres>,
    changed: &[(MessageId, MessageState)],
) -> Result<(), StoreError> {
    let update = "UPDATE messages SET delivered_at_ms = batch.delivered_at_ms, read_at_ms = batch.read_at_ms, \
             delivered_masked = batch.delivered_masked, read_masked = batch.read_masked \
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::boolean[], $5::boolean[]) \
             AS batch (message_id, delivered_at_ms, read_at_ms, delivered_masked, read_masked) \
         WHERE messages.message_id = batch.message_id";
    let ids: Vec<Uuid> = changed.iter().map(|(id, _)| id.as_uuid()).collect();
    let delivered: Vec<Option<i64>> = changed.iter().map(|(_, state)| state.delivered_at_ms).collect();
    let read: Vec<Option<i64>> = changed.iter().map(|(_, state)| state.read_at_ms).collect();
    let delivered_masked: Vec<bool> = changed.iter().map(|(_, state)| state.delivered_masked).collect();
    let read_masked: Vec<bool> = changed.iter().map(|(_, state)| state.read_masked).collect();
    let query = sqlx::query(update).bind(ids).bind(delivered).bind(read);
    query.bind(delivered_masked).bind(read_masked).execute(&mut **tx).await?;
    Ok(())
}
