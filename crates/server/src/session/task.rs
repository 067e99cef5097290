//! The one loop of a session. Nothing else waits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use aldis_protocol::{
    CloseCode, ServerMessage,
    limits::{MAX_UNANSWERED_REQUESTS, WRITE_STALL},
};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::{
    enter::leave,
    live::{Asked, Due, Live, Step, fresh},
    wire::{Incoming, Outgoing, Wire},
};
use crate::{
    clock::{Now, milliseconds},
    router::{Closing, Order, Outlet, Reply, Router, Taken},
};

/// Requests that may wait for the store at once.
const WAITING_REQUESTS: usize = 32;
/// So many replies are written together before the next request is read.
const REPLIES_PER_WRITE: usize = 32;

/// A session that is connected.
pub(crate) struct Task<W> {
    wire: W,
    live: Live,
    outlet: Arc<Outlet>,
    router: Arc<Router>,
    waiting: VecDeque<Waiting>,
    /// What the socket had taken when it was last seen to take nothing.
    written_before_stall: u64,
}

/// A reply that is not written yet, in the order of the requests.
enum Waiting {
    /// For an answer.
    ForAnswer(Asked, BoxFuture<'static, ServerMessage<'static>>),
    /// For the replies before it.
    ForTurn(Bytes),
}

/// What the loop woke up for, the most urgent first.
enum Wake {
    Order(Order),
    Frames(VecDeque<Bytes>),
    Due,
    Incoming(Incoming),
    Answered(ServerMessage<'static>),
    Broken,
}

/// How a session ends.
enum Ending {
    /// The client closed, or its connection broke.
    Gone,
    /// The server closes.
    Closed(Closing),
}

type Flow = ControlFlow<Ending>;

impl<W: Wire> Task<W> {
    /// A session that was greeted; [`run`](Self::run) it.
    pub(super) fn new(wire: W, live: Live, outlet: Arc<Outlet>, router: Arc<Router>) -> Self {
        outlet.set_deadline(live.next_deadline());
        Self { wire, live, outlet, router, waiting: VecDeque::new(), written_before_stall: 0 }
    }

    /// The way to this session.
    pub(super) fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// Sends a message that the server starts.
    pub(super) fn say(&mut self, message: ServerMessage<'_>) {
        self.wire.enqueue(Outgoing::Frame(self.outlet.codec.encode_server(&fresh(message))));
    }

    /// Serves the session until it ends.
    pub(crate) async fn run(mut self) {
        let ending = loop {
            let wake = poll_fn(|cx| self.poll_wake(cx)).await;
            // A fault in one session is the end of that session alone.
            match catch_unwind(AssertUnwindSafe(|| self.act(wake))) {
                Ok(ControlFlow::Continue(())) => self.outlet.set_deadline(self.live.next_deadline()),
                Ok(ControlFlow::Break(ending)) => break ending,
                Err(_) => {
                    break Ending::Closed(Closing::new(CloseCode::InternalError, "", "the server failed"));
                }
            }
        };
        self.end(ending).await;
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        loop {
            if let Poll::Ready(wake) = self.poll_outlet(cx) {
                return Poll::Ready(wake);
            }
            if self.live.next_deadline() <= Now::read().tick {
                return Poll::Ready(Wake::Due);
            }
            if self.may_read()
                && let Poll::Ready(incoming) = self.wire.poll_read(cx)
            {
                return Poll::Ready(Wake::Incoming(incoming));
            }
            if let Some(Waiting::ForAnswer(_, answer)) = self.waiting.front_mut()
                && let Poll::Ready(message) = answer.as_mut().poll(cx)
            {
                return Poll::Ready(Wake::Answered(message));
            }
            // The flush passes on the library's pongs too, so it is asked for even where nothing of ours waits.
            let had_backlog = self.has_backlog();
            match self.wire.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Broken),
                Poll::Ready(Ok(())) => self.live.wrote(),
                Poll::Pending => {
                    self.await_write();
                    return Poll::Pending;
                }
            }
            if !had_backlog {
                return Poll::Pending;
            }
        }
    }

    /// Frames for the client are taken only when the last ones are written; until then they count against the queue.
    fn poll_outlet(&self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.has_backlog() {
            return self.outlet.poll_order(cx).map(Wake::Order);
        }
        self.outlet.poll_take(cx).map(|taken| match taken {
            Taken::Frames(frames) => Wake::Frames(frames),
            Taken::Order(order) => Wake::Order(order),
        })
    }

    fn has_backlog(&self) -> bool {
        self.wire.backlog().frames > 0
    }

    /// A client that does not read its replies is not read from; one whose requests wait for the store neither.
    fn may_read(&self) -> bool {
        let unanswered = self.waiting.len() + self.wire.backlog().frames;
        self.waiting.len() < WAITING_REQUESTS
            && self.wire.backlog().frames < REPLIES_PER_WRITE
            && unanswered < MAX_UNANSWERED_REQUESTS
    }

    fn await_write(&mut self) {
        let written = self.wire.written();
        if written != self.written_before_stall {
            self.written_before_stall = written;
            self.live.wrote();
        }
        self.live.await_write(Now::read().tick + milliseconds(WRITE_STALL));
        self.outlet.set_deadline(self.live.next_deadline());
    }

    fn act(&mut self, wake: Wake) -> Flow {
        match wake {
            Wake::Order(Order::Close(closing)) => Flow::Break(Ending::Closed(closing)),
            Wake::Frames(frames) => {
                frames.into_iter().for_each(|frame| self.wire.enqueue(Outgoing::Frame(frame)));
                Flow::Continue(())
            }
            Wake::Due => self.act_on_deadlines(),
            Wake::Incoming(incoming) => self.take(incoming),
            Wake::Answered(message) => {
                self.take_answer(&message);
                Flow::Continue(())
            }
            Wake::Broken => Flow::Break(Ending::Gone),
        }
    }

    fn take(&mut self, incoming: Incoming) -> Flow {
        match incoming {
            Incoming::Frame(frame) => self.receive(&frame),
            Incoming::Ping => Flow::Continue(()),
            Incoming::Pong => {
                self.live.pong();
                Flow::Continue(())
            }
            Incoming::Closed(_) | Incoming::Broken => Flow::Break(Ending::Gone),
            Incoming::Refused(code, message) => Flow::Break(Ending::Closed(Closing::new(code, "", message))),
        }
    }

    fn receive(&mut self, frame: &Bytes) -> Flow {
        let now = Now::read();
        match self.live.receive(frame, now) {
            Step::Nothing => {}
            Step::Reply(reply) => self.reply(reply),
            Step::ReplyAndClose(reply, closing) => {
                self.reply(reply);
                return Flow::Break(Ending::Closed(closing));
            }
            Step::Ask(asked, message) => {
                let id = asked.id().cloned();
                match self.router.handle(&self.outlet, id, message, now) {
                    Reply::Now(message) => {
                        let reply = self.live.answer(asked, &message, now);
                        self.reply(reply);
                    }
                    Reply::Later(answer) => self.waiting.push_back(Waiting::ForAnswer(asked, answer)),
                }
            }
            Step::CheckToken(asked, token) => {
                let checked = self.router.check_token(&token, now);
                match self.live.reauthenticate(asked, checked, now) {
                    Ok(reply) => self.reply(reply),
                    Err(closing) => return Flow::Break(Ending::Closed(closing)),
                }
            }
        }
        Flow::Continue(())
    }

    /// Sends a reply in its turn.
    fn reply(&mut self, reply: Bytes) {
        if self.waiting.is_empty() {
            self.wire.enqueue(Outgoing::Frame(reply));
        } else {
            self.waiting.push_back(Waiting::ForTurn(reply));
        }
    }

    fn take_answer(&mut self, message: &ServerMessage<'_>) {
        if let Some(Waiting::ForAnswer(asked, _)) = self.waiting.pop_front() {
            let reply = self.live.answer(asked, message, Now::read());
            self.wire.enqueue(Outgoing::Frame(reply));
        }
        while let Some(Waiting::ForTurn(_)) = self.waiting.front() {
            if let Some(Waiting::ForTurn(reply)) = self.waiting.pop_front() {
                self.wire.enqueue(Outgoing::Frame(reply));
            }
        }
    }

    fn act_on_deadlines(&mut self) -> Flow {
        let now = Now::read();
        while let Some(due) = self.live.take_due(now) {
            match due {
                Due::Ping => self.wire.enqueue(Outgoing::Ping),
                Due::Say(message) => self.say(message),
                Due::IceServers => {
                    let servers = self.router.ice_servers(now);
                    self.live.schedule_ice_servers(servers.expires_at, now);
                    self.say(ServerMessage::IceServers(servers));
                }
                Due::Write => {
                    let message = "this connection has not read anything for too long";
                    return Flow::Break(Ending::Closed(Closing::new(CloseCode::SlowConsumer, "", message)));
                }
                Due::Close(closing) => return Flow::Break(Ending::Closed(closing)),
            }
        }
        Flow::Continue(())
    }

    async fn end(mut self, ending: Ending) {
        let left = self.router.detach(&self.outlet);
        if let Ending::Closed(closing) = ending {
            if closing.code != CloseCode::SlowConsumer {
                left.into_iter().for_each(|frame| self.wire.enqueue(Outgoing::Frame(frame)));
            }
            let Closing { code, reason, error } = closing;
            self.say(ServerMessage::Error(error));
            self.wire.enqueue(Outgoing::Close(code, reason));
        }
        leave(&mut self.wire).await;
    }
}
