//! The only way to a session: its bounded queue, and beside it what it is ordered to do and the marks of watched users.

mod held;
mod marks;
mod states;

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use aldis_protocol::{
    CloseCode, Codec, DeviceId, ErrorReply, Fingerprint, Sender, SessionId, UserId,
    limits::{QUEUE_BYTES, QUEUE_FRAMES},
};
use aldis_registry::DeviceClaim;
use bytes::Bytes;
use uuid::Uuid;

pub(crate) use self::held::Held;
use self::{held::SharedHeld, marks::Marks, states::States};
use super::{
    feed::{Feed, Reached},
    offers::Offers,
    room_replies::RoomReplies,
    room_states::StateMark,
    turns::Turns,
};

/// Sockets that may wait to be looked at by a session: more than a client opens at once.
const HAND_OVERS: usize = 8;

/// A session as everyone else sees it.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) codec: Codec,
    /// By what its first socket has the device.
    pub(crate) device_claim: DeviceClaim,
    /// The sign-in that its token descends from; none where a key was the proof.
    family: Mutex<Option<Uuid>>,
    pub(super) offers: Offers,
    pub(super) turns: Turns,
    pub(super) room_replies: RoomReplies,
    /// The tick at which the session wants to be woken; the sweep reads it.
    deadline: AtomicU64,
    /// What the session holds for its client besides the queue.
    kept: SharedHeld,
    /// Bytes that its subscriptions cost.
    watches: AtomicUsize,
    queue: Mutex<Queue>,
}

/// A frame for a session, encoded in its codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Whether the client confirms it, so that it is kept for a resume until then.
    pub(crate) counted: bool,
    /// Whether other sessions hold the same bytes.
    pub(crate) shared: bool,
    /// What the session is answered before it.
    pub(crate) after: After,
}

/// Which of a session's own requests have their answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct After {
    /// Its messages up to this number in the mailbox.
    pub(crate) mail: u64,
    /// So many of those that join rooms, or keep something in one.
    pub(crate) rooms: u64,
}

/// What the session was told to do.
pub(crate) enum Order {
    /// Tell the client why, and close.
    Close(Closing),
    /// Take a socket whose client claims this session. What a socket is, only the session knows.
    HandOver(Box<dyn Any + Send>),
}

/// A close that the server starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closing {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
    /// What the `error` before it says.
    pub(crate) error: ErrorReply<'static>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "full and gone each want a decision"]
pub(crate) enum Pushed {
    /// It is on its way.
    Queued,
    /// The session has no socket; it is held for its client to come back.
    Buffered,
    /// There was no room; the session closes as a slow consumer.
    Full,
    /// The session is over.
    Gone,
}

/// What became of a message of the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a gap is to be filled first"]
pub(super) enum Fed {
    /// It was the next one, and put into the queue.
    Pushed(Pushed),
    /// The session has it already, or gets it through its `sync`.
    Known,
    /// Those after this number have to come first.
    After(u64),
}

/// What a session that is over leaves behind.
pub(crate) struct Left {
    /// Frames that waited for its client.
    pub(crate) frames: VecDeque<Frame>,
    /// Sockets that were handed to it too late.
    pub(crate) hand_overs: VecDeque<Box<dyn Any + Send>>,
}

/// What waited for a session.
pub(crate) enum Taken {
    /// All frames that waited.
    Frames(VecDeque<Frame>),
    /// An order; it goes before frames.
    Order(Order),
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    held: Held,
    /// What the session took and has not written yet still counts; without a socket, all that it keeps since the break.
    taken: Load,
    orders: Orders,
    marks: Marks,
    states: States,
    feed: Feed,
    waker: Option<Waker>,
    detached: bool,
    closed: bool,
}

/// What a session is ordered to do. Nothing is kept where there is nothing.
#[derive(Default)]
struct Orders(Option<Box<Given>>);

#[derive(Default)]
struct Given {
    closing: Option<Closing>,
    hand_overs: VecDeque<Box<dyn Any + Send>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    frames: u32,
    bytes: u32,
}

impl Frame {
    /// A frame that follows nothing.
    pub(crate) const fn new(bytes: Bytes, counted: bool) -> Self {
        Self { bytes, counted, shared: false, after: After { mail: 0, rooms: 0 } }
    }

    /// What it counts for while it waits.
    pub(crate) fn held(&self) -> Held {
        Held::new(self.bytes.len(), self.shared)
    }
}

impl Closing {
    /// A close whose `error` has the code that goes with it.
    pub(crate) fn new(code: CloseCode, reason: &'static str, message: &'static str) -> Self {
        let error = ErrorReply {
            close: Some(code.as_u16()),
            // With new credentials first, where the code says so.
            reconnect: Some(code.advice(reason) != aldis_protocol::Advice::Stop),
            ..ErrorReply::new(code.error_code(), message)
        };
        Self { code, reason, error }
    }

    /// The same, with the time after which the client should come back.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.error.retry_after = Some(seconds);
        self
    }
}

impl Outlet {
    /// The way to a session that is about to begin.
    pub(crate) fn new(
        session: SessionId,
        user: UserId,
        device: DeviceId,
        fingerprint: Option<Fingerprint>,
        family: Option<Uuid>,
        codec: Codec,
    ) -> Self {
        Self {
            session,
            user,
            device,
            fingerprint,
            codec,
            device_claim: DeviceClaim::default(),
            family: Mutex::new(family),
            offers: Offers::default(),
            turns: Turns::default(),
            room_replies: RoomReplies::default(),
            deadline: AtomicU64::new(u64::MAX),
            kept: SharedHeld::default(),
            watches: AtomicUsize::new(0),
            queue: Mutex::default(),
        }
    }

    /// The same, with a claim to its device that is larger than the smallest.
    pub(crate) fn claiming(self, device_claim: DeviceClaim) -> Self {
        Self { device_claim, ..self }
    }

    /// Puts a frame into the session's queue. Never waits.
    pub(crate) fn push(&self, frame: Frame) -> Pushed {
        self.push_made(|_| frame)
    }

    /// Puts a frame into the queue that comes after what the session was told of, and answered, until now.
    pub(super) fn push_in_order(&self, frame: Frame) -> Pushed {
        let rooms = self.room_replies.count();
        self.push_made(|feed| Frame { after: After { mail: feed.through(), rooms }, ..frame })
    }

    /// Has the session tell its client how a watched user shows himself, as soon as its socket has room.
    pub(crate) fn mark(&self, watched: UserId) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.marks.add(watched);
        let waker = if queue.detached { None } else { queue.waker.take() };
        drop(queue);
        wake(waker);
    }

    /// Has the session tell its client a state of a room, in place of an older one that waits, as soon as its socket has
    /// room.
    pub(super) fn mark_state(&self, state: StateMark) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.states.add(state);
        let waker = if queue.detached { None } else { queue.waker.take() };
        drop(queue);
        wake(waker);
    }

    /// Puts a message of the user's mailbox into the queue, where it is the next one.
    pub(super) fn push_mail(&self, seq: u64, frame: impl FnOnce() -> Frame) -> Fed {
        let mut queue = self.lock();
        if queue.closed {
            return Fed::Pushed(Pushed::Gone);
        }
        match queue.feed.reach(seq) {
            Reached::Known => Fed::Known,
            Reached::After(after) => Fed::After(after),
            Reached::Next => {
                let after = After { mail: seq - 1, rooms: self.room_replies.count() };
                let pushed = queue.push(Frame { after, ..frame() });
                let waker = queue.waker.take();
                drop(queue);
                wake(waker);
                Fed::Pushed(pushed)
            }
        }
    }

    /// A message of the user's mailbox that the session knows from its own `ack` was committed.
    pub(super) fn pass_mail(&self, seq: u64) -> Fed {
        match self.lock().feed.reach(seq) {
            Reached::Next | Reached::Known => Fed::Known,
            Reached::After(after) => Fed::After(after),
        }
    }

    /// A `sync` of the user's mailbox begins: what is committed from now on comes through it alone.
    pub(super) fn begin_sync(&self) {
        self.lock().feed.begin_sync();
    }

    /// The `sync` has streamed all up to this number. False where more was committed meanwhile.
    pub(super) fn end_sync(&self, last: u64) -> bool {
        self.lock().feed.end_sync(last)
    }

    /// After which number the session misses messages of the user's mailbox, where this one should have been told.
    pub(super) fn misses_mail(&self, seq: u64) -> Option<u64> {
        self.lock().feed.misses(seq)
    }

    /// Messages that are missing cannot be had: those that follow are told without them.
    pub(super) fn leap_mail(&self) {
        self.lock().feed.leap();
    }

    /// The `sync` ends before all was streamed.
    pub(super) fn abandon_sync(&self) {
        self.lock().feed.abandon_sync();
    }

    /// Closes the session. The first close stands, and goes before a hand-over.
    pub(crate) fn close_with(&self, closing: Closing) {
        let mut queue = self.lock();
        queue.orders.close(closing);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
    }

    /// Hands a socket to the session, behind those that it has not looked at yet. Gives it back where the session is over,
    /// has to close, or has [`HAND_OVERS`] to look at.
    pub(crate) fn hand_over(&self, socket: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(socket);
        }
        queue.orders.hand_over(socket)?;
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        Ok(())
    }

    /// How much waits for the session's client.
    pub(crate) fn held(&self) -> Held {
        let mut held = self.kept.get();
        held += Held::new(self.watches.load(Ordering::Relaxed), false);
        let queue = self.lock();
        held += queue.held;
        held += Held::new(queue.marks.bytes(), false);
        held += queue.states.held();
        held
    }

    /// What the session's subscriptions cost by now.
    pub(super) fn set_watches(&self, bytes: usize) {
        self.watches.store(bytes, Ordering::Relaxed);
    }

    /// Whether the session has no socket.
    pub(crate) fn is_detached(&self) -> bool {
        self.lock().detached
    }

    /// Whether the session is over, or was told to close.
    pub(super) fn is_closing(&self) -> bool {
        let queue = self.lock();
        queue.closed || queue.orders.is_closing()
    }

    /// The sign-in that its token descends from; none where a key was the proof.
    pub(crate) fn family(&self) -> Option<Uuid> {
        *self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session was proved anew, by what descends from another sign-in, or by a key.
    pub(super) fn set_family(&self, family: Option<Uuid>) {
        *self.family.lock().unwrap_or_else(PoisonError::into_inner) = family;
    }

    /// Wakes the session where its deadline has come.
    pub(crate) fn wake_if_due(&self, tick: u64) {
        if self.deadline.load(Ordering::Relaxed) <= tick {
            let waker = self.lock().waker.take();
            wake(waker);
        }
    }

    /// The sender of what this session says.
    pub(crate) fn sender(&self) -> Sender {
        Sender::new(self.device.clone(), self.user).with_fingerprint(self.fingerprint)
    }

    /// For the session itself: what waits. What was taken the last time counts as written, where it has a socket.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut queue = self.lock();
        if let Some(order) = queue.orders.take() {
            return Poll::Ready(Taken::Order(order));
        }
        if queue.frames.is_empty() {
            if !queue.detached {
                queue.taken = Load::default();
            }
            queue.register(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(Taken::Frames(queue.take(Load::default())))
    }

    /// For the session itself, where [nothing else waits](Self::poll_take): some of the watched users of whom it is to
    /// tell its client. Without a socket nobody can be told, and what is told later is newer.
    pub(crate) fn take_marks(&self) -> Option<Vec<UserId>> {
        let mut queue = self.lock();
        let taken = if queue.detached { Vec::new() } else { queue.marks.take() };
        (!taken.is_empty()).then_some(taken)
    }

    /// For the session itself, where [nothing else waits](Self::poll_take): some of the states of rooms that it is to tell
    /// its client. They wait for a socket.
    pub(crate) fn take_states(&self) -> Option<Vec<StateMark>> {
        let mut queue = self.lock();
        let taken = if queue.detached { Vec::new() } else { queue.states.take() };
        (!taken.is_empty()).then_some(taken)
    }

    /// For the session itself, before it answers or looks at a socket: what waits by now. Of what it took, so much is not written yet.
    pub(crate) fn take_ahead(&self, unwritten_frames: usize, unwritten_bytes: usize) -> VecDeque<Frame> {
        let mut queue = self.lock();
        let Load { frames, bytes } = Load::new(unwritten_frames, unwritten_bytes);
        let unwritten = Load { frames: queue.taken.frames.min(frames), bytes: queue.taken.bytes.min(bytes) };
        queue.take(unwritten)
    }

    /// For the session itself, while it has frames to write: registers for orders alone.
    pub(crate) fn poll_order(&self, cx: &mut Context<'_>) -> Poll<Order> {
        let mut queue = self.lock();
        if let Some(order) = queue.orders.take() {
            return Poll::Ready(order);
        }
        queue.register(cx.waker());
        Poll::Pending
    }

    /// For the session itself: when it wants to be woken.
    pub(crate) fn set_deadline(&self, tick: u64) {
        self.deadline.store(tick, Ordering::Relaxed);
    }

    /// For the session itself: whether it has a socket.
    pub(crate) fn set_detached(&self, detached: bool) {
        let mut queue = self.lock();
        queue.detached = detached;
        queue.taken = Load::default();
    }

    /// For the session itself: it keeps a frame of its own for its client, which shares the room of those that come here.
    pub(crate) fn hold(&self, frame: &Frame) {
        let mut queue = self.lock();
        if queue.detached && frame.counted {
            queue.taken = queue.taken.and(frame);
        }
    }

    /// For the session itself: what it holds for its client besides the queue.
    pub(crate) fn set_kept(&self, held: Held) {
        self.kept.set(held);
    }

    /// For the session itself: it takes no more. Gives back what waited.
    pub(crate) fn close(&self) -> Left {
        let queue = std::mem::replace(&mut *self.lock(), Queue { closed: true, ..Queue::default() });
        Left { frames: queue.frames, hand_overs: queue.orders.into_hand_overs() }
    }

    fn push_made(&self, frame: impl FnOnce(&Feed) -> Frame) -> Pushed {
        let mut queue = self.lock();
        if queue.closed {
            return Pushed::Gone;
        }
        let frame = frame(&queue.feed);
        let pushed = queue.push(frame);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        pushed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, frame: Frame) -> Pushed {
        let frames = self.frames.len() + self.taken.frames();
        let bytes = self.held.total() + self.taken.bytes() + frame.bytes.len();
        if frames >= QUEUE_FRAMES || bytes > QUEUE_BYTES {
            let closing =
                Closing::new(CloseCode::SlowConsumer, "", "this connection does not read fast enough");
            self.orders.close(closing);
            return Pushed::Full;
        }
        self.held += frame.held();
        self.frames.push_back(frame);
        if self.detached { Pushed::Buffered } else { Pushed::Queued }
    }

    /// All frames. Of those that were taken before, so much is not written yet; a session without a socket keeps them.
    fn take(&mut self, unwritten: Load) -> VecDeque<Frame> {
        let frames = std::mem::take(&mut self.frames);
        self.taken = if self.detached {
            frames.iter().filter(|frame| frame.counted).fold(self.taken, |held, frame| held.and(frame))
        } else {
            Load::new(unwritten.frames() + frames.len(), unwritten.bytes() + self.held.total())
        };
        self.held = Held::default();
        frames
    }

    fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(registered) => registered.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}

impl Load {
    fn new(frames: usize, bytes: usize) -> Self {
        // The queue's limits are far below.
        let half = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { frames: half(frames), bytes: half(bytes) }
    }

    /// With one frame more.
    fn and(self, frame: &Frame) -> Self {
        Self::new(self.frames() + 1, self.bytes() + frame.bytes.len())
    }

    const fn frames(self) -> usize {
        self.frames as usize
    }

    const fn bytes(self) -> usize {
        self.bytes as usize
    }
}

impl Orders {
    /// The first close stands.
    fn close(&mut self, closing: Closing) {
        self.0.get_or_insert_default().closing.get_or_insert(closing);
    }

    fn is_closing(&self) -> bool {
        self.0.as_ref().is_some_and(|given| given.closing.is_some())
    }

    /// Gives the socket back where it cannot be looked at.
    fn hand_over(&mut self, socket: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        let given = self.0.get_or_insert_default();
        if given.closing.is_some() || given.hand_overs.len() >= HAND_OVERS {
            return Err(socket);
        }
        given.hand_overs.push_back(socket);
        Ok(())
    }

    /// The next; a close goes before sockets.
    fn take(&mut self) -> Option<Order> {
        let given = self.0.as_mut()?;
        let closing = given.closing.take().map(Order::Close);
        let order = closing.or_else(|| given.hand_overs.pop_front().map(Order::HandOver));
        if given.hand_overs.is_empty() {
            self.0 = None;
        }
        order
    }

    fn into_hand_overs(self) -> VecDeque<Box<dyn Any + Send>> {
        self.0.map(|given| given.hand_overs).unwrap_or_default()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, detached, closed, .. } = self;
        f.debug_struct("Queue")
            .field("frames", &self.frames.len())
            .field("held", held)
            .field("detached", detached)
            .field("closed", closed)
            .finish_non_exhaustive()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
