//! Delivers what the store has committed, in the order of the commits.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Relay;
use crate::{clock::Now, store::Committed};

impl Relay {
    /// Delivers what the store commits until the channel closes. One task per node keeps the order.
    pub(crate) async fn deliver_committed(self: Arc<Self>) {
        let mut committed: mpsc::Receiver<Vec<Committed>> = self.store.committed();
        while let Some(batch) = committed.recv().await {
            let now = Now::read();
            for one in batch {
                self.deliver_one(&one, now).await;
                one.answer();
            }
        }
    }

    async fn deliver_one(&self, one: &Committed, now: Now) {
        match one {
            Committed::Message(message) => self.deliver_message(message).await,
            Committed::Receipt(receipt) => self.deliver_receipt(receipt),
            Committed::Chat(chat) => self.deliver_chat(chat, now).await,
        }
    }
}
