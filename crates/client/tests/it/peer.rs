//! The server's side of a connection, played by the test.

use std::{
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use aldis_client::{
    Client, Credentials, Events, Options,
    auth::{ChallengeResponse, SecretKey, SocketChallenge},
    protocol::{
        Ack, AckStatus, AuthChallenge, AuthSuccess, ClientFrame, ClientMessage, Codec, Connected, DeviceId,
        Heartbeat, RequestId, Resume, ServerFrame, ServerMessage, SessionId, SessionInfo, SessionLimits,
        Timestamp, UserId,
    },
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};
use uuid::Uuid;

/// The host and port that clients of these tests dial.
pub(crate) const URL: &str = "ws://relay.test:8080";
pub(crate) const AUDIENCE: &str = "relay.test:8080";

pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

pub(crate) fn device() -> DeviceId {
    "desk".parse().unwrap()
}

/// A network without wires: what clients dial is accepted here.
pub(crate) struct Network {
    dialled: mpsc::Receiver<DuplexStream>,
}

impl Network {
    /// A network, and options of a client that is in it.
    pub(crate) fn with(credentials: Credentials) -> (Self, Options) {
        let (sender, dialled) = mpsc::channel(16);
        let reach = move |_, _| {
            let (near, far) = tokio::io::duplex(1024 * 1024);
            let sender = sender.clone();
            async move {
                sender.send(far).await.map(|()| near).map_err(|_| io::ErrorKind::ConnectionRefused.into())
            }
        };
        (Self { dialled }, Options::insecure(URL, credentials).unwrap().transport(reach))
    }

    /// A client with a key, and the other end of its first connection.
    pub(crate) async fn connected() -> (Self, Client, Events, Peer) {
        let (mut network, options) = Self::with(Credentials::key(key()));
        let (client, events) = Client::start(options);
        let peer = network.welcome().await;
        client.connected().await.unwrap();
        (network, client, events, peer)
    }

    pub(crate) async fn stream(&mut self) -> DuplexStream {
        self.dialled.recv().await.unwrap()
    }

    pub(crate) async fn accept(&mut self) -> Peer {
        Peer::accept(self.stream().await, Codec::Json).await
    }

    /// Accepts the next connection and lets it go on where it was; gives how much has arrived there.
    pub(crate) async fn welcome_back(&mut self) -> (Peer, u64) {
        let mut peer = self.accept().await;
        let claim = peer.check_key(AUDIENCE).await.unwrap();
        assert_eq!(claim.token.expose(), "token");
        peer.let_in_again(true).await;
        (peer, claim.received)
    }

    /// Accepts the next connection and lets it in.
    pub(crate) async fn welcome(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.check_key(AUDIENCE).await;
        peer.let_in().await;
        peer
    }
}

pub(crate) struct Peer<S = DuplexStream> {
    stream: WebSocketStream<S>,
    codec: Codec,
}

/// A frame from the client.
pub(crate) struct Frame(Bytes, Codec);

impl Frame {
    pub(crate) fn read(&self) -> ClientFrame<'_> {
        self.1.decode_client(&self.0).unwrap()
    }

    pub(crate) fn id(&self) -> RequestId {
        self.read().id.unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn accept(stream: S, codec: Codec) -> Self {
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().path(), "/v1/connect");
            assert_eq!(request.headers()["sec-websocket-protocol"], codec.subprotocol());
            let chosen = codec.subprotocol().parse().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", chosen);
            Ok(response)
        };
        Self { stream: accept_hdr_async(stream, choose).await.unwrap(), codec }
    }

    /// Sends the challenge, verifies the answer and gives what the client claims.
    pub(crate) async fn check_key(&mut self, audience: &str) -> Option<Resume<'static>> {
        let challenge = SocketChallenge::issue([5; 32], audience, now_ms());
        let message = ServerMessage::AuthChallenge(AuthChallenge {
            challenge: *challenge.challenge(),
            audience: audience.into(),
            expires_at_ms: challenge.expires_at_ms(),
        });
        self.say(None, message).await;
        let frame = self.hear().await;
        let ClientMessage::AuthResponse(response) = frame.read().message else { panic!("no proof") };
        let claim = response.resume.map(|resume| Resume { token: resume.token.into_owned(), ..resume });
        let response = ChallengeResponse {
            public_key: response.public_key,
            signature: response.signature,
            device_id: response.device_id,
        };
        assert_eq!(challenge.accept(&response, now_ms()), Ok(key().public_key()));
        claim
    }

    pub(crate) async fn let_in(&mut self) {
        self.let_in_again(false).await;
    }

    /// Lets the client into the one session that there ever is.
    pub(crate) async fn let_in_again(&mut self, resumed: bool) {
        let user_id = UserId::new(Uuid::nil());
        let success = AuthSuccess { user_id, device_id: device(), expires_at: None };
        self.say(None, ServerMessage::AuthSuccess(success)).await;
        let connected = Connected {
            device_id: device(),
            user_id,
            message: Connected::MESSAGE.into(),
            session: SessionInfo {
                id: SessionId::new(Uuid::nil()),
                resume_token: "token".into(),
                resume_window: 30,
                resumed,
                replayed: 0,
            },
            heartbeat: Heartbeat { interval: 30, timeout: 10 },
            limits: SessionLimits::new(65_536, 48_000, 128),
        };
        self.say(None, ServerMessage::Connected(connected)).await;
    }

    pub(crate) async fn say(&mut self, id: Option<RequestId>, message: ServerMessage<'_>) {
        let frame = ServerFrame { id, timestamp: Timestamp::from_ms(0), message };
        self.say_raw(self.codec.encode_server(&frame)).await;
    }

    pub(crate) async fn say_raw(&mut self, bytes: Bytes) {
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(bytes.to_vec()).unwrap()),
            Codec::Proto => Message::Binary(bytes),
        };
        self.stream.send(message).await.unwrap();
    }

    pub(crate) async fn ack(&mut self, id: RequestId) {
        self.say(Some(id), ServerMessage::Ack(Ack::new(AckStatus::Done, "done"))).await;
    }

    /// The client's next frame; pings are answered on the way.
    pub(crate) async fn hear(&mut self) -> Frame {
        loop {
            match self.stream.next().await.unwrap().unwrap() {
                Message::Text(text) => return Frame(text.into(), self.codec),
                Message::Binary(bytes) => return Frame(bytes, self.codec),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(frame) => panic!("closed: {frame:?}"),
                Message::Frame(_) => {}
            }
        }
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.stream.close(Some(frame)).await.unwrap();
    }

    /// The client's close code; the echo is sent.
    pub(crate) async fn hear_close(&mut self) -> u16 {
        let mut code = None;
        while let Some(Ok(message)) = self.stream.next().await {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.into());
            }
        }
        code.unwrap()
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
