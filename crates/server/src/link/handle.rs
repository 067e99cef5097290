//! The handle of a session, through which all other tasks reach it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use aldis_protocol::{CloseCode, Codec, DeviceId, Fingerprint, Sender, ServerMessage, SessionId, UserId};
use aldis_registry::DeviceClaim;
use uuid::Uuid;

use super::{
    control::{Closing, Control, Controls},
    dirty_presence::DirtyPresence,
    hand_over::Offer,
    held::{Held, SharedHeld},
    mailbox_cursor::{MailboxCursor, Reached},
    offers::Offers,
    queue::{Frame, Item, NoticeFrame, Overflow, Pushed, Queue, Ticket},
    room_updates::{RoomUpdates, StateMark},
    told_notices::ToldNotices,
};

/// A session as other tasks see it.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) codec: Codec,
    /// The order in which its first socket came in, which decides who has the device.
    pub(crate) device_claim: DeviceClaim,
    /// The sign-in of its token; `None` if a key was the proof.
    family: Mutex<Option<Uuid>>,
    pub(crate) offers: Offers,
    /// The tick at which the session wants to be woken. The sweep reads it.
    deadline: AtomicU64,
    /// Memory that the session holds for its client besides the queue.
    kept: SharedHeld,
    /// Bytes that its subscriptions take.
    subscriptions: AtomicUsize,
    state: Mutex<State>,
}

/// The outcome of pushing a mailbox message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a gap is to be filled first"]
pub(crate) enum Fed {
    /// It was the next one, and was pushed.
    Pushed(Pushed),
    /// The session has it already, or gets it through its `sync`.
    Known,
    /// The messages after this number have to come first.
    After(u64),
}

/// What remains of a session that has ended.
pub(crate) struct Leftovers {
    /// The items that waited for its client.
    pub(crate) items: VecDeque<Item>,
    /// Sockets that it did not check.
    pub(crate) offers: VecDeque<Offer>,
}

/// The next thing that waits for a session.
pub(crate) enum Taken {
    /// All items for its client.
    Items(VecDeque<Item>),
    /// A control message; it goes before the items.
    Control(Control),
}

#[derive(Default)]
struct State {
    queue: Queue,
    controls: Controls,
    presence: DirtyPresence,
    room_updates: RoomUpdates,
    mailbox: MailboxCursor,
    notices: ToldNotices,
    waker: Option<Waker>,
    detached: bool,
    closed: bool,
}

impl SessionHandle {
    /// The handle of a session that is about to begin.
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
            deadline: AtomicU64::new(u64::MAX),
            kept: SharedHeld::default(),
            subscriptions: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// As [`new`](Self::new), with a later claim to its device.
    pub(crate) fn claiming(self, device_claim: DeviceClaim) -> Self {
        Self { device_claim, ..self }
    }

    /// Puts a frame into the session's queue. Never waits.
    pub(crate) fn push(&self, frame: Frame) -> Pushed {
        let mut state = self.lock();
        if state.closed {
            return Pushed::Gone;
        }
        let pushed = state.push(frame);
        wake(state);
        pushed
    }

    /// Pushes a notice, unless this session was sent it before. `None` then.
    pub(crate) fn push_notice(&self, id: Uuid, frame: impl FnOnce() -> Frame) -> Option<Pushed> {
        let mut state = self.lock();
        if state.closed {
            return Some(Pushed::Gone);
        }
        if state.notices.has(id) {
            return None;
        }
        let pushed = state.push_notice(NoticeFrame { id, frame: frame() });
        wake(state);
        Some(pushed)
    }

    /// Replies to the session's own request with this ticket. Call it where the effect of the request becomes
    /// visible: frames that others cause afterwards stand behind the reply.
    pub(crate) fn reply(&self, ticket: Ticket, reply: ServerMessage<'static>) {
        let mut state = self.lock();
        if !state.closed {
            state.queue.push_reply(ticket, reply);
            wake(state);
        }
    }

    /// Marks a watched user, whose presence the session sends as soon as its socket has room.
    pub(crate) fn mark(&self, watched: UserId) {
        let mut state = self.lock();
        if !state.closed {
            state.presence.add(watched);
            wake_attached(state);
        }
    }

    /// Marks a room state, which the session sends as soon as its socket has room. It replaces an older one that
    /// waits.
    pub(crate) fn mark_state(&self, mark: StateMark) {
        let mut state = self.lock();
        if !state.closed {
            state.room_updates.add(mark);
            wake_attached(state);
        }
    }

    /// Pushes a message of the user's mailbox, if it is the next one.
    pub(crate) fn push_mail(&self, seq: u64, frame: impl FnOnce() -> Frame) -> Fed {
        let mut state = self.lock();
        if state.closed {
            return Fed::Pushed(Pushed::Gone);
        }
        match state.mailbox.reach(seq) {
            Reached::Known => Fed::Known,
            Reached::After(after) => Fed::After(after),
            Reached::Next => {
                let pushed = state.push(frame());
                wake(state);
                Fed::Pushed(pushed)
            }
        }
    }

    /// Counts a message of the user's mailbox that the session learns of by its own reply.
    pub(crate) fn pass_mail(&self, seq: u64) -> Fed {
        match self.lock().mailbox.reach(seq) {
            Reached::Next | Reached::Known => Fed::Known,
            Reached::After(after) => Fed::After(after),
        }
    }

    /// Begins a `sync` of the user's mailbox: messages that are committed from now on reach the session only through
    /// it.
    pub(crate) fn begin_sync(&self) {
        self.lock().mailbox.begin_sync();
    }

    /// Ends the `sync` with this ticket and pushes its reply; it has streamed everything up to this number. Later
    /// messages stand behind the reply. Returns false if more was committed meanwhile.
    pub(crate) fn end_sync(&self, last: u64, ticket: Ticket, reply: ServerMessage<'static>) -> bool {
        let mut state = self.lock();
        let is_over = state.mailbox.end_sync(last);
        if is_over && !state.closed {
            state.queue.push_reply(ticket, reply);
            wake(state);
        }
        is_over
    }

    /// The number after which the session misses messages of the user's mailbox, if it should already have this one.
    pub(crate) fn misses_mail(&self, seq: u64) -> Option<u64> {
        self.lock().mailbox.misses(seq)
    }

    /// Skips missing messages that cannot be read: the following ones are pushed without them.
    pub(crate) fn leap_mail(&self) {
        self.lock().mailbox.leap();
    }

    /// Ends the `sync` before everything was streamed.
    pub(crate) fn abandon_sync(&self) {
        self.lock().mailbox.abandon_sync();
    }

    /// Closes the session. Later closes are ignored. A close goes before a hand-over.
    pub(crate) fn close_with(&self, closing: Closing) {
        let mut state = self.lock();
        state.controls.close(closing);
        wake(state);
    }

    /// Offers a socket to the session, behind those that wait. Returns the offer if the session is over, has to
    /// close, or has enough sockets to check.
    pub(crate) fn hand_over(&self, offer: Offer) -> Result<(), Offer> {
        let mut state = self.lock();
        if state.closed {
            return Err(offer);
        }
        state.controls.hand_over(offer)?;
        wake(state);
        Ok(())
    }

    /// How many bytes wait for the session's client.
    pub(crate) fn held(&self) -> Held {
        let mut held = self.kept.get();
        held += Held::new(self.subscriptions.load(Ordering::Relaxed), false);
        let state = self.lock();
        held += state.queue.held();
        held += Held::new(state.presence.bytes(), false);
        held += state.room_updates.held();
        held
    }

    /// How many bytes the session's subscriptions take.
    pub(crate) fn set_subscriptions(&self, bytes: usize) {
        self.subscriptions.store(bytes, Ordering::Relaxed);
    }

    /// Whether the session has no socket.
    pub(crate) fn is_detached(&self) -> bool {
        self.lock().detached
    }

    /// Whether the session is over, or was told to close.
    pub(crate) fn is_closing(&self) -> bool {
        let state = self.lock();
        state.closed || state.controls.is_closing()
    }

    /// The sign-in of its token; `None` if a key was the proof.
    pub(crate) fn family(&self) -> Option<Uuid> {
        *self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client proved again who it is: by a token of this family, or by a key if `None`.
    pub(crate) fn set_family(&self, family: Option<Uuid>) {
        *self.family.lock().unwrap_or_else(PoisonError::into_inner) = family;
    }

    /// Wakes the session if its deadline has come.
    pub(crate) fn wake_if_due(&self, tick: u64) {
        if self.deadline.load(Ordering::Relaxed) <= tick {
            wake(self.lock());
        }
    }

    /// The sender of this session's messages.
    pub(crate) fn sender(&self) -> Sender {
        Sender::new(self.device.clone(), self.user).with_fingerprint(self.fingerprint)
    }

    /// For the session itself: takes what waits. If it has a socket, the items taken the last time count as written.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.lock();
        if let Some(control) = state.controls.take() {
            return Poll::Ready(Taken::Control(control));
        }
        if state.queue.is_empty() {
            if !state.detached {
                state.queue.release();
            }
            state.register(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(Taken::Items(state.take(0, 0)))
    }

    /// For the session itself, before it checks a socket: takes what waits. The arguments say how much of the items
    /// taken before is not written yet.
    pub(crate) fn take_now(&self, unwritten_frames: usize, unwritten_bytes: usize) -> VecDeque<Item> {
        self.lock().take(unwritten_frames, unwritten_bytes)
    }

    /// For the session itself, if [nothing else waits](Self::poll_take): takes some marked users. Without a socket
    /// the marks stay, and the presence is read when there is one.
    pub(crate) fn take_marks(&self) -> Option<Vec<UserId>> {
        let mut state = self.lock();
        let taken = if state.detached { Vec::new() } else { state.presence.take() };
        (!taken.is_empty()).then_some(taken)
    }

    /// For the session itself, if [nothing else waits](Self::poll_take): takes some room states. Without a socket
    /// they stay.
    pub(crate) fn take_states(&self) -> Option<Vec<StateMark>> {
        let mut state = self.lock();
        let taken = if state.detached { Vec::new() } else { state.room_updates.take() };
        (!taken.is_empty()).then_some(taken)
    }

    /// For the session itself, while it has frames to write: polls only for control messages.
    pub(crate) fn poll_control(&self, cx: &mut Context<'_>) -> Poll<Control> {
        let mut state = self.lock();
        if let Some(control) = state.controls.take() {
            return Poll::Ready(control);
        }
        state.register(cx.waker());
        Poll::Pending
    }

    /// For tests of a session without a task: takes the next reply and leaves the frames before it.
    #[cfg(test)]
    pub(crate) async fn next_reply(&self) -> ServerMessage<'static> {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            state.register(cx.waker());
            state.queue.take_reply().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// For the session itself: sets when it wants to be woken.
    pub(crate) fn set_deadline(&self, tick: u64) {
        self.deadline.store(tick, Ordering::Relaxed);
    }

    /// For the session itself: sets whether it has a socket.
    pub(crate) fn set_detached(&self, detached: bool) {
        let mut state = self.lock();
        state.detached = detached;
        state.queue.release();
    }

    /// For the session itself: counts a frame of its own that it keeps for its client, within the limits of the
    /// queue.
    pub(crate) fn hold(&self, frame: &Frame) {
        let mut state = self.lock();
        if state.detached {
            state.queue.keep(frame);
        }
    }

    /// For the session itself: sets how much memory it holds for its client besides the queue.
    pub(crate) fn set_kept(&self, held: Held) {
        self.kept.set(held);
    }

    /// For the session itself: ends it, and returns what waited.
    pub(crate) fn close(&self) -> Leftovers {
        let mut state = std::mem::replace(&mut *self.lock(), State { closed: true, ..State::default() });
        Leftovers { items: state.queue.take(0, 0), offers: state.controls.into_offers() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, frame: Frame) -> Pushed {
        let pushed = self.queue.push(frame);
        self.pushed(pushed)
    }

    fn push_notice(&mut self, notice: NoticeFrame) -> Pushed {
        let id = notice.id;
        let pushed = self.queue.push_notice(notice);
        if pushed.is_ok() {
            self.notices.add(id);
        }
        self.pushed(pushed)
    }

    fn pushed(&mut self, pushed: Result<(), Overflow>) -> Pushed {
        if let Err(Overflow) = pushed {
            let closing =
                Closing::new(CloseCode::SlowConsumer, "", "this connection does not read fast enough");
            self.controls.close(closing);
            return Pushed::Full;
        }
        if self.detached { Pushed::Buffered } else { Pushed::Queued }
    }

    fn take(&mut self, unwritten_frames: usize, unwritten_bytes: usize) -> VecDeque<Item> {
        if self.detached {
            self.queue.take_to_keep()
        } else {
            self.queue.take(unwritten_frames, unwritten_bytes)
        }
    }

    fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(registered) => registered.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}

/// Wakes the session after it has released the lock, so that the session can take it at once.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Wakes the session if it has a socket.
fn wake_attached(state: MutexGuard<'_, State>) {
    if !state.detached {
        wake(state);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("items", &self.queue.len())
            .field("held", &self.queue.held())
            .field("detached", &self.detached)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
