//! Notices: what waits for a registered device that is away until it connects.
//!
//! Alerts and requests have separate quotas on each device, so a flood of requests never displaces an alert.

mod many;

use aldis_protocol::{
    Alert, AlertKind, ContactRequest, DeviceId, Fingerprint, MessageKind, RoomInvite, ServerMessage, UserId,
    api::ChainHead,
};
use serde::Serialize;
use uuid::Uuid;

pub(super) use self::many::add_for_all;
use super::{
    Store, StoreError, accounts, changes,
    db::{Db, Tx, within},
    rotation_ends, sweep_rows,
};

/// How many alerts, and how many requests, wait for a device. The oldest goes first; alerts about the identity's chain
/// go after all others.
const NOTICES_PER_QUOTA: i64 = 100;

/// How long a notice waits.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What a user's devices are told, now or at their next connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something happened to the account.
    Alert(Alert),
    /// Somebody asks to become a contact.
    ContactRequest(ContactRequest),
    /// The user is invited to a private room.
    RoomInvite(RoomInvite),
}

/// For which of a user's registered devices a notice waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipients {
    /// Device ids, each between commas: their grammar has none.
    listed: String,
    only_listed: bool,
}

impl Notice {
    /// Something happened to the account as a whole.
    pub(crate) const fn of_account(kind: AlertKind) -> Self {
        Self::Alert(Alert::new(kind))
    }

    /// Something happened to the identity of the account, by a statement of its chain where one is named.
    pub(crate) fn of_identity(
        kind: AlertKind,
        fingerprint: Fingerprint,
        statement: Option<ChainHead>,
    ) -> Self {
        Self::Alert(
            Alert::new(kind)
                .with_fingerprint(fingerprint)
                .with_sequence(statement.map(|head| head.sequence))
                .with_hash(statement.map(|head| head.hash)),
        )
    }
}

impl From<Notice> for ServerMessage<'static> {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Alert(alert) => Self::Alert(alert),
            Notice::ContactRequest(request) => Self::ContactRequest(request),
            Notice::RoomInvite(invite) => Self::RoomInvite(invite),
        }
    }
}

impl Recipients {
    /// All but these.
    pub(crate) fn all_but<'a>(devices: impl IntoIterator<Item = &'a DeviceId>) -> Self {
        Self { listed: list(devices), only_listed: false }
    }

    /// These alone.
    pub(crate) fn only<'a>(devices: impl IntoIterator<Item = &'a DeviceId>) -> Self {
        Self { listed: list(devices), only_listed: true }
    }
}

fn list<'a>(devices: impl IntoIterator<Item = &'a DeviceId>) -> String {
    devices.into_iter().map(|device| format!(",{device},")).collect()
}

impl Store {
    /// Lets a notice wait for devices of a user. It replaces a waiting one of the same kind and subject.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn add_notice(
        &self,
        user: UserId,
        notice: &Notice,
        recipients: &Recipients,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        accounts::lock(&mut tx, user).await?;
        add(&mut tx, user, notice, recipients, now_ms).await?;
        tx.commit().await
    }

    /// What waits for a device of a user, the oldest first. It waits no longer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn take_notices(
        &self,
        user: UserId,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<Vec<Notice>, StoreError> {
        if !self.has_notices(user, device, now_ms).await? {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin_for(user).await?;
        accounts::lock(&mut tx, user).await?;
        rotation_ends::tell(&mut tx, user, now_ms).await?;
        let mut rows = remove(&mut tx, user, device).await?;
        tx.commit().await?;
        rows.sort_by_key(|row| (row.created_at_ms, row.notice_id));
        Ok(rows.iter().filter_map(NoticeRow::read).collect())
    }
}

/// Lets a notice wait for devices of a user whom the transaction has locked. It replaces a waiting one of the same kind
/// and subject. Runs the same statements whether the user exists or not. Every node learns that something may wait for
/// the user, so call this last in a transaction.
pub(super) async fn add(
    tx: &mut Tx,
    user: UserId,
    notice: &Notice,
    recipients: &Recipients,
    now_ms: i64,
) -> Result<(), StoreError> {
    let row = notice.columns()?;
    delete_same(tx, user, &row, recipients).await?;
    let insert = "INSERT INTO notices (device_id, notice_id, kind, subject, of_chain, body, created_at_ms) \
         SELECT device_id, $2, $3, $4, $5, $6, $7 FROM devices WHERE user_id = $1 AND removed_at_ms IS NULL \
             AND (replace($8, ',' || device_id || ',', '') <> $8) = $9";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(Uuid::now_v7())
            .bind(row.kind)
            .bind(&row.subject)
            .bind(row.of_chain)
            .bind(&row.body)
            .bind(now_ms)
            .bind(&recipients.listed)
            .bind(recipients.only_listed)
            .execute(connection)
            .await?;
    });
    trim(tx, user).await?;
    changes::note(tx, user).await
}

/// A request that is no more is told to no further device of the user who was asked.
pub(super) async fn withdraw(
    tx: &mut Tx,
    user: UserId,
    kind: MessageKind,
    subject: &str,
) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE kind = $2 AND subject = $3 \
         AND device_id IN (SELECT device_id FROM devices WHERE user_id = $1)";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(kind.as_str()).bind(subject);
        query.execute(connection).await?;
    });
    Ok(())
}

/// Deletes notices that have waited too long.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM notices \
         WHERE created_at_ms <= $1 ORDER BY created_at_ms, device_id, notice_id LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}

/// A notice as its row has it.
struct Columns {
    kind: &'static str,
    /// One notice of a kind and subject waits for a device.
    subject: String,
    of_chain: bool,
    body: String,
}

impl Notice {
    fn columns(&self) -> Result<Columns, StoreError> {
        match self {
            Self::Alert(alert) => {
                let body = json(alert)?;
                let of_chain = is_of_chain(alert.kind);
                Ok(Columns { kind: MessageKind::Alert.as_str(), subject: body.clone(), of_chain, body })
            }
            Self::ContactRequest(request) => {
                let (kind, subject) = (MessageKind::ContactRequest, request.user_id.to_string());
                Ok(Columns { kind: kind.as_str(), subject, of_chain: false, body: json(request)? })
            }
            Self::RoomInvite(invite) => {
                let (kind, subject) = (MessageKind::RoomInvite, invite.room.to_string());
                Ok(Columns { kind: kind.as_str(), subject, of_chain: false, body: json(invite)? })
            }
        }
    }
}

/// Whether the alert is about the identity's chain. A thief of a session can cause the other kinds in any number.
const fn is_of_chain(kind: AlertKind) -> bool {
    matches!(
        kind,
        AlertKind::IdentityLinked
            | AlertKind::RotationStarted
            | AlertKind::RotationCancelled
            | AlertKind::RotationFinal
    )
}

fn json(body: &impl Serialize) -> Result<String, StoreError> {
    Ok(serde_json::to_string(body).map_err(|error| sqlx::Error::Encode(Box::new(error)))?)
}

#[derive(sqlx::FromRow)]
struct NoticeRow {
    notice_id: Uuid,
    kind: String,
    body: String,
    created_at_ms: i64,
}

impl NoticeRow {
    /// The notice, unless only a newer server knows it.
    fn read(&self) -> Option<Notice> {
        if self.kind == MessageKind::Alert.as_str() {
            serde_json::from_str(&self.body).ok().map(Notice::Alert)
        } else if self.kind == MessageKind::ContactRequest.as_str() {
            serde_json::from_str(&self.body).ok().map(Notice::ContactRequest)
        } else if self.kind == MessageKind::RoomInvite.as_str() {
            serde_json::from_str(&self.body).ok().map(Notice::RoomInvite)
        } else {
            None
        }
    }
}

/// The same notice over and over takes one place.
async fn delete_same(
    tx: &mut Tx,
    user: UserId,
    row: &Columns,
    recipients: &Recipients,
) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE kind = $2 AND subject = $3 AND device_id IN (SELECT device_id FROM devices \
         WHERE user_id = $1 AND (replace($4, ',' || device_id || ',', '') <> $4) = $5)";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(row.kind).bind(&row.subject);
        query.bind(&recipients.listed).bind(recipients.only_listed).execute(connection).await?;
    });
    Ok(())
}

async fn trim(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM \
             (SELECT n.device_id, n.notice_id, ROW_NUMBER() OVER (PARTITION BY n.device_id, n.kind = $2 \
                  ORDER BY n.of_chain DESC, n.created_at_ms DESC, n.notice_id DESC) AS place \
              FROM notices n JOIN devices d ON d.device_id = n.device_id WHERE d.user_id = $1) AS placed \
         WHERE place > $3)";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(MessageKind::Alert.as_str());
        query.bind(NOTICES_PER_QUOTA).execute(connection).await?;
    });
    Ok(())
}

/// A device that was removed and registered again is none for which the old ones waited.
async fn remove(tx: &mut Tx, user: UserId, device: &DeviceId) -> Result<Vec<NoticeRow>, StoreError> {
    let delete = "DELETE FROM notices WHERE device_id = $1 AND created_at_ms >= (SELECT registered_at_ms FROM devices \
         WHERE device_id = $1 AND user_id = $2) RETURNING notice_id, kind, body, created_at_ms";
    Ok(within!(tx, connection => {
        let query = sqlx::query_as(delete).bind(device.as_str()).bind(user.as_uuid());
        query.fetch_all(connection).await?
    }))
}
