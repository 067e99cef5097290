//! Notices: what waits for a registered device that is away until it connects.

use aldis_protocol::{
    Alert, AlertKind, ContactRequest, DeviceId, Fingerprint, MessageKind, ServerMessage, UserId,
    api::ChainHead,
};
use uuid::Uuid;

use super::{
    Store, StoreError, accounts, changes,
    db::{Db, Tx, within},
    rotation_ends, sweep_rows,
};

/// How many notices wait for a device; the oldest goes first.
const NOTICES_PER_DEVICE: i64 = 100;

/// How long a notice waits.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What a user's devices are told, now or at their next connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something happened to the account.
    Alert(Alert),
    /// Somebody would like to be allowed.
    ContactRequest(ContactRequest),
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
        Self::Alert(Alert { kind, device_id: None, fingerprint: None, sequence: None, hash: None })
    }

    /// Something happened to the identity of the account, by a statement of its chain where one is named.
    pub(crate) fn of_identity(
        kind: AlertKind,
        fingerprint: Fingerprint,
        statement: Option<ChainHead>,
    ) -> Self {
        Self::Alert(Alert {
            kind,
            device_id: None,
            fingerprint: Some(fingerprint),
            sequence: statement.map(|head| head.sequence),
            hash: statement.map(|head| head.hash),
        })
    }
}

impl From<Notice> for ServerMessage<'static> {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Alert(alert) => Self::Alert(alert),
            Notice::ContactRequest(request) => Self::ContactRequest(request),
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
    /// Lets a notice wait for devices of a user. An equal one that waits is replaced by it.
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
        let mut tx = self.db.begin().await?;
        accounts::lock(&mut tx, user).await?;
        rotation_ends::tell(&mut tx, user, now_ms).await?;
        let mut rows = remove(&mut tx, user, device).await?;
        tx.commit().await?;
        rows.retain(|row| row.created_at_ms > now_ms - KEPT_MS);
        rows.sort_by_key(|row| (row.created_at_ms, row.notice_id));
        Ok(rows.iter().filter_map(NoticeRow::read).collect())
    }
}

/// Lets a notice wait for devices of a user, whom the transaction has locked: the same statements whether there is
/// such a user or not. Every node learns that something may wait for him, so this is to be called last in a transaction.
pub(super) async fn add(
    tx: &mut Tx,
    user: UserId,
    notice: &Notice,
    recipients: &Recipients,
    now_ms: i64,
) -> Result<(), StoreError> {
    let (kind, body) = notice.columns()?;
    delete_equal(tx, user, &body, recipients).await?;
    let insert = "INSERT INTO notices (device_id, notice_id, kind, body, created_at_ms) \
         SELECT device_id, $2, $3, $4, $5 FROM devices WHERE user_id = $1 AND removed_at_ms IS NULL \
             AND (replace($6, ',' || device_id || ',', '') <> $6) = $7";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(Uuid::now_v7())
            .bind(kind)
            .bind(body)
            .bind(now_ms)
            .bind(&recipients.listed)
            .bind(recipients.only_listed)
            .execute(connection)
            .await?;
    });
    trim(tx, user).await?;
    changes::note(tx, user).await
}

/// Deletes notices that have waited too long.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let delete = "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM notices \
         WHERE created_at_ms <= $1 ORDER BY created_at_ms, device_id, notice_id LIMIT $2)";
    sweep_rows(db, delete, now_ms - KEPT_MS).await
}

impl Notice {
    /// Its kind, and the rest of it as JSON.
    fn columns(&self) -> Result<(&'static str, String), StoreError> {
        let (kind, body) = match self {
            Self::Alert(alert) => (MessageKind::Alert, serde_json::to_string(alert)),
            Self::ContactRequest(request) => (MessageKind::ContactRequest, serde_json::to_string(request)),
        };
        Ok((kind.as_str(), body.map_err(|error| sqlx::Error::Encode(Box::new(error)))?))
    }
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
        } else {
            None
        }
    }
}

/// So that nobody pushes out the others' by saying the same over and over.
async fn delete_equal(
    tx: &mut Tx,
    user: UserId,
    body: &str,
    recipients: &Recipients,
) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE body = $2 AND device_id IN (SELECT device_id FROM devices \
         WHERE user_id = $1 AND (replace($3, ',' || device_id || ',', '') <> $3) = $4)";
    within!(tx, connection => {
        let query = sqlx::query(delete).bind(user.as_uuid()).bind(body);
        query.bind(&recipients.listed).bind(recipients.only_listed).execute(connection).await?;
    });
    Ok(())
}

async fn trim(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE (device_id, notice_id) IN (SELECT device_id, notice_id FROM \
             (SELECT n.device_id, n.notice_id, ROW_NUMBER() OVER (PARTITION BY n.device_id \
                  ORDER BY n.created_at_ms DESC, n.notice_id DESC) AS place \
              FROM notices n JOIN devices d ON d.device_id = n.device_id WHERE d.user_id = $1) AS placed \
         WHERE place > $2)";
    within!(tx, connection => {
        sqlx::query(delete).bind(user.as_uuid()).bind(NOTICES_PER_DEVICE).execute(connection).await?;
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
