//! The credential of the user who makes a change, checked inside the transaction of the change.
//!
//! A token that was checked earlier may be revoked while the change waits for its turn. So every change by a user
//! begins with [`Store::begin_for`], which locks the account. Every revocation takes the same lock. So a revocation
//! comes either before the change, which is then refused, or after it.

use aldis_protocol::{DeviceId, UserId};
use uuid::Uuid;

use super::{
    Store, StoreError, accounts,
    db::{Tx, within},
    devices, identity, tokens, totp,
};

/// What authenticates the user who makes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The user.
    pub(crate) user: UserId,
    proof: Proof,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    Token { family: Uuid, device: Option<DeviceId>, steps_up: bool },
    IdentityKey { key: [u8; 32], second_factor: bool },
    Session,
}

/// Why a change is refused, whatever the change is. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthorized {
    /// The account does not exist, or was deleted.
    NoAccount,
    /// The account of the identity's key is disabled.
    Disabled,
    /// The sign-in, the device or the key is no longer valid.
    Revoked,
    /// The login did not show the second factor, which was activated since.
    StepUpRequired,
    /// A second factor was activated after the caller checked whether there is one.
    FactorRequired,
    /// A rotation of the identity can still be cancelled.
    Provisional,
}

impl Credential {
    /// An access token: its family and its device.
    pub(crate) const fn token(user: UserId, family: Uuid, device: Option<DeviceId>) -> Self {
        Self { user, proof: Proof::Token { family, device, steps_up: false } }
    }

    /// An access token of a login of the last minutes. The login must have shown the active second factor.
    pub(crate) const fn recent_login(user: UserId, family: Uuid, device: Option<DeviceId>) -> Self {
        Self { user, proof: Proof::Token { family, device, steps_up: true } }
    }

    /// The key of the user's identity, with or without the second factor.
    pub(crate) const fn identity_key(user: UserId, key: [u8; 32], second_factor: bool) -> Self {
        Self { user, proof: Proof::IdentityKey { key, second_factor } }
    }

    /// A live session, which ends within two seconds after its proof is revoked. Only the existence of the account is
    /// checked.
    pub(crate) const fn session(user: UserId) -> Self {
        Self { user, proof: Proof::Session }
    }

    /// When the user last proved who they are by a password or an identity's key; never, for a session. The
    /// transaction was begun with this credential.
    pub(super) async fn auth_time_ms(&self, tx: &mut Tx, now_ms: i64) -> Result<i64, StoreError> {
        match self.proof {
            Proof::Token { family, .. } => tokens::auth_time_ms(tx, family).await,
            Proof::IdentityKey { .. } => Ok(now_ms),
            Proof::Session => Ok(0),
        }
    }

    /// The device of a token.
    pub(super) const fn device(&self) -> Option<&DeviceId> {
        match &self.proof {
            Proof::Token { device, .. } => device.as_ref(),
            Proof::IdentityKey { .. } | Proof::Session => None,
        }
    }

    /// The family, for a token.
    pub(super) const fn family(&self) -> Option<Uuid> {
        match self.proof {
            Proof::Token { family, .. } => Some(family),
            Proof::IdentityKey { .. } | Proof::Session => None,
        }
    }
}

impl Store {
    /// Begins the transaction of a change. It has locked the account, so the credential stays valid until the
    /// transaction ends.
    ///
    /// # Errors
    /// [`StoreError::Unauthorized`] if the credential is not valid; otherwise as other calls.
    pub(super) async fn begin_for(&self, credential: &Credential) -> Result<Tx, StoreError> {
        let mut tx = self.db.begin_for(credential.user).await?;
        let is_there = accounts::lock(&mut tx, credential.user).await?;
        admit(tx, credential, is_there.as_ref()).await
    }

    /// Begins the transaction of a change that also concerns another account, and says whether that account exists.
    ///
    /// # Errors
    /// As [`begin_for`](Self::begin_for).
    pub(super) async fn begin_for_both(
        &self,
        credential: &Credential,
        other: UserId,
    ) -> Result<(Tx, bool), StoreError> {
        let mut tx = self.db.begin_for(credential.user).await?;
        // In the order of their ids, so that two users who change something about each other cannot deadlock.
        let (own, others) = if credential.user <= other {
            let own = accounts::lock(&mut tx, credential.user).await?;
            (own, accounts::lock(&mut tx, other).await?)
        } else {
            let others = accounts::lock(&mut tx, other).await?;
            (accounts::lock(&mut tx, credential.user).await?, others)
        };
        Ok((admit(tx, credential, own.as_ref()).await?, others.is_some()))
    }

    /// Begins the transaction of a change that concerns many other accounts. It has locked all of them that exist.
    ///
    /// # Errors
    /// As [`begin_for`](Self::begin_for).
    pub(super) async fn begin_for_all(
        &self,
        credential: &Credential,
        others: &[UserId],
    ) -> Result<Tx, StoreError> {
        let mut tx = self.db.begin_for(credential.user).await?;
        let all: Vec<UserId> = others.iter().copied().chain([credential.user]).collect();
        accounts::lock_all(&mut tx, &all).await?;
        // The account is locked already.
        let own = accounts::lock(&mut tx, credential.user).await?;
        admit(tx, credential, own.as_ref()).await
    }
}

/// Rolls the transaction back if the credential is not valid.
async fn admit(
    mut tx: Tx,
    credential: &Credential,
    account: Option<&accounts::LockedAccount>,
) -> Result<Tx, StoreError> {
    match check(&mut tx, credential, account).await? {
        Ok(()) => Ok(tx),
        Err(unauthorized) => {
            tx.rollback().await?;
            Err(StoreError::Unauthorized(unauthorized))
        }
    }
}

async fn check(
    tx: &mut Tx,
    credential: &Credential,
    account: Option<&accounts::LockedAccount>,
) -> Result<Result<(), Unauthorized>, StoreError> {
    let user = credential.user;
    let Some(account) = account else { return Ok(Err(Unauthorized::NoAccount)) };
    match &credential.proof {
        Proof::Session => Ok(Ok(())),
        Proof::IdentityKey { .. } if account.disabled_at_ms.is_some() => Ok(Err(Unauthorized::Disabled)),
        Proof::Token { .. } if account.disabled_at_ms.is_some() => Ok(Err(Unauthorized::Revoked)),
        Proof::IdentityKey { key, second_factor } => {
            if identity::active_key(tx, user).await?.as_ref() != Some(key) {
                return Ok(Err(Unauthorized::Revoked));
            }
            let lacks_factor = !second_factor && totp::is_in_force(tx, user).await?;
            Ok(if lacks_factor { Err(Unauthorized::FactorRequired) } else { Ok(()) })
        }
        Proof::Token { family, device, steps_up } => {
            if !tokens::lock_in_force(tx, user, *family).await? || !has_device(tx, user, device).await? {
                return Ok(Err(Unauthorized::Revoked));
            }
            let lacks_factor = *steps_up && lacks_factor(tx, user, *family).await?;
            Ok(if lacks_factor { Err(Unauthorized::StepUpRequired) } else { Ok(()) })
        }
    }
}

async fn has_device(tx: &mut Tx, user: UserId, device: &Option<DeviceId>) -> Result<bool, StoreError> {
    match device {
        Some(device) => devices::is_registered_to(tx, user, device).await,
        None => Ok(true),
    }
}

/// Whether a family's login is from before the active second factor. The family that activated it counts as having
/// shown it.
async fn lacks_factor(tx: &mut Tx, user: UserId, family: Uuid) -> Result<bool, StoreError> {
    let select = "SELECT 1 FROM totp t JOIN refresh_families f ON f.user_id = t.user_id \
         WHERE t.user_id = $1 AND f.family_id = $2 AND f.auth_time_ms < t.confirmed_at_ms \
             AND (t.confirmed_by IS NULL OR t.confirmed_by <> f.family_id)";
    Ok(within!(tx, connection => {
        let query = sqlx::query(select).bind(user.as_uuid()).bind(family);
        query.fetch_optional(connection).await?.is_some()
    }))
}
