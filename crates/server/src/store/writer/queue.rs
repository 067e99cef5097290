//! The queue of a writer: it keeps the order of each user's appends and serves the users in turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aldis_protocol::UserId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Queued;
use crate::store::{StoreError, fair::FairQueue};

/// How much memory the appends that are queued, being written or being delivered can take together.
pub(crate) const BYTES: usize = 32 * 1024 * 1024;

/// The least that an append counts for, so that the number of small ones is bounded too: 8,192.
const LEAST_BYTES: usize = 4 * 1024;

/// The queue of one writer.
pub(super) struct Queue<Q> {
    state: Mutex<State<Q>>,
    room: Arc<Semaphore>,
    /// Notified when an append was queued or the queue was closed.
    changed: Notify,
}

struct State<Q> {
    waiting: FairQueue<Option<UserId>, Q>,
    is_closed: bool,
}

impl<Q> Default for Queue<Q> {
    fn default() -> Self {
        let state = State { waiting: FairQueue::default(), is_closed: false };
        Self { state: Mutex::new(state), room: Arc::new(Semaphore::new(BYTES)), changed: Notify::new() }
    }
}

impl<Q: Queued> Queue<Q> {
    /// Queues an append behind the others of its user. A closed queue refuses it.
    pub(super) fn push(&self, user: Option<UserId>, bytes: usize, append: Q) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            return append.refuse(StoreError::closed());
        }
        state.waiting.push(user, counted(bytes), append);
        drop(state);
        self.changed.notify_one();
    }

    /// The memory of the appends that wait, are written or are delivered.
    pub(super) fn bytes(&self) -> usize {
        BYTES - self.room.available_permits()
    }

    /// Waits for appends and takes as many as change up to `rows` rows, but at least one. `None` once the queue is
    /// closed and empty.
    pub(super) async fn take(&self, rows: usize) -> Option<Vec<Q>> {
        loop {
            let taken = self.take_now(rows);
            if !taken.is_empty() {
                return Some(taken);
            }
            if self.state().is_closed {
                return None;
            }
            self.changed.notified().await;
        }
    }

    /// Accepts no more appends.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_one();
    }

    /// Accepts no more appends and drops those that wait, because nothing will take them.
    pub(super) fn abandon(&self) {
        self.close();
        drop(self.take_now(usize::MAX));
    }

    /// Whether the queue is empty.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    fn take_now(&self, rows: usize) -> Vec<Q> {
        let (mut state, mut taken, mut count) = (self.state(), Vec::new(), 0);
        while count < rows
            && let Some(next) = state.waiting.pop()
        {
            count += next.rows();
            taken.push(next);
        }
        taken
    }

    /// Reserves the room that an append takes until it is delivered. If there is none, the user with the most in the queue
    /// loses their newest append, provided that they have more than this user would have.
    pub(super) fn reserve(
        &self,
        user: Option<UserId>,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let bytes = counted(bytes);
        let permits = u32::try_from(bytes).map_err(|_| StoreError::Overloaded)?;
        loop {
            if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(permits) {
                return Ok(room);
            }
            let shed = {
                let waiting = &mut self.state().waiting;
                waiting.shed(waiting.weight_of(user) + bytes)
            };
            shed.ok_or(StoreError::Overloaded)?.refuse(StoreError::Overloaded);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an append of so many bytes counts for.
fn counted(bytes: usize) -> usize {
    bytes.max(LEAST_BYTES)
}

#[cfg(test)]
mod tests {
    use aldis_protocol::{MessageId, RequestId};
    use uuid::Uuid;

    use super::*;
    use crate::store::{
        mailbox::{Marked, NewMessage, NewReceipt, Posted, Which},
        writer::{Append, MessageAppend, PendingAppend, Responder, Waiting},
    };

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn push<A: Append>(
        queue: &Queue<MessageAppend>,
        kind: fn(Waiting<A>) -> MessageAppend,
        append: A,
    ) -> Result<PendingAppend<A::Answer>, StoreError> {
        let (user, bytes) = (append.user(), append.bytes());
        let room = queue.reserve(user, bytes)?;
        Ok(PendingAppend::by(|reply| {
            queue.push(user, bytes, kind(Waiting { append, responder: Responder { reply, _room: room } }));
        }))
    }

    fn post(
        queue: &Queue<MessageAppend>,
        sender: UserId,
        number: usize,
    ) -> Result<PendingAppend<Posted>, StoreError> {
        let message = NewMessage {
            sender,
            sender_device: "phone".parse().unwrap(),
            request: RequestId::new(&number.to_string()).unwrap(),
            addressee: user(9),
            recipient: user(9),
            encrypted_content: vec![7; 10].into(),
            is_allowed: true,
            reaches_out: false,
            now_ms: 0,
        };
        push(queue, MessageAppend::Message, message)
    }

    fn mark(queue: &Queue<MessageAppend>, user: UserId, count: usize) -> PendingAppend<Marked> {
        let which = Which::Ids(vec![MessageId::new(Uuid::nil()); count]);
        let device = "phone".parse().unwrap();
        let receipt = NewReceipt { user, which, is_read: false, device, may_hear: Vec::new(), now_ms: 0 };
        push(queue, MessageAppend::Receipt, receipt).unwrap()
    }

    fn senders(taken: &[MessageAppend]) -> Vec<(UserId, String)> {
        let of = |queued: &MessageAppend| match queued {
            MessageAppend::Message(waiting) => {
                (waiting.append.sender, waiting.append.request.as_str().to_owned())
            }
            MessageAppend::Receipt(_) | MessageAppend::Chat(_) => panic!("a message"),
        };
        taken.iter().map(of).collect()
    }

    #[tokio::test]
    async fn one_user_filled_the_batch_and_another_had_to_wait() {
        let queue = Queue::default();
        let many: Vec<_> = (0..100).map(|number| post(&queue, user(1), number).unwrap()).collect();
        let _few: Vec<_> = (0..2).map(|number| post(&queue, user(2), number).unwrap()).collect();
        let taken = queue.take(5).await.unwrap();
        let expected = [(1, "0"), (2, "0"), (1, "1"), (2, "1"), (1, "2")];
        assert_eq!(senders(&taken), expected.map(|(number, request)| (user(number), request.to_owned())));
        assert_eq!(many.len(), 100);
    }

    #[tokio::test]
    async fn one_user_filled_the_queue_and_everybody_else_was_refused() {
        let queue = Queue::default();
        let mut greedy = Vec::new();
        while let Ok(answer) = post(&queue, user(1), greedy.len()) {
            greedy.push(answer);
        }
        assert_eq!(greedy.len(), BYTES / LEAST_BYTES);
        let mut modest = post(&queue, user(2), 0).unwrap();
        assert!(matches!(greedy.pop().unwrap().answer().await, Err(StoreError::Overloaded)), "the newest");
        assert!(greedy.iter_mut().all(|submitted| submitted.is_pending()), "and no other");
        assert!(post(&queue, user(1), 0).is_err());
        let taken = queue.take(2).await.unwrap();
        assert_eq!(senders(&taken).iter().map(|(user, _)| *user).collect::<Vec<_>>(), [user(1), user(2)]);
        assert!(modest.is_pending(), "it waits for its commit");
    }

    #[tokio::test]
    async fn receipts_for_500_messages_each_were_one_batch_of_a_quarter_of_a_million_rows() {
        let queue = Queue::default();
        let _answers: Vec<_> = (0..10).map(|_| mark(&queue, user(1), 500)).collect();
        assert_eq!(queue.take(512).await.unwrap().len(), 2);
        assert_eq!(queue.take(1).await.unwrap().len(), 1, "at least one");
    }

    #[tokio::test]
    async fn a_closed_queue_is_emptied_and_accepts_nothing() {
        let queue = Queue::default();
        let _answer = post(&queue, user(1), 0).unwrap();
        queue.close();
        assert!(matches!(post(&queue, user(1), 1).unwrap().answer().await, Err(StoreError::Unavailable(_))));
        assert_eq!(queue.take(10).await.unwrap().len(), 1);
        assert!(queue.take(10).await.is_none());
    }
}
