//! Which sessions are in which rooms.
//!
//! A caller that changes a room is shown it as it is then, while it stays locked: so what those inside are told of each
//! other comes in the order in which it happened. What goes to everybody in a room is handed out from a copy of its members
//! instead, and a room that is no more is first taken away and then left by each of them: both hold up nobody.

mod members;

use std::sync::atomic::{AtomicU64, Ordering};

use aldis_protocol::{RoomId, SessionId, UserId};
use dashmap::{DashMap, Entry, OccupiedEntry};

pub use self::members::{CHUNK, Member, Members};

use crate::registry::{Attached, Here, Registry};

/// What is known of a room that somebody joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomFacts {
    /// Whose it is; of a room that was never made, that of whoever joined first.
    pub owner: UserId,
    /// Whether everybody may join it.
    pub is_public: bool,
    /// Whether it outlives those who are in it.
    pub is_made: bool,
    /// Which state of it the session is told that joins.
    pub revision: u64,
    /// The number of the last message that was stored in it.
    pub last_seq: u64,
}

/// What to do about a message that was stored in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach<H> {
    /// It is the next one for those in the room.
    Next(Members<H>),
    /// Those after this number are missing, which another node stored: they come first.
    After(u64, Members<H>),
    /// Those in the room have it, or nobody is there.
    Known,
}

/// What became of a [`join`](Registry::join).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the session may not be in the room"]
pub enum Joining {
    /// The session is in the room.
    Joined,
    /// The session is in as many rooms as it may; nothing changed.
    TooMany,
    /// The facts no longer hold, or the session is still to leave another room of the same name, which is no more; nothing
    /// changed.
    Stale,
    /// Those who are here are in another room of the same name, which is no more; nothing changed.
    Other,
    /// There is no such session; nothing changed.
    Gone,
}

/// A room while it is locked.
#[derive(Debug)]
pub struct RoomView<'a, H> {
    /// The sessions in it, those of one user beside each other.
    pub members: &'a Members<H>,
    /// How many users are in it.
    pub users: usize,
}

/// Sessions of one user that have just left a room.
#[derive(Debug)]
pub struct Departure<'a, H> {
    /// The room.
    pub room: &'a RoomId,
    /// Those who have left.
    pub left: &'a [Member<H>],
    /// How many users were in it before.
    pub users_before: usize,
    /// Who is still there.
    pub remaining: RoomView<'a, H>,
}

/// A room that is no more, and who is still to leave it.
#[derive(Debug)]
pub struct Closed<H> {
    number: u64,
    /// The sessions that were in it.
    pub members: Members<H>,
}

/// The sessions in a room, and which of the rooms of its name it is.
#[derive(Debug)]
pub struct Occupants<H> {
    /// A room of the same name that comes later has a higher one.
    pub number: u64,
    /// The sessions in it.
    pub members: Members<H>,
}

/// A room as one of the sessions in it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Whose the room is.
    pub owner: UserId,
    /// Whether it outlives those who are in it.
    pub is_made: bool,
}

/// The rooms that somebody is in.
#[derive(Debug)]
pub(crate) struct Rooms<H> {
    by_name: DashMap<RoomId, Room<H>>,
    /// How many there ever were.
    begun: AtomicU64,
}

/// A room with at least one session in it.
#[derive(Debug)]
struct Room<H> {
    /// Tells it from another one of the same name.
    number: u64,
    members: Members<H>,
    users: usize,
    owner: UserId,
    is_public: bool,
    is_made: bool,
    /// The number of the last message that those in it were told.
    last_seq: u64,
}

/// A room that a session is in, or is still to leave because it is no more.
#[derive(Debug)]
pub(crate) struct Joined {
    room: RoomId,
    number: u64,
    is_public: bool,
    /// The newest state of it that the session was told.
    revision: u64,
}

impl<H> Default for Rooms<H> {
    fn default() -> Self {
        Self { by_name: DashMap::new(), begun: AtomicU64::new(0) }
    }
}

impl<H: Clone> Registry<H> {
    /// Brings a session into a room, unless it is in `limit` others or the facts no longer hold, which `still_holds` is
    /// asked while nobody else changes the room. `tell` is shown the room with the session in it, and whether it has
    /// just entered; neither may call the registry.
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

    /// Takes a session out of a room. False where it was not in it. `tell` must not call the registry.
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

    /// Takes all sessions of a user out of a room. `tell` must not call the registry.
    pub fn evict(&self, user: UserId, room: &RoomId, tell: impl FnOnce(&Departure<'_, H>)) {
        let Some(mut sessions) = self.users.get_mut(&user) else { return };
        let Entry::Occupied(entry) = self.rooms.by_name.entry(room.clone()) else { return };
        let number = entry.get().number;
        for here in sessions.iter_mut() {
            here.leave(room, number);
        }
        empty_seats(entry, user, |_| true, tell);
    }

    /// A room is no more: from here on nobody is in it, and a room of the same name is another one. Each of its former
    /// members is still to [leave](Self::leave_closed) it.
    pub fn close(&self, room: &RoomId) -> Option<Closed<H>> {
        let (_, closed) = self.rooms.by_name.remove(room)?;
        Some(Closed { number: closed.number, members: closed.members })
    }

    /// A former member of a room that is no more leaves it: `tell` tells them, unless they have gone by themselves. It must
    /// not call the registry.
    pub fn leave_closed(&self, room: &RoomId, closed: &Closed<H>, member: &Member<H>, tell: impl FnOnce()) {
        let Some(mut sessions) = self.users.get_mut(&member.user) else { return };
        let here = sessions.iter_mut().find(|here| here.attached.session == member.session);
        if here.is_some_and(|here| here.leave(room, closed.number)) {
            tell();
        }
    }

    /// A room that was joined but never made is made now.
    pub fn make(&self, room: &RoomId, owner: UserId) {
        if let Some(mut inside) = self.rooms.by_name.get_mut(room)
            && !inside.is_made
        {
            (inside.is_made, inside.owner) = (true, owner);
        }
    }

    /// A session is about to be told a state of this room. False where it is not in it, or was told this state or a newer
    /// one.
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

    /// A message with this number was stored in a room; the caller tells those in it.
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

    /// A room as a session sees it that is in it.
    #[must_use]
    pub fn seat(&self, member: (UserId, SessionId), room: &RoomId) -> Option<Seat> {
        let inside = self.rooms.by_name.get(room)?;
        inside.members.contains(member).then(|| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// The sessions in a room as they are now; they may change while the list is read.
    #[must_use]
    pub fn members(&self, room: &RoomId) -> Members<H> {
        self.occupants(room).map(|occupants| occupants.members).unwrap_or_default()
    }

    /// The sessions in a room as they are now, where there are any, and which room it is.
    #[must_use]
    pub fn occupants(&self, room: &RoomId) -> Option<Occupants<H>> {
        let inside = self.rooms.by_name.get(room)?;
        Some(Occupants { number: inside.number, members: inside.members.clone() })
    }

    /// Whose a room is that somebody is in, and whether it was made.
    #[must_use]
    pub fn room_here(&self, room: &RoomId) -> Option<Seat> {
        self.rooms.by_name.get(room).map(|inside| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// The rooms of an owner that somebody is in.
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

    /// In how many rooms a session is.
    #[must_use]
    pub fn rooms_joined(&self, (user, session): (UserId, SessionId)) -> usize {
        self.users.get(&user).map_or(0, |sessions| {
            let here = sessions.iter().find(|here| here.attached.session == session);
            here.map_or(0, |here| here.rooms.len())
        })
    }

    /// Whether two sessions are in one public room.
    #[must_use]
    pub fn share_public_room(&self, one: (UserId, SessionId), other: (UserId, SessionId)) -> bool {
        let of_one = self.public_rooms(one);
        if of_one.is_empty() {
            return false;
        }
        let of_other = self.public_rooms(other);
        of_one.iter().any(|room| of_other.binary_search(room).is_ok())
    }

    /// A session is no longer here: it leaves its rooms.
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

/// Takes those sessions of a user out of a room that are to go; a room that is empty then is gone.
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

    /// False where the session is not in this room of the name.
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

    /// Whether these are facts about another room.
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

    /// False where it was there already.
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
