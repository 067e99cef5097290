//! A WebSocket that does not check what it sends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::{Frame, PATIENCE, TestServer};

/// An upgraded connection, which keeps its server alive.
#[derive(Debug)]
pub struct RawSocket {
    _server: TestServer,
    stream: TcpStream,
    received: Vec<u8>,
    /// The subprotocol that the server chose; empty for none.
    pub subprotocol: String,
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A pong, with its payload.
    Pong(Vec<u8>),
    /// A close frame, with code and reason.
    Close(u16, String),
    /// The connection is gone.
    End,
}

impl RawSocket {
    /// Takes over an upgraded connection and the bytes after the response.
    #[must_use]
    pub fn new(server: &TestServer, stream: TcpStream, received: Vec<u8>, subprotocol: String) -> Self {
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Self { _server: server.clone(), stream, received, subprotocol }
    }

    /// Sends a frame. It is no failure if the server has closed meanwhile: what it sent can still be read.
    pub fn sends(&mut self, frame: &Frame) {
        self.sends_bytes(&frame.encode());
    }

    /// Sends exactly these bytes; returns whether the connection took them.
    pub fn sends_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame. Pings are answered and not returned.
    #[must_use]
    #[track_caller]
    pub fn next(&mut self, awaited: &str) -> Incoming {
        self.next_within(awaited, PATIENCE)
    }

    /// The next frame, or a failure after `patience`.
    #[must_use]
    #[track_caller]
    pub fn next_within(&mut self, awaited: &str, patience: Duration) -> Incoming {
        self.try_next(patience).unwrap_or_else(|| panic!("awaited {awaited}, nothing came"))
    }

    /// The next frame, if one comes within `patience`.
    #[must_use]
    pub fn try_next(&mut self, patience: Duration) -> Option<Incoming> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match incoming(opcode, payload) {
                    Ok(incoming) => return Some(incoming),
                    Err(ping) => self.sends(&Frame::pong(ping)),
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if !self.read(left) {
                return Some(Incoming::End);
            }
        }
    }

    /// Waits for a close frame and the end of the connection; skips frames before it.
    #[must_use]
    #[track_caller]
    pub fn expects_any_close(&mut self) -> (u16, String) {
        loop {
            match self.next("a close frame") {
                Incoming::Close(code, reason) => {
                    self.expects_end(code);
                    return (code, reason);
                }
                Incoming::End => panic!("the connection ended without a close frame"),
                Incoming::Text(_) | Incoming::Binary(_) | Incoming::Pong(_) => {}
            }
        }
    }

    /// After a close frame: echoes it and waits for the end of the connection.
    #[track_caller]
    pub fn expects_end(&mut self, code: u16) {
        self.sends(&Frame::close(code, ""));
        let next = self.next("the end of the connection");
        assert_eq!(next, Incoming::End, "after a close frame comes only the end");
    }

    /// Breaks the connection without a close frame.
    pub fn breaks(self) {
        drop(self.stream);
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (head, length) = match *self.received.as_slice() {
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                (10, usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).expect("a length"))
            }
            [_, length @ 0..=125, ..] => (2, usize::from(length)),
            [_, length @ 128..=255, ..] => panic!("a masked frame from the server (length byte {length})"),
            _ => return None,
        };
        if self.received.len() < head + length {
            return None;
        }
        let first = self.received[0];
        assert_eq!(first & 0xf0, 0x80, "a server's frame is whole and without reserved bits");
        let payload = self.received[head..head + length].to_vec();
        self.received.drain(..head + length);
        Some((first & 0x0f, payload))
    }

    /// False if the connection is gone.
    fn read(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).expect("a socket option");
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(_) => false,
        }
    }
}

/// The incoming frame for a scenario, or the payload of a ping.
fn incoming(opcode: u8, payload: Vec<u8>) -> Result<Incoming, Vec<u8>> {
    Ok(match opcode {
        0x1 => Incoming::Text(String::from_utf8(payload).expect("a text of UTF-8")),
        0x2 => Incoming::Binary(payload),
        0x8 => closing(&payload),
        0x9 => return Err(payload),
        0xa => Incoming::Pong(payload),
        _ => panic!("a frame of opcode {opcode} from the server"),
    })
}

fn closing(payload: &[u8]) -> Incoming {
    match payload {
        [] => Incoming::Close(1005, String::new()),
        [high, low, reason @ ..] => {
            let reason = String::from_utf8(reason.to_vec()).expect("a reason of UTF-8");
            Incoming::Close(u16::from_be_bytes([*high, *low]), reason)
        }
        [_] => panic!("a close frame of one byte"),
    }
}
