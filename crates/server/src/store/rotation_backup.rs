//! Copies of an identity's blob, encryption key and devices, kept while a rotation can be cancelled.
//!
//! A device that is removed inside the window of a rotation is removed like any other, so nothing has to be done when
//! the window ends. Only a cancellation turns the removal into a suspension.

use aldis_auth::CANCELLATION_WINDOW_MS;
use aldis_protocol::{DeviceId, UserId};

use super::{
    StoreError,
    db::{Db, Tx, within},
    sweep_rows,
};

const WINDOW_MS: i64 = CANCELLATION_WINDOW_MS as i64;

/// Far more than the clocks of two nodes differ.
const CLOCKS_DIFFER_MS: i64 = 24 * 60 * 60 * 1000;

/// Copies the blob, the encryption key and the devices of a user, replacing an earlier copy. The transaction must have
/// locked the user.
pub(super) async fn keep(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM kept_blobs WHERE user_id = $1",
        "INSERT INTO kept_blobs (user_id, content, content_hash) \
             SELECT user_id, content, content_hash FROM identity_blobs WHERE user_id = $1",
        "DELETE FROM kept_encryption_keys WHERE user_id = $1",
        "INSERT INTO kept_encryption_keys (user_id, encryption_key, created_at_ms, signature) \
             SELECT user_id, encryption_key, created_at_ms, signature FROM encryption_keys WHERE user_id = $1",
        "DELETE FROM kept_devices WHERE user_id = $1",
        "INSERT INTO kept_devices \
                 (user_id, device_id, pubkey, name, created_at_ms, signature, registered_at_ms, last_seen_at_ms) \
             SELECT user_id, device_id, pubkey, name, created_at_ms, signature, registered_at_ms, last_seen_at_ms \
             FROM devices WHERE user_id = $1 AND removed_at_ms IS NULL",
    ];
    for statement in statements {
        run(tx, statement, user).await?;
    }
    Ok(())
}

/// Restores the copy. Devices registered since are removed.
pub(super) async fn restore(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM identity_blobs WHERE user_id = $1",
        "INSERT INTO identity_blobs (user_id, content, content_hash) \
             SELECT user_id, content, content_hash FROM kept_blobs WHERE user_id = $1",
        "DELETE FROM encryption_keys WHERE user_id = $1",
        "INSERT INTO encryption_keys (user_id, encryption_key, created_at_ms, signature) \
             SELECT user_id, encryption_key, created_at_ms, signature FROM kept_encryption_keys WHERE user_id = $1",
    ];
    for statement in statements {
        run(tx, statement, user).await?;
    }
    restore_devices(tx, user, now_ms).await
}

/// Deletes the notices of a removed device, unless a cancellation can still restore the device. The transaction must
/// have locked the user.
pub(super) async fn forget_notices(tx: &mut Tx, user: UserId, device: &DeviceId) -> Result<(), StoreError> {
    let delete = "DELETE FROM notices WHERE device_id = $1 AND device_id NOT IN \
         (SELECT device_id FROM kept_devices WHERE user_id = $2)";
    within!(tx, connection => {
        sqlx::query(delete).bind(device.as_str()).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(())
}

/// Deletes copies that no cancellation can restore any more.
pub(super) async fn sweep(db: &Db, now_ms: i64) -> Result<u64, StoreError> {
    let statements = [
        "DELETE FROM kept_blobs WHERE user_id IN (SELECT k.user_id FROM kept_blobs k WHERE NOT EXISTS \
             (SELECT 1 FROM chain_statements r WHERE r.user_id = k.user_id AND r.kind = 'rotation' \
              AND r.accepted_at_ms > $1) ORDER BY k.user_id LIMIT $2)",
        "DELETE FROM kept_encryption_keys WHERE user_id IN (SELECT k.user_id FROM kept_encryption_keys k WHERE NOT EXISTS \
             (SELECT 1 FROM chain_statements r WHERE r.user_id = k.user_id AND r.kind = 'rotation' \
              AND r.accepted_at_ms > $1) ORDER BY k.user_id LIMIT $2)",
        "DELETE FROM kept_devices WHERE (user_id, device_id) IN (SELECT k.user_id, k.device_id FROM kept_devices k \
             WHERE NOT EXISTS (SELECT 1 FROM chain_statements r WHERE r.user_id = k.user_id AND r.kind = 'rotation' \
              AND r.accepted_at_ms > $1) ORDER BY k.user_id, k.device_id LIMIT $2)",
    ];
    let mut total = 0;
    for statement in statements {
        total += sweep_rows(db, statement, now_ms - WINDOW_MS - CLOCKS_DIFFER_MS).await?;
    }
    Ok(total)
}

async fn restore_devices(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    // Locked first: if another user claims one of these keys as an identity at this moment, the claim happens either
    // before this or after it.
    let lock_keys = "UPDATE known_keys SET kind = kind \
         WHERE public_key IN (SELECT pubkey FROM kept_devices WHERE user_id = $1)";
    let drop_keys_of_identities = "UPDATE kept_devices SET pubkey = NULL, signature = NULL WHERE user_id = $1 \
         AND pubkey IN (SELECT public_key FROM known_keys WHERE kind = 'identity')";
    let restore = "UPDATE devices SET pubkey = k.pubkey, name = k.name, created_at_ms = k.created_at_ms, \
             signature = k.signature, registered_at_ms = k.registered_at_ms, \
             last_seen_at_ms = COALESCE(devices.last_seen_at_ms, k.last_seen_at_ms), auth_time_ms = 0, \
             removed_at_ms = NULL \
         FROM kept_devices k WHERE k.user_id = $1 AND devices.device_id = k.device_id";
    run(tx, lock_keys, user).await?;
    run(tx, drop_keys_of_identities, user).await?;
    remove_others(tx, user, now_ms).await?;
    run(tx, restore, user).await
}

async fn remove_others(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let update = "UPDATE devices SET removed_at_ms = $2, pubkey = NULL, name = NULL, signature = NULL, \
             created_at_ms = 0, registered_at_ms = 0, last_seen_at_ms = NULL, auth_time_ms = 0 \
         WHERE user_id = $1 AND removed_at_ms IS NULL \
         AND device_id NOT IN (SELECT device_id FROM kept_devices WHERE user_id = $1)";
    within!(tx, connection => {
        sqlx::query(update).bind(user.as_uuid()).bind(now_ms).execute(connection).await?;
    });
    Ok(())
}

async fn run(tx: &mut Tx, statement: &'static str, user: UserId) -> Result<(), StoreError> {
    within!(tx, connection => {
        sqlx::query(statement).bind(user.as_uuid()).execute(connection).await?;
    });
    Ok(())
}
