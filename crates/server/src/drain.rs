//! Stops a server: refuses new work, tells every client, closes the sessions one after another, and waits for them
//! (docs/http.md, "Operations").

use std::{sync::Arc, time::Duration};

use aldis_protocol::{CloseCode, ServerDraining, ServerMessage};
use rand::RngExt;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::{
    link::{Closing, Frame, SessionHandle},
    node::Node,
    session::fresh,
};

/// From the announcement to the first close. In this time earlier requests are answered, and load balancers see that
/// the server is not ready.
const GRACE: Duration = Duration::from_millis(500);
/// The time over which the closes are spread, so that clients do not all reconnect at once.
const SPREAD: Duration = Duration::from_millis(4_500);
/// How long to wait for the last sessions.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// The range of reconnect times for clients, in seconds; each client gets a random one.
const COME_BACK: std::ops::RangeInclusive<u64> = 1..=5;
/// So few sessions need no spreading.
const FEW: usize = 100;

/// Closes all sessions and waits for them, until `end` at most.
pub(crate) async fn drain(node: &Node, end: Instant) {
    node.start_draining();
    let told = node.relay.registry.all().into_iter().map(|session| (announce(&session), session)).collect();
    close_all(told).await;
    node.sessions.close();
    if timeout(PATIENCE, node.sessions.wait()).await.is_err() {
        tracing::warn!(left = node.sessions.len(), "some connections did not end in time");
    }
    node.stop.cancel();
    if timeout_at(end, node.sessions.wait()).await.is_err() {
        tracing::warn!(
            left = node.sessions.len(),
            "some connections wait for the database; they are cut off"
        );
    }
}

/// Tells a client when to reconnect. Returns the close that follows.
pub(crate) fn announce(session: &SessionHandle) -> Closing {
    let reconnect_after = come_back();
    let message = ServerMessage::ServerDraining(ServerDraining { reconnect_after });
    // If the session cannot take it, it is closing anyway.
    let _ = session.push(Frame::new(session.codec.encode_server(&fresh(message)), false));
    restart(reconnect_after)
}

/// The close for a client that has not sent its proof yet.
pub(crate) fn dismiss() -> Closing {
    restart(come_back())
}

fn come_back() -> u64 {
    rand::rng().random_range(COME_BACK)
}

fn restart(reconnect_after: u64) -> Closing {
    Closing::new(CloseCode::Restart, "", "the server restarts").retry_after(reconnect_after)
}

async fn close_all(told: Vec<(Closing, Arc<SessionHandle>)>) {
    let spread = if told.len() <= FEW { Duration::ZERO } else { SPREAD };
    let start = Instant::now() + GRACE;
    let of = u32::try_from(told.len()).unwrap_or(u32::MAX).max(1);
    sleep_until(start).await;
    for (share, (closing, session)) in (0..of).zip(told) {
        sleep_until(start + spread * share / of).await;
        session.close_with(closing);
    }
}
