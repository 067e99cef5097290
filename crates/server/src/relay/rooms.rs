//! Sessions enter and leave rooms, and the members are told (docs/protocol/messages.md).

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aldis_protocol::{
    ErrorCode, MemberJoined, MemberLeft, RoomId, RoomMember, RoomMembers, ServerMessage, UserId,
    api::{RESERVED_ROOM, RoomVisibility, StateWriters},
    limits::{MAX_ROOMS_PER_SESSION, MAX_TOLD_ROOM_USERS},
};
use aldis_registry::{Departure, Joining, Member, Members, RoomFacts, RoomView, Seat};

use super::{Outcome, Relay, Reply, done, error, fresh, refused, room_states::room_update};
use crate::{
    clock::Now,
    link::{Encoded, SessionHandle, Ticket, deliver},
    refusal::Refusal,
    store::{Credential, NewRoom, RoomCreation, StateDocument, StoreError, Unauthorized},
};

/// The detail of a refusal of a message that names no room.
pub(crate) const NO_ROOM: &str = "missing field `room`; only /v1/chat/{room} knows one without it";
/// The same answer for unknown, private and forbidden rooms.
pub(super) const UNKNOWN_ROOM: Refusal =
    Refusal::new(ErrorCode::UnknownRoom, "there is no such room, or it is not open to you");
pub(super) const TOO_MANY_OWNED: Refusal =
    Refusal::new(ErrorCode::Conflict, "whose room it would be owns as many as may be");
const TOO_MANY_JOINED: Refusal =
    Refusal::new(ErrorCode::Conflict, "this session is in as many rooms as may be; leave one first");
const KEEPS_CHANGING: Refusal =
    Refusal::new(ErrorCode::Unavailable, "the room changed while you were joining it; try again");

/// How often a join starts again because the room changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;

/// Change counters, shared among rooms. A shared counter repeats one join in some millions needlessly.
const COUNTERS: usize = 1_024;

/// Counts the changes of rooms. A join first reads the room, then enters it only if the counter is still the same, so
/// it never tells a session an outdated state.
pub(super) struct RoomChanges(Box<[AtomicU64]>);

impl Default for RoomChanges {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::default()).collect())
    }
}

impl RoomChanges {
    /// The room has changed. Call it after the commit, and before members are told or removed.
    pub(super) fn note(&self, room: &RoomId) {
        self.counter(room).fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self, room: &RoomId) -> u64 {
        self.counter(room).load(Ordering::SeqCst)
    }

    fn counter(&self, room: &RoomId) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        room.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % COUNTERS as u64).unwrap_or_default();
        &self.0[place]
    }
}

impl Relay {
    /// Brings a session into a room.
    pub(super) fn join(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        room: Option<RoomId>,
        now: Now,
    ) -> Reply {
        let Some(room) = room else { return Reply::Now(no_room_named()) };
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            // The session gets the frames about the room after its `ack`.
            let reply = || from.reply(ticket, done("Joined the room"));
            match relay.enter(&from, &room, reply, now).await {
                Ok(()) => Outcome::Queued,
                Err(refusal) => Outcome::Reply(refused(refusal)),
            }
        }))
    }

    /// Takes a session out of a room. Its frames about the room come before its `ack`.
    pub(super) fn leave(&self, from: &SessionHandle, ticket: Ticket, room: Option<RoomId>) -> Reply {
        let Some(room) = room else { return Reply::Now(no_room_named()) };
        let was_in = self.registry.leave((from.user, from.session), &room, |departure| {
            from.reply(ticket, done("Left the room"));
            self.tell_departed(departure);
        });
        if was_in { Reply::Queued } else { Reply::Now(refused(UNKNOWN_ROOM)) }
    }

    /// Brings a session of the chat door into its room, and returns the refusal if that fails.
    pub(crate) async fn enter_room(
        &self,
        from: &SessionHandle,
        room: &RoomId,
        now: Now,
    ) -> Option<ServerMessage<'static>> {
        self.enter(from, room, || (), now).await.err().map(refused)
    }

    /// Stores a room that was joined but never made, before something is written in it.
    pub(super) async fn make_room(
        &self,
        room: &RoomId,
        credential: &Credential,
        now: Now,
    ) -> Result<(), Refusal> {
        let owner = credential.user;
        let new = NewRoom {
            room: room.clone(),
            visibility: RoomVisibility::Public,
            state_writers: StateWriters::Owner,
            members: Vec::new(),
        };
        let creation = match self.store.create_room(credential, &new, now.store_ms()).await {
            Err(StoreError::Unauthorized(Unauthorized::NoAccount)) => return Err(self.close_room(room)),
            creation => creation?,
        };
        let owner = match creation {
            RoomCreation::Created { .. } => owner,
            RoomCreation::NameTaken => match self.store.room(room, owner).await? {
                // Another node made the same room.
                Some((access, _)) if access.visibility == RoomVisibility::Public => access.owner,
                _ => return Err(self.close_room(room)),
            },
            RoomCreation::TooManyOwned => return Err(TOO_MANY_OWNED),
            RoomCreation::TooManyMembers | RoomCreation::TooManyInvitations | RoomCreation::NoSuchUser => {
                return Err(self.close_room(room));
            }
        };
        self.room_changes.note(room);
        self.registry.make(room, owner);
        Ok(())
    }

    /// The owner of a room that was joined but never made.
    pub(super) fn unmade_room(&self, room: &RoomId) -> Option<Seat> {
        self.registry.room_here(room).filter(|seat| !seat.is_made)
    }

    /// Removes a user's sessions from a room.
    pub(super) fn send_out(&self, user: UserId, room: &RoomId) {
        self.registry.evict(user, room, |departure| {
            self.tell_removed(departure);
            self.tell_departed(departure);
        });
    }

    /// Removes a user from the rooms that they may not enter any more, whichever node decided it.
    pub(super) async fn check_rooms_of(&self, user: UserId) -> Result<(), StoreError> {
        for room in self.registry.rooms_of_user(user) {
            match self.store.room(&room, user).await? {
                Some((access, _)) if !access.may_enter() => {
                    self.room_changes.note(&room);
                    self.send_out(user, &room);
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Removes everybody from a room that does not exist any more.
    pub(super) fn close_room(&self, room: &RoomId) -> Refusal {
        if let Some(closed) = self.registry.close(room) {
            for member in closed.members.iter() {
                self.registry.leave_closed(room, &closed, member, || self.tell_out(room, member));
            }
        }
        UNKNOWN_ROOM
    }

    /// Tells the remaining members of a room who has left, unless the room was too large for such messages.
    pub(super) fn tell_departed(&self, departure: &Departure<'_, Arc<SessionHandle>>) {
        if departure.users_before > MAX_TOLD_ROOM_USERS {
            return;
        }
        for left in departure.left {
            let frame = member_left(departure.room, left);
            self.tell_room(departure.remaining.members.iter(), &frame);
        }
    }

    /// Sends a frame to sessions in a room.
    fn tell_room<'a>(
        &self,
        members: impl Iterator<Item = &'a Member<Arc<SessionHandle>>>,
        frame: &Encoded<'_>,
    ) {
        for member in members {
            // Sessions that are full or closed resync when they reconnect.
            let _ = deliver(&member.handle, frame, &self.metrics);
        }
    }

    /// Brings a session into a room. Calls `is_sure` when that is certain, before the session gets frames about the
    /// room.
    async fn enter(
        &self,
        session: &SessionHandle,
        room: &RoomId,
        mut is_sure: impl FnMut() + Send,
        now: Now,
    ) -> Result<(), Refusal> {
        for _ in 0..JOIN_ATTEMPTS {
            let seen = self.room_changes.count(room);
            let (facts, state) = match self.find_room(session.user, room).await? {
                Found::Open(facts, state) => (facts, state),
                Found::Invitation => {
                    self.accept_invitation(session, room, now).await?;
                    continue;
                }
            };
            let still_holds = || self.room_changes.count(room) == seen;
            let joining = self.registry.join(
                (session.user, session.session),
                room,
                facts,
                MAX_ROOMS_PER_SESSION,
                still_holds,
                |view, member, is_new| {
                    is_sure();
                    self.tell_entered(room, view, member, is_new);
                    let _ = deliver(session, &room_update(room, state), &self.metrics);
                },
            );
            match joining {
                Joining::Joined => return Ok(()),
                Joining::TooMany => return Err(TOO_MANY_JOINED),
                Joining::Gone => return Err(UNKNOWN_ROOM),
                Joining::Stale => {}
                Joining::Other => {
                    self.close_room(room);
                }
            }
        }
        Err(KEEPS_CHANGING)
    }

    /// Looks up a room that a user wants to join.
    async fn find_room(&self, user: UserId, room: &RoomId) -> Result<Found, Refusal> {
        match self.store.room(room, user).await? {
            Some((access, state)) if access.may_enter() => {
                let is_public = access.visibility == RoomVisibility::Public;
                let (owner, revision, last_seq) = (access.owner, state.revision, access.last_seq);
                let facts = RoomFacts { owner, is_public, is_made: true, revision, last_seq };
                Ok(Found::Open(facts, state))
            }
            Some((access, _)) if access.is_invited() => Ok(Found::Invitation),
            None if self.config.current().rooms_auto_create && room.as_str() != RESERVED_ROOM => {
                if self.registry.room_here(room).is_none() && !self.store.may_own_another_room(user).await? {
                    return Err(TOO_MANY_OWNED);
                }
                let facts =
                    RoomFacts { owner: user, is_public: true, is_made: false, revision: 0, last_seq: 0 };
                Ok(Found::Open(facts, StateDocument::none()))
            }
            Some(_) | None => Err(UNKNOWN_ROOM),
        }
    }

    /// Accepts the invitation of a session's user, who becomes a member of the room. From now on they and its other
    /// members can reach each other.
    async fn accept_invitation(
        &self,
        session: &SessionHandle,
        room: &RoomId,
        now: Now,
    ) -> Result<(), Refusal> {
        let user = session.user;
        if self.registry.rooms_joined((user, session.session)) >= MAX_ROOMS_PER_SESSION {
            return Err(TOO_MANY_JOINED);
        }
        if self.store.accept_invitation(&Credential::session(user), room, now.store_ms()).await? {
            self.follow_relation(user, user).await;
        }
        Ok(())
    }

    /// Tells a session who is in the room, and tells the others if the session is new.
    fn tell_entered(
        &self,
        room: &RoomId,
        view: &RoomView<'_, Arc<SessionHandle>>,
        member: &Member<Arc<SessionHandle>>,
        is_new: bool,
    ) {
        let are_told = view.users <= MAX_TOLD_ROOM_USERS;
        let members = are_told.then(|| grouped(view.members));
        let list = RoomMembers::new(room.clone(), view.users as u64, members);
        let frame = Encoded::new(fresh(ServerMessage::RoomMembers(list)));
        let _ = deliver(&member.handle, &frame, &self.metrics);
        if !are_told || !is_new {
            return;
        }
        let joined = MemberJoined::new(room.clone(), member.user, member.device.clone());
        let frame = Encoded::new(fresh(ServerMessage::MemberJoined(joined)));
        self.tell_room(view.members.iter().filter(|other| other.session != member.session), &frame);
    }

    /// Tells each removed session that it has left, and nothing about the others.
    fn tell_removed(&self, departure: &Departure<'_, Arc<SessionHandle>>) {
        departure.left.iter().for_each(|left| self.tell_out(departure.room, left));
    }

    fn tell_out(&self, room: &RoomId, left: &Member<Arc<SessionHandle>>) {
        let _ = deliver(&left.handle, &member_left(room, left), &self.metrics);
    }
}

/// A room that a user wants to join.
enum Found {
    /// It is open to them; its facts and its state.
    Open(RoomFacts, StateDocument),
    /// They are invited to it.
    Invitation,
}

pub(super) fn no_room_named() -> ServerMessage<'static> {
    error(ErrorCode::BadRequest, NO_ROOM)
}

fn member_left(room: &RoomId, left: &Member<Arc<SessionHandle>>) -> Encoded<'static> {
    let left = MemberLeft::new(room.clone(), left.user, left.device.clone());
    Encoded::new(fresh(ServerMessage::MemberLeft(left)))
}

/// The users of sessions, with their devices.
fn grouped(members: &Members<Arc<SessionHandle>>) -> Vec<RoomMember> {
    let mut grouped: Vec<RoomMember> = Vec::new();
    for session in members.iter() {
        let device = session.device.clone();
        match grouped.last_mut().filter(|last| last.user_id == session.user) {
            Some(last) => last.device_ids.push(device),
            None => grouped.push(RoomMember::new(session.user, vec![device])),
        }
    }
    grouped
}
