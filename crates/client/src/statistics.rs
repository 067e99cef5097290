//! What a client has done since its start, in numbers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::Session;

/// Numbers of one client since its start; see [`Client::statistics`](crate::Client::statistics).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that reached a session.
    pub connects: u64,
    /// Those of them that resumed the session before.
    pub resumes: u64,
    /// Messages received on the socket.
    pub frames_received: u64,
    /// Messages sent on the socket.
    pub frames_sent: u64,
    /// Bytes of these messages, received.
    pub bytes_received: u64,
    /// Bytes of these messages, sent.
    pub bytes_sent: u64,
    /// Events that were dropped because the application did not take them in time, of all streams.
    pub lagged: u64,
    /// How long the server took to answer the last WebSocket ping, which the client sends every 20 s; none before the
    /// first.
    pub round_trip: Option<Duration>,
}

/// The same as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connects: AtomicU64,
    resumes: AtomicU64,
    frames_received: AtomicU64,
    frames_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    lagged: AtomicU64,
    /// In microseconds, plus one; zero before the first.
    round_trip: AtomicU64,
}

impl Counters {
    pub(crate) fn connected(&self, session: &Session) {
        add(&self.connects, 1);
        add(&self.resumes, u64::from(session.resumed));
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.frames_received, 1);
        add(&self.bytes_received, bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.frames_sent, 1);
        add(&self.bytes_sent, bytes as u64);
    }

    pub(crate) fn lagged(&self) {
        add(&self.lagged, 1);
    }

    pub(crate) fn round_trip(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(microseconds.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Statistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            connects: get(&self.connects),
            resumes: get(&self.resumes),
            frames_received: get(&self.frames_received),
            frames_sent: get(&self.frames_sent),
            bytes_received: get(&self.bytes_received),
            bytes_sent: get(&self.bytes_sent),
            lagged: get(&self.lagged),
            round_trip: get(&self.round_trip).checked_sub(1).map(Duration::from_micros),
        }
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}
