//! The appends of the message writer: encrypted messages, receipts and chat.

use aldis_protocol::UserId;

use super::{Batch, Committed, Queued, StoreError, Tx, Waiting, Writing, lane::BatchLane};
use crate::store::{
    chat::{NewChat, Rooms},
    mailbox::{Mailboxes, NewMessage, NewReceipt},
};

/// An append in the queue of the message writer.
pub(in crate::store) enum MessageAppend {
    /// An encrypted message.
    Message(Waiting<NewMessage>),
    /// Encrypted messages that were delivered or read.
    Receipt(Waiting<NewReceipt>),
    /// A chat message.
    Chat(Waiting<NewChat>),
}

/// Messages, receipts and chat that share a transaction.
#[derive(Default)]
pub(in crate::store) struct MessageBatch {
    messages: BatchLane<NewMessage>,
    receipts: BatchLane<NewReceipt>,
    chats: BatchLane<NewChat>,
}

impl Queued for MessageAppend {
    fn rows(&self) -> usize {
        match self {
            Self::Message(waiting) => waiting.rows(),
            Self::Receipt(waiting) => waiting.rows(),
            Self::Chat(waiting) => waiting.rows(),
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Message(waiting) => waiting.refuse(error),
            Self::Receipt(waiting) => waiting.refuse(error),
            Self::Chat(waiting) => waiting.refuse(error),
        }
    }
}

impl Batch for MessageBatch {
    type Queued = MessageAppend;

    const WRITING: Writing = Writing::Messages;

    fn of(queued: Vec<MessageAppend>) -> Self {
        let mut batch = Self::default();
        for (place, append) in queued.into_iter().enumerate() {
            match append {
                MessageAppend::Message(waiting) => batch.messages.push(place, waiting),
                MessageAppend::Receipt(waiting) => batch.receipts.push(place, waiting),
                MessageAppend::Chat(waiting) => batch.chats.push(place, waiting),
            }
        }
        batch
    }

    fn len(&self) -> usize {
        self.messages.len() + self.receipts.len() + self.chats.len()
    }

    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        // Locks all counters before anything else, in the order of their ids, so that two nodes cannot deadlock. The
        // counters stay locked until the commit, so numbers become visible in order and without gaps.
        let mut mailboxes = Mailboxes::lock(tx, self.mailbox_users()).await?;
        let rooms = self.chats.appends().iter().map(|chat| &chat.room);
        let mut rooms = Rooms::lock(tx, rooms).await?;
        self.messages.write(tx, &mut mailboxes).await?;
        self.receipts.write(tx, &mut mailboxes).await?;
        self.chats.write(tx, &mut rooms).await?;
        mailboxes.write(tx).await?;
        rooms.write(tx).await
    }

    fn answer(self, outcome: &Result<(), StoreError>) -> Vec<Committed> {
        let mut committed = self.messages.hand_on(outcome, Committed::Message);
        committed.extend(self.receipts.hand_on(outcome, Committed::Receipt));
        committed.extend(self.chats.hand_on(outcome, Committed::Chat));
        committed.sort_unstable_by_key(|(place, _)| *place);
        committed.into_iter().map(|(_, committed)| committed).collect()
    }

    fn split(self) -> Vec<Self> {
        let messages = self.messages.split(|messages| Self { messages, ..Self::default() });
        let receipts = self.receipts.split(|receipts| Self { receipts, ..Self::default() });
        let chats = self.chats.split(|chats| Self { chats, ..Self::default() });
        let mut alone: Vec<(usize, Self)> = messages.chain(receipts).chain(chats).collect();
        alone.sort_unstable_by_key(|(place, _)| *place);
        alone.into_iter().map(|(_, batch)| batch).collect()
    }
}

impl MessageBatch {
    fn mailbox_users(&self) -> impl Iterator<Item = UserId> {
        let of_messages = self.messages.appends().iter().flat_map(NewMessage::mailboxes);
        of_messages.chain(self.receipts.appends().iter().map(NewReceipt::mailbox))
    }
}
