//! Close codes, and what a client does about each (docs/protocol/codes.md).

use crate::ErrorCode;

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Why a connection was closed. 41xx: reconnect; 42xx: new credentials first; 43xx: never by itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $variant,)*
        }

        impl CloseCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub const fn as_u16(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The code of this number.
            #[must_use]
            pub const fn from_u16(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

close_codes! {
    /// The connection ended normally.
    Normal = 1000,
    /// One side goes away: a page is closed, a program ends.
    GoingAway = 1001,
    /// A breach of RFC 6455.
    ProtocolError = 1002,
    /// A text frame where the codec is protobuf, or a binary one where it is JSON.
    UnsupportedFrame = 1003,
    /// A text frame that is not UTF-8.
    InvalidUtf8 = 1007,
    /// Authentication on the chat door; the reason says which.
    PolicyViolation = 1008,
    /// A message over the limit.
    TooLarge = 1009,
    /// A fault of the server.
    InternalError = 1011,
    /// The server restarts.
    Restart = 1012,
    /// The server has too much to do.
    Overloaded = 1013,
    /// No token, or no proof in time.
    TokenMissing = 4001,
    /// An invalid token or proof.
    TokenInvalid = 4002,
    /// An expired token or challenge.
    TokenExpired = 4003,
    /// No pong arrived in time.
    HeartbeatMissed = 4100,
    /// The client reads too slowly.
    SlowConsumer = 4101,
    /// Too much in too short a time.
    RateLimited = 4103,
    /// Ten malformed messages in a row.
    TooManyErrors = 4104,
    /// The token expired and no new one came.
    SessionExpired = 4200,
    /// The identity's key changed.
    KeyChanged = 4201,
    /// A newer connection of the same device took over.
    Replaced = 4300,
    /// The session was revoked.
    SessionRevoked = 4301,
    /// The account is disabled.
    AccountDisabled = 4302,
    /// The device is unknown, or was removed.
    DeviceUnknown = 4303,
    /// The user has too many connections.
    TooManyConnections = 4304,
}

/// What a client does after a close.
// Exhaustive on purpose: a client decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Reconnect.
    Reconnect,
    /// Get new credentials, then reconnect. A client that proves itself by key reconnects with backoff.
    NewCredentials,
    /// Get new credentials, then reconnect, once. If the new credentials are refused too, stop.
    NewCredentialsOnce,
    /// Drop the message that was sent last, because it would be refused again, then reconnect.
    DropMessageAndReconnect,
    /// Do not reconnect. Tell the application.
    Stop,
}

/// The close reasons that the chat door and re-authentication put in words.
pub mod reason {
    /// On the chat door: the first message was something else.
    pub const FIRST_MESSAGE_MUST_BE_AUTH: &str = "First message must be auth";
    /// On the chat door: `auth` without a token.
    pub const MISSING_AUTH_TOKEN: &str = "Missing auth token";
    /// On the chat door: a bad token; on a live session: another user's.
    pub const INVALID_TOKEN: &str = "Invalid token";
    /// On the chat door: nothing came in time.
    pub const AUTHENTICATION_TIMEOUT: &str = "Authentication timeout";
    /// On a live session: no new token came in time.
    pub const REAUTHENTICATION_TIMEOUT: &str = "Re-authentication timeout";
}

impl CloseCode {
    /// What a client does after this close. `reason` decides for [`CloseCode::PolicyViolation`] alone.
    #[must_use]
    pub fn advice(self, reason: &str) -> Advice {
        match self {
            Self::Normal
            | Self::GoingAway
            | Self::Restart
            | Self::Overloaded
            | Self::InternalError
            | Self::HeartbeatMissed
            | Self::SlowConsumer
            | Self::RateLimited
            | Self::TooManyErrors => Advice::Reconnect,
            Self::TooLarge => Advice::DropMessageAndReconnect,
            Self::PolicyViolation => match reason {
                reason::AUTHENTICATION_TIMEOUT => Advice::Reconnect,
                reason::REAUTHENTICATION_TIMEOUT | reason::INVALID_TOKEN => Advice::NewCredentialsOnce,
                _ => Advice::Stop,
            },
            Self::TokenInvalid => Advice::NewCredentialsOnce,
            Self::TokenExpired | Self::SessionExpired | Self::KeyChanged => Advice::NewCredentials,
            Self::ProtocolError
            | Self::UnsupportedFrame
            | Self::InvalidUtf8
            | Self::TokenMissing
            | Self::Replaced
            | Self::SessionRevoked
            | Self::AccountDisabled
            | Self::DeviceUnknown
            | Self::TooManyConnections => Advice::Stop,
        }
    }

    /// What a client does after a close with any code. The range of an unknown code decides.
    ///
    /// ```
    /// use aldis_protocol::{Advice, CloseCode};
    /// assert_eq!(CloseCode::advice_for(4300, ""), Advice::Stop);
    /// assert_eq!(CloseCode::advice_for(4199, ""), Advice::Reconnect);
    /// ```
    #[must_use]
    pub fn advice_for(code: u16, reason: &str) -> Advice {
        match (Self::from_u16(code), code) {
            (Some(known), _) => known.advice(reason),
            (None, 4200..=4299) => Advice::NewCredentials,
            (None, 4300..=4399) => Advice::Stop,
            (None, _) => Advice::Reconnect,
        }
    }

    /// Whether the session can be resumed after the server closed with this code (docs/protocol/resume.md).
    #[must_use]
    pub fn keeps_session(self, reason: &str) -> bool {
        matches!(self, Self::HeartbeatMissed | Self::RateLimited | Self::TooManyErrors | Self::SessionExpired)
            || (self == Self::PolicyViolation && reason == reason::REAUTHENTICATION_TIMEOUT)
    }

    /// The code of the `error` that names this close (docs/protocol/codes.md).
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::HeartbeatMissed | Self::SlowConsumer | Self::TooManyConnections | Self::Overloaded => {
                ErrorCode::Overloaded
            }
            Self::RateLimited => ErrorCode::RateLimited,
            Self::TokenMissing => ErrorCode::MissingToken,
            Self::TokenInvalid | Self::PolicyViolation => ErrorCode::InvalidToken,
            Self::TokenExpired | Self::SessionExpired => ErrorCode::ExpiredToken,
            Self::KeyChanged | Self::SessionRevoked => ErrorCode::Revoked,
            Self::Replaced => ErrorCode::Conflict,
            Self::AccountDisabled => ErrorCode::Forbidden,
            Self::DeviceUnknown => ErrorCode::UnknownDevice,
            Self::Normal | Self::GoingAway | Self::Restart => ErrorCode::Draining,
            Self::InternalError => ErrorCode::Internal,
            Self::TooLarge => ErrorCode::TooLarge,
            Self::ProtocolError | Self::UnsupportedFrame | Self::InvalidUtf8 | Self::TooManyErrors => {
                ErrorCode::BadRequest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_leads_back_to_its_code() {
        for &code in CloseCode::ALL {
            assert_eq!(CloseCode::from_u16(code.as_u16()), Some(code));
        }
        assert_eq!(CloseCode::from_u16(1006), None);
    }

    #[test]
    fn the_range_of_a_known_code_never_contradicts_it() {
        for &code in CloseCode::ALL {
            let allowed: &[Advice] = match code.as_u16() {
                4100..=4199 => &[Advice::Reconnect],
                4200..=4299 => &[Advice::NewCredentials],
                4300..=4399 => &[Advice::Stop],
                _ => continue,
            };
            assert!(allowed.contains(&code.advice("")), "{code:?}");
        }
    }

    #[test]
    fn the_chat_door_is_judged_by_its_reason() {
        let advice = |reason| CloseCode::PolicyViolation.advice(reason);
        assert_eq!(advice("Authentication timeout"), Advice::Reconnect);
        assert_eq!(advice("Re-authentication timeout"), Advice::NewCredentialsOnce);
        assert_eq!(advice("Invalid token"), Advice::NewCredentialsOnce);
        assert_eq!(advice("First message must be auth"), Advice::Stop);
    }
}
