//! Decides whose transaction runs next: users take turns, and a batch of messages waits for a few other transactions
//! at most.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aldis_protocol::UserId;
use tokio::{sync::oneshot, time::timeout};

use super::{StoreError, fair::FairQueue};

/// How many transactions of one user can wait; the next one fails with [`StoreError::Overloaded`].
const WAITING_PER_USER: usize = 64;
/// The same for transactions that belong to no user.
const WAITING_OF_NOBODY: usize = 1024;
/// How many other transactions can run between two batches of messages. So a message waits for at most these and the
/// batch before its own, however much else is written. Each takes a fraction of the time of a batch.
const BETWEEN_BATCHES: u32 = 8;

/// The purpose of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Writing {
    /// A request of this user.
    For(UserId),
    /// A request of an unknown user, or work of the server.
    ForNobody,
    /// The batch of sign-ins and of devices' last connections.
    SignIns,
    /// The batch of messages, chat and receipts.
    Messages,
}

/// The line for the connections that write.
#[derive(Debug)]
pub(super) struct Turns {
    line: Mutex<Line>,
    /// How long a transaction can wait for its turn.
    patience: Duration,
}

#[derive(Debug)]
struct Line {
    /// How many more transactions can run now.
    free: usize,
    waiting: FairQueue<Writing, oneshot::Sender<Turn>>,
    /// There is one writer of messages, so at most one of its batches waits.
    messages: Option<oneshot::Sender<Turn>>,
    /// How many other transactions started since the last batch of messages.
    since_messages: u32,
}

/// The right to run a transaction. Dropping it passes the turn on.
#[derive(Debug)]
#[must_use = "the next one waits until it is dropped"]
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// A line in which `at_once` transactions can run at the same time.
    pub(super) fn new(at_once: usize, patience: Duration) -> Arc<Self> {
        let (waiting, messages) = (FairQueue::default(), None);
        let line = Line { free: at_once.max(1), waiting, messages, since_messages: 0 };
        Arc::new(Self { line: Mutex::new(line), patience })
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] if too many transactions of this user wait, [`StoreError::Unavailable`] if the turn
    /// does not come in time.
    pub(super) async fn take(self: &Arc<Self>, writing: Writing) -> Result<Turn, StoreError> {
        let come = {
            let mut line = self.line();
            if line.free > 0 {
                line.free -= 1;
                line.note(writing);
                return Ok(Turn(Some(Arc::clone(self))));
            }
            line.join(writing)?
        };
        match timeout(self.patience, come).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(StoreError::closed()),
            Err(_) => Err(StoreError::timed_out()),
        }
    }

    /// Passes a turn that has ended to the next transaction that still waits.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut line = self.line();
                let Some(next) = line.next() else {
                    line.free += 1;
                    return;
                };
                next
            };
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // This one no longer waits. Dropping its turn as it is would pass the turn on twice.
                Err(mut unwanted) => drop(mem::take(&mut unwanted.0)),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn join(&mut self, writing: Writing) -> Result<oneshot::Receiver<Turn>, StoreError> {
        let (sender, come) = oneshot::channel();
        if writing == Writing::Messages {
            self.messages = Some(sender);
            return Ok(come);
        }
        let most = if matches!(writing, Writing::For(_)) { WAITING_PER_USER } else { WAITING_OF_NOBODY };
        if self.waiting.weight_of(writing) >= most {
            return Err(StoreError::Overloaded);
        }
        self.waiting.push(writing, 1, sender);
        Ok(come)
    }

    /// The next transaction. A waiting batch of messages goes first once [`BETWEEN_BATCHES`] others have started since
    /// the last batch, or if nothing else waits. So neither side can starve the other: a batch waits for a bounded number
    /// of short transactions, and those wait for one batch.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if (self.since_messages >= BETWEEN_BATCHES || self.waiting.is_empty())
            && let Some(messages) = self.messages.take()
        {
            self.note(Writing::Messages);
            return Some(messages);
        }
        let next = self.waiting.pop()?;
        self.since_messages += 1;
        Some(next)
    }

    fn note(&mut self, writing: Writing) {
        self.since_messages = if writing == Writing::Messages { 0 } else { self.since_messages + 1 };
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use uuid::Uuid;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Result<Turn, StoreError>>>>;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn user(number: u128) -> Writing {
        Writing::For(UserId::new(Uuid::from_u128(number)))
    }

    fn poll(waiting: &mut Waiting) -> Poll<Result<Turn, StoreError>> {
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Joins the line.
    fn joins(turns: &Arc<Turns>, writing: Writing) -> Waiting {
        let turns = Arc::clone(turns);
        let mut waiting: Waiting = Box::pin(async move { turns.take(writing).await });
        assert!(poll(&mut waiting).is_pending());
        waiting
    }

    /// Which of them got a turn.
    fn next(waiting: &mut Vec<(&'static str, Waiting)>) -> Option<(&'static str, Turn)> {
        let came = waiting.iter_mut().enumerate().find_map(|(index, (name, waiting))| match poll(waiting) {
            Poll::Ready(turn) => Some((index, *name, turn.unwrap())),
            Poll::Pending => None,
        });
        came.map(|(index, name, turn)| {
            drop(waiting.remove(index));
            (name, turn)
        })
    }

    fn order(first: Turn, waiting: &mut Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let (mut order, mut turn) = (Vec::new(), first);
        loop {
            drop(turn);
            let Some((name, next)) = next(waiting) else { return order };
            order.push(name);
            turn = next;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_with_many_writes_delays_another_by_one() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(user(1)).await.unwrap();
        let mut waiting: Vec<_> = (0..5).map(|_| ("many", joins(&turns, user(1)))).collect();
        waiting.push(("one", joins(&turns, user(2))));
        waiting.push(("nobody", joins(&turns, Writing::ForNobody)));
        assert_eq!(order(first, &mut waiting), ["many", "one", "nobody", "many", "many", "many", "many"]);
        assert!(turns.take(user(3)).await.is_ok(), "and the turn is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_wait_for_a_few_transactions_and_those_for_one_batch() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(Writing::Messages).await.unwrap();
        let mut waiting: Vec<_> = (0..20).map(|number| ("other", joins(&turns, user(number)))).collect();
        waiting.push(("messages", joins(&turns, Writing::Messages)));
        let order = order(first, &mut waiting);
        let place = order.iter().position(|name| *name == "messages");
        assert_eq!(place, Some(usize::try_from(BETWEEN_BATCHES).unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_transactions_of_a_user_in_the_line_are_limited() {
        let turns = Turns::new(1, PATIENCE);
        let _first = turns.take(user(1)).await.unwrap();
        let _waiting: Vec<_> = (0..WAITING_PER_USER).map(|_| joins(&turns, user(1))).collect();
        assert!(matches!(turns.take(user(1)).await, Err(StoreError::Overloaded)));
        let mut other = pin!(turns.take(user(2)));
        assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_that_left_the_line_is_skipped() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(user(1)).await.unwrap();
        drop(joins(&turns, user(2)));
        let mut waiting = vec![("third", joins(&turns, user(3)))];
        let given_and_dropped = joins(&turns, user(4));
        drop(first);
        let (name, third) = next(&mut waiting).unwrap();
        assert_eq!(name, "third");
        drop(third);
        drop(given_and_dropped);
        assert!(turns.take(user(5)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_in_time_is_unavailable() {
        let turns = Turns::new(1, PATIENCE);
        let _first = turns.take(user(1)).await.unwrap();
        assert!(matches!(turns.take(user(2)).await, Err(StoreError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn several_transactions_run_at_once_with_several_connections() {
        let turns = Turns::new(2, PATIENCE);
        let (_one, two) = (turns.take(user(1)).await.unwrap(), turns.take(user(1)).await.unwrap());
        let mut third = vec![("third", joins(&turns, user(2)))];
        drop(two);
        assert!(next(&mut third).is_some());
    }
}
