//! Rooms: their owners, members, removed users and state documents. Their messages are in [`chat`](super::chat).

mod invitations;
mod members;
mod state;

use aldis_protocol::{
    RoomId, UserId,
    api::{RoomVisibility, StateWriters},
    limits::MAX_ROOMS_PER_OWNER,
};
use uuid::Uuid;

use self::{invitations::Guests, state::StateRow};
pub(super) use self::{invitations::sweep, members::leave_private_rooms};
pub(crate) use self::{
    members::MemberChange,
    state::{Revisions, StateChange, StateDocument},
};
use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    row,
};

/// How many members a room can have, and how many removed users; a list of them still fits one response.
const MEMBERS_PER_ROOM: i64 = 5_000;

/// How many rows one statement takes, with at most four parameters each.
const ROWS_PER_STATEMENT: usize = 1_000;

/// A room to create.
#[derive(Debug, Clone)]
pub(crate) struct NewRoom {
    /// Its name.
    pub(crate) room: RoomId,
    /// Who may join it.
    pub(crate) visibility: RoomVisibility,
    /// Who may set its state.
    pub(crate) state_writers: StateWriters,
    /// Its members besides the owner.
    pub(crate) members: Vec<UserId>,
}

/// The outcome of creating a room. Only the first changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoomCreation {
    /// The room was created.
    Created {
        /// The users who are invited to it and have to be told.
        invited: Vec<UserId>,
    },
    /// There is a room with this name.
    NameTaken,
    /// The owner has the maximum number of rooms.
    TooManyOwned,
    /// It would have too many members.
    TooManyMembers,
    /// One of the members does not exist.
    NoSuchUser,
    /// The owner would have too many unanswered invitations.
    TooManyInvitations,
}

/// A room and what one user may do in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomAccess {
    /// Its id, which its members and messages refer to.
    pub(crate) room_id: Uuid,
    /// The owner.
    pub(crate) owner: UserId,
    /// Who may join it.
    pub(crate) visibility: RoomVisibility,
    /// Who may set its state.
    pub(crate) state_writers: StateWriters,
    /// When it was created.
    pub(crate) created_at_ms: i64,
    /// The number of its last message.
    pub(crate) last_seq: u64,
    membership: Membership,
}

/// The state of a user in the list of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The user is not in the list.
    Stranger,
    /// The user is invited to a private room.
    Invited,
    /// The user is listed, but refuses invitations from the owner and does not see this one.
    Ignored,
    /// The user is a member; in a private room, the user has joined it.
    Joined,
    /// The owner removed the user from a public room.
    Removed,
}

impl RoomAccess {
    /// Whether the user may be in the room and read its messages.
    pub(crate) fn may_enter(&self) -> bool {
        match self.visibility {
            RoomVisibility::Public => self.membership != Membership::Removed,
            RoomVisibility::Private => self.membership == Membership::Joined,
        }
    }

    /// Whether the user is invited: they may read the room's description, join or decline, and nothing else.
    pub(crate) fn is_invited(&self) -> bool {
        self.membership == Membership::Invited
    }

    /// Whether the user may know that the room exists.
    pub(crate) fn may_look(&self) -> bool {
        self.may_enter() || self.is_invited()
    }

    /// Whether this user may set the room's state. It must be the user whose access this is.
    pub(crate) fn may_set_state(&self, user: UserId) -> bool {
        let is_writer = self.state_writers == StateWriters::Members && self.membership == Membership::Joined;
        self.owner == user || is_writer
    }
}

impl Membership {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Invited => "invited",
            Self::Ignored => "ignored",
            Self::Joined => "joined",
            Self::Removed => "removed",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let all = [Self::Invited, Self::Ignored, Self::Joined, Self::Removed];
        let known = all.into_iter().find(|membership| membership.as_str() == text);
        known.ok_or_else(|| sqlx::Error::Decode(format!("unknown standing {text:?}").into()).into())
    }
}

impl Store {
    /// Creates a room that belongs to the user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_room(
        &self,
        credential: &Credential,
        room: &NewRoom,
        now_ms: i64,
    ) -> Result<RoomCreation, StoreError> {
        let mut tx = self.begin_for_all(credential, &room.members).await?;
        let outcome = create(&mut tx, credential.user, room, now_ms).await?;
        tx.end(matches!(outcome, RoomCreation::Created { .. })).await?;
        Ok(outcome)
    }

    /// Whether a user may own another room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn may_own_another_room(&self, user: UserId) -> Result<bool, StoreError> {
        let owned: i64 = on!(&self.db, r, pool => {
            sqlx::query_scalar(COUNT_OWNED).bind(user.as_uuid()).fetch_one(pool).await?
        });
        Ok(owned < i64::from(MAX_ROOMS_PER_OWNER))
    }

    /// The room with this name, with its state and what the user may do in it, if it exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room(
        &self,
        room: &RoomId,
        user: UserId,
    ) -> Result<Option<(RoomAccess, StateDocument)>, StoreError> {
        let row: Option<(AccessRow, StateRow)> = on!(&self.db, r, pool => {
            let query = sqlx::query_as::<_, RoomRow>(SELECT_ROOM).bind(room.as_str()).bind(user.as_uuid());
            query.fetch_optional(pool).await?.map(|row| (row.access, row.state))
        });
        row.map(|(access, state)| Ok((access.try_into()?, state.try_into()?))).transpose()
    }
}

/// Statements that delete a deleted account's data about rooms. Its own rooms lose their names, and the sweep deletes
/// their messages. Its messages in other rooms stay.
pub(super) const OF_ACCOUNT: [&str; 5] = [
    "DELETE FROM notices WHERE kind = 'room_invite' AND (device_id, subject) IN (SELECT d.device_id, r.name FROM rooms r \
         JOIN room_members m ON m.room_id = r.room_id AND m.standing = 'invited' \
         JOIN devices d ON d.user_id = m.user_id WHERE r.owner_id = $1 AND r.name IS NOT NULL)",
    "DELETE FROM room_refusals WHERE user_id = $1 OR owner_id = $1",
    "DELETE FROM room_members WHERE user_id = $1 OR room_id IN (SELECT room_id FROM rooms WHERE owner_id = $1)",
    "DELETE FROM room_states WHERE room_id IN (SELECT room_id FROM rooms WHERE owner_id = $1)",
    "UPDATE rooms SET name = NULL WHERE owner_id = $1",
];

/// Statements that remove one room. The sweep deletes its messages.
pub(super) const OF_ROOM: [&str; 5] = [
    "DELETE FROM notices WHERE kind = 'room_invite' AND (device_id, subject) IN (SELECT d.device_id, r.name FROM rooms r \
         JOIN room_members m ON m.room_id = r.room_id AND m.standing = 'invited' \
         JOIN devices d ON d.user_id = m.user_id WHERE r.room_id = $1)",
    "DELETE FROM room_refusals WHERE room_id = $1",
    "DELETE FROM room_members WHERE room_id = $1",
    "DELETE FROM room_states WHERE room_id = $1",
    "UPDATE rooms SET name = NULL WHERE room_id = $1",
];

const COUNT_OWNED: &str = "SELECT COUNT(*) FROM rooms WHERE owner_id = $1 AND name IS NOT NULL";

const SELECT_ROOM: &str = "SELECT r.room_id, r.owner_id, r.visibility, r.state_writers, r.created_at_ms, r.last_seq, \
         m.standing, s.revision, s.state \
     FROM rooms r LEFT JOIN room_members m ON m.room_id = r.room_id AND m.user_id = $2 \
         LEFT JOIN room_states s ON s.room_id = r.room_id WHERE r.name = $1";

#[derive(sqlx::FromRow)]
struct RoomRow {
    #[sqlx(flatten)]
    access: AccessRow,
    #[sqlx(flatten)]
    state: StateRow,
}

#[derive(sqlx::FromRow)]
struct AccessRow {
    room_id: Uuid,
    owner_id: Uuid,
    visibility: String,
    state_writers: String,
    created_at_ms: i64,
    last_seq: i64,
    standing: Option<String>,
}

impl TryFrom<AccessRow> for RoomAccess {
    type Error = StoreError;

    fn try_from(row: AccessRow) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: row.room_id,
            owner: UserId::new(row.owner_id),
            visibility: row::name(&row.visibility)?,
            state_writers: row::name(&row.state_writers)?,
            created_at_ms: row.created_at_ms,
            last_seq: row::number(row.last_seq)?,
            membership: row.standing.as_deref().map_or(Ok(Membership::Stranger), Membership::parse)?,
        })
    }
}

/// The transaction has locked the owner and the members.
async fn create(tx: &mut Tx, owner: UserId, room: &NewRoom, now_ms: i64) -> Result<RoomCreation, StoreError> {
    let mut users: Vec<Uuid> = room.members.iter().chain([&owner]).map(|user| user.as_uuid()).collect();
    users.sort_unstable();
    users.dedup();
    if count(tx, COUNT_OWNED, owner.as_uuid()).await? >= i64::from(MAX_ROOMS_PER_OWNER) {
        return Ok(RoomCreation::TooManyOwned);
    }
    if i64::try_from(users.len()).unwrap_or(i64::MAX) > MEMBERS_PER_ROOM {
        return Ok(RoomCreation::TooManyMembers);
    }
    let room_id = Uuid::now_v7();
    if !insert(tx, room_id, owner, room, now_ms).await? {
        return Ok(RoomCreation::NameTaken);
    }
    let guests = Guests::find(tx, owner, room_id, &users, now_ms).await?;
    if guests.count() < users.len() {
        return Ok(RoomCreation::NoSuchUser);
    }
    if !guests.may_be_invited(tx, room.visibility, 0).await? {
        return Ok(RoomCreation::TooManyInvitations);
    }
    let memberships: Vec<_> = guests.memberships(room.visibility).collect();
    members::insert_members(tx, room_id, &memberships, now_ms).await?;
    let invited = memberships.into_iter().filter(|(_, membership)| *membership == Membership::Invited);
    let invited: Vec<UserId> = invited.map(|(user, _)| UserId::new(user)).collect();
    if room.visibility == RoomVisibility::Private {
        invitations::tell(tx, &room.room, owner, &invited, now_ms).await?;
    }
    Ok(RoomCreation::Created { invited })
}

async fn insert(
    tx: &mut Tx,
    room_id: Uuid,
    owner: UserId,
    room: &NewRoom,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO rooms (room_id, name, owner_id, visibility, state_writers, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING";
    Ok(within!(tx, connection => {
        sqlx::query(insert)
            .bind(room_id)
            .bind(room.room.as_str())
            .bind(owner.as_uuid())
            .bind(room.visibility.as_str())
            .bind(room.state_writers.as_str())
            .bind(now_ms)
            .execute(connection)
            .await?
            .rows_affected()
            == 1
    }))
}

/// Locks the room with its counters until the transaction ends.
async fn lock(tx: &mut Tx, room: &RoomId, user: UserId) -> Result<Option<RoomAccess>, StoreError> {
    let touch = "UPDATE rooms SET created_at_ms = created_at_ms WHERE name = $1";
    let row: Option<RoomRow> = within!(tx, connection => {
        sqlx::query(touch).bind(room.as_str()).execute(&mut *connection).await?;
        let query = sqlx::query_as(SELECT_ROOM).bind(room.as_str()).bind(user.as_uuid());
        query.fetch_optional(connection).await?
    });
    row.map(|row| row.access.try_into()).transpose()
}

async fn count(tx: &mut Tx, select: &'static str, of: Uuid) -> Result<i64, StoreError> {
    Ok(within!(tx, connection => sqlx::query_scalar(select).bind(of).fetch_one(connection).await?))
}
