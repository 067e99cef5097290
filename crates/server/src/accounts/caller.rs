//! The user behind an HTTP request.

use aldis_protocol::{DeviceId, UserId};
use uuid::Uuid;

use crate::{
    clock::Now,
    refusal::{Refusal, STEP_UP_REQUIRED},
    store::Credential,
};

/// How long a login counts as recent, in seconds.
const STEP_UP_SECONDS: u64 = 5 * 60;

/// A user who calls over HTTP with a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    /// The sign-in that the token descends from.
    pub(crate) family: Uuid,
    /// When the user last proved who they are, by a password or an identity's key, in Unix seconds.
    pub(crate) auth_time: u64,
    /// The device that the token is bound to.
    pub(crate) device: Option<DeviceId>,
}

impl Caller {
    /// The credential with which the store checks the caller's changes.
    pub(crate) fn credential(&self) -> Credential {
        Credential::token(self.user, self.family, self.device.clone())
    }

    /// The same credential, if the caller signed in recently. Whatever could turn a stolen token into a lasting credential
    /// requires it.
    pub(super) fn step_up(&self, now: Now) -> Result<Credential, Refusal> {
        let since_login = (now.unix_ms / 1000).saturating_sub(self.auth_time);
        if since_login <= STEP_UP_SECONDS {
            Ok(Credential::recent_login(self.user, self.family, self.device.clone()))
        } else {
            Err(STEP_UP_REQUIRED)
        }
    }
}
