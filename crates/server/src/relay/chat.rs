//! Room messages: stored and numbered, or only relayed (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, Broadcast, ChatMessage, ErrorCode, History, HistoryMessage, HistoryRequest, Payload,
    RelayedBroadcast, RequestId, RoomId, ServerFrame, ServerMessage, SessionId, StoredChatMessage,
    limits::{DEFAULT_PAGE, MAX_HISTORY_BYTES, MAX_PAGE},
};
use aldis_registry::{CHUNK, Member, Members, Reach};
use futures::stream;
use tokio::task::yield_now;

use super::{
    Outcome, Part, Relay, Reply, done, error,
    mail::failed,
    refused,
    rooms::{UNKNOWN_ROOM, no_room_named},
};
use crate::{
    clock::Now,
    link::{Encoded, SessionHandle, Ticket, deliver},
    refusal::Refusal,
    store::{Credential, Durable, NewChat, ReplyTo, RoomPage, Said, StoreError},
};

/// How many messages of other nodes are read before the next message of this node.
const LARGEST_GAP: u32 = 64;

type Sessions = Members<Arc<SessionHandle>>;

impl Relay {
    /// Stores a message in a room, for everybody in it.
    pub(super) fn say(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        id: Option<RequestId>,
        message: ChatMessage<'_>,
        now: Now,
    ) -> Reply {
        let Some(room) = message.room else { return Reply::Now(no_room_named()) };
        if let Some(refusal) = self.rates.refuse_stored(from.user, now, &self.metrics) {
            return Reply::Now(refusal);
        }
        let Some(seat) = self.registry.seat((from.user, from.session), &room) else {
            return Reply::Now(refused(UNKNOWN_ROOM));
        };
        let chat = NewChat {
            room,
            sender: from.sender(),
            session: from.session,
            request: id,
            payload: message.payload.into_owned(),
            now_ms: now.store_ms(),
        };
        if seat.is_made {
            self.submit_chat(from, ticket, chat);
            return Reply::Queued;
        }
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            if let Err(refusal) = relay.ready_to_write(&from, &chat.room, now).await {
                return Outcome::Reply(refused(refusal));
            }
            relay.submit_chat(&from, ticket, chat);
            Outcome::Queued
        }))
    }

    /// Relays a message to everybody in a room without storing it.
    pub(super) fn broadcast(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        id: Option<RequestId>,
        message: Broadcast<'_>,
        now: Now,
    ) -> Reply {
        let Some(room) = message.room else { return Reply::Now(no_room_named()) };
        let Some(members) = self.others_in(from, &room) else { return Reply::Now(refused(UNKNOWN_ROOM)) };
        if members.len() <= CHUNK {
            let frame = broadcast_frame(from, id, room, message.payload, now).for_many(&self.shared_bytes);
            self.hand_out(members.iter(), Some(from.session), &frame);
            return Reply::Now(broadcast_done());
        }
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        let payload = message.payload.into_owned();
        Reply::Later(Box::pin(async move {
            let frame = broadcast_frame(&from, id, room, payload, now).for_many(&relay.shared_bytes);
            relay.fan_out(&members, Some(from.session), &frame).await;
            Outcome::Reply(broadcast_done())
        }))
    }

    /// A page of a room's history. It is read when the socket has room for it.
    pub(super) fn history(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        asked: HistoryRequest,
        now: Now,
    ) -> Reply {
        let Some(room) = asked.room else { return Reply::Now(no_room_named()) };
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        let limit = asked.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
        Reply::InParts(Box::pin(stream::once(async move {
            let page = relay.room_page_for(&from, &room, asked.since_seq, limit, now).await;
            let reply = page.map_or_else(refused, |page| {
                let RoomPage { messages, complete, first_seq, last_seq } = page;
                let last_seq = Some(last_seq);
                ServerMessage::History(
                    History::new(room, messages, complete, first_seq).with_last_seq(last_seq),
                )
            });
            Part::Reply(Box::new(reply))
        })))
    }

    /// Delivers a stored message to everybody in the room except the sending session, which gets it as its reply.
    pub(super) async fn deliver_chat(&self, chat: &Durable<NewChat, Said>, now: Now) {
        let Said::Stored { seq, at } = chat.answer else { return };
        let NewChat { room, sender, session, request, payload, .. } = &chat.append;
        let members = match self.registry.reach(room, seq) {
            Reach::Next(members) => members,
            Reach::After(told, members) => {
                self.fill_room(room, told, seq, &members, now).await;
                members
            }
            Reach::Known => return,
        };
        let message = StoredChatMessage::new(room.clone(), seq, sender.clone(), payload.clone());
        let frame =
            chat_frame(HistoryMessage::new(request.clone(), at, message)).for_many(&self.shared_bytes);
        self.fan_out(&members, Some(*session), &frame).await;
    }

    /// Delivers the messages that other nodes stored in between. If there are too many, clients ask for them.
    async fn fill_room(&self, room: &RoomId, after: u64, before: u64, members: &Sessions, now: Now) {
        let missing = u32::try_from(before - after - 1).unwrap_or(u32::MAX);
        if missing > LARGEST_GAP {
            return;
        }
        match self.room_page(room, after, missing, MAX_HISTORY_BYTES, now).await {
            Ok(page) => {
                for entry in page.messages.into_iter().take_while(|entry| entry.message.seq < before) {
                    let frame = chat_frame(entry).for_many(&self.shared_bytes);
                    self.fan_out(members, None, &frame).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read what another node stored; the clients will ask for it");
            }
        }
    }

    /// A room's history; empty if the room was never made.
    pub(super) async fn room_page(
        &self,
        room: &RoomId,
        since_seq: u64,
        limit: u32,
        most_bytes: usize,
        now: Now,
    ) -> Result<RoomPage, StoreError> {
        let page = self.store.room_history(room, since_seq, limit, most_bytes, now.store_ms()).await?;
        Ok(page.unwrap_or(RoomPage { messages: Vec::new(), complete: true, first_seq: 1, last_seq: 0 }))
    }

    async fn room_page_for(
        &self,
        from: &SessionHandle,
        room: &RoomId,
        since_seq: u64,
        limit: u32,
        now: Now,
    ) -> Result<RoomPage, Refusal> {
        match self.registry.seat((from.user, from.session), room) {
            Some(_) => Ok(self.room_page(room, since_seq, limit, MAX_HISTORY_BYTES, now).await?),
            None => Err(UNKNOWN_ROOM),
        }
    }

    /// Checks that the session is in the room, and stores the room if it was never made.
    async fn ready_to_write(
        self: &Arc<Self>,
        from: &SessionHandle,
        room: &RoomId,
        now: Now,
    ) -> Result<(), Refusal> {
        let seat = self.registry.seat((from.user, from.session), room).ok_or(UNKNOWN_ROOM)?;
        if seat.is_made {
            return Ok(());
        }
        // The room is made for everybody inside, even if this session ends meanwhile.
        let (relay, room) = (Arc::clone(self), room.clone());
        let credential = Credential::session(seat.owner);
        let made = self.calls.complete(async move { relay.make_room(&room, &credential, now).await });
        made.await?
    }

    /// Submits a message for a room; the reply comes through the session's queue.
    fn submit_chat(self: &Arc<Self>, from: &Arc<SessionHandle>, ticket: Ticket, chat: NewChat) {
        let (relay, session, room) = (Arc::clone(self), Arc::clone(from), chat.room.clone());
        let reply = move |said| session.reply(ticket, relay.said_reply(&room, said));
        self.store.say(chat, ReplyTo::new(reply));
    }

    fn said_reply(&self, room: &RoomId, said: Result<Said, StoreError>) -> ServerMessage<'static> {
        match said {
            Ok(Said::Stored { seq, .. }) => ServerMessage::Ack(stored(room, seq)),
            Ok(Said::Duplicate { seq }) => ServerMessage::Ack(stored(room, seq).with_duplicate(true)),
            Ok(Said::Conflict) => error(
                ErrorCode::Conflict,
                "this device said something else in this room under this id; give each its own",
            ),
            Ok(Said::NoRoom) => refused(self.close_room(room)),
            Err(failure) => failed(failure),
        }
    }

    /// The sessions in a room, if this session is one of them.
    fn others_in(&self, from: &SessionHandle, room: &RoomId) -> Option<Sessions> {
        self.registry.seat((from.user, from.session), room)?;
        Some(self.registry.members(room))
    }

    /// Delivers to all sessions but the excepted one, and yields to other tasks in between.
    async fn fan_out(&self, members: &Sessions, except: Option<SessionId>, frame: &Encoded<'_>) {
        for (number, some) in members.chunks().enumerate() {
            if number > 0 {
                yield_now().await;
            }
            self.hand_out(some.iter(), except, frame);
        }
    }

    fn hand_out<'a>(
        &self,
        members: impl Iterator<Item = &'a Member<Arc<SessionHandle>>>,
        except: Option<SessionId>,
        frame: &Encoded<'_>,
    ) {
        for member in members.filter(|member| Some(member.session) != except) {
            // Sessions that are full or closed ask for stored messages when they reconnect.
            let _ = deliver(&member.handle, frame, &self.metrics);
        }
    }
}

fn stored(room: &RoomId, seq: u64) -> Ack<'static> {
    Ack::new(AckStatus::Stored, format!("Message stored in {room}")).with_seq(seq)
}

fn chat_frame(entry: HistoryMessage<'static>) -> Encoded<'static> {
    let HistoryMessage { id, timestamp, message, .. } = entry;
    Encoded::new(ServerFrame { id, timestamp, message: ServerMessage::ChatMessage(message) })
}

fn broadcast_frame<'a>(
    from: &SessionHandle,
    id: Option<RequestId>,
    room: RoomId,
    payload: Payload<'a>,
    now: Now,
) -> Encoded<'a> {
    let message = ServerMessage::Broadcast(RelayedBroadcast::new(room, from.sender(), payload));
    Encoded::new(ServerFrame { id, timestamp: now.timestamp(), message })
}

fn broadcast_done() -> ServerMessage<'static> {
    done("Handed on to the room")
}
