//! The one loop of a session. Nothing else waits.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use aldis_protocol::{
    ClientMessage, CloseCode, ServerMessage, UserId,
    limits::{MAX_UNANSWERED_REQUESTS, WRITE_STALL},
};
use bytes::Bytes;
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::{
    greeting::{self, Greeting},
    in_flight::{InFlight, Progress, State},
    journal::{Journal, Remains},
    leave::leave,
    live::{Due, Live, PendingRequest, Step, fresh},
    registration::Registration,
    unacked_presence::UnackedPresence,
};
use crate::{
    clock::{Now, milliseconds},
    link::{
        Arriving, Backlog, Broken, Closing, Control, Frame, HandOver, Held, Incoming, Item, Leftovers, Offer,
        OfferAnswer, Outgoing, SessionHandle, Socket, StateMark, Taken, Ticket,
    },
    relay::{Relay, Reply},
};

/// Requests that may be in flight at once.
const REQUESTS_IN_FLIGHT: usize = 32;
/// So many replies are written together before the next request is read.
const REPLIES_PER_WRITE: usize = 32;

/// A session: served through a socket, or waiting for its client to come back with another.
#[must_use = "a session is served by awaiting it"]
pub(crate) struct Task {
    socket: Option<Socket>,
    live: Live,
    relay: Arc<Relay>,
    registration: Registration,
    /// Waits for sockets that the session has let go of.
    sockets: TaskTracker,
    in_flight: InFlight,
    /// Of the last request that was received.
    ticket: Ticket,
    /// What was read before the session had the socket.
    early: VecDeque<Incoming>,
    /// Of whose presence the client was told on this socket.
    unacked_presence: UnackedPresence,
    /// At most so many bytes wait to be written that are not kept until the client confirms them.
    unwritten: usize,
    /// How often the socket was looked at since a deadline came that the client can still keep.
    late_looks: u8,
    journal: Journal,
}

/// Frames that are read behind a deadline before it decides: what has arrived counts, and a client that goes on sending
/// gains no time by it.
const LATE_LOOKS: u8 = 64;

/// What the loop woke up for, the most urgent first.
enum Wake {
    Control(Control),
    Items(VecDeque<Item>),
    Watched(Vec<UserId>),
    States(Vec<StateMark>),
    Due,
    Incoming(Incoming),
    Progress(Progress),
    Flood(Closing),
    Broken,
}

/// What becomes of a session, or of its socket.
enum Disconnect {
    /// The socket is gone, and the client may come back.
    Broken,
    /// The client has closed, and does not come back.
    Gone,
    /// The server closes.
    Closed(Closing),
}

type Flow = ControlFlow<Disconnect>;

impl Task {
    /// A session that was greeted; await it. `early` is what its client has sent already.
    pub(super) fn new(
        socket: Socket,
        early: VecDeque<Incoming>,
        live: Live,
        registration: Registration,
        relay: Arc<Relay>,
        sockets: TaskTracker,
    ) -> Self {
        live.session().set_deadline(live.next_deadline());
        Self {
            socket: Some(socket),
            live,
            relay,
            registration,
            sockets,
            in_flight: InFlight::default(),
            ticket: Ticket::default(),
            early,
            unacked_presence: UnackedPresence::default(),
            unwritten: 0,
            late_looks: 0,
            journal: Journal::new(Now::tick()),
        }
    }

    /// Logs that the session begins; `proof` says how its client proved who they are.
    pub(super) fn log_connected(&mut self, proof: &'static str) {
        self.in_span(|task| task.journal.connected(proof));
    }

    /// The way to this session.
    pub(crate) const fn session(&self) -> &Arc<SessionHandle> {
        self.live.session()
    }

    /// Sends a message that the server starts. False where the buffer for a client that is away ran over.
    pub(super) fn say(&mut self, message: ServerMessage<'_>) -> bool {
        let counted = message.is_counted();
        self.send_own(Frame::new(self.session().codec.encode_server(&fresh(message)), counted))
    }

    /// Does something in the session's span.
    fn in_span<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let span = self.journal.open(self.live.session(), self.live.door());
        let done = match &span {
            Some(span) => span.in_scope(|| act(self)),
            None => act(self),
        };
        self.journal.keep(span);
        done
    }

    /// Serves the session until it has to wait, or ends.
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // A fault in one session is the end of that session alone.
            let turn = catch_unwind(AssertUnwindSafe(|| self.poll_turn(cx)));
            match ready!(turn.unwrap_or_else(|_| Poll::Ready(ControlFlow::Break(Some(failed()))))) {
                ControlFlow::Continue(()) => self.note_state(),
                ControlFlow::Break(closing) => {
                    self.end(closing);
                    return Poll::Ready(());
                }
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<Option<Closing>>> {
        let wake = ready!(self.poll_wake(cx));
        Poll::Ready(match self.act(wake) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(ending) => self.outlive(ending),
        })
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        loop {
            if let Poll::Ready(wake) = self.poll_queue(cx) {
                return Poll::Ready(wake);
            }
            if self.live.next_deadline() <= Now::tick() {
                return self.poll_deadline(cx);
            }
            self.late_looks = 0;
            let has_read = self.may_read();
            if let Poll::Ready(wake) = self.poll_incoming(cx) {
                return Poll::Ready(wake);
            }
            let had_backlog = self.has_backlog();
            let has_room = !had_backlog && self.socket.is_some();
            if let Poll::Ready(progress) = self.in_flight.poll(cx, has_room) {
                return Poll::Ready(Wake::Progress(progress));
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(Broken)) => return Poll::Ready(Wake::Broken),
                // There is room for more requests, or for more of what is streamed.
                Poll::Ready(Ok(())) if had_backlog && (!has_read || self.in_flight.has_parts()) => {}
                // There is room for what waits in the queue; all else was just asked.
                Poll::Ready(Ok(())) if had_backlog => {
                    self.note_held();
                    self.session().set_deadline(self.live.next_deadline());
                    return self.poll_queue(cx);
                }
                Poll::Ready(Ok(())) | Poll::Pending => {
                    self.session().set_deadline(self.live.next_deadline());
                    return Poll::Pending;
                }
            }
        }
    }

    /// A deadline has come. One that the client can still keep waits until what has arrived is read: the clock is no
    /// earlier than the socket, where both were late to be looked at.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.live.client_is_late(Now::tick()) && self.late_looks < LATE_LOOKS {
            let is_first = self.late_looks == 0;
            self.late_looks += 1;
            if let Poll::Ready(wake) = self.poll_incoming(cx) {
                return Poll::Ready(wake);
            }
            if let Poll::Ready(Err(Broken)) = self.poll_flush(cx) {
                return Poll::Ready(Wake::Broken);
            }
            if is_first {
                // The runtime may not have asked the system for what arrived; it does before this wakes the task.
                return pin!(yield_now()).poll(cx).map(|()| Wake::Due);
            }
        }
        self.late_looks = 0;
        Poll::Ready(Wake::Due)
    }

    /// Passes on what waits, the library's pongs and what an encrypted stream still holds included.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let flushed = socket.poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.live.wrote(),
            Poll::Ready(Err(Broken)) => {}
            Poll::Pending => self.await_write(),
        }
        flushed
    }

    /// Frames for the client are taken only when the last ones are written; until then they count against the queue.
    fn poll_queue(&self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.has_backlog() {
            return self.session().poll_control(cx).map(Wake::Control);
        }
        match self.session().poll_take(cx) {
            Poll::Ready(Taken::Items(items)) => Poll::Ready(Wake::Items(items)),
            Poll::Ready(Taken::Control(control)) => Poll::Ready(Wake::Control(control)),
            Poll::Pending => self.take_marks().map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// What the client is told as its socket has room.
    fn take_marks(&self) -> Option<Wake> {
        // A session that subscribes is answered before it is told.
        let users = if self.in_flight.awaits_subscription() { None } else { self.session().take_marks() };
        users.map(Wake::Watched).or_else(|| self.session().take_states().map(Wake::States))
    }

    /// A client that does not read its replies is not read from; one whose requests wait for the store neither.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let may_read = self.may_read();
        match &mut self.socket {
            Some(socket) if may_read => match self.early.pop_front() {
                Some(early) => Poll::Ready(early),
                None => socket.poll_read(cx),
            },
            _ => Poll::Pending,
        }
    }

    /// What came from the client, or that it sends too much.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let incoming = self.poll_read(cx);
        let small_frames = self.socket.as_mut().map_or(0, |socket| socket.take_small_frames());
        if small_frames > 0
            && let Err(closing) = self.live.pass_by(small_frames, Now::read())
        {
            return Poll::Ready(Wake::Flood(closing));
        }
        incoming.map(Wake::Incoming)
    }

    fn may_read(&self) -> bool {
        let (backlog, in_flight) = (self.backlog().frames, self.in_flight.len());
        !self.live.is_paused()
            && in_flight < REQUESTS_IN_FLIGHT
            && backlog < REPLIES_PER_WRITE
            && in_flight + backlog < MAX_UNANSWERED_REQUESTS
    }

    fn has_backlog(&self) -> bool {
        self.backlog().frames > 0
    }

    fn backlog(&self) -> Backlog {
        self.socket.as_ref().map(|socket| socket.backlog()).unwrap_or_default()
    }

    fn await_write(&mut self) {
        if self.socket.as_mut().is_some_and(|socket| socket.take_has_written()) {
            self.live.wrote();
        }
        self.live.await_write(Now::tick() + milliseconds(WRITE_STALL));
    }

    fn note_state(&mut self) {
        self.session().set_deadline(self.live.next_deadline());
        self.note_held();
    }

    /// Says how much the session holds for its client: what is not confirmed, what is not written of all else, and what
    /// is in flight.
    fn note_held(&mut self) {
        self.unwritten = self.unwritten.min(self.backlog().bytes);
        let mut held = self.live.held();
        held += Held::new(self.unwritten + self.in_flight.held_bytes(), false);
        self.session().set_kept(held);
    }

    fn act(&mut self, wake: Wake) -> Flow {
        match wake {
            Wake::Control(Control::Close(closing)) => Flow::Break(Disconnect::Closed(closing)),
            Wake::Control(Control::HandOver(offer)) => {
                // A buffer that runs over by it leaves nothing to come back to.
                let Backlog { frames, bytes } = self.backlog();
                let flow = self.send_all(self.session().take_now(frames, bytes));
                self.consider(offer);
                flow
            }
            Wake::Items(items) => self.send_all(items),
            Wake::Watched(users) => self.tell_of(users),
            Wake::States(states) => self.tell_states(states),
            Wake::Due => self.act_on_deadlines(),
            Wake::Incoming(incoming) => self.take(incoming),
            Wake::Flood(closing) => Flow::Break(Disconnect::Closed(closing)),
            Wake::Progress(progress) => self.make(progress),
            Wake::Broken => Flow::Break(Disconnect::Broken),
        }
    }

    fn take(&mut self, incoming: Incoming) -> Flow {
        if let Incoming::Closed(code) = incoming {
            self.journal.client_closed(code);
        }
        match incoming {
            Incoming::Frame(frame) => self.receive(&frame),
            Incoming::Ping => Flow::Continue(()),
            Incoming::Pong => {
                self.live.pong();
                self.unacked_presence.ponged();
                Flow::Continue(())
            }
            Incoming::Closed(code) if code.is_some_and(is_for_good) => Flow::Break(Disconnect::Gone),
            Incoming::Closed(_) => {
                self.relay.client_left(self.session());
                Flow::Break(Disconnect::Broken)
            }
            Incoming::Broken => Flow::Break(Disconnect::Broken),
            Incoming::Refused(code, message) => {
                Flow::Break(Disconnect::Closed(Closing::new(code, "", message)))
            }
        }
    }

    fn receive(&mut self, frame: &Bytes) -> Flow {
        let now = Now::read();
        self.journal.received();
        self.ticket = self.ticket.next();
        let step = self.live.receive(frame, now);
        self.carry_out(self.ticket, step, frame, now)
    }

    fn carry_out(&mut self, ticket: Ticket, step: Step<'_>, frame: &Bytes, now: Now) -> Flow {
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
    fn ask(
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
    fn reply(&mut self, ticket: Ticket, reply: Frame) -> Flow {
        if self.in_flight.is_alone(ticket) {
            self.in_flight.remove(ticket);
            return self.send_own_or_end(reply);
        }
        self.in_flight.set(ticket, State::Encoded(reply));
        Flow::Continue(())
    }

    /// Does what comes next for the requests in flight.
    fn make(&mut self, progress: Progress) -> Flow {
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

    /// Sends what waited in the queue, in its order: what others cause, and the replies that stand among it.
    fn send_all(&mut self, items: VecDeque<Item>) -> Flow {
        items.into_iter().try_for_each(|item| match item {
            Item::Frame(frame) => self.send_or_end(frame),
            Item::Reply(ticket, reply) => {
                self.in_flight.reply(ticket, reply);
                while let Some(reply) = self.in_flight.take_reply() {
                    self.make(reply)?;
                }
                Flow::Continue(())
            }
        })
    }

    /// Tells the client how these users show themselves by now.
    fn tell_of(&mut self, users: Vec<UserId>) -> Flow {
        users.into_iter().try_for_each(|user| {
            let Some(message) = self.relay.tell(self.session(), user) else { return Flow::Continue(()) };
            self.unacked_presence.note(user, |user| self.relay.is_watching(self.live.session(), user));
            self.say_or_end(message)
        })
    }

    /// Tells the client the states of rooms, as far as they are news.
    fn tell_states(&mut self, states: Vec<StateMark>) -> Flow {
        states.into_iter().try_for_each(|state| match self.relay.take_state(self.session(), state) {
            Some(frame) => self.send_own_or_end(frame),
            None => Flow::Continue(()),
        })
    }

    /// A client that is away for longer than its buffer lasts has lost its session.
    fn send_or_end(&mut self, frame: Frame) -> Flow {
        if self.send(frame) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    fn send_own_or_end(&mut self, frame: Frame) -> Flow {
        if self.send_own(frame) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    /// Sends what did not come through the queue.
    fn send_own(&mut self, frame: Frame) -> bool {
        if self.socket.is_none() {
            self.session().hold(&frame);
        }
        self.send(frame)
    }

    fn send(&mut self, frame: Frame) -> bool {
        let is_kept = self.live.count(&frame);
        if frame.counted {
            self.enqueue(frame.bytes);
        } else {
            self.write(frame.bytes);
        }
        is_kept
    }

    /// Writes what is not kept until the client confirms it.
    fn write(&mut self, frame: Bytes) {
        self.unwritten += frame.len();
        self.enqueue(frame);
    }

    fn enqueue(&mut self, frame: Bytes) {
        if let Some(socket) = &mut self.socket {
            self.journal.sent();
            socket.enqueue(Outgoing::Frame(frame));
        }
    }

    fn act_on_deadlines(&mut self) -> Flow {
        let now = Now::read();
        if self.has_backlog() || !self.may_read() {
            self.live.postpone_pong(now);
        }
        while let Some(due) = self.live.take_due(now) {
            match due {
                Due::Ping => self.ping(),
                Due::Say(message) => self.say_or_end(message)?,
                Due::IceServers => {
                    let servers = self.relay.ice_servers(now);
                    self.live.schedule_ice_servers(servers.expires_at, now);
                    self.say_or_end(ServerMessage::IceServers(servers))?;
                }
                Due::Write => {
                    let message = "this connection has not read anything for too long";
                    return Flow::Break(Disconnect::Closed(Closing::new(
                        CloseCode::SlowConsumer,
                        "",
                        message,
                    )));
                }
                Due::Close(closing) => return Flow::Break(Disconnect::Closed(closing)),
                Due::GiveUp => return Flow::Break(Disconnect::Gone),
                Due::Read => {}
            }
        }
        Flow::Continue(())
    }

    fn say_or_end(&mut self, message: ServerMessage<'_>) -> Flow {
        if self.say(message) { Flow::Continue(()) } else { Flow::Break(Disconnect::Gone) }
    }

    fn ping(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.enqueue(Outgoing::Ping);
            self.unacked_presence.pinged();
        }
    }

    /// A client that has proved who they are claims this session and brings a socket.
    fn consider(&mut self, offer: Offer) {
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
    fn outlive(&mut self, ending: Disconnect) -> ControlFlow<Option<Closing>> {
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
    fn tell_again(&mut self) {
        self.unacked_presence.take().for_each(|user| self.relay.tell_again(self.session(), user));
    }

    /// Lets a socket end by itself, with a word of why where the server closes it.
    fn let_go(&self, mut socket: Socket, closing: Option<Closing>, remains: Remains) {
        self.journal.disconnected(closing.as_ref(), remains, Now::tick());
        if let Some(closing) = closing {
            self.close_socket(&mut socket, closing);
        }
        self.sockets.spawn(async move { leave(&mut *socket).await });
    }

    fn close_socket(&self, socket: &mut Socket, closing: Closing) {
        let Closing { code, reason, error } = closing;
        self.relay.metrics.closed(code);
        let error = self.session().codec.encode_server(&fresh(ServerMessage::Error(error)));
        socket.enqueue(Outgoing::Frame(error));
        socket.enqueue(Outgoing::Close(code, reason));
    }

    fn end(&mut self, closing: Option<Closing>) {
        let Leftovers { items, offers } = self.registration.end();
        offers.into_iter().for_each(Offer::decline);
        let Some(mut socket) = self.socket.take() else {
            return self.journal.ended(closing.as_ref(), Now::tick());
        };
        if closing.as_ref().is_some_and(|closing| closing.code != CloseCode::SlowConsumer) {
            for item in items {
                if let Item::Frame(frame) = item {
                    self.journal.sent();
                    socket.enqueue(Outgoing::Frame(frame.bytes));
                }
            }
        }
        self.let_go(socket, closing, Remains::Over);
    }
}

/// Serves the session until it ends. Idle connections keep the future, which is no larger than the task.
impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().in_span(|task| task.poll_turns(cx))
    }
}

fn failed() -> Closing {
    Closing::new(CloseCode::InternalError, "", "the server failed")
}

/// Whether a client that closes with this code does not mean to come back.
fn is_for_good(code: u16) -> bool {
    [CloseCode::Normal, CloseCode::GoingAway].iter().any(|for_good| for_good.as_u16() == code)
}
