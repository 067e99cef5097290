//! Contact requests, from the sender and to the recipient.
//!
//! A request takes one of its sender's places, by the text that the sender typed. Places, statements and answers are
//! the same whether the user exists, is a contact, has blocked the sender or has a full list.

use aldis_protocol::{ContactLabel, ContactRequest, MessageKind, UserId};
use uuid::Uuid;

use super::{
    CONTACTS_PER_USER, KEPT_MS, count_contacts,
    pair::{Asking, Outcome, Pair, Side},
    read, write,
};
use crate::store::{
    Credential, Notice, Store, StoreError,
    db::{Db, Tx, within},
    notices::{self, Recipients},
    relation_log,
    sweep::sweep_rows,
};

/// How many requests of one user can wait. Further ones get the same answer, and nobody is told.
const PLACES_PER_USER: i64 = 20;

/// How many requests can wait for a user's answer. Beyond that, the oldest one from a user whom they have never
/// answered is deleted.
const REQUESTS_PER_USER: i64 = 1_000;

/// Nobody has the nil id: a statement about it changes nothing and takes the same time.
const NOBODY: UserId = UserId::new(Uuid::nil());

/// A request to become a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewRequest {
    /// The sender.
    pub(crate) from: UserId,
    /// The recipient; the user may not exist.
    pub(crate) to: UserId,
    /// A hash of what the sender typed.
    pub(crate) typed: [u8; 32],
    /// The sender knows only an address, and must not learn who owns it.
    pub(crate) by_address: bool,
    /// The name that the sender gives.
    pub(crate) label: Option<ContactLabel>,
}

impl NewRequest {
    /// The notice for the recipient.
    pub(crate) fn notice(&self) -> Notice {
        Notice::ContactRequest(ContactRequest::new(self.from).with_label(self.label.clone()))
    }
}

impl Store {
    /// Asks another user to become a contact. If both ask each other, both are allowed. True if the recipient is to be
    /// told; then the notice waits for each of their registered devices.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn request_contact(
        &self,
        credential: &Credential,
        request: &NewRequest,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let (mut tx, _) = self.begin_for_both(credential, request.to).await?;
        let is_told = ask(&mut tx, request, now_ms).await?;
        tx.commit().await?;
        Ok(is_told)
    }

    /// Withdraws a request that was made by address. `to` is the current owner of the address, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn take_back_request(
        &self,
        credential: &Credential,
        to: UserId,
        typed: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let from = credential.user;
        let (mut tx, _) = self.begin_for_both(credential, to).await?;
        let mut pair = read(&mut tx, from, to, now_ms).await?;
        pair.take_back_by_address();
        free_typed(&mut tx, from, typed).await?;
        write(&mut tx, from, to, &pair).await?;
        withdraw_unheard(&mut tx, from, to, &pair).await?;
        relation_log::append(&mut tx, &[(from, to)], now_ms).await?;
        tx.commit().await
    }
}

async fn ask(tx: &mut Tx, request: &NewRequest, now_ms: i64) -> Result<bool, StoreError> {
    let NewRequest { from, to, ref typed, by_address, ref label } = *request;
    let mut pair = read(tx, from, to, now_ms).await?;
    let contacts = count_contacts(tx, from).await?;
    let places = Places::find(tx, from, typed, now_ms).await?;
    let waiting = Waiting::find(tx, to, now_ms).await?;
    let may_add = contacts + places.taken < CONTACTS_PER_USER;
    let place_since_ms = places.of_request(may_add, now_ms);
    let has_room = waiting.take_another(&pair.theirs);
    let asking = Asking { by_address, label: label.as_ref(), place_since_ms, may_add, has_room };
    let outcome = pair.ask(asking, now_ms);

    let is_answered = outcome == Outcome::Answered;
    take_place(tx, request, place_since_ms.filter(|_| !is_answered)).await?;
    free_answered(tx, if is_answered { to } else { NOBODY }, from).await?;
    free_known(tx, if is_answered { from } else { NOBODY }, to).await?;
    write(tx, from, to, &pair).await?;
    let evicts = outcome == Outcome::Told && waiting.is_full();
    evict(tx, if evicts { to } else { NOBODY }, from, waiting.oldest).await?;
    let is_told = outcome != Outcome::Unheard;
    notices::add(tx, if is_told { to } else { NOBODY }, &request.notice(), &Recipients::all(), now_ms)
        .await?;
    relation_log::append(tx, &[(from, to)], now_ms).await?;
    Ok(is_told)
}

/// The places that a user's requests take.
struct Places {
    taken: i64,
    /// Since when this request has a place.
    since_ms: Option<i64>,
}

impl Places {
    async fn find(tx: &mut Tx, user: UserId, typed: &[u8; 32], now_ms: i64) -> Result<Self, StoreError> {
        let select = "SELECT COUNT(*), MIN(CASE WHEN typed = $2 THEN asked_at_ms END) FROM contact_requests \
             WHERE user_id = $1 AND asked_at_ms > $3";
        let (taken, since_ms) = within!(tx, connection => {
            let query = sqlx::query_as(select).bind(user.as_uuid()).bind(&typed[..]);
            query.bind(now_ms - KEPT_MS).fetch_one(connection).await?
        });
        Ok(Self { taken, since_ms })
    }

    /// Since when the request has a place, if it has or gets one.
    fn of_request(&self, may_add: bool, now_ms: i64) -> Option<i64> {
        self.since_ms.or_else(|| (may_add && self.taken < PLACES_PER_USER).then_some(now_ms))
    }
}

/// The requests that wait for a user's answer.
struct Waiting {
    count: i64,
    /// The sender of the oldest one, among the users whom the recipient has never answered.
    oldest: Option<UserId>,
}

impl Waiting {
    async fn find(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<Self, StoreError> {
        let count = "SELECT COUNT(*) FROM contacts WHERE user_id = $1 AND was_asked_at_ms > $2";
        let count: i64 = within!(tx, connection => {
            let query = sqlx::query_scalar(count).bind(user.as_uuid()).bind(now_ms - KEPT_MS);
            query.fetch_one(connection).await?
        });
        let oldest = "SELECT peer_id FROM contacts WHERE user_id = $1 AND was_asked_at_ms > $2 \
             AND answered_at_ms IS NULL AND reached_out_at_ms IS NULL ORDER BY was_asked_at_ms, peer_id LIMIT 1";
        let oldest: Option<Uuid> = within!(tx, connection => {
            let query = sqlx::query_scalar(oldest).bind(user.as_uuid()).bind(now_ms - KEPT_MS);
            query.fetch_optional(connection).await?
        });
        Ok(Self { count, oldest: oldest.map(UserId::new) })
    }

    const fn is_full(&self) -> bool {
        self.count >= REQUESTS_PER_USER
    }

    /// Whether there is room for a request from a user with this stance. A stranger's request never displaces that of
    /// a user whom the recipient has answered.
    const fn take_another(&self, side: &Side) -> bool {
        !self.is_full() || self.oldest.is_some() || side.has_answered()
    }
}

/// If there is no place, the same statement runs and writes nothing.
async fn take_place(tx: &mut Tx, request: &NewRequest, since_ms: Option<i64>) -> Result<(), StoreError> {
    free_typed(tx, request.from, &request.typed).await?;
    let insert = "INSERT INTO contact_requests (user_id, typed, peer_id, by_address, asked_at_ms) \
         SELECT user_id, $2, $3, $4, $5 FROM users WHERE user_id = $1";
    let user = since_ms.map_or(NOBODY, |_| request.from);
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(&request.typed[..])
            .bind(request.to.as_uuid())
            .bind(request.by_address)
            .bind(since_ms.unwrap_or_default())
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// Frees the place of the text that a user typed.
pub(super) async fn free_typed(tx: &mut Tx, user: UserId, typed: &[u8; 32]) -> Result<(), StoreError> {
    let free = "DELETE FROM contact_requests WHERE user_id = $1 AND typed = $2";
    within!(tx, connection => {
        sqlx::query(free).bind(user.as_uuid()).bind(&typed[..]).execute(connection).await?;
    });
    Ok(())
}

/// Frees the places of a user's requests to another who has answered them.
pub(super) async fn free_answered(tx: &mut Tx, user: UserId, by: UserId) -> Result<(), StoreError> {
    let free = "DELETE FROM contact_requests WHERE user_id = $1 AND peer_id = $2";
    within!(tx, connection => {
        sqlx::query(free).bind(user.as_uuid()).bind(by.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

/// Frees the places of a user's requests to another, except those by address: the user does not know that these go to
/// the same person.
pub(super) async fn free_known(tx: &mut Tx, user: UserId, peer: UserId) -> Result<(), StoreError> {
    let free = "DELETE FROM contact_requests WHERE user_id = $1 AND peer_id = $2 AND by_address = $3";
    within!(tx, connection => {
        let query = sqlx::query(free).bind(user.as_uuid()).bind(peer.as_uuid()).bind(false);
        query.execute(connection).await?;
    });
    Ok(())
}

/// Deletes the notices of a request that was withdrawn, dismissed or blocked before all devices had them.
pub(super) async fn withdraw_unheard(
    tx: &mut Tx,
    user: UserId,
    peer: UserId,
    pair: &Pair,
) -> Result<(), StoreError> {
    for (side, asked, requester) in [(&pair.mine, user, peer), (&pair.theirs, peer, user)] {
        let told = if side.was_asked_at_ms.is_none() { asked } else { NOBODY };
        notices::withdraw(tx, told, MessageKind::ContactRequest, &requester.to_string()).await?;
    }
    Ok(())
}

/// Deletes a waiting request to make room for a new one. To its sender it looks like one without an answer.
async fn evict(
    tx: &mut Tx,
    user: UserId,
    newcomer: UserId,
    oldest: Option<UserId>,
) -> Result<(), StoreError> {
    let delete = "DELETE FROM contacts WHERE user_id = $1 AND peer_id = $2 AND decision IS NULL \
         AND answered_at_ms IS NULL AND reached_out_at_ms IS NULL";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(oldest.unwrap_or(NOBODY).as_uuid());
        query.execute(connection).await?;
    });
    let update = "UPDATE contacts SET was_asked_at_ms = NULL, peer_label = NULL WHERE user_id = $1 AND peer_id = \
         (SELECT peer_id FROM contacts WHERE user_id = $1 AND was_asked_at_ms IS NOT NULL AND peer_id <> $2 \
          ORDER BY was_asked_at_ms, peer_id LIMIT 1)";
    let crowded = if oldest.is_none() { user } else { NOBODY };
    within!(tx, connection => {
        let query = sqlx::query(update).bind(crowded.as_uuid()).bind(newcomer.as_uuid());
        query.execute(connection).await?;
    });
    Ok(())
}

/// Deletes requests that expired without an answer, and the places that they take.
pub(in crate::store) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let mut total = 0;
    for statement in LAPSED {
        total += sweep_rows(db, statement, now_ms - KEPT_MS).await?;
    }
    Ok(total)
}

const LAPSED: [&str; 5] = [
    "DELETE FROM contact_requests WHERE asked_at_ms <= $1 AND (user_id, typed) IN \
         (SELECT user_id, typed FROM contact_requests WHERE asked_at_ms <= $1 \
          ORDER BY asked_at_ms, user_id, typed LIMIT $2)",
    "DELETE FROM contacts WHERE was_asked_at_ms <= $1 AND (user_id, peer_id) IN \
         (SELECT user_id, peer_id FROM contacts WHERE was_asked_at_ms <= $1 AND decision IS NULL \
              AND reached_out_at_ms IS NULL AND answered_at_ms IS NULL \
          ORDER BY was_asked_at_ms, user_id, peer_id LIMIT $2)",
    "UPDATE contacts SET was_asked_at_ms = NULL, peer_label = NULL WHERE was_asked_at_ms <= $1 \
         AND (user_id, peer_id) IN (SELECT user_id, peer_id FROM contacts WHERE was_asked_at_ms <= $1 \
             ORDER BY was_asked_at_ms, user_id, peer_id LIMIT $2)",
    "UPDATE contacts SET asked_at_ms = NULL WHERE asked_at_ms <= $1 AND (user_id, peer_id) IN \
         (SELECT user_id, peer_id FROM contacts WHERE asked_at_ms <= $1 \
          ORDER BY asked_at_ms, user_id, peer_id LIMIT $2)",
    "UPDATE contacts SET asked_by_address_at_ms = NULL WHERE asked_by_address_at_ms <= $1 \
         AND (user_id, peer_id) IN (SELECT user_id, peer_id FROM contacts WHERE asked_by_address_at_ms <= $1 \
             ORDER BY asked_by_address_at_ms, user_id, peer_id LIMIT $2)",
];
