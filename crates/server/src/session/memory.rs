//! How much all sessions of a node together may hold for clients that do not read or are away.

use std::sync::Arc;

use aldis_protocol::CloseCode;

use crate::router::{Closing, Outlet, Router};

/// Queues and buffers of a node.
const LIMIT: usize = 256 * 1024 * 1024;

/// Gives up sessions until the rest fits: the largest of those whose clients are away, then the largest queues.
pub(super) fn relieve(router: &Router) {
    let mut held = 0;
    router.registry.for_each(|outlet| held += outlet.held_bytes());
    if held <= LIMIT {
        return;
    }
    let mut sessions = router.registry.all();
    sessions.sort_by_cached_key(|outlet| (!outlet.is_detached(), usize::MAX - outlet.held_bytes()));
    for outlet in sessions {
        if held <= LIMIT {
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
