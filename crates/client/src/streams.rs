//! Streams of their own for rooms and for presence, beside the stream of all events.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use aldis_protocol::{Presence, RoomId, ServerFrame, ServerMessage};
use futures::Stream;
use tokio::sync::{Notify, mpsc};

use crate::{Event, IncomingChat, Numbered, Refusal, Restorable, statistics::Counters};

/// What happens in a room; see [`Room::messages`](crate::Room::messages).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A message: each once and in the order of its numbers, as [`Event::Chat`].
    Chat(Box<IncomingChat>),
    /// The server no longer has these numbers, as [`Event::Missed`].
    Missed {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The server has lost its newest numbers, as [`Event::StartedOver`].
    StartedOver {
        /// The newest number that the server has.
        newest: u64,
    },
    /// The server refused to let a fresh session into the room, as [`Event::NotRestored`].
    NotRestored(Refusal),
    /// Members, the state of the room and broadcasts.
    Message(Box<ServerFrame<'static>>),
    /// This many events of the room were dropped here, because the stream was full. Messages among them can be read by
    /// [`Room::history`](crate::Room::history).
    Lagged(u64),
}

/// How watched users show themselves; see [`Client::presence`](crate::Client::presence).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// A user shows themselves in another way, or in the same after a break.
    Changed(Presence<'static>),
    /// This many changes were dropped here, because the stream was full.
    Lagged(u64),
}

/// A stream with a bound of its own ([`Options::stream_capacity`](crate::Options::stream_capacity)). While it is full,
/// what comes is dropped and counted; the connection and other streams go on. It ends when the client has stopped.
pub struct Subscription<T> {
    receiver: mpsc::Receiver<T>,
    missed: Arc<AtomicU64>,
}

/// What tells of dropped events.
pub(crate) trait Lag: Clone {
    fn lagged(missed: u64) -> Self;
}

impl Lag for RoomEvent {
    fn lagged(missed: u64) -> Self {
        Self::Lagged(missed)
    }
}

impl Lag for PresenceEvent {
    fn lagged(missed: u64) -> Self {
        Self::Lagged(missed)
    }
}

/// Which streams there are. The application bounds their number: each is one that it holds.
pub(crate) struct Streams {
    table: Mutex<Table>,
    capacity: usize,
    /// A room has a stream that had none.
    pub(crate) changed: Notify,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Table {
    rooms: HashMap<RoomId, Vec<Publisher<RoomEvent>>>,
    presence: Vec<Publisher<PresenceEvent>>,
    /// The client has stopped.
    is_closed: bool,
}

struct Publisher<T> {
    sender: mpsc::Sender<T>,
    missed: Arc<AtomicU64>,
}

impl Streams {
    pub(crate) fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self { table: Mutex::default(), capacity, changed: Notify::new(), counters }
    }

    pub(crate) fn room(&self, room: &RoomId) -> Subscription<RoomEvent> {
        let (publisher, subscription) = channel(self.capacity);
        self.with(|table| {
            if !table.is_closed {
                table.rooms.retain(|_, publishers| is_heard(publishers));
                table.rooms.entry(room.clone()).or_default().push(publisher);
            }
        });
        self.changed.notify_one();
        subscription
    }

    pub(crate) fn presence(&self) -> Subscription<PresenceEvent> {
        let (publisher, subscription) = channel(self.capacity);
        self.with(|table| {
            if !table.is_closed {
                table.presence.push(publisher);
            }
        });
        subscription
    }

    /// Whether a room has a stream.
    pub(crate) fn has_room(&self, room: &RoomId) -> bool {
        self.with(|table| table.rooms.get_mut(room).is_some_and(is_heard))
    }

    /// The rooms that have a stream.
    pub(crate) fn rooms(&self) -> Vec<RoomId> {
        self.with(|table| {
            let heard =
                table.rooms.iter_mut().filter_map(|(room, publishers)| is_heard(publishers).then_some(room));
            heard.cloned().collect()
        })
    }

    /// Gives an event to the streams that it belongs to; gives it back where there are none.
    pub(crate) fn publish(&self, event: Event) -> Option<Event> {
        self.with(|table| {
            if let Event::Presence(presence) = event {
                if !is_heard(&mut table.presence) {
                    return Some(Event::Presence(presence));
                }
                publish(&table.presence, &PresenceEvent::Changed(presence), &self.counters);
                return None;
            }
            let Some(publishers) = room_of(&event).and_then(|room| table.rooms.get_mut(room)) else {
                return Some(event);
            };
            if !is_heard(publishers) {
                return Some(event);
            }
            publish(publishers, &of_room(event)?, &self.counters);
            None
        })
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        self.with(|table| *table = Table { is_closed: true, ..Table::default() });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn channel<T>(capacity: usize) -> (Publisher<T>, Subscription<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let missed = Arc::new(AtomicU64::new(0));
    (Publisher { sender, missed: Arc::clone(&missed) }, Subscription { receiver, missed })
}

/// Whether somebody still holds a stream.
fn is_heard<T>(publishers: &mut Vec<Publisher<T>>) -> bool {
    publishers.retain(|publisher| !publisher.sender.is_closed());
    !publishers.is_empty()
}

fn publish<T: Lag>(publishers: &[Publisher<T>], event: &T, counters: &Counters) {
    for publisher in publishers {
        if !publisher.publish(event) {
            counters.lagged();
        }
    }
}

impl<T: Lag> Publisher<T> {
    /// What was dropped before is told in front of what follows it. Returns false if the event was dropped.
    fn publish(&self, event: &T) -> bool {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let is_told = missed == 0 || self.sender.try_send(T::lagged(missed)).is_ok();
        let is_sent = is_told && self.sender.try_send(event.clone()).is_ok();
        let untold = if is_told { 0 } else { missed };
        self.missed.fetch_add(untold + u64::from(!is_sent), Ordering::Relaxed);
        is_sent
    }
}

/// The room that an event belongs to.
fn room_of(event: &Event) -> Option<&RoomId> {
    if let Event::Chat(chat) = event {
        return Some(&chat.chat.room);
    }
    if let Event::Missed { of: Numbered::Room(room), .. }
    | Event::StartedOver { of: Numbered::Room(room), .. }
    | Event::NotRestored { what: Restorable::Room(room), .. } = event
    {
        return Some(room);
    }
    if let Event::Message(frame) = event { room_of_message(&frame.message) } else { None }
}

fn room_of_message<'a>(message: &'a ServerMessage<'_>) -> Option<&'a RoomId> {
    if let ServerMessage::RoomMembers(members) = message {
        Some(&members.room)
    } else if let ServerMessage::MemberJoined(joined) = message {
        Some(&joined.room)
    } else if let ServerMessage::MemberLeft(left) = message {
        Some(&left.room)
    } else if let ServerMessage::Broadcast(broadcast) = message {
        Some(&broadcast.room)
    } else if let ServerMessage::RoomUpdate(update) = message {
        Some(&update.room)
    } else {
        None
    }
}

fn of_room(event: Event) -> Option<RoomEvent> {
    if let Event::Chat(chat) = event {
        Some(RoomEvent::Chat(chat))
    } else if let Event::Missed { first, last, .. } = event {
        Some(RoomEvent::Missed { first, last })
    } else if let Event::StartedOver { newest, .. } = event {
        Some(RoomEvent::StartedOver { newest })
    } else if let Event::NotRestored { refusal, .. } = event {
        Some(RoomEvent::NotRestored(refusal))
    } else if let Event::Message(frame) = event {
        Some(RoomEvent::Message(frame))
    } else {
        None
    }
}

impl<T: Unpin> Subscription<T> {
    /// The next event; none when the client has stopped. Losing the future loses no event.
    #[expect(private_bounds, reason = "only this crate's events tell of dropped ones")]
    pub async fn next(&mut self) -> Option<T>
    where
        T: Lag,
    {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>>
    where
        T: Lag,
    {
        let event = self.receiver.poll_recv(cx);
        if matches!(event, Poll::Ready(Some(_))) {
            return event;
        }
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => event,
            missed => Poll::Ready(Some(T::lagged(missed))),
        }
    }
}

impl<T: Lag + Unpin> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll(cx)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn missed(room: &str, first: u64) -> Event {
        Event::Missed { of: Numbered::Room(room.parse().unwrap()), first, last: first }
    }

    fn streams() -> Streams {
        Streams::new(2, Arc::default())
    }

    fn taken(stream: &mut Subscription<RoomEvent>) -> Vec<String> {
        let mut taken = Vec::new();
        while let Some(Some(event)) = stream.next().now_or_never() {
            taken.push(if let RoomEvent::Missed { first, .. } = event {
                first.to_string()
            } else if let RoomEvent::Lagged(missed) = event {
                format!("lagged {missed}")
            } else {
                panic!("{event:?}")
            });
        }
        taken
    }

    #[test]
    fn a_room_without_a_stream_is_told_to_all() {
        let streams = streams();
        let mut hall = streams.room(&"hall".parse().unwrap());
        assert!(streams.publish(missed("hall", 1)).is_none());
        assert!(streams.publish(missed("attic", 1)).is_some());
        assert_eq!(taken(&mut hall), ["1"]);
        drop(hall);
        assert!(streams.publish(missed("hall", 2)).is_some());
        assert!(!streams.has_room(&"hall".parse().unwrap()));
    }

    #[test]
    fn what_finds_no_place_is_counted_where_it_is_missing() {
        let streams = streams();
        let mut hall = streams.room(&"hall".parse().unwrap());
        for first in 1..=5 {
            streams.publish(missed("hall", first));
        }
        assert_eq!(taken(&mut hall), ["1", "2", "lagged 3"]);
        for first in 6..=9 {
            streams.publish(missed("hall", first));
            if first == 8 {
                assert!(hall.next().now_or_never().is_some());
            }
        }
        assert_eq!(
            taken(&mut hall),
            ["7", "lagged 1", "lagged 1"],
            "there was no place for both the notice and the event"
        );
        assert_eq!(streams.counters.read().lagged, 5);
    }

    #[test]
    fn each_of_two_streams_gets_all() {
        let streams = streams();
        let room = "hall".parse().unwrap();
        let (mut one, mut other) = (streams.room(&room), streams.room(&room));
        streams.publish(missed("hall", 1));
        assert_eq!((taken(&mut one), taken(&mut other)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    }

    #[test]
    fn streams_end_with_the_client() {
        let streams = streams();
        let mut hall = streams.room(&"hall".parse().unwrap());
        streams.close();
        assert!(hall.next().now_or_never().unwrap().is_none());
        assert!(streams.room(&"hall".parse().unwrap()).next().now_or_never().unwrap().is_none());
    }
}
