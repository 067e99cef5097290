//! The deadlines of a connection while it speaks HTTP: for silence, for a header, and for a reader that reads nothing
//! of a response. It also numbers requests in the order in which they arrive.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use aldis_protocol::limits::WRITE_STALL;
use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::timeout,
};

use super::{
    connections::{Evict, Place},
    io::Sent,
};
use crate::clock::{Now, milliseconds, next_in_order};

/// From a request's first byte to the end of its header. Sending slowly does not extend it.
const HEADER: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE: Duration = Duration::from_secs(15);
/// The same behind a proxy, which keeps connections open for all its clients. It is longer than the 60 s of nginx, so
/// that the server never closes a connection on which a request is arriving.
const IDLE_OF_PROXY: Duration = Duration::from_secs(75);

/// A stream that notices the first byte of each request, and whether the reader reads what is written.
#[derive(Debug)]
pub(super) struct HttpStream<S> {
    stream: S,
    deadlines: Arc<HttpDeadlines>,
    /// The byte count of the network when it was last read.
    sent: u64,
    /// Reading was paused while the reader read nothing.
    is_paused: bool,
    /// The head of the response 101, which goes out with the first frames.
    held: Vec<u8>,
}

/// The state of the connection, and its next deadline.
#[derive(Debug)]
pub(super) struct HttpDeadlines {
    phase: AtomicU8,
    deadline: AtomicU64,
    /// The reader has not read everything that was written.
    is_blocked: AtomicBool,
    is_evicted: AtomicBool,
    /// HTTP has ended, and what it still writes is held.
    is_upgraded: AtomicBool,
    changed: Notify,
    place: Arc<Place>,
    idle_ms: u64,
    /// The number of the next request in the order of arrival; 0 if none has arrived.
    order: AtomicU64,
    /// The task that waits for bytes.
    reader: AtomicWaker,
}

/// The system reports readable connections in the order in which the bytes arrived, but the runtime may run their
/// tasks in another order. So a request gets its number when its task is woken, not when it runs.
impl Wake for HttpDeadlines {
    fn wake(self: Arc<Self>) {
        self.order.store(next_in_order(), Relaxed);
        self.reader.wake();
    }
}

/// A header is expected or arriving.
const HEADER_DUE: u8 = 0;
/// A request is being processed, or its response is being sent.
const BUSY: u8 = 1;
/// Between two requests.
const IDLING: u8 = 2;

const NEVER: u64 = u64::MAX;

impl<S> HttpStream<S> {
    /// Starts with the deadline for the first header. `order` is the number of the accepted connection; it counts for
    /// the first request if that has arrived already. 0 if it is not recent enough for that.
    pub(super) fn new(
        stream: S,
        order: u64,
        place: Arc<Place>,
        is_behind_proxy: bool,
    ) -> (Self, Arc<HttpDeadlines>) {
        let deadlines = Arc::new(HttpDeadlines {
            phase: AtomicU8::new(HEADER_DUE),
            deadline: AtomicU64::new(after(HEADER)),
            is_blocked: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            changed: Notify::new(),
            place,
            idle_ms: milliseconds(if is_behind_proxy { IDLE_OF_PROXY } else { IDLE }),
            order: AtomicU64::new(order),
            reader: AtomicWaker::new(),
        });
        let this =
            Self { stream, deadlines: Arc::clone(&deadlines), sent: 0, is_paused: false, held: Vec::new() };
        (this, deadlines)
    }

    /// The stream after HTTP has ended, and the head of the response 101, which is not written yet.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.held)
    }
}

impl HttpDeadlines {
    /// The connection's place, for the code that continues with the connection.
    pub(super) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// A header is complete, and the request has its own deadlines. Returns the number of the request.
    pub(super) fn begin_request(&self) -> u64 {
        self.phase.store(BUSY, Relaxed);
        self.place.set_busy();
        if !self.is_blocked.load(Relaxed) {
            self.deadline.store(NEVER, Relaxed);
        }
        match self.order.swap(0, Relaxed) {
            0 => next_in_order(),
            order => order,
        }
    }

    /// The response was passed on completely; the next request has to begin.
    pub(super) fn end_response(self: &Arc<Self>) {
        self.phase.store(IDLING, Relaxed);
        // Earlier wake-ups came from the rest of the last request.
        self.order.store(0, Relaxed);
        if !self.is_blocked.load(Relaxed) {
            self.deadline.store(self.idle_deadline(), Relaxed);
        }
        let connection: Arc<dyn Evict> = Arc::<Self>::clone(self);
        self.place.set_idle(connection);
        self.changed.notify_one();
    }

    /// The response is 101. It is held until the code that continues with the connection writes it.
    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    /// Returns when a deadline was missed, or when the connection has to make room for another.
    pub(super) async fn expired(&self) {
        loop {
            let is_idle = self.phase.load(Relaxed) == IDLING;
            let deadline = self.deadline.load(Relaxed);
            let now = Now::tick();
            if deadline <= now || (is_idle && self.is_evicted.load(Relaxed)) {
                return;
            }
            // While a request is processed, the deadline is far away. Check again when the next one could be missed.
            let wait = Duration::from_millis(deadline - now).min(HEADER);
            let _ = timeout(wait, self.changed.notified()).await;
        }
    }

    fn first_byte(&self) {
        if self.phase.load(Relaxed) == IDLING {
            self.phase.store(HEADER_DUE, Relaxed);
            self.deadline.store(after(HEADER), Relaxed);
            self.place.set_busy();
        }
    }

    /// Data was written, or could not be. `progressed`: the reader read something since the last call.
    fn note_write(&self, is_blocked: bool, progressed: bool) {
        let was_blocked = self.is_blocked.swap(is_blocked, Relaxed);
        let phase = self.phase.load(Relaxed);
        if phase == HEADER_DUE || !(progressed || is_blocked != was_blocked) {
            return;
        }
        let deadline = match (is_blocked, phase) {
            (true, _) => after(WRITE_STALL),
            (false, IDLING) => self.idle_deadline(),
            (false, _) => NEVER,
        };
        self.deadline.store(deadline, Relaxed);
    }

    fn idle_deadline(&self) -> u64 {
        Now::tick() + self.idle_ms
    }
}

impl Evict for HttpDeadlines {
    fn evict(&self) {
        self.is_evicted.store(true, Relaxed);
        self.changed.notify_one();
    }
}

fn after(duration: Duration) -> u64 {
    Now::tick() + milliseconds(duration)
}

impl<S: Sent> HttpStream<S> {
    /// A write into a buffer of our own says nothing about the reader, but a flush does.
    fn note_write<T>(&mut self, result: &Poll<io::Result<T>>, is_flush: bool, cx: &Context<'_>) {
        let sent = self.stream.sent();
        let progressed = std::mem::replace(&mut self.sent, sent) != sent;
        if result.is_ready() && !is_flush && !progressed {
            return;
        }
        self.deadlines.note_write(result.is_pending(), progressed);
        if result.is_ready() && std::mem::take(&mut self.is_paused) {
            cx.waker().wake_by_ref();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Pauses reading while the reader reads no responses; otherwise responses to pipelined requests would pile up.
        // Writing continues, and wakes the connection when it has progressed.
        if self.deadlines.is_blocked.load(Relaxed) {
            self.is_paused = true;
            return Poll::Pending;
        }
        self.deadlines.reader.register(cx.waker());
        let waker = Waker::from(Arc::clone(&self.deadlines));
        let mut numbering = Context::from_waker(&waker);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(&mut numbering, buffer))?;
        self.deadlines.first_byte();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Sent + Unpin> AsyncWrite for HttpStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deadlines.is_upgraded.load(Relaxed) {
            self.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(&written, false, cx);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.deadlines.is_upgraded.load(Relaxed) {
            slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(&written, false, cx);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(&flushed, true, cx);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    use super::{
        super::{
            connections::Connections,
            io::{Io, Metered},
        },
        *,
    };

    const HOUR: Duration = Duration::from_secs(3_600);

    async fn pair() -> (DuplexStream, HttpStream<Metered<DuplexStream>>, Arc<HttpDeadlines>) {
        let (client, server) = duplex(64);
        let address = std::net::IpAddr::from([192, 0, 2, 1]).into();
        let place = Connections::new(true, false).admit(address).unwrap().turn().await.unwrap();
        let (stream, deadlines) = HttpStream::new(Metered::new(server), 0, Arc::new(place), false);
        (client, stream, deadlines)
    }

    async fn sends_a_byte(client: &mut DuplexStream, stream: &mut HttpStream<Metered<DuplexStream>>) {
        client.write_all(b"G").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'G');
    }

    /// How long it takes until a deadline is missed.
    async fn expires_after(deadlines: &HttpDeadlines) -> Duration {
        let start = Instant::now();
        timeout(HOUR, deadlines.expired()).await.unwrap();
        start.elapsed()
    }

    fn assert_about(time: Duration, expected: Duration) {
        assert!(time.abs_diff(expected) < Duration::from_millis(100), "{time:?}, not {expected:?}");
    }

    #[tokio::test]
    async fn the_head_of_an_upgrade_is_held() {
        let (mut client, mut stream, deadlines) = pair().await;
        stream.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        deadlines.upgrade();
        stream.write_all(b"HTTP/1.1 101").await.unwrap();
        stream.flush().await.unwrap();
        let (stream, held) = stream.into_parts();
        assert_eq!(held, b"HTTP/1.1 101");
        drop(stream);
        let mut written = Vec::new();
        client.read_to_end(&mut written).await.unwrap();
        assert_eq!(written, b"HTTP/1.1 200 OK");
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_ten_seconds_even_if_it_arrives_slowly() {
        let (mut client, mut stream, deadlines) = pair().await;
        let trickle = async {
            loop {
                sends_a_byte(&mut client, &mut stream).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        let expired = tokio::select! {
            expired = expires_after(&deadlines) => expired,
            () = trickle => unreachable!(),
        };
        assert_about(expired, HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_request_has_its_own_deadlines() {
        let (mut client, mut stream, deadlines) = pair().await;
        sends_a_byte(&mut client, &mut stream).await;
        deadlines.begin_request();
        sends_a_byte(&mut client, &mut stream).await;
        assert!(timeout(HOUR, deadlines.expired()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_for_fifteen_seconds() {
        let (_client, _stream, deadlines) = pair().await;
        deadlines.begin_request();
        deadlines.end_response();
        assert_about(expires_after(&deadlines).await, IDLE);
    }

    #[tokio::test]
    async fn of_two_requests_the_one_whose_task_ran_first_counted_as_the_first() {
        let (mut one, mut one_at_server, one_deadlines) = pair().await;
        let (mut other, mut other_at_server, other_deadlines) = pair().await;
        let mut bytes = [0; 1];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        for server in [&mut one_at_server, &mut other_at_server] {
            assert!(Pin::new(server).poll_read(&mut cx, &mut buffer).is_pending());
        }
        one.write_all(b"G").await.unwrap();
        other.write_all(b"G").await.unwrap();
        // The runtime may run the task that was woken last first.
        assert_eq!(other_at_server.read_u8().await.unwrap(), b'G');
        let other_order = other_deadlines.begin_request();
        assert_eq!(one_at_server.read_u8().await.unwrap(), b'G');
        assert!(one_deadlines.begin_request() < other_order);
    }

    #[tokio::test]
    async fn a_request_on_an_older_connection_is_numbered_when_it_arrives() {
        let (mut client, mut stream, deadlines) = pair().await;
        sends_a_byte(&mut client, &mut stream).await;
        let first = deadlines.begin_request();
        deadlines.end_response();
        let between = next_in_order();
        sends_a_byte(&mut client, &mut stream).await;
        assert!(first < between && between < deadlines.begin_request());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_header_has_ten_seconds_from_its_first_byte() {
        let (mut client, mut stream, deadlines) = pair().await;
        for _ in 0..3 {
            deadlines.begin_request();
            deadlines.end_response();
            sleep(Duration::from_secs(12)).await;
            sends_a_byte(&mut client, &mut stream).await;
        }
        let trickle = async {
            sleep(Duration::from_secs(5)).await;
            sends_a_byte(&mut client, &mut stream).await;
            sleep(HOUR).await;
        };
        let expired = tokio::select! {
            expired = expires_after(&deadlines) => expired,
            () = trickle => unreachable!(),
        };
        assert_about(expired, HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_is_closed_and_a_slow_one_is_not() {
        let (mut client, mut stream, deadlines) = pair().await;
        deadlines.begin_request();
        let slow = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(8)).await;
                client.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let answer = async { stream.write_all(&[0; 10_000]).await };
        let start = Instant::now();
        let expired = tokio::select! {
            expired = expires_after(&deadlines) => expired,
            _ = answer => unreachable!(),
            () = async { slow.await; std::future::pending().await } => unreachable!(),
        };
        assert_about(expired, Duration::from_secs(80) + WRITE_STALL);
        assert_about(start.elapsed(), expired);
    }

    /// Pipelined requests were answered into memory while nobody read.
    #[tokio::test(start_paused = true)]
    async fn the_server_stops_reading_from_a_client_that_reads_no_responses() {
        let (mut client, mut stream, deadlines) = pair().await;
        deadlines.begin_request();
        client.write_all(b"GET ").await.unwrap();
        assert!(timeout(WRITE_STALL / 2, stream.write_all(&[0; 100])).await.is_err());
        assert!(timeout(WRITE_STALL / 4, stream.read_u8()).await.is_err());
        client.read_exact(&mut [0; 64]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'G');
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_makes_room_and_one_with_a_request_does_not() {
        let (_client, _stream, deadlines) = pair().await;
        deadlines.begin_request();
        deadlines.evict();
        assert!(timeout(HOUR, deadlines.expired()).await.is_err());
        deadlines.end_response();
        assert_about(expires_after(&deadlines).await, Duration::ZERO);
    }

    /// A connection over TLS whose network holds little, and the client's end of it, which does not decrypt.
    async fn encrypted() -> (DuplexStream, HttpStream<Io<DuplexStream>>, Arc<HttpDeadlines>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(1_024);
        let name = "localhost".try_into().unwrap();
        let (client, server) = tokio::join!(
            tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, near),
            tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(Metered::new(far)),
        );
        let address = std::net::IpAddr::from([192, 0, 2, 1]).into();
        let place = Connections::new(true, false).admit(address).unwrap().turn().await.unwrap();
        let (stream, deadlines) =
            HttpStream::new(Io::Tls(Box::new(server.unwrap())), 0, Arc::new(place), false);
        (client.unwrap().into_inner().0, stream, deadlines)
    }

    /// For the stall rule, a response that fits the TLS buffer counted as written.
    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_over_tls_is_closed() {
        let (_client, mut stream, deadlines) = encrypted().await;
        deadlines.begin_request();
        let answer = async {
            stream.write_all(&[0; 8_000]).await.unwrap();
            stream.flush().await
        };
        tokio::select! {
            expired = expires_after(&deadlines) => assert_about(expired, WRITE_STALL),
            _ = answer => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_over_tls_is_not_closed() {
        let (mut client, mut stream, deadlines) = encrypted().await;
        deadlines.begin_request();
        let slow = async {
            loop {
                sleep(Duration::from_secs(8)).await;
                client.read_exact(&mut [0; 256]).await.unwrap();
            }
        };
        let answer = async {
            stream.write_all(&[0; 8_000]).await.unwrap();
            stream.flush().await
        };
        tokio::select! {
            expired = expires_after(&deadlines) => panic!("closed after {expired:?}"),
            _ = answer => {}
            () = slow => unreachable!(),
        }
    }
}
