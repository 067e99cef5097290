//! Identities and their chains: everybody reads them; owners link, rotate and cancel.

use aldis_auth::{Cancellation, Chain, ChainError, Link, Provisional, PublicKey, Rotation};
use aldis_protocol::{
    AlertKind, ErrorCode, Fingerprint, PendingRotation, Timestamp, UserId,
    api::{
        CancelRequest, CancelResponse, ChainHead, ChainResponse, IdentityResponse, LinkRequest, LinkResponse,
        RotateRequest,
    },
};

use super::{Accounts, Caller, sign_in::ShownKey};
use crate::{
    clock::Now,
    refusal::{PROVISIONAL, Refusal},
    store::{self, ChainChange, IdentityLink, Notice},
};

/// Why a statement is not added to a chain.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// The caller may not make it.
    Refusal(Refusal),
    /// The chain does not accept it.
    Chain(ChainError),
}

const UNKNOWN_IDENTITY: Refusal = Refusal::new(ErrorCode::NotFound, "there is no such identity");
pub(super) const NO_IDENTITY: Refusal =
    Refusal::new(ErrorCode::Conflict, "the account has no identity; link a key first");
const HAS_IDENTITY: Refusal =
    Refusal::new(ErrorCode::Conflict, "the account has an identity; rotate its key instead");
const KEY_IN_USE: Refusal =
    Refusal::new(ErrorCode::KeyInUse, "the key is, or was, somebody's identity or device; make a fresh one");
const TOO_MANY_ROTATIONS: Refusal =
    Refusal::new(ErrorCode::RateLimited, "an identity has three rotations a day; try again tomorrow");
const REPLACED: Refusal = Refusal::new(ErrorCode::Revoked, "another key has replaced this one");
impl From<Refusal> for NotAccepted {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<store::StoreError> for NotAccepted {
    fn from(error: store::StoreError) -> Self {
        Self::Refusal(error.into())
    }
}

impl From<ChainError> for NotAccepted {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl Accounts {
    /// A summary of an identity.
    pub(crate) async fn identity(
        &self,
        fingerprint: Fingerprint,
        now: Now,
    ) -> Result<IdentityResponse, Refusal> {
        let (identity, chain) = self.identity_and_chain(fingerprint).await?;
        let encryption_key = self.store.encryption_key_of(identity.user_id).await?;
        let state = chain.state(now.unix_ms);
        Ok(IdentityResponse {
            fingerprint,
            user_id: identity.user_id,
            active_key: *state.active_key.as_bytes(),
            provisional_until: state.provisional.map(|provisional| timestamp(provisional.until_ms)),
            encryption_key: encryption_key.map(|published| published.encryption_key),
            chain_length: state.head.sequence + 1,
            head: state.head,
        })
    }

    /// The chain of an identity, with everything that is needed to verify it.
    pub(crate) async fn chain(&self, fingerprint: Fingerprint, now: Now) -> Result<ChainResponse, Refusal> {
        let (_, chain) = self.identity_and_chain(fingerprint).await?;
        Ok(chain.to_response(now.unix_ms))
    }

    /// Links an identity to the caller's account.
    pub(crate) async fn link(
        &self,
        caller: &Caller,
        request: &LinkRequest,
        audience: &str,
        now: Now,
    ) -> Result<LinkResponse, Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        let credential = caller.step_up(now)?;
        let shown = ShownKey {
            public_key: &request.public_key,
            device_id: None,
            challenge: &request.challenge,
            signature: &request.signature,
        };
        let key = self.prove_key(&shown, audience, now).await?;
        match self.store.link_identity(&credential, key.as_bytes(), now.store_ms()).await? {
            IdentityLink::Linked => {
                tracing::info!(user = %caller.user, "identity linked");
                let fingerprint = key.fingerprint();
                let linked = Notice::of_identity(AlertKind::IdentityLinked, fingerprint, None);
                self.notices.tell_written(caller.user, &linked, &[], now).await;
                Ok(LinkResponse { fingerprint })
            }
            IdentityLink::HasIdentity => Err(HAS_IDENTITY),
            IdentityLink::KeyInUse => Err(KEY_IN_USE),
        }
    }

    /// Rotates the key of the caller's identity. The second value says whether the rotation is new.
    pub(crate) async fn rotate(
        &self,
        caller: &Caller,
        request: &RotateRequest,
        now: Now,
    ) -> Result<(PendingRotation, bool), NotAccepted> {
        let credential = caller.step_up(now)?;
        let rotation = Rotation::try_from(request).map_err(ChainError::from)?;
        self.store.fingerprint_of(caller.user).await?.ok_or(NO_IDENTITY)?;
        let a_day = self.settings.rotations_a_day;
        let rotated = self.store.rotate(&credential, rotation, a_day, now.store_ms());
        let (link, is_new) = accepted(rotated.await?)?;
        let head = ChainHead { sequence: request.sequence, hash: link.hash() };
        if is_new {
            tracing::info!(user = %caller.user, sequence = request.sequence, "rotation started");
            self.chain_changed(caller.user, now).await;
        }
        let cancellation_deadline = timestamp(link.cancellation_deadline_ms().unwrap_or_default());
        let ChainHead { sequence, hash } = head;
        Ok((PendingRotation::new(sequence, hash, cancellation_deadline), is_new))
    }

    /// Cancels a rotation, with a statement of the key that it replaced.
    pub(crate) async fn cancel_rotation(
        &self,
        request: &CancelRequest,
        now: Now,
    ) -> Result<CancelResponse, NotAccepted> {
        let cancellation = Cancellation::try_from(request).map_err(ChainError::from)?;
        let identity =
            self.store.identity_of_fingerprint(request.fingerprint).await?.ok_or(UNKNOWN_IDENTITY)?;
        let cancelled = self.store.cancel_rotation(identity.user_id, &cancellation, now.store_ms());
        let (link, is_new) = accepted(cancelled.await?)?;
        let head = ChainHead { sequence: request.sequence, hash: link.hash() };
        if is_new {
            tracing::info!(user = %identity.user_id, sequence = request.sequence, "rotation cancelled");
            self.chain_changed(identity.user_id, now).await;
        }
        let active_key = *cancellation.signer_key.as_bytes();
        Ok(CancelResponse { sequence: head.sequence, hash: head.hash, active_key })
    }

    /// Refuses lasting changes while a rotation can still be cancelled: a thief of the key may have made it.
    pub(super) async fn forbid_while_provisional(&self, caller: &Caller, now: Now) -> Result<(), Refusal> {
        let chain = self.store.chain_of(caller.user).await?;
        match chain.and_then(|chain| chain.state(now.unix_ms).provisional) {
            Some(_) => Err(PROVISIONAL),
            None => Ok(()),
        }
    }

    /// Refuses a key that another key has replaced.
    pub(super) async fn refuse_replaced(&self, key: &PublicKey, now: Now) -> Result<(), Refusal> {
        match self.store.identity_that_claimed(key.as_bytes()).await? {
            Some(identity) if identity.active_key != *key.as_bytes() => {
                Err(self.replaced(&identity, key, now).await)
            }
            _ => Ok(()),
        }
    }

    /// The refusal of a key that another key has replaced, with the rotation that it can still cancel.
    pub(super) async fn replaced(&self, identity: &store::Identity, key: &PublicKey, now: Now) -> Refusal {
        match self.store.chain_of(identity.user_id).await {
            Ok(chain) => {
                Refusal { rotation: chain.and_then(|chain| cancellable_by(&chain, key, now)), ..REPLACED }
            }
            Err(error) => error.into(),
        }
    }

    async fn identity_and_chain(
        &self,
        fingerprint: Fingerprint,
    ) -> Result<(store::Identity, Chain), Refusal> {
        let identity = self.store.identity_of_fingerprint(fingerprint).await?.ok_or(UNKNOWN_IDENTITY)?;
        let chain = self.store.chain_of(identity.user_id).await?.ok_or(UNKNOWN_IDENTITY)?;
        Ok((identity, chain))
    }

    /// Ends all sessions of a user after a rotation or a cancellation. The alert was stored with the statement, so the devices
    /// are told at their next connect.
    async fn chain_changed(&self, user: UserId, now: Now) {
        self.cache.forget(user);
        self.revoked(now).await;
    }
}

/// The statement in the chain, and whether it is new.
fn accepted(change: ChainChange) -> Result<(Link, bool), NotAccepted> {
    match change {
        ChainChange::Added(link) => Ok((link, true)),
        ChainChange::AlreadyThere(link) => Ok((link, false)),
        ChainChange::Refused(error) => Err(error.into()),
        ChainChange::TooMany => Err(TOO_MANY_ROTATIONS.into()),
        ChainChange::NoIdentity => Err(UNKNOWN_IDENTITY.into()),
    }
}

fn cancellable_by(chain: &Chain, key: &PublicKey, now: Now) -> Option<PendingRotation> {
    let Provisional { rotation, until_ms, old_key } = chain.state(now.unix_ms).provisional?;
    (old_key == *key).then(|| PendingRotation::new(rotation.sequence, rotation.hash, timestamp(until_ms)))
}

fn timestamp(unix_ms: u64) -> Timestamp {
    Timestamp::from_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX))
}
