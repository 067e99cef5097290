//! Registered devices of users.

use std::collections::BTreeMap;

use aldis_protocol::{AlertKind, DeviceId, UserId};
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use super::{
    Credential, Store, StoreError,
    db::{Tx, on, within},
    identity,
    notices::{self, Notice, Recipients},
    revocations::{self, Revocation},
    rotation_backup, row,
    tokens::{self, Choice},
    writer::{Append, SignInAppend},
};

/// How many devices a user can have.
pub(crate) const DEVICES_PER_USER: i64 = 20;

/// How many devices' times share an append, so that a transaction of the writer stays short.
const TOUCHES_PER_APPEND: usize = 64;

/// A device to register.
#[derive(Debug, Clone)]
pub(crate) struct NewDevice {
    /// The requested id; not an ephemeral one.
    pub(crate) device_id: DeviceId,
    /// Its Ed25519 key; `None` if the identity's own key proves the device.
    pub(crate) pubkey: Option<[u8; 32]>,
    /// The name that the user gave it.
    pub(crate) name: Option<String>,
    /// The time in its signed statement; the current time if there is none.
    pub(crate) created_at_ms: i64,
    /// The identity's signature of the statement.
    pub(crate) signature: Option<[u8; 64]>,
}

/// The outcome of a registration. Only the first two changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registration {
    /// The device was registered, or the user's device without a key got this key.
    Registered,
    /// The device was registered already, with the same key, or the request has no key. The name and a newer signed
    /// statement replaced the stored ones.
    Unchanged,
    /// The id belongs to another user, or did before it was removed. Or it is the user's with another key: that device
    /// must be removed first, because a key is never replaced silently.
    IdTaken,
    /// The key is or was an identity's key.
    KeyInUse,
    /// The user has the maximum number of devices.
    TooMany,
}

/// A registered device, as its owner and other users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its id.
    pub(crate) device_id: DeviceId,
    /// Its Ed25519 key.
    pub(crate) pubkey: Option<[u8; 32]>,
    /// The name that the user gave it.
    pub(crate) name: Option<String>,
    /// The time in its signed statement.
    pub(crate) created_at_ms: i64,
    /// The identity's signature of the statement.
    pub(crate) signature: Option<[u8; 64]>,
    /// When the server registered it.
    pub(crate) registered_at_ms: i64,
    /// When it was last connected, as far as that is stored.
    pub(crate) last_seen_at_ms: Option<i64>,
}

/// The owner of a device, and what proves the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceOwner {
    /// The owner; of a removed device, the last owner.
    pub(crate) user_id: UserId,
    /// Its Ed25519 key; none once it is removed.
    pub(crate) pubkey: Option<[u8; 32]>,
    /// Whether it was removed: then nobody can connect as it, and only its last owner can register it again.
    pub(crate) removed: bool,
    /// Whether its owner's account is disabled.
    pub(crate) disabled: bool,
}

impl Store {
    /// Registers a device of the user and alerts their other devices, or finds out why it cannot be registered. A login
    /// with the device's key keeps the authentication time of the login that registered it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn register_device(
        &self,
        credential: &Credential,
        device: &NewDevice,
        now_ms: i64,
    ) -> Result<Registration, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let outcome = register(&mut tx, credential, device, now_ms).await?;
        if outcome == Registration::Registered {
            alert(&mut tx, credential, AlertKind::DeviceAdded, &device.device_id, now_ms).await?;
        }
        tx.end(matches!(outcome, Registration::Registered | Registration::Unchanged)).await?;
        Ok(outcome)
    }

    /// The devices of a user, the oldest first; at most 20.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn devices_of(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        let select = "SELECT device_id, pubkey, name, created_at_ms, signature, registered_at_ms, last_seen_at_ms \
             FROM devices WHERE user_id = $1 AND removed_at_ms IS NULL ORDER BY registered_at_ms, device_id";
        let rows: Vec<DeviceRow> =
            on!(&self.db, r, pool => sqlx::query_as(select).bind(user.as_uuid()).fetch_all(pool).await?);
        rows.into_iter().map(Device::try_from).collect()
    }

    /// Removes a device of a user, revokes the families that are bound to it and alerts the other devices. Only its id
    /// and its owner stay stored. False if the user has no such device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remove_device(
        &self,
        credential: &Credential,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let user = credential.user;
        let mut tx = self.begin_for(credential).await?;
        if !mark_removed(&mut tx, user, device, now_ms).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        rotation_backup::forget_notices(&mut tx, user, device).await?;
        let mut revoked = vec![Revocation::DeviceRemoved { user, device: device.clone() }];
        revoked.extend(tokens::revoke(&mut tx, user, Choice::OfDevice(device), now_ms).await?);
        alert(&mut tx, credential, AlertKind::DeviceRemoved, device, now_ms).await?;
        revocations::append(&mut tx, &revoked, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The owner of a device, removed or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn find_device(&self, device: &DeviceId) -> Result<Option<DeviceOwner>, StoreError> {
        let row: Option<OwnerRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_OWNER).bind(device.as_str()).fetch_optional(pool).await?
        });
        row.map(DeviceOwner::try_from).transpose()
    }

    /// Stores when devices were last connected. A time before the stored one or before the registration changes
    /// nothing, and neither does a device that is not registered.
    ///
    /// # Errors
    /// [`StoreError`]; some of them may be stored.
    pub(crate) async fn set_last_seen(&self, seen: &[(DeviceId, i64)]) -> Result<(), StoreError> {
        for some in seen.chunks(TOUCHES_PER_APPEND) {
            self.sign_ins.append(SignInAppend::LastSeen, LastSeen(some.to_vec())).await?;
        }
        Ok(())
    }
}

/// Devices and when each was last connected.
pub(super) struct LastSeen(Vec<(DeviceId, i64)>);

impl Append for LastSeen {
    type Answer = ();
    type Locked = ();

    fn user(&self) -> Option<UserId> {
        None
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    async fn write(tx: &mut Tx, (): &mut (), batch: &[Self]) -> Result<Vec<()>, StoreError> {
        let latest = latest(batch);
        match tx {
            Tx::Sqlite(tx) => touch_sqlite(tx, &latest).await?,
            Tx::Postgres(tx) => touch_postgres(tx, &latest).await?,
        }
        Ok(vec![(); batch.len()])
    }
}

type OwnerRow = (Uuid, Option<Vec<u8>>, Option<i64>, Option<i64>);

const SELECT_OWNER: &str = "SELECT d.user_id, d.pubkey, d.removed_at_ms, u.disabled_at_ms \
     FROM devices d JOIN users u ON u.user_id = d.user_id WHERE d.device_id = $1";

impl TryFrom<OwnerRow> for DeviceOwner {
    type Error = StoreError;

    fn try_from((user_id, pubkey, removed_at_ms, disabled_at_ms): OwnerRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::new(user_id),
            pubkey: row::optional_array(pubkey.as_deref())?,
            removed: removed_at_ms.is_some(),
            disabled: disabled_at_ms.is_some(),
        })
    }
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    device_id: String,
    pubkey: Option<Vec<u8>>,
    name: Option<String>,
    created_at_ms: i64,
    signature: Option<Vec<u8>>,
    registered_at_ms: i64,
    last_seen_at_ms: Option<i64>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = StoreError;

    fn try_from(row: DeviceRow) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: row::device_id(&row.device_id)?,
            pubkey: row::optional_array(row.pubkey.as_deref())?,
            name: row.name,
            created_at_ms: row.created_at_ms,
            signature: row::optional_array(row.signature.as_deref())?,
            registered_at_ms: row.registered_at_ms,
            last_seen_at_ms: row.last_seen_at_ms,
        })
    }
}

/// The transaction has locked the user, and then locks the key and the device. The order is always the same, so that
/// registrations cannot deadlock.
async fn register(
    tx: &mut Tx,
    credential: &Credential,
    device: &NewDevice,
    now_ms: i64,
) -> Result<Registration, StoreError> {
    let user = credential.user;
    if let Some(key) = &device.pubkey
        && !identity::claim_for_device(tx, user, key, now_ms).await?
    {
        return Ok(Registration::KeyInUse);
    }
    let auth_time_ms = credential.auth_time_ms(tx, now_ms).await?;
    match holder(tx, &device.device_id).await? {
        None => add(tx, INSERT, user, device, auth_time_ms, now_ms).await,
        Some(holder) if holder.user_id != user => Ok(Registration::IdTaken),
        Some(holder) if holder.removed => add(tx, RESTORE, user, device, auth_time_ms, now_ms).await,
        Some(holder) => renew(tx, &holder, device, auth_time_ms).await,
    }
}

/// Alerts every device except that of the caller and the one that the alert is about. Call it last in a transaction, or
/// right before appending revocations.
async fn alert(
    tx: &mut Tx,
    credential: &Credential,
    kind: AlertKind,
    device: &DeviceId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let others = Recipients::all_but(credential.device().into_iter().chain([device]));
    notices::add(tx, credential.user, &Notice::of_device(kind, device), &others, now_ms).await
}

/// Whether a device belongs to this user and is not removed.
pub(super) async fn is_registered_to(
    tx: &mut Tx,
    user: UserId,
    device: &DeviceId,
) -> Result<bool, StoreError> {
    Ok(holder(tx, device).await?.is_some_and(|holder| holder.user_id == user && !holder.removed))
}

/// The authentication time for logins with this key of a device: that of the login that registered it. `None` if the
/// key is not the device's.
pub(super) async fn auth_time_of_key(
    tx: &mut Tx,
    user: UserId,
    device: &DeviceId,
    key: &[u8; 32],
) -> Result<Option<i64>, StoreError> {
    let select = "SELECT auth_time_ms FROM devices \
         WHERE device_id = $1 AND user_id = $2 AND pubkey = $3 AND removed_at_ms IS NULL";
    Ok(within!(tx, connection => {
        let query = sqlx::query_scalar(select).bind(device.as_str()).bind(user.as_uuid()).bind(key.to_vec());
        query.fetch_optional(connection).await?
    }))
}

async fn mark_removed(tx: &mut Tx, user: UserId, device: &DeviceId, now_ms: i64) -> Result<bool, StoreError> {
    let update = "UPDATE devices SET removed_at_ms = $3, pubkey = NULL, name = NULL, signature = NULL, \
             created_at_ms = 0, registered_at_ms = 0, last_seen_at_ms = NULL, auth_time_ms = 0 \
         WHERE device_id = $1 AND user_id = $2 AND removed_at_ms IS NULL";
    Ok(within!(tx, connection => {
        let query = sqlx::query(update).bind(device.as_str()).bind(user.as_uuid()).bind(now_ms);
        query.execute(connection).await?.rows_affected() == 1
    }))
}

async fn holder(tx: &mut Tx, device: &DeviceId) -> Result<Option<DeviceOwner>, StoreError> {
    let row: Option<OwnerRow> = within!(tx, connection => {
        sqlx::query_as(SELECT_OWNER).bind(device.as_str()).fetch_optional(connection).await?
    });
    row.map(DeviceOwner::try_from).transpose()
}

const INSERT: &str = "INSERT INTO devices \
     (device_id, user_id, pubkey, name, created_at_ms, signature, registered_at_ms, auth_time_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (device_id) DO NOTHING";

const RESTORE: &str = "UPDATE devices SET pubkey = $3, name = $4, created_at_ms = $5, signature = $6, \
     registered_at_ms = $7, auth_time_ms = $8, last_seen_at_ms = NULL, removed_at_ms = NULL \
     WHERE device_id = $1 AND user_id = $2";

/// Adds a device if there is room. If no row was inserted, another user was faster with the id.
async fn add(
    tx: &mut Tx,
    statement: &'static str,
    user: UserId,
    device: &NewDevice,
    auth_time_ms: i64,
    now_ms: i64,
) -> Result<Registration, StoreError> {
    if count(tx, user).await? >= DEVICES_PER_USER {
        return Ok(Registration::TooMany);
    }
    let added = within!(tx, connection => {
        sqlx::query(statement)
            .bind(device.device_id.as_str())
            .bind(user.as_uuid())
            .bind(device.pubkey.map(|key| key.to_vec()))
            .bind(device.name.as_deref())
            .bind(device.created_at_ms)
            .bind(device.signature.map(|signature| signature.to_vec()))
            .bind(now_ms)
            .bind(auth_time_ms)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(if added == 1 { Registration::Registered } else { Registration::IdTaken })
}

async fn count(tx: &mut Tx, user: UserId) -> Result<i64, StoreError> {
    let select = "SELECT COUNT(*) FROM devices WHERE user_id = $1 AND removed_at_ms IS NULL";
    Ok(
        within!(tx, connection => sqlx::query_scalar(select).bind(user.as_uuid()).fetch_one(connection).await?),
    )
}

async fn renew(
    tx: &mut Tx,
    held: &DeviceOwner,
    device: &NewDevice,
    auth_time_ms: i64,
) -> Result<Registration, StoreError> {
    match (held.pubkey, device.pubkey) {
        (_, None) => Ok(Registration::Unchanged),
        (Some(held), Some(shown)) if held != shown => Ok(Registration::IdTaken),
        (Some(_), Some(_)) => {
            update(tx, RENEW, device).await?;
            Ok(Registration::Unchanged)
        }
        (None, Some(_)) => {
            update(tx, GIVE_KEY, device).await?;
            set_auth_time(tx, &device.device_id, auth_time_ms).await?;
            Ok(Registration::Registered)
        }
    }
}

const RENEW: &str = "UPDATE devices SET pubkey = $2, name = COALESCE($3, name), \
     signature = CASE WHEN $5 IS NOT NULL AND $4 >= created_at_ms THEN $5 ELSE signature END, \
     created_at_ms = CASE WHEN $5 IS NOT NULL AND $4 >= created_at_ms THEN $4 ELSE created_at_ms END \
     WHERE device_id = $1";

const GIVE_KEY: &str = "UPDATE devices SET pubkey = $2, name = COALESCE($3, name), created_at_ms = $4, \
     signature = $5 WHERE device_id = $1";

async fn update(tx: &mut Tx, statement: &'static str, device: &NewDevice) -> Result<(), StoreError> {
    within!(tx, connection => {
        sqlx::query(statement)
            .bind(device.device_id.as_str())
            .bind(device.pubkey.map(|key| key.to_vec()))
            .bind(device.name.as_deref())
            .bind(device.created_at_ms)
            .bind(device.signature.map(|signature| signature.to_vec()))
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn set_auth_time(tx: &mut Tx, device: &DeviceId, auth_time_ms: i64) -> Result<(), StoreError> {
    let update = "UPDATE devices SET auth_time_ms = $2 WHERE device_id = $1";
    within!(tx, connection => {
        let query = sqlx::query(update).bind(device.as_str()).bind(auth_time_ms);
        query.execute(connection).await?;
    });
    Ok(())
}

/// The latest time of each device, in the order of their ids.
fn latest(batch: &[LastSeen]) -> BTreeMap<&str, i64> {
    let mut latest = BTreeMap::new();
    for (device, at_ms) in batch.iter().flat_map(|append| &append.0) {
        let known = latest.entry(device.as_str()).or_insert(*at_ms);
        *known = (*known).max(*at_ms);
    }
    latest
}

async fn touch_sqlite(
    tx: &mut Transaction<'static, Sqlite>,
    latest: &BTreeMap<&str, i64>,
) -> Result<(), StoreError> {
    let update = "UPDATE devices SET last_seen_at_ms = $2 \
         WHERE device_id = $1 AND removed_at_ms IS NULL AND registered_at_ms <= $2 \
         AND (last_seen_at_ms IS NULL OR last_seen_at_ms < $2)";
    for (device, at_ms) in latest {
        sqlx::query(update).bind(*device).bind(at_ms).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Locks the rows in the order of their ids first, so that two nodes cannot deadlock.
async fn touch_postgres(
    tx: &mut Transaction<'static, Postgres>,
    latest: &BTreeMap<&str, i64>,
) -> Result<(), StoreError> {
    let update = "WITH seen AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS seen (device_id, at_ms)), \
         locked AS MATERIALIZED (SELECT d.device_id FROM devices d WHERE d.device_id = ANY ($1::text[]) \
             ORDER BY d.device_id FOR NO KEY UPDATE) \
         UPDATE devices d SET last_seen_at_ms = seen.at_ms FROM seen JOIN locked USING (device_id) \
         WHERE d.device_id = seen.device_id AND d.removed_at_ms IS NULL AND d.registered_at_ms <= seen.at_ms \
         AND (d.last_seen_at_ms IS NULL OR d.last_seen_at_ms < seen.at_ms)";
    let (devices, times): (Vec<&str>, Vec<i64>) =
        latest.iter().map(|(device, at_ms)| (*device, *at_ms)).unzip();
    sqlx::query(update).bind(devices).bind(times).execute(&mut **tx).await?;
    Ok(())
}
