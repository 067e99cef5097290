//! Lists over HTTP, read part by part as they are sent. A reader who takes nothing holds one part in memory.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, RoomId, UserId, UserRef,
    api::{RoomMessage, StoredMessage},
    limits::MAX_HISTORY_BYTES,
};
use serde::Serialize;

use super::Relay;
use crate::{
    accounts::Caller,
    clock::Now,
    refusal::Refusal,
    store::{BYTES_AROUND_MESSAGE, RoomPage},
};

/// The size of a part, plus at most one item.
const PART_BYTES: usize = 64 * 1024;
/// The size of a page of a conversation, plus at most one message.
const CONVERSATION_BYTES: usize = 1024 * 1024;

/// A list that is read in parts.
pub(crate) trait Parts: Send + 'static {
    /// The name of the list's items in the answer.
    type Item: Serialize + Send;
    /// The other members of the answer.
    type End: Serialize + Send;

    /// Reads the next part. It is not called after the end.
    fn next(&mut self) -> impl Future<Output = Result<ListPart<Self::Item, Self::End>, Refusal>> + Send;
}

/// A part of a list.
pub(crate) struct ListPart<I, E> {
    pub(crate) items: Vec<I>,
    /// What follows the last part.
    pub(crate) end: Option<E>,
}

/// How much more fits into a page.
struct Room {
    messages: u32,
    bytes: usize,
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    fn part(&self) -> usize {
        self.bytes.min(PART_BYTES)
    }

    fn take(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(u32::try_from(messages).unwrap_or(u32::MAX));
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A page of a conversation, the newest message first.
pub(crate) struct Conversation {
    relay: Arc<Relay>,
    user: UserId,
    peer: UserId,
    before_seq: u64,
    room: Room,
}

/// What follows the messages of a conversation.
#[derive(Serialize)]
pub(crate) struct ConversationEnd {
    next: Option<u64>,
}

/// A page of a room's history, in the order of its numbers.
pub(crate) struct RoomReading {
    relay: Arc<Relay>,
    name: RoomId,
    since_seq: u64,
    first_seq: Option<u64>,
    room: Room,
}

/// What follows the messages of a room.
#[derive(Serialize)]
pub(crate) struct RoomReadingEnd {
    complete: bool,
    first_seq: u64,
    next: Option<u64>,
}

impl Relay {
    /// The caller's conversation with another user, below a number.
    pub(crate) async fn conversation(
        self: &Arc<Self>,
        caller: &Caller,
        peer: UserRef,
        before_seq: u64,
        limit: u32,
    ) -> Result<Conversation, Refusal> {
        let peer = self.named_user(caller.user, peer).await?;
        let room = Room { messages: limit, bytes: CONVERSATION_BYTES };
        Ok(Conversation { relay: Arc::clone(self), user: caller.user, peer, before_seq, room })
    }

    /// A room's messages after a number.
    pub(crate) async fn room_messages(
        self: &Arc<Self>,
        caller: &Caller,
        name: RoomId,
        since_seq: u64,
        limit: u32,
    ) -> Result<RoomReading, Refusal> {
        self.readable_room(caller, &name).await?;
        let room = Room { messages: limit, bytes: MAX_HISTORY_BYTES };
        Ok(RoomReading { relay: Arc::clone(self), name, since_seq, first_seq: None, room })
    }
}

impl Parts for Conversation {
    type Item = StoredMessage;
    type End = ConversationEnd;

    async fn next(&mut self) -> Result<ListPart<StoredMessage, ConversationEnd>, Refusal> {
        let Self { relay, user, peer, before_seq, room } = self;
        let page = relay.store.conversation(*user, *peer, *before_seq, room.messages, room.part()).await?;
        room.take(page.messages.len(), page.bytes);
        *before_seq = page.messages.last().map_or(*before_seq, |last| last.seq);
        let next = page.is_more.then_some(*before_seq);
        let is_end = next.is_none() || room.is_used_up();
        let items = page.messages.iter().map(|message| message.as_message().into()).collect();
        Ok(ListPart { items, end: is_end.then_some(ConversationEnd { next }) })
    }
}

impl Parts for RoomReading {
    type Item = RoomMessage;
    type End = RoomReadingEnd;

    async fn next(&mut self) -> Result<ListPart<RoomMessage, RoomReadingEnd>, Refusal> {
        let Self { relay, name, since_seq, first_seq, room } = self;
        let RoomPage { messages, complete, first_seq: first, .. } =
            relay.room_page(name, *since_seq, room.messages, room.part(), Now::read()).await?;
        let bytes = |message: &aldis_protocol::HistoryMessage<'_>| {
            message.message.payload.as_bytes().len() + BYTES_AROUND_MESSAGE + name.as_str().len()
        };
        room.take(messages.len(), messages.iter().map(bytes).sum());
        *since_seq = messages.last().map_or(*since_seq, |last| last.message.seq);
        let first_seq = *first_seq.get_or_insert(first);
        let is_end = complete || room.is_used_up();
        let end = RoomReadingEnd { complete, first_seq, next: (!complete).then_some(*since_seq) };
        let items: Result<_, _> = messages.into_iter().map(TryInto::try_into).collect();
        let items = items.map_err(|_| Refusal::new(ErrorCode::Internal, "the server failed"))?;
        Ok(ListPart { items, end: is_end.then_some(end) })
    }
}
