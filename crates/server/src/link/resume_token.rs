//! The token that a client shows to resume its session (docs/protocol/resume.md).

use aldis_protocol::{Resume, Secret, SessionId, binary};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Names a session, and proves that its client got the token. It is no credential: the client proves separately who
/// it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ResumeToken {
    session: SessionId,
    secret: TokenSecret,
}

type TokenSecret = [u8; 16];

/// What a client that resumes claims.
pub(crate) struct Claim {
    pub(crate) token: ResumeToken,
    /// How many counted frames it has received.
    pub(crate) received: u64,
}

/// The tokens that are accepted for a session: the last one, and the one before until the client has shown that it
/// got the last one.
#[derive(Clone)]
pub(crate) struct ResumeTokens {
    current: TokenSecret,
    former: Option<TokenSecret>,
}

impl ResumeToken {
    /// A token out of 16 random bytes.
    pub(crate) const fn new(session: SessionId, secret: TokenSecret) -> Self {
        Self { session, secret }
    }

    /// Reads a token. A malformed one counts as unknown.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = binary::decode_array(text).ok()?;
        let (session, secret) = bytes.split_first_chunk::<16>()?;
        Some(Self { session: SessionId::new(Uuid::from_bytes(*session)), secret: secret.try_into().ok()? })
    }

    /// The session it names.
    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    /// The token on the wire.
    pub(crate) fn to_secret(&self) -> Secret<'static> {
        binary::encode(&[*self.session.as_uuid().as_bytes(), self.secret].concat()).into()
    }
}

impl Claim {
    /// Reads what a client sent.
    pub(crate) fn parse(resume: &Resume<'_>) -> Option<Self> {
        Some(Self { token: ResumeToken::parse(resume.token.expose())?, received: resume.received })
    }
}

impl ResumeTokens {
    /// The first token of a session.
    pub(crate) const fn new(first: &ResumeToken) -> Self {
        Self { current: first.secret, former: None }
    }

    /// Whether a token that names this session is accepted.
    pub(crate) fn accept(&self, token: &ResumeToken) -> bool {
        let is_shown = |secret: &TokenSecret| bool::from(secret.ct_eq(&token.secret));
        is_shown(&self.current) || self.former.as_ref().is_some_and(is_shown)
    }

    /// Makes a new token. The one that was used stays accepted until the client is heard of.
    pub(crate) fn renew(&mut self, used: &ResumeToken, next: &ResumeToken) {
        self.former = Some(used.secret);
        self.current = next.secret;
    }

    /// The client was heard of, so it has the current token.
    pub(crate) fn confirm(&mut self) {
        self.former = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: u8) -> ResumeToken {
        ResumeToken::new(SessionId::new(Uuid::from_u128(7)), [secret; 16])
    }

    #[test]
    fn a_token_reads_as_it_was_written() {
        let written = token(1).to_secret();
        assert!(ResumeToken::parse(written.expose()) == Some(token(1)));
        assert!(ResumeToken::parse("nonsense").is_none());
    }

    #[test]
    fn the_former_token_is_good_until_the_client_is_heard_of() {
        let mut tokens = ResumeTokens::new(&token(1));
        tokens.renew(&token(1), &token(2));
        assert!(tokens.accept(&token(1)) && tokens.accept(&token(2)));
        // The break came before the client got the second one.
        tokens.renew(&token(1), &token(3));
        assert!(tokens.accept(&token(1)) && tokens.accept(&token(3)));
        assert!(!tokens.accept(&token(2)));
        tokens.confirm();
        assert!(!tokens.accept(&token(1)));
    }
}
