//! A connection while it speaks HTTP: how long it may be silent, and how long a header may take.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use crate::clock::{Now, milliseconds};

/// From a request's first byte to the end of its header; trickling extends nothing.
const HEADER: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE: Duration = Duration::from_secs(60);

/// A stream whose first byte of each request is noticed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

/// The tick by which something has to happen, and whether that something is a first byte.
#[derive(Debug)]
pub(super) struct Watch {
    deadline: AtomicU64,
    /// The deadline is that of an idle connection: the next byte begins a header.
    idle_deadline: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl<S> Watched<S> {
    /// Watches a connection that was just accepted: its first header is due.
    pub(super) fn new(stream: S) -> (Self, Arc<Watch>) {
        let deadline = AtomicU64::new(after(HEADER));
        let watch = Arc::new(Watch { deadline, idle_deadline: AtomicU64::new(NEVER) });
        (Self { stream, watch: Arc::clone(&watch) }, watch)
    }

    /// The stream itself, which speaks HTTP no more.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl Watch {
    /// A header is complete: the request has its own deadlines.
    pub(super) fn begin_request(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.idle_deadline.store(NEVER, Ordering::Relaxed);
    }

    /// A response is ready: it has to be taken, and the next request to begin.
    pub(super) fn end_request(&self) {
        let deadline = after(IDLE);
        self.deadline.store(deadline, Ordering::Relaxed);
        self.idle_deadline.store(deadline, Ordering::Relaxed);
    }

    /// Ends when a deadline was missed.
    pub(super) async fn expired(&self) {
        loop {
            let deadline = self.deadline.load(Ordering::Relaxed);
            let now = Now::read().tick;
            if deadline <= now {
                return;
            }
            // While a request is carried out the deadline is far; look again when the next could have been missed.
            sleep(Duration::from_millis(deadline - now).min(HEADER)).await;
        }
    }

    fn first_byte(&self) {
        let idle_deadline = self.idle_deadline.swap(NEVER, Ordering::Relaxed);
        if idle_deadline != NEVER {
            self.deadline.store(after(HEADER), Ordering::Relaxed);
        }
    }
}

fn after(duration: Duration) -> u64 {
    Now::read().tick + milliseconds(duration)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.watch.first_byte();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, timeout},
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn pair() -> (DuplexStream, Watched<DuplexStream>, Arc<Watch>) {
        let (client, server) = duplex(64);
        let (watched, watch) = Watched::new(server);
        (client, watched, watch)
    }

    async fn sends_a_byte(client: &mut DuplexStream, watched: &mut Watched<DuplexStream>) {
        client.write_all(b"G").await.unwrap();
        assert_eq!(watched.read_u8().await.unwrap(), b'G');
    }

    /// How long it takes until a deadline is missed.
    async fn expires_after(watch: &Watch) -> Duration {
        let start = Instant::now();
        timeout(HOUR, watch.expired()).await.unwrap();
        start.elapsed()
    }

    fn assert_about(time: Duration, expected: Duration) {
        assert!(time.abs_diff(expected) < Duration::from_millis(100), "{time:?}, not {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_ten_seconds_and_trickling_extends_nothing() {
        let (mut client, mut watched, watch) = pair();
        let trickle = async {
            loop {
                sends_a_byte(&mut client, &mut watched).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        let expired = tokio::select! {
            expired = expires_after(&watch) => expired,
            () = trickle => unreachable!(),
        };
        assert_about(expired, HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_its_own_deadlines() {
        let (mut client, mut watched, watch) = pair();
        sends_a_byte(&mut client, &mut watched).await;
        watch.begin_request();
        sends_a_byte(&mut client, &mut watched).await;
        assert!(timeout(HOUR, watch.expired()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_for_a_minute() {
        let (_client, _watched, watch) = pair();
        watch.begin_request();
        watch.end_request();
        assert_about(expires_after(&watch).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_header_has_ten_seconds_from_its_first_byte() {
        let (mut client, mut watched, watch) = pair();
        for _ in 0..3 {
            watch.begin_request();
            watch.end_request();
            sleep(Duration::from_secs(55)).await;
            sends_a_byte(&mut client, &mut watched).await;
        }
        let trickle = async {
            sleep(Duration::from_secs(5)).await;
            sends_a_byte(&mut client, &mut watched).await;
            sleep(HOUR).await;
        };
        let expired = tokio::select! {
            expired = expires_after(&watch) => expired,
            () = trickle => unreachable!(),
        };
        assert_about(expired, HEADER);
    }
}
