//! Rooms over HTTP: make, list, manage and read them; invitations.

use aldis_protocol::{
    ErrorCode, RoomId, Timestamp, UserRef,
    api::{
        CreateRoom, RESERVED_ROOM, Room, RoomInvitations, RoomState, RoomVisibility, SetRoomState,
        StateWriters,
    },
    limits::MAX_ROOM_STATE_BYTES,
};
use aldis_registry::Seat;

use super::{
    Relay,
    rooms::{TOO_MANY_OWNED, UNKNOWN_ROOM},
};
use crate::{
    accounts::Caller,
    clock::Now,
    refusal::Refusal,
    store::{
        MemberChange, NewRoom, Revisions, RoomAccess, RoomCreation, StateChange, StateDocument, StoreError,
    },
};

const NAME_TAKEN: Refusal = Refusal::new(ErrorCode::Conflict, "there is a room of this name; choose another");
const TOO_MANY_MEMBERS: Refusal = Refusal::new(
    ErrorCode::Conflict,
    "a room has at most 5,000 members, and as many who were removed from it",
);
const RESERVED_NAME: Refusal =
    Refusal::new(ErrorCode::BadRequest, "no room can have the name `invitations`; choose another");
const TOO_MANY_INVITATIONS: Refusal = Refusal::new(
    ErrorCode::Conflict,
    "100 invitations of yours wait for users who have not allowed you; wait for answers, or take some back",
);
/// Checks that the caller may enter the room.
const NOT_YOURS: Refusal = Refusal::new(
    ErrorCode::Forbidden,
    "only the room's owner decides here; members set the state where `state_writers` is `members`",
);
const NOT_JOINED: Refusal =
    Refusal::new(ErrorCode::Forbidden, "you are invited to the room; join it over a socket first");
const NO_SUCH_USER: Refusal = Refusal::new(ErrorCode::NotFound, "there is no such user");
const OWNER_STAYS: Refusal = Refusal::new(ErrorCode::Conflict, "a room does not go on without its owner");
const STATE_TOO_LARGE: Refusal = Refusal::new(ErrorCode::TooLarge, "`state` has at most 32 KiB");
const STATE_TOO_DEEP: Refusal = Refusal::new(ErrorCode::BadRequest, "`state` nests too deep");
const STATE_CHANGED: Refusal =
    Refusal::new(ErrorCode::PreconditionFailed, "the state is not the one that you saw; read it again");

impl Relay {
    /// Makes a room.
    pub(crate) async fn create_room(
        &self,
        caller: &Caller,
        request: CreateRoom,
        now: Now,
    ) -> Result<Room, Refusal> {
        let CreateRoom { room, visibility, members, state_writers } = request;
        if room.as_str() == RESERVED_ROOM {
            return Err(RESERVED_NAME);
        }
        let was_joined = self.unmade_room(&room);
        if was_joined.is_some_and(|seat| seat.owner != caller.user) {
            return Err(NAME_TAKEN);
        }
        let state_writers = state_writers.unwrap_or(StateWriters::Owner);
        let members = self.users_named(caller.user, &members.unwrap_or_default()).await?;
        let new = NewRoom { room, visibility, state_writers, members };
        let invited = match self.store.create_room(&caller.credential(), &new, now.store_ms()).await? {
            RoomCreation::Created { invited } => invited,
            RoomCreation::NameTaken => return Err(NAME_TAKEN),
            RoomCreation::TooManyOwned => return Err(TOO_MANY_OWNED),
            RoomCreation::TooManyMembers => return Err(TOO_MANY_MEMBERS),
            RoomCreation::TooManyInvitations => return Err(TOO_MANY_INVITATIONS),
            RoomCreation::NoSuchUser => return Err(NO_SUCH_USER),
        };
        self.room_changes.note(&new.room);
        match visibility {
            RoomVisibility::Public => self.registry.make(&new.room, caller.user),
            RoomVisibility::Private => {
                self.close_room(&new.room);
            }
        }
        self.accounts.notices.tell_invited(&new.room, caller.user, &invited, now);
        self.show_room(caller, &new.room).await
    }

    /// The invitations that the caller has not answered.
    pub(crate) async fn room_invitations(&self, caller: &Caller) -> Result<RoomInvitations, Refusal> {
        Ok(RoomInvitations { invitations: self.store.room_invitations(caller.user).await? })
    }

    /// A room that the caller may join.
    pub(crate) async fn show_room(&self, caller: &Caller, room: &RoomId) -> Result<Room, Refusal> {
        match self.visible_room(caller, room).await? {
            Readable::Made(access, _) => Ok(Room {
                room: room.clone(),
                owner_id: access.owner,
                visibility: access.visibility,
                state_writers: access.state_writers,
                members: self.store.room_members(&access).await?,
                created_at: Some(Timestamp::from_ms(access.created_at_ms)),
            }),
            Readable::Joined(seat) => Ok(Room {
                room: room.clone(),
                owner_id: seat.owner,
                visibility: RoomVisibility::Public,
                state_writers: StateWriters::Owner,
                members: vec![seat.owner],
                created_at: None,
            }),
        }
    }

    /// Adds a user to a room of the caller's, or invites them.
    pub(crate) async fn add_room_member(
        &self,
        caller: &Caller,
        room: &RoomId,
        user: UserRef,
        now: Now,
    ) -> Result<(), Refusal> {
        let user = self.named_user(caller.user, user).await?;
        let credential = caller.credential();
        let add = || self.store.add_room_member(&credential, room, user, now.store_ms());
        let change = self.change_room(caller, room, &MemberChange::UnknownRoom, add, now).await?;
        done(change)?;
        if change == MemberChange::Invited {
            self.accounts.notices.tell_invited(room, caller.user, &[user], now);
        }
        Ok(())
    }

    /// Removes a user from a room of the caller's, or the caller from any room.
    pub(crate) async fn remove_room_member(
        &self,
        caller: &Caller,
        room: &RoomId,
        user: UserRef,
        now: Now,
    ) -> Result<(), Refusal> {
        let user = self.named_user(caller.user, user).await?;
        let credential = caller.credential();
        let remove = || self.store.remove_room_member(&credential, room, user, now.store_ms());
        let visibility =
            done(self.change_room(caller, room, &MemberChange::UnknownRoom, remove, now).await?)?;
        // Users who remove themselves from a public room may still enter it.
        if visibility == RoomVisibility::Private || user != caller.user {
            self.room_changes.note(room);
            self.send_out(user, room);
        }
        self.follow_relation(user, user).await;
        Ok(())
    }

    /// The state of a room.
    pub(crate) async fn room_state(&self, caller: &Caller, room: &RoomId) -> Result<RoomState, Refusal> {
        let state = match self.readable_room(caller, room).await? {
            Readable::Made(_, state) => state,
            Readable::Joined(_) => StateDocument::none(),
        };
        RoomState::new(state.revision, &state.state)
            .map_err(|_| Refusal::new(ErrorCode::Internal, "the server failed"))
    }

    /// Sets the state of a room, and tells everybody in it.
    pub(crate) async fn set_room_state(
        &self,
        caller: &Caller,
        room: &RoomId,
        request: SetRoomState,
        expected: &Revisions,
        now: Now,
    ) -> Result<RoomState, Refusal> {
        if request.state.get().len() > MAX_ROOM_STATE_BYTES {
            return Err(STATE_TOO_LARGE);
        }
        if request.is_too_deep() {
            return Err(STATE_TOO_DEEP);
        }
        self.limit_state(caller, room, now).await?;
        let state = request.state;
        let credential = caller.credential();
        let set = || self.store.set_room_state(&credential, room, state.get(), expected);
        match self.change_room(caller, room, &StateChange::UnknownRoom, set, now).await? {
            StateChange::Set(document) => {
                let revision = document.revision;
                self.room_changes.note(room);
                self.tell_state(room, document);
                Ok(RoomState { revision, state })
            }
            StateChange::UnknownRoom => Err(UNKNOWN_ROOM),
            StateChange::Forbidden => Err(NOT_YOURS),
            StateChange::PreconditionFailed => Err(STATE_CHANGED),
        }
    }

    /// Refuses a state over the limit. Only callers who may set the state count, so that nobody else can exhaust the
    /// limit.
    async fn limit_state(&self, caller: &Caller, room: &RoomId, now: Now) -> Result<(), Refusal> {
        let may_set = match self.store.room(room, caller.user).await? {
            Some((access, _)) => access.may_set_state(caller.user),
            None => self.unmade_room(room).is_some_and(|seat| seat.owner == caller.user),
        };
        if may_set { self.rates.limit_room_state(room, now, &self.metrics) } else { Ok(()) }
    }

    /// A room that the caller may enter.
    pub(super) async fn readable_room(&self, caller: &Caller, room: &RoomId) -> Result<Readable, Refusal> {
        let visible = self.visible_room(caller, room).await?;
        if let Readable::Made(access, _) = &visible
            && access.is_invited()
        {
            return Err(NOT_JOINED);
        }
        Ok(visible)
    }

    /// A room that the caller may enter, or is invited to.
    async fn visible_room(&self, caller: &Caller, room: &RoomId) -> Result<Readable, Refusal> {
        match self.store.room(room, caller.user).await? {
            Some((access, state)) if access.may_look() => Ok(Readable::Made(access, state)),
            Some(_) => Err(UNKNOWN_ROOM),
            None => self.unmade_room(room).map(Readable::Joined).ok_or(UNKNOWN_ROOM),
        }
    }

    /// Changes a room of the caller's. If the room exists only in memory and the caller was the first to join it, it
    /// is stored first.
    async fn change_room<T: PartialEq, F: Future<Output = Result<T, StoreError>>>(
        &self,
        caller: &Caller,
        room: &RoomId,
        unknown: &T,
        change: impl Fn() -> F,
        now: Now,
    ) -> Result<T, Refusal> {
        let changed = change().await?;
        if changed != *unknown {
            return Ok(changed);
        }
        match self.unmade_room(room) {
            None => Ok(changed),
            Some(seat) if seat.owner == caller.user => {
                self.make_room(room, &caller.credential(), now).await?;
                Ok(change().await?)
            }
            Some(_) => Err(NOT_YOURS),
        }
    }
}

/// A room that the caller may look at.
pub(super) enum Readable {
    Made(RoomAccess, StateDocument),
    /// It was joined but never stored.
    Joined(Seat),
}

fn done(change: MemberChange) -> Result<RoomVisibility, Refusal> {
    match change {
        MemberChange::Done(visibility) => Ok(visibility),
        // A room that was never stored has no invitations.
        MemberChange::Invited => Ok(RoomVisibility::Private),
        MemberChange::UnknownRoom => Err(UNKNOWN_ROOM),
        MemberChange::Forbidden => Err(NOT_YOURS),
        MemberChange::NoSuchUser => Err(NO_SUCH_USER),
        MemberChange::IsOwner => Err(OWNER_STAYS),
        MemberChange::TooMany => Err(TOO_MANY_MEMBERS),
        MemberChange::TooManyInvitations => Err(TOO_MANY_INVITATIONS),
    }
}
