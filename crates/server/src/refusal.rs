//! Why a request is refused, as sockets and HTTP tell it.

use aldis_protocol::{ErrorCode, PendingRotation};

use crate::{
    calls::NotCompleted,
    clock::Now,
    rate::{Limit, Occasional, Wait},
    store::{StoreError, Unauthorized},
};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'static str,
    /// The rotation that the caller's key can still cancel.
    pub(crate) rotation: Option<PendingRotation>,
    /// When to try again, in seconds, if that is known.
    pub(crate) retry_after: Option<u64>,
    /// The limit that refused it, if `ALDIS_RATE_LIMITS` can lift it.
    pub(crate) limit: Option<Limit>,
}

pub(crate) const DISABLED: Refusal = Refusal::new(ErrorCode::Forbidden, "the account is disabled");
pub(crate) const ACCOUNT_DELETED: Refusal = Refusal::new(ErrorCode::Revoked, "the account was deleted");
pub(crate) const REVOKED: Refusal =
    Refusal::new(ErrorCode::Revoked, "the session was revoked; sign in again");
pub(crate) const STEP_UP_REQUIRED: Refusal =
    Refusal::new(ErrorCode::StepUpRequired, "this needs a login of the last five minutes; sign in again");
pub(crate) const FACTOR_REQUIRED: Refusal =
    Refusal::new(ErrorCode::TotpRequired, "this account has a second factor; add `totp_code`");
pub(crate) const PROVISIONAL: Refusal = Refusal::new(
    ErrorCode::Forbidden,
    "the identity's key was rotated less than 72 hours ago and can still be cancelled; this has to wait",
);

impl Refusal {
    /// A refusal with this code; `message` tells people what to do about it.
    pub(crate) const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, rotation: None, retry_after: None, limit: None }
    }

    /// The refusal of a limit for which there is no exact time to wait.
    pub(crate) const fn limited(limit: Limit, message: &'static str) -> Self {
        Self { retry_after: Some(1), limit: Some(limit), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// The refusal of a limit that says how long to wait.
    pub(crate) const fn rate_limited(limit: Limit, message: &'static str, wait: Wait) -> Self {
        Self {
            retry_after: Some(wait.seconds()),
            limit: Some(limit),
            ..Self::new(ErrorCode::RateLimited, message)
        }
    }
}

impl From<NotCompleted> for Refusal {
    fn from(error: NotCompleted) -> Self {
        match error {
            NotCompleted::Overloaded => {
                Self::new(ErrorCode::Overloaded, "too many calls are under way; try again")
            }
            NotCompleted::Panicked => Self::new(ErrorCode::Internal, "the server failed"),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unauthorized(unauthorized) = error {
            return unauthorized.into();
        }
        if matches!(error, StoreError::Overloaded) {
            return Self {
                retry_after: Some(1),
                ..Self::new(ErrorCode::Unavailable, "too much waits for the database; try again")
            };
        }
        static FAILED: Occasional = Occasional::new();
        if let Some(left_out) = FAILED.pass(Now::tick()) {
            tracing::warn!(error = error.with_causes(), left_out, "the store failed");
        }
        if error.is_retryable() {
            Self::new(ErrorCode::Unavailable, "the database is away; try again")
        } else {
            Self::new(ErrorCode::Internal, "the server failed")
        }
    }
}

impl From<Unauthorized> for Refusal {
    fn from(unauthorized: Unauthorized) -> Self {
        match unauthorized {
            Unauthorized::NoAccount => ACCOUNT_DELETED,
            Unauthorized::Disabled => DISABLED,
            Unauthorized::Revoked => REVOKED,
            Unauthorized::StepUpRequired => STEP_UP_REQUIRED,
            Unauthorized::FactorRequired => FACTOR_REQUIRED,
            Unauthorized::Provisional => PROVISIONAL,
        }
    }
}
