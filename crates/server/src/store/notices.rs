//! Notices: each waits for every registered device of a user until the device connects.
//!
//! Alerts and requests have separate quotas for each device, so a flood of requests never displaces an alert.

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

/// How many alerts, and how many requests, wait for a device. Beyond that the oldest is deleted; alerts about the
/// identity's chain are deleted after all others.
const NOTICES_PER_QUOTA: i64 = 100;

/// How long a notice waits.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A message for every device of a user. It waits in the database until the device has confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something happened to the account.
    Alert(Alert),
    /// Another user asks to become a contact.
    ContactRequest(ContactRequest),
    /// The user is invited to a private room.
    RoomInvite(RoomInvite),
}

/// A notice that waits for a device, with the id that it keeps until the device has confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingNotice {
    pub(crate) id: Uuid,
    pub(crate) notice: Notice,
}

/// The registered devices of a user for which a notice waits: all of them, except some.
#[derive(Debug, Clone, Default)]
pub(super) struct Recipients {
    /// The ids of the others, each between commas; ids contain no comma.
    excepted: String,
}

impl Notice {
    /// An alert about the account as a whole.
    pub(crate) const fn of_account(kind: AlertKind) -> Self {
        Self::Alert(Alert::new(kind))
    }

    /// An alert about the identity of the account, with the statement of its chain if there is one.
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

    /// An alert about a device of the account.
    pub(crate) fn of_device(kind: AlertKind, device: &DeviceId) -> Self {
        Self::Alert(Alert::new(kind).with_device_id(device.clone()))
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
    /// All devices.
    pub(super) fn all() -> Self {
        Self::default()
    }

    /// All devices except these.
    pub(super) fn all_but<'a>(devices: impl IntoIterator<Item = &'a DeviceId>) -> Self {
        Self { excepted: devices.into_iter().map(|device| format!(",{device},")).collect() }
    }
}

impl Store {
    /// The notices that wait for a device of a user, the oldest first. They wait until they are
    /// [deleted](Self::delete_notices).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn waiting_notices(
        &self,
        user: UserId,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<Vec<WaitingNotice>, StoreError> {
        if !self.has_notices(user, device, now_ms).await? {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin_for(user).await?;
        accounts::lock(&mut tx, user).await?;
        rotation_ends::tell(&mut tx, user, now_ms).await?;
        let rows = find(&mut tx, user, device).await?;
        tx.commit().await?;
        Ok(rows.iter().filter_map(NoticeRow::read).collect())
    }

    /// Deletes notices that a device of a user has confirmed. Others, of whatever number, stay.
    ///
    /// # Errors
    /// [`StoreError`]; then they are sent again.
    pub(crate) async fn delete_notices(
        &self,
        user: UserId,
        device: &DeviceId,
        ids: &[Uuid],
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin_for(user).await?;
        // As everybody who changes the notices of a user, so that they cannot deadlock.
        accounts::lock(&mut tx, user).await?;
        for id in ids {
            let delete = "DELETE FROM notices WHERE device_id = $1 AND notice_id = $2";
            within!(&mut tx, connection => {
                sqlx::query(delete).bind(device.as_str()).bind(id).execute(connection).await?;
            });
        }
        tx.commit().await
    }
}

/// Stores a notice for devices of a user, in the transaction of the change that it is about. It replaces a waiting one
/// of the same kind and subject. The transaction must have locked the user. It runs the same statements whether the user exists or not. It also marks the account as
/// changed, so call it last in a transaction.
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
             AND replace($8, ',' || device_id || ',', '') = $8";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(Uuid::now_v7())
            .bind(row.kind)
            .bind(&row.subject)
            .bind(row.of_chain)
            .bind(&row.body)
            .bind(now_ms)
            .bind(&recipients.excepted)
            .execute(connection)
            .await?;
    });
    trim(tx, user).await?;
    changes::note(tx, user).await
}

/// Deletes the notices of a request that no longer exists from the devices of the recipient.
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

/// Deletes expired notices.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM notices \
         WHERE created_at_ms <= $1 ORDER BY created_at_ms, device_id, notice_id LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}

/// The columns of a notice.
pub(super) struct Columns {
    pub(super) kind: &'static str,
    /// At most one notice of a kind and subject waits for a device.
    pub(super) subject: String,
    pub(super) of_chain: bool,
    pub(super) body: String,
}

impl Notice {
    pub(super) fn columns(&self) -> Result<Columns, StoreError> {
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

/// Whether the alert is about the identity's chain. The thief of a session can cause any number of the other kinds.
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
}

impl NoticeRow {
    /// The notice, or `None` if only a newer server knows its kind.
    fn read(&self) -> Option<WaitingNotice> {
        self.notice().map(|notice| WaitingNotice { id: self.notice_id, notice })
    }

    fn notice(&self) -> Option<Notice> {
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

/// Repeating the same notice takes one place only.
async fn delete_same(
    tx: &mut Tx,
    user: UserId,
    row: &Columns,
    recipients: &Recipients,
) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE kind = $2 AND subject = $3 AND device_id IN (SELECT device_id FROM devices \
         WHERE user_id = $1 AND replace($4, ',' || device_id || ',', '') = $4)";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(row.kind).bind(&row.subject);
        query.bind(&recipients.excepted).execute(connection).await?;
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

/// A removed device that is registered again does not get the old notices.
async fn find(tx: &mut Tx, user: UserId, device: &DeviceId) -> Result<Vec<NoticeRow>, StoreError> {
    let select = "SELECT notice_id, kind, body FROM notices WHERE device_id = $1 \
         AND created_at_ms >= (SELECT registered_at_ms FROM devices WHERE device_id = $1 AND user_id = $2) \
         ORDER BY created_at_ms, notice_id";
    Ok(within!(tx, connection => {
        let query = sqlx::query_as(select).bind(device.as_str()).bind(user.as_uuid());
        query.fetch_all(connection).await?
    }))
}
