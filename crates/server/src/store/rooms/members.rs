//! Members of rooms: added by the owner, joined, removed.

use std::collections::HashSet;

use aldis_protocol::{RoomId, UserId, api::RoomVisibility};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    MEMBERS_PER_ROOM, Membership, ROWS_PER_STATEMENT, RoomAccess, count,
    invitations::{self, Guests},
    lock,
};
use crate::store::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    relation_log,
};

/// The outcome of a change of a room's members. Only the first two changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberChange {
    /// The change was made, in a room of this kind. Adding a user who refuses the invitation has the same outcome.
    Done(RoomVisibility),
    /// The user is invited, and must be told.
    Invited,
    /// The room does not exist, or the caller may not enter it.
    UnknownRoom,
    /// The caller may enter the room but does not own it.
    Forbidden,
    /// There is no such user.
    NoSuchUser,
    /// The owner cannot be removed.
    IsOwner,
    /// The room has the maximum number of members.
    TooMany,
    /// The owner has the maximum number of unanswered invitations.
    TooManyInvitations,
}

impl MemberChange {
    const fn is_made(self) -> bool {
        matches!(self, Self::Done(_) | Self::Invited)
    }
}

impl Store {
    /// The users in a room's list, including invited ones: the owner first, then in the order in which they were
    /// added.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_members(&self, room: &RoomAccess) -> Result<Vec<UserId>, StoreError> {
        let select = "SELECT user_id FROM room_members WHERE room_id = $1 AND standing <> 'removed' \
             ORDER BY CASE WHEN user_id = $2 THEN 0 ELSE 1 END, added_at_ms, user_id";
        let users: Vec<Uuid> = on!(&self.db, r, pool => {
            let query = sqlx::query_scalar(select).bind(room.room_id).bind(room.owner.as_uuid());
            query.fetch_all(pool).await?
        });
        Ok(users.into_iter().map(UserId::new).collect())
    }

    /// Adds a user to a room for its owner, also a user who was removed before. In a private room the user is invited
    /// first. A user who refuses invitations from the owner is only listed.
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
        let (mut tx, _) = self.begin_for_both(credential, user).await?;
        let outcome = add_member(&mut tx, room, credential.user, user, now_ms).await?;
        tx.end(outcome.is_made()).await?;
        Ok(outcome)
    }

    /// Removes a user from a room, for its owner or for the user. A user whom the owner removes from a public room
    /// cannot join it again until the owner adds them. A user who declines or leaves cannot be added again for a
    /// while.
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
        let outcome = match lock(&mut tx, room, credential.user).await? {
            None => MemberChange::UnknownRoom,
            Some(access) if access.owner == credential.user && !is_there => MemberChange::NoSuchUser,
            Some(access) => remove_member(&mut tx, room, &access, credential.user, user, now_ms).await?,
        };
        tx.end(outcome.is_made()).await?;
        Ok(outcome)
    }

    /// Those of `peers` who have joined a private room that the user has joined too.
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
                     JOIN room_members b ON b.room_id = a.room_id AND b.standing = 'joined' \
                 WHERE a.standing = 'joined' AND a.user_id = ",
            );
            select.push_bind(user.as_uuid()).push(" AND b.user_id IN (");
            peers.iter().fold(select.separated(", "), |mut list, peer| {
                list.push_bind(peer.as_uuid());
                list
            });
            select.push(")");
            // Prepared only for a single peer, which is the frequent case.
            select.build_query_scalar().persistent(peers.len() == 1).fetch_all(pool).await?
        });
        Ok(found.into_iter().map(UserId::new).collect())
    }
}

/// Records for every node that members of an owner's private rooms no longer reach each other through them.
pub(in crate::store) async fn leave_private_rooms(
    tx: &mut Tx,
    owner: UserId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let select = "SELECT DISTINCT m.user_id FROM room_members m JOIN rooms r ON r.room_id = m.room_id \
         WHERE r.owner_id = $1 AND r.visibility = 'private' AND r.name IS NOT NULL AND m.standing = 'joined'";
    let members: Vec<Uuid> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(owner.as_uuid()).fetch_all(connection).await?
    });
    let members: Vec<_> = members.into_iter().map(|user| (UserId::new(user), UserId::new(user))).collect();
    relation_log::append(tx, &members, now_ms).await
}

/// Adds users to a new room.
pub(super) async fn insert_members(
    tx: &mut Tx,
    room_id: Uuid,
    users: &[(Uuid, Membership)],
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in users.chunks(ROWS_PER_STATEMENT) {
        within!(tx, connection => {
            let mut insert = QueryBuilder::new("INSERT INTO room_members (room_id, user_id, standing, added_at_ms) ");
            insert.push_values(some, |mut row, (user, membership)| {
                row.push_bind(room_id).push_bind(*user).push_bind(membership.as_str()).push_bind(now_ms);
            });
            insert.build().persistent(false).execute(connection).await?;
        });
    }
    Ok(())
}

/// The transaction has locked both users, and locks the room after them, in the same order as the deletion of an
/// account.
async fn add_member(
    tx: &mut Tx,
    room: &RoomId,
    owner: UserId,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    let Some(access) = lock(tx, room, owner).await? else { return Ok(MemberChange::UnknownRoom) };
    if access.owner != owner {
        return Ok(refusal(&access));
    }
    let membership = membership_of(tx, access.room_id, user).await?;
    if matches!(membership, Membership::Joined | Membership::Invited) {
        return Ok(MemberChange::Done(access.visibility));
    }
    let guests = Guests::find(tx, owner, access.room_id, &[user.as_uuid()], now_ms).await?;
    let Some((_, new)) = guests.memberships(access.visibility).next() else {
        return Ok(MemberChange::NoSuchUser);
    };
    let is_listed = membership == Membership::Ignored;
    if !is_listed && count(tx, COUNT_MEMBERS, access.room_id).await? >= MEMBERS_PER_ROOM {
        return Ok(MemberChange::TooMany);
    }
    if !guests.may_be_invited(tx, access.visibility, usize::from(is_listed)).await? {
        return Ok(MemberChange::TooManyInvitations);
    }
    place(tx, access.room_id, user, new, now_ms).await?;
    let is_invited = new == Membership::Invited;
    if access.visibility == RoomVisibility::Private {
        let invited = if is_invited { &[user][..] } else { &[] };
        invitations::tell(tx, room, owner, invited, now_ms).await?;
    }
    Ok(if is_invited { MemberChange::Invited } else { MemberChange::Done(access.visibility) })
}

async fn remove_member(
    tx: &mut Tx,
    room: &RoomId,
    access: &RoomAccess,
    requester: UserId,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    if access.owner == requester {
        return take_out(tx, room, access, user, now_ms).await;
    }
    let is_listed = matches!(access.membership, Membership::Joined | Membership::Invited);
    if requester != user || !is_listed {
        return Ok(refusal(access));
    }
    leave(tx, room, access, user, now_ms).await
}

/// The owner removes a user.
async fn take_out(
    tx: &mut Tx,
    room: &RoomId,
    access: &RoomAccess,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    if access.owner == user {
        return Ok(MemberChange::IsOwner);
    }
    let membership = membership_of(tx, access.room_id, user).await?;
    match access.visibility {
        RoomVisibility::Private => take_off_list(tx, room, access, user, membership, now_ms).await?,
        RoomVisibility::Public if membership == Membership::Removed => {}
        RoomVisibility::Public => {
            if count(tx, COUNT_REMOVED, access.room_id).await? >= MEMBERS_PER_ROOM {
                return Ok(MemberChange::TooMany);
            }
            place(tx, access.room_id, user, Membership::Removed, now_ms).await?;
            relation_log::append(tx, &[(user, user)], now_ms).await?;
        }
    }
    Ok(MemberChange::Done(access.visibility))
}

/// The user leaves, or declines.
async fn leave(
    tx: &mut Tx,
    room: &RoomId,
    access: &RoomAccess,
    user: UserId,
    now_ms: i64,
) -> Result<MemberChange, StoreError> {
    if access.is_invited() {
        invitations::refuse_owner(tx, user, access.owner, now_ms).await?;
    } else {
        invitations::refuse_room(tx, user, access.owner, access.room_id, now_ms).await?;
    }
    take_off_list(tx, room, access, user, access.membership, now_ms).await?;
    Ok(MemberChange::Done(access.visibility))
}

/// Removes a user from the list. Nodes then remove the user's sessions from the room and forget whom the user could
/// reach through it.
async fn take_off_list(
    tx: &mut Tx,
    room: &RoomId,
    access: &RoomAccess,
    user: UserId,
    membership: Membership,
    now_ms: i64,
) -> Result<(), StoreError> {
    delete_member(tx, access.room_id, user).await?;
    match membership {
        Membership::Invited => invitations::withdraw(tx, room, user).await,
        Membership::Joined => relation_log::append(tx, &[(user, user)], now_ms).await,
        Membership::Stranger | Membership::Ignored | Membership::Removed => Ok(()),
    }
}

/// The outcome for a caller who may not manage the room.
fn refusal(access: &RoomAccess) -> MemberChange {
    if access.may_look() { MemberChange::Forbidden } else { MemberChange::UnknownRoom }
}

async fn membership_of(tx: &mut Tx, room_id: Uuid, user: UserId) -> Result<Membership, StoreError> {
    let select = "SELECT standing FROM room_members WHERE room_id = $1 AND user_id = $2";
    let found: Option<String> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(room_id).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    found.as_deref().map_or(Ok(Membership::Stranger), Membership::parse)
}

async fn place(
    tx: &mut Tx,
    room_id: Uuid,
    user: UserId,
    membership: Membership,
    now_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO room_members (room_id, user_id, standing, added_at_ms) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (room_id, user_id) DO UPDATE SET standing = excluded.standing, added_at_ms = excluded.added_at_ms";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(room_id).bind(user.as_uuid()).bind(membership.as_str()).bind(now_ms);
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

const COUNT_MEMBERS: &str = "SELECT COUNT(*) FROM room_members WHERE room_id = $1 AND standing <> 'removed'";

const COUNT_REMOVED: &str = "SELECT COUNT(*) FROM room_members WHERE room_id = $1 AND standing = 'removed'";
