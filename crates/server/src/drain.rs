//! How a server stops: nobody new, everybody told, closed one after the other, waited for (http.md, "Operations").

use std::{sync::Arc, time::Duration};

use aldis_protocol::{CloseCode, ServerDraining, ServerMessage};
use rand::RngExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    node::Node,
    router::{Closing, Frame, Outlet},
    session::fresh,
};

/// Over how long the closes are spread, so that the clients don't come back all at once.
const SPREAD: Duration = Duration::from_secs(5);
/// How long the last sessions have to be gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// When clients may come back, in seconds: each is told another time out of this range.
const COME_BACK: std::ops::RangeInclusive<u64> = 1..=5;
/// A few sessions need no spreading.
const FEW: usize = 100;

/// Sends everybody away and waits for it.
pub(crate) async fn drain(node: &Node) {
    node.start_draining();
    let sessions = node.router.registry.all();
    let told: Vec<_> = sessions.iter().map(|outlet| announce(outlet)).collect();
    close_all(&sessions, &told).await;
    node.sessions.close();
    if timeout(PATIENCE, node.sessions.wait()).await.is_err() {
        tracing::warn!(left = node.sessions.len(), "some connections did not end in time");
    }
    node.stop.cancel();
    node.sessions.wait().await;
}

/// Tells a client when to come back.
fn announce(outlet: &Outlet) -> u64 {
    let reconnect_after = rand::rng().random_range(COME_BACK);
    let message = ServerMessage::ServerDraining(ServerDraining { reconnect_after });
    // A session that cannot take it is closing anyhow.
    let _ = outlet.push(Frame::new(outlet.codec.encode_server(&fresh(message)), false));
    reconnect_after
}

async fn close_all(sessions: &[Arc<Outlet>], told: &[u64]) {
    let spread = if sessions.len() <= FEW { Duration::ZERO } else { SPREAD };
    let start = Instant::now();
    for (index, (outlet, retry_after)) in sessions.iter().zip(told).enumerate() {
        let share = u32::try_from(index).unwrap_or(u32::MAX);
        let of = u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
        sleep_until(start + spread * share / of).await;
        let closing = Closing::new(CloseCode::Restart, "", "the server restarts").retry_after(*retry_after);
        outlet.close_with(closing);
    }
}
