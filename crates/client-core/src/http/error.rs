//! Why a call has no answer.

use std::{fmt, sync::Arc, time::Duration};

use aldis_protocol::{ErrorCode, PendingRotation, api::ChainHead};

use crate::{DialError, is_temporary};

/// Why a call over HTTP came to nothing. Nothing is tried again by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no connection; nothing was sent.
    #[error(transparent)]
    Dial(Arc<DialError>),
    /// No answer came within the call timeout. The call may still be carried out.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The connection broke before the answer came. Whether the call was carried out is not known.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is larger than any that the server should give; it was not read.
    #[error("the server's answer is over {limit} bytes")]
    AnswerTooLarge {
        /// What would have been read.
        limit: usize,
    },
    /// The answer is not what the API says.
    #[error("the server's answer was not understood: {0}")]
    NotUnderstood(String),
    /// What was given cannot be sent: a token with a line break, for one.
    #[error("the request cannot be written: {0}")]
    Unwritable(String),
    /// The server refused.
    #[error(transparent)]
    Refused(Box<HttpRefusal>),
}

/// What the server said against a call (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRefusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, for programs; none where something else than an Aldis server answered, or one that knows more codes.
    pub code: Option<ErrorCode>,
    /// What to do about it, for people.
    pub detail: String,
    /// When to try again, as `Retry-After` says. The client waits for nobody by itself.
    pub retry_after: Option<Duration>,
    /// With [`ErrorCode::Revoked`]: the rotation that replaced the key and can still be cancelled.
    pub rotation: Option<PendingRotation>,
    /// With [`ErrorCode::ChainConflict`]: what the next statement has to name.
    pub head: Option<ChainHead>,
}

impl CallError {
    /// The server's word for it, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.refusal().and_then(|refusal| refusal.code)
    }

    /// What the server said, if it was the server that refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&HttpRefusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }

    /// Whether the same call may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_retryable(),
            Self::TimedOut | Self::Broken(_) => true,
            Self::AnswerTooLarge { .. } | Self::NotUnderstood(_) | Self::Unwritable(_) => false,
            Self::Refused(refusal) => refusal.passes(),
        }
    }

    /// Whether the server refused the token of the call, so that another token may do.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::ExpiredToken | ErrorCode::InvalidToken))
    }

    /// Whether it takes signing in again, or with something else.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_about_credentials(),
            Self::Dial(_)
            | Self::TimedOut
            | Self::Broken(_)
            | Self::AnswerTooLarge { .. }
            | Self::NotUnderstood(_)
            | Self::Unwritable(_) => false,
        }
    }
}

impl From<DialError> for CallError {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

impl HttpRefusal {
    fn passes(&self) -> bool {
        self.retry_after.is_some()
            || self.code.is_some_and(is_temporary)
            || matches!(self.status, 408 | 425 | 429 | 500..=599)
    }

    fn is_about_credentials(&self) -> bool {
        self.status == 401
            || matches!(self.code, Some(ErrorCode::StepUpRequired | ErrorCode::RegistrationClosed))
    }
}

impl fmt::Display for HttpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code}: {}", self.detail),
            None => write!(f, "the server answered with HTTP status {}", self.status),
        }
    }
}

impl std::error::Error for HttpRefusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<ErrorCode>) -> CallError {
        CallError::Refused(Box::new(HttpRefusal {
            status,
            code,
            detail: "do something".to_owned(),
            retry_after: None,
            rotation: None,
            head: None,
        }))
    }

    fn by(code: ErrorCode) -> CallError {
        refused(code.http_status(), Some(code))
    }

    #[test]
    fn the_servers_word_decides_what_to_do() {
        for (code, retryable, credentials) in [
            (ErrorCode::RateLimited, true, false),
            (ErrorCode::Unavailable, true, false),
            (ErrorCode::TotpRequired, false, true),
            (ErrorCode::Revoked, false, true),
            (ErrorCode::StepUpRequired, false, true),
            (ErrorCode::Forbidden, false, false),
            (ErrorCode::ChainConflict, false, false),
        ] {
            assert_eq!(
                (by(code).is_retryable(), by(code).needs_credentials()),
                (retryable, credentials),
                "{code}"
            );
        }
    }

    #[test]
    fn a_proxys_refusal_is_known_by_its_status() {
        assert!(refused(502, None).is_retryable());
        assert!(!refused(404, None).is_retryable());
        assert_eq!(refused(502, None).to_string(), "the server answered with HTTP status 502");
        assert_eq!(by(ErrorCode::Forbidden).to_string(), "forbidden: do something");
    }

    #[test]
    fn what_may_have_been_carried_out_may_be_tried_again() {
        assert!(CallError::TimedOut.is_retryable());
        assert!(CallError::from(DialError::TimedOut).is_retryable());
        assert!(!CallError::AnswerTooLarge { limit: 1 }.is_retryable());
    }
}
