//! The device that a program is.

use std::{fmt, sync::Arc};

use aldis_auth::SecretKey;
use aldis_protocol::{DeviceId, binary};
use rand::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zeroize::{Zeroize, Zeroizing};

/// A device's id together with the device's own key, which proves it without a password, a TOTP code or the identity's
/// key. A first sign-in makes one; it goes where only its owner can read.
///
/// It is written (`serde`) as an object with the key in the clear. It prints without the key.
#[derive(Clone)]
pub struct OwnDevice {
    id: DeviceId,
    key: Arc<SecretKey>,
}

impl OwnDevice {
    /// Makes a device that no server knows yet, with a random id and key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let id = DeviceId::from_uuid(uuid::Builder::from_random_bytes(id).into_uuid());
        Self::new(id, SecretKey::generate(rng))
    }

    /// Takes a device that was kept.
    #[must_use]
    pub fn new(id: DeviceId, key: SecretKey) -> Self {
        Self { id, key: Arc::new(key) }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }
}

impl fmt::Debug for OwnDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnDevice({})", self.id)
    }
}

/// How it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    device_id: DeviceId,
    secret_key: String,
}

impl Serialize for OwnDevice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let secret_key = binary::encode(self.key.to_bytes().as_slice());
        let mut written = Written { device_id: self.id.clone(), secret_key };
        let outcome = written.serialize(serializer);
        written.secret_key.zeroize();
        outcome
    }
}

impl<'de> Deserialize<'de> for OwnDevice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { device_id, secret_key } = Written::deserialize(deserializer)?;
        let secret_key = Zeroizing::new(secret_key);
        let bytes = binary::decode_array(&secret_key).map(Zeroizing::new).map_err(D::Error::custom)?;
        Ok(Self::new(device_id, SecretKey::from_bytes(&bytes)))
    }
}
