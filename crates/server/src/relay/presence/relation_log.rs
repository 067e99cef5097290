//! Follows the list of relationship changes that all nodes write: read every second, in the order of the commits.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use aldis_protocol::UserId;

use crate::{relay::Relay, store::StoreError};

/// How many entries are read at a time.
const BATCH: i64 = 500;

/// Pairs whose look-up failed: more than users change while the database is away. Pairs beyond it see nothing of each
/// other until something changes between them or one subscribes again.
const UNSETTLED: usize = 65_536;

/// How far the list has been read.
#[derive(Debug, Default)]
pub(in crate::relay) struct RelationLogReader {
    last: AtomicI64,
    unsettled: Mutex<HashSet<(UserId, UserId)>>,
}

impl RelationLogReader {
    /// Remembers to look up this pair again.
    pub(super) fn note_unsettled(&self, one: UserId, other: UserId) {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        if unsettled.len() < UNSETTLED {
            unsettled.insert((one, other));
        }
    }

    fn take_unsettled(&self) -> HashSet<(UserId, UserId)> {
        std::mem::take(&mut *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Relay {
    /// Begins at the end of the list: before the node serves sessions, nobody watches.
    pub(crate) async fn recall_relations(&self) -> Result<(), StoreError> {
        self.relation_log.last.store(self.store.last_relation_change().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Carries out the entries that were added since the last read. Entries that fail are tried again at the next
    /// read.
    pub(crate) async fn read_relation_log(&self) -> Result<(), StoreError> {
        for (one, other) in self.relation_log.take_unsettled() {
            self.follow_relation(one, other).await;
        }
        loop {
            let last = self.relation_log.last.load(Ordering::Relaxed);
            let entries = self.store.relation_changes_after(last, BATCH).await?;
            let Some(end) = entries.last().map(|entry| entry.number) else { return Ok(()) };
            let mut pairs = HashSet::new();
            for entry in &entries {
                if pairs.insert((entry.user.min(entry.peer), entry.user.max(entry.peer))) {
                    self.relation_changed(entry.user, entry.peer).await?;
                }
            }
            self.relation_log.last.store(end, Ordering::Relaxed);
        }
    }
}
