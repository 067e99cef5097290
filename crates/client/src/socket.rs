//! WebSocket frames: the only file that knows the WebSocket library.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use aldis_protocol::{
    Codec,
    limits::{MAX_HISTORY_BYTES, MAX_RELAYED_MESSAGE_BYTES},
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::ClientRequestBuilder,
        handshake::client::Response,
        http::{Uri, header::RETRY_AFTER},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::DialError;

/// What a WebSocket runs over: TCP, or TLS over it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open WebSocket.
///
/// It writes while it waits to read, so that neither side's full buffer keeps the other from being emptied. What waits
/// to be written is bounded by the requests that may wait for a reply.
pub(crate) struct Socket {
    stream: WebSocketStream<Box<dyn Io>>,
    codec: Codec,
    outgoing: VecDeque<Message>,
    unflushed: bool,
    write_error: Option<String>,
}

/// What comes from a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Frame(Bytes),
    Ping,
    Pong,
    /// The last: a close frame came.
    Closed(u16, String),
    /// The last: there will be no close frame.
    Broken(String),
}

/// Stands for a close frame without a code (RFC 6455, section 7.1.5).
const NO_CODE: u16 = 1005;

impl Socket {
    /// The upgrade, over a stream that leads to the server of `url`.
    pub(crate) async fn open(stream: Box<dyn Io>, url: &str, codec: Codec) -> Result<Self, DialError> {
        let uri: Uri = url.parse().map_err(|error| DialError::Upgrade(format!("{error}")))?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(codec.subprotocol());
        let (stream, _) =
            client_async_with_config(request, stream, Some(config())).await.map_err(dial_error)?;
        Ok(Self { stream, codec, outgoing: VecDeque::new(), unflushed: false, write_error: None })
    }

    /// Puts a frame in line. It is written while [`next`](Self::next) waits.
    pub(crate) fn send(&mut self, frame: Bytes) {
        self.outgoing.push_back(match self.codec {
            Codec::Json => frame.clone().try_into().map_or(Message::Binary(frame), Message::Text),
            Codec::Proto => Message::Binary(frame),
        });
    }

    /// Puts a ping in line.
    pub(crate) fn ping(&mut self) {
        self.outgoing.push_back(Message::Ping(Bytes::new()));
    }

    /// Puts a close frame with 1000 in line.
    pub(crate) fn close(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.outgoing.push_back(Message::Close(Some(frame)));
    }

    /// The next thing that comes. Losing the future loses nothing.
    pub(crate) async fn next(&mut self) -> Incoming {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.write_error.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            // What the server said before it stopped reading is worth more than this error.
            self.write_error = Some(error.to_string());
        }
        loop {
            match self.stream.poll_next_unpin(cx) {
                Poll::Ready(item) => {
                    if let Some(incoming) = self.take(item, cx) {
                        return Poll::Ready(incoming);
                    }
                }
                Poll::Pending => {
                    return self
                        .write_error
                        .take()
                        .map_or(Poll::Pending, |error| Poll::Ready(Incoming::Broken(error)));
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.outgoing.is_empty() {
            ready!(self.stream.poll_ready_unpin(cx))?;
            if let Some(message) = self.outgoing.pop_front() {
                self.unflushed = true;
                self.stream.start_send_unpin(message)?;
            }
        }
        if self.unflushed {
            ready!(self.stream.poll_flush_unpin(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, item: Option<Result<Message, Error>>, cx: &mut Context<'_>) -> Option<Incoming> {
        Some(match item {
            Some(Ok(Message::Text(text))) if self.codec == Codec::Json => Incoming::Frame(text.into()),
            Some(Ok(Message::Binary(bytes))) if self.codec == Codec::Proto => Incoming::Frame(bytes),
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                Incoming::Broken("a frame of another codec".into())
            }
            Some(Ok(Message::Ping(_))) => Incoming::Ping,
            Some(Ok(Message::Pong(_))) => Incoming::Pong,
            Some(Ok(Message::Close(frame))) => {
                // The echo is in line; the socket takes it now or never.
                let _ = self.stream.poll_flush_unpin(cx);
                frame.map_or_else(
                    || Incoming::Closed(NO_CODE, String::new()),
                    |frame| Incoming::Closed(frame.code.into(), frame.reason.as_str().to_owned()),
                )
            }
            Some(Ok(Message::Frame(_))) => return None,
            Some(Err(error)) => Incoming::Broken(error.to_string()),
            None => Incoming::Broken("the stream ended".into()),
        })
    }
}

/// Small buffers: the library's own take 256 KiB for each connection.
fn config() -> WebSocketConfig {
    let largest = MAX_HISTORY_BYTES + MAX_RELAYED_MESSAGE_BYTES;
    WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(8 * 1024)
        .max_write_buffer_size(256 * 1024)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest))
}

fn dial_error(error: Error) -> DialError {
    if let Error::Http(response) = &error {
        return DialError::Refused { status: response.status().as_u16(), retry_after: retry_after(response) };
    }
    if let Error::Io(error) = error {
        return DialError::Connect(error);
    }
    DialError::Upgrade(error.to_string())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
