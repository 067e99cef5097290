//! The one loop of a session. Nothing else waits.

use std::{
    any::Any,
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
    leave::leave,
    live::{Asked, Due, Live, Step, fresh},
    registration::Registration,
    resume::{Answer as HandedOver, Arriving, HandOver, Offer},
    told::Told,
    unanswered::{Answer, Unanswered},
    wire::{Backlog, Broken, Incoming, Outgoing, Wire},
};
use crate::{
    clock::{Now, milliseconds},
    router::{After, Closing, Frame, Held, Left, Order, Outlet, Reply, Router, StateMark, Taken},
};

/// Requests that may wait for the store at once.
const WAITING_REQUESTS: usize = 32;
/// So many replies are written together before the next request is read.
const REPLIES_PER_WRITE: usize = 32;

/// A session: served through a socket, or waiting for its client to come back with another.
#[must_use = "a session is served by awaiting it"]
pub(crate) struct Task<W> {
    wire: Option<W>,
    live: Live,
    router: Arc<Router>,
    registration: Registration,
    /// Waits for sockets that the session has let go of.
    sockets: TaskTracker,
    waiting: Unanswered,
    /// A frame whose id is that of a request being carried out, of which it may be a repetition; nothing is read until it is
    /// carried out.
    put_off: Option<Box<Bytes>>,
    /// What was read before the session had the socket.
    early: VecDeque<Incoming>,
    /// How many requests to join a room, or to keep something in one, had to wait for their answers.
    asked_in_rooms: u64,
    /// Of whose presence the client was told on this socket.
    told: Told,
    /// At most so many bytes wait to be written that are not kept until the client confirms them.
    unwritten: usize,
    /// How often the socket was looked at since a deadline came that the client can still keep.
    late_looks: u8,
}

/// Frames that are read behind a deadline before it decides: what has arrived counts, and a client that goes on sending
/// gains no time by it.
const LATE_LOOKS: u8 = 64;

/// What the loop woke up for, the most urgent first.
enum Wake {
    Order(Order),
    Frames(VecDeque<Frame>),
    Watched(Vec<UserId>),
    States(Vec<StateMark>),
    Due,
    Incoming(Incoming),
    Again(Bytes),
    Answer(Answer),
    Flood(Closing),
    Broken,
}

/// What becomes of a session, or of its socket.
enum Ending {
    /// The socket is gone, and the client may come back.
    Broken,
    /// The client has closed, and does not come back.
    Gone,
    /// The server closes.
    Closed(Closing),
}

type Flow = ControlFlow<Ending>;

impl<W: Wire> Task<W> {
    /// A session that was greeted; await it. `early` is what its client has sent already.
    pub(super) fn new(
        wire: W,
        early: VecDeque<Incoming>,
        live: Live,
        registration: Registration,
        router: Arc<Router>,
        sockets: TaskTracker,
    ) -> Self {
        live.outlet().set_deadline(live.next_deadline());
        let (wire, waiting, told) = (Some(wire), Unanswered::default(), Told::default());
        Self {
            wire,
            live,
            router,
            registration,
            sockets,
            waiting,
            put_off: None,
            early,
            asked_in_rooms: 0,
            told,
            unwritten: 0,
            late_looks: 0,
        }
    }

    /// The way to this session.
    pub(crate) const fn outlet(&self) -> &Arc<Outlet> {
        self.live.outlet()
    }

    /// Sends a message that the server starts. False where the buffer for a client that is away ran over.
    pub(super) fn say(&mut self, message: ServerMessage<'_>) -> bool {
        let counted = message.is_counted();
        self.send_own(Frame::new(self.outlet().codec.encode_server(&fresh(message)), counted))
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<Option<Closing>>> {
        let wake = ready!(self.poll_wake(cx));
        Poll::Ready(match self.act(wake, cx) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(ending) => self.outlive(ending),
        })
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        loop {
            if let Poll::Ready(wake) = self.poll_outlet(cx) {
                return Poll::Ready(wake);
            }
            if self.live.next_deadline() <= Now::tick() {
                return self.poll_deadline(cx);
            }
            self.late_looks = 0;
            if self.waiting.is_empty()
                && let Some(put_off) = self.put_off.take()
            {
                return Poll::Ready(Wake::Again(*put_off));
            }
            let has_read = self.may_read();
            if let Poll::Ready(wake) = self.poll_incoming(cx) {
                return Poll::Ready(wake);
            }
            let had_backlog = self.has_backlog();
            if let Poll::Ready(answer) = self.waiting.poll(cx, !had_backlog && self.wire.is_some()) {
                return Poll::Ready(Wake::Answer(answer));
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(Broken)) => return Poll::Ready(Wake::Broken),
                // There is room for more requests, or for more of what is streamed.
                Poll::Ready(Ok(())) if had_backlog && (!has_read || self.waiting.has_parts()) => {}
                // There is room for what waits in the queue; all else was just asked.
                Poll::Ready(Ok(())) if had_backlog => {
                    self.note_held();
                    self.outlet().set_deadline(self.live.next_deadline());
                    return self.poll_outlet(cx);
                }
                Poll::Ready(Ok(())) | Poll::Pending => {
                    self.outlet().set_deadline(self.live.next_deadline());
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
        let Some(wire) = &mut self.wire else { return Poll::Ready(Ok(())) };
        let flushed = wire.poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.live.wrote(),
            Poll::Ready(Err(Broken)) => {}
            Poll::Pending => self.await_write(),
        }
        flushed
    }

    /// Frames for the client are taken only when the last ones are written; until then they count against the queue.
    fn poll_outlet(&self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.has_backlog() {
            return self.outlet().poll_order(cx).map(Wake::Order);
        }
        match self.outlet().poll_take(cx) {
            Poll::Ready(Taken::Frames(frames)) => Poll::Ready(Wake::Frames(frames)),
            Poll::Ready(Taken::Order(order)) => Poll::Ready(Wake::Order(order)),
            Poll::Pending => self.take_marks().map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// What the client is told as its socket has room.
    fn take_marks(&self) -> Option<Wake> {
        // A session that subscribes is answered before it is told.
        let users = if self.waiting.awaits_subscription() { None } else { self.outlet().take_marks() };
        users.map(Wake::Watched).or_else(|| self.outlet().take_states().map(Wake::States))
    }

    /// A client that does not read its replies is not read from; one whose requests wait for the store neither.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let may_read = self.may_read();
        match &mut self.wire {
            Some(wire) if may_read => match self.early.pop_front() {
                Some(early) => Poll::Ready(early),
                None => wire.poll_read(cx),
            },
            _ => Poll::Pending,
        }
    }

    /// What came from the client, or that it sends too much.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let incoming = self.poll_read(cx);
        let small_frames = self.wire.as_mut().map_or(0, Wire::take_small_frames);
        if small_frames > 0
            && let Err(closing) = self.live.pass_by(small_frames, Now::read())
        {
            return Poll::Ready(Wake::Flood(closing));
        }
        incoming.map(Wake::Incoming)
    }

    fn may_read(&self) -> bool {
        let (backlog, waiting) = (self.backlog().frames, self.waiting.len());
        self.put_off.is_none()
            && !self.live.is_paused()
            && waiting < WAITING_REQUESTS
            && backlog < REPLIES_PER_WRITE
            && waiting + backlog < MAX_UNANSWERED_REQUESTS
    }

    fn has_backlog(&self) -> bool {
        self.backlog().frames > 0
    }

    fn backlog(&self) -> Backlog {
        self.wire.as_ref().map(Wire::backlog).unwrap_or_default()
    }

    fn await_write(&mut self) {
        if self.wire.as_mut().is_some_and(Wire::take_has_written) {
            self.live.wrote();
        }
        self.live.await_write(Now::tick() + milliseconds(WRITE_STALL));
    }

    fn note_state(&mut self) {
        self.outlet().set_deadline(self.live.next_deadline());
        self.note_held();
    }

    /// Says how much the session holds for its client: what is not confirmed, what is not written of all else, and what
    /// was made to be written.
    fn note_held(&mut self) {
        self.unwritten = self.unwritten.min(self.backlog().bytes);
        let mut held = self.live.held();
        held += Held::new(self.unwritten + self.waiting.held_bytes(), false);
        self.outlet().set_kept(held);
    }

    fn act(&mut self, wake: Wake, cx: &mut Context<'_>) -> Flow {
        match wake {
            Wake::Order(Order::Close(closing)) => Flow::Break(Ending::Closed(closing)),
            Wake::Order(Order::HandOver(offer)) => {
                // A buffer that runs over by it leaves nothing to come back to.
                let Backlog { frames, bytes } = self.backlog();
                let flow = self.send_all(self.outlet().take_ahead(frames, bytes), cx);
                self.consider(offer);
                flow
            }
            Wake::Frames(frames) => self.send_all(frames, cx),
            Wake::Watched(users) => self.tell_of(users),
            Wake::States(states) => self.tell_states(states),
            Wake::Due => self.act_on_deadlines(),
            Wake::Incoming(incoming) => self.take(incoming),
            Wake::Again(frame) => {
                let now = Now::read();
                let step = self.live.receive_again(&frame, now);
                self.carry_out(step, &frame, now)
            }
            Wake::Flood(closing) => Flow::Break(Ending::Closed(closing)),
            Wake::Answer(answer) => self.take_answer(answer, cx),
            Wake::Broken => Flow::Break(Ending::Broken),
        }
    }

    fn take(&mut self, incoming: Incoming) -> Flow {
        match incoming {
            Incoming::Frame(frame) => self.receive(&frame),
            Incoming::Ping => Flow::Continue(()),
            Incoming::Pong => {
                self.live.pong();
                self.told.ponged();
                Flow::Continue(())
            }
            Incoming::Closed(code) if code.is_some_and(is_for_good) => Flow::Break(Ending::Gone),
            Incoming::Closed(_) => {
                self.router.client_left(self.outlet());
                Flow::Break(Ending::Broken)
            }
            Incoming::Broken => Flow::Break(Ending::Broken),
            Incoming::Refused(code, message) => Flow::Break(Ending::Closed(Closing::new(code, "", message))),
        }
    }

    fn receive(&mut self, frame: &Bytes) -> Flow {
        let now = Now::read();
        let step = self.live.receive(frame, now);
        self.carry_out(step, frame, now)
    }

    fn carry_out(&mut self, step: Step<'_>, frame: &Bytes, now: Now) -> Flow {
        match step {
            Step::Nothing => Flow::Continue(()),
            Step::Reply(reply) => self.reply(reply),
            Step::ReplyAndClose(reply, closing) => {
                self.reply(reply)?;
                Flow::Break(Ending::Closed(closing))
            }
            Step::Close(closing) => Flow::Break(Ending::Closed(closing)),
            Step::Ask(asked, _) if self.waiting.includes(&asked) => {
                self.put_off = Some(Box::new(frame.clone()));
                Flow::Continue(())
            }
            Step::Ask(asked, message) => self.ask(asked, message, frame.len(), now),
            Step::CheckToken(asked, token) => {
                let checked = self.router.accounts.renew_token(self.outlet(), &token, now);
                match self.live.reauthenticate(asked, checked, now) {
                    Ok(reply) => self.reply(reply),
                    Err(closing) => Flow::Break(Ending::Closed(closing)),
                }
            }
        }
    }

    /// Has the router carry out a request that came in so many bytes.
    fn ask(&mut self, mut asked: Asked, message: ClientMessage<'_>, bytes: usize, now: Now) -> Flow {
        let id = asked.id().cloned();
        let reply = match self.router.refuse_relayed(self.outlet(), &message, bytes, now) {
            Some(refusal) => Reply::Now(refusal),
            None => self.router.handle(self.outlet(), id, message, now),
        };
        match reply {
            Reply::Now(message) => {
                let reply = self.live.answer(asked, message, now);
                return self.reply(reply);
            }
            Reply::Later(answer) => {
                asked.take_place(&mut self.asked_in_rooms);
                self.waiting.push(asked, answer);
            }
            Reply::InParts(parts) => self.waiting.push_parts(asked, parts),
        }
        Flow::Continue(())
    }

    /// Sends a reply in its turn.
    fn reply(&mut self, reply: Frame) -> Flow {
        if self.waiting.is_empty() {
            return self.send_own_or_end(reply);
        }
        self.waiting.push_reply(reply);
        Flow::Continue(())
    }

    /// Sends an answer; before one that has its place among what others cause, what waits from before it.
    fn take_answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Flow {
        let place = answer.place();
        if !place.is_anywhere() {
            return self.send_answer(answer);
        }
        let Backlog { frames, bytes } = self.backlog();
        let mut waiting = self.outlet().take_ahead(frames, bytes);
        while let Some(frame) = waiting.pop_front_if(|frame| !place.comes_before(frame.after)) {
            self.send_or_end(frame)?;
        }
        self.send_answer(answer)?;
        self.send_all(waiting, cx)
    }

    fn send_answer(&mut self, answer: Answer) -> Flow {
        match answer {
            Answer::Message(asked, message) | Answer::End(asked, message) => {
                let reply = self.live.answer(asked, *message, Now::read());
                self.send_own_or_end(reply)
            }
            Answer::Reply(reply) => self.send_own_or_end(reply),
            Answer::Part(frames) => {
                frames.into_iter().for_each(|bytes| self.write(bytes));
                Flow::Continue(())
            }
        }
    }

    /// Sends what others caused; before what follows a message of the session's own, the answer to that, which was given
    /// before it was put into the queue.
    fn send_all(&mut self, frames: VecDeque<Frame>, cx: &mut Context<'_>) -> Flow {
        if !frames.is_empty() {
            self.waiting.poll_all(cx);
        }
        frames.into_iter().try_for_each(|frame| {
            while frame.after != After::default()
                && let Some(answer) = self.waiting.take_up_to(frame.after)
            {
                self.send_answer(answer)?;
            }
            self.send_or_end(frame)
        })
    }

    /// Tells the client how these users show themselves by now.
    fn tell_of(&mut self, users: Vec<UserId>) -> Flow {
        users.into_iter().try_for_each(|user| {
            let Some(message) = self.router.tell(self.outlet(), user) else { return Flow::Continue(()) };
            self.told.note(user, |user| self.router.is_watching(self.live.outlet(), user));
            self.say_or_end(message)
        })
    }

    /// Tells the client the states of rooms, as far as they are news.
    fn tell_states(&mut self, states: Vec<StateMark>) -> Flow {
        states.into_iter().try_for_each(|state| match self.router.take_state(self.outlet(), state) {
            Some(frame) => self.send_own_or_end(frame),
            None => Flow::Continue(()),
        })
    }

    /// A client that is away for longer than its buffer lasts has lost its session.
    fn send_or_end(&mut self, frame: Frame) -> Flow {
        if self.send(frame) { Flow::Continue(()) } else { Flow::Break(Ending::Gone) }
    }

    fn send_own_or_end(&mut self, frame: Frame) -> Flow {
        if self.send_own(frame) { Flow::Continue(()) } else { Flow::Break(Ending::Gone) }
    }

    /// Sends what did not come through the queue.
    fn send_own(&mut self, frame: Frame) -> bool {
        if self.wire.is_none() {
            self.outlet().hold(&frame);
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
        if let Some(wire) = &mut self.wire {
            wire.enqueue(Outgoing::Frame(frame));
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
                    let servers = self.router.ice_servers(now);
                    self.live.schedule_ice_servers(servers.expires_at, now);
                    self.say_or_end(ServerMessage::IceServers(servers))?;
                }
                Due::Write => {
                    let message = "this connection has not read anything for too long";
                    return Flow::Break(Ending::Closed(Closing::new(CloseCode::SlowConsumer, "", message)));
                }
                Due::Close(closing) => return Flow::Break(Ending::Closed(closing)),
                Due::GiveUp => return Flow::Break(Ending::Gone),
                Due::Read => {}
            }
        }
        Flow::Continue(())
    }

    fn say_or_end(&mut self, message: ServerMessage<'_>) -> Flow {
        if self.say(message) { Flow::Continue(()) } else { Flow::Break(Ending::Gone) }
    }

    fn ping(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.enqueue(Outgoing::Ping);
            self.told.pinged();
        }
    }

    /// A client that has proved who they are claims this session and brings a socket.
    fn consider(&mut self, offer: Box<dyn Any + Send>) {
        let Ok(offer) = offer.downcast::<Offer<W>>() else { return };
        let Some((offer, answer)) = offer.take() else { return };
        if !self.live.accepts(&offer) {
            // The client may have gone while it waited, here and below.
            let _ = answer.send(HandedOver::Declined(offer.arriving));
            return;
        }
        let Outlet { user, session, .. } = **self.outlet();
        if !self.router.registry.renew_claim(user, session, offer.device_claim) {
            let _ = answer.send(HandedOver::Superseded(offer.arriving));
            return;
        }
        let HandOver { arriving: Arriving { mut wire, early }, id, identity, claim, .. } = offer;
        self.router.accounts.proved_again(self.outlet(), &identity);
        let next = greeting::resume_token(self.outlet().session);
        let missed = self.live.resume(claim, &next, identity.token, Now::read());
        let greeting = Greeting::resumed(&self.live, &next, id, missed.len());
        greeting::greet(&mut wire, self.outlet(), &identity, greeting);
        missed.into_iter().for_each(|frame| wire.enqueue(Outgoing::Frame(frame)));
        if let Some(displaced) = self.wire.replace(wire) {
            self.tell_again();
            let message = "the client came back on another connection";
            self.let_go(displaced, Some(Closing::new(CloseCode::Replaced, "", message)));
        }
        self.waiting.drop_parts();
        self.put_off = None;
        self.early = early;
        self.outlet().set_detached(false);
        self.router.client_returned(self.outlet());
        let _ = answer.send(HandedOver::Taken);
    }

    /// Goes on without a socket where the client may come back, else says how the session ends.
    fn outlive(&mut self, ending: Ending) -> ControlFlow<Option<Closing>> {
        let closing = match ending {
            Ending::Broken => None,
            Ending::Closed(closing) if closing.code.keeps_session(closing.reason) => Some(closing),
            Ending::Closed(closing) => return ControlFlow::Break(Some(closing)),
            Ending::Gone => return ControlFlow::Break(None),
        };
        if self.live.resume_window_ms() == 0 {
            return ControlFlow::Break(closing);
        }
        // A session that lacks a socket has none to close, and its window stays what it was.
        let Some(wire) = self.wire.take() else { return ControlFlow::Continue(()) };
        self.tell_again();
        self.let_go(wire, closing);
        // The client sends again what was not answered.
        self.waiting.drop_parts();
        self.put_off = None;
        self.early.clear();
        self.outlet().set_detached(true);
        self.live.detach(Now::read());
        ControlFlow::Continue(())
    }

    /// A socket is gone. What its client was told, but may not have heard, it is told anew on the next one.
    fn tell_again(&mut self) {
        self.told.take().for_each(|user| self.router.tell_again(self.outlet(), user));
    }

    /// Lets a socket end by itself, with a word of why where the server closes it.
    fn let_go(&self, mut wire: W, closing: Option<Closing>) {
        if let Some(closing) = closing {
            self.close_wire(&mut wire, closing);
        }
        self.sockets.spawn(async move { leave(&mut wire).await });
    }

    fn close_wire(&self, wire: &mut W, closing: Closing) {
        let Closing { code, reason, error } = closing;
        self.router.metrics.closed(code);
        let error = self.outlet().codec.encode_server(&fresh(ServerMessage::Error(error)));
        wire.enqueue(Outgoing::Frame(error));
        wire.enqueue(Outgoing::Close(code, reason));
    }

    fn end(&mut self, closing: Option<Closing>) {
        let Left { frames, hand_overs } = self.registration.end();
        let late = hand_overs.into_iter().filter_map(|offer| offer.downcast::<Offer<W>>().ok());
        late.for_each(|offer| offer.decline());
        let Some(mut wire) = self.wire.take() else { return };
        if closing.as_ref().is_some_and(|closing| closing.code != CloseCode::SlowConsumer) {
            frames.into_iter().for_each(|frame| wire.enqueue(Outgoing::Frame(frame.bytes)));
        }
        self.let_go(wire, closing);
    }
}

/// Serves the session until it ends. Idle connections keep the future, which is no larger than the task.
impl<W: Wire> Future for Task<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            // A fault in one session is the end of that session alone.
            let turn = catch_unwind(AssertUnwindSafe(|| this.poll_turn(cx)));
            match ready!(turn.unwrap_or_else(|_| Poll::Ready(ControlFlow::Break(Some(failed()))))) {
                ControlFlow::Continue(()) => this.note_state(),
                ControlFlow::Break(closing) => {
                    this.end(closing);
                    return Poll::Ready(());
                }
            }
        }
    }
}

fn failed() -> Closing {
    Closing::new(CloseCode::InternalError, "", "the server failed")
}

/// Whether a client that closes with this code does not mean to come back.
fn is_for_good(code: u16) -> bool {
    [CloseCode::Normal, CloseCode::GoingAway].iter().any(|for_good| for_good.as_u16() == code)
}
