//! Rooms: who owns them, who was put in them or removed, and their state documents. What is said in them is
//! [`chat`](super::chat)'s.

use std::collections::HashSet;

use aldis_protocol::{
    Payload, RoomId, UserId,
    api::{RoomVisibility, StateWriters},
    limits::MAX_ROOMS_PER_OWNER,
};
use bytes::Bytes;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    row, standings,
};

/// How many users may be in a room's list, and how many removed from it: a list of them is still one answer.
const MEMBERS_PER_ROOM: i64 = 5_000;

/// How many rows one statement writes, of one parameter each.
const ROWS_PER_INSERT: usize = 1_000;

/// A room that somebody wants to make.
#[derive(Debug, Clone)]
pub(crate) struct NewRoom {
    /// Its name.
    pub(crate) room: RoomId,
    /// Who may join it.
    pub(crate) visibility: RoomVisibility,
    /// Who sets its state.
    pub(crate) state_writers: StateWriters,
    /// Who is in it besides.
    pub(crate) members: Vec<UserId>,
}

/// What became of a new room. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomCreation {
    /// It is there.
    Created,
    /// There is one of this name.
    NameTaken,
    /// Its owner has as many as may be.
    TooManyOwned,
    /// It would have more members than a room may.
    TooManyMembers,
    /// There is no such user to be in it.
    NoSuchUser,
}

/// A room, as one user stands towards it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomAccess {
    /// Its id, by which its members and messages are found.
    pub(crate) room_id: Uuid,
    /// Whose it is.
    pub(crate) owner: UserId,
    /// Who may join it.
    pub(crate) visibility: RoomVisibility,
    /// Who sets its state.
    pub(crate) state_writers: StateWriters,
    /// When it was made.
    pub(crate) created_at_ms: i64,
    /// The number of the last message in it.
    pub(crate) last_seq: u64,
    standing: Standing,
}

/// A room's state document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDocument {
    /// How often it was set.
    pub(crate) revision: u64,
    /// What it says.
    pub(crate) state: Payload<'static>,
}

/// Which revision of a room's state may be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revisions {
    /// Any that was set.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

/// What became of a new state. Only the first changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateChange {
    /// It is the room's now.
    Set(StateDocument),
    /// There is no such room, or the user may not set its state.
    UnknownRoom,
    /// The state is not the one that was named.
    PreconditionFailed,
}

/// What became of a change of a room's members. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberChange {
    /// It is done, in a room of this kind.
    Done(RoomVisibility),
    /// There is no such room of whoever asked.
    UnknownRoom,
    /// There is no such user.
    NoSuchUser,
    /// A room does not go on without its owner.
    IsOwner,
    /// There are as many as may be.
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    Member,
    Removed,
}

impl RoomAccess {
    /// Whether the user may join the room and read what was said in it.
    pub(crate) fn may_enter(&self) -> bool {
        match self.visibility {
            RoomVisibility::Public => self.standing != Standing::Removed,
            RoomVisibility::Private => self.standing == Standing::Member,
        }
    }

    fn may_set_state(&self, user: UserId) -> bool {
        let is_writer = self.state_writers == StateWriters::Members && self.standing == Standing::Member;
        self.owner == user || is_writer
    }
}

impl StateDocument {
    /// Where none was set.
    pub(crate) fn none() -> Self {
        Self { revision: 0, state: Payload::null() }
    }
}

impl Revisions {
    fn include(&self, revision: u64) -> bool {
        match self {
            Self::Any => revision > 0,
            Self::OneOf(revisions) => revisions.contains(&revision),
        }
    }
}

impl Store {
    /// Makes a room of the user who asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_room(
        &self,
        credential: &Credential,
        room: &NewRoom,
        now_ms: i64,
    ) -> Result<RoomCreation, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let outcome = create(&mut tx, credential.user, room, now_ms).await?;
        tx.end(outcome == RoomCreation::Created).await?;
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

    /// The room of this name as a user stands towards it, with its state, if there is one.
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

    /// Who was put in a room, its owner first, then in the order in which they were put in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_members(&self, room: &RoomAccess) -> Result<Vec<UserId>, StoreError> {
        let select = "SELECT user_id FROM room_members WHERE room_id = $1 AND NOT removed \
             ORDER BY CASE WHEN user_id = $2 THEN 0 ELSE 1 END, added_at_ms, user_id";
        let users: Vec<Uuid> = on!(&self.db, r, pool => {
            let query = sqlx::query_scalar(select).bind(room.room_id).bind(room.owner.as_uuid());
            query.fetch_all(pool).await?
        });
        Ok(users.into_iter().map(UserId::new).collect())
    }

    /// Puts a user in a room, asked by its owner, whether the user was removed from it before or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn add_room_member(
        &self,
        credential: &Credential,
        room: &RoomId,
        user: UserId,
        now_ms: i64,
    ) -> Result<MemberChange, StoreError> {
        let (mut tx, is_there) = self.begin_for_both(credential, user).await?;
        let outcome = match is_there {
            true => add_member(&mut tx, room, credential.user, user, now_ms).await?,
            false => without_user(&mut tx, room, credential.user, user).await?,
        };
        tx.end(matches!(outcome, MemberChange::Done(_))).await?;
        Ok(outcome)
    }

    /// Removes a user from a room, asked by its owner or by himself. Whom the owner removes from a public room may not
    /// join it again until he is put in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remove_room_member(
        &self,
        credential: &Credential,
        room: &RoomId,
        user: UserId,
        now_ms: i64,
    ) -> Result<MemberChange, StoreError> {
        let (mut tx, is_there) = self.begin_for_both(credential, user).await?;
        let outcome = match is_there {
            true => remove_member(&mut tx, room, credential.user, user, now_ms).await?,
            false => without_user(&mut tx, room, credential.user, user).await?,
        };
        tx.end(matches!(outcome, MemberChange::Done(_))).await?;
        Ok(outcome)
    }

    /// Replaces the state of a room, where its present one is among `expected`; 0 stands for none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn set_room_state(
        &self,
        credential: &Credential,
        room: &RoomId,
        state: &str,
        expected: &Revisions,
    ) -> Result<StateChange, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let outcome = set_state(&mut tx, room, credential.user, state, expected).await?;
        tx.end(matches!(outcome, StateChange::Set(_))).await?;
        Ok(outcome)
    }

    /// Those of `peers` who are members of a private room of which the user is one too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn roommates(
        &self,
        user: UserId,
        peers: &[UserId],
    ) -> Result<HashSet<UserId>, StoreError> {
        if peers.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<Uuid> = on!(&self.db, r, pool => {
            let mut select = QueryBuilder::new(
                "SELECT DISTINCT b.user_id FROM room_members a \
                     JOIN rooms r ON r.room_id = a.room_id AND r.visibility = 'private' AND r.name IS NOT NULL \
                     JOIN room_members b ON b.room_id = a.room_id AND NOT b.removed \
                 WHERE NOT a.removed AND a.user_id = ",
            );
            select.push_bind(user.as_uuid()).push(" AND b.user_id IN (");
            peers.iter().fold(select.separated(", "), |mut list, peer| {
                list.push_bind(peer.as_uuid());
                list
            });
            select.push(")");
            // Of one peer it is asked again and again.
            select.build_query_scalar().persistent(peers.len() == 1).fetch_all(pool).await?
        });
        Ok(found.into_iter().map(UserId::new).collect())
    }
}

/// Tells every node that who is in private rooms of an owner can be reached by others there no more.
pub(super) async fn leave_private_rooms(tx: &mut Tx, owner: UserId, now_ms: i64) -> Result<(), StoreError> {
    let select = "SELECT DISTINCT m.user_id FROM room_members m JOIN rooms r ON r.room_id = m.room_id \
         WHERE r.owner_id = $1 AND r.visibility = 'private' AND r.name IS NOT NULL AND NOT m.removed";
    let members: Vec<Uuid> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(owner.as_uuid()).fetch_all(connection).await?
    });
    let members: Vec<_> = members.into_iter().map(|user| (UserId::new(user), UserId::new(user))).collect();
    standings::append(tx, &members, now_ms).await
}

/// What of a deleted account's belongs to rooms. Its own rooms lose their names; the sweep takes what was said in them.
/// What it said in others' is theirs.
pub(super) const OF_ACCOUNT: [&str; 3] = [
    "DELETE FROM room_members WHERE user_id = $1 OR room_id IN (SELECT room_id FROM rooms WHERE owner_id = $1)",
    "DELETE FROM room_states WHERE room_id IN (SELECT room_id FROM rooms WHERE owner_id = $1)",
    "UPDATE rooms SET name = NULL WHERE owner_id = $1",
];

const COUNT_OWNED: &str = "SELECT COUNT(*) FROM rooms WHERE owner_id = $1 AND name IS NOT NULL";

const SELECT_ROOM: &str = "SELECT r.room_id, r.owner_id, r.visibility, r.state_writers, r.created_at_ms, r.last_seq, \
         m.removed, s.revision, s.state \
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
    removed: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    revision: Option<i64>,
    state: Option<String>,
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
            standing: match row.removed {
                None => Standing::Stranger,
                Some(false) => Standing::Member,
                Some(true) => Standing::Removed,
            },
        })
    }
}

impl TryFrom<StateRow> for StateDocument {
    type Error = StoreError;

    fn try_from(row: StateRow) -> Result<Self, StoreError> {
        let (Some(revision), Some(state)) = (row.revision, row.state) else { return Ok(Self::none()) };
        let state = Payload::from_bytes(Bytes::from(state)).map_err(row::unreadable)?;
        Ok(Self { revision: row::number(revision)?, state })
    }
}

async fn create(tx: &mut Tx, owner: UserId, room: &NewRoom, now_ms: i64) -> Result<RoomCreation, StoreError> {
    if count(tx, COUNT_OWNED, owner.as_uuid()).await? >= i64::from(MAX_ROOMS_PER_OWNER) {
        return Ok(RoomCreation::TooManyOwned);
    }
    let mut members: Vec<Uuid> = room.members.iter().chain([&owner]).map(|user| user.as_uuid()).collect();
    members.sort_unstable();
    members.dedup();
    if i64::try_from(members.len()).unwrap_or(i64::MAX) > MEMBERS_PER_ROOM {
        return Ok(RoomCreation::TooManyMembers);
    }
    let room_id = Uuid::now_v7();
    if !insert(tx, room_id, owner, room, now_ms).await? {
        return Ok(RoomCreation::NameTaken);
    }
    if insert_members(tx, room_id, &members, now_ms).await? < members.len() {
        return Ok(RoomCreation::NoSuchUser);
    }
    if room.visibility == RoomVisibility::Private && members.len() > 1 {
        let members: Vec<_> =
            members.into_iter().map(|user| (UserId::new(user), UserId::new(user))).collect();
        standings::append(tx, &members, now_ms).await?;
    }
    Ok(RoomCreation::Created)
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

/// Puts in those of `users` that there are, and says how many.
async fn insert_members(
    tx: &mut Tx,
    room_id: Uuid,
    users: &[Uuid],
    now_ms: i64,
) -> Result<usize, StoreError> {
    let mut inserted = 0;
    for some in users.chunks(ROWS_PER_INSERT) {
        inserted += within!(tx, connection => {
            let mut insert = QueryBuilder::new("INSERT INTO room_members (room_id, user_id, removed, added_at_ms) SELECT ");
            insert.push_bind(room_id).push(", user_id, FALSE, ").push_bind(now_ms);
            insert.push(" FROM users WHERE deleted_at_ms IS NULL AND user_id IN (");
            let mut list = insert.separated(", ");
            for user in some {
                list.push_bind(*user);
            }
            insert.push(")");
            insert.build().execute(connection).await?.rows_affected()
        });
    }
    Ok(usize::try_from(inserted).unwrap_or(usize::MAX))
}

/// What an owner is told who names a user that is not there.
async fn without_user(
    tx: &mut Tx,
    room: &RoomId,
    asker: UserId,
    user: UserId,
) -> Result<MemberChange, StoreError> {
    let access = lock(tx, room, user).await?.filter(|access| access.owner == asker);
    Ok(access.map_or(MemberChange::UnknownRoom, |_| MemberChange::NoSuchUser))
}

/// The transaction has locked both users, and locks the room after them: in the order of an account's deletion.
async fn add_member(
    tx: &mut Tx,
    room: &RoomId,
    owner: UserId,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    let Some(access) = lock(tx, room, user).await?.filter(|access| access.owner == owner) else {
        return Ok(MemberChange::UnknownRoom);
    };
    if access.standing == Standing::Member {
        return Ok(MemberChange::Done(access.visibility));
    }
    if count(tx, COUNT_MEMBERS, access.room_id).await? >= MEMBERS_PER_ROOM {
        return Ok(MemberChange::TooMany);
    }
    enter(tx, access.room_id, user, false, now_ms).await?;
    standings::append(tx, &[(user, user)], now_ms).await?;
    Ok(MemberChange::Done(access.visibility))
}

async fn remove_member(
    tx: &mut Tx,
    room: &RoomId,
    asker: UserId,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    let Some(access) = lock(tx, room, user).await? else { return Ok(MemberChange::UnknownRoom) };
    let takes_himself_out = asker == user && access.standing == Standing::Member;
    if access.owner != asker && !takes_himself_out {
        return Ok(MemberChange::UnknownRoom);
    }
    if access.owner == user {
        return Ok(MemberChange::IsOwner);
    }
    if access.visibility == RoomVisibility::Private || takes_himself_out {
        delete_member(tx, access.room_id, user).await?;
        standings::append(tx, &[(user, user)], now_ms).await?;
        return Ok(MemberChange::Done(access.visibility));
    }
    if access.standing != Standing::Removed {
        if count(tx, COUNT_REMOVED, access.room_id).await? >= MEMBERS_PER_ROOM {
            return Ok(MemberChange::TooMany);
        }
        enter(tx, access.room_id, user, true, now_ms).await?;
        standings::append(tx, &[(user, user)], now_ms).await?;
    }
    Ok(MemberChange::Done(access.visibility))
}

async fn set_state(
    tx: &mut Tx,
    room: &RoomId,
    user: UserId,
    state: &str,
    expected: &Revisions,
) -> Result<StateChange, StoreError> {
    let Some(access) = lock(tx, room, user).await?.filter(|access| access.may_set_state(user)) else {
        return Ok(StateChange::UnknownRoom);
    };
    let revision = revision(tx, access.room_id).await?;
    if !expected.include(row::number(revision)?) {
        return Ok(StateChange::PreconditionFailed);
    }
    let upsert = "INSERT INTO room_states (room_id, revision, state) VALUES ($1, $2, $3) \
         ON CONFLICT (room_id) DO UPDATE SET revision = excluded.revision, state = excluded.state";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(access.room_id).bind(revision + 1).bind(state);
        query.execute(connection).await?;
    });
    let row = StateRow { revision: Some(revision + 1), state: Some(state.to_owned()) };
    Ok(StateChange::Set(row.try_into()?))
}

/// Until the transaction ends, nobody else changes the room; its counters neither.
async fn lock(tx: &mut Tx, room: &RoomId, user: UserId) -> Result<Option<RoomAccess>, StoreError> {
    let touch = "UPDATE rooms SET created_at_ms = created_at_ms WHERE name = $1";
    let row: Option<RoomRow> = within!(tx, connection => {
        sqlx::query(touch).bind(room.as_str()).execute(&mut *connection).await?;
        let query = sqlx::query_as(SELECT_ROOM).bind(room.as_str()).bind(user.as_uuid());
        query.fetch_optional(connection).await?
    });
    row.map(|row| row.access.try_into()).transpose()
}

async fn revision(tx: &mut Tx, room_id: Uuid) -> Result<i64, StoreError> {
    let select = "SELECT revision FROM room_states WHERE room_id = $1";
    let found: Option<i64> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(room_id).fetch_optional(connection).await?
    });
    Ok(found.unwrap_or_default())
}

async fn enter(
    tx: &mut Tx,
    room_id: Uuid,
    user: UserId,
    removed: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO room_members (room_id, user_id, removed, added_at_ms) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (room_id, user_id) DO UPDATE SET removed = excluded.removed, added_at_ms = excluded.added_at_ms";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(room_id).bind(user.as_uuid()).bind(removed).bind(now_ms);
        query.execute(connection).await?;
    });
    Ok(())
}

async fn delete_member(tx: &mut Tx, room_id: Uuid, user: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM room_members WHERE room_id = $1 AND user_id = $2";
    within!(tx, connection => {
        sqlx::query(delete).bind(room_id).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

const COUNT_MEMBERS: &str = "SELECT COUNT(*) FROM room_members WHERE room_id = $1 AND NOT removed";

const COUNT_REMOVED: &str = "SELECT COUNT(*) FROM room_members WHERE room_id = $1 AND removed";

async fn count(tx: &mut Tx, select: &'static str, of: Uuid) -> Result<i64, StoreError> {
    Ok(within!(tx, connection => sqlx::query_scalar(select).bind(of).fetch_one(connection).await?))
}
