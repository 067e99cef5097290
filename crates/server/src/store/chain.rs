//! The chains of identities: their statements, and the other changes that a rotation and its cancellation make.

use aldis_auth::{
    Acceptance, CANCELLATION_WINDOW_MS, Cancellation, Chain, ChainError, Link, Rotation, Statement,
};
use aldis_protocol::{AlertKind, Fingerprint, Hash, UserId, api::ChainHead};

use super::{
    Credential, Store, StoreError, Unauthorized, accounts,
    db::{Tx, on, within},
    identity,
    notices::{self, Notice, Recipients},
    revocations::{self, Revocation},
    rotation_backup, row,
    tokens::{self, Choice},
};

const WINDOW_MS: i64 = CANCELLATION_WINDOW_MS as i64;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The outcome of adding a statement. Only the first changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainChange {
    /// The statement is the chain's new head.
    Added(Link),
    /// The same statement was accepted before.
    AlreadyThere(Link),
    /// The chain refuses the statement.
    Refused(ChainError),
    /// The identity has reached the limit of rotations in 24 hours.
    TooMany,
    /// The user has no identity.
    NoIdentity,
}

impl Store {
    /// The chain of a user, if they have an identity.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn chain_of(&self, user: UserId) -> Result<Option<Chain>, StoreError> {
        // Statements are read first: if the account is deleted meanwhile, the answer is empty, never a shorter chain.
        let statements: Vec<StatementRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_STATEMENTS).bind(user.as_uuid()).fetch_all(pool).await?
        });
        let genesis: Option<GenesisRow> = on!(&self.db, r, pool => {
            sqlx::query_as(SELECT_GENESIS).bind(user.as_uuid()).fetch_optional(pool).await?
        });
        genesis.map(|genesis| assemble(&genesis, statements)).transpose()
    }

    /// Rotates an identity to a new key. Every family except the caller's is revoked. The blob, the encryption key and
    /// the devices are copied, so that a cancellation can restore them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rotate(
        &self,
        credential: &Credential,
        rotation: Rotation,
        rotations_a_day: usize,
        now_ms: i64,
    ) -> Result<ChainChange, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let change = rotate(&mut tx, credential, rotation, rotations_a_day, now_ms).await?;
        tx.end(matches!(change, ChainChange::Added(_))).await?;
        Ok(change)
    }

    /// Cancels a rotation: restores the blob, the encryption key and the devices as they were at the rotation, and
    /// revokes every family.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn cancel_rotation(
        &self,
        user: UserId,
        cancellation: &Cancellation,
        now_ms: i64,
    ) -> Result<ChainChange, StoreError> {
        // Anybody may send a cancellation, so its signature is verified before any lock is taken.
        let chain = self.chain_of(user).await?;
        let answer = accept(chain, cancellation.clone(), now_ms);
        if !matches!(answer, ChainChange::Added(_)) {
            return Ok(answer);
        }
        self.cancel(user, cancellation, now_ms).await
    }

    async fn cancel(
        &self,
        user: UserId,
        cancellation: &Cancellation,
        now_ms: i64,
    ) -> Result<ChainChange, StoreError> {
        let mut tx = self.db.begin_for(user).await?;
        let change = match accounts::lock(&mut tx, user).await? {
            Some(_) => cancel(&mut tx, user, cancellation, now_ms).await?,
            None => ChainChange::NoIdentity,
        };
        tx.end(matches!(change, ChainChange::Added(_))).await?;
        Ok(change)
    }
}

async fn rotate(
    tx: &mut Tx,
    credential: &Credential,
    rotation: Rotation,
    rotations_a_day: usize,
    now_ms: i64,
) -> Result<ChainChange, StoreError> {
    let user = credential.user;
    let chain = load(tx, user).await?;
    let lately = chain.as_ref().map_or(0, |chain| rotations_of_a_day(chain, now_ms));
    let fingerprint = chain.as_ref().map(Chain::fingerprint);
    let new_key = *rotation.new_key.as_bytes();
    let change = accept(chain, rotation, now_ms);
    let ChainChange::Added(link) = &change else { return Ok(change) };
    if lately >= rotations_a_day {
        return Ok(ChainChange::TooMany);
    }
    if !identity::claim_unseen(tx, user, &new_key, now_ms).await? {
        return Ok(ChainChange::Refused(ChainError::KeyInUse));
    }
    rotation_backup::keep(tx, user).await?;
    add(tx, user, link).await?;
    let alert = fingerprint.and_then(|fingerprint| alert(fingerprint, link));
    hand_over(tx, user, &new_key, Choice::all_but(credential.family()), alert, now_ms).await?;
    Ok(change)
}

async fn cancel(
    tx: &mut Tx,
    user: UserId,
    cancellation: &Cancellation,
    now_ms: i64,
) -> Result<ChainChange, StoreError> {
    let chain = load(tx, user).await?;
    let fingerprint = chain.as_ref().map(Chain::fingerprint);
    let change = accept(chain, cancellation.clone(), now_ms);
    let ChainChange::Added(link) = &change else { return Ok(change) };
    rotation_backup::restore(tx, user, now_ms).await?;
    add(tx, user, link).await?;
    let alert = fingerprint.and_then(|fingerprint| alert(fingerprint, link));
    hand_over(tx, user, cancellation.signer_key.as_bytes(), Choice::All, alert, now_ms).await?;
    Ok(change)
}

/// The alert about an accepted statement for the user's devices.
fn alert(fingerprint: Fingerprint, link: &Link) -> Option<Notice> {
    let (kind, sequence) = match link.statement() {
        Statement::Genesis(_) => return None,
        Statement::Rotation(rotation) => (AlertKind::RotationStarted, rotation.sequence),
        Statement::Cancellation(cancellation) => (AlertKind::RotationCancelled, cancellation.sequence),
    };
    Some(Notice::of_identity(kind, fingerprint, Some(ChainHead { sequence, hash: link.hash() })))
}

/// Refuses operations that would let a thief of the key do lasting damage while the owner can still cancel the
/// rotation. The transaction must have locked the user.
pub(super) async fn forbid_while_provisional(
    tx: &mut Tx,
    user: UserId,
    now_ms: i64,
) -> Result<(), StoreError> {
    if !has_rotated_since(tx, user, now_ms.saturating_sub(WINDOW_MS)).await? {
        return Ok(());
    }
    match load(tx, user).await?.and_then(|chain| chain.state(unsigned(now_ms)).provisional) {
        Some(_) => Err(StoreError::Unauthorized(Unauthorized::Provisional)),
        None => Ok(()),
    }
}

async fn has_rotated_since(tx: &mut Tx, user: UserId, since_ms: i64) -> Result<bool, StoreError> {
    let select = "SELECT 1 FROM chain_statements \
         WHERE user_id = $1 AND kind = 'rotation' AND accepted_at_ms >= $2 LIMIT 1";
    Ok(within!(tx, connection => {
        let query = sqlx::query(select).bind(user.as_uuid()).bind(since_ms);
        query.fetch_optional(connection).await?.is_some()
    }))
}

/// Checks a statement against the chain.
fn accept(chain: Option<Chain>, statement: impl Into<Statement>, now_ms: i64) -> ChainChange {
    let Some(mut chain) = chain else { return ChainChange::NoIdentity };
    match chain.accept(statement, unsigned(now_ms)) {
        Ok(Acceptance::Added(link)) => ChainChange::Added(link.clone()),
        Ok(Acceptance::AlreadyThere(link)) => ChainChange::AlreadyThere(link.clone()),
        Err(error) => ChainChange::Refused(error),
    }
}

fn rotations_of_a_day(chain: &Chain, now_ms: i64) -> usize {
    let since_ms = unsigned(now_ms).saturating_sub(DAY_MS);
    let lately = chain.links().iter().rev().take_while(|link| link.accepted_at_ms() > since_ms);
    lately.filter(|link| matches!(link.statement(), Statement::Rotation(_))).count()
}

/// Makes a key the active key, ends everything that the previous key proved, and stores the alert for every device,
/// because all sessions end. Call it last in a transaction.
async fn hand_over(
    tx: &mut Tx,
    user: UserId,
    key: &[u8; 32],
    families: Choice<'_>,
    alert: Option<Notice>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let update = "UPDATE identities SET active_key = $2 WHERE user_id = $1";
    within!(tx, connection => {
        sqlx::query(update).bind(user.as_uuid()).bind(key.to_vec()).execute(connection).await?;
    });
    let mut revoked = vec![Revocation::KeyChanged { user }];
    revoked.extend(tokens::revoke(tx, user, families, now_ms).await?);
    if let Some(alert) = alert {
        notices::add(tx, user, &alert, &Recipients::all(), now_ms).await?;
    }
    revocations::append(tx, &revoked, now_ms).await
}

const SELECT_GENESIS: &str = "SELECT genesis_key, created_at_ms FROM identities WHERE user_id = $1";

const SELECT_STATEMENTS: &str = "SELECT sequence, previous_hash, signer_key, new_key, target_hash, reason, \
     created_at_ms, signature, signature_new, accepted_at_ms FROM chain_statements \
     WHERE user_id = $1 ORDER BY sequence";

/// The chain of a user. The transaction must have locked the user.
pub(super) async fn load(tx: &mut Tx, user: UserId) -> Result<Option<Chain>, StoreError> {
    let statements: Vec<StatementRow> = within!(tx, connection => {
        sqlx::query_as(SELECT_STATEMENTS).bind(user.as_uuid()).fetch_all(connection).await?
    });
    let genesis: Option<GenesisRow> = within!(tx, connection => {
        sqlx::query_as(SELECT_GENESIS).bind(user.as_uuid()).fetch_optional(connection).await?
    });
    genesis.map(|genesis| assemble(&genesis, statements)).transpose()
}

#[derive(sqlx::FromRow)]
struct GenesisRow {
    genesis_key: Vec<u8>,
    created_at_ms: i64,
}

#[derive(sqlx::FromRow)]
struct StatementRow {
    sequence: i64,
    previous_hash: Vec<u8>,
    signer_key: Vec<u8>,
    new_key: Option<Vec<u8>>,
    target_hash: Option<Vec<u8>>,
    reason: Option<String>,
    created_at_ms: i64,
    signature: Vec<u8>,
    signature_new: Option<Vec<u8>>,
    accepted_at_ms: i64,
}

fn assemble(genesis: &GenesisRow, rows: Vec<StatementRow>) -> Result<Chain, StoreError> {
    let first_key = row::public_key(&genesis.genesis_key)?;
    let mut statements = vec![(Statement::Genesis(first_key), unsigned(genesis.created_at_ms))];
    for row in rows {
        let accepted_at_ms = unsigned(row.accepted_at_ms);
        statements.push((row.try_into()?, accepted_at_ms));
    }
    Chain::verify(first_key.fingerprint(), statements).map_err(row::unreadable)
}

impl TryFrom<StatementRow> for Statement {
    type Error = StoreError;

    fn try_from(row: StatementRow) -> Result<Self, StoreError> {
        let sequence = unsigned(row.sequence);
        let previous_hash = Hash(row::array(&row.previous_hash)?);
        let signer_key = row::public_key(&row.signer_key)?;
        let created_at_ms = unsigned(row.created_at_ms);
        let signature = row::array(&row.signature)?;
        Ok(match row.target_hash {
            Some(target_hash) => Cancellation {
                sequence,
                previous_hash,
                target_hash: Hash(row::array(&target_hash)?),
                signer_key,
                created_at_ms,
                signature,
            }
            .into(),
            None => Rotation {
                sequence,
                previous_hash,
                old_key: signer_key,
                new_key: row::public_key(&row.new_key.unwrap_or_default())?,
                reason: row.reason.unwrap_or_default(),
                created_at_ms,
                signature_old: signature,
                signature_new: row::array(&row.signature_new.unwrap_or_default())?,
            }
            .into(),
        })
    }
}

/// Stores a statement that the chain has accepted.
async fn add(tx: &mut Tx, user: UserId, link: &Link) -> Result<(), StoreError> {
    match link.statement() {
        // The row of the identity stands for its genesis statement.
        Statement::Genesis(_) => Ok(()),
        Statement::Rotation(rotation) => add_rotation(tx, user, rotation, link.accepted_at_ms()).await,
        Statement::Cancellation(cancellation) => {
            add_cancellation(tx, user, cancellation, link.accepted_at_ms()).await
        }
    }
}

async fn add_rotation(
    tx: &mut Tx,
    user: UserId,
    rotation: &Rotation,
    accepted_at_ms: u64,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO chain_statements (user_id, sequence, kind, previous_hash, signer_key, new_key, reason, \
         created_at_ms, signature, signature_new, accepted_at_ms) \
         VALUES ($1, $2, 'rotation', $3, $4, $5, $6, $7, $8, $9, $10)";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(signed(rotation.sequence))
            .bind(rotation.previous_hash.0.to_vec())
            .bind(rotation.old_key.as_bytes().to_vec())
            .bind(rotation.new_key.as_bytes().to_vec())
            .bind(&rotation.reason)
            .bind(signed(rotation.created_at_ms))
            .bind(rotation.signature_old.to_vec())
            .bind(rotation.signature_new.to_vec())
            .bind(signed(accepted_at_ms))
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn add_cancellation(
    tx: &mut Tx,
    user: UserId,
    cancellation: &Cancellation,
    accepted_at_ms: u64,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO chain_statements (user_id, sequence, kind, previous_hash, signer_key, target_hash, \
         created_at_ms, signature, accepted_at_ms) VALUES ($1, $2, 'cancellation', $3, $4, $5, $6, $7, $8)";
    within!(tx, connection => {
        sqlx::query(insert)
            .bind(user.as_uuid())
            .bind(signed(cancellation.sequence))
            .bind(cancellation.previous_hash.0.to_vec())
            .bind(cancellation.signer_key.as_bytes().to_vec())
            .bind(cancellation.target_hash.0.to_vec())
            .bind(signed(cancellation.created_at_ms))
            .bind(cancellation.signature.to_vec())
            .bind(signed(accepted_at_ms))
            .execute(connection)
            .await?;
    });
    Ok(())
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default()
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
