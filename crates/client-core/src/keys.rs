//! The keys of other users and which of them are verified (docs/security.md).

use aldis_auth::{Chain, EncryptionKey, Provisional, PublicKey};
use aldis_protocol::{
    DeviceId, Fingerprint, UserId, UserRef,
    api::{self, DeviceKey},
    statement::{DeviceStatement, EncryptionKeyStatement},
};

use crate::{IdentityError, Pins};

/// The keys of a user. All except [`unverified`](Self::unverified) are proved by the chain of their identity and by
/// signatures of its active key, and are no older than what was seen before.
///
/// If you ask by fingerprint, you need not trust the server at all. If you ask by user id, you trust the server that
/// this user has that fingerprint.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UserKeys {
    /// The user.
    pub user_id: UserId,
    /// Their identity. `None` if the account has none; then nothing is verified.
    pub fingerprint: Option<Fingerprint>,
    /// The identity's active key.
    pub active_key: Option<PublicKey>,
    /// Set while the rotation to the active key can still be cancelled. Wait for its end if you need certainty.
    pub provisional: Option<Provisional>,
    /// The key to encrypt to.
    pub encryption_key: Option<EncryptionKey>,
    /// Their devices.
    pub devices: Vec<VerifiedDevice>,
    /// What only the server claims. Do not encrypt to it; its signatures prove nothing.
    pub unverified: Unverified,
}

/// A device whose statement the user's identity has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedDevice {
    /// Its id.
    pub device_id: DeviceId,
    /// Its key, which signs the signals of this device.
    pub key: PublicKey,
    /// When the identity signed, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// What only the server claims: not signed by the identity's active key, or older than what was seen before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unverified {
    /// The encryption key that the server claims.
    pub encryption_key: Option<[u8; 32]>,
    /// Devices without a valid statement. A device without a key of its own is proved by the identity's key.
    pub devices: Vec<DeviceKey>,
}

impl UserKeys {
    /// Checks that an answer is about the user who was asked for; returns the identity whose chain verifies it.
    ///
    /// # Errors
    /// [`IdentityError::Contradiction`].
    pub fn identity_of(claimed: &api::UserKeys, user: UserRef) -> Result<Option<Fingerprint>, IdentityError> {
        let is_whom_was_asked_for = match user {
            UserRef::Id(user_id) => claimed.user_id == user_id,
            UserRef::Fingerprint(fingerprint) => claimed.fingerprint == Some(fingerprint),
        };
        if is_whom_was_asked_for { Ok(claimed.fingerprint) } else { Err(IdentityError::Contradiction) }
    }

    /// The keys of an account without an identity: only the server claims them.
    #[must_use]
    pub fn unverified(claimed: api::UserKeys) -> Self {
        unverified(claimed)
    }

    /// Separates the keys that the identity's verified chain proves from the others.
    #[must_use]
    pub fn verified(claimed: api::UserKeys, chain: &Chain, pins: &mut Pins, now_ms: u64) -> Self {
        verify(claimed, chain, pins, now_ms)
    }
}

/// An account without an identity: everything is only claimed by the server.
fn unverified(claimed: api::UserKeys) -> UserKeys {
    UserKeys {
        user_id: claimed.user_id,
        fingerprint: None,
        active_key: None,
        provisional: None,
        encryption_key: None,
        devices: Vec::new(),
        unverified: Unverified { encryption_key: claimed.encryption_key, devices: claimed.devices },
    }
}

/// The active key comes from the chain, not from the server's claim.
fn verify(claimed: api::UserKeys, chain: &Chain, pins: &mut Pins, now_ms: u64) -> UserKeys {
    let state = chain.state(now_ms);
    let mut judge = Judge { fingerprint: chain.fingerprint(), signer: state.active_key, pins };
    let encryption_key = judge.encryption_key(&claimed);
    let (mut devices, mut unverified) = (Vec::new(), Vec::new());
    for device in claimed.devices {
        match judge.device(&device) {
            Some(verified) => devices.push(verified),
            None => unverified.push(device),
        }
    }
    UserKeys {
        user_id: claimed.user_id,
        fingerprint: Some(chain.fingerprint()),
        active_key: Some(state.active_key),
        provisional: state.provisional,
        encryption_key,
        devices,
        unverified: Unverified {
            encryption_key: claimed.encryption_key.filter(|_| encryption_key.is_none()),
            devices: unverified,
        },
    }
}

/// Decides which statements are valid.
struct Judge<'a> {
    fingerprint: Fingerprint,
    signer: PublicKey,
    pins: &'a mut Pins,
}

impl Judge<'_> {
    fn encryption_key(&mut self, claimed: &api::UserKeys) -> Option<EncryptionKey> {
        let key = EncryptionKey::from_bytes(&claimed.encryption_key?).ok()?;
        let created_at_ms = claimed.created_at_ms?;
        let statement = EncryptionKeyStatement {
            fingerprint: self.fingerprint,
            encryption_key: key.as_bytes(),
            created_at_ms,
        };
        self.signer.verify(&statement.bytes(), &claimed.signature?).ok()?;
        self.is_news(None, created_at_ms).then_some(key)
    }

    fn device(&mut self, claimed: &DeviceKey) -> Option<VerifiedDevice> {
        let key = PublicKey::from_bytes(&claimed.pubkey?).ok()?;
        let (device_id, created_at_ms) = (&claimed.device_id, claimed.created_at_ms?);
        let statement = DeviceStatement {
            fingerprint: self.fingerprint,
            device_id,
            public_key: key.as_bytes(),
            created_at_ms,
        };
        self.signer.verify(&statement.bytes(), &claimed.signature?).ok()?;
        let verified = VerifiedDevice { device_id: device_id.clone(), key, created_at_ms };
        self.is_news(Some(device_id), created_at_ms).then_some(verified)
    }

    fn is_news(&mut self, device_id: Option<&DeviceId>, created_at_ms: u64) -> bool {
        self.pins.is_news(&self.fingerprint, &self.signer, device_id, created_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use aldis_auth::SecretKey;
    use uuid::Uuid;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn chain() -> Chain {
        Chain::begin(key(1).public_key(), NOW)
    }

    fn pins() -> Pins {
        let mut pins = Pins::default();
        pins.see(&chain(), NOW).unwrap();
        pins
    }

    fn device(signer: &SecretKey, created_at_ms: u64) -> DeviceKey {
        let device_id: DeviceId = "desk".parse().unwrap();
        let public_key = key(5).public_key();
        let statement = DeviceStatement {
            fingerprint: chain().fingerprint(),
            device_id: &device_id,
            public_key: public_key.as_bytes(),
            created_at_ms,
        };
        let signature = Some(signer.sign_device(&statement));
        let pubkey = Some(*public_key.as_bytes());
        DeviceKey { device_id, pubkey, created_at_ms: Some(created_at_ms), signature }
    }

    fn claimed(signer: &SecretKey, created_at_ms: u64, devices: Vec<DeviceKey>) -> api::UserKeys {
        let statement = EncryptionKeyStatement {
            fingerprint: chain().fingerprint(),
            encryption_key: &[9; 32],
            created_at_ms,
        };
        api::UserKeys {
            user_id: UserId::new(Uuid::nil()),
            fingerprint: Some(chain().fingerprint()),
            active_key: Some(*signer.public_key().as_bytes()),
            encryption_key: Some([9; 32]),
            created_at_ms: Some(created_at_ms),
            signature: Some(signer.sign_encryption_key(&statement)),
            devices,
        }
    }

    #[test]
    fn what_the_identity_signed_counts() {
        let keys = verify(claimed(&key(1), 1, vec![device(&key(1), 1)]), &chain(), &mut pins(), NOW);
        assert_eq!(keys.active_key, Some(key(1).public_key()));
        assert_eq!(keys.encryption_key, EncryptionKey::from_bytes(&[9; 32]).ok());
        assert_eq!(keys.devices[0].key, key(5).public_key());
        assert_eq!(keys.unverified, Unverified::default());
    }

    #[test]
    fn what_the_server_signed_itself_does_not() {
        let keys = verify(claimed(&key(2), 1, vec![device(&key(2), 1)]), &chain(), &mut pins(), NOW);
        assert_eq!(keys.active_key, Some(key(1).public_key()), "the chain says");
        assert_eq!((keys.encryption_key, keys.devices), (None, Vec::new()));
        assert_eq!(keys.unverified.encryption_key, Some([9; 32]));
        assert_eq!(keys.unverified.devices.len(), 1);
    }

    #[test]
    fn what_is_not_signed_at_all_does_not() {
        let unsigned = DeviceKey { signature: None, created_at_ms: None, ..device(&key(1), 1) };
        let without_key = DeviceKey { pubkey: None, ..device(&key(1), 1) };
        let claimed = api::UserKeys { signature: None, ..claimed(&key(1), 1, vec![unsigned, without_key]) };
        let keys = verify(claimed, &chain(), &mut pins(), NOW);
        assert_eq!((keys.encryption_key, keys.devices.len()), (None, 0));
        assert_eq!(keys.unverified.devices.len(), 2);
    }

    #[test]
    fn an_older_statement_than_one_seen_is_refused() {
        let mut pins = pins();
        verify(claimed(&key(1), 10, vec![device(&key(1), 10)]), &chain(), &mut pins, NOW);
        let keys = verify(claimed(&key(1), 9, vec![device(&key(1), 9)]), &chain(), &mut pins, NOW);
        assert_eq!((keys.encryption_key, keys.devices.len()), (None, 0));
        let keys = verify(claimed(&key(1), 11, vec![device(&key(1), 10)]), &chain(), &mut pins, NOW);
        assert!(keys.encryption_key.is_some() && keys.devices.len() == 1);
    }

    #[test]
    fn a_low_order_key_is_none() {
        let claimed = api::UserKeys { encryption_key: Some([0; 32]), ..claimed(&key(1), 1, Vec::new()) };
        assert_eq!(verify(claimed, &chain(), &mut pins(), NOW).encryption_key, None);
    }
}
