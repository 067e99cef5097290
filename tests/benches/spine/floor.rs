//! The floor: the same stack without any code of Aldis.
//!
//! At `/` a connection is upgraded and read from. At `/relay/{pair}/{side}` each frame goes through a queue to the
//! other side of its pair, and is answered with a constant frame. At `/room` a constant frame is written directly to
//! the sockets of all others.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::poll_fn,
    io::Write as _,
    net,
    os::fd::AsFd,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::{Sink as _, Stream as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// As long as the server's `ack` of a signal.
const ANSWER: &str = concat!(
    r#"{"type":"ack","id":"m-00000000","timestamp":"2026-01-01T00:00:00.000Z","status":"delivered","#,
    r#""message":"Message delivered to ~01900000-0000-7000-8000-000000000001"}"#
);

/// As long as the server's `broadcast` of the load.
const BROADCAST: &str = concat!(
    r#"{"type":"broadcast","id":"01900000-0000-7000-8000-000000000001","timestamp":"2026-01-01T00:00:00.000Z","#,
    r#""room":"crowd","from":{"device_id":"~01900000-0000-7000-8000-000000000001","#,
    r#""user_id":"01900000-0000-7000-8000-000000000001"},"payload":""#,
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"
);

type Socket = WebSocketStream<TcpStream>;

/// Serves until it is killed; prints its address first.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(4096).expect("a listener");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("an output");
        let relay = Arc::<Relay>::default();
        // The accept loop is a task too, so that it runs on a worker.
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve_http(stream, Arc::clone(&relay)));
            }
        });
        accepting.await.expect("an accept loop");
    });
}

async fn serve_http(stream: TcpStream, relay: Arc<Relay>) {
    stream.set_nodelay(true).expect("a socket option");
    let service = service_fn(move |request| {
        let response = upgrade(request, Arc::clone(&relay));
        async move { Ok::<_, Infallible>(response) }
    });
    // A client that leaves early is no failure here.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

fn upgrade(mut request: Request<Incoming>, relay: Arc<Relay>) -> Response<Empty<&'static [u8]>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).expect("a key").as_bytes();
    let accept = derive_accept_key(key);
    let place = Place::of(request.uri().path());
    let upgrading = hyper::upgrade::on(&mut request);
    drop(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else { return };
        let socket = socket(upgraded).await;
        match place {
            None => drop(tokio::spawn(read(socket))),
            Some(Place::Pair { pair, side }) => {
                drop(tokio::spawn(Relayed::in_pair(socket, pair, side, &relay).run()));
            }
            Some(Place::Room) => drop(tokio::spawn(Relayed::in_room(socket, relay).run())),
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Empty::new())
        .expect("a response")
}

async fn socket(upgraded: Upgraded) -> Socket {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("the socket that was accepted");
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(8 * 1024)
        .max_write_buffer_size(256 * 1024);
    let already_read = parts.read_buf.to_vec();
    Socket::from_partially_read(parts.io.into_inner(), already_read, Role::Server, Some(config)).await
}

async fn read(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}

/// The path of a connection.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At one end of a pair.
    Pair { pair: usize, side: usize },
    /// The room, where each message goes to all others.
    Room,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        if path == "/room" {
            return Some(Self::Room);
        }
        let (pair, side) = path.strip_prefix("/relay/")?.split_once('/')?;
        Some(Self::Pair { pair: pair.parse().ok()?, side: side.parse().ok()? })
    }
}

/// The queues of all pairs, and of the room.
#[derive(Debug, Default)]
struct Relay {
    pairs: Mutex<HashMap<usize, [Arc<Queue>; 2]>>,
    room: Mutex<Vec<Arc<net::TcpStream>>>,
}

impl Relay {
    fn queues(&self, pair: usize) -> [Arc<Queue>; 2] {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.entry(pair).or_default().clone()
    }

    fn room(&self) -> MutexGuard<'_, Vec<Arc<net::TcpStream>>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to_room(&self, except: &Arc<net::TcpStream>) {
        let frame = frame(BROADCAST);
        for stream in self.room().iter().filter(|other| !Arc::ptr_eq(other, except)) {
            let written = stream.as_ref().write(&frame).expect("room in the socket");
            assert_eq!(written, frame.len(), "a socket is full");
        }
    }
}

/// A text frame of between 126 bytes and 64 KiB, as servers send them (RFC 6455, section 5.2).
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&[0x81, 126], length.to_be_bytes().as_slice(), text.as_bytes()].concat()
}

/// The receivers of what a connection sends.
enum Others {
    One(Arc<Queue>),
    Room(Arc<Relay>, Arc<net::TcpStream>),
}

/// The frames that wait for one side.
#[derive(Debug, Default)]
struct Queue(Mutex<(VecDeque<Message>, Option<Waker>)>);

impl Queue {
    fn push(&self, message: Message) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.0.push_back(message);
        let waker = queue.1.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_take(&self, cx: &Context<'_>) -> Poll<VecDeque<Message>> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.0.is_empty() {
            queue.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut queue.0))
    }
}

/// One side of a pair, or a member of the room.
struct Relayed {
    socket: Socket,
    own: Arc<Queue>,
    others: Others,
}

impl Relayed {
    fn in_pair(socket: Socket, pair: usize, side: usize, relay: &Relay) -> Self {
        let [a, b] = relay.queues(pair);
        let (own, other) = if side == 0 { (a, b) } else { (b, a) };
        Self { socket, own, others: Others::One(other) }
    }

    fn in_room(socket: Socket, relay: Arc<Relay>) -> Self {
        let stream = socket.get_ref().as_fd().try_clone_to_owned().expect("a file descriptor");
        let stream = Arc::new(stream.into());
        relay.room().push(Arc::clone(&stream));
        Self { socket, own: Arc::default(), others: Others::Room(relay, stream) }
    }

    fn hand_on(others: &Others, text: Utf8Bytes) {
        match others {
            Others::One(other) => other.push(Message::Text(text)),
            Others::Room(relay, own) => relay.write_to_room(own),
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut socket = Pin::new(&mut self.socket);
        while let Poll::Ready(messages) = self.own.poll_take(cx) {
            for message in messages {
                socket.as_mut().start_send(message).expect("room in the write buffer");
            }
        }
        while let Poll::Ready(message) = socket.as_mut().poll_next(cx) {
            match message {
                Some(Ok(Message::Text(text))) => {
                    Self::hand_on(&self.others, text);
                    let answer = Message::Text(Utf8Bytes::from_static(ANSWER));
                    socket.as_mut().start_send(answer).expect("room in the write buffer");
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
        match socket.poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}
