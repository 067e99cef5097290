//! Bounds the memory that all sessions of a node hold for clients that do not read or are away.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use aldis_protocol::{CloseCode, UserId};

use crate::{
    link::{Closing, SessionHandle},
    relay::Relay,
};

/// Closes sessions until the rest fits into `limit` bytes. The user who holds most loses first: sessions whose
/// clients are away, the largest first, then those with the largest queues. Users do not lose sessions because others
/// hold much.
///
/// A shared frame takes memory once, so closing one of its sessions may free less than it held. Then the next check
/// closes more.
pub(super) fn relieve(relay: &Relay, limit: usize) {
    let mut held = relay.shared_bytes();
    relay.registry.for_each(|session| held += session.held().own as usize);
    let mut excess = held.saturating_sub(limit);
    if excess == 0 {
        return;
    }
    let mut users: BinaryHeap<Holder> = holders(relay);
    while excess > 0
        && let Some(mut user) = users.pop()
        && let Some(session) = user.sessions.pop()
    {
        give_up(&session);
        excess = excess.saturating_sub(session.bytes);
        user.bytes -= session.bytes;
        users.push(user);
    }
}

/// What the sessions of one user hold.
#[derive(Default)]
struct Holder {
    bytes: usize,
    /// The last one is closed first.
    sessions: Vec<Holding>,
}

struct Holding {
    bytes: usize,
    is_detached: bool,
    session: Arc<SessionHandle>,
}

fn holders(relay: &Relay) -> BinaryHeap<Holder> {
    let mut users: HashMap<UserId, Holder> = HashMap::new();
    for session in relay.registry.all() {
        let (bytes, is_detached) = (session.held().total(), session.is_detached());
        if bytes > 0 {
            let user = users.entry(session.user).or_default();
            user.bytes += bytes;
            user.sessions.push(Holding { bytes, is_detached, session });
        }
    }
    let mut users: Vec<Holder> = users.into_values().collect();
    for user in &mut users {
        user.sessions.sort_unstable_by_key(|session| (session.is_detached, session.bytes));
    }
    users.into()
}

fn give_up(session: &Holding) {
    let Holding { bytes, session, .. } = session;
    tracing::warn!(
        session = %session.session, user = %session.user, bytes,
        "too much waits for clients; giving up a session of the user who holds most"
    );
    session.close_with(Closing::new(CloseCode::SlowConsumer, "", "too much waits for this connection"));
}

/// Holders compare by what they hold.
impl Ord for Holder {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl PartialOrd for Holder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Holder {}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use aldis_protocol::Codec;
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::Now,
        link::{Control, Frame, Held},
        relay::{Admission, new_session_id},
        session::tests::relay,
    };

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn session(
        relay: &Relay,
        user: UserId,
        kept: usize,
        queued: usize,
        is_detached: bool,
    ) -> Arc<SessionHandle> {
        let device = format!("~{}", Uuid::now_v7()).parse().unwrap();
        let session = Arc::new(SessionHandle::new(new_session_id(), user, device, None, None, Codec::Json));
        assert_eq!(relay.attach(&session, 0, Now::read()), Admission::Admitted);
        session.set_kept(Held::new(kept, false));
        session.set_detached(is_detached);
        let _ = session.push(Frame::new(Bytes::from(vec![0; queued]), true));
        session
    }

    fn is_given_up(session: &SessionHandle) -> bool {
        let order = session.poll_control(&mut Context::from_waker(Waker::noop()));
        matches!(order, Poll::Ready(Control::Close(closing)) if closing.code == CloseCode::SlowConsumer)
    }

    #[test]
    fn a_users_absent_sessions_close_first_then_the_largest_queues() {
        let relay = relay();
        let sessions = [
            session(&relay, user(1), 100, 50, false),
            session(&relay, user(1), 300, 100, false),
            session(&relay, user(1), 10, 0, true),
            session(&relay, user(1), 200, 50, true),
        ];
        let given_up = || sessions.each_ref().map(|session| is_given_up(session));
        relieve(&relay, 810);
        assert_eq!(given_up(), [false; 4]);
        relieve(&relay, 809);
        assert_eq!(given_up(), [false, false, false, true]);
        relieve(&relay, 551);
        assert_eq!(given_up(), [false, false, true, true]);
        relieve(&relay, 400);
        assert_eq!(given_up(), [false, true, true, true]);
    }

    /// Formerly all sessions of absent clients were closed before those of the users who held most.
    #[test]
    fn ten_users_cost_all_absent_users_their_sessions() {
        let relay = relay();
        let greedy: Vec<_> = (0..10).flat_map(|number| [number; 30]).collect();
        let greedy: Vec<_> =
            greedy.into_iter().map(|number| session(&relay, user(number), 900, 100, false)).collect();
        let victims: Vec<_> =
            (100..108).map(|number| session(&relay, user(number), 800, 100, true)).collect();
        relieve(&relay, 256_000);
        assert!(victims.iter().all(|victim| !is_given_up(victim)));
        let given_up: Vec<UserId> =
            greedy.iter().filter(|session| is_given_up(session)).map(|session| session.user).collect();
        assert_eq!(given_up.len(), 52, "300,000 and 7,200 bytes, and 256,000 are allowed");
        let of_each = |number| given_up.iter().filter(|one| **one == user(number)).count();
        assert!((0..10).all(|number| (5..=6).contains(&of_each(number))), "in equal parts");
    }

    /// A shared frame used to count once per session.
    #[test]
    fn a_shared_frame_counted_once_per_session() {
        let relay = relay();
        let shared = Frame { shared: true, ..Frame::new(Bytes::from(vec![0; 1_000]), true) };
        let sessions: Vec<_> = (0..1_000)
            .map(|number| {
                let session = session(&relay, user(number), 0, 0, true);
                let _ = session.push(shared.clone());
                session
            })
            .collect();
        relieve(&relay, 1_000);
        assert!(sessions.iter().all(|session| !is_given_up(session)));
    }
}
