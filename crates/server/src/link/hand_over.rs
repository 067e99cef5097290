//! A socket on its way to the session that its client claims.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use aldis_protocol::{Codec, Door, RequestId, RoomId};
use aldis_registry::DeviceClaim;
use tokio::sync::oneshot;

use super::{Claim, Identity, Incoming, wire::Socket};

/// A socket whose client has proved who they are.
pub(crate) struct Arriving {
    pub(crate) socket: Socket,
    /// What was read after the proof; the session takes it first.
    pub(crate) early: VecDeque<Incoming>,
}

/// A socket whose client has proved who they are and claims a session.
pub(crate) struct HandOver {
    pub(crate) arriving: Arriving,
    /// The id of the message that brought the proof.
    pub(crate) id: Option<RequestId>,
    pub(crate) door: Door,
    pub(crate) codec: Codec,
    pub(crate) room: Option<RoomId>,
    pub(crate) identity: Identity,
    pub(crate) claim: Claim,
    pub(crate) device_claim: DeviceClaim,
}

/// A hand-over that is offered to a session. The handshake can [withdraw it](Withdrawal) until the session takes it.
pub(crate) struct Offer {
    hand_over: Slot,
    answer: oneshot::Sender<OfferAnswer>,
}

/// Withdraws an offer that was not answered.
pub(crate) struct Withdrawal(Slot);

type Slot = Arc<Mutex<Option<HandOver>>>;

/// The answer to an offered socket.
pub(crate) enum OfferAnswer {
    /// It serves the session.
    Taken,
    /// The session declined it; its client gets a fresh session.
    Declined(Arriving),
    /// A newer socket serves the session.
    Superseded(Arriving),
}

impl Offer {
    /// An offer, its withdrawal, and the channel of its answer. No answer means that the session has failed.
    pub(crate) fn new(hand_over: HandOver) -> (Self, Withdrawal, oneshot::Receiver<OfferAnswer>) {
        let (answer, answered) = oneshot::channel();
        let hand_over = Arc::new(Mutex::new(Some(hand_over)));
        let withdrawal = Withdrawal(Arc::clone(&hand_over));
        (Self { hand_over, answer }, withdrawal, answered)
    }

    /// Takes the socket, to answer later. `None` if the offer was withdrawn.
    pub(crate) fn take(self) -> Option<(HandOver, oneshot::Sender<OfferAnswer>)> {
        take(&self.hand_over).map(|hand_over| (hand_over, self.answer))
    }

    /// Returns the socket; its client gets a fresh session.
    pub(crate) fn decline(self) {
        if let Some((hand_over, answer)) = self.take() {
            // The client may have disconnected meanwhile.
            let _ = answer.send(OfferAnswer::Declined(hand_over.arriving));
        }
    }
}

impl Withdrawal {
    /// The socket, unless the session has taken it.
    pub(crate) fn take_back(&self) -> Option<Arriving> {
        take(&self.0).map(|hand_over| hand_over.arriving)
    }
}

fn take(slot: &Slot) -> Option<HandOver> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
