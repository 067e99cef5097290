//! Coming back to a session: tokens that name it, and the socket that is handed over (docs/protocol/resume.md).

use aldis_protocol::{Codec, Door, RequestId, Resume, RoomId, Secret, SessionId, binary};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::wire::Incoming;
use crate::router::Identity;

/// Names a session and proves that its client was told so. No credential: whoever shows it has proved who he is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ResumeToken {
    session: SessionId,
    secret: TokenSecret,
}

type TokenSecret = [u8; 16];

/// What a client that comes back claims.
pub(crate) struct Claim {
    pub(super) token: ResumeToken,
    /// How many counted frames it has received.
    pub(super) received: u64,
}

/// A socket whose client has proved who he is.
pub(super) struct Arriving<W> {
    pub(super) wire: W,
    /// What came behind the proof, if it was looked for and there was something; the session takes it first.
    pub(super) early: Option<Incoming>,
}

/// A socket whose client has proved who he is and claims a session.
pub(super) struct HandOver<W> {
    pub(super) arriving: Arriving<W>,
    /// Of the message that brought the proof.
    pub(super) id: Option<RequestId>,
    pub(super) door: Door,
    pub(super) codec: Codec,
    pub(super) room: Option<RoomId>,
    pub(super) identity: Identity,
    pub(super) claim: Claim,
    /// Where the answer goes: nothing, or the socket again.
    pub(super) answer: oneshot::Sender<Option<Arriving<W>>>,
}

impl<W> HandOver<W> {
    /// Gives the socket back; its client gets a fresh session.
    pub(super) fn decline(self) {
        // The client may have gone while it waited.
        let _ = self.answer.send(Some(self.arriving));
    }
}

/// The tokens that are good for a session: the last one, and the one before until the client has shown that it got the
/// last.
#[derive(Clone)]
pub(super) struct ResumeTokens {
    current: TokenSecret,
    former: Option<TokenSecret>,
}

impl ResumeToken {
    /// A token out of 16 random bytes.
    pub(super) const fn new(session: SessionId, secret: TokenSecret) -> Self {
        Self { session, secret }
    }

    /// Reads a token; what is none is as an unknown one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = binary::decode_array(text).ok()?;
        let (session, secret) = bytes.split_first_chunk::<16>()?;
        Some(Self { session: SessionId::new(Uuid::from_bytes(*session)), secret: secret.try_into().ok()? })
    }

    /// The session it names.
    pub(super) const fn session(&self) -> SessionId {
        self.session
    }

    /// The token on the wire.
    pub(super) fn to_secret(&self) -> Secret<'static> {
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
    pub(super) const fn new(first: &ResumeToken) -> Self {
        Self { current: first.secret, former: None }
    }

    /// Whether a token that names this session is good.
    pub(super) fn accept(&self, token: &ResumeToken) -> bool {
        let is_shown = |secret: &TokenSecret| bool::from(secret.ct_eq(&token.secret));
        is_shown(&self.current) || self.former.as_ref().is_some_and(is_shown)
    }

    /// A new one was sent; the one that was used stays good until the client is heard of.
    pub(super) fn renew(&mut self, used: &ResumeToken, next: &ResumeToken) {
        self.former = Some(used.secret);
        self.current = next.secret;
    }

    /// The client was heard of: it has the current one.
    pub(super) fn confirm(&mut self) {
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
