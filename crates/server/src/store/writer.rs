//! A group-commit writer: appends that clients wait for in numbers, many to a transaction.
//!
//! Each writer is one task. It takes what queued while the last commit ran, the users in turn, writes it in one
//! transaction, and answers each append when the commit is durable. The statements decide by data, so one append's
//! refusal is its own answer and not the batch's failure. What others have to hear of is handed to whoever
//! [delivers](Committed) before it is answered. The appends of one user are written and handed on in the order in which
//! they were queued.
//!
//! A node has two: one for messages, chat and receipts, and one for those that sign in, who wait for no message.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aldis_protocol::UserId;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    StoreError,
    challenges::UsedChallenge,
    chat::{NewChat, Rooms},
    committed::{Committed, Durable},
    db::{Db, Tx},
    devices::LastSeen,
    health::{self, WriteHealth},
    mailbox::{Mailboxes, NewMessage, NewReceipt},
    turns::Writing,
};

mod lane;
mod queue;

use self::{lane::Lane, queue::Queue};

/// How many rows a batch changes at most: past that, a commit's cost is spread thin enough, and who comes first would
/// only wait longer.
const BATCH: usize = 512;

/// How often a batch begins anew that lost to another transaction.
const ATTEMPTS: usize = 3;

/// How long a batch may take, so that a connection that died silently cannot hold up everybody for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How many batches wait to be delivered at most; then the writer waits.
const UNDELIVERED_BATCHES: usize = 4;

/// A kind of append.
pub(super) trait Append: Send + Sync + Sized {
    /// What whoever asked is told when it is durable.
    type Answer: Send + 'static;

    /// What the batch has locked for it.
    type Locked: Send;

    /// Who asks for it, where that is known.
    fn user(&self) -> Option<UserId>;

    /// How much memory it takes until it is durable and delivered; fits into 32 bits.
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// How many rows it changes.
    fn rows(&self) -> usize {
        1
    }

    /// Writes all of `batch`, which is not empty, and answers each, in its order.
    fn write(
        tx: &mut Tx,
        locked: &mut Self::Locked,
        batch: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// The handle to a writer, and the owner of its task.
pub(super) struct Writer {
    queue: Arc<Queue>,
    delivery: Arc<OnceLock<mpsc::Sender<Vec<Committed>>>>,
    task: TaskTracker,
}

/// An append in the queue.
pub(super) enum Queued {
    /// A challenge is used up.
    Challenge(Waiting<UsedChallenge>),
    /// Devices were seen.
    LastSeen(Waiting<LastSeen>),
    /// An encrypted message.
    Message(Waiting<NewMessage>),
    /// Encrypted messages arrived, or were read.
    Receipt(Waiting<NewReceipt>),
    /// Something is said in a room.
    Chat(Waiting<NewChat>),
}

/// An append, and who waits for its answer.
pub(super) struct Waiting<A: Append> {
    append: A,
    asker: Asker<A::Answer>,
}

/// Where the outcome of an append goes, and the append's share of the queue's bytes.
pub(super) struct Asker<T> {
    reply: ReplyTo<T>,
    _room: OwnedSemaphorePermit,
}

/// Where the outcome of an append goes. It is called exactly once: dropped without a call, it says that the store is
/// closed. So a caller cannot wait for ever, whatever happens to the writer.
pub(crate) struct ReplyTo<T>(Option<Reply<T>>);

type Reply<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send + Sync>;

/// An append that is queued, and carried out even if nobody waits for it.
#[must_use = "only its answer says whether it was carried out"]
pub(crate) struct Submitted<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T: Send + 'static> ReplyTo<T> {
    /// Calls this with the outcome, from the task that delivers what was committed, or from the one that submits.
    pub(crate) fn new(reply: impl FnOnce(Result<T, StoreError>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(reply)))
    }
}

impl<T> ReplyTo<T> {
    fn send(mut self, outcome: Result<T, StoreError>) {
        self.call(outcome);
    }

    fn call(&mut self, outcome: Result<T, StoreError>) {
        if let Some(reply) = self.0.take() {
            reply(outcome);
        }
    }
}

impl<T> Drop for ReplyTo<T> {
    fn drop(&mut self) {
        self.call(Err(StoreError::closed()));
    }
}

impl<T: Send + 'static> Submitted<T> {
    /// Submits an append whose answer can be awaited.
    pub(crate) fn by(submit: impl FnOnce(ReplyTo<T>)) -> Self {
        let (answer, answered) = oneshot::channel();
        submit(ReplyTo::new(move |outcome| {
            // A caller that is gone needs no answer; the append is as durable as any other.
            let _ = answer.send(outcome);
        }));
        Self(answered)
    }
}

impl<T> Submitted<T> {
    /// Waits until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]; where it is [`StoreError::Unavailable`], it may have been carried out.
    pub(crate) async fn answer(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// Whether there is no answer yet.
    #[cfg(test)]
    fn is_pending(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

impl<T> Asker<T> {
    /// Answers the caller.
    pub(super) fn tell(self, answer: Result<T, StoreError>) {
        self.reply.send(answer);
    }
}

impl Queued {
    /// How many rows it changes.
    fn rows(&self) -> usize {
        match self {
            Self::Challenge(waiting) => waiting.append.rows(),
            Self::LastSeen(waiting) => waiting.append.rows(),
            Self::Message(waiting) => waiting.append.rows(),
            Self::Receipt(waiting) => waiting.append.rows(),
            Self::Chat(waiting) => waiting.append.rows(),
        }
    }

    /// Answers it with an error; it is not carried out.
    fn refuse(self, error: StoreError) {
        match self {
            Self::Challenge(waiting) => waiting.asker.tell(Err(error)),
            Self::LastSeen(waiting) => waiting.asker.tell(Err(error)),
            Self::Message(waiting) => waiting.asker.tell(Err(error)),
            Self::Receipt(waiting) => waiting.asker.tell(Err(error)),
            Self::Chat(waiting) => waiting.asker.tell(Err(error)),
        }
    }
}

impl Writer {
    /// Starts the task. Its transactions take turns as `writing` does.
    pub(super) fn start(db: Db, writing: Writing, health: Arc<WriteHealth>) -> Self {
        let (queue, task, delivery) = (Arc::new(Queue::default()), TaskTracker::new(), Arc::default());
        let target = Target { db, writing, health };
        task.spawn(run(target, Arc::clone(&queue), Arc::clone(&delivery)));
        task.close();
        Self { queue, delivery, task }
    }

    /// What is committed from now on, in the order in which each user queued it. Whoever takes it answers each, and comes
    /// first: a second one gets nothing. Until then, and after the receiver is gone, the writer answers by itself.
    pub(super) fn committed(&self) -> mpsc::Receiver<Vec<Committed>> {
        let (sender, receiver) = mpsc::channel(UNDELIVERED_BATCHES);
        // The receiver of a second call ends at once, with its sender.
        let _ = self.delivery.set(sender);
        receiver
    }

    /// Queues an append. What its user queues later is not carried out before it.
    ///
    /// The reply is [`StoreError::Overloaded`] where the queue has no room, also later, where others who ask for less
    /// need the room; and [`StoreError::Unavailable`] after the end.
    pub(super) fn submit<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> Queued,
        append: A,
        reply: ReplyTo<A::Answer>,
    ) {
        let (user, bytes) = (append.user(), append.bytes());
        match self.queue.reserve(user, bytes) {
            Ok(room) => {
                let asker = Asker { reply, _room: room };
                self.queue.push(user, bytes, kind(Waiting { append, asker }));
            }
            Err(refusal) => reply.send(Err(refusal)),
        }
    }

    /// Queues an append and waits until it is durable. Whoever stops waiting does not undo it.
    pub(super) async fn append<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> Queued,
        append: A,
    ) -> Result<A::Answer, StoreError> {
        Submitted::by(|reply| self.submit(kind, append, reply)).answer().await
    }

    /// Whether nothing is queued.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns when the task has ended.
    pub(super) async fn ended(&self) {
        self.task.wait().await;
    }

    /// Takes no more appends, carries out those that wait, and returns when the task has ended.
    pub(super) async fn close(&self) {
        self.queue.close();
        self.task.wait().await;
    }
}

/// Where batches go, and who is told whether they arrive.
struct Target {
    db: Db,
    writing: Writing,
    health: Arc<WriteHealth>,
}

/// Gives up the queue when the task ends, also by a panic: else appends would wait for nobody.
struct Abandoned(Arc<Queue>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

async fn run(target: Target, queue: Arc<Queue>, delivery: Arc<OnceLock<mpsc::Sender<Vec<Committed>>>>) {
    let queue = Abandoned(queue);
    while let Some(queued) = queue.0.take(BATCH).await {
        carry_out(&target, Batch::of(target.writing, queued), delivery.get()).await;
    }
}

/// Commits a batch and answers it. One that the database refuses is carried out one by one, so that only what it
/// refuses fails; while the database is unavailable that would help nobody.
async fn carry_out(target: &Target, mut batch: Batch, delivery: Option<&mpsc::Sender<Vec<Committed>>>) {
    match target.commit(&mut batch).await {
        Err(refusal) if !refusal.is_retryable() && batch.len() > 1 => {
            for mut alone in batch.split() {
                let outcome = target.commit(&mut alone).await;
                hand_on(alone.answer(&outcome), delivery).await;
            }
        }
        outcome => hand_on(batch.answer(&outcome), delivery).await,
    }
}

impl Target {
    async fn commit(&self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let outcome = batch.commit(&self.db).await;
        match &outcome {
            Ok(()) => self.health.succeeded(),
            Err(error @ StoreError::Unavailable(_)) => {
                self.health.failed();
                health::give_up_read_only(&self.db, error).await;
            }
            Err(_) => {}
        }
        outcome
    }
}

/// Hands what was committed to whoever delivers it, or answers it where nobody does.
async fn hand_on(committed: Vec<Committed>, delivery: Option<&mpsc::Sender<Vec<Committed>>>) {
    if committed.is_empty() {
        return;
    }
    let left = match delivery {
        Some(delivery) => delivery.send(committed).await.err().map(|refused| refused.0),
        None => Some(committed),
    };
    left.into_iter().flatten().for_each(Committed::answer);
}

/// What shares a transaction, by kind.
struct Batch {
    writing: Writing,
    challenges: Lane<UsedChallenge>,
    last_seen: Lane<LastSeen>,
    messages: Lane<NewMessage>,
    receipts: Lane<NewReceipt>,
    chats: Lane<NewChat>,
}

impl Batch {
    fn empty(writing: Writing) -> Self {
        Self {
            writing,
            challenges: Lane::default(),
            last_seen: Lane::default(),
            messages: Lane::default(),
            receipts: Lane::default(),
            chats: Lane::default(),
        }
    }

    fn of(writing: Writing, queued: Vec<Queued>) -> Self {
        let mut batch = Self::empty(writing);
        for (place, append) in queued.into_iter().enumerate() {
            match append {
                Queued::Challenge(waiting) => batch.challenges.push(place, waiting),
                Queued::LastSeen(waiting) => batch.last_seen.push(place, waiting),
                Queued::Message(waiting) => batch.messages.push(place, waiting),
                Queued::Receipt(waiting) => batch.receipts.push(place, waiting),
                Queued::Chat(waiting) => batch.chats.push(place, waiting),
            }
        }
        batch
    }

    fn len(&self) -> usize {
        let of_others = self.messages.len() + self.receipts.len() + self.chats.len();
        self.challenges.len() + self.last_seen.len() + of_others
    }

    async fn commit(&mut self, db: &Db) -> Result<(), StoreError> {
        timeout(BATCH_TIMEOUT, self.write_until_undisturbed(db))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    async fn write_until_undisturbed(&mut self, db: &Db) -> Result<(), StoreError> {
        for _ in 1..ATTEMPTS {
            match self.write(db).await {
                Err(error) if error.is_lost_race() => {}
                outcome => return outcome,
            }
        }
        self.write(db).await
    }

    async fn write(&mut self, db: &Db) -> Result<(), StoreError> {
        let mut tx = db.begin_as(self.writing).await?;
        // All counters at once and first, in the order of their ids: so nodes cannot deadlock.
        let mut mailboxes = Mailboxes::lock(&mut tx, self.mailbox_users()).await?;
        let rooms = self.chats.appends().iter().map(|chat| &chat.room);
        let mut rooms = Rooms::lock(&mut tx, rooms).await?;
        self.challenges.write(&mut tx, &mut ()).await?;
        self.last_seen.write(&mut tx, &mut ()).await?;
        self.messages.write(&mut tx, &mut mailboxes).await?;
        self.receipts.write(&mut tx, &mut mailboxes).await?;
        self.chats.write(&mut tx, &mut rooms).await?;
        mailboxes.write(&mut tx).await?;
        rooms.write(&mut tx).await?;
        tx.commit().await
    }

    fn mailbox_users(&self) -> impl Iterator<Item = UserId> {
        let of_messages = self.messages.appends().iter().flat_map(NewMessage::mailboxes);
        of_messages.chain(self.receipts.appends().iter().map(NewReceipt::mailbox))
    }

    /// Answers what concerns nobody else, and all where it failed. Gives the rest in the order in which it was queued.
    fn answer(self, outcome: &Result<(), StoreError>) -> Vec<Committed> {
        self.challenges.answer(outcome);
        self.last_seen.answer(outcome);
        let mut committed = self.messages.hand_on(outcome, Committed::Message);
        committed.extend(self.receipts.hand_on(outcome, Committed::Receipt));
        committed.extend(self.chats.hand_on(outcome, Committed::Chat));
        committed.sort_unstable_by_key(|(place, _)| *place);
        committed.into_iter().map(|(_, committed)| committed).collect()
    }

    /// One by one, in the order in which they were queued.
    fn split(self) -> impl Iterator<Item = Self> {
        let empty = move || Self::empty(self.writing);
        let challenges = self.challenges.split(|challenges| Self { challenges, ..empty() });
        let last_seen = self.last_seen.split(|last_seen| Self { last_seen, ..empty() });
        let messages = self.messages.split(|messages| Self { messages, ..empty() });
        let receipts = self.receipts.split(|receipts| Self { receipts, ..empty() });
        let chats = self.chats.split(|chats| Self { chats, ..empty() });
        let mut alone: Vec<(usize, Self)> =
            challenges.chain(last_seen).chain(messages).chain(receipts).chain(chats).collect();
        alone.sort_unstable_by_key(|(place, _)| *place);
        alone.into_iter().map(|(_, batch)| batch)
    }
}
