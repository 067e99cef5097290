//! Limits concurrency by user and by address. The users of one address are served in turn.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The running and waiting calls.
#[derive(Debug)]
pub(crate) struct FairQueue<U, A>
where
    U: Copy + Eq + Hash,
    A: Copy + Eq + Hash,
{
    per_user: usize,
    waiting_per_user: usize,
    state: Mutex<State<U, A>>,
}

/// A running or waiting call. Dropping it removes the call from the queue.
#[derive(Debug)]
pub(crate) struct Ticket<U, A>
where
    U: Copy + Eq + Hash,
    A: Copy + Eq + Hash,
{
    queue: Arc<FairQueue<U, A>>,
    user: U,
    address: A,
    id: u64,
}

/// Completes when the waiting call may begin.
pub(crate) type Turn = oneshot::Receiver<()>;

#[derive(Debug)]
struct State<U, A> {
    next: u64,
    users: HashMap<U, User<A>>,
    addresses: HashMap<A, Address<U>>,
}

#[derive(Debug)]
struct User<A> {
    under_way: usize,
    waiting: usize,
    /// The addresses from which the user's calls wait.
    waits_at: HashSet<A>,
}

#[derive(Debug)]
struct Address<U> {
    limit: usize,
    under_way: usize,
    /// The users with waiting calls at this address, the next one first.
    turns: VecDeque<U>,
    waiting: HashMap<U, VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    begins: oneshot::Sender<()>,
}

impl<U, A> FairQueue<U, A>
where
    U: Copy + Eq + Hash,
    A: Copy + Eq + Hash,
{
    /// An empty queue.
    pub(crate) fn new(per_user: usize, waiting_per_user: usize) -> Arc<Self> {
        let state = State { next: 0, users: HashMap::new(), addresses: HashMap::new() };
        Arc::new(Self { per_user, waiting_per_user, state: Mutex::new(state) })
    }

    /// Enters a call of a user, from an address that may run `limit` at once. If a turn is returned, the call must
    /// wait for it. `None` if too many calls of the user wait already.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: U,
        address: A,
        limit: usize,
    ) -> Option<(Ticket<U, A>, Option<Turn>)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.next += 1;
        let id = state.next;
        let of_user = state.users.entry(user).or_insert_with(User::new);
        let has_room = of_user.under_way < self.per_user;
        let at = state.addresses.entry(address).or_insert_with(|| Address::new(limit));
        let turn = if has_room && at.under_way < at.limit {
            of_user.under_way += 1;
            at.under_way += 1;
            None
        } else if of_user.waiting < self.waiting_per_user {
            let (begins, turn) = oneshot::channel();
            of_user.waiting += 1;
            of_user.waits_at.insert(address);
            at.push(user, Waiting { id, begins });
            Some(turn)
        } else {
            state.forget(user, address);
            return None;
        };
        Some((Ticket { queue: Arc::clone(self), user, address, id }, turn))
    }

    fn lock(&self) -> MutexGuard<'_, State<U, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a call that ended or no longer waits.
    fn leave(&self, user: U, address: A, id: u64) {
        let mut state = self.lock();
        if !state.take_back(user, address, id) {
            state.end(user, address, self.per_user);
        }
        state.forget(user, address);
    }
}

impl<U, A> Drop for Ticket<U, A>
where
    U: Copy + Eq + Hash,
    A: Copy + Eq + Hash,
{
    fn drop(&mut self) {
        self.queue.leave(self.user, self.address, self.id);
    }
}

impl<U: Copy + Eq + Hash, A: Copy + Eq + Hash> State<U, A> {
    /// Removes a call that still waits. False if it has begun.
    fn take_back(&mut self, user: U, address: A, id: u64) -> bool {
        let Some(at) = self.addresses.get_mut(&address) else { return false };
        let was_waiting = at.remove(user, id);
        if was_waiting {
            self.waits_less(user, address);
        }
        was_waiting
    }

    fn end(&mut self, user: U, address: A, per_user: usize) {
        if let Some(at) = self.addresses.get_mut(&address) {
            at.under_way -= 1;
        }
        let mut elsewhere = Vec::new();
        if let Some(of_user) = self.users.get_mut(&user) {
            of_user.under_way -= 1;
            elsewhere.extend(of_user.waits_at.iter().copied().filter(|other| *other != address));
        }
        self.begin_next(address, per_user);
        for other in elsewhere {
            self.begin_next(other, per_user);
        }
    }

    /// Begins waiting calls of an address, one of each user in turn, as long as user and address are below their
    /// limits.
    fn begin_next(&mut self, address: A, per_user: usize) {
        let Some(mut passed) = self.addresses.get(&address).map(|at| at.turns.len()) else { return };
        while passed > 0 {
            let Some(at) = self.addresses.get_mut(&address).filter(|at| at.under_way < at.limit) else {
                return;
            };
            let Some(user) = at.turns.pop_front() else { return };
            at.turns.push_back(user);
            passed -= 1;
            let Some(of_user) = self.users.get_mut(&user).filter(|of_user| of_user.under_way < per_user)
            else {
                continue;
            };
            let Some(next) = at.pop(user) else { continue };
            of_user.under_way += 1;
            at.under_way += 1;
            passed = at.turns.len();
            self.waits_less(user, address);
            // If the caller has gone, dropping its ticket frees the place again.
            let _ = next.begins.send(());
        }
    }

    fn waits_less(&mut self, user: U, address: A) {
        let still_waits = self.addresses.get(&address).is_some_and(|at| at.waiting.contains_key(&user));
        if let Some(of_user) = self.users.get_mut(&user) {
            of_user.waiting -= 1;
            if !still_waits {
                of_user.waits_at.remove(&address);
            }
        }
    }

    /// Removes empty entries of a user and an address.
    fn forget(&mut self, user: U, address: A) {
        if self.users.get(&user).is_some_and(|of_user| of_user.under_way + of_user.waiting == 0) {
            self.users.remove(&user);
        }
        if self.addresses.get(&address).is_some_and(|at| at.under_way == 0 && at.turns.is_empty()) {
            self.addresses.remove(&address);
        }
    }
}

impl<A> User<A> {
    fn new() -> Self {
        Self { under_way: 0, waiting: 0, waits_at: HashSet::new() }
    }
}

impl<U: Copy + Eq + Hash> Address<U> {
    fn new(limit: usize) -> Self {
        Self { limit, under_way: 0, turns: VecDeque::new(), waiting: HashMap::new() }
    }

    fn push(&mut self, user: U, waiting: Waiting) {
        let line = self.waiting.entry(user).or_default();
        if line.is_empty() {
            self.turns.push_back(user);
        }
        line.push_back(waiting);
    }

    fn pop(&mut self, user: U) -> Option<Waiting> {
        let next = self.waiting.get_mut(&user)?.pop_front();
        self.drop_if_empty(user);
        next
    }

    fn remove(&mut self, user: U, id: u64) -> bool {
        let Some(line) = self.waiting.get_mut(&user) else { return false };
        let Some(place) = line.iter().position(|waiting| waiting.id == id) else { return false };
        line.remove(place);
        self.drop_if_empty(user);
        true
    }

    fn drop_if_empty(&mut self, user: U) {
        if self.waiting.get(&user).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(&user);
            self.turns.retain(|other| *other != user);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Queue = Arc<FairQueue<u8, u8>>;

    fn has_begun(turn: &mut Option<Turn>) -> bool {
        turn.as_mut().is_none_or(|turn| turn.try_recv().is_ok())
    }

    #[test]
    fn the_running_and_waiting_calls_of_a_user_are_limited() {
        let queue: Queue = FairQueue::new(2, 3);
        let mut entered: Vec<_> = (0..5).map(|_| queue.enter(1, 1, 10).unwrap()).collect();
        assert!(queue.enter(1, 1, 10).is_none() && queue.enter(1, 2, 10).is_none());
        assert!(queue.enter(2, 1, 10).unwrap().1.is_none(), "nobody else waits");
        let mut third = entered.remove(2);
        assert!(!has_begun(&mut third.1));
        drop(entered.remove(0));
        assert!(has_begun(&mut third.1));
        assert!(queue.enter(1, 1, 10).is_some(), "one fewer waits");
    }

    #[test]
    fn waiting_calls_begin_as_places_become_free_at_any_address() {
        let queue: Queue = FairQueue::new(1, 3);
        let (first, none) = queue.enter(1, 1, 1).unwrap();
        assert!(none.is_none());
        let (_elsewhere, mut waits_elsewhere) = queue.enter(1, 2, 1).unwrap();
        let (_other, mut other_waits) = queue.enter(2, 1, 1).unwrap();
        assert!(waits_elsewhere.is_some() && other_waits.is_some());
        drop(first);
        assert!(has_begun(&mut waits_elsewhere) && has_begun(&mut other_waits));
    }

    #[test]
    fn users_of_an_address_take_turns() {
        let queue: Queue = FairQueue::new(4, 32);
        let (running, _) = queue.enter(9, 1, 1).unwrap();
        let greedy: Vec<_> = (0..20).map(|_| queue.enter(1, 1, 1).unwrap()).collect();
        let (modest, mut waits) = queue.enter(2, 1, 1).unwrap();
        drop(running);
        let mut greedy = greedy.into_iter();
        let (first, mut turn) = greedy.next().unwrap();
        assert!(has_begun(&mut turn) && waits.as_mut().is_some_and(|turn| turn.try_recv().is_err()));
        drop(first);
        assert!(has_begun(&mut waits), "it is the other user's turn");
        drop(modest);
        let (_, mut turn) = greedy.next().unwrap();
        assert!(has_begun(&mut turn));
    }

    #[test]
    fn a_caller_that_stops_waiting_takes_no_place() {
        let queue: Queue = FairQueue::new(1, 2);
        let (running, _) = queue.enter(1, 1, 9).unwrap();
        let (gone, turn) = queue.enter(1, 1, 9).unwrap();
        drop((turn, gone));
        let (given_up, turn) = queue.enter(1, 1, 9).unwrap();
        let (_last, mut last) = queue.enter(1, 1, 9).unwrap();
        drop(running);
        drop(turn);
        assert!(!has_begun(&mut last));
        drop(given_up);
        assert!(has_begun(&mut last));
    }

    /// User, address, ticket and, while the call waits, its turn.
    type Entered = (u8, u8, Ticket<u8, u8>, Option<Turn>);

    proptest! {
        /// After any sequence of steps the limits hold, no call waits while it could run, and nothing is left in the
        /// end.
        #[test]
        fn limits_hold_and_no_call_waits_beside_a_free_place(steps in prop::collection::vec((0_u8..4, 0_u8..3, 0_usize..8), 0..200)) {
            let queue: Queue = FairQueue::new(2, 3);
            let mut entered: Vec<Entered> = Vec::new();
            for (user, address, end) in steps {
                if end < entered.len() {
                    drop(entered.remove(end));
                } else if let Some((ticket, turn)) = queue.enter(user, address, 3) {
                    entered.push((user, address, ticket, turn));
                }
                for (_, _, _, turn) in &mut entered {
                    if has_begun(turn) {
                        *turn = None;
                    }
                }
                let running = |user: Option<u8>, address: Option<u8>| entered.iter().filter(|one| {
                    one.3.is_none() && user.is_none_or(|user| user == one.0) && address.is_none_or(|address| address == one.1)
                }).count();
                for user in 0..4 {
                    prop_assert!(running(Some(user), None) <= 2);
                }
                for address in 0..3 {
                    prop_assert!(running(None, Some(address)) <= 3);
                }
                for (user, address, _, turn) in &entered {
                    let has_room = running(Some(*user), None) < 2 && running(None, Some(*address)) < 3;
                    prop_assert!(turn.is_none() || !has_room);
                }
            }
            drop(entered);
            let state = queue.lock();
            prop_assert!(state.users.is_empty() && state.addresses.is_empty());
        }
    }
}
