//! Which sessions are in which rooms.
//!
//! Whoever changes a room is handed it as it is then, while it stays locked: so what those inside are told of each other
//! comes in the order in which it happened. What a session does elsewhere is not held up by it.

use std::sync::Arc;

use aldis_protocol::{DeviceId, RoomId, SessionId, UserId};
use dashmap::Entry;

use crate::registry::{Attached, Here, Registry};

/// A session in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<H> {
    /// Whose it is.
    pub user: UserId,
    /// Its id.
    pub session: SessionId,
    /// The device it is on.
    pub device: DeviceId,
    /// What reaches it.
    pub handle: H,
}

/// What is known of a room that somebody joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomFacts {
    /// Whose it is; of a room that was never made, that of whoever joined first.
    pub owner: UserId,
    /// Whether everybody may join it.
    pub is_public: bool,
    /// Whether it outlives those who are in it.
    pub is_made: bool,
    /// Which state of it whoever joins is told.
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

/// The sessions in a room at one moment, those of one user beside each other.
pub type Members<H> = Arc<Vec<Member<H>>>;

/// What became of a [`join`](Registry::join).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the session may not be in the room"]
pub enum Joining {
    /// The session is in the room.
    Joined,
    /// The session is in as many rooms as it may; nothing changed.
    TooMany,
    /// The facts no longer hold; nothing changed.
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
    pub members: &'a [Member<H>],
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

/// A room as one of the sessions in it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Whose the room is.
    pub owner: UserId,
    /// Whether it outlives those who are in it.
    pub is_made: bool,
}

/// A room with at least one session in it.
#[derive(Debug)]
pub(crate) struct Room<H> {
    /// Sorted by user and session; copied only where somebody still reads the former ones.
    members: Members<H>,
    users: usize,
    owner: UserId,
    is_public: bool,
    is_made: bool,
    /// The newest state that those in it were told.
    revision: u64,
    /// The number of the last message that those in it were told.
    last_seq: u64,
}

/// A room that a session is in.
#[derive(Debug)]
pub(crate) struct Joined {
    room: RoomId,
    is_public: bool,
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
        let entry = self.rooms.entry(room.clone());
        if !still_holds() {
            return Joining::Stale;
        }
        let mut entry = match entry {
            Entry::Occupied(entry) if entry.get().is_other(&facts) => return Joining::Other,
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => entry.insert(Room::new(facts)),
        };
        let inside = entry.value_mut();
        inside.learn(facts);
        if let Err(place) = place {
            here.rooms.insert(place, Joined { room: room.clone(), is_public: facts.is_public });
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
        self.empty_seats(user, room, |member| member.session == session, tell);
        true
    }

    /// Takes all sessions of a user out of a room. `tell` must not call the registry.
    pub fn evict(&self, user: UserId, room: &RoomId, tell: impl FnOnce(&Departure<'_, H>)) {
        let Some(mut sessions) = self.users.get_mut(&user) else { return };
        for here in sessions.iter_mut() {
            if let Some(place) = here.place_of(room) {
                here.rooms.remove(place);
            }
        }
        self.empty_seats(user, room, |_| true, tell);
    }

    /// A room that was joined but never made is made now.
    pub fn make(&self, room: &RoomId, owner: UserId) {
        if let Some(mut inside) = self.rooms.get_mut(room)
            && !inside.is_made
        {
            (inside.is_made, inside.owner) = (true, owner);
        }
    }

    /// Shows a room to `tell`, which must not call the registry, where those in it have not been told this state of it
    /// or a newer one.
    pub fn raise_revision(&self, room: &RoomId, revision: u64, tell: impl FnOnce(&RoomView<'_, H>)) {
        if let Some(mut inside) = self.rooms.get_mut(room)
            && inside.revision < revision
        {
            inside.revision = revision;
            tell(&inside.view());
        }
    }

    /// A message with this number was stored in a room; whoever asks tells those in it.
    pub fn reach(&self, room: &RoomId, seq: u64) -> Reach<H> {
        let Some(mut inside) = self.rooms.get_mut(room) else { return Reach::Known };
        let told = inside.last_seq;
        if seq <= told {
            return Reach::Known;
        }
        inside.last_seq = seq;
        let members = Arc::clone(&inside.members);
        if seq == told + 1 { Reach::Next(members) } else { Reach::After(told, members) }
    }

    /// A room as a session sees it that is in it.
    #[must_use]
    pub fn seat(&self, member: (UserId, SessionId), room: &RoomId) -> Option<Seat> {
        let inside = self.rooms.get(room)?;
        inside.place_of(member).is_ok().then(|| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// The sessions in a room as they are now; they may change while the list is read.
    #[must_use]
    pub fn members(&self, room: &RoomId) -> Members<H> {
        self.rooms.get(room).map(|inside| Arc::clone(&inside.members)).unwrap_or_default()
    }

    /// Whose a room is that somebody is in, and whether it was made.
    #[must_use]
    pub fn room_here(&self, room: &RoomId) -> Option<Seat> {
        self.rooms.get(room).map(|inside| Seat { owner: inside.owner, is_made: inside.is_made })
    }

    /// The rooms of an owner that somebody is in.
    #[must_use]
    pub fn rooms_owned_by(&self, owner: UserId) -> Vec<RoomId> {
        let of_owner = self.rooms.iter().filter(|inside| inside.owner == owner);
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
            let session = here.attached.session;
            self.empty_seats(user, &joined.room, |member| member.session == session, &mut tell);
        }
        here.attached
    }

    fn public_rooms(&self, (user, session): (UserId, SessionId)) -> Vec<RoomId> {
        let Some(sessions) = self.users.get(&user) else { return Vec::new() };
        let here = sessions.iter().find(|here| here.attached.session == session);
        let joined = here.into_iter().flat_map(|here| &here.rooms);
        joined.filter(|joined| joined.is_public).map(|joined| joined.room.clone()).collect()
    }

    /// Takes those sessions of a user out of a room that are to go; a room that is empty then is gone.
    fn empty_seats(
        &self,
        user: UserId,
        room: &RoomId,
        goes: impl Fn(&Member<H>) -> bool,
        tell: impl FnOnce(&Departure<'_, H>),
    ) {
        let Entry::Occupied(mut entry) = self.rooms.entry(room.clone()) else { return };
        let inside = entry.get_mut();
        let users_before = inside.users;
        let left = inside.remove(user, goes);
        if !left.is_empty() {
            tell(&Departure { room, left: &left, users_before, remaining: inside.view() });
        }
        if inside.members.is_empty() {
            entry.remove();
        }
    }
}

impl<H> Here<H> {
    fn place_of(&self, room: &RoomId) -> Option<usize> {
        self.rooms.binary_search_by(|joined| joined.room.cmp(room)).ok()
    }
}

impl<H: Clone> Room<H> {
    fn new(facts: RoomFacts) -> Self {
        let RoomFacts { owner, is_public, is_made, revision, last_seq } = facts;
        Self { members: Arc::default(), users: 0, owner, is_public, is_made, revision, last_seq }
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
        self.revision = self.revision.max(facts.revision);
    }

    fn view(&self) -> RoomView<'_, H> {
        RoomView { members: &self.members, users: self.users }
    }

    fn place_of(&self, member: (UserId, SessionId)) -> Result<usize, usize> {
        self.members.binary_search_by_key(&member, |other| (other.user, other.session))
    }

    /// False where it was there already.
    fn add(&mut self, member: &Member<H>) -> bool {
        let Err(place) = self.place_of((member.user, member.session)) else { return false };
        self.users += usize::from(!self.has(member.user));
        Arc::make_mut(&mut self.members).insert(place, member.clone());
        true
    }

    fn remove(&mut self, user: UserId, goes: impl Fn(&Member<H>) -> bool) -> Vec<Member<H>> {
        let range = self.range_of(user);
        if !self.members[range.clone()].iter().any(&goes) {
            return Vec::new();
        }
        let members = Arc::make_mut(&mut self.members);
        let (left, stay): (Vec<_>, Vec<_>) = members.drain(range.clone()).partition(goes);
        self.users -= usize::from(stay.is_empty());
        members.splice(range.start..range.start, stay);
        left
    }

    fn has(&self, user: UserId) -> bool {
        !self.range_of(user).is_empty()
    }

    fn range_of(&self, user: UserId) -> std::ops::Range<usize> {
        let start = self.members.partition_point(|member| member.user < user);
        let count = self.members[start..].iter().take_while(|member| member.user == user).count();
        start..start + count
    }
}

fn member<H: Clone>(user: UserId, attached: &Attached<H>) -> Member<H> {
    let Attached { session, device, handle, .. } = attached.clone();
    Member { user, session, device, handle }
}
