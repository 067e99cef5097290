//! Calls that are carried to their end once begun, whether or not somebody still waits for them.
//!
//! What a call commits is often followed by more: devices are alerted, sockets closed, rooms told. A future that is
//! dropped because its client hung up would leave that undone.

use std::{future::Future, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Calls that may be under way at once: twice as many as there may be HTTP connections.
const LIMIT: usize = 8_192;

/// The calls under way on a node. A drain waits for them.
#[derive(Debug)]
pub(crate) struct Calls {
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCompleted {
    /// As many calls as may be are under way; this one was not begun.
    #[error("too many calls are under way")]
    Overloaded,
    /// It panicked.
    #[error("the call panicked")]
    Panicked,
}

impl Default for Calls {
    fn default() -> Self {
        Self { tasks: TaskTracker::new(), places: Arc::new(Semaphore::new(LIMIT)) }
    }
}

impl Calls {
    /// Runs a call in a task of its own and waits for its answer. Dropping the returned future, once it was polled, does
    /// not stop the call.
    ///
    /// # Errors
    /// [`NotCompleted`].
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NotCompleted> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotCompleted::Overloaded)?;
        // Boxed: the runtime moves a task's future several times over, and calls are large.
        let call = Box::pin(call.in_current_span());
        let task = self.tasks.spawn(async move {
            let _place = place;
            call.await
        });
        task.await.map_err(|_| NotCompleted::Panicked)
    }

    /// Waits until no call is under way.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many calls are under way.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::atomic::{AtomicBool, Ordering},
        task::Poll,
    };

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_ended_where_its_caller_hung_up() {
        let calls = Calls::default();
        let (commit, committed) = oneshot::channel::<()>();
        let has_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_told);
        {
            let mut call = pin!(calls.complete(async move {
                committed.await.unwrap();
                told.store(true, Ordering::SeqCst);
            }));
            // It is begun, and then dropped.
            assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
        }
        assert_eq!(calls.len(), 1);
        commit.send(()).unwrap();
        calls.ended().await;
        assert!(has_told.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_nobody_elses_failure() {
        let calls = Calls::default();
        let panicked = calls
            .complete(async {
                if true {
                    panic!("a bug")
                }
            })
            .await;
        assert_eq!(panicked, Err(NotCompleted::Panicked));
        assert_eq!(calls.complete(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn more_calls_than_may_be_under_way_are_refused() {
        let calls = Calls::default();
        let places = Arc::clone(&calls.places).try_acquire_many_owned(8_192).unwrap();
        assert_eq!(calls.complete(async { 7 }).await, Err(NotCompleted::Overloaded));
        drop(places);
        assert_eq!(calls.complete(async { 7 }).await, Ok(7));
    }
}
