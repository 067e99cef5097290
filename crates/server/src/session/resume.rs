//! Coming back to a session: tokens that name it, and the socket that is handed over (docs/protocol/resume.md).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use aldis_protocol::{Codec, Door, RequestId, Resume, RoomId, Secret, SessionId, binary};
use aldis_registry::DeviceClaim;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::wire::Incoming;
use crate::accounts::Identity;

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

/// A socket whose client has proved who they are.
pub(super) struct Arriving<W> {
    pub(super) wire: W,
    /// What was read behind the proof; the session takes it first.
    pub(super) early: VecDeque<Incoming>,
}

/// A socket whose client has proved who they are and claims a session.
pub(super) struct HandOver<W> {
    pub(super) arriving: Arriving<W>,
    /// Of the message that brought the proof.
    pub(super) id: Option<RequestId>,
    pub(super) door: Door,
    pub(super) codec: Codec,
    pub(super) room: Option<RoomId>,
    pub(super) identity: Identity,
    pub(super) claim: Claim,
    pub(super) device_claim: DeviceClaim,
}

/// A hand-over on its way to a session. Whoever offers it can [take it back](Withdrawal) until the session takes it.
pub(super) struct Offer<W> {
    hand_over: Slot<W>,
    answer: oneshot::Sender<Answer<W>>,
}

/// Takes an offer back that was not answered.
pub(super) struct Withdrawal<W>(Slot<W>);

type Slot<W> = Arc<Mutex<Option<HandOver<W>>>>;

/// What becomes of an offered socket.
pub(super) enum Answer<W> {
    /// It serves the session.
    Taken,
    /// The session is not for it; its client gets a fresh one.
    Declined(Arriving<W>),
    /// A socket that came in later serves the session.
    Superseded(Arriving<W>),
}

impl<W> Offer<W> {
    /// An offer, how to take it back, and where its answer comes. No answer means that the session has failed.
    pub(super) fn new(hand_over: HandOver<W>) -> (Self, Withdrawal<W>, oneshot::Receiver<Answer<W>>) {
        let (answer, answered) = oneshot::channel();
        let hand_over = Arc::new(Mutex::new(Some(hand_over)));
        let withdrawal = Withdrawal(Arc::clone(&hand_over));
        (Self { hand_over, answer }, withdrawal, answered)
    }

    /// Takes the socket, to answer later. None where the offer was taken back.
    pub(super) fn take(self) -> Option<(HandOver<W>, oneshot::Sender<Answer<W>>)> {
        take(&self.hand_over).map(|hand_over| (hand_over, self.answer))
    }

    /// Gives the socket back; its client gets a fresh session.
    pub(super) fn decline(self) {
        if let Some((hand_over, answer)) = self.take() {
            // The client may have gone while it waited.
            let _ = answer.send(Answer::Declined(hand_over.arriving));
        }
    }
}

impl<W> Withdrawal<W> {
    /// The socket, unless the session has taken it.
    pub(super) fn take_back(&self) -> Option<Arriving<W>> {
        take(&self.0).map(|hand_over| hand_over.arriving)
    }
}

fn take<W>(slot: &Slot<W>) -> Option<HandOver<W>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
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
