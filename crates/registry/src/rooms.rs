//! The sessions in rooms.
//!
//! A caller that changes a room is shown the room while it is locked, so that all members are told of joins and leaves
//! in the same order. A message to all members goes to a snapshot of them instead, and a room that is deleted is first
//! removed and then left by each member: neither blocks other callers.

mod members;

use std::sync::atomic::{AtomicU64, Ordering};

use aldis_protocol::{RoomId, SessionId, UserId};
use dashmap::{DashMap, Entry, OccupiedEntry};

pub use self::members::{CHUNK, Member, Members};

use crate::registry::{Attached, Here, Registry};

/// The facts about a room that a session joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomFacts {
    /// The owner; for a room that only exists by joins, the first member.
    pub owner: UserId,
    /// Whether everybody may join.
    pub is_public: bool,
    /// Whether the room is stored, and so outlives its sessions.
    pub is_made: bool,
    /// The revision of the state that the joining session is told.
    pub revision: u64,
    /// The number of the last message that was stored in the room.
    pub last_seq: u64,
}

/// What to do with a message that was stored in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach<H> {
    /// It is the next one for the members.
    Next(Members<H>),
    /// Messages after this number are missing, which another node stored; they must be sent first.
    After(u64, Members<H>),
    /// The members have it already, or there are none.
    Known,
}

/// The outcome of a [`join`](Registry::join).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the session may not be in the room"]
pub enum Joining {
    /// The session is in the room.
    Joined,
    /// The session is in the maximum number of rooms; nothing changed.
    TooMany,
    /// The facts no longer hold, or the session has still to leave a deleted room of the same name; nothing changed.
    Stale,
    /// The members here are in another room of the same name, which was deleted; nothing changed.
    Other,
    /// The session is not here; nothing changed.
    Gone,
}

/// A room while it is locked.
#[derive(Debug)]
pub struct RoomView<'a, H> {
    /// The sessions in it, grouped by user.
    pub members: &'a Members<H>,
    /// How many users are in it.
    pub users: usize,
}

/// Sessions of one user that have just left a room.
#[derive(Debug)]
pub struct Departure<'a, H> {
    /// The room.
    pub room: &'a RoomId,
    /// The sessions that have left.
    pub left: &'a [Member<H>],
    /// How many users were in the room before.
    pub users_before: usize,
    /// The room without them.
    pub remaining: RoomView<'a, H>,
}

/// A deleted room, and the sessions that have still to leave it.
#[derive(Debug)]
pub struct Closed<H> {
    number: u64,
    /// The sessions that were in it.
    pub members: Members<H>,
}

/// The sessions in a room, and the number that tells the room from others of the same name.
#[derive(Debug)]
pub struct Occupants<H> {
    /// A later room of the same name has a higher number.
    pub number: u64,
    /// The sessions in it.
    pub members: Members<H>,
}

/// A room, as one of its sessions sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The owner.
    pub owner: UserId,
    /// Whether the room is stored, and so outlives its sessions.
    pub is_made: bool,
}

/// The rooms with at least one session.
#[derive(Debug)]
pub(crate) struct Rooms<H> {
    by_name: DashMap<RoomId, Room<H>>,
    /// How many rooms there have ever been.
    begun: AtomicU64,
}

/// A room with at least one session in it.
#[derive(Debug)]
struct Room<H> {
    /// Distinguishes the room from others of the same name.
    number: u64,
    members: Members<H>,
    users: usize,
    owner: UserId,
    is_public: bool,
    is_made: bool,
    /// The number of the last message that was sent to the members.
    last_seq: u64,
}

/// A room that a session is in, or a deleted room that it has still to leave.
#[derive(Debug)]
pub(crate) struct Joined {
    room: RoomId,
    number: u64,
    is_public: bool,
    /// The newest revision of the state that the session was told.
    revision: u64,
}

impl<H> Default for Rooms<H> {
    fn default() -> Self {
        Self { by_name: DashMap::new(), begun: AtomicU64::new(0) }
    }
}

impl<H: Clone> Registry<H> {
    /// Adds a session to a room, unless it is in `limit` other rooms or the facts no longer hold. `still_holds` checks
    /// that while nobody else changes the room. `tell` is shown the room with the session in it, and whether the
    /// session has just entered. Neither may call the registry.
    pub fn join(
        &self,
        (user, session): (UserId, SessionId),
        room: &RoomId,
        facts: RoomFacts,
        limit: usize,
        still_holds: impl FnOnce() -> bool,
        tell: impl FnOnce(&RoomView<'_, H>, &Member<H>, bool),
    ) -> Joining {
        let Some(mut sessions) = self.users.get_mut(&user) else { return Joining::Gone };
        let Some(here) = sessions.iter_mut().find(|here| here.attached.session == session) else {
            return Joining::Gone;
        };
        let place = here.rooms.binary_search_by(|joined| joined.room.cmp(room));
        if place.is_err() && here.rooms.len() >= limit {
            return Joining::TooMany;
        }
        let entry = self.rooms.by_name.entry(room.clone());
        let former = place.ok().map(|place| here.rooms[place].number);
        let present = if let Entry::Occupied(entry) = &entry { Some(entry.get().number) } else { None };
        if !still_holds() || (former.is_some() && former != present) {
            return Joining::Stale;
        }
        let mut entry = match entry {
            Entry::Occupied(entry) if entry.get().is_other(&facts) => return Joining::Other,
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => {
                entry.insert(Room::new(self.rooms.begun.fetch_add(1, Ordering::Relaxed), facts))
            }
        };
        let inside = entry.value_mut();
        inside.learn(facts);
        let RoomFacts { is_public, revision, .. } = facts;
        match place {
            Ok(place) => here.rooms[place].revision = revision.max(here.rooms[place].revision),
            Err(place) => {
                let joined = Joined { room: room.clone(), number: inside.number, is_public, revision };
                here.rooms.insert(place, joined);
            }
        }
        let member = member(user, &here.attached);
        let is_new = inside.add(&member);
        tell(&inside.view(), &member, is_new);
        Joining::Joined
    }

    /// Removes a session from a room. False if it was not in the room. `tell` must not call the registry.
    pub fn leave(
        &self,
        (user, session): (UserId, SessionId),
        room: &RoomId,
        tell: impl FnOnce(&Departure<'_, H>),
    ) -> bool {
        let Some(mut sessions) = self.users.get_mut(&user) else { return false };
        let here = sessions.iter_mut().find(|here| here.attached.session == session);
        let Some(place) = here.as_ref().and_then(|here| here.place_of(room)) else { return false };
        if let Some(here) = here {
            here.rooms.remove(place);
        }
        self.empty_seat((user, session), room, tell);
        true
    }

    /// Removes all sessions of a user from a room. `tell` must not call the registry.
    pub fn evict(&self, user: UserId, room: &RoomId, tell: impl FnOnce(&Departure<'_, H>)) {
        let Some(mut sessions) = self.users.get_mut(&user) else { return };
        let Entry::Occupied(entry) = self.rooms.by_name.entry(room.clone()) else { return };
        let number = entry.get().number;
        for here in sessions.iter_mut() {
            here.leave(room, number);
        }
        empty_seats(entry, user, |_| true, tell);
    }

    /// Deletes a room: from now on it has no members, and a room of the same name is another one. Each former member
    /// has still to [leave](Self::leave_closed) it.
    pub fn close(&self, room: &RoomId) -> Option<Closed<H>> {
        let (_, closed) = self.rooms.by_name.remove(room)?;
        Some(Closed { number: closed.number, members: closed.members })
    }

    /// Makes a former member leave a deleted room. `tell` is called unless the session has already left by itself. It
    /// must not call the registry.
    pub fn leave_closed(&self, room: &RoomId, closed: &Closed<H>, member: &Member<H>, tell: impl FnOnce()) {
        let Some(mut sessions) = self.users.get_mut(&member.user) else { return };
        let here = sessions.iter_mut().find(|here| here.attached.session == member.session);
        if here.is_some_and(|here| here.leave(room, closed.number)) {
            tell();
        }
    }

    /// Records that a room that only existed by joins is now stored.
    pub fn make(&self, room: &RoomId, owner: UserId) {
        if let Some(mut inside) = self.rooms.by_name.get_mut(room)
            && !inside.is_made
        {
            (inside.is_made, inside.owner) = (true, owner);
        }
    }

    /// Called before a session is sent a state of this room. False if the session is not in the room, or was sent this
    /// or a newer state.
    pub fn raise_revision(
        &self,
        (user, session): (UserId, SessionId),
        room: &RoomId,
        number: u64,
        revision: u64,
    ) -> bool {
        let Some(mut sessions) = self.users.get_mut(&user) else { return false };
        let here = sessions.iter_mut().find(|here| here.attached.session == session);
        let Some((place, here)) = here.and_then(|here| Some((here.place_of(room)?, here))) else {
            return false;
        };
        let joined = &mut here.rooms[place];
        if joined.number != number || joined.revision >= revision {
            return false;
        }
        joined.revision = revision;
        true
    }

    /// What to do with a stored message with this number; the caller sends it to the members.
    pub fn reach(&self, room: &RoomId, seq: u64) -> Reach<H> {
        let Some(mut inside) = self.rooms.by_name.get_mut(room) else { return Reach::Known };
        let told = inside.last_seq;
        if seq <= told {
            return Reach::Known;
        }
        inside.last_seq = seq;
        let members = inside.members.clone();
        if seq == told + 1 { Reach::Next(members) } else { Reach::After(told, members) }
    }

    /// A room, as a session in it sees it.
    #[must_use]
    pub fn seat(&self, member: (UserId, SessionId), room: &RoomId) -> Option<Seat> {
        let inside = self.rooms.by_name.get(room)?;
        inside.members.contains(member).then(|| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// A snapshot of the sessions in a room.
    #[must_use]
    pub fn members(&self, room: &RoomId) -> Members<H> {
        self.occupants(room).map(|occupants| occupants.members).unwrap_or_default()
    }

    /// A snapshot of the sessions in a room with the room's number, if there are any.
    #[must_use]
    pub fn occupants(&self, room: &RoomId) -> Option<Occupants<H>> {
        let inside = self.rooms.by_name.get(room)?;
        Some(Occupants { number: inside.number, members: inside.members.clone() })
    }

    /// The owner of a room with sessions, and whether it is stored.
    #[must_use]
    pub fn room_here(&self, room: &RoomId) -> Option<Seat> {
        self.rooms.by_name.get(room).map(|inside| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// The rooms of an owner that have sessions.
    #[must_use]
    pub fn rooms_owned_by(&self, owner: UserId) -> Vec<RoomId> {
        let of_owner = self.rooms.by_name.iter().filter(|inside| inside.owner == owner);
        of_owner.map(|inside| inside.key().clone()).collect()
    }

    /// The rooms that sessions of a user are in.
    #[must_use]
    pub fn rooms_of_user(&self, user: UserId) -> Vec<RoomId> {
        let Some(sessions) = self.users.get(&user) else { return Vec::new() };
        let mut rooms: Vec<RoomId> =
            sessions.iter().flat_map(|here| &here.rooms).map(|joined| joined.room.clone()).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    /// How many rooms a session is in.
    #[must_use]
    pub fn rooms_joined(&self, (user, session): (UserId, SessionId)) -> usize {
        self.users.get(&user).map_or(0, |sessions| {
            let here = sessions.iter().find(|here| here.attached.session == session);
            here.map_or(0, |here| here.rooms.len())
        })
    }

    /// Whether two sessions are in the same public room.
    #[must_use]
    pub fn share_public_room(&self, one: (UserId, SessionId), other: (UserId, SessionId)) -> bool {
        let of_one = self.public_rooms(one);
        if of_one.is_empty() {
            return false;
        }
        let of_other = self.public_rooms(other);
        of_one.iter().any(|room| of_other.binary_search(room).is_ok())
    }

    /// Makes a removed session leave its rooms.
    pub(crate) fn leave_all(
        &self,
        user: UserId,
        here: Here<H>,
        mut tell: impl FnMut(&Departure<'_, H>),
    ) -> Attached<H> {
        for joined in here.rooms {
            self.empty_seat((user, here.attached.session), &joined.room, &mut tell);
        }
        here.attached
    }

    fn public_rooms(&self, (user, session): (UserId, SessionId)) -> Vec<RoomId> {
        let Some(sessions) = self.users.get(&user) else { return Vec::new() };
        let here = sessions.iter().find(|here| here.attached.session == session);
        let joined = here.into_iter().flat_map(|here| &here.rooms);
        joined.filter(|joined| joined.is_public).map(|joined| joined.room.clone()).collect()
    }

    fn empty_seat(
        &self,
        (user, session): (UserId, SessionId),
        room: &RoomId,
        tell: impl FnOnce(&Departure<'_, H>),
    ) {
        if let Entry::Occupied(entry) = self.rooms.by_name.entry(room.clone()) {
            empty_seats(entry, user, |member| member.session == session, tell);
        }
    }
}

/// Removes the matching sessions of a user from a room, and the room once it is empty.
fn empty_seats<H: Clone>(
    mut entry: OccupiedEntry<'_, RoomId, Room<H>>,
    user: UserId,
    goes: impl Fn(&Member<H>) -> bool,
    tell: impl FnOnce(&Departure<'_, H>),
) {
    let room = entry.key().clone();
    let inside = entry.get_mut();
    let users_before = inside.users;
    let left = inside.remove(user, goes);
    if !left.is_empty() {
        tell(&Departure { room: &room, left: &left, users_before, remaining: inside.view() });
    }
    if inside.members.is_empty() {
        entry.remove();
    }
}

impl<H> Here<H> {
    fn place_of(&self, room: &RoomId) -> Option<usize> {
        self.rooms.binary_search_by(|joined| joined.room.cmp(room)).ok()
    }

    /// False if the session is not in the room with this number.
    fn leave(&mut self, room: &RoomId, number: u64) -> bool {
        let place = self.place_of(room).filter(|place| self.rooms[*place].number == number);
        place.map(|place| self.rooms.remove(place)).is_some()
    }
}

impl<H: Clone> Room<H> {
    fn new(number: u64, facts: RoomFacts) -> Self {
        let RoomFacts { owner, is_public, is_made, revision: _, last_seq } = facts;
        Self { number, members: Members::default(), users: 0, owner, is_public, is_made, last_seq }
    }

    /// Whether these facts are about another room.
    fn is_other(&self, facts: &RoomFacts) -> bool {
        let was_made = self.is_made && (!facts.is_made || self.owner != facts.owner);
        was_made || self.is_public != facts.is_public
    }

    fn learn(&mut self, facts: RoomFacts) {
        if facts.is_made {
            (self.is_made, self.owner) = (true, facts.owner);
        }
    }

    fn view(&self) -> RoomView<'_, H> {
        RoomView { members: &self.members, users: self.users }
    }

    /// False if the session was in the room already.
    fn add(&mut self, member: &Member<H>) -> bool {
        let is_first = !self.members.has(member.user);
        let is_new = self.members.insert(member.clone());
        self.users += usize::from(is_first);
        is_new
    }

    fn remove(&mut self, user: UserId, goes: impl Fn(&Member<H>) -> bool) -> Vec<Member<H>> {
        let left = self.members.remove(user, goes);
        self.users -= usize::from(!left.is_empty() && !self.members.has(user));
        left
    }
}

fn member<H: Clone>(user: UserId, attached: &Attached<H>) -> Member<H> {
    let Attached { session, device, handle, .. } = attached.clone();
    Member { user, session, device, handle }
}
