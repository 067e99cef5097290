//! A session gets a socket, loses it and ends.

use std::ops::ControlFlow;

use aldis_protocol::{CloseCode, ServerMessage};

use super::{Disconnect, Task};
use crate::{
    clock::Now,
    link::{Arriving, Closing, HandOver, Leftovers, Offer, OfferAnswer, Outgoing, SessionHandle, Socket},
    session::{
        greeting::{self, Greeting},
        journal::Remains,
        leave::leave,
        live::fresh,
    },
};

impl Task {
    /// A client that has proved who they are claims this session and brings a socket.
    pub(super) fn consider(&mut self, offer: Offer) {
        let Some((offer, answer)) = offer.take() else { return };
        if !self.live.accepts(&offer) {
            // The client may have gone while it waited, here and below.
            let _ = answer.send(OfferAnswer::Declined(offer.arriving));
            return;
        }
        let SessionHandle { user, session, .. } = **self.session();
        if !self.relay.registry.renew_claim(user, session, offer.device_claim) {
            let _ = answer.send(OfferAnswer::Superseded(offer.arriving));
            return;
        }
        let HandOver { arriving: Arriving { mut socket, early }, id, identity, claim, .. } = offer;
        self.relay.accounts.proved_again(self.session(), &identity);
        let next = greeting::resume_token(self.session().session);
        let missed = self.live.resume(claim, &next, identity.token, Now::read());
        let replayed = missed.len();
        let greeting = Greeting::resumed(&self.live, &next, id, replayed);
        greeting::greet(&mut *socket, self.session(), &identity, greeting);
        missed.into_iter().for_each(|frame| socket.enqueue(Outgoing::Frame(frame)));
        if let Some(displaced) = self.socket.replace(socket) {
            self.tell_again();
            let message = "the client came back on another connection";
            let closing = Closing::new(CloseCode::Replaced, "", message);
            self.let_go(displaced, Some(closing), Remains::Kept);
        }
        self.journal.resumed(replayed, Now::tick());
        self.in_flight.lose_socket();
        self.early = early;
        self.session().set_detached(false);
        self.relay.client_returned(self.session());
        let _ = answer.send(OfferAnswer::Taken);
    }

    /// Goes on without a socket where the client may come back, else says how the session ends.
    pub(super) fn outlive(&mut self, ending: Disconnect) -> ControlFlow<Option<Closing>> {
        let closing = match ending {
            Disconnect::Broken => None,
            Disconnect::Closed(closing) if closing.code.keeps_session(closing.reason) => Some(closing),
            Disconnect::Closed(closing) => return ControlFlow::Break(Some(closing)),
            Disconnect::Gone => return ControlFlow::Break(None),
        };
        if self.live.resume_window_ms() == 0 {
            return ControlFlow::Break(closing);
        }
        // A session that lacks a socket has none to close, and its window stays what it was.
        let Some(socket) = self.socket.take() else { return ControlFlow::Continue(()) };
        self.tell_again();
        self.let_go(socket, closing, Remains::Kept);
        self.in_flight.lose_socket();
        self.early.clear();
        self.session().set_detached(true);
        self.live.detach(Now::read());
        ControlFlow::Continue(())
    }

    /// A socket is gone. Presence that its client may have missed is sent again on the next one.
    pub(super) fn tell_again(&mut self) {
        self.unacked_presence.take().for_each(|user| self.relay.tell_again(self.session(), user));
    }

    /// Lets a socket end by itself, with a word of why where the server closes it.
    pub(super) fn let_go(&self, mut socket: Socket, closing: Option<Closing>, remains: Remains) {
        self.journal.disconnected(closing.as_ref(), remains, Now::tick());
        if let Some(closing) = closing {
            self.close_socket(&mut socket, closing);
        }
        self.sockets.spawn(async move { leave(&mut *socket).await });
    }

    pub(super) fn close_socket(&self, socket: &mut Socket, closing: Closing) {
        let Closing { code, reason, error } = closing;
        self.relay.metrics.closed(code);
        let error = self.session().codec.encode_server(&fresh(ServerMessage::Error(error)));
        socket.enqueue(Outgoing::Frame(error));
        socket.enqueue(Outgoing::Close(code, reason));
    }

    pub(super) fn end(&mut self, closing: Option<Closing>) {
        let Leftovers { items, offers } = self.registration.end();
        offers.into_iter().for_each(Offer::decline);
        let Some(mut socket) = self.socket.take() else {
            return self.journal.ended(closing.as_ref(), Now::tick());
        };
        if closing.as_ref().is_some_and(|closing| closing.code != CloseCode::SlowConsumer) {
            for item in items {
                if let Some(frame) = item.frame() {
                    self.journal.sent();
                    socket.enqueue(Outgoing::Frame(frame.bytes.clone()));
                }
            }
        }
        self.let_go(socket, closing, Remains::Over);
    }
}
