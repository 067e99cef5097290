//! Contacts: whom a user allowed, blocked or asked, and who asked him.

use std::collections::{BTreeSet, HashMap};

use aldis_protocol::{
    ContactRequest, Fingerprint, Timestamp, UserId,
    api::{Contact, ContactDecision},
};
use aldis_registry::Stance;
use sqlx::{Postgres, QueryBuilder, Sqlite, Transaction};
use uuid::Uuid;

mod pair;

use self::pair::{Asked, Pair, Side};
use super::{
    Notice, Store, StoreError, accounts,
    batch::{hex_list, in_pieces, with_values},
    db::{Tx, on, within},
    notices::{self, Recipients},
    row, standings,
};

/// How many others a user may have allowed, blocked or asked: more than anybody knows, and a list of them is still one
/// answer.
const CONTACTS_PER_USER: i64 = 5_000;

/// How many requests wait for a user's answer; those that come later are not noted, so that strangers cannot fill his
/// list.
const REQUESTS_PER_USER: i64 = 1_000;

/// How many of those that a user once reached out to, and that are none of his contacts, may reach him back.
const REACHED_OUT_KEPT: i64 = 1_000;

/// What became of a decision about another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// It is in force.
    Done,
    /// There is no such user.
    NoSuchUser,
    /// The user has as many contacts as may be.
    TooMany,
}

/// What became of a request to be allowed. Neither says anything about whom was asked to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requested {
    /// It is noted, as far as it may be.
    Noted {
        /// Whether who was asked is to hear of it: the notice waits for his devices.
        told: bool,
    },
    /// The asker has as many contacts as may be.
    TooMany,
}

/// A request to be allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRequest {
    /// Who asks.
    pub(crate) from: UserId,
    /// Who is asked; there may be no such user.
    pub(crate) to: UserId,
    /// The asker knows only an address, and is not to learn whose it is.
    pub(crate) by_address: bool,
}

impl Store {
    /// The contacts of a user, those of the longest standing first; 6,000 at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn contacts_of(&self, user: UserId) -> Result<Vec<Contact>, StoreError> {
        let select = "SELECT c.peer_id, i.fingerprint, c.decision, c.decided_at_ms, c.asked_at_ms, \
                 c.asked_by_address, c.was_asked_at_ms, c.reached_out_at_ms \
             FROM contacts c LEFT JOIN identities i ON i.user_id = c.peer_id WHERE c.user_id = $1";
        let rows: Vec<ContactRow> =
            on!(&self.db, r, pool => sqlx::query_as(select).bind(user.as_uuid()).fetch_all(pool).await?);
        let shown: Result<Vec<_>, _> = rows.into_iter().map(ContactRow::shown).collect();
        let mut contacts: Vec<Contact> = shown?.into_iter().flatten().collect();
        contacts.sort_by_key(|contact| (contact.since, contact.user_id));
        Ok(contacts)
    }

    /// Allows or blocks another user. To allow whoever asked is to answer: then both allow each other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn decide_contact(
        &self,
        user: UserId,
        peer: UserId,
        decision: ContactDecision,
        now_ms: i64,
    ) -> Result<Decided, StoreError> {
        let mut tx = self.db.begin_for(user).await?;
        let outcome = decide(&mut tx, user, peer, decision, now_ms).await?;
        tx.end(outcome == Decided::Done).await?;
        Ok(outcome)
    }

    /// Takes back what a user decided about another or asked of him, and sets aside what that one asked. Whom he once
    /// reached out to may still reach him back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_contact(
        &self,
        user: UserId,
        peer: UserId,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin_for(user).await?;
        lock_both(&mut tx, user, peer).await?;
        let mut pair = read(&mut tx, user, peer).await?;
        pair.forget();
        write(&mut tx, user, peer, &pair).await?;
        trim_reached_out(&mut tx, user).await?;
        standings::append(&mut tx, &[(user, peer)], now_ms).await?;
        tx.commit().await
    }

    /// Asks another user to be allowed; two requests that cross allow both. Where he is to hear of it, the notice
    /// waits for each of his registered devices but `live`. Whether he exists, has blocked the asker or hears of it
    /// makes no difference in what is carried out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn request_contact(
        &self,
        request: NewRequest,
        live: &Recipients,
        now_ms: i64,
    ) -> Result<Requested, StoreError> {
        let mut tx = self.db.begin_for(request.from).await?;
        let outcome = ask(&mut tx, request, live, now_ms).await?;
        tx.end(outcome != Requested::TooMany).await?;
        Ok(outcome)
    }

    /// Where two users stand towards each other: the first's stance and the second's.
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

    /// Where a user stands towards each of these others, and they towards him; nothing of whom he has nothing to do
    /// with.
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
    asked_by_address: bool,
    was_asked_at_ms: Option<i64>,
    reached_out_at_ms: Option<i64>,
}

impl ContactRow {
    /// As its user sees it, if he does.
    fn shown(self) -> Result<Option<Contact>, StoreError> {
        let fingerprint = row::optional_array(self.fingerprint.as_deref())?.map(Fingerprint);
        let shown = Side::try_from(self.columns)?.shown();
        Ok(shown.map(|(state, since_ms)| Contact {
            user_id: UserId::new(self.peer_id),
            fingerprint,
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
        let by_address = columns.asked_by_address;
        Ok(Self {
            decision: decision.zip(columns.decided_at_ms),
            asked: columns.asked_at_ms.map(|at_ms| Asked { at_ms, by_address }),
            was_asked_at_ms: columns.was_asked_at_ms,
            reached_out_at_ms: columns.reached_out_at_ms,
        })
    }
}

const SELECT_PAIR: &str = "SELECT user_id, decision, decided_at_ms, asked_at_ms, asked_by_address, was_asked_at_ms, \
     reached_out_at_ms FROM contacts WHERE (user_id = $1 AND peer_id = $2) OR (user_id = $2 AND peer_id = $1)";

const SELECT_SIDES: &str = "SELECT user_id, peer_id, decision, decided_at_ms, asked_at_ms, asked_by_address, \
     was_asked_at_ms, reached_out_at_ms FROM contacts";

async fn decide(
    tx: &mut Tx,
    user: UserId,
    peer: UserId,
    decision: ContactDecision,
    now_ms: i64,
) -> Result<Decided, StoreError> {
    if !lock_both(tx, user, peer).await? {
        return Ok(Decided::NoSuchUser);
    }
    let mut pair = read(tx, user, peer).await?;
    if !pair.mine.is_counted() && count(tx, COUNT_CONTACTS, user).await? >= CONTACTS_PER_USER {
        return Ok(Decided::TooMany);
    }
    match decision {
        ContactDecision::Allowed => pair.allow(now_ms),
        ContactDecision::Blocked => pair.block(now_ms),
    }
    write(tx, user, peer, &pair).await?;
    standings::append(tx, &[(user, peer)], now_ms).await?;
    Ok(Decided::Done)
}

async fn ask(
    tx: &mut Tx,
    request: NewRequest,
    live: &Recipients,
    now_ms: i64,
) -> Result<Requested, StoreError> {
    let NewRequest { from, to, by_address } = request;
    lock_both(tx, from, to).await?;
    let mut pair = read(tx, from, to).await?;
    let (contacts, requests) = (count(tx, COUNT_CONTACTS, from).await?, count(tx, COUNT_REQUESTS, to).await?);
    if !pair.mine.is_counted() && contacts >= CONTACTS_PER_USER {
        return Ok(Requested::TooMany);
    }
    let told = pair.ask(by_address, requests < REQUESTS_PER_USER, now_ms);
    write(tx, from, to, &pair).await?;
    // Nobody has the nil id: then the same statements write nothing.
    let hears = if told { to } else { UserId::new(Uuid::nil()) };
    let notice = Notice::ContactRequest(ContactRequest { user_id: from });
    notices::add(tx, hears, &notice, live, now_ms).await?;
    standings::append(tx, &[(from, to)], now_ms).await?;
    Ok(Requested::Noted { told })
}

/// Until the transaction ends, nobody else changes what stands between two users. Locks in the order of their ids, so
/// that requests that cross cannot deadlock. Says whether there is such a peer.
async fn lock_both(tx: &mut Tx, user: UserId, peer: UserId) -> Result<bool, StoreError> {
    if user < peer {
        accounts::lock(tx, user).await?;
        Ok(accounts::lock(tx, peer).await?.is_some())
    } else {
        let peer = accounts::lock(tx, peer).await?;
        accounts::lock(tx, user).await?;
        Ok(peer.is_some())
    }
}

async fn read(tx: &mut Tx, user: UserId, peer: UserId) -> Result<Pair, StoreError> {
    let rows: Vec<SideRow> = within!(tx, connection => {
        let query = sqlx::query_as(SELECT_PAIR).bind(user.as_uuid()).bind(peer.as_uuid());
        query.fetch_all(connection).await?
    });
    Pair::of(rows, user)
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
    let upsert = "INSERT INTO contacts (user_id, peer_id, decision, decided_at_ms, asked_at_ms, asked_by_address, \
             was_asked_at_ms, reached_out_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (user_id, peer_id) DO UPDATE SET decision = excluded.decision, \
             decided_at_ms = excluded.decided_at_ms, asked_at_ms = excluded.asked_at_ms, \
             asked_by_address = excluded.asked_by_address, was_asked_at_ms = excluded.was_asked_at_ms, \
             reached_out_at_ms = excluded.reached_out_at_ms";
    within!(tx, connection => {
        sqlx::query(upsert)
            .bind(user.as_uuid())
            .bind(peer.as_uuid())
            .bind(side.decision.map(|(decision, _)| decision.as_str()))
            .bind(side.decision.map(|(_, at_ms)| at_ms))
            .bind(side.asked.map(|asked| asked.at_ms))
            .bind(side.asked.is_some_and(|asked| asked.by_address))
            .bind(side.was_asked_at_ms)
            .bind(side.reached_out_at_ms)
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

const COUNT_CONTACTS: &str =
    "SELECT COUNT(*) FROM contacts WHERE user_id = $1 AND (decision IS NOT NULL OR asked_at_ms IS NOT NULL)";

const COUNT_REQUESTS: &str =
    "SELECT COUNT(*) FROM contacts WHERE user_id = $1 AND was_asked_at_ms IS NOT NULL";

async fn count(tx: &mut Tx, select: &'static str, user: UserId) -> Result<i64, StoreError> {
    Ok(
        within!(tx, connection => sqlx::query_scalar(select).bind(user.as_uuid()).fetch_one(connection).await?),
    )
}

/// Each of these users wrote to another, who may reach him back from now on. Not where he has blocked him meanwhile.
pub(super) async fn reach_out(
    tx: &mut Tx,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    if pairs.is_empty() {
        return Ok(());
    }
    match tx {
        Tx::Sqlite(tx) => upsert_sqlite(tx, pairs, now_ms).await?,
        Tx::Postgres(tx) => upsert_postgres(tx, pairs, now_ms).await?,
    }
    for user in find_crowded(tx, pairs).await? {
        trim_reached_out(tx, user).await?;
    }
    Ok(())
}

async fn upsert_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    const COLUMNS: usize = 4;
    let insert = "INSERT INTO contacts (user_id, peer_id, asked_by_address, reached_out_at_ms)";
    let on_conflict = "ON CONFLICT (user_id, peer_id) DO UPDATE SET reached_out_at_ms = excluded.reached_out_at_ms \
         WHERE contacts.decision IS NULL OR contacts.decision <> ?";
    for piece in in_pieces(pairs) {
        let mut query = sqlx::query(with_values(insert, COLUMNS, piece.len(), on_conflict));
        for (user, peer) in piece {
            query = query.bind(user.as_uuid()).bind(peer.as_uuid()).bind(false).bind(now_ms);
        }
        query.bind(ContactDecision::Blocked.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn upsert_postgres(
    tx: &mut Transaction<'static, Postgres>,
    pairs: &[(UserId, UserId)],
    now_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO contacts (user_id, peer_id, asked_by_address, reached_out_at_ms) \
             SELECT user_id, peer_id, FALSE, $3 FROM unnest($1::uuid[], $2::uuid[]) AS batch (user_id, peer_id) \
         ON CONFLICT (user_id, peer_id) DO UPDATE SET reached_out_at_ms = excluded.reached_out_at_ms \
         WHERE contacts.decision IS NULL OR contacts.decision <> $4";
    let (users, peers): (Vec<Uuid>, Vec<Uuid>) =
        pairs.iter().map(|(user, peer)| (user.as_uuid(), peer.as_uuid())).unzip();
    let query = sqlx::query(upsert).bind(users).bind(peers).bind(now_ms);
    query.bind(ContactDecision::Blocked.as_str()).execute(&mut **tx).await?;
    Ok(())
}

/// Those of the users who have reached out to more others than are kept.
async fn find_crowded(tx: &mut Tx, pairs: &[(UserId, UserId)]) -> Result<Vec<UserId>, StoreError> {
    let users: BTreeSet<Uuid> = pairs.iter().map(|(user, _)| user.as_uuid()).collect();
    let crowded: Vec<Uuid> = match tx {
        Tx::Sqlite(tx) => {
            let select = "SELECT user_id FROM json_each($1) AS batch CROSS JOIN contacts ON user_id = unhex(batch.value) \
                 WHERE reached_out_at_ms IS NOT NULL AND decision IS NULL AND asked_at_ms IS NULL \
                     AND was_asked_at_ms IS NULL GROUP BY user_id HAVING COUNT(*) > $2";
            let query = sqlx::query_scalar(select).bind(hex_list(users)).bind(REACHED_OUT_KEPT);
            query.fetch_all(&mut ***tx).await?
        }
        Tx::Postgres(tx) => {
            let select = "SELECT user_id FROM contacts WHERE user_id = ANY ($1) \
                     AND reached_out_at_ms IS NOT NULL AND decision IS NULL AND asked_at_ms IS NULL \
                     AND was_asked_at_ms IS NULL GROUP BY user_id HAVING COUNT(*) > $2";
            let users: Vec<Uuid> = users.into_iter().collect();
            sqlx::query_scalar(select).bind(users).bind(REACHED_OUT_KEPT).fetch_all(&mut ***tx).await?
        }
    };
    Ok(crowded.into_iter().map(UserId::new).collect())
}

async fn trim_reached_out(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM contacts WHERE user_id = $1 AND peer_id IN (SELECT peer_id FROM \
             (SELECT peer_id, ROW_NUMBER() OVER (ORDER BY reached_out_at_ms DESC, peer_id) AS place \
              FROM contacts WHERE user_id = $1 AND reached_out_at_ms IS NOT NULL AND decision IS NULL \
                  AND asked_at_ms IS NULL AND was_asked_at_ms IS NULL) AS placed WHERE place > $2)";
    within!(tx, connection => {
        sqlx::query(delete).bind(user.as_uuid()).bind(REACHED_OUT_KEPT).execute(connection).await?;
    });
    Ok(())
}
