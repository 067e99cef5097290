//! What can go wrong: an enum per operation, each with what to do about it.

use std::{io, time::Duration};

use aldis_auth::ChallengeRefused;
use aldis_protocol::{ErrorCode, PendingRotation};

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection at the moment and no session to resume; nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// There is no connection at the moment, and 128 requests wait for it already; nothing was sent.
    #[error("not connected, and too many requests wait already")]
    QueueFull,
    /// The connection broke before the reply came, and the session could not be resumed. Whether the request was
    /// carried out is not known.
    #[error("the connection was lost before the reply came")]
    ConnectionLost,
    /// No reply came in time. The request may still be carried out.
    #[error("no reply came in time")]
    TimedOut,
    /// The client has stopped, and says no more.
    #[error("the client has stopped")]
    Stopped,
    /// The message is over 64 KiB, or was refused by the server as too large.
    #[error("the message is too large")]
    TooLarge,
    /// A request with this id is waiting for its reply.
    #[error("a request with this id is waiting for its reply")]
    IdInUse,
    /// `auth`, `auth_response` and `received` are sent by the client itself, and so is `sync` where it keeps the mailbox.
    #[error("this message is the client's own to send")]
    Reserved,
    /// The server answered with something else than what was asked for.
    #[error("the server's reply was not understood")]
    UnexpectedReply,
    /// The server refused.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Refusal),
}

/// What the server said against a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl RequestError {
    /// Whether the same request may succeed later, without anything done about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected | Self::QueueFull | Self::ConnectionLost | Self::TimedOut => true,
            Self::Refused(refusal) => refusal.retry_after.is_some() || is_temporary(refusal.code),
            Self::Stopped | Self::TooLarge | Self::IdInUse | Self::Reserved | Self::UnexpectedReply => false,
        }
    }
}

/// Whether a refusal with this code passes by itself.
#[must_use]
pub fn is_temporary(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TargetUnavailable
            | ErrorCode::RateLimited
            | ErrorCode::MailboxFull
            | ErrorCode::Internal
            | ErrorCode::Overloaded
            | ErrorCode::Draining
            | ErrorCode::Unavailable
    )
}

/// Why an attempt failed, or a connection ended: one variant for each phase that it can end in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The token provider had none.
    #[error("no token: {0}")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The dial failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server's challenge is not one to sign.
    #[error(transparent)]
    Challenge(#[from] ChallengeRefused),
    /// The key did not sign the server's challenge.
    #[error("no signature: {0}")]
    Signature(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server refused the proof.
    #[error("{code}: {message}")]
    Refused {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: String,
        /// With [`ErrorCode::Revoked`]: the rotation that replaced the key and can still be cancelled.
        rotation: Option<PendingRotation>,
    },
    /// The server did not finish the handshake in time.
    #[error("the server did not finish the handshake in time")]
    HandshakeTimedOut,
    /// The server closed the connection.
    #[error("closed with {code} {reason}")]
    Closed {
        /// The close code; [`aldis_protocol::CloseCode`] names the known ones.
        code: u16,
        /// The close reason, for people.
        reason: String,
        /// The code of the `error` that came before the close.
        error: Option<ErrorCode>,
    },
    /// The socket broke without a close frame.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came from the server for too long.
    #[error("the server fell silent")]
    Silent,
    /// The application reported that the network has changed.
    #[error("the network has changed")]
    NetworkChanged,
    /// The application connects as somebody else from now on.
    #[error("connecting with other credentials")]
    CredentialsChanged,
    /// The application stopped the client.
    #[error("stopped by the application")]
    Stopped,
}

impl ConnectionError {
    /// Whether a new token or another key is what it takes.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        match self {
            Self::Token(_) => true,
            Self::Refused { code, .. } | Self::Closed { error: Some(code), .. } => {
                is_about_credentials(*code)
            }
            Self::Dial(_)
            | Self::Challenge(_)
            | Self::Signature(_)
            | Self::HandshakeTimedOut
            | Self::Closed { error: None, .. }
            | Self::Broken(_)
            | Self::Silent
            | Self::NetworkChanged
            | Self::CredentialsChanged
            | Self::Stopped => false,
        }
    }
}

fn is_about_credentials(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MissingToken
            | ErrorCode::InvalidToken
            | ErrorCode::ExpiredToken
            | ErrorCode::Unauthenticated
            | ErrorCode::InvalidCredentials
            | ErrorCode::InvalidSignature
            | ErrorCode::InvalidKey
            | ErrorCode::TotpRequired
            | ErrorCode::InvalidTotp
            | ErrorCode::Revoked
            | ErrorCode::RegistrationClosed
    )
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host's name leads to no address.
    #[error("the host has no address: {0}")]
    Resolve(#[source] io::Error),
    /// None of the host's addresses answered; the last one's error.
    #[error("the server cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The proxy did not open a tunnel to the server: it wants user and password (407), or forbids it.
    #[error("the proxy refused{}", .status.map(|status| format!(" with HTTP status {status}")).unwrap_or_default())]
    Proxy {
        /// The status of its answer; none where that is no HTTP.
        status: Option<u16>,
    },
    /// The environment names a proxy that cannot be used: only HTTP proxies can.
    #[error("the environment names a proxy that is no HTTP proxy")]
    InvalidProxy,
    /// TLS failed: a certificate that is not trusted, most often.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// It took longer than the connect timeout.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server answered with an HTTP status instead of the upgrade.
    #[error("the server answered with HTTP status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// What `Retry-After` said, in seconds.
        retry_after: Option<Duration>,
    },
    /// The server does not speak the protocol.
    #[error("no WebSocket of this protocol: {0}")]
    Upgrade(String),
}

impl DialError {
    /// Whether trying again may help. An HTTP refusal that blames the request (4xx) stays, but for 408, 425 and 429, and
    /// so does a proxy that wants other credentials.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Resolve(_) | Self::Connect(_) | Self::Tls(_) | Self::TimedOut | Self::Upgrade(_) => true,
            Self::Proxy { status } => *status != Some(407),
            Self::InvalidProxy => false,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
        }
    }

    /// How long the server asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::Proxy { .. }
            | Self::InvalidProxy
            | Self::Tls(_)
            | Self::TimedOut
            | Self::Upgrade(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_refusal_that_blames_the_request_stays() {
        let refused = |status| DialError::Refused { status, retry_after: None }.is_retryable();
        for status in [301, 400, 403, 404, 421, 426] {
            assert!(!refused(status), "{status}");
        }
        for status in [429, 500, 502, 503] {
            assert!(refused(status), "{status}");
        }
    }

    #[test]
    fn what_the_server_says_decides_whether_to_ask_again() {
        let refused = |code| {
            RequestError::Refused(Refusal { code, message: String::new(), retry_after: None }).is_retryable()
        };
        assert!(refused(ErrorCode::TargetUnavailable));
        assert!(!refused(ErrorCode::BadRequest));
        assert!(RequestError::ConnectionLost.is_retryable());
        assert!(!RequestError::Stopped.is_retryable());
    }
}
