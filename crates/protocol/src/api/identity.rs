//! Identities: their chains, their keys, and the devices that they vouch for.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

use super::Problem;
#[cfg(feature = "openapi")]
use crate::openapi;
use crate::{DeviceId, Fingerprint, Hash, Timestamp, UserId, binary, whole};

/// The last statement of a chain: what the next one names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainHead {
    /// Its place; the genesis has 0.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What `GET /api/identity/{fingerprint}` answers: a summary, on the server's word. The chain proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentityResponse {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// Its account.
    pub user_id: UserId,
    /// The key that proves it now.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub active_key: [u8; 32],
    /// Until when the rotation to the active key can be cancelled; null where there is none to cancel.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub provisional_until: Option<Timestamp>,
    /// The X25519 key to encrypt to.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::PublicKey>, required))]
    pub encryption_key: Option<[u8; 32]>,
    /// How many statements the chain has.
    pub chain_length: u64,
    /// The last of them.
    pub head: ChainHead,
}

/// What `GET /api/identity/{fingerprint}/chain` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainResponse {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// The whole chain, from the genesis on.
    pub statements: Vec<ChainStatement>,
}

/// One statement of a chain, with what verifies it. `status` and `accepted_at_ms` are the server's word, the latter
/// within ten minutes of what was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChainStatement {
    /// The first key; nobody signs it.
    Genesis {
        /// Always 0.
        sequence: u64,
        /// The key whose hash is the fingerprint.
        #[serde(with = "binary::array")]
        #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
        public_key: [u8; 32],
        /// [`statement::genesis_hash`](crate::statement::genesis_hash).
        hash: Hash,
        /// When the server accepted it, in Unix milliseconds.
        accepted_at_ms: u64,
        /// Always final.
        status: StatementStatus,
    },
    /// One key handing over to the next.
    Rotation {
        /// What was sent.
        #[serde(flatten)]
        request: RotateRequest,
        /// The hash of the old key's statement.
        hash: Hash,
        /// When the server accepted it, in Unix milliseconds.
        accepted_at_ms: u64,
        /// Provisional while it can be cancelled.
        status: StatementStatus,
    },
    /// The old key taking the rotation before it back.
    Cancellation {
        /// What was sent.
        #[serde(flatten)]
        request: CancelRequest,
        /// The statement's hash.
        hash: Hash,
        /// When the server accepted it, in Unix milliseconds.
        accepted_at_ms: u64,
        /// Always final.
        status: StatementStatus,
    },
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StatementStatus {
    /// It stands for good.
    Final,
    /// A rotation inside its window: it can be cancelled.
    Provisional,
    /// A rotation that was cancelled.
    Cancelled,
}

/// `POST /api/identity/rotate`. It is answered by a [`PendingRotation`](crate::PendingRotation).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotateRequest {
    /// The head's, plus one.
    #[serde(deserialize_with = "whole::number")]
    pub sequence: u64,
    /// The head's hash.
    pub previous_hash: Hash,
    /// The active key.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub old_key: [u8; 32],
    /// A key that was never seen before.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub new_key: [u8; 32],
    /// For people.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Reason))]
    pub reason: String,
    /// When it was signed, in Unix milliseconds; at most ten minutes off.
    #[serde(deserialize_with = "whole::number")]
    pub created_at_ms: u64,
    /// The old key's, over [`statement::KeyRotation::bytes`](crate::statement::KeyRotation::bytes).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature_old: [u8; 64],
    /// The new key's, over [`statement::KeyRotation::accept_bytes`](crate::statement::KeyRotation::accept_bytes).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature_new: [u8; 64],
}

/// `POST /api/identity/rotate/cancel`: needs no login, for the owner may have nothing but the old key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelRequest {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// The rotation's, plus one.
    #[serde(deserialize_with = "whole::number")]
    pub sequence: u64,
    /// The head's hash.
    pub previous_hash: Hash,
    /// The hash of the rotation, which is the head while it can be cancelled.
    pub target_hash: Hash,
    /// The key that the rotation replaced.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub signer_key: [u8; 32],
    /// When it was signed, in Unix milliseconds; at most ten minutes off.
    #[serde(deserialize_with = "whole::number")]
    pub created_at_ms: u64,
    /// Over [`statement::KeyRotationCancel`](crate::statement::KeyRotationCancel).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature: [u8; 64],
}

/// What `POST /api/identity/rotate/cancel` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelResponse {
    /// The cancellation's place.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// The key that is active again.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub active_key: [u8; 32],
}

/// A [`Problem`] with the code `chain_conflict`: what the caller's next statement has to name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainConflict {
    /// What every error has.
    #[serde(flatten)]
    pub problem: Problem,
    /// The chain's head.
    pub head: ChainHead,
}

/// `POST /api/identity/link`: adds a key to an email account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkRequest {
    /// A key that was never seen before.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub public_key: [u8; 32],
    /// From `POST /api/auth/challenge`.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Challenge))]
    pub challenge: [u8; 32],
    /// Over the bytes of [`statement::AuthChallenge`](crate::statement::AuthChallenge).
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::Signature))]
    pub signature: [u8; 64],
}

/// What `POST /api/identity/link` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkResponse {
    /// The account's identity from now on.
    pub fingerprint: Fingerprint,
}

/// `PUT /api/keys/encryption`, and what it answers. Where there is an identity, its key signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EncryptionKeyBody {
    /// The X25519 key to encrypt to.
    #[serde(with = "binary::array")]
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::PublicKey))]
    pub encryption_key: [u8; 32],
    /// When the identity signed, in Unix milliseconds.
    #[serde(default, deserialize_with = "whole::optional", skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// The identity's, over [`statement::EncryptionKeyStatement`](crate::statement::EncryptionKeyStatement).
    #[serde(with = "binary::array::option", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>))]
    pub signature: Option<[u8; 64]>,
}

/// What `GET /api/users/{user}/keys` answers. It is the server's word until the signatures are verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserKeys {
    /// The user.
    pub user_id: UserId,
    /// Its identity; null for an account without one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub fingerprint: Option<Fingerprint>,
    /// The key that proves the identity now.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::PublicKey>, required))]
    pub active_key: Option<[u8; 32]>,
    /// The X25519 key to encrypt to.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::PublicKey>, required))]
    pub encryption_key: Option<[u8; 32]>,
    /// When the identity signed the encryption key, in Unix milliseconds.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub created_at_ms: Option<u64>,
    /// The identity's, over the encryption key.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>, required))]
    pub signature: Option<[u8; 64]>,
    /// Its registered devices.
    pub devices: Vec<DeviceKey>,
}

/// A device as others see it. Without a signature by the active key it is unverified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceKey {
    /// Its id.
    pub device_id: DeviceId,
    /// Its own key; null where the identity's key proves it.
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::PublicKey>, required))]
    pub pubkey: Option<[u8; 32]>,
    /// When the identity signed, in Unix milliseconds.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub created_at_ms: Option<u64>,
    /// The identity's, over [`statement::DeviceStatement`](crate::statement::DeviceStatement).
    #[serde(with = "binary::array::option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<openapi::Signature>, required))]
    pub signature: Option<[u8; 64]>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ErrorCode;

    fn rotation() -> ChainStatement {
        ChainStatement::Rotation {
            request: RotateRequest {
                sequence: 1,
                previous_hash: Hash([1; 32]),
                old_key: [2; 32],
                new_key: [3; 32],
                reason: "scheduled".to_owned(),
                created_at_ms: 4,
                signature_old: [5; 64],
                signature_new: [6; 64],
            },
            hash: Hash([7; 32]),
            accepted_at_ms: 8,
            status: StatementStatus::Provisional,
        }
    }

    #[test]
    fn a_statement_is_one_flat_object() {
        let value = serde_json::to_value(rotation()).unwrap();
        let expected = json!({
            "kind": "rotation",
            "sequence": 1,
            "previous_hash": "01".repeat(32),
            "old_key": binary::encode(&[2; 32]),
            "new_key": binary::encode(&[3; 32]),
            "reason": "scheduled",
            "created_at_ms": 4,
            "signature_old": binary::encode(&[5; 64]),
            "signature_new": binary::encode(&[6; 64]),
            "hash": "07".repeat(32),
            "accepted_at_ms": 8,
            "status": "provisional",
        });
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_str::<ChainStatement>(&value.to_string()).unwrap(), rotation());
    }

    #[test]
    fn a_conflict_is_a_problem_with_the_head() {
        let conflict = ChainConflict {
            problem: Problem {
                status: 409,
                title: "Conflict".to_owned(),
                detail: "the chain has moved on".to_owned(),
                code: ErrorCode::ChainConflict,
            },
            head: ChainHead { sequence: 1, hash: Hash([7; 32]) },
        };
        let value: Value = serde_json::to_value(&conflict).unwrap();
        assert_eq!(value["code"], "chain_conflict");
        assert_eq!(value["head"], json!({"sequence": 1, "hash": "07".repeat(32)}));
        assert_eq!(serde_json::from_value::<ChainConflict>(value).unwrap(), conflict);
    }

    #[test]
    fn what_an_account_lacks_is_null() {
        let keys = UserKeys {
            user_id: UserId::new(uuid::Uuid::from_u128(1)),
            fingerprint: None,
            active_key: None,
            encryption_key: None,
            created_at_ms: None,
            signature: None,
            devices: Vec::new(),
        };
        let value = serde_json::to_value(&keys).unwrap();
        assert_eq!(value["fingerprint"], Value::Null);
        assert_eq!(value["active_key"], Value::Null);
        assert_eq!(serde_json::from_value::<UserKeys>(value).unwrap(), keys);
    }
}
