//! Checks the heads of HTTP requests before the HTTP library reads them. The library takes a bare LF for the end of a
//! line. A proxy in front may not, and would then see another request than the server does (request smuggling).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::Sent;

/// A stream that passes on one head at a time and records whether it has a bare LF.
#[derive(Debug)]
pub(super) struct Heads<S> {
    stream: S,
    /// Bytes that were read but not passed on yet.
    held: BytesMut,
    stage: Stage,
    watch: Arc<HeadWatch>,
}

/// Shared by the stream and the code that serves its requests.
#[derive(Debug)]
pub(super) struct HeadWatch {
    /// The length of the body after the last head; or [`OPEN`], or [`NOT_TOLD`].
    body: AtomicU64,
    has_bare_line_feed: AtomicBool,
}

/// What the stream passes on next.
#[derive(Debug)]
enum Stage {
    Head(Scan),
    /// A head was passed on; what follows is known once its request is served.
    Between,
    /// The rest of a body, of this length.
    Body(u64),
    /// Everything that follows.
    Open,
}

/// How far a head was scanned.
#[derive(Debug, Default)]
struct Scan {
    /// The request line has begun; empty lines before it are skipped.
    has_begun: bool,
    line_is_empty: bool,
    after_cr: bool,
    has_bare_line_feed: bool,
}

/// The request is not served yet.
const NOT_TOLD: u64 = u64::MAX;
/// Only the HTTP library knows where the body ends, or another protocol follows. In both cases this is the last
/// request.
const OPEN: u64 = u64::MAX - 1;
const CHUNK: usize = 8 * 1024;

impl<S> Heads<S> {
    /// Wraps a new connection.
    pub(super) fn new(stream: S) -> (Self, Arc<HeadWatch>) {
        let has_bare_line_feed = AtomicBool::new(false);
        let watch = Arc::new(HeadWatch { body: AtomicU64::new(NOT_TOLD), has_bare_line_feed });
        let heads = Self {
            stream,
            held: BytesMut::new(),
            stage: Stage::Head(Scan::default()),
            watch: Arc::clone(&watch),
        };
        (heads, watch)
    }

    /// The stream after HTTP has ended, and the bytes that were read from it.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.held)
    }
}

impl HeadWatch {
    /// The request of the last head is being served. Returns whether its head has a bare LF, and whether it is the
    /// last request of the connection.
    pub(super) fn begin_request(&self, headers: &HeaderMap) -> (bool, bool) {
        let body = body_length(headers);
        self.body.store(body, Ordering::Relaxed);
        (self.has_bare_line_feed.swap(false, Ordering::Relaxed), body == OPEN)
    }
}

fn body_length(headers: &HeaderMap) -> u64 {
    if headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(UPGRADE) {
        return OPEN;
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else { return 0 };
    length
        .to_str()
        .ok()
        .and_then(|length| length.parse().ok())
        .filter(|length| *length < OPEN)
        .unwrap_or(OPEN)
}

impl Scan {
    /// How many of these bytes belong to the head, and whether it ends with them. Lines end where the HTTP library
    /// ends them.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (index, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                self.has_bare_line_feed |= !self.after_cr;
                if self.has_begun && self.line_is_empty {
                    return (index + 1, true);
                }
                self.line_is_empty = true;
            } else if *byte != b'\r' {
                (self.has_begun, self.line_is_empty) = (true, false);
            }
            self.after_cr = *byte == b'\r';
        }
        (bytes.len(), false)
    }
}

impl<S: Sent> Sent for Heads<S> {
    fn sent(&self) -> u64 {
        self.stream.sent()
    }
}

impl<S: AsyncRead + Unpin> Heads<S> {
    /// Reads more if nothing is held. False at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.held.is_empty() {
            let mut chunk = [0; CHUNK];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.held.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(!self.held.is_empty()))
    }

    /// Passes on held bytes, up to `limit`, and returns how many.
    fn hand_over(&mut self, limit: usize, buffer: &mut ReadBuf<'_>) -> usize {
        let count = limit.min(buffer.remaining()).min(self.held.len());
        buffer.put_slice(&self.held[..count]);
        self.held.advance(count);
        count
    }

    fn next_stage(&mut self) {
        self.stage = match self.watch.body.swap(NOT_TOLD, Ordering::Relaxed) {
            NOT_TOLD | 0 => Stage::Head(Scan::default()),
            OPEN => Stage::Open,
            length => Stage::Body(length),
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.stage, Stage::Between) {
            this.next_stage();
        }
        if matches!(this.stage, Stage::Open) && this.held.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if !ready!(this.poll_fill(cx))? {
            return Poll::Ready(Ok(()));
        }
        match &mut this.stage {
            Stage::Head(scan) => {
                let room = buffer.remaining().min(this.held.len());
                let (count, is_end) = scan.take(&this.held[..room]);
                let is_bare = scan.has_bare_line_feed;
                if is_end {
                    this.watch.has_bare_line_feed.store(is_bare, Ordering::Relaxed);
                    this.stage = Stage::Between;
                }
                this.hand_over(count, buffer);
            }
            Stage::Body(left) => {
                let left = *left;
                let count = this.hand_over(usize::try_from(left).unwrap_or(usize::MAX), buffer);
                let left = left.saturating_sub(count as u64);
                this.stage = if left == 0 { Stage::Head(Scan::default()) } else { Stage::Body(left) };
            }
            Stage::Between | Stage::Open => {
                this.hand_over(usize::MAX, buffer);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn connection(bytes: &[u8]) -> (Heads<DuplexStream>, Arc<HeadWatch>) {
        let (mut client, server) = duplex(4_096);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        Heads::new(server)
    }

    async fn read(heads: &mut Heads<DuplexStream>) -> String {
        let mut bytes = [0; 4_096];
        let count = heads.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    #[tokio::test]
    async fn a_bare_line_feed_is_found_in_heads_and_ignored_in_bodies() {
        let requests = "\r\nGET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\n{\n\n}GET /a HTTP/1.1\nX: y\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let (mut heads, watch) = connection(requests.as_bytes()).await;
        assert_eq!(read(&mut heads).await, "\r\nGET / HTTP/1.1\r\n\r\n");
        assert_eq!(watch.begin_request(&HeaderMap::new()), (false, false));
        assert_eq!(read(&mut heads).await, "POST / HTTP/1.1\r\n\r\n");
        assert_eq!(watch.begin_request(&headers(CONTENT_LENGTH, "4")), (false, false));
        assert_eq!(read(&mut heads).await, "{\n\n}");
        assert_eq!(read(&mut heads).await, "GET /a HTTP/1.1\nX: y\r\n\r\n");
        assert_eq!(watch.begin_request(&HeaderMap::new()), (true, false));
        assert_eq!(read(&mut heads).await, "GET /b HTTP/1.1\r\n\r\n");
        assert_eq!(watch.begin_request(&HeaderMap::new()), (false, false));
        assert_eq!(read(&mut heads).await, "");
    }

    #[tokio::test]
    async fn bytes_after_an_upgrade_are_passed_on_unchanged() {
        let (mut heads, watch) = connection(b"GET /ws HTTP/1.1\r\n\r\n\x81\n\n\n").await;
        assert_eq!(read(&mut heads).await, "GET /ws HTTP/1.1\r\n\r\n");
        assert_eq!(watch.begin_request(&headers(UPGRADE, "websocket")), (false, true));
        assert_eq!(heads.into_parts().1.as_ref(), b"\x81\n\n\n");
    }

    #[tokio::test]
    async fn a_head_that_arrives_byte_by_byte_is_checked() {
        let (mut client, server) = duplex(64);
        let (mut heads, watch) = Heads::new(server);
        for byte in b"GET / HTTP/1.1\r\nA: b\n\r\n" {
            client.write_all(&[*byte]).await.unwrap();
            assert_eq!(read(&mut heads).await.as_bytes(), [*byte]);
        }
        assert_eq!(watch.begin_request(&HeaderMap::new()), (true, false));
    }
}
