//! Invitations: a user who is added to a private room becomes a member only by joining it.
//!
//! A user who blocks the owner, or has declined or left recently, refuses the invitation. The owner must not learn
//! that, so the user is listed all the same and counts as an unanswered invitation.

use std::collections::HashMap;

use aldis_protocol::{
    MessageKind, RoomId, RoomInvite, Timestamp, UserId,
    api::{ContactDecision, RoomInvitation, RoomVisibility},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Membership, ROWS_PER_STATEMENT, count, lock};
use crate::store::{
    Credential, Notice, Store, StoreError,
    db::{Db, Tx, on, within},
    notices, relation_log, row, sweep_rows,
};

/// How many unanswered invitations an owner can have to users who have not allowed them.
const INVITATIONS_PER_OWNER: i64 = 100;

/// How many invitations wait for a user's answer. Beyond that, the oldest one from an owner whom the user has not
/// allowed is deleted.
const INVITATIONS_PER_USER: i64 = 1_000;

/// How long a user cannot be added again after they declined or left.
const REFUSED_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Stands for every room of an owner.
const EVERY_ROOM: Uuid = Uuid::nil();

/// Users to be added to a room, and their relation to its owner.
pub(super) struct Guests {
    owner: UserId,
    opinions: HashMap<Uuid, Opinion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opinion {
    Allows,
    Neutral,
    Refuses,
}

impl Store {
    /// The invitations that wait for a user's answer, the oldest first; at most 1,000. Those of owners whom the user
    /// blocks are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn room_invitations(&self, user: UserId) -> Result<Vec<RoomInvitation>, StoreError> {
        let select = "SELECT r.name, r.owner_id, m.added_at_ms FROM room_members m \
                 JOIN rooms r ON r.room_id = m.room_id AND r.name IS NOT NULL \
                 LEFT JOIN contacts c ON c.user_id = m.user_id AND c.peer_id = r.owner_id AND c.decision = $2 \
             WHERE m.user_id = $1 AND m.standing = 'invited' AND c.decision IS NULL \
             ORDER BY m.added_at_ms, r.name LIMIT $3";
        let rows: Vec<(String, Uuid, i64)> = on!(&self.db, r, pool => {
            let query = sqlx::query_as(select).bind(user.as_uuid()).bind(ContactDecision::Blocked.as_str());
            query.bind(INVITATIONS_PER_USER).fetch_all(pool).await?
        });
        let invitations = rows.into_iter().map(|(room, owner, added_at_ms)| {
            Ok(RoomInvitation {
                room: room.parse().map_err(row::unreadable)?,
                user_id: UserId::new(owner),
                since: Timestamp::from_ms(added_at_ms),
            })
        });
        invitations.collect()
    }

    /// Makes an invited user a member of a room. False if the invitation no longer exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn accept_invitation(
        &self,
        credential: &Credential,
        room: &RoomId,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let accepted = accept(&mut tx, room, credential.user, now_ms).await?;
        tx.end(accepted).await?;
        Ok(accepted)
    }
}

impl Guests {
    /// Looks up the relation of users to the owner of a room. Users who do not exist are left out. The transaction has
    /// locked them all.
    pub(super) async fn find(
        tx: &mut Tx,
        owner: UserId,
        room_id: Uuid,
        users: &[Uuid],
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let mut opinions = HashMap::with_capacity(users.len());
        for some in users.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(Uuid, Option<String>, bool)> = within!(tx, connection => {
                let mut select = QueryBuilder::new(
                    "SELECT u.user_id, c.decision, EXISTS (SELECT 1 FROM room_refusals f \
                         WHERE f.user_id = u.user_id AND f.refused_at_ms > ",
                );
                select.push_bind(now_ms - REFUSED_MS).push(" AND f.owner_id = ").push_bind(owner.as_uuid());
                select.push(" AND f.room_id IN (").push_bind(room_id).push(", ").push_bind(EVERY_ROOM);
                select.push(")) FROM users u LEFT JOIN contacts c ON c.user_id = u.user_id AND c.peer_id = ");
                select.push_bind(owner.as_uuid());
                select.push(" WHERE u.deleted_at_ms IS NULL AND u.user_id IN (");
                some.iter().fold(select.separated(", "), |mut list, user| {
                    list.push_bind(*user);
                    list
                });
                select.push(")");
                select.build_query_as().persistent(false).fetch_all(connection).await?
            });
            for (user, decision, has_refused) in rows {
                let decision = decision.as_deref().map(row::name::<ContactDecision>).transpose()?;
                opinions.insert(user, Opinion::of(decision, has_refused));
            }
        }
        Ok(Self { owner, opinions })
    }

    /// How many of the users exist.
    pub(super) fn count(&self) -> usize {
        self.opinions.len()
    }

    /// Whether all of them may be added to a room of this kind. For a private room, the owner must have enough
    /// invitations left. `taken` of them are invited by the owner already.
    pub(super) async fn may_be_invited(
        &self,
        tx: &mut Tx,
        visibility: RoomVisibility,
        taken: usize,
    ) -> Result<bool, StoreError> {
        let counts = |(user, opinion): &(&Uuid, &Opinion)| {
            **user != self.owner.as_uuid() && **opinion != Opinion::Allows
        };
        let added = self.opinions.iter().filter(counts).count().saturating_sub(taken);
        if visibility == RoomVisibility::Public || added == 0 {
            return Ok(true);
        }
        let waiting = count(tx, COUNT_WAITING, self.owner.as_uuid()).await?;
        Ok(waiting.saturating_add(i64::try_from(added).unwrap_or(i64::MAX)) <= INVITATIONS_PER_OWNER)
    }

    /// The new state of each of them in the room.
    pub(super) fn memberships(
        &self,
        visibility: RoomVisibility,
    ) -> impl Iterator<Item = (Uuid, Membership)> + '_ {
        self.opinions.iter().map(move |(user, opinion)| {
            let membership = match (*opinion, visibility) {
                _ if *user == self.owner.as_uuid() => Membership::Joined,
                (Opinion::Refuses, _) => Membership::Ignored,
                (Opinion::Allows | Opinion::Neutral, RoomVisibility::Private) => Membership::Invited,
                (Opinion::Allows | Opinion::Neutral, RoomVisibility::Public) => Membership::Joined,
            };
            (*user, membership)
        })
    }
}

impl Opinion {
    fn of(decision: Option<ContactDecision>, has_refused: bool) -> Self {
        match decision {
            Some(ContactDecision::Allowed) => Self::Allows,
            Some(ContactDecision::Blocked) => Self::Refuses,
            None if has_refused => Self::Refuses,
            None => Self::Neutral,
        }
    }
}

/// Stores the invitation notices for all devices of users who were just invited. It runs the same statements if there
/// are none. It marks the users as changed, so call it last in a transaction.
pub(super) async fn tell(
    tx: &mut Tx,
    room: &RoomId,
    owner: UserId,
    invited: &[UserId],
    now_ms: i64,
) -> Result<(), StoreError> {
    let invite = Notice::RoomInvite(RoomInvite::new(room.clone(), owner));
    // Nobody has the nil id, so the statements change nothing.
    let invited = if invited.is_empty() { &[UserId::new(Uuid::nil())] } else { invited };
    trim(tx, invited).await?;
    notices::add_for_all(tx, invited, &invite, now_ms).await
}

/// Deletes the notices of an invitation that was answered or withdrawn.
pub(super) async fn withdraw(tx: &mut Tx, room: &RoomId, user: UserId) -> Result<(), StoreError> {
    notices::withdraw(tx, user, MessageKind::RoomInvite, room.as_str()).await
}

/// Records that the user has left a room of the owner.
pub(super) async fn refuse_room(
    tx: &mut Tx,
    user: UserId,
    owner: UserId,
    room_id: Uuid,
    now_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO room_refusals (user_id, owner_id, room_id, refused_at_ms) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (user_id, owner_id, room_id) DO UPDATE SET refused_at_ms = excluded.refused_at_ms";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(user.as_uuid()).bind(owner.as_uuid()).bind(room_id);
        query.bind(now_ms).execute(connection).await?;
    });
    Ok(())
}

/// Records that the user has declined an invitation of the owner.
pub(super) async fn refuse_owner(
    tx: &mut Tx,
    user: UserId,
    owner: UserId,
    now_ms: i64,
) -> Result<(), StoreError> {
    refuse_room(tx, user, owner, EVERY_ROOM, now_ms).await
}

/// Deletes refusals that have expired.
pub(in crate::store) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM room_refusals WHERE (user_id, owner_id, room_id) IN \
         (SELECT user_id, owner_id, room_id FROM room_refusals WHERE refused_at_ms <= $1 \
          ORDER BY refused_at_ms LIMIT $2)";
    sweep_rows(db, delete, now_ms - REFUSED_MS).await
}

const COUNT_WAITING: &str = "SELECT COUNT(*) FROM rooms r \
         JOIN room_members m ON m.room_id = r.room_id AND m.standing IN ('invited', 'ignored') \
         LEFT JOIN contacts c ON c.user_id = m.user_id AND c.peer_id = r.owner_id AND c.decision = 'allowed' \
     WHERE r.owner_id = $1 AND r.name IS NOT NULL AND r.visibility = 'private' AND c.decision IS NULL";

async fn accept(tx: &mut Tx, room: &RoomId, user: UserId, now_ms: i64) -> Result<bool, StoreError> {
    let Some(access) = lock(tx, room, user).await?.filter(|access| access.is_invited()) else {
        return Ok(false);
    };
    let update = "UPDATE room_members SET standing = 'joined' WHERE room_id = $1 AND user_id = $2";
    within!(tx, connection => {
        sqlx::query(update).bind(access.room_id).bind(user.as_uuid()).execute(connection).await?;
    });
    withdraw(tx, room, user).await?;
    relation_log::append(tx, &[(user, user)], now_ms).await?;
    Ok(true)
}

/// Hides the invitations of each user beyond the limit from them.
async fn trim(tx: &mut Tx, users: &[UserId]) -> Result<(), StoreError> {
    for some in users.chunks(ROWS_PER_STATEMENT) {
        within!(tx, connection => {
            let mut update = QueryBuilder::new(
                "UPDATE room_members SET standing = 'ignored' WHERE (room_id, user_id) IN \
                     (SELECT room_id, user_id FROM (SELECT m.room_id, m.user_id, ROW_NUMBER() OVER (PARTITION BY m.user_id \
                          ORDER BY CASE WHEN c.decision IS NULL THEN 1 ELSE 0 END, m.added_at_ms DESC, m.room_id) AS place \
                      FROM room_members m JOIN rooms r ON r.room_id = m.room_id \
                          LEFT JOIN contacts c ON c.user_id = m.user_id AND c.peer_id = r.owner_id AND c.decision = 'allowed' \
                      WHERE m.standing = 'invited' AND m.user_id IN (",
            );
            some.iter().fold(update.separated(", "), |mut list, user| {
                list.push_bind(user.as_uuid());
                list
            });
            update.push(")) AS placed WHERE place > ").push_bind(INVITATIONS_PER_USER).push(")");
            update.build().persistent(false).execute(connection).await?;
        });
    }
    Ok(())
}
