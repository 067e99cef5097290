//! From a frame of the client to its reply.

use aldis_protocol::ClientMessage;
use bytes::Bytes;

use super::{Disconnect, Flow, Task};
use crate::{
    clock::Now,
    link::{Frame, Ticket},
    relay::Reply,
    session::{
        in_flight::{Progress, State},
        live::{PendingRequest, Step},
    },
};

impl Task {
    pub(super) fn receive(&mut self, frame: &Bytes) -> Flow {
        let now = Now::read();
        self.journal.received();
        self.ticket = self.ticket.next();
        let step = self.live.receive(frame, now);
        self.carry_out(self.ticket, step, frame, now)
    }

    pub(super) fn carry_out(&mut self, ticket: Ticket, step: Step<'_>, frame: &Bytes, now: Now) -> Flow {
        match step {
            Step::Nothing => {
                self.in_flight.remove(ticket);
                Flow::Continue(())
            }
            Step::Reply(reply) => self.reply(ticket, reply),
            Step::ReplyAndClose(reply, closing) => {
                self.reply(ticket, reply)?;
                Flow::Break(Disconnect::Closed(closing))
            }
            Step::Close(closing) => Flow::Break(Disconnect::Closed(closing)),
            Step::Ask(request, _) if !self.in_flight.allows(ticket, &request) => {
                self.in_flight.set(ticket, State::Deferred(request, frame.clone()));
                Flow::Continue(())
            }
            Step::Ask(request, message) => self.ask(ticket, request, message, frame.len(), now),
            Step::CheckToken(request, token) => {
                let checked = self.relay.accounts.renew_token(self.session(), &token, now);
                match self.live.reauthenticate(request, checked, now) {
                    Ok(reply) => self.reply(ticket, reply),
                    Err(closing) => Flow::Break(Disconnect::Closed(closing)),
                }
            }
        }
    }

    /// Has the relay carry out a request that came in so many bytes.
    pub(super) fn ask(
        &mut self,
        ticket: Ticket,
        request: PendingRequest,
        message: ClientMessage<'_>,
        bytes: usize,
        now: Now,
    ) -> Flow {
        let id = request.id().cloned();
        let reply = match self.relay.refuse_relayed(self.session(), &message, bytes, now) {
            Some(refusal) => Reply::Now(refusal),
            None => self.relay.handle(self.session(), ticket, id, message, now),
        };
        let state = match reply {
            Reply::Now(message) => {
                let reply = self.live.answer(request, message, now);
                return self.reply(ticket, reply);
            }
            Reply::Queued => State::Queued(request),
            Reply::Later(outcome) => State::Running(request, outcome),
            Reply::InParts(parts) => State::streaming(request, parts),
        };
        self.in_flight.set(ticket, state);
        Flow::Continue(())
    }

    /// Sends a reply in its turn.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: Frame) -> Flow {
        if self.in_flight.is_alone(ticket) {
            self.in_flight.remove(ticket);
            return self.send_own_or_end(reply);
        }
        self.in_flight.set(ticket, State::Encoded(reply));
        Flow::Continue(())
    }

    /// Does what comes next for the requests in flight.
    pub(super) fn make(&mut self, progress: Progress) -> Flow {
        match progress {
            Progress::Reply(request, message) => {
                let reply = self.live.answer(request, *message, Now::read());
                self.send_own_or_end(reply)
            }
            Progress::Encoded(reply) => self.send_own_or_end(reply),
            Progress::Part(frames) => {
                frames.into_iter().for_each(|bytes| self.write(bytes));
                Flow::Continue(())
            }
            Progress::Begin(ticket, frame) => {
                let now = Now::read();
                let step = self.live.receive_again(&frame, now);
                self.carry_out(ticket, step, &frame, now)
            }
        }
    }
}
