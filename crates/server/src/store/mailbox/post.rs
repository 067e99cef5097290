//! Stores posted messages, many in one transaction.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use aldis_protocol::{DeviceId, MessageId, RequestId, UserId, api::ContactDecision};
use bytes::Bytes;
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};
use uuid::Uuid;

use super::{
    Mailboxes, StoredMessage, UNDELIVERED_OF_STRANGERS, UNDELIVERED_PER_MAILBOX, UNDELIVERED_PER_SENDER,
    sequence,
};
use crate::store::{
    Store, StoreError,
    batch::{hex_list, in_pieces, with_values},
    contacts,
    db::{Tx, within},
    relation_log,
    writer::{Append, Queued, ReplyTo},
};

/// A message to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewMessage {
    /// The sender.
    pub(crate) sender: UserId,
    /// The sender's device.
    pub(crate) sender_device: DeviceId,
    /// The sender's request id.
    pub(crate) request: RequestId,
    /// The user whom the sender named.
    pub(crate) addressee: UserId,
    /// The addressee if the sender may reach them, otherwise an id that belongs to nobody.
    pub(crate) recipient: UserId,
    /// The encrypted content.
    pub(crate) encrypted_content: Bytes,
    /// Whether the recipient has allowed the sender, or is the sender.
    pub(crate) is_allowed: bool,
    /// Whether the sender contacts the recipient for the first time; from now on the recipient may answer.
    pub(crate) reaches_out: bool,
    /// When the server received it.
    pub(crate) now_ms: i64,
}

/// The outcome of posting a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The message was stored.
    Stored(StoredMeta),
    /// The same message was stored before.
    Duplicate(StoredMeta),
    /// The sender's device used this id for another message.
    Conflict,
    /// The recipient's undelivered messages have reached a limit: in all, from this sender, or from all senders whom
    /// the recipient has not allowed.
    MailboxFull,
    /// There is no such user.
    NoSuchUser,
}

/// The id, numbers and time of a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredMeta {
    /// Its id.
    pub(crate) message_id: MessageId,
    /// Its number in the sender's mailbox.
    pub(crate) sender_seq: u64,
    /// Its number in the recipient's mailbox.
    pub(crate) recipient_seq: u64,
    /// When it was committed.
    pub(crate) created_at_ms: i64,
}

impl Store {
    /// Queues a message to be stored.
    pub(crate) fn post(&self, message: NewMessage, reply: ReplyTo<Posted>) {
        self.writer.submit(Queued::Message, message, reply);
    }
}

impl NewMessage {
    /// The mailboxes in which it takes a number.
    pub(in crate::store) fn mailboxes(&self) -> [UserId; 2] {
        [self.sender, self.recipient]
    }

    /// The stored message as one of the two users sees it in their mailbox.
    pub(crate) fn kept_for(&self, user: UserId, kept: StoredMeta) -> StoredMessage {
        StoredMessage {
            message_id: kept.message_id,
            sender: self.sender,
            sender_device: self.sender_device.clone(),
            request: self.request.clone(),
            recipient: self.recipient,
            seq: if user == self.recipient { kept.recipient_seq } else { kept.sender_seq },
            encrypted_content: self.encrypted_content.clone(),
            created_at_ms: kept.created_at_ms,
            delivered_at_ms: None,
            read_at_ms: None,
        }
    }

    /// The key by which a repetition is recognised: the sender's device and request id.
    fn name(&self) -> (&str, &str) {
        (self.sender_device.as_str(), self.request.as_str())
    }
}

impl Append for NewMessage {
    type Answer = Posted;
    type Locked = Mailboxes;

    fn user(&self) -> Option<UserId> {
        Some(self.sender)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.encrypted_content.len()
    }

    /// First writes the batch as if no message were a repetition and every mailbox had room. The number of inserted
    /// rows and the counters show whether that holds. If not, it sets repetitions and messages for full mailboxes
    /// aside and numbers the rest again, so that no number is left out.
    async fn write(
        tx: &mut Tx,
        mailboxes: &mut Mailboxes,
        batch: &[Self],
    ) -> Result<Vec<Posted>, StoreError> {
        let created_at_ms = batch.iter().map(|message| message.now_ms).max().unwrap_or_default();
        let (before, quotas) = (mailboxes.clone(), SenderQuotas::count(tx, mailboxes, batch).await?);
        let mut outcomes =
            Outcomes::of(batch, DedupIndex::default(), mailboxes, quotas.clone(), created_at_ms);
        if outcomes.has_refusals() || !insert_new(tx, &outcomes.kept).await? {
            *mailboxes = before;
            let index = DedupIndex::find(tx, batch).await?;
            outcomes = Outcomes::of(batch, index, mailboxes, quotas, created_at_ms);
            insert(tx, &outcomes.kept, "").await?;
        }
        let Outcomes { posted, kept } = outcomes;
        let mut first_contacts: Vec<(UserId, UserId)> = kept
            .iter()
            .filter(|(message, _)| message.reaches_out)
            .map(|(message, _)| (message.sender, message.recipient))
            .collect();
        first_contacts.sort_unstable();
        first_contacts.dedup();
        contacts::reach_out(tx, &first_contacts, created_at_ms).await?;
        relation_log::append(tx, &first_contacts, created_at_ms).await?;
        Ok(posted)
    }
}

/// The outcome of each message of a batch, and the messages to store.
struct Outcomes<'a> {
    posted: Vec<Posted>,
    kept: Vec<(&'a NewMessage, StoredMeta)>,
}

impl<'a> Outcomes<'a> {
    fn of(
        batch: &'a [NewMessage],
        mut index: DedupIndex<'a>,
        mailboxes: &mut Mailboxes,
        mut quotas: SenderQuotas,
        created_at_ms: i64,
    ) -> Self {
        let mut kept = Vec::with_capacity(batch.len());
        let posted = batch.iter().map(|message| {
            index.find_same(message).unwrap_or_else(|| {
                let outcome = post(message, mailboxes, &mut quotas, created_at_ms);
                if let Posted::Stored(new) = outcome {
                    index.add(message, new);
                    kept.push((message, new));
                }
                outcome
            })
        });
        Self { posted: posted.collect(), kept }
    }

    /// Whether a message was refused that may have been stored before.
    fn has_refusals(&self) -> bool {
        self.posted.iter().any(|outcome| matches!(outcome, Posted::MailboxFull | Posted::NoSuchUser))
    }
}

/// Numbers a new message if there is room for it.
fn post(
    message: &NewMessage,
    mailboxes: &mut Mailboxes,
    quotas: &mut SenderQuotas,
    created_at_ms: i64,
) -> Posted {
    let NewMessage { sender, recipient, is_allowed, .. } = *message;
    if !mailboxes.has(sender) {
        return Posted::NoSuchUser;
    }
    let Some(mailbox) = mailboxes.of(recipient) else { return Posted::NoSuchUser };
    if mailbox.undelivered >= UNDELIVERED_PER_MAILBOX || !quotas.admit(sender, is_allowed, recipient) {
        return Posted::MailboxFull;
    }
    mailbox.change_undelivered(1);
    let recipient_seq = mailbox.number();
    let sender_seq = match mailboxes.of(sender) {
        Some(mailbox) if sender != recipient => mailbox.number(),
        Some(_) | None => recipient_seq,
    };
    Posted::Stored(StoredMeta {
        message_id: message_id(created_at_ms),
        sender_seq: sequence(sender_seq),
        recipient_seq: sequence(recipient_seq),
        created_at_ms,
    })
}

fn message_id(created_at_ms: i64) -> MessageId {
    let unix_ms = u64::try_from(created_at_ms).unwrap_or_default();
    MessageId::new(uuid::Builder::from_unix_timestamp_millis(unix_ms, &rand::random()).into_uuid())
}

/// The messages of a batch that are stored already, by device and request id.
#[derive(Default)]
struct DedupIndex<'a>(HashMap<(Cow<'a, str>, Cow<'a, str>), IndexedMessage>);

struct IndexedMessage {
    kept: StoredMeta,
    recipient: UserId,
    encrypted_content: Bytes,
}

#[derive(sqlx::FromRow)]
struct IndexedRow {
    sender_device_id: String,
    request_id: String,
    message_id: Uuid,
    sender_seq: i64,
    recipient_id: Uuid,
    recipient_seq: i64,
    encrypted_content: Vec<u8>,
    created_at_ms: i64,
}

impl<'a> DedupIndex<'a> {
    async fn find(tx: &mut Tx, batch: &[NewMessage]) -> Result<Self, StoreError> {
        let rows: Vec<IndexedRow> = match tx {
            Tx::Sqlite(tx) => {
                let names: Vec<_> = batch.iter().map(NewMessage::name).collect();
                let names = serde_json::to_string(&names).unwrap_or_default();
                sqlx::query_as(
                    "SELECT sender_device_id, request_id, message_id, sender_seq, recipient_id, recipient_seq, \
                         encrypted_content, created_at_ms FROM json_each($1) AS batch CROSS JOIN messages \
                     ON sender_device_id = batch.value ->> 0 AND request_id = batch.value ->> 1",
                )
                .bind(names)
                .fetch_all(&mut ***tx)
                .await?
            }
            Tx::Postgres(tx) => {
                let (devices, requests): (Vec<_>, Vec<_>) = batch.iter().map(NewMessage::name).unzip();
                sqlx::query_as(
                    "SELECT sender_device_id, request_id, message_id, sender_seq, recipient_id, recipient_seq, \
                         encrypted_content, created_at_ms FROM unnest($1::text[], $2::text[]) AS batch (device, request) \
                     JOIN messages ON sender_device_id = batch.device AND request_id = batch.request",
                )
                .bind(devices)
                .bind(requests)
                .fetch_all(&mut ***tx)
                .await?
            }
        };
        Ok(Self(rows.into_iter().map(IndexedRow::named).collect()))
    }

    /// The outcome of a message whose key is in the index.
    fn find_same(&self, message: &NewMessage) -> Option<Posted> {
        let (device, request) = message.name();
        let stored = self.0.get(&(device.into(), request.into()))?;
        let is_same =
            stored.recipient == message.addressee && stored.encrypted_content == message.encrypted_content;
        Some(if is_same { Posted::Duplicate(stored.kept) } else { Posted::Conflict })
    }

    fn add(&mut self, message: &'a NewMessage, kept: StoredMeta) {
        let (device, request) = message.name();
        let stored = IndexedMessage {
            kept,
            recipient: message.recipient,
            encrypted_content: message.encrypted_content.clone(),
        };
        self.0.insert((device.into(), request.into()), stored);
    }
}

impl IndexedRow {
    fn named<'a>(self) -> ((Cow<'a, str>, Cow<'a, str>), IndexedMessage) {
        let kept = StoredMeta {
            message_id: MessageId::new(self.message_id),
            sender_seq: sequence(self.sender_seq),
            recipient_seq: sequence(self.recipient_seq),
            created_at_ms: self.created_at_ms,
        };
        let recipient = UserId::new(self.recipient_id);
        let stored = IndexedMessage { kept, recipient, encrypted_content: self.encrypted_content.into() };
        ((self.sender_device_id.into(), self.request_id.into()), stored)
    }
}

/// The senders of the undelivered messages, for mailboxes that may be at a limit by sender.
#[derive(Clone)]
struct SenderQuotas(HashMap<UserId, SenderQuota>);

/// The senders of one mailbox's undelivered messages.
#[derive(Clone, Default)]
struct SenderQuota {
    by_sender: HashMap<UserId, i64>,
    /// Messages from all senders whom the user has not allowed.
    of_strangers: i64,
}

impl SenderQuotas {
    async fn count(tx: &mut Tx, mailboxes: &mut Mailboxes, batch: &[NewMessage]) -> Result<Self, StoreError> {
        let mut incoming: HashMap<UserId, i64> = HashMap::new();
        for message in batch {
            *incoming.entry(message.recipient).or_default() += 1;
        }
        let near_limit: HashSet<UserId> = incoming
            .into_iter()
            .filter(|(recipient, more)| {
                mailboxes
                    .of(*recipient)
                    .is_some_and(|mailbox| mailbox.undelivered + more > UNDELIVERED_PER_SENDER)
            })
            .map(|(recipient, _)| recipient)
            .collect();
        let mut quotas = HashMap::with_capacity(near_limit.len());
        for recipient in near_limit {
            quotas.insert(recipient, SenderQuota::count(tx, recipient).await?);
        }
        Ok(Self(quotas))
    }

    /// Whether the mailbox accepts another message from the sender. If so, the message is counted.
    fn admit(&mut self, sender: UserId, is_allowed: bool, recipient: UserId) -> bool {
        self.0.get_mut(&recipient).is_none_or(|quota| quota.admit(sender, is_allowed))
    }
}

impl SenderQuota {
    async fn count(tx: &mut Tx, recipient: UserId) -> Result<Self, StoreError> {
        let select = "SELECT sender_id, undelivered, decision FROM \
                 (SELECT sender_id, COUNT(*) AS undelivered FROM messages \
                  WHERE recipient_id = $1 AND delivered_at_ms IS NULL GROUP BY sender_id) AS senders \
             LEFT JOIN contacts ON user_id = $1 AND peer_id = sender_id AND decision = $2";
        let rows: Vec<(Uuid, i64, Option<String>)> = within!(tx, connection => {
            let query = sqlx::query_as(select).bind(recipient.as_uuid());
            query.bind(ContactDecision::Allowed.as_str()).fetch_all(connection).await?
        });
        let mut quota = Self::default();
        for (sender, undelivered, allowed) in rows {
            let sender = UserId::new(sender);
            if allowed.is_none() && sender != recipient {
                quota.of_strangers += undelivered;
            }
            quota.by_sender.insert(sender, undelivered);
        }
        Ok(quota)
    }

    fn admit(&mut self, sender: UserId, is_allowed: bool) -> bool {
        let of_sender = self.by_sender.entry(sender).or_default();
        let has_room = *of_sender < UNDELIVERED_PER_SENDER
            && (is_allowed || self.of_strangers < UNDELIVERED_OF_STRANGERS);
        *of_sender += i64::from(has_room);
        self.of_strangers += i64::from(has_room && !is_allowed);
        has_room
    }
}

/// Inserts messages, if none of them is stored already. Otherwise it inserts none and returns false.
async fn insert_new(tx: &mut Tx, kept: &[(&NewMessage, StoredMeta)]) -> Result<bool, StoreError> {
    let on_conflict = "ON CONFLICT (sender_device_id, request_id) DO NOTHING";
    let are_new = insert(tx, kept, on_conflict).await? == kept.len() as u64;
    if !are_new {
        delete(tx, kept).await?;
    }
    Ok(are_new)
}

async fn insert(
    tx: &mut Tx,
    kept: &[(&NewMessage, StoredMeta)],
    on_conflict: &'static str,
) -> Result<u64, StoreError> {
    match tx {
        _ if kept.is_empty() => Ok(0),
        Tx::Sqlite(tx) => insert_sqlite(tx, kept, on_conflict).await,
        Tx::Postgres(tx) => insert_postgres(tx, kept, on_conflict).await,
    }
}

async fn delete(tx: &mut Tx, kept: &[(&NewMessage, StoredMeta)]) -> Result<(), StoreError> {
    let ids = kept.iter().map(|(_, kept)| kept.message_id.as_uuid());
    match tx {
        Tx::Sqlite(tx) => {
            let delete = "DELETE FROM messages WHERE message_id IN (SELECT unhex(value) FROM json_each($1))";
            sqlx::query(delete).bind(hex_list(ids)).execute(&mut ***tx).await?;
        }
        Tx::Postgres(tx) => {
            let delete = "DELETE FROM messages WHERE message_id = ANY ($1)";
            sqlx::query(delete).bind(ids.collect::<Vec<_>>()).execute(&mut ***tx).await?;
        }
    }
    Ok(())
}

async fn insert_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    kept: &[(&NewMessage, StoredMeta)],
    on_conflict: &'static str,
) -> Result<u64, StoreError> {
    const COLUMNS: usize = 9;
    let insert = "INSERT INTO messages (message_id, sender_id, sender_device_id, request_id, sender_seq, recipient_id, \
         recipient_seq, encrypted_content, created_at_ms)";
    let mut inserted = 0;
    for piece in in_pieces(kept) {
        let mut query = sqlx::query(with_values(insert, COLUMNS, piece.len(), on_conflict));
        for (message, kept) in piece {
            query = query
                .bind(kept.message_id.as_uuid())
                .bind(message.sender.as_uuid())
                .bind(message.sender_device.as_str())
                .bind(message.request.as_str())
                .bind(super::stored_sequence(kept.sender_seq))
                .bind(message.recipient.as_uuid())
                .bind(super::stored_sequence(kept.recipient_seq))
                .bind(message.encrypted_content.as_ref())
                .bind(kept.created_at_ms);
        }
        inserted += query.execute(&mut **tx).await?.rows_affected();
    }
    Ok(inserted)
}

async fn insert_postgres(
    tx: &mut Transaction<'static, Postgres>,
    kept: &[(&NewMessage, StoredMeta)],
    on_conflict: &'static str,
) -> Result<u64, StoreError> {
    let insert = "INSERT INTO messages (message_id, sender_id, sender_device_id, request_id, sender_seq, recipient_id, \
             recipient_seq, encrypted_content, created_at_ms) \
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::bigint[], \
             $8::bytea[], $9::bigint[])";
    fn column<T>(kept: &[(&NewMessage, StoredMeta)], of: impl Fn(&NewMessage, &StoredMeta) -> T) -> Vec<T> {
        kept.iter().map(|(message, kept)| of(message, kept)).collect()
    }
    let contents: Vec<&[u8]> = kept.iter().map(|(message, _)| message.encrypted_content.as_ref()).collect();
    let inserted = sqlx::query(AssertSqlSafe(format!("{insert} {on_conflict}")))
        .bind(column(kept, |_, kept| kept.message_id.as_uuid()))
        .bind(column(kept, |message, _| message.sender.as_uuid()))
        .bind(kept.iter().map(|(message, _)| message.sender_device.as_str()).collect::<Vec<_>>())
        .bind(kept.iter().map(|(message, _)| message.request.as_str()).collect::<Vec<_>>())
        .bind(column(kept, |_, kept| super::stored_sequence(kept.sender_seq)))
        .bind(column(kept, |message, _| message.recipient.as_uuid()))
        .bind(column(kept, |_, kept| super::stored_sequence(kept.recipient_seq)))
        .bind(contents)
        .bind(column(kept, |_, kept| kept.created_at_ms))
        .execute(&mut **tx)
        .await?;
    Ok(inserted.rows_affected())
}
