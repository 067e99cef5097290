//! A proxy that tunnels connections (`CONNECT`).

use aldis_client::{
    Client, ConnectionError, Credentials, DialError, Event, Options, Proxy, Server, protocol::Codec,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::peer::{AUDIENCE, Peer, URL, key};

/// A proxy, and its URL with user and password.
async fn proxy() -> (TcpListener, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://ann:secret@{}", listener.local_addr().unwrap());
    (listener, url.parse().unwrap())
}

/// Accepts a connection and answers its `CONNECT`, which it gives.
async fn accept(listener: &TcpListener, answer: &str) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_header(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    (stream, request)
}

async fn read_header(stream: &mut TcpStream) -> String {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(header).unwrap()
}

#[tokio::test]
async fn a_socket_goes_through_the_proxy() {
    let (listener, proxy) = proxy().await;
    let options = Options::insecure(URL, Credentials::key(key())).unwrap().proxy(proxy);
    let (client, _events) = Client::start(options);
    let (stream, request) =
        accept(&listener, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await;
    assert_eq!(
        request,
        "CONNECT relay.test:8080 HTTP/1.1\r\nHost: relay.test:8080\r\n\
         Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
    );
    let mut peer = Peer::accept(stream, Codec::Json).await;
    peer.check_key(AUDIENCE).await;
    peer.let_in().await;
    client.connected().await.unwrap();
}

#[tokio::test]
async fn calls_go_through_the_proxy() {
    let (listener, proxy) = proxy().await;
    let server = Server::insecure(URL).unwrap().proxy(proxy);
    let fingerprint = key().public_key().fingerprint();
    let serve = async {
        let (mut stream, request) = accept(&listener, "HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(request.starts_with("CONNECT relay.test:8080 "));
        let request = read_header(&mut stream).await;
        assert!(request.starts_with(&format!("GET /api/identity/{fingerprint} ")), "{request}");
        assert!(!request.contains("Proxy-Authorization"), "{request}");
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let ((), outcome) = tokio::join!(serve, server.look_up(fingerprint));
    assert_eq!(outcome.unwrap_err().refusal().unwrap().status, 404);
}

#[tokio::test]
async fn a_proxy_that_wants_another_password_stops_the_client() {
    let (listener, proxy) = proxy().await;
    let options = Options::insecure(URL, Credentials::key(key())).unwrap().proxy(proxy);
    let (_client, mut events) = Client::start(options);
    accept(&listener, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let event = events.next().await.unwrap();
    let is_refused = |cause: &ConnectionError| {
        matches!(cause, ConnectionError::Dial(DialError::Proxy { status: Some(407) }))
    };
    assert!(matches!(&event, Event::Closed { cause, retry_in: None } if is_refused(cause)), "{event:?}");
}
