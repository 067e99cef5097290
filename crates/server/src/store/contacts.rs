//! Contacts: the users whom a user has allowed or blocked, and requests in both directions.

use std::collections::HashMap;

use aldis_protocol::{
    ContactLabel, Fingerprint, Timestamp, UserId,
    api::{Contact, ContactDecision},
};
use aldis_registry::Stance;
use sqlx::QueryBuilder;
use uuid::Uuid;

mod pair;
mod reached_out;
mod requests;

pub(crate) use self::requests::NewRequest;
use self::{
    pair::{Pair, Side},
    reached_out::trim_reached_out,
    requests::{free_answered, free_known, free_typed, withdraw_unheard},
};
pub(super) use self::{reached_out::reach_out, requests::sweep};
use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    relation_log, row,
};

/// How many users a user can have allowed or blocked. It is more than anybody knows, and a list of them still fits one
/// response.
const CONTACTS_PER_USER: i64 = 5_000;

/// How long a request waits for an answer.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The outcome of a decision about another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// The decision is stored.
    Done,
    /// There is no such user.
    NoSuchUser,
    /// The user has the maximum number of contacts.
    TooMany,
}

impl Store {
    /// The contacts of a user, the oldest first; about 6,000 at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn contacts_of(&self, user: UserId, now_ms: i64) -> Result<Vec<Contact>, StoreError> {
        let select = "SELECT c.peer_id, i.fingerprint, c.decision, c.decided_at_ms, c.asked_at_ms, \
                 c.asked_by_address_at_ms, c.was_asked_at_ms, c.reached_out_at_ms, c.answered_at_ms, c.peer_label \
             FROM contacts c LEFT JOIN identities i ON i.user_id = c.peer_id WHERE c.user_id = $1";
        let rows: Vec<ContactRow> =
            on!(&self.db, r, pool => sqlx::query_as(select).bind(user.as_uuid()).fetch_all(pool).await?);
        let shown: Result<Vec<_>, _> = rows.into_iter().map(|row| row.shown(now_ms)).collect();
        let mut contacts: Vec<Contact> = shown?.into_iter().flatten().collect();
        contacts.sort_by_key(|contact| (contact.since, contact.user_id));
        Ok(contacts)
    }

    /// Allows or blocks another user. Allowing a user who sent a request answers it: then both allow each other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn decide_contact(
        &self,
        credential: &Credential,
        peer: UserId,
        decision: ContactDecision,
        now_ms: i64,
    ) -> Result<Decided, StoreError> {
        let (mut tx, has_peer) = self.begin_for_both(credential, peer).await?;
        let outcome = match has_peer {
            true => decide(&mut tx, credential.user, peer, decision, now_ms).await?,
            false => Decided::NoSuchUser,
        };
        tx.end(outcome == Decided::Done).await?;
        Ok(outcome)
    }

    /// Removes a user's decision about another user, withdraws requests made by id or fingerprint, and dismisses the
    /// other's request. If the user once reached out to the other, the other may still reach them. `typed` is a hash
    /// of what the caller typed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_contact(
        &self,
        credential: &Credential,
        peer: UserId,
        typed: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let user = credential.user;
        let (mut tx, _) = self.begin_for_both(credential, peer).await?;
        let mut pair = read(&mut tx, user, peer, now_ms).await?;
        pair.forget();
        free_known(&mut tx, user, peer).await?;
        free_typed(&mut tx, user, typed).await?;
        write(&mut tx, user, peer, &pair).await?;
        withdraw_unheard(&mut tx, user, peer, &pair).await?;
        trim_reached_out(&mut tx, user).await?;
        relation_log::append(&mut tx, &[(user, peer)], now_ms).await?;
        tx.commit().await
    }

    /// The stances of two users towards each other: the first's and the second's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn stances(&self, one: UserId, other: UserId) -> Result<[Stance; 2], StoreError> {
        let rows: Vec<SideRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_PAIR).bind(one.as_uuid()).bind(other.as_uuid()).fetch_all(pool).await?
        });
        let pair = Pair::of(rows, one)?;
        Ok([pair.mine.stance(), pair.theirs.stance()])
    }

    /// The stances between a user and each of these others. Users who have nothing to do with each other are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn stances_with(
        &self,
        user: UserId,
        peers: &[UserId],
    ) -> Result<HashMap<UserId, [Stance; 2]>, StoreError> {
        if peers.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<PairRow> = on!(&self.db, r, pool => {
            let mut statement = QueryBuilder::new(SELECT_SIDES);
            statement.push(" WHERE (user_id = ").push_bind(user.as_uuid()).push(" AND peer_id IN (");
            peers.iter().fold(statement.separated(", "), |mut list, peer| {
                list.push_bind(peer.as_uuid());
                list
            });
            statement.push(")) OR (peer_id = ").push_bind(user.as_uuid()).push(" AND user_id IN (");
            peers.iter().fold(statement.separated(", "), |mut list, peer| {
                list.push_bind(peer.as_uuid());
                list
            });
            statement.push("))");
            statement.build_query_as().persistent(false).fetch_all(pool).await?
        });
        let mut stances: HashMap<UserId, [Stance; 2]> = HashMap::new();
        for row in rows {
            let is_mine = row.user_id == user.as_uuid();
            let peer = UserId::new(if is_mine { row.peer_id } else { row.user_id });
            let stance = Side::try_from(row.columns)?.stance();
            stances.entry(peer).or_default()[usize::from(!is_mine)] = stance;
        }
        Ok(stances)
    }
}

#[derive(sqlx::FromRow)]
struct ContactRow {
    peer_id: Uuid,
    fingerprint: Option<Vec<u8>>,
    #[sqlx(flatten)]
    columns: Columns,
}

#[derive(sqlx::FromRow)]
struct SideRow {
    user_id: Uuid,
    #[sqlx(flatten)]
    columns: Columns,
}

#[derive(sqlx::FromRow)]
struct PairRow {
    user_id: Uuid,
    peer_id: Uuid,
    #[sqlx(flatten)]
    columns: Columns,
}

#[derive(sqlx::FromRow)]
struct Columns {
    decision: Option<String>,
    decided_at_ms: Option<i64>,
    asked_at_ms: Option<i64>,
    asked_by_address_at_ms: Option<i64>,
    was_asked_at_ms: Option<i64>,
    reached_out_at_ms: Option<i64>,
    answered_at_ms: Option<i64>,
    peer_label: Option<String>,
}

impl ContactRow {
    /// The contact as its user sees it, if it is visible to them.
    fn shown(self, now_ms: i64) -> Result<Option<Contact>, StoreError> {
        let fingerprint = row::optional_array(self.fingerprint.as_deref())?.map(Fingerprint);
        let mut side = Side::try_from(self.columns)?;
        side.lapse(now_ms);
        Ok(side.shown().map(|(state, since_ms)| Contact {
            user_id: UserId::new(self.peer_id),
            fingerprint,
            label: side.label,
            state,
            since: Timestamp::from_ms(since_ms),
        }))
    }
}

impl Pair {
    fn of(rows: Vec<SideRow>, user: UserId) -> Result<Self, StoreError> {
        let mut pair = Self::default();
        for row in rows {
            let side = if row.user_id == user.as_uuid() { &mut pair.mine } else { &mut pair.theirs };
            *side = Side::try_from(row.columns)?;
        }
        Ok(pair)
    }
}

impl TryFrom<Columns> for Side {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self, StoreError> {
        let decision = columns.decision.as_deref().map(row::name::<ContactDecision>).transpose()?;
        let label =
            columns.peer_label.as_deref().map(ContactLabel::new).transpose().map_err(row::unreadable)?;
        Ok(Self {
            decision: decision.zip(columns.decided_at_ms),
            asked_at_ms: columns.asked_at_ms,
            asked_by_address_at_ms: columns.asked_by_address_at_ms,
            was_asked_at_ms: columns.was_asked_at_ms,
            reached_out_at_ms: columns.reached_out_at_ms,
            answered_at_ms: columns.answered_at_ms,
            label,
        })
    }
}

const SELECT_PAIR: &str = "SELECT user_id, decision, decided_at_ms, asked_at_ms, asked_by_address_at_ms, \
     was_asked_at_ms, reached_out_at_ms, answered_at_ms, peer_label FROM contacts \
     WHERE (user_id = $1 AND peer_id = $2) OR (user_id = $2 AND peer_id = $1)";

const SELECT_SIDES: &str = "SELECT user_id, peer_id, decision, decided_at_ms, asked_at_ms, asked_by_address_at_ms, \
     was_asked_at_ms, reached_out_at_ms, answered_at_ms, peer_label FROM contacts";

async fn decide(
    tx: &mut Tx,
    user: UserId,
    peer: UserId,
    decision: ContactDecision,
    now_ms: i64,
) -> Result<Decided, StoreError> {
    let mut pair = read(tx, user, peer, now_ms).await?;
    if !pair.mine.is_counted() && count_contacts(tx, user).await? >= CONTACTS_PER_USER {
        return Ok(Decided::TooMany);
    }
    match decision {
        ContactDecision::Allowed => {
            if pair.allow(now_ms) {
                free_answered(tx, peer, user).await?;
            }
        }
        ContactDecision::Blocked => {
            pair.block(now_ms);
            free_known(tx, user, peer).await?;
        }
    }
    write(tx, user, peer, &pair).await?;
    if decision == ContactDecision::Blocked {
        withdraw_unheard(tx, user, peer, &pair).await?;
    }
    relation_log::append(tx, &[(user, peer)], now_ms).await?;
    Ok(Decided::Done)
}

async fn read(tx: &mut Tx, user: UserId, peer: UserId, now_ms: i64) -> Result<Pair, StoreError> {
    let rows: Vec<SideRow> = within!(tx, connection => {
        let query = sqlx::query_as(SELECT_PAIR).bind(user.as_uuid()).bind(peer.as_uuid());
        query.fetch_all(connection).await?
    });
    Ok(Pair::of(rows, user)?.at(now_ms))
}

/// Writes in the order of the ids, as a batch of the writer does, so that the two cannot deadlock.
async fn write(tx: &mut Tx, user: UserId, peer: UserId, pair: &Pair) -> Result<(), StoreError> {
    let mut sides = [(user, peer, &pair.mine), (peer, user, &pair.theirs)];
    sides.sort_unstable_by_key(|(user, _, _)| *user);
    for (user, peer, side) in sides {
        write_side(tx, user, peer, side).await?;
    }
    Ok(())
}

async fn write_side(tx: &mut Tx, user: UserId, peer: UserId, side: &Side) -> Result<(), StoreError> {
    if *side == Side::default() {
        return delete_side(tx, user, peer).await;
    }
    let upsert = "INSERT INTO contacts (user_id, peer_id, decision, decided_at_ms, asked_at_ms, \
             asked_by_address_at_ms, was_asked_at_ms, reached_out_at_ms, answered_at_ms, peer_label) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (user_id, peer_id) DO UPDATE SET decision = excluded.decision, \
             decided_at_ms = excluded.decided_at_ms, asked_at_ms = excluded.asked_at_ms, \
             asked_by_address_at_ms = excluded.asked_by_address_at_ms, was_asked_at_ms = excluded.was_asked_at_ms, \
             reached_out_at_ms = excluded.reached_out_at_ms, answered_at_ms = excluded.answered_at_ms, \
             peer_label = excluded.peer_label";
    within!(tx, connection => {
        sqlx::query(upsert)
            .bind(user.as_uuid())
            .bind(peer.as_uuid())
            .bind(side.decision.map(|(decision, _)| decision.as_str()))
            .bind(side.decision.map(|(_, at_ms)| at_ms))
            .bind(side.asked_at_ms)
            .bind(side.asked_by_address_at_ms)
            .bind(side.was_asked_at_ms)
            .bind(side.reached_out_at_ms)
            .bind(side.answered_at_ms)
            .bind(side.label.as_ref().map(ContactLabel::as_str))
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn delete_side(tx: &mut Tx, user: UserId, peer: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM contacts WHERE user_id = $1 AND peer_id = $2";
    within!(tx, connection => {
        sqlx::query(delete).bind(user.as_uuid()).bind(peer.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

/// How many users a user has allowed or blocked. Requests do not count; otherwise the limit would reveal who owns an
/// address.
async fn count_contacts(tx: &mut Tx, user: UserId) -> Result<i64, StoreError> {
    let count = "SELECT COUNT(*) FROM contacts WHERE user_id = $1 AND decision IS NOT NULL";
    Ok(within!(tx, connection => sqlx::query_scalar(count).bind(user.as_uuid()).fetch_one(connection).await?))
}
