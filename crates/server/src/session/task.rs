//! The one loop of a session. Nothing else waits.

mod requests;
mod sending;
mod sockets;

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use aldis_protocol::{CloseCode, ServerMessage, UserId, limits::MAX_UNANSWERED_REQUESTS};
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::{
    in_flight::{InFlight, Progress},
    journal::Journal,
    live::{Due, Live},
    registration::Registration,
    unacked_presence::UnackedPresence,
};
use crate::{
    clock::Now,
    link::{
        Backlog, Broken, Closing, Control, Incoming, Item, SessionHandle, Socket, StateMark, Taken, Ticket,
    },
    relay::Relay,
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

    fn note_state(&mut self) {
        let ids = self.live.take_confirmed_notices();
        if !ids.is_empty() {
            self.relay.accounts.notices.confirmed(self.session(), ids);
        }
        self.session().set_deadline(self.live.next_deadline());
        self.note_held();
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
                self.live.pong(Now::read());
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
