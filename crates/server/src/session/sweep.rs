//! One timer for all sessions of a node: wakes those whose deadline has come.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::memory::relieve;
use crate::{clock::Now, relay::Relay};

/// How late a deadline may be noticed.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs until it is dropped. `memory` returns how many bytes all sessions may hold for their clients at the moment:
/// other things that wait for sockets share the node's memory.
pub(crate) async fn sweep(relay: Arc<Relay>, memory: impl Fn() -> usize + Send) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tick = Now::read().tick;
        relay.registry.for_each(|session| session.wake_if_due(tick));
        relieve(&relay, memory());
    }
}
