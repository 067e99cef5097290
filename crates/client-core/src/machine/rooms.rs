//! The rooms of the application: joined again in each session, with each message delivered once and in order.

use std::collections::{BTreeMap, btree_map::Entry};

use aldis_protocol::{
    Ack, AckStatus, ErrorCode, History, HistoryMessage, MemberLeft, RequestId, RoomId, StoredChatMessage,
    Timestamp,
    limits::{MAX_PAGE, MAX_ROOMS_PER_SESSION},
};

use super::{
    Event, Machine, Now, Output, Reply, RequestError,
    sequenced_stream::{Range, SequencedStream},
};
use crate::{
    IncomingChat, Instant, Numbered, Refusal, Restorable, Since,
    pending::{Origin, Request},
    purpose::{BackgroundRequest, Purpose},
    reorder_buffer::Limits,
};

/// What may wait per room for an earlier message. Beyond that, messages are dropped and requested again.
const AHEAD: Limits = Limits { items: 64, bytes: 256 * 1024 };

/// At most [`MAX_ROOMS_PER_SESSION`]; the next `join` is refused.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<RoomId, Room>);

#[derive(Debug)]
struct Room {
    membership: Membership,
    stream: SequencedStream<Box<IncomingChat>>,
    /// When the application joined, until the number at which it began to follow the room is known.
    joined_at: Option<Timestamp>,
    /// The application takes no messages of this room at present: they wait in the buffer, and on the server.
    is_held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The application's `join` has no answer yet.
    Joining,
    /// The session is not in the room.
    Out,
    /// The client's `join` has no answer yet.
    Rejoining,
    In,
}

impl Room {
    fn new(since: Since) -> Self {
        let delivered = if let Since::Seq(seq) = since { Some(seq) } else { None };
        let mut stream = SequencedStream::new(delivered, AHEAD);
        if delivered.is_some() {
            stream.fall_behind();
        }
        Self { membership: Membership::Joining, stream, joined_at: None, is_held: false }
    }

    fn restart(&mut self) {
        if self.membership != Membership::Joining {
            self.membership = Membership::Out;
            self.stream.restart();
        }
    }

    /// Adds a pushed message. The first message of a room that is followed from now on starts its stream.
    fn offer(&mut self, chat: Box<IncomingChat>) {
        let (number, size) = (chat.chat.seq, chat.chat.payload.as_bytes().len());
        self.stream.offer(number, chat, size);
        let begins = self.stream.buffer.delivered().is_none() && !self.stream.is_catching_up();
        if let Some(lowest) = self.stream.buffer.lowest().filter(|_| begins) {
            self.stream.buffer.begin(lowest.saturating_sub(1));
            self.joined_at = None;
        }
    }

    /// Requests gaps whose time has come. If the only known numbers are the application's own, the messages of others
    /// since it joined are in the page before them.
    fn gap_timeout(&mut self, now: Instant) {
        let is_due = self.stream.gap_timeout(now);
        let own = self.stream.buffer.lowest().filter(|_| is_due && self.stream.buffer.delivered().is_none());
        if let Some(own) = own {
            self.stream.buffer.begin(own.saturating_sub(1 + u64::from(MAX_PAGE)));
        }
    }

    /// Whether a page has to be requested. Waiting messages are delivered first, since a page may not fit beside them.
    fn wants_page(&self) -> bool {
        self.membership == Membership::In && self.stream.wants_page() && self.stream.buffer.next().is_none()
    }

    /// Whether a message was sent before the application began to follow the room.
    fn is_too_early(&self, said_at: Timestamp) -> bool {
        self.joined_at.is_some_and(|joined_at| said_at < joined_at)
    }
}

impl Rooms {
    pub(super) fn restart(&mut self) {
        self.0.values_mut().for_each(Room::restart);
    }

    /// Whether requests for this room have to wait until the session is in it again.
    pub(super) fn holds_up(&self, room: &RoomId) -> bool {
        self.0
            .get(room)
            .is_some_and(|room| matches!(room.membership, Membership::Out | Membership::Rejoining))
    }

    /// The next background request for rooms.
    pub(super) fn next_request(&self) -> Option<BackgroundRequest> {
        let find =
            |is_it: fn(&Room) -> bool| self.0.iter().find(|(_, room)| is_it(room)).map(|(name, _)| name);
        let to_join = find(|room| room.membership == Membership::Out);
        let to_read = || find(Room::wants_page);
        let join = to_join.map(|name| BackgroundRequest::Join(name.clone()));
        join.or_else(|| to_read().map(|name| BackgroundRequest::History(name.clone())))
    }

    /// The client has sent a `join`.
    pub(super) fn rejoining(&mut self, room: &RoomId) {
        self.set_membership(room, Membership::Rejoining);
    }

    /// The client's `join` failed.
    pub(super) fn stay_out(&mut self, room: &RoomId) {
        if self.0.get(room).is_some_and(|room| room.membership == Membership::Rejoining) {
            self.set_membership(room, Membership::Out);
        }
    }

    /// A `history` is sent; returns the number after which it begins.
    pub(super) fn ask(&mut self, room: &RoomId) -> u64 {
        self.0.get_mut(room).map_or(0, |room| {
            room.stream.begin_request();
            room.stream.since()
        })
    }

    /// Something of this room may be missing.
    pub(super) fn fall_behind(&mut self, room: &RoomId) {
        if let Some(room) = self.0.get_mut(room) {
            room.stream.fall_behind();
        }
    }

    /// A `history` failed.
    pub(super) fn fail(&mut self, room: &RoomId) {
        if let Some(room) = self.0.get_mut(room) {
            room.stream.fail();
        }
    }

    pub(super) fn gap_deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|room| room.stream.gap_deadline()).min()
    }

    fn set_membership(&mut self, room: &RoomId, membership: Membership) {
        if let Some(room) = self.0.get_mut(room) {
            room.membership = membership;
        }
    }
}

impl<R> Machine<R> {
    /// The application joins a room. For one that it is in, nothing changes.
    pub(super) fn want_room(&mut self, room: &RoomId, since: Since) {
        if let Entry::Vacant(entry) = self.rooms.0.entry(room.clone()) {
            entry.insert(Room::new(since));
        }
    }

    /// Whether the application is in as many rooms as it may be.
    pub(super) fn is_one_room_too_many(&self, room: &RoomId) -> bool {
        self.rooms.0.len() >= MAX_ROOMS_PER_SESSION && !self.rooms.0.contains_key(room)
    }

    /// The application has left the room, or could not join it.
    pub(super) fn forget_room(&mut self, room: &RoomId) {
        self.rooms.0.remove(room);
    }

    /// Whether the server does not have this session in the room.
    pub(super) fn is_out_of(&self, room: &RoomId) -> bool {
        let is_out = |room: &Room| room.membership == Membership::Out;
        self.session.is_none() || self.rooms.0.get(room).is_none_or(is_out)
    }

    /// Leaves a room without telling the server, which does not have the session in it.
    pub(super) fn leave_at_once(&mut self, room: &RoomId, request: Request<R>) {
        self.forget_room(room);
        for join in self.pending.take_joins(room) {
            self.fail(join, RequestError::NotConnected);
        }
        self.note_left(request);
    }

    /// The session is not in the room any more, or is lost.
    pub(super) fn note_left(&mut self, request: Request<R>) {
        if let Origin::Application { reply_to, .. } = request.origin {
            self.settle(reply_to, Ok(Reply::Ack(Ack::new(AckStatus::Done, LEFT))));
        }
    }

    /// A `join` of the application was refused, or has timed out.
    pub(super) fn room_not_joined(&mut self, room: &RoomId) {
        let is_same = |purpose: &Purpose| matches!(purpose, Purpose::Join(other, _) if other == room);
        let is_asked = self.rooms.0.get(room).is_some_and(|room| room.membership == Membership::Joining);
        if is_asked && !self.pending.has(is_same) {
            self.forget_room(room);
        }
    }

    /// A `join` was carried out.
    pub(super) fn room_joined(&mut self, room: &RoomId, at: Timestamp) {
        let Some(room) = self.rooms.0.get_mut(room) else { return };
        if room.membership == Membership::Joining && room.stream.buffer.delivered().is_none() {
            room.joined_at = Some(at);
        }
        room.membership = Membership::In;
    }

    /// A chat message was pushed. It is ignored if the application is not in the room any more.
    pub(super) fn handle_chat(
        &mut self,
        now: Now,
        id: Option<RequestId>,
        timestamp: Timestamp,
        chat: StoredChatMessage<'_>,
    ) {
        let name = chat.room.clone();
        if !self.rooms.0.contains_key(&name) {
            return;
        }
        let is_claimed = self.claim_chat(id.as_ref(), &chat);
        let Some(room) = self.rooms.0.get_mut(&name) else { return };
        if is_claimed {
            room.stream.buffer.skip(chat.seq);
        } else {
            room.offer(Box::new(IncomingChat { id, timestamp, chat: chat.into_owned() }));
        }
        self.tell_chat(now, &name);
    }

    /// The application's own message has this number.
    pub(super) fn chat_acked(&mut self, now: Now, name: &RoomId, seq: u64) {
        if let Some(room) = self.rooms.0.get_mut(name) {
            room.stream.buffer.skip(seq);
            self.tell_chat(now, name);
        }
    }

    /// A page that the client requested has arrived.
    pub(super) fn handle_history(&mut self, now: Now, history: History<'static>) {
        let History { room: name, messages, complete, first_seq, last_seq, .. } = history;
        let Some(room) = self.rooms.0.get_mut(&name).filter(|room| room.stream.is_page_requested()) else {
            return;
        };
        if let Some(newest) = last_seq.filter(|newest| room.stream.has_lost(*newest)) {
            room.stream.start_over(first_seq);
            room.joined_at = None;
            return self.tell(Event::StartedOver { of: Numbered::Room(name), newest });
        }
        let before = room.stream.buffer.reached();
        let missed = room.stream.begin_page(first_seq);
        self.tell_missed(&name, missed);
        let is_whole = messages.into_iter().all(|message| self.take_from_page(now, &name, message));
        let Some(room) = self.rooms.0.get_mut(&name) else { return };
        let is_last = complete || room.stream.buffer.reached() == before;
        room.stream.end_page(is_last);
        if is_last && is_whole {
            room.joined_at = None;
        }
        self.tell_chat(now, &name);
    }

    /// Takes in the next message of a page. Returns false to stop there: a message before it is missing, or it has no place.
    fn take_from_page(&mut self, now: Now, name: &RoomId, message: HistoryMessage<'static>) -> bool {
        let HistoryMessage { id, timestamp, message: chat, .. } = message;
        let Some(room) = self.rooms.0.get_mut(name) else { return false };
        let mut missed = Vec::new();
        let is_next = room.stream.reach(chat.seq.saturating_sub(1), &mut missed);
        let is_known = room.stream.buffer.knows(chat.seq);
        let is_too_early = room.is_too_early(timestamp);
        self.tell_missed(name, missed);
        if !is_next || is_known {
            return is_next;
        }
        let is_claimed = self.claim_chat(id.as_ref(), &chat);
        let Some(room) = self.rooms.0.get_mut(name) else { return false };
        if !is_too_early {
            room.joined_at = None;
        }
        if is_claimed || is_too_early {
            room.stream.buffer.skip(chat.seq);
        } else {
            let size = chat.payload.as_bytes().len();
            let has_place = room.stream.offer(chat.seq, Box::new(IncomingChat { id, timestamp, chat }), size);
            if room.is_held && !has_place {
                return false;
            }
        }
        self.tell_chat(now, name);
        true
    }

    /// Whether this is a message of a pending request. The message then settles the request, before its `ack`.
    fn claim_chat(&mut self, id: Option<&RequestId>, chat: &StoredChatMessage<'_>) -> bool {
        let Some(id) = id.filter(|_| self.is_this_device(&chat.sender.device_id)) else { return false };
        let purpose = Purpose::Chat(chat.room.clone());
        let is_it = |request: &Request<R>| request.id == *id && request.purpose() == Some(&purpose);
        let Some(reply_to) = self.pending.take_known(is_it) else { return false };
        let ack = Ack::new(AckStatus::Stored, STORED).with_seq(chat.seq);
        self.settle(reply_to, Ok(Reply::Ack(ack)));
        true
    }

    /// Holds back the messages of every room but those that are excepted, because the application takes no more. They
    /// wait in the client, 64 for each room, and on the server, until the room is released.
    pub fn hold_rooms(&mut self, is_excepted: impl Fn(&RoomId) -> bool) {
        for (name, room) in &mut self.rooms.0 {
            room.is_held |= !is_excepted(name);
        }
    }

    /// Delivers the messages of one room that is held, if there is one: its waiting messages, then further ones.
    pub fn release_next_room(&mut self, now: Now) -> bool {
        let held = self.rooms.0.iter().find(|(_, room)| room.is_held).map(|(name, _)| name.clone());
        if let Some(name) = &held {
            self.release_room(now, name);
        }
        held.is_some()
    }

    /// Delivers the messages of this room again.
    pub fn release_room(&mut self, now: Now, name: &RoomId) {
        if let Some(room) = self.rooms.0.get_mut(name) {
            room.is_held = false;
            self.tell_chat(now, name);
            self.drive(now);
        }
    }

    /// Delivers what is in turn, unless the room is held.
    fn tell_chat(&mut self, now: Now, name: &RoomId) {
        let Some(room) = self.rooms.0.get_mut(name) else { return };
        let in_turn = std::iter::from_fn(|| if room.is_held { None } else { room.stream.buffer.take() });
        self.outputs.extend(in_turn.map(|chat| Output::Event(Event::Chat(chat))));
        room.stream.watch_gap(now.instant);
    }

    /// Reports numbers that the server no longer has, except from before the application began to follow the room.
    fn tell_missed(&mut self, name: &RoomId, missed: Vec<Range>) {
        let is_reported = self.rooms.0.get(name).is_some_and(|room| room.joined_at.is_none());
        for (first, last) in missed.into_iter().filter(|_| is_reported) {
            self.tell(Event::Missed { of: Numbered::Room(name.clone()), first, last });
        }
    }

    /// Requests gaps whose time has come.
    pub(super) fn check_room_gaps(&mut self, now: Now) {
        self.rooms.0.values_mut().for_each(|room| room.gap_timeout(now.instant));
    }

    /// A member left a room. For this session it is a removal.
    pub(super) fn note_member_left(&mut self, left: &MemberLeft) {
        let is_this = self.me.as_ref().is_some_and(|me| me.user_id == left.user_id);
        if is_this && self.is_this_device(&left.device_id) {
            self.forget_room(&left.room);
        }
    }

    /// The client's request for a room was refused for good.
    pub(super) fn give_up_room(&mut self, room: RoomId, refusal: Refusal) {
        self.forget_room(&room);
        self.tell(Event::NotRestored { what: Restorable::Room(room), refusal });
    }
}

/// The text of a server for a stored message.
pub(super) const STORED: &str = "Message stored";

/// The text of a server for a room that was left.
const LEFT: &str = "Left the room";

/// The refusal of a request that exceeds what a server allows a session.
pub(super) fn too_many(message: &str) -> RequestError {
    RequestError::Refused(Refusal {
        code: ErrorCode::Conflict,
        message: message.to_owned(),
        retry_after: None,
    })
}
