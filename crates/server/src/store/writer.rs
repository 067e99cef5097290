//! The group-commit writer: it commits many appends in one transaction.
//!
//! Each writer is one task. While a commit runs, new appends queue. The task then takes a batch of them, the users in
//! turn, writes it in one transaction, and answers each append when the commit is durable. The statements decide by
//! data: a refused append is an answer of its own and does not fail the batch. An append that other users have to hear
//! of is [delivered](Committed) before it is answered. The appends of one user are written and delivered in the order
//! in which they were queued.
//!
//! A node has two writers, each with its own queue and its own kinds of appends: one for messages, chat and receipts, and
//! one for sign-ins, so that a sign-in does not wait for messages.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aldis_protocol::UserId;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    StoreError,
    committed::{Committed, Durable},
    db::{Db, Tx},
    health::{self, WriteHealth},
    turns::Writing,
};
use crate::metrics::{WriterFigures, WriterStatistics};

mod lane;
mod messages;
mod queue;
mod sign_ins;

pub(crate) use self::queue::BYTES as WRITER_QUEUE_BYTES;
use self::queue::Queue;
pub(super) use self::{
    messages::{MessageAppend, MessageBatch},
    sign_ins::{SignInAppend, SignInBatch},
};

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

/// The appends in the queue of one writer: an enum of its kinds.
pub(super) trait Queued: Send + 'static {
    /// How many rows it changes.
    fn rows(&self) -> usize;

    /// Answers with an error; the append is not carried out.
    fn refuse(self, error: StoreError);
}

/// The appends of one writer that share a transaction, by kind.
pub(super) trait Batch: Sized + Send + 'static {
    /// An append in the queue.
    type Queued: Queued;

    /// In which turn its transactions begin.
    const WRITING: Writing;

    /// The batch of these appends, in the order in which they were queued.
    fn of(queued: Vec<Self::Queued>) -> Self;

    /// How many appends it has.
    fn len(&self) -> usize;

    /// Writes all of them.
    fn write(&mut self, tx: &mut Tx) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Answers the appends that concern no other user, and all of them after an error. Returns the others in the order
    /// in which they were queued.
    fn answer(self, outcome: &Result<(), StoreError>) -> Vec<Committed>;

    /// Splits the batch into batches of one append, in the order in which they were queued.
    fn split(self) -> Vec<Self>;
}

/// A handle to a writer, which owns its task.
pub(super) struct Writer<B: Batch> {
    queue: Arc<Queue<B::Queued>>,
    delivery: Delivery,
    task: TaskTracker,
    statistics: Arc<WriterStatistics>,
}

/// Where committed appends go that are delivered before they are answered.
type Delivery = Arc<OnceLock<mpsc::Sender<Vec<Committed>>>>;

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

impl<A: Append> Waiting<A> {
    fn rows(&self) -> usize {
        self.append.rows()
    }

    /// Answers with an error; the append is not carried out.
    fn refuse(self, error: StoreError) {
        self.responder.respond(Err(error));
    }
}

impl<T> Responder<T> {
    /// Answers the caller.
    pub(super) fn respond(self, answer: Result<T, StoreError>) {
        self.reply.send(answer);
    }
}

impl<B: Batch> Writer<B> {
    /// Starts the task.
    pub(super) fn start(db: Db, health: Arc<WriteHealth>) -> Self {
        let (queue, task, delivery) = (Arc::new(Queue::default()), TaskTracker::new(), Arc::default());
        let statistics = Arc::<WriterStatistics>::default();
        let target = Target { db, health, statistics: Arc::clone(&statistics) };
        task.spawn(run::<B>(target, Arc::clone(&queue), Arc::clone(&delivery)));
        task.close();
        Self { queue, delivery, task, statistics }
    }

    /// Queues an append. Later appends of the same user are not carried out before it.
    ///
    /// The reply is [`StoreError::Overloaded`] if the queue has no room, also later, if the append is dropped to make room
    /// for users with less in the queue. After the end it is [`StoreError::Unavailable`].
    pub(super) fn submit<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> B::Queued,
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
        kind: fn(Waiting<A>) -> B::Queued,
        append: A,
    ) -> Result<A::Answer, StoreError> {
        PendingAppend::by(|reply| self.submit(kind, append, reply)).answer().await
    }

    /// What it tells about itself.
    pub(super) fn figures(&self, name: &'static str) -> WriterFigures<'_> {
        WriterFigures { name, queued_bytes: self.queue.bytes(), statistics: &self.statistics }
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

impl Writer<MessageBatch> {
    /// Receives the committed appends from now on, in the order in which each user queued them. The receiver must
    /// answer each. Only the first call gets anything. Before it, and after the receiver is dropped, the writer
    /// answers by itself.
    pub(super) fn committed(&self) -> mpsc::Receiver<Vec<Committed>> {
        let (sender, receiver) = mpsc::channel(UNDELIVERED_BATCHES);
        // After a second call, the sender is dropped and its receiver ends at once.
        let _ = self.delivery.set(sender);
        receiver
    }
}

/// The database for the batches, and the health that records whether they succeed.
struct Target {
    db: Db,
    health: Arc<WriteHealth>,
    statistics: Arc<WriterStatistics>,
}

/// Abandons the queue when the task ends, also by a panic; otherwise callers would wait for ever.
struct Abandoned<Q: Queued>(Arc<Queue<Q>>);

impl<Q: Queued> Drop for Abandoned<Q> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

async fn run<B: Batch>(target: Target, queue: Arc<Queue<B::Queued>>, delivery: Delivery) {
    let queue = Abandoned(queue);
    while let Some(queued) = queue.0.take(BATCH).await {
        carry_out(&target, B::of(queued), delivery.get()).await;
    }
}

/// Commits a batch and answers it. If the database refuses the batch, each append is tried in a transaction of its
/// own, so that only the refused one fails. That would not help while the database is unavailable, so then all fail.
async fn carry_out<B: Batch>(target: &Target, mut batch: B, delivery: Option<&mpsc::Sender<Vec<Committed>>>) {
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
    async fn commit<B: Batch>(&self, batch: &mut B) -> Result<(), StoreError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let (start, appends) = (Instant::now(), batch.len());
        let outcome = timeout(BATCH_TIMEOUT, self.write_until_undisturbed(batch)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::timed_out()));
        self.statistics.wrote(appends, start.elapsed());
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

    async fn write_until_undisturbed<B: Batch>(&self, batch: &mut B) -> Result<(), StoreError> {
        for _ in 1..ATTEMPTS {
            match self.write(batch).await {
                Err(error) if error.is_lost_race() => {}
                outcome => return outcome,
            }
        }
        self.write(batch).await
    }

    async fn write<B: Batch>(&self, batch: &mut B) -> Result<(), StoreError> {
        let mut tx = self.db.begin_as(B::WRITING).await?;
        batch.write(&mut tx).await?;
        tx.commit().await
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
