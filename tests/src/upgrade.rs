//! Opens a socket at a door, header by header.

use crate::{Peer, RawAnswer, RawHttp, RawSocket, TestServer};

/// The request for a WebSocket.
#[derive(Debug, Clone)]
pub struct Upgrade {
    path: String,
    headers: Vec<(String, String)>,
}

impl Upgrade {
    /// A valid request for a path, query included, without credentials.
    #[must_use]
    pub fn to(path: impl Into<String>) -> Self {
        Self { path: path.into(), headers: Vec::new() }
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path = format!("{}{separator}{name}={value}", self.path);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces a header, or removes it if there is no value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// `Sec-WebSocket-Protocol`, a list.
    #[must_use]
    pub fn subprotocols(self, list: &str) -> Self {
        self.header("Sec-WebSocket-Protocol", list)
    }

    /// The request on the wire.
    #[must_use]
    pub fn encode(&self, server: &TestServer) -> Vec<u8> {
        let host = ("Host".to_owned(), server.authority());
        let has_host = self.headers.iter().any(|(name, _)| name == "Host");
        let headers = self.headers.iter().chain((!has_host).then_some(&host));
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {} HTTP/1.1\r\n{headers}\r\n", self.path).into_bytes()
    }

    /// The socket, or the server's refusal.
    #[track_caller]
    pub fn try_open(&self, server: &TestServer) -> Result<RawSocket, Box<RawAnswer>> {
        self.try_open_pipelining(server, &[])
    }

    /// The same, with bytes sent directly after the request.
    #[track_caller]
    pub fn try_open_pipelining(
        &self,
        server: &TestServer,
        bytes: &[u8],
    ) -> Result<RawSocket, Box<RawAnswer>> {
        let mut connection = RawHttp::connect(server);
        connection.send(&[&self.encode(server), bytes].concat());
        let answer = connection.answer();
        if answer.status != 101 {
            return Err(Box::new(answer));
        }
        assert_eq!(answer.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the accepted key");
        assert_eq!(answer.header("sec-websocket-extensions"), "", "no extension is ever negotiated");
        let (stream, received) = connection.into_parts();
        Ok(RawSocket::new(server, stream, received, answer.header("sec-websocket-protocol").to_owned()))
    }

    /// The socket.
    #[must_use]
    #[track_caller]
    pub fn open(&self, server: &TestServer) -> RawSocket {
        match self.try_open(server) {
            Ok(socket) => socket,
            Err(answer) => panic!("{} was to open, the server answered {answer:?}", self.path),
        }
    }

    /// The refusal.
    #[must_use]
    #[track_caller]
    pub fn refused(&self, server: &TestServer) -> RawAnswer {
        match self.try_open(server) {
            Ok(_) => panic!("{} was to be refused, the server opened it", self.path),
            Err(answer) => *answer,
        }
    }

    /// A JSON peer on the socket.
    #[must_use]
    #[track_caller]
    pub fn peer(&self, server: &TestServer) -> Peer {
        Peer::new(self.open(server))
    }

    /// A JSON peer after `connected`, for a valid proof in the query or the header.
    #[must_use]
    #[track_caller]
    pub fn connected(&self, server: &TestServer) -> Peer {
        let mut peer = self.peer(server);
        peer.expects_connected();
        peer
    }
}
