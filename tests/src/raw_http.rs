//! HTTP byte by byte, for requests that no client library would send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{PATIENCE, TestServer};

/// A TCP connection to the server.
#[derive(Debug)]
pub struct RawHttp {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The first response on a [`RawHttp`].
#[derive(Debug)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, as far as `Content-Length` says.
    pub body: Vec<u8>,
}

impl RawHttp {
    /// Connects.
    #[must_use]
    pub fn connect(server: &TestServer) -> Self {
        let stream = TcpStream::connect(server.address()).expect("a connection to the server");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, received: Vec::new() }
    }

    /// Sends one request and reads the response to it.
    #[must_use]
    pub fn exchange(server: &TestServer, request: &[u8]) -> RawAnswer {
        let mut connection = Self::connect(server);
        connection.send(request);
        connection.answer()
    }

    /// Sends exactly these bytes. It is no failure if the server has closed meanwhile: it may have answered before.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads a response.
    #[must_use]
    #[track_caller]
    pub fn answer(&mut self) -> RawAnswer {
        self.answer_within(PATIENCE)
    }

    /// Reads a response, or fails after `patience`.
    #[must_use]
    #[track_caller]
    pub fn answer_within(&mut self, patience: Duration) -> RawAnswer {
        let deadline = Instant::now() + patience;
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            assert!(self.read(deadline), "the connection ended within the header: {:?}", self.lossy());
        };
        let head = String::from_utf8(self.received.drain(..end + 4).collect()).expect("a header of ASCII");
        let mut answer = RawAnswer::from_head(&head);
        let length = answer.header("content-length").parse().unwrap_or(0);
        while self.received.len() < length {
            assert!(self.read(deadline), "the connection ended within the body: {:?}", self.lossy());
        }
        answer.body = self.received.drain(..length).collect();
        answer
    }

    /// Waits until the server closes without sending another byte; returns how long that took.
    #[track_caller]
    pub fn expects_end(&mut self, patience: Duration) -> Duration {
        let start = Instant::now();
        while self.read(start + patience) {}
        assert!(self.received.is_empty(), "nothing was to come before the end: {:?}", self.lossy());
        start.elapsed()
    }

    /// The connection, and the bytes after the last response.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// Reads once; `false` at the end of the connection.
    #[track_caller]
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the server was to answer; so far: {:?}", self.lossy());
        self.stream.set_read_timeout(Some(left)).expect("a socket option");
        let mut buffer = [0; 4096];
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

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

impl RawAnswer {
    /// A header of the response; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {text}", self.status))
    }

    fn from_head(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.unwrap_or_else(|| panic!("a status in {head:?}")),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
