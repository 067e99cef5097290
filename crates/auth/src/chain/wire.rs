//! Converts chains and statements to and from the bodies of the HTTP API.

use aldis_protocol::{
    Fingerprint,
    api::{CancelRequest, ChainResponse, ChainStatement, RotateRequest, StatementStatus},
};

use super::{Cancellation, Chain, ChainError, Link, Rotation, Statement};
use crate::{InvalidKey, PublicKey};

impl Chain {
    /// The response with this chain.
    #[must_use]
    pub fn to_response(&self, now_ms: u64) -> ChainResponse {
        let statements = (0..)
            .zip(self.links().iter().zip(self.statuses(now_ms)))
            .map(|(sequence, (link, status))| self.to_wire(sequence, link, status))
            .collect();
        ChainResponse { fingerprint: self.fingerprint(), statements }
    }

    /// Verifies such a response for the identity that the caller asked for. Nothing is trusted: hashes and sequences
    /// are computed, and `status` is ignored.
    ///
    /// # Errors
    /// [`ChainError`], as for [`verify`](Self::verify); [`ChainError::Mislabelled`] if a value beside a statement does
    /// not match it; [`ChainError::Key`].
    pub fn from_response(fingerprint: Fingerprint, response: &ChainResponse) -> Result<Self, ChainError> {
        let [genesis, later @ ..] = response.statements.as_slice() else {
            return Err(ChainError::NotGenesis);
        };
        let mut chain = begin(genesis)?;
        if chain.fingerprint() != fingerprint || response.fingerprint != fingerprint {
            return Err(ChainError::NotGenesis);
        }
        later.iter().try_for_each(|statement| chain.append_wire(statement))?;
        Ok(chain)
    }

    fn append_wire(&mut self, statement: &ChainStatement) -> Result<(), ChainError> {
        let (statement, label, accepted_at_ms): (Statement, _, _) = match statement {
            ChainStatement::Genesis { .. } => return Err(ChainError::NotGenesis),
            ChainStatement::Rotation { request, hash, accepted_at_ms, .. } => {
                (Rotation::try_from(request)?.into(), hash, accepted_at_ms)
            }
            ChainStatement::Cancellation { request, hash, accepted_at_ms, .. } => {
                check(request.fingerprint == self.fingerprint())?;
                (Cancellation::try_from(request)?.into(), hash, accepted_at_ms)
            }
        };
        let hash = self.append(statement, *accepted_at_ms)?.hash();
        check(hash == *label)
    }

    fn to_wire(&self, sequence: u64, link: &Link, status: StatementStatus) -> ChainStatement {
        let (hash, accepted_at_ms) = (link.hash(), link.accepted_at_ms());
        match link.statement() {
            Statement::Genesis(key) => {
                let public_key = *key.as_bytes();
                ChainStatement::Genesis { sequence, public_key, hash, accepted_at_ms, status }
            }
            Statement::Rotation(rotation) => {
                ChainStatement::Rotation { request: rotation.to_request(), hash, accepted_at_ms, status }
            }
            Statement::Cancellation(cancellation) => {
                let request = cancellation.to_request(self.fingerprint());
                ChainStatement::Cancellation { request, hash, accepted_at_ms, status }
            }
        }
    }
}

fn begin(genesis: &ChainStatement) -> Result<Chain, ChainError> {
    let ChainStatement::Genesis { sequence, public_key, hash, accepted_at_ms, .. } = genesis else {
        return Err(ChainError::NotGenesis);
    };
    let chain = Chain::begin(PublicKey::from_bytes(public_key)?, *accepted_at_ms);
    check(*sequence == 0 && *hash == chain.head().hash)?;
    Ok(chain)
}

const fn check(labelled_right: bool) -> Result<(), ChainError> {
    if labelled_right { Ok(()) } else { Err(ChainError::Mislabelled) }
}

impl Rotation {
    /// The request for this rotation.
    #[must_use]
    pub fn to_request(&self) -> RotateRequest {
        RotateRequest {
            sequence: self.sequence,
            previous_hash: self.previous_hash,
            old_key: *self.old_key.as_bytes(),
            new_key: *self.new_key.as_bytes(),
            reason: self.reason.clone(),
            created_at_ms: self.created_at_ms,
            signature_old: self.signature_old,
            signature_new: self.signature_new,
        }
    }
}

impl TryFrom<&RotateRequest> for Rotation {
    type Error = InvalidKey;

    fn try_from(request: &RotateRequest) -> Result<Self, InvalidKey> {
        Ok(Self {
            sequence: request.sequence,
            previous_hash: request.previous_hash,
            old_key: PublicKey::from_bytes(&request.old_key)?,
            new_key: PublicKey::from_bytes(&request.new_key)?,
            reason: request.reason.clone(),
            created_at_ms: request.created_at_ms,
            signature_old: request.signature_old,
            signature_new: request.signature_new,
        })
    }
}

impl Cancellation {
    /// The request for this cancellation.
    #[must_use]
    pub fn to_request(&self, fingerprint: Fingerprint) -> CancelRequest {
        CancelRequest {
            fingerprint,
            sequence: self.sequence,
            previous_hash: self.previous_hash,
            target_hash: self.target_hash,
            signer_key: *self.signer_key.as_bytes(),
            created_at_ms: self.created_at_ms,
            signature: self.signature,
        }
    }
}

/// The caller looks up the chain by the request's fingerprint.
impl TryFrom<&CancelRequest> for Cancellation {
    type Error = InvalidKey;

    fn try_from(request: &CancelRequest) -> Result<Self, InvalidKey> {
        Ok(Self {
            sequence: request.sequence,
            previous_hash: request.previous_hash,
            target_hash: request.target_hash,
            signer_key: PublicKey::from_bytes(&request.signer_key)?,
            created_at_ms: request.created_at_ms,
            signature: request.signature,
        })
    }
}
