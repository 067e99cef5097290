//! The stream of events.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use aldis_client_core::Event;
use futures::Stream;
use tokio::sync::mpsc;

/// The events, in their order: a [`Stream`] that ends when the client has stopped.
///
/// It is bounded ([`Options::event_capacity`](crate::Options::event_capacity)). While it is full, the client goes on: it
/// reads, answers pings and settles requests. Messages of rooms then wait, in the client and on the server, and none is
/// lost. Other events are dropped, and [`Event::Lagged`] tells how many. A program that wants no events drops this.
///
/// Rooms and presence that have a [stream of their own](crate::Subscription) are not told here.
pub struct Events(pub(crate) mpsc::Receiver<Event>);

impl Events {
    /// The next event; none when the client has stopped. Losing the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
