//! The group-commit writer: it commits many appends in one transaction.
//!
//! Each writer is one task. While a commit runs, new appends queue. The task then takes a batch of them, the users in
//! turn, writes it in one transaction, and answers each append when the commit is durable. The statements decide by
//! data: a refused append is an answer of its own and does not fail the batch. An append that other users have to hear
//! of is [delivered](Committed) before it is answered. The appends of one user are written and delivered in the order
//! in which they were queued.
//!
//! A node has two writers: one for messages, chat and receipts, and one for sign-ins, so that a sign-in does not wait
//! for messages.

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

use self::{lane::BatchLane, queue::Queue};

/// How many rows a batch changes at most. With more rows the cost of a commit for each hardly falls, and the first
/// append would only wait longer.
const BATCH: usize = 512;

/// How often a batch is tried that loses to another transaction.
const ATTEMPTS: usize = 3;

/// How long a batch can take, so that a connection that died silently does not block the writer for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How many batches can wait for delivery; then the writer waits.
const UNDELIVERED_BATCHES: usize = 4;

/// A kind of append.
pub(super) trait Append: Send + Sync + Sized {
    /// The answer to the caller once the append is durable.
    type Answer: Send + 'static;

    /// The counters that the batch has locked for it.
    type Locked: Send;

    /// The user who asked for it, if known.
    fn user(&self) -> Option<UserId>;

    /// How much memory it takes until it is durable and delivered; fits 32 bits.
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// How many rows it changes.
    fn rows(&self) -> usize {
        1
    }

    /// Writes all of `batch`, which is not empty, and returns an answer for each, in order.
    fn write(
        tx: &mut Tx,
        locked: &mut Self::Locked,
        batch: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// A handle to a writer, which owns its task.
pub(super) struct Writer {
    queue: Arc<Queue>,
    delivery: Arc<OnceLock<mpsc::Sender<Vec<Committed>>>>,
    task: TaskTracker,
}

/// An append in the queue.
pub(super) enum Queued {
    /// A challenge to use up.
    Challenge(Waiting<UsedChallenge>),
    /// Devices that were connected.
    LastSeen(Waiting<LastSeen>),
    /// An encrypted message.
    Message(Waiting<NewMessage>),
    /// Encrypted messages that were delivered or read.
    Receipt(Waiting<NewReceipt>),
    /// A chat message.
    Chat(Waiting<NewChat>),
}

/// An append and the caller that waits for it.
pub(super) struct Waiting<A: Append> {
    append: A,
    responder: Responder<A::Answer>,
}

/// Where the outcome of an append goes, and the append's share of the queue's bytes.
pub(super) struct Responder<T> {
    reply: ReplyTo<T>,
    _room: OwnedSemaphorePermit,
}

/// Where the outcome of an append goes. It is called exactly once: if it is dropped without a call, it reports that the
/// store is closed. So a caller never waits for ever, whatever happens to the writer.
pub(crate) struct ReplyTo<T>(Option<Reply<T>>);

type Reply<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send + Sync>;

/// A queued append. It is carried out even if its caller stops waiting.
#[must_use = "only its answer says whether it was carried out"]
pub(crate) struct PendingAppend<T>(oneshot::Receiver<Result<T, StoreError>>);

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

impl<T: Send + 'static> PendingAppend<T> {
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

impl<T> PendingAppend<T> {
    /// Waits until the append is durable.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Unavailable`] it may or may not have been carried out.
    pub(crate) async fn answer(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// Whether there is no answer yet.
    #[cfg(test)]
    fn is_pending(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

impl<T> Responder<T> {
    /// Answers the caller.
    pub(super) fn respond(self, answer: Result<T, StoreError>) {
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

    /// Answers with an error; the append is not carried out.
    fn refuse(self, error: StoreError) {
        match self {
            Self::Challenge(waiting) => waiting.responder.respond(Err(error)),
            Self::LastSeen(waiting) => waiting.responder.respond(Err(error)),
            Self::Message(waiting) => waiting.responder.respond(Err(error)),
            Self::Receipt(waiting) => waiting.responder.respond(Err(error)),
            Self::Chat(waiting) => waiting.responder.respond(Err(error)),
        }
    }
}

impl Writer {
    /// Starts the task. Its transactions take turns as `writing`.
    pub(super) fn start(db: Db, writing: Writing, health: Arc<WriteHealth>) -> Self {
        let (queue, task, delivery) = (Arc::new(Queue::default()), TaskTracker::new(), Arc::default());
        let target = Target { db, writing, health };
        task.spawn(run(target, Arc::clone(&queue), Arc::clone(&delivery)));
        task.close();
        Self { queue, delivery, task }
    }

    /// Receives the committed appends from now on, in the order in which each user queued them. The receiver must
    /// answer each. Only the first call gets anything. Before it, and after the receiver is dropped, the writer
    /// answers by itself.
    pub(super) fn committed(&self) -> mpsc::Receiver<Vec<Committed>> {
        let (sender, receiver) = mpsc::channel(UNDELIVERED_BATCHES);
        // After a second call, the sender is dropped and its receiver ends at once.
        let _ = self.delivery.set(sender);
        receiver
    }

    /// Queues an append. Later appends of the same user are not carried out before it.
    ///
    /// The reply is [`StoreError::Overloaded`] if the queue has no room, also later, if the append is dropped to make room
    /// for users with less in the queue. After the end it is [`StoreError::Unavailable`].
    pub(super) fn submit<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> Queued,
        append: A,
        reply: ReplyTo<A::Answer>,
    ) {
        let (user, bytes) = (append.user(), append.bytes());
        match self.queue.reserve(user, bytes) {
            Ok(room) => {
                let responder = Responder { reply, _room: room };
                self.queue.push(user, bytes, kind(Waiting { append, responder }));
            }
            Err(refusal) => reply.send(Err(refusal)),
        }
    }

    /// Queues an append and waits until it is durable. Dropping the future does not cancel the append.
    pub(super) async fn append<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> Queued,
        append: A,
    ) -> Result<A::Answer, StoreError> {
        PendingAppend::by(|reply| self.submit(kind, append, reply)).answer().await
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

    /// Accepts no more appends, carries out those that wait, and returns when the task has ended.
    pub(super) async fn close(&self) {
        self.queue.close();
        self.task.wait().await;
    }
}

/// The database for the batches, and the health that records whether they succeed.
struct Target {
    db: Db,
    writing: Writing,
    health: Arc<WriteHealth>,
}

/// Abandons the queue when the task ends, also by a panic; otherwise callers would wait for ever.
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

/// Commits a batch and answers it. If the database refuses the batch, each append is tried in a transaction of its
/// own, so that only the refused one fails. That would not help while the database is unavailable, so then all fail.
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

/// Passes committed appends on for delivery, or answers them if nobody receives them.
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

/// The appends that share a transaction, by kind.
struct Batch {
    writing: Writing,
    challenges: BatchLane<UsedChallenge>,
    last_seen: BatchLane<LastSeen>,
    messages: BatchLane<NewMessage>,
    receipts: BatchLane<NewReceipt>,
    chats: BatchLane<NewChat>,
}

impl Batch {
    fn empty(writing: Writing) -> Self {
        Self {
            writing,
            challenges: BatchLane::default(),
            last_seen: BatchLane::default(),
            messages: BatchLane::default(),
            receipts: BatchLane::default(),
            chats: BatchLane::default(),
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
        // Locks all counters before anything else, in the order of their ids, so that two nodes cannot deadlock. The
        // counters stay locked until the commit, so numbers become visible in order and without gaps.
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

    /// Answers the appends that concern no other user, and all of them after an error. Returns the others in the order
    /// in which they were queued.
    fn answer(self, outcome: &Result<(), StoreError>) -> Vec<Committed> {
        self.challenges.answer(outcome);
        self.last_seen.answer(outcome);
        let mut committed = self.messages.hand_on(outcome, Committed::Message);
        committed.extend(self.receipts.hand_on(outcome, Committed::Receipt));
        committed.extend(self.chats.hand_on(outcome, Committed::Chat));
        committed.sort_unstable_by_key(|(place, _)| *place);
        committed.into_iter().map(|(_, committed)| committed).collect()
    }

    /// Splits the batch into batches of one append, in the order in which they were queued.
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
