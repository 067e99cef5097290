//! What an application keeps of an account between two runs.

use std::{error::Error, sync::Arc};

use aldis_protocol::{Fingerprint, Secret, UserId};
use serde::{Deserialize, Serialize};

use crate::{BoxError, OwnDevice};

/// All that it takes to go on with an account later.
///
/// It is written (`serde`) with its secrets in the clear, so it goes where only its owner can read. It prints without
/// them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedAccount {
    /// Whose account it is.
    pub user_id: UserId,
    /// Its identity, where one is known.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// The device that the first sign-in made.
    #[serde(default)]
    pub device: Option<OwnDevice>,
    /// The refresh token. Each serves once: where an older one than the last is kept, using it revokes the sign-in.
    /// None after a sign-out.
    #[serde(default)]
    pub refresh_token: Option<Secret<'static>>,
}

/// The application's storage did not keep what it was handed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the account could not be kept: {0}")]
pub struct SaveError(#[source] Arc<dyn Error + Send + Sync>);

impl SaveError {
    /// The storage's error.
    #[must_use]
    pub fn new(error: BoxError) -> Self {
        Self(error.into())
    }
}

#[cfg(test)]
mod tests {
    use aldis_auth::SecretKey;
    use uuid::Uuid;

    use super::*;

    fn saved() -> SavedAccount {
        SavedAccount {
            user_id: UserId::new(Uuid::nil()),
            fingerprint: None,
            device: Some(OwnDevice::new("desk".parse().unwrap(), SecretKey::from_bytes(&[7; 32]))),
            refresh_token: Some("refresh".into()),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = serde_json::to_string(&saved()).unwrap();
        let read: SavedAccount = serde_json::from_str(&text).unwrap();
        assert_eq!(read.refresh_token, saved().refresh_token);
        let device = read.device.unwrap();
        assert_eq!(device.id().as_str(), "desk");
        assert_eq!(*device.key().to_bytes(), [7; 32]);
    }

    #[test]
    fn secrets_print_as_nothing() {
        let printed = format!("{:?}", saved());
        assert!(printed.contains("device: Some(OwnDevice(desk)), refresh_token: Some(Secret)"), "{printed}");
    }
}
