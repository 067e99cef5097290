//! Requests of one session are carried out in the order sent, also where one of them waits for the store.
//!
//! What is stored is carried out when the store has it in its queue, so that many can share a commit; what reaches
//! others in another way waits until everything before it is stored, so that it overtakes nothing.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use super::outlet::Outlet;

/// Which requests of a session wait.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many turns were taken and are not over; at most as many as requests may wait.
    waiting: AtomicU32,
    line: Mutex<Line>,
    /// How many requests the store has in its queue.
    storing: AtomicU32,
}

/// The numbers of those that wait, in their order. What a broken socket asked for may be over before what was asked
/// before it. Nothing is kept where none waits.
#[derive(Debug, Default)]
struct Line(Option<Box<Numbers>>);

#[derive(Debug, Default)]
struct Numbers(Vec<u32>);

/// The turn of a request that could not be carried out at once. Until it is dropped, those after it wait.
#[derive(Debug)]
#[must_use = "those after it wait as long as it is kept"]
pub(super) struct Turn {
    session: Arc<Outlet>,
    number: u32,
}

/// A request that the store has in its queue, until it is durable.
#[derive(Debug)]
#[must_use = "it is kept until the store has answered"]
pub(super) struct Storing(Arc<Outlet>);

impl Turns {
    /// Whether a request may be carried out at once: all before it were, and what they stored is durable.
    pub(super) fn is_free(&self) -> bool {
        self.may_store() && self.storing.load(Ordering::Acquire) == 0
    }

    /// Whether a request may be given to the store at once: all before it were carried out.
    pub(super) fn may_store(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    fn join(&self) -> u32 {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.line().join()
    }

    fn leave(&self, number: u32) {
        self.line().leave(number);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn join(&mut self) -> u32 {
        let Numbers(waiting) = &mut **self.0.get_or_insert_default();
        // They may begin anew: few wait at a time.
        let number = waiting.last().map_or(0, |last| last.wrapping_add(1));
        waiting.push(number);
        number
    }

    fn leave(&mut self, number: u32) {
        let Some(Numbers(waiting)) = self.0.as_deref_mut() else { return };
        waiting.retain(|other| *other != number);
        if waiting.is_empty() {
            self.0 = None;
        }
    }

    fn first(&self) -> Option<u32> {
        self.0.as_ref().and_then(|numbers| numbers.0.first().copied())
    }
}

impl Turn {
    /// Lines up.
    pub(super) fn take(session: &Arc<Outlet>) -> Self {
        Self { session: Arc::clone(session), number: session.turns.join() }
    }

    /// Waits until all requests before this one were carried out, and what they stored is durable.
    ///
    /// Nothing wakes it: the session asks all that waits, in its order, whenever one of them gets on.
    pub(super) async fn comes(&self) {
        self.comes_to_store().await;
        wait_until(|| self.session.turns.storing.load(Ordering::Acquire) == 0).await;
    }

    /// Waits until all requests before this one were carried out; they may still be in the store's queue.
    pub(super) async fn comes_to_store(&self) {
        wait_until(|| self.session.turns.line().first() == Some(self.number)).await;
    }
}

impl Storing {
    /// A request of this session is in the store's queue.
    pub(super) fn begin(session: &Arc<Outlet>) -> Self {
        session.turns.storing.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(session))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.turns.leave(self.number);
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.turns.storing.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn wait_until(condition: impl Fn() -> bool) {
    poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use aldis_protocol::{Codec, SessionId, UserId};
    use uuid::Uuid;

    use super::*;

    fn session() -> Arc<Outlet> {
        let (session, user) = (SessionId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        Arc::new(Outlet::new(session, user, "phone".parse().unwrap(), None, None, Codec::Json))
    }

    fn has_come(turn: &Turn) -> bool {
        pin!(turn.comes()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn each_waits_for_those_before_it_and_for_what_is_being_stored() {
        let session = session();
        assert!(session.turns.is_free());
        let (first, second) = (Turn::take(&session), Turn::take(&session));
        assert!(!session.turns.may_store());
        assert_eq!([has_come(&first), has_come(&second)], [true, false]);
        let storing = Storing::begin(&session);
        drop(first);
        assert!(!has_come(&second));
        drop(storing);
        assert!(has_come(&second));
        drop(second);
        assert!(session.turns.is_free());
    }

    /// It used to count as that of somebody before it, who then waited for ever.
    #[test]
    fn one_who_leaves_the_line_early_holds_up_nobody() {
        let session = session();
        let [first, second, third, fourth] = [0; 4].map(|_| Turn::take(&session));
        drop((first, third));
        assert_eq!([has_come(&second), has_come(&fourth)], [true, false]);
        drop(second);
        assert!(has_come(&fourth));
    }
}
