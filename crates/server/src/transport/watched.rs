//! A connection while it speaks HTTP: how long it may be silent, how long a header may take, and when its requests came in.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use crate::clock::{Now, milliseconds, next_in_order};

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
    /// The place of the next request in the order in which requests came in. 0 while none has.
    order: AtomicU64,
    /// The task that waits for bytes.
    reader: AtomicWaker,
}

/// The system reports connections that have something to read in the order in which it came, but the runtime may let
/// their tasks run in another order. So the place of a request is drawn when its task is woken, not when it runs.
impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.order.store(next_in_order(), Ordering::Relaxed);
        self.reader.wake();
    }
}

const NEVER: u64 = u64::MAX;

impl<S> Watched<S> {
    /// Watches a connection whose first header is due. `order` is when it was accepted, which counts where its request is
    /// there already; 0 where it is not that fresh.
    pub(super) fn new(stream: S, order: u64) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch {
            deadline: AtomicU64::new(after(HEADER)),
            idle_deadline: AtomicU64::new(NEVER),
            order: AtomicU64::new(order),
            reader: AtomicWaker::new(),
        });
        (Self { stream, watch: Arc::clone(&watch) }, watch)
    }

    /// The stream itself, which speaks HTTP no more.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl Watch {
    /// A header is complete: the request has its own deadlines. Gives its place in the order in which requests came in.
    pub(super) fn begin_request(&self) -> u64 {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.idle_deadline.store(NEVER, Ordering::Relaxed);
        match self.order.swap(0, Ordering::Relaxed) {
            0 => next_in_order(),
            order => order,
        }
    }

    /// A response is ready: it has to be taken, and the next request to begin.
    pub(super) fn end_request(&self) {
        let deadline = after(IDLE);
        // What has woken the task since was the rest of the last request.
        self.order.store(0, Ordering::Relaxed);
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
        self.watch.reader.register(cx.waker());
        let waker = Waker::from(Arc::clone(&self.watch));
        let mut watched = Context::from_waker(&waker);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(&mut watched, buffer))?;
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
        let (watched, watch) = Watched::new(server, 0);
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

    #[tokio::test]
    async fn of_two_requests_the_one_whose_task_ran_first_came_first() {
        let (mut one, mut one_at_server, one_watch) = pair();
        let (mut other, mut other_at_server, other_watch) = pair();
        let mut bytes = [0; 1];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        for server in [&mut one_at_server, &mut other_at_server] {
            assert!(Pin::new(server).poll_read(&mut cx, &mut buffer).is_pending());
        }
        one.write_all(b"G").await.unwrap();
        other.write_all(b"G").await.unwrap();
        // As the runtime may do: what was woken last runs first.
        assert_eq!(other_at_server.read_u8().await.unwrap(), b'G');
        let other_order = other_watch.begin_request();
        assert_eq!(one_at_server.read_u8().await.unwrap(), b'G');
        assert!(one_watch.begin_request() < other_order);
    }

    #[tokio::test]
    async fn a_request_on_an_older_connection_comes_in_when_it_is_sent() {
        let (mut client, mut watched, watch) = pair();
        sends_a_byte(&mut client, &mut watched).await;
        let first = watch.begin_request();
        watch.end_request();
        let between = next_in_order();
        sends_a_byte(&mut client, &mut watched).await;
        assert!(first < between && between < watch.begin_request());
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
