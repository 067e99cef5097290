//! A client that takes little processor time, so that the load fits on the machine beside the measured program.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};

/// How many connections one address makes: fewer than it has ports, and than an address may have.
const CONNECTIONS_PER_ADDRESS: usize = 50;
/// A larger read buffer is freed when it is empty.
const LARGE_BUFFER: usize = 4096;

/// After how many messages a client confirms them.
pub(crate) const CONFIRM_EVERY: usize = 64;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// An upgraded connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    received: BytesMut,
}

impl Socket {
    /// Opens a connection from one of many loopback addresses, selected by `number`.
    pub(crate) async fn open(
        server: SocketAddr,
        number: usize,
        path: &str,
        token: Option<&str>,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(own_address(number))?;
        let mut stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request(server, path, token).as_bytes()).await?;
        let mut this = Self { stream, received: BytesMut::new() };
        this.skip_response().await?;
        Ok(this)
    }

    /// The payload of the next text frame. Answers pings.
    pub(crate) async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            match self.take_frame() {
                Some((TEXT, payload)) => return Ok(payload),
                Some((PING, payload)) => self.send(&frame(PONG, &payload)).await?,
                Some((CLOSE, payload)) => return Err(io::Error::other(format!("closed: {payload:?}"))),
                Some(_) => {}
                None => self.read().await?,
            }
        }
    }

    /// The next text frame, if it has arrived already.
    pub(crate) fn next_received(&mut self) -> Option<Bytes> {
        self.take_frame().filter(|(opcode, _)| *opcode == TEXT).map(|(_, payload)| payload)
    }

    /// The next text frame as JSON.
    pub(crate) async fn next_json(&mut self) -> io::Result<Value> {
        serde_json::from_slice(&self.next().await?).map_err(io::Error::other)
    }

    /// Sends bytes that are complete frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await
    }

    /// Stays idle until then, like the client of a quiet user.
    pub(crate) async fn idle(&mut self, until: Instant) -> io::Result<()> {
        match timeout_at(until, self.next()).await {
            Err(_) => Ok(()),
            Ok(Ok(payload)) => Err(io::Error::other(format!("unexpected: {payload:?}"))),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Closes the connection for good, like a client that will not resume.
    pub(crate) async fn leave(mut self) -> io::Result<()> {
        self.send(&frame(CLOSE, &1000_u16.to_be_bytes())).await
    }

    async fn skip_response(&mut self) -> io::Result<()> {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.received.split_to(end + 4);
                let is_upgraded = head.starts_with(b"HTTP/1.1 101");
                return if is_upgraded { Ok(()) } else { Err(io::Error::other(format!("{head:?}"))) };
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Bytes)> {
        let (header, length) = frame_head(&self.received)?;
        if self.received.len() < header + length {
            return None;
        }
        let opcode = self.received[0] & 0x0f;
        self.received.advance(header);
        let payload = self.received.split_to(length).freeze();
        if self.received.is_empty() && length > LARGE_BUFFER {
            self.received = BytesMut::new();
        }
        Some((opcode, payload))
    }
}

/// A text frame of a client, masked with zeros: for the server, any mask costs the same.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

/// Confirms the received messages, as a client must within 64 messages.
pub(crate) fn confirmation(count: usize) -> Vec<u8> {
    text_frame(&format!(r#"{{"type":"received","count":{count}}}"#))
}

fn own_address(number: usize) -> SocketAddr {
    let host = u32::try_from(number / CONNECTIONS_PER_ADDRESS % 10_000).expect("a small number");
    SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 256 + host), 0).into()
}

fn request(server: SocketAddr, path: &str, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{authorization}\r\n"
    )
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The length of the first frame's header and of its payload; servers do not mask.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2, usize::from(*length))),
    }
}
