//! The bounded queue of events, and what happens when it is full.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use crate::{Event, statistics::Counters};

/// Events that may wait behind a full queue: one input of the machine brings at most a page of 500 messages and what it
/// completes. Beyond that they are dropped.
const MAX_BACKLOG: usize = 1_024;

/// The events on their way to the application.
///
/// A full queue drops what cannot be had again: signals, presence, broadcasts, notices. It tells how many as
/// [`Event::Lagged`]. Messages of rooms wait in the backlog; the task then holds the rooms, so that no more come.
pub(crate) struct EventQueue {
    sender: mpsc::Sender<Event>,
    backlog: VecDeque<Event>,
    /// A message has found the queue full, and the rooms are not held yet.
    has_overflowed: bool,
    counters: Arc<Counters>,
}

impl EventQueue {
    pub(crate) const fn new(sender: mpsc::Sender<Event>, counters: Arc<Counters>) -> Self {
        Self { sender, backlog: VecDeque::new(), has_overflowed: false, counters }
    }

    /// Keeps the order: nothing overtakes what waits already.
    pub(crate) fn push(&mut self, event: Event) {
        if !self.backlog.is_empty() {
            return self.overflow(event);
        }
        if let Err(TrySendError::Full(event)) = self.sender.try_send(event) {
            self.overflow(event);
        }
    }

    /// Whether the rooms have to be held, since the last time this was asked.
    pub(crate) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.has_overflowed)
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Waits for room in the queue, or for the application to drop it.
    pub(crate) async fn room(&self) {
        let _ = self.sender.reserve().await;
    }

    /// Moves what waits into the queue, as far as there is room.
    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(event)) = self.sender.try_send(event) {
                return self.backlog.push_front(event);
            }
        }
    }

    /// Waits for the application to take the last events, until it wants to be rid of the client.
    pub(crate) async fn finish(&mut self, stop: &CancellationToken) {
        for event in std::mem::take(&mut self.backlog) {
            tokio::select! {
                biased;
                sent = self.sender.send(event) => if sent.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    fn overflow(&mut self, event: Event) {
        let is_last = matches!(event, Event::Closed { retry_in: None, .. });
        if is_last || (is_numbered(&event) && self.backlog.len() < MAX_BACKLOG) {
            self.has_overflowed = true;
            return self.backlog.push_back(event);
        }
        self.counters.lagged();
        if let Some(Event::Lagged { missed }) = self.backlog.back_mut() {
            *missed += 1;
        } else {
            self.has_overflowed = true;
            self.backlog.push_back(Event::Lagged { missed: 1 });
        }
    }
}

/// Whether an event is about what has numbers, so that a loss would break their sequence.
fn is_numbered(event: &Event) -> bool {
    matches!(event, Event::Chat(_) | Event::Missed { .. } | Event::StartedOver { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ConnectionError, Numbered};

    fn notice() -> Event {
        Event::ServerDraining { reconnect_after: Duration::ZERO }
    }

    fn numbered() -> Event {
        Event::Missed { of: Numbered::Mailbox, first: 1, last: 1 }
    }

    #[tokio::test]
    async fn a_full_queue_keeps_what_is_numbered_and_counts_the_rest() {
        let (sender, mut events) = mpsc::channel(1);
        let mut queue = EventQueue::new(sender, Arc::default());
        queue.push(notice());
        assert!(!queue.is_full() && !queue.take_overflow());
        for event in [notice(), notice(), numbered(), notice()] {
            queue.push(event);
        }
        assert!(queue.is_full() && queue.take_overflow() && !queue.take_overflow());
        queue.push(Event::Closed { cause: ConnectionError::Stopped, retry_in: None });
        let mut taken = Vec::new();
        while queue.is_full() {
            taken.push(events.recv().await.unwrap());
            queue.room().await;
            queue.drain();
        }
        taken.push(events.recv().await.unwrap());
        assert!(
            matches!(
                taken.as_slice(),
                [
                    Event::ServerDraining { .. },
                    Event::Lagged { missed: 2 },
                    Event::Missed { .. },
                    Event::Lagged { missed: 1 },
                    Event::Closed { .. },
                ]
            ),
            "{taken:?}"
        );
        assert_eq!(queue.counters.read().lagged, 3);
    }

    #[tokio::test]
    async fn the_backlog_is_bounded() {
        let (sender, _events) = mpsc::channel(1);
        let mut queue = EventQueue::new(sender, Arc::default());
        (0..2_000).for_each(|_| queue.push(numbered()));
        assert_eq!(queue.backlog.len(), MAX_BACKLOG + 1, "the last one tells what is missing");
    }
}
