//! Identities (accounts that an Ed25519 key proves) and all keys that were ever used.

use std::collections::HashMap;

use aldis_protocol::{AlertKind, Fingerprint, UserId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    Credential, Store, StoreError, chain, changes,
    db::{Tx, on, within},
    mailbox,
    notices::{self, Notice, Recipients},
    row,
};

/// An identity and its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) user_id: UserId,
    /// The SHA-256 of its first key.
    pub(crate) fingerprint: Fingerprint,
    /// The key that proves it now.
    pub(crate) active_key: [u8; 32],
    /// Since when its account is disabled.
    pub(crate) disabled_at_ms: Option<i64>,
}

/// The outcome of creating an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityCreation {
    /// The identity and its account were created.
    Created,
    /// The key is or was a key of this identity; nothing was changed. The key proves the identity only while it is its
    /// [`active_key`](Identity::active_key).
    AlreadyThere(Identity),
    /// The key belonged to a deleted account; nothing was changed.
    Deleted,
}

/// The outcome of linking a key to an account. Only the first changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityLink {
    /// The account has an identity with this key now.
    Linked,
    /// The account already has an identity.
    HasIdentity,
    /// The key is or was the key of an identity or a device.
    KeyInUse,
}

impl Store {
    /// Creates an account whose identity begins with `public_key`. If that was the key of a device, it no longer
    /// proves the device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_account_for_key(
        &self,
        user: UserId,
        public_key: [u8; 32],
        now_ms: i64,
    ) -> Result<IdentityCreation, StoreError> {
        let mut tx = self.db.begin().await?;
        insert_user(&mut tx, user, now_ms).await?;
        if claim_for_identity(&mut tx, user, &public_key, now_ms).await? {
            insert_identity(&mut tx, user, &public_key, now_ms).await?;
            for owner in retire_as_device_key(&mut tx, &public_key).await? {
                changes::note(&mut tx, owner).await?;
            }
            tx.commit().await?;
            return Ok(IdentityCreation::Created);
        }
        tx.rollback().await?;
        let holder = self.identity_that_claimed(&public_key).await?;
        Ok(holder.map_or(IdentityCreation::Deleted, IdentityCreation::AlreadyThere))
    }

    /// Gives an account without an identity one that begins with `public_key`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn link_identity(
        &self,
        credential: &Credential,
        public_key: &[u8; 32],
        now_ms: i64,
    ) -> Result<IdentityLink, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let link = link(&mut tx, credential.user, public_key, now_ms).await?;
        tx.end(link == IdentityLink::Linked).await?;
        Ok(link)
    }

    /// The identity that this key proves.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn find_identity(&self, public_key: &[u8; 32]) -> Result<Option<Identity>, StoreError> {
        self.identity(
            "SELECT i.user_id, i.fingerprint, i.active_key, u.disabled_at_ms \
             FROM identities i JOIN users u ON u.user_id = i.user_id WHERE i.active_key = $1",
            public_key,
        )
        .await
    }

    /// The identity with this fingerprint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn identity_of_fingerprint(
        &self,
        fingerprint: Fingerprint,
    ) -> Result<Option<Identity>, StoreError> {
        self.identity(
            "SELECT i.user_id, i.fingerprint, i.active_key, u.disabled_at_ms \
             FROM identities i JOIN users u ON u.user_id = i.user_id WHERE i.fingerprint = $1",
            &fingerprint.0,
        )
        .await
    }

    /// The users with these fingerprints, as far as they exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn users_of_fingerprints(
        &self,
        fingerprints: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, UserId>, StoreError> {
        if fingerprints.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Vec<u8>, Uuid)> = on!(&self.db, r, pool => {
            let mut statement =
                QueryBuilder::new("SELECT fingerprint, user_id FROM identities WHERE fingerprint IN (");
            let mut list = statement.separated(", ");
            for fingerprint in fingerprints {
                list.push_bind(fingerprint.0.to_vec());
            }
            statement.push(")");
            statement.build_query_as().persistent(false).fetch_all(pool).await?
        });
        rows.into_iter()
            .map(|(bytes, user)| Ok((Fingerprint(row::array(&bytes)?), UserId::new(user))))
            .collect()
    }

    /// The fingerprint of a user, if they have an identity.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn fingerprint_of(&self, user: UserId) -> Result<Option<Fingerprint>, StoreError> {
        let select = "SELECT fingerprint FROM identities WHERE user_id = $1";
        let found: Option<Vec<u8>> = on!(&self.db, r, pool => {
            sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        found.map(|bytes| row::array(&bytes).map(Fingerprint)).transpose()
    }

    /// The identity that this key proves or once proved.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn identity_that_claimed(
        &self,
        public_key: &[u8; 32],
    ) -> Result<Option<Identity>, StoreError> {
        self.identity(
            "SELECT i.user_id, i.fingerprint, i.active_key, u.disabled_at_ms FROM known_keys k \
             JOIN identities i ON i.user_id = k.user_id JOIN users u ON u.user_id = i.user_id \
             WHERE k.public_key = $1 AND k.kind = 'identity'",
            public_key,
        )
        .await
    }

    async fn identity(&self, select: &'static str, by: &[u8; 32]) -> Result<Option<Identity>, StoreError> {
        type Row = (Uuid, Vec<u8>, Vec<u8>, Option<i64>);
        let found: Option<Row> = on!(&self.db, r, pool => {
            sqlx::query_as(select).bind(by.to_vec()).fetch_optional(pool).await?
        });
        found
            .map(|(user_id, fingerprint, active_key, disabled_at_ms)| {
                Ok(Identity {
                    user_id: UserId::new(user_id),
                    fingerprint: Fingerprint(row::array(&fingerprint)?),
                    active_key: row::array(&active_key)?,
                    disabled_at_ms,
                })
            })
            .transpose()
    }
}

async fn link(
    tx: &mut Tx,
    user: UserId,
    public_key: &[u8; 32],
    now_ms: i64,
) -> Result<IdentityLink, StoreError> {
    chain::forbid_while_provisional(tx, user, now_ms).await?;
    if active_key(tx, user).await?.is_some() {
        return Ok(IdentityLink::HasIdentity);
    }
    if !claim_unseen(tx, user, public_key, now_ms).await? {
        return Ok(IdentityLink::KeyInUse);
    }
    insert_identity(tx, user, public_key, now_ms).await?;
    let fingerprint = Fingerprint::of_first_key(public_key);
    let linked = Notice::of_identity(AlertKind::IdentityLinked, fingerprint, None);
    notices::add(tx, user, &linked, &Recipients::all(), now_ms).await?;
    Ok(IdentityLink::Linked)
}

/// Records this key as a device's. False if it is or was an identity's. Until the transaction ends, nobody can make it
/// an identity's.
pub(super) async fn claim_for_device(
    tx: &mut Tx,
    user: UserId,
    public_key: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    // The update changes nothing: it locks the row and makes the statement return it.
    let upsert = "INSERT INTO known_keys (public_key, kind, user_id, first_seen_at_ms) VALUES ($1, 'device', $2, $3) \
         ON CONFLICT (public_key) DO UPDATE SET kind = known_keys.kind RETURNING kind";
    let kind: String = within!(tx, connection => {
        let query = sqlx::query_scalar(upsert).bind(public_key.to_vec()).bind(user.as_uuid()).bind(now_ms);
        query.fetch_one(connection).await?
    });
    Ok(kind == "device")
}

/// Records a key as an identity's, if no identity and no device has ever used it. False if one has.
pub(super) async fn claim_unseen(
    tx: &mut Tx,
    user: UserId,
    public_key: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO known_keys (public_key, kind, user_id, first_seen_at_ms) \
         VALUES ($1, 'identity', $2, $3) ON CONFLICT (public_key) DO NOTHING";
    Ok(within!(tx, connection => {
        let query = sqlx::query(insert).bind(public_key.to_vec()).bind(user.as_uuid()).bind(now_ms);
        query.execute(connection).await?.rows_affected() == 1
    }))
}

/// The key that proves a user's identity now, if they have one.
pub(super) async fn active_key(tx: &mut Tx, user: UserId) -> Result<Option<[u8; 32]>, StoreError> {
    let select = "SELECT active_key FROM identities WHERE user_id = $1";
    let found: Option<Vec<u8>> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    row::optional_array(found.as_deref())
}

/// Records the key as an identity's for good. False if it is one already.
async fn claim_for_identity(
    tx: &mut Tx,
    user: UserId,
    public_key: &[u8; 32],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let upsert = "INSERT INTO known_keys (public_key, kind, user_id, first_seen_at_ms) \
         VALUES ($1, 'identity', $2, $3) \
         ON CONFLICT (public_key) DO UPDATE SET kind = 'identity', user_id = excluded.user_id \
         WHERE known_keys.kind = 'device'";
    Ok(within!(tx, connection => {
        let query = sqlx::query(upsert).bind(public_key.to_vec()).bind(user.as_uuid()).bind(now_ms);
        query.execute(connection).await?.rows_affected() == 1
    }))
}

async fn insert_user(tx: &mut Tx, user: UserId, now_ms: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO users (user_id, created_at_ms) VALUES ($1, $2)";
    within!(tx, connection => {
        sqlx::query(insert).bind(user.as_uuid()).bind(now_ms).execute(connection).await?;
    });
    mailbox::create(tx, user).await
}

async fn insert_identity(
    tx: &mut Tx,
    user: UserId,
    public_key: &[u8; 32],
    now_ms: i64,
) -> Result<(), StoreError> {
    let fingerprint = Fingerprint::of_first_key(public_key);
    let insert = "INSERT INTO identities (fingerprint, user_id, genesis_key, active_key, created_at_ms) \
         VALUES ($1, $2, $3, $3, $4)";
    within!(tx, connection => {
        let query = sqlx::query(insert).bind(fingerprint.0.to_vec()).bind(user.as_uuid());
        query.bind(public_key.to_vec()).bind(now_ms).execute(connection).await?;
    });
    Ok(())
}

/// Removes a key from the devices that have it, and returns their owners.
async fn retire_as_device_key(tx: &mut Tx, public_key: &[u8; 32]) -> Result<Vec<UserId>, StoreError> {
    let update = "UPDATE devices SET pubkey = NULL, signature = NULL WHERE pubkey = $1 RETURNING user_id";
    let mut owners: Vec<Uuid> = within!(tx, connection => {
        sqlx::query_scalar(update).bind(public_key.to_vec()).fetch_all(connection).await?
    });
    owners.sort_unstable();
    owners.dedup();
    Ok(owners.into_iter().map(UserId::new).collect())
}
