//! What other nodes, and this one, wrote down about who may reach whom: read every second, in the order of the commits.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicI64, Ordering},
};

use crate::{router::Router, store::StoreError};

/// How many are read at a time.
const BATCH: i64 = 500;

/// How far the list was read.
#[derive(Debug, Default)]
pub(in crate::router) struct Standings {
    last: AtomicI64,
}

impl Router {
    /// Begins with the end of the list: before the node serves anybody, nobody watches.
    pub(crate) async fn recall_standings(&self) -> Result<(), StoreError> {
        self.standings.last.store(self.store.last_standing().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Carries out what was added to the list since the last time. What fails is tried again the next time.
    pub(crate) async fn read_standings(&self) -> Result<(), StoreError> {
        loop {
            let last = self.standings.last.load(Ordering::Relaxed);
            let entries = self.store.standings_after(last, BATCH).await?;
            let Some(end) = entries.last().map(|entry| entry.number) else { return Ok(()) };
            let mut pairs = HashSet::new();
            for entry in &entries {
                if pairs.insert((entry.user.min(entry.peer), entry.user.max(entry.peer))) {
                    self.standing_changed(entry.user, entry.peer).await?;
                }
            }
            self.standings.last.store(end, Ordering::Relaxed);
        }
    }
}
