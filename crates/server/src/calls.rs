//! Runs calls to their end once begun, even if nobody waits for them any more.
//!
//! After its commit, a call often has more to do: alert devices, close sockets, tell rooms. If a client hangs up, its
//! future is dropped, and that would be left undone.

use std::{future::Future, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How many calls can run at once: twice the number of possible HTTP connections.
const LIMIT: usize = 8_192;

/// The calls that run on a node. A drain waits for them.
#[derive(Debug)]
pub(crate) struct Calls {
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCompleted {
    /// The maximum number of calls is running; this one was not begun.
    #[error("too many calls are running")]
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
    /// Runs a call in its own task and waits for its result. Once the returned future was polled, dropping it does not
    /// stop the call.
    ///
    /// # Errors
    /// [`NotCompleted`].
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NotCompleted> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NotCompleted::Overloaded)?;
        // Boxed: the runtime moves a task's future several times, and calls are large.
        let call = Box::pin(call.in_current_span());
        let task = self.tasks.spawn(async move {
            let _place = place;
            call.await
        });
        task.await.map_err(|_| NotCompleted::Panicked)
    }

    /// Waits until no call is running.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many calls are running.
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
    async fn a_call_ended_when_its_caller_hung_up() {
        let calls = Calls::default();
        let (commit, committed) = oneshot::channel::<()>();
        let has_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_told);
        {
            let mut call = pin!(calls.complete(async move {
                committed.await.unwrap();
                told.store(true, Ordering::SeqCst);
            }));
            // Begins the call, then drops the future.
            assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
        }
        assert_eq!(calls.len(), 1);
        commit.send(()).unwrap();
        calls.ended().await;
        assert!(has_told.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_call_that_panics_fails_alone() {
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
    async fn calls_beyond_the_limit_are_refused() {
        let calls = Calls::default();
        let places = Arc::clone(&calls.places).try_acquire_many_owned(8_192).unwrap();
        assert_eq!(calls.complete(async { 7 }).await, Err(NotCompleted::Overloaded));
        drop(places);
        assert_eq!(calls.complete(async { 7 }).await, Ok(7));
    }
}
