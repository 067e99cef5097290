//! What to do about the end of a connection: one function.

use std::time::Duration;

use aldis_protocol::{Advice, CloseCode, ErrorCode};

use crate::TokenReason;

/// All that is known about an end that the server brought about, or that just happened.
#[derive(Debug, Default)]
pub(super) struct Ending {
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
pub(super) enum Verdict {
    Reconnect,
    /// A new token first.
    NewToken(TokenReason),
    /// A new token first, unless that was tried the last time.
    NewTokenOnce(TokenReason),
    /// Without the message that was too large.
    DropLargest,
    Stop,
}

/// Decides by the `error` before the close, else by the code, else by its range (docs/protocol/codes.md).
pub(super) fn judge(ending: &Ending, by_key: bool) -> Verdict {
    let Some((code, reason)) = ending.code() else { return Verdict::Reconnect };
    if by_key && ending.refusal.is_some_and(is_final_for_keys) {
        return Verdict::Stop;
    }
    let verdict = match CloseCode::advice_for(code, reason) {
        // Missing proof is a bug of a client with a token; one with a key may just have been too slow.
        Advice::Stop if by_key && code == CloseCode::TokenMissing.as_u16() => Verdict::Reconnect,
        Advice::NewCredentials | Advice::NewCredentialsOnce if by_key => Verdict::Reconnect,
        Advice::NewCredentials => Verdict::NewToken(TokenReason::Expired),
        Advice::NewCredentialsOnce => Verdict::NewTokenOnce(TokenReason::Invalid),
        Advice::Reconnect => Verdict::Reconnect,
        Advice::DropMessageAndReconnect => Verdict::DropLargest,
        Advice::Stop => Verdict::Stop,
    };
    match (ending.error.as_ref().and_then(|error| error.reconnect), verdict) {
        (Some(false), _) => Verdict::Stop,
        (Some(true), Verdict::Stop) => Verdict::Reconnect,
        (Some(true) | None, verdict) => verdict,
    }
}

impl Ending {
    /// Whether the server waits for the client to come back to its session: after a break, and after some closes.
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

    fn closed(code: u16) -> Ending {
        Ending { close: Some((code, String::new())), ..Ending::default() }
    }

    fn refused(refusal: ErrorCode, code: u16) -> Ending {
        Ending { refusal: Some(refusal), ..closed(code) }
    }

    #[test]
    fn a_client_with_a_token_follows_the_table() {
        for (code, verdict) in [
            (1000, Verdict::Reconnect),
            (1001, Verdict::Reconnect),
            (1002, Verdict::Stop),
            (1003, Verdict::Stop),
            (1007, Verdict::Stop),
            (1009, Verdict::DropLargest),
            (1011, Verdict::Reconnect),
            (1012, Verdict::Reconnect),
            (1013, Verdict::Reconnect),
            (4001, Verdict::Stop),
            (4002, Verdict::NewTokenOnce(TokenReason::Invalid)),
            (4003, Verdict::NewToken(TokenReason::Expired)),
            (4100, Verdict::Reconnect),
            (4101, Verdict::Reconnect),
            (4103, Verdict::Reconnect),
            (4104, Verdict::Reconnect),
            (4200, Verdict::NewToken(TokenReason::Expired)),
            (4201, Verdict::NewToken(TokenReason::Expired)),
            (4300, Verdict::Stop),
            (4301, Verdict::Stop),
            (4302, Verdict::Stop),
            (4303, Verdict::Stop),
            (4304, Verdict::Stop),
            (4142, Verdict::Reconnect),
            (4242, Verdict::NewToken(TokenReason::Expired)),
            (4342, Verdict::Stop),
        ] {
            assert_eq!(judge(&closed(code), false), verdict, "{code}");
        }
    }

    #[test]
    fn a_client_with_a_key_comes_back_unless_that_is_final() {
        for code in [4001, 4002, 4003, 4200, 4201] {
            assert_eq!(judge(&closed(code), true), Verdict::Reconnect, "{code}");
        }
        assert_eq!(judge(&refused(ErrorCode::InvalidSignature, 4002), true), Verdict::Reconnect);
        for code in [
            ErrorCode::Revoked,
            ErrorCode::RegistrationClosed,
            ErrorCode::TotpRequired,
            ErrorCode::InvalidTotp,
        ] {
            assert_eq!(judge(&refused(code, 4002), true), Verdict::Stop, "{code}");
        }
        assert_eq!(judge(&refused(ErrorCode::UnknownDevice, 4303), true), Verdict::Stop);
    }

    #[test]
    fn the_error_before_the_close_decides() {
        let error = |reconnect| {
            let code = ErrorCode::Overloaded;
            Some(ClosingError { code, close: 4304, reconnect, retry_after: None })
        };
        assert_eq!(judge(&Ending { error: error(Some(true)), ..closed(4304) }, true), Verdict::Reconnect);
        assert_eq!(judge(&Ending { error: error(Some(false)), ..closed(1012) }, true), Verdict::Stop);
        assert_eq!(judge(&Ending { error: error(None), ..Ending::default() }, true), Verdict::Stop);
    }

    #[test]
    fn a_refusal_counts_where_the_socket_broke_before_the_close() {
        let ending = Ending { refusal: Some(ErrorCode::ExpiredToken), ..Ending::default() };
        assert_eq!(judge(&ending, false), Verdict::NewToken(TokenReason::Expired));
        assert_eq!(judge(&Ending::default(), false), Verdict::Reconnect);
    }
}
