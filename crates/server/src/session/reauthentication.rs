//! Asks for a new token before the session's token expires (docs/protocol/handshake.md).

use aldis_auth::TOKEN_LEEWAY_MS;
use aldis_protocol::{
    CloseCode, Door, Refusal,
    limits::{AUTH_REQUIRED_BEFORE, REAUTHENTICATION_TIME},
    reason,
};

use super::deadlines::{Deadline, Deadlines};
use crate::{
    clock::{Now, milliseconds},
    link::{Closing, TokenLife},
};

/// A shorter lifetime leaves no minute to spare.
const SHORT_LIFETIME_MS: u64 = 3 * 60 * 1000;

/// Sets the deadline at which the session asks for a new token.
pub(super) fn schedule(deadlines: &mut Deadlines, token: TokenLife, now: Now) {
    deadlines.clear(Deadline::NewToken);
    deadlines.set(Deadline::AskForToken, now.tick_at(ask_at_ms(token)));
}

/// Sets the deadline for the new token, now that the session has asked. Even a token that is about to expire leaves
/// the client the tolerated clock difference to send the next one.
pub(super) fn asked(deadlines: &mut Deadlines, token: TokenLife, now: Now) {
    let answer_by = now.tick.saturating_add(milliseconds(REAUTHENTICATION_TIME));
    let ends_ms = token.expires_ms.saturating_add(TOKEN_LEEWAY_MS);
    deadlines.set(Deadline::NewToken, answer_by.min(now.tick_at(ends_ms)));
}

/// The close of a session that asked and got no new token.
pub(super) fn timed_out(door: Door) -> Closing {
    let code = match door.refusal() {
        Refusal::PolicyViolation => CloseCode::PolicyViolation,
        Refusal::AuthFailure | Refusal::Close | Refusal::Unauthorized => CloseCode::SessionExpired,
    };
    let mut closing =
        Closing::new(code, reason::REAUTHENTICATION_TIMEOUT, "the token expired and no new one came");
    closing.error.code = CloseCode::SessionExpired.error_code();
    closing
}

/// The close of a session that got another user's token.
pub(super) fn other_user(door: Door) -> Closing {
    let code = match door.refusal() {
        Refusal::PolicyViolation => CloseCode::PolicyViolation,
        Refusal::AuthFailure | Refusal::Close | Refusal::Unauthorized => CloseCode::TokenInvalid,
    };
    Closing::new(code, reason::INVALID_TOKEN, "the token is another user's")
}

fn ask_at_ms(token: TokenLife) -> u64 {
    let lifetime = token.expires_ms.saturating_sub(token.issued_ms);
    if lifetime < SHORT_LIFETIME_MS {
        token.issued_ms + lifetime * 2 / 3
    } else {
        token.expires_ms.saturating_sub(milliseconds(AUTH_REQUIRED_BEFORE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lifetime_ms: u64) -> TokenLife {
        TokenLife { issued_ms: 1_000_000, expires_ms: 1_000_000 + lifetime_ms }
    }

    #[test]
    fn the_default_token_is_asked_for_at_14_of_its_15_minutes() {
        assert_eq!(ask_at_ms(token(15 * 60_000)), 1_000_000 + 14 * 60_000);
    }

    #[test]
    fn a_short_token_is_asked_for_at_two_thirds() {
        assert_eq!(ask_at_ms(token(60_000)), 1_000_000 + 40_000);
        assert_eq!(ask_at_ms(token(3 * 60_000)), 1_000_000 + 2 * 60_000);
    }

    #[test]
    fn a_moment_that_has_passed_is_now() {
        let mut deadlines = Deadlines::new();
        let now = Now { tick: 500, unix_ms: 1_000_000 + 59_000 };
        schedule(&mut deadlines, token(60_000), now);
        assert_eq!(deadlines.take_due(now.tick), Some(Deadline::AskForToken));
        asked(&mut deadlines, token(60_000), now);
        assert_eq!(deadlines.next(), 500 + 1_000 + TOKEN_LEEWAY_MS);
    }

    #[test]
    fn a_token_about_to_expire_was_greeted_and_closed_at_once() {
        let mut deadlines = Deadlines::new();
        let now = Now { tick: 500, unix_ms: 1_000_000 + 59_999 };
        asked(&mut deadlines, token(60_000), now);
        assert!(deadlines.next() > now.tick + TOKEN_LEEWAY_MS);
    }
}
