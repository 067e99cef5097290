//! How much all sessions of a node together may hold for clients that do not read or are away.

use std::sync::Arc;

use aldis_protocol::CloseCode;

use crate::router::{Closing, Outlet, Router};

/// Gives up sessions until the queues and buffers of the rest fit into so many bytes: the largest of those whose clients
/// are away, then the largest queues.
pub(super) fn relieve(router: &Router, limit: usize) {
    let mut held = 0;
    router.registry.for_each(|outlet| held += outlet.held_bytes());
    if held <= limit {
        return;
    }
    let mut sessions = router.registry.all();
    sessions.sort_by_cached_key(|outlet| (!outlet.is_detached(), usize::MAX - outlet.held_bytes()));
    for outlet in sessions {
        if held <= limit {
            break;
        }
        held = held.saturating_sub(outlet.held_bytes());
        give_up(&outlet);
    }
}

fn give_up(outlet: &Arc<Outlet>) {
    tracing::warn!(session = %outlet.session, bytes = outlet.held_bytes(), "too much waits for clients; giving one up");
    outlet.close_with(Closing::new(CloseCode::SlowConsumer, "", "too much waits for this connection"));
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use aldis_protocol::{Codec, UserId};
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{
        router::{Frame, Order, new_session_id},
        session::tests::router,
    };

    fn session(router: &Router, kept: usize, queued: usize, is_detached: bool) -> Arc<Outlet> {
        let user = UserId::new(Uuid::now_v7());
        let device = format!("~{}", Uuid::now_v7()).parse().unwrap();
        let outlet = Arc::new(Outlet::new(new_session_id(), user, device, None, None, Codec::Json));
        assert!(router.attach(&outlet, 0));
        outlet.set_kept(kept);
        outlet.set_detached(is_detached);
        let _ = outlet.push(Frame::new(Bytes::from(vec![0; queued]), true));
        outlet
    }

    fn is_given_up(outlet: &Outlet) -> bool {
        let order = outlet.poll_order(&mut Context::from_waker(Waker::noop()));
        matches!(order, Poll::Ready(Order::Close(closing)) if closing.code == CloseCode::SlowConsumer)
    }

    #[test]
    fn the_largest_who_are_away_go_first_and_then_the_largest_queues() {
        let router = router();
        let sessions = [
            session(&router, 100, 50, false),
            session(&router, 300, 100, false),
            session(&router, 10, 0, true),
            session(&router, 200, 50, true),
        ];
        let given_up = || sessions.each_ref().map(|outlet| is_given_up(outlet));
        relieve(&router, 810);
        assert_eq!(given_up(), [false; 4]);
        relieve(&router, 809);
        assert_eq!(given_up(), [false, false, false, true]);
        relieve(&router, 551);
        assert_eq!(given_up(), [false, false, true, true]);
        relieve(&router, 400);
        assert_eq!(given_up(), [false, true, true, true]);
    }
}
