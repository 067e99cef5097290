//! The error names of the wire, the same on sockets and over HTTP (docs/protocol/codes.md).

use crate::{UnknownName, UnknownWord, names::words};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $status:literal;)*) => {
        /// What went wrong, for programs. The words for people stand beside it, in `message` or `detail`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            /// A code of a newer server.
            Unknown(UnknownWord),
            $($(#[doc = $doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(&self) -> &str {
                match self {
                    Self::Unknown(word) => word.as_str(),
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    Self::Unknown(_) => "A code of a newer server.",
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)*
                }
            }

            /// The HTTP status that carries this code; 500 for one of another version, which no server of this one says.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self {
                    Self::Unknown(_) => 500,
                    $(Self::$variant => $status,)*
                }
            }
        }

        impl std::str::FromStr for ErrorCode {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => UnknownWord::new(name)
                        .map(Self::Unknown)
                        .ok_or(UnknownName { expected: "the words that are error codes" }),
                }
            }
        }

        words!(ErrorCode, ["What went wrong, for programs."], [$($name),*]);
    };
}

error_codes! {
    /// No token was shown.
    MissingToken = "missing_token", 401;
    /// The token is not one of this server's.
    InvalidToken = "invalid_token", 401;
    /// The token, or challenge, is genuine but its time is over.
    ExpiredToken = "expired_token", 401;
    /// The call needs a signed-in caller.
    Unauthenticated = "unauthenticated", 401;
    /// Wrong address or wrong password; nobody can tell which.
    InvalidCredentials = "invalid_credentials", 401;
    /// The challenge is not one of this server's, is over, or was used.
    InvalidChallenge = "invalid_challenge", 401;
    /// The signature does not verify.
    InvalidSignature = "invalid_signature", 401;
    /// The account has TOTP and no code came.
    TotpRequired = "totp_required", 401;
    /// The TOTP code is wrong or was used.
    InvalidTotp = "invalid_totp", 401;
    /// A refresh token was used twice; its family is revoked.
    RefreshReused = "refresh_reused", 401;
    /// The key, session or account was revoked.
    Revoked = "revoked", 401;
    /// The caller is known and may not do this.
    Forbidden = "forbidden", 403;
    /// The call needs a login of the last five minutes.
    StepUpRequired = "step_up_required", 403;
    /// The server takes no new accounts.
    RegistrationClosed = "registration_closed", 403;
    /// There is nothing at this path.
    NotFound = "not_found", 404;
    /// The room is unknown, private or forbidden; nobody can tell which.
    UnknownRoom = "unknown_room", 404;
    /// The device is not one of this user's.
    UnknownDevice = "unknown_device", 404;
    /// A message id is not of this user's mailbox.
    UnknownMessage = "unknown_message", 404;
    /// The target is blocked, forbidden, unknown or offline; nobody can tell which.
    TargetUnavailable = "target_unavailable", 404;
    /// The path knows other methods.
    MethodNotAllowed = "method_not_allowed", 405;
    /// It contradicts what is there already.
    Conflict = "conflict", 409;
    /// A wrong sequence or previous hash in an identity's chain.
    ChainConflict = "chain_conflict", 409;
    /// An earlier rotation is inside its window.
    RotationPending = "rotation_pending", 409;
    /// The time for a cancellation is over.
    WindowClosed = "window_closed", 409;
    /// The key is or was somebody's.
    KeyInUse = "key_in_use", 409;
    /// A time stated by the caller is too far off.
    ClockSkew = "clock_skew", 409;
    /// The thing changed since the caller saw it.
    PreconditionFailed = "precondition_failed", 412;
    /// The body or content is over its limit.
    TooLarge = "too_large", 413;
    /// The URI is over its limit.
    UriTooLong = "uri_too_long", 414;
    /// The body is of another media type.
    UnsupportedMediaType = "unsupported_media_type", 415;
    /// The server does not know its own public origin.
    PublicOriginRequired = "public_origin_required", 421;
    /// The request is malformed; the message names the field.
    BadRequest = "bad_request", 422;
    /// The message type is not one of the protocol.
    UnknownType = "unknown_type", 422;
    /// The key is no key, or a weak one.
    InvalidKey = "invalid_key", 422;
    /// The path speaks WebSocket, version 13.
    UpgradeRequired = "upgrade_required", 426;
    /// The call needs `If-Match`.
    PreconditionRequired = "precondition_required", 428;
    /// Too much in too short a time.
    RateLimited = "rate_limited", 429;
    /// The recipient's mailbox takes no more.
    MailboxFull = "mailbox_full", 429;
    /// The header is over its limit.
    HeadersTooLarge = "headers_too_large", 431;
    /// A fault of the server.
    Internal = "internal", 500;
    /// The server, or this connection, has too much to do.
    Overloaded = "overloaded", 503;
    /// The server is about to stop.
    Draining = "draining", 503;
    /// Something the server needs is away; try again.
    Unavailable = "unavailable", 503;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_back_to_its_code() {
        for &code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
        assert!(matches!("nothing".parse(), Ok(ErrorCode::Unknown(word)) if word.as_str() == "nothing"));
        assert!("Not a word".parse::<ErrorCode>().is_err());
    }
}
