//! The group-commit writer: appends that clients wait for in numbers, many to a transaction.
//!
//! One task per node. It takes all that queued while the last commit ran, writes it in one transaction, and answers
//! each when the commit is durable. The statements decide by data, so one append's refusal is its own answer and
//! not the batch's failure.

use std::{future::Future, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    StoreError,
    challenges::UsedChallenge,
    db::{Db, Tx},
    devices::LastSeen,
};

/// How many appends share a transaction at most: past that, a commit's cost is spread thin enough, and who comes
/// first would only wait longer.
const BATCH: usize = 512;

/// How many appends wait at most: eight batches. The next one is [`StoreError::Overloaded`] at once.
const QUEUE: usize = 8 * BATCH;

/// How long a batch may take, so that a connection that died silently cannot hold up everybody for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A kind of append.
pub(super) trait Append: Send + Sync + Sized {
    /// What whoever asked is told when it is durable.
    type Answer: Send;

    /// Writes all of `batch`, which is not empty, and answers each, in its order.
    fn write(
        tx: &mut Tx,
        batch: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// The handle to the writer, and the owner of its task.
pub(super) struct Writer {
    queue: mpsc::Sender<Queued>,
    stop: CancellationToken,
    task: TaskTracker,
}

/// An append in the queue.
pub(super) enum Queued {
    /// A challenge is used up.
    Challenge(Waiting<UsedChallenge>),
    /// Devices were seen.
    LastSeen(Waiting<LastSeen>),
}

/// An append, and who waits for its answer.
pub(super) struct Waiting<A: Append> {
    append: A,
    answer: oneshot::Sender<Result<A::Answer, StoreError>>,
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(db: Db) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (stop, task) = (CancellationToken::new(), TaskTracker::new());
        task.spawn(run(db, queued, stop.clone()));
        task.close();
        Self { queue, stop, task }
    }

    /// Queues an append and waits until it is durable. Whoever stops waiting does not undo it.
    pub(super) async fn append<A: Append>(
        &self,
        kind: fn(Waiting<A>) -> Queued,
        append: A,
    ) -> Result<A::Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(kind(Waiting { append, answer })).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::closed(),
        })?;
        answered.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// Takes no more appends, carries out those that wait, and returns when the task has ended.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.task.wait().await;
    }
}

async fn run(db: Db, mut queue: mpsc::Receiver<Queued>, stop: CancellationToken) {
    let mut taken = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            count = queue.recv_many(&mut taken, BATCH) => if count == 0 { return },
        }
        carry_out(&db, taken.drain(..).collect()).await;
    }
}

/// Commits a batch and answers it. One that the database refuses is carried out one by one, so that only what it
/// refuses fails; while the database is unavailable that would help nobody.
async fn carry_out(db: &Db, mut batch: Batch) {
    match batch.commit(db).await {
        Err(refusal) if !refusal.is_retryable() && batch.len() > 1 => {
            for mut alone in batch.split() {
                let outcome = alone.commit(db).await;
                alone.answer(outcome);
            }
        }
        outcome => batch.answer(outcome),
    }
}

/// What shares a transaction, by kind.
#[derive(Default)]
struct Batch {
    challenges: Lane<UsedChallenge>,
    last_seen: Lane<LastSeen>,
}

impl FromIterator<Queued> for Batch {
    fn from_iter<T: IntoIterator<Item = Queued>>(queued: T) -> Self {
        let mut batch = Self::default();
        for append in queued {
            match append {
                Queued::Challenge(waiting) => batch.challenges.push(waiting),
                Queued::LastSeen(waiting) => batch.last_seen.push(waiting),
            }
        }
        batch
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.challenges.appends.len() + self.last_seen.appends.len()
    }

    async fn commit(&mut self, db: &Db) -> Result<(), StoreError> {
        if self.len() == 0 {
            return Ok(());
        }
        timeout(BATCH_TIMEOUT, self.write(db)).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    async fn write(&mut self, db: &Db) -> Result<(), StoreError> {
        let mut tx = db.begin().await?;
        self.challenges.write(&mut tx).await?;
        self.last_seen.write(&mut tx).await?;
        tx.commit().await
    }

    fn answer(self, outcome: Result<(), StoreError>) {
        self.challenges.answer(&outcome);
        self.last_seen.answer(&outcome);
    }

    fn split(self) -> impl Iterator<Item = Self> {
        let challenges = self.challenges.split().map(|challenges| Self { challenges, ..Self::default() });
        let last_seen = self.last_seen.split().map(|last_seen| Self { last_seen, ..Self::default() });
        challenges.chain(last_seen)
    }
}

/// The appends of one kind, who waits for each, and what they will be told after the commit.
struct Lane<A: Append> {
    appends: Vec<A>,
    waiting: Vec<oneshot::Sender<Result<A::Answer, StoreError>>>,
    answers: Vec<A::Answer>,
}

impl<A: Append> Default for Lane<A> {
    fn default() -> Self {
        Self { appends: Vec::new(), waiting: Vec::new(), answers: Vec::new() }
    }
}

impl<A: Append> Lane<A> {
    fn push(&mut self, waiting: Waiting<A>) {
        self.appends.push(waiting.append);
        self.waiting.push(waiting.answer);
    }

    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        if !self.appends.is_empty() {
            self.answers = A::write(tx, &self.appends).await?;
        }
        Ok(())
    }

    /// A waiting one that has gone is no trouble: its append is as durable as the others.
    fn answer(self, outcome: &Result<(), StoreError>) {
        match outcome {
            Ok(()) => {
                for (waiting, answer) in self.waiting.into_iter().zip(self.answers) {
                    let _ = waiting.send(Ok(answer));
                }
            }
            Err(error) => {
                for waiting in self.waiting {
                    let _ = waiting.send(Err(error.clone()));
                }
            }
        }
    }

    fn split(self) -> impl Iterator<Item = Self> {
        self.appends.into_iter().zip(self.waiting).map(|(append, answer)| {
            let mut alone = Self::default();
            alone.push(Waiting { append, answer });
            alone
        })
    }
}
