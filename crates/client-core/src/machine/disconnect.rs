//! Whether to reconnect after a connection has ended, and how.

use std::time::Duration;

use aldis_protocol::{Advice, CloseCode, ErrorCode};

use crate::TokenReason;

/// What is known about why a connection ended.
#[derive(Debug, Default)]
pub(super) struct Disconnect {
    /// The close frame: code and reason.
    pub(super) close: Option<(u16, String)>,
    /// The `error` that named the close before it came.
    pub(super) error: Option<ClosingError>,
    /// The `auth_failure` that came during the handshake.
    pub(super) refusal: Option<ErrorCode>,
}

/// An `error` that names a close.
#[derive(Debug, Clone)]
pub(super) struct ClosingError {
    pub(super) code: ErrorCode,
    pub(super) close: u16,
    pub(super) reconnect: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Reconnect,
    /// A new token first.
    NewToken(TokenReason),
    /// A new token first; stop if the last attempt was already made with a new one.
    NewTokenOnce(TokenReason),
    /// Without the largest request, which the server found too large.
    DropLargest,
    Stop,
}

/// Decides by the `error` before the close, else by the code, else by its range (docs/protocol/codes.md).
pub(super) fn decide_reconnect(disconnect: &Disconnect, by_key: bool) -> Decision {
    let Some((code, reason)) = disconnect.code() else { return Decision::Reconnect };
    if by_key && disconnect.refusal.is_some_and(is_final_for_keys) {
        return Decision::Stop;
    }
    let decision = match CloseCode::advice_for(code, reason) {
        // Missing proof is a bug of a client with a token; one with a key may just have been too slow.
        Advice::Stop if by_key && code == CloseCode::TokenMissing.as_u16() => Decision::Reconnect,
        Advice::NewCredentials | Advice::NewCredentialsOnce if by_key => Decision::Reconnect,
        Advice::NewCredentials => Decision::NewToken(TokenReason::Expired),
        Advice::NewCredentialsOnce => Decision::NewTokenOnce(TokenReason::Invalid),
        Advice::Reconnect => Decision::Reconnect,
        Advice::DropMessageAndReconnect => Decision::DropLargest,
        Advice::Stop => Decision::Stop,
    };
    match (disconnect.error.as_ref().and_then(|error| error.reconnect), decision) {
        (Some(false), _) => Decision::Stop,
        (Some(true), Decision::Stop) => Decision::Reconnect,
        (Some(true) | None, decision) => decision,
    }
}

impl Disconnect {
    /// Whether the server keeps the session for a resume: after a break, and after some closes.
    pub(super) fn keeps_session(&self) -> bool {
        self.code().is_none_or(|(code, reason)| {
            CloseCode::from_u16(code).is_some_and(|known| known.keeps_session(reason))
        })
    }

    /// The close code, from the frame or, where the socket broke before it, from what announced it.
    fn code(&self) -> Option<(u16, &str)> {
        let announced = || self.error.as_ref().map(|error| (error.close, ""));
        let refused = || self.refusal.map(|code| (close_after(code).as_u16(), ""));
        self.close.as_ref().map(|(code, reason)| (*code, reason.as_str())).or_else(announced).or_else(refused)
    }
}

fn is_final_for_keys(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Revoked | ErrorCode::RegistrationClosed | ErrorCode::TotpRequired | ErrorCode::InvalidTotp
    )
}

/// The close that follows an `auth_failure` (docs/protocol/doors.md).
fn close_after(code: ErrorCode) -> CloseCode {
    const SPECIAL: [CloseCode; 4] = [
        CloseCode::TokenMissing,
        CloseCode::TokenExpired,
        CloseCode::DeviceUnknown,
        CloseCode::TooManyConnections,
    ];
    SPECIAL.into_iter().find(|close| close.error_code() == code).unwrap_or(CloseCode::TokenInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> Disconnect {
        Disconnect { close: Some((code, String::new())), ..Disconnect::default() }
    }

    fn refused(refusal: ErrorCode, code: u16) -> Disconnect {
        Disconnect { refusal: Some(refusal), ..closed(code) }
    }

    #[test]
    fn a_client_with_a_token_follows_the_table() {
        for (code, decision) in [
            (1000, Decision::Reconnect),
            (1001, Decision::Reconnect),
            (1002, Decision::Stop),
            (1003, Decision::Stop),
            (1007, Decision::Stop),
            (1009, Decision::DropLargest),
            (1011, Decision::Reconnect),
            (1012, Decision::Reconnect),
            (1013, Decision::Reconnect),
            (4001, Decision::Stop),
            (4002, Decision::NewTokenOnce(TokenReason::Invalid)),
            (4003, Decision::NewToken(TokenReason::Expired)),
            (4100, Decision::Reconnect),
            (4101, Decision::Reconnect),
            (4103, Decision::Reconnect),
            (4104, Decision::Reconnect),
            (4200, Decision::NewToken(TokenReason::Expired)),
            (4201, Decision::NewToken(TokenReason::Expired)),
            (4300, Decision::Stop),
            (4301, Decision::Stop),
            (4302, Decision::Stop),
            (4303, Decision::Stop),
            (4304, Decision::Stop),
            (4142, Decision::Reconnect),
            (4242, Decision::NewToken(TokenReason::Expired)),
            (4342, Decision::Stop),
        ] {
            assert_eq!(decide_reconnect(&closed(code), false), decision, "{code}");
        }
    }

    #[test]
    fn a_client_with_a_key_comes_back_unless_that_is_final() {
        for code in [4001, 4002, 4003, 4200, 4201] {
            assert_eq!(decide_reconnect(&closed(code), true), Decision::Reconnect, "{code}");
        }
        assert_eq!(decide_reconnect(&refused(ErrorCode::InvalidSignature, 4002), true), Decision::Reconnect);
        for code in [
            ErrorCode::Revoked,
            ErrorCode::RegistrationClosed,
            ErrorCode::TotpRequired,
            ErrorCode::InvalidTotp,
        ] {
            assert_eq!(decide_reconnect(&refused(code, 4002), true), Decision::Stop, "{code}");
        }
        assert_eq!(decide_reconnect(&refused(ErrorCode::UnknownDevice, 4303), true), Decision::Stop);
    }

    #[test]
    fn the_error_before_the_close_decides() {
        let error = |reconnect| {
            let code = ErrorCode::Overloaded;
            Some(ClosingError { code, close: 4304, reconnect, retry_after: None })
        };
        assert_eq!(
            decide_reconnect(&Disconnect { error: error(Some(true)), ..closed(4304) }, true),
            Decision::Reconnect
        );
        assert_eq!(
            decide_reconnect(&Disconnect { error: error(Some(false)), ..closed(1012) }, true),
            Decision::Stop
        );
        assert_eq!(
            decide_reconnect(&Disconnect { error: error(None), ..Disconnect::default() }, true),
            Decision::Stop
        );
    }

    #[test]
    fn a_refusal_counts_where_the_socket_broke_before_the_close() {
        let disconnect = Disconnect { refusal: Some(ErrorCode::ExpiredToken), ..Disconnect::default() };
        assert_eq!(decide_reconnect(&disconnect, false), Decision::NewToken(TokenReason::Expired));
        assert_eq!(decide_reconnect(&Disconnect::default(), false), Decision::Reconnect);
    }
}
