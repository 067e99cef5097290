//! One timer for all sessions of a node: those whose deadline has come are woken.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::memory::relieve;
use crate::{clock::Now, router::Router};

/// How late a deadline may be noticed.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs until it is dropped. `memory` is what all sessions together may hold for their clients, in bytes.
pub(crate) async fn sweep(router: Arc<Router>, memory: usize) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tick = Now::read().tick;
        router.registry.for_each(|outlet| outlet.wake_if_due(tick));
        relieve(&router, memory);
    }
}
