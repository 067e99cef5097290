//! Tests a socket against a real client of the WebSocket library, and against streams that are cut at any place.

use std::{future::poll_fn, time::Duration};

use aldis_protocol::limits::MAX_UNAUTHENTICATED_MESSAGE_BYTES;
use aldis_tests::Frame;
use futures::SinkExt;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

use super::{super::io::Metered, *};

type Client = WebSocketStream<DuplexStream>;

const PATIENCE: Duration = Duration::from_secs(10);

fn socket(stream: DuplexStream) -> Socket<Metered<DuplexStream>> {
    Socket::new(Metered::new(stream), &[], Codec::Json, MAX_MESSAGE_BYTES).unwrap()
}

/// Both ends of a stream that holds this many bytes in each direction.
async fn pair(capacity: usize) -> (Client, Socket<Metered<DuplexStream>>) {
    let (near, far) = duplex(capacity);
    (WebSocketStream::from_raw_socket(near, Role::Client, None).await, socket(far))
}

/// Reads the next event, and writes what waits meanwhile.
async fn next(socket: &mut Socket<Metered<DuplexStream>>) -> Incoming {
    let next = poll_fn(|cx| {
        if socket.poll_flush(cx) == Poll::Ready(Err(Broken)) {
            return Poll::Ready(Incoming::Broken);
        }
        socket.poll_read(cx)
    });
    timeout(PATIENCE, next).await.unwrap()
}

/// Serves until the other side has gone, and returns everything that was read.
async fn serve(socket: &mut Socket<Metered<DuplexStream>>) -> Vec<Incoming> {
    let mut all = Vec::new();
    loop {
        let incoming = next(socket).await;
        let is_last = matches!(incoming, Incoming::Closed(_) | Incoming::Broken | Incoming::Refused(..));
        all.push(incoming);
        if is_last {
            return all;
        }
    }
}

async fn flush(socket: &mut Socket<Metered<DuplexStream>>) {
    assert_eq!(timeout(PATIENCE, poll_fn(|cx| socket.poll_flush(cx))).await.unwrap(), Ok(()));
}

/// Reads and writes as much as is possible without waiting.
async fn poll_once(socket: &mut Socket<Metered<DuplexStream>>) -> Vec<Incoming> {
    let mut all = Vec::new();
    poll_fn(|cx| {
        let _ = socket.poll_flush(cx);
        while let Poll::Ready(incoming) = socket.poll_read(cx) {
            all.push(incoming);
        }
        Poll::Ready(())
    })
    .await;
    all
}

async fn receive(client: &mut Client) -> Option<Message> {
    timeout(PATIENCE, client.next()).await.unwrap().map(Result::unwrap)
}

/// Everything that a client receives, up to the end of the stream.
async fn receive_all(client: &mut Client) -> Vec<Message> {
    let mut all = Vec::new();
    while let Some(Ok(message)) = timeout(PATIENCE, client.next()).await.unwrap() {
        all.push(message);
    }
    all
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

fn frame(length: usize) -> Outgoing {
    Outgoing::Frame(text(length).into())
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A message of a client: its length, the lengths of its fragments except the last, and whether a ping is between
/// them.
type Sent = (usize, Vec<usize>, bool);

fn sent() -> impl Strategy<Value = Sent> {
    let length = prop_oneof![3 => 0_usize..200, 1 => 8_000_usize..9_000, 2 => 9_000_usize..65_536];
    let cuts = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(1_usize..20_000, 1..4)];
    (length, cuts, any::<bool>())
}

/// Appends the message to the wire, and the expected events to `expected`.
fn encode((length, cuts, has_ping): &Sent, bytes: &mut Vec<u8>, expected: &mut Vec<Incoming>) {
    let payload = text(*length);
    let mut rest = payload.as_bytes();
    let mut is_first = true;
    for cut in cuts {
        let (part, others) = rest.split_at((*cut).min(rest.len()));
        rest = others;
        let part = if is_first { Frame::text(part) } else { Frame::continuation(part) };
        bytes.extend(part.unfinished().encode());
        is_first = false;
    }
    if *has_ping {
        bytes.extend(Frame::ping(b"p".to_vec()).encode());
        expected.push(Incoming::Ping);
    }
    bytes.extend(if is_first { Frame::text(rest) } else { Frame::continuation(rest) }.encode());
    expected.push(Incoming::Frame(payload.into()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_after_a_large_message_however_the_stream_is_cut(
        messages in prop::collection::vec(sent(), 1..12),
        chunks in prop::collection::vec(1_usize..30_000, 1..40),
        capacity in 1_usize..80_000,
        pauses in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        messages.iter().for_each(|message| encode(message, &mut bytes, &mut expected));
        expected.push(Incoming::Broken);
        let read = run(async {
            let (near, far) = duplex(capacity);
            let mut socket = socket(far);
            let (mut pongs, mut near) = tokio::io::split(near);
            let write = async {
                let mut rest = bytes.as_slice();
                for chunk in chunks.iter().cycle() {
                    let (part, others) = rest.split_at((*chunk).min(rest.len()));
                    near.write_all(part).await.unwrap();
                    if pauses {
                        tokio::task::yield_now().await;
                    }
                    rest = others;
                    if rest.is_empty() {
                        break;
                    }
                }
                near.shutdown().await.unwrap();
            };
            let drain = async { tokio::io::copy(&mut pongs, &mut tokio::io::sink()).await };
            let serve = async {
                let read = serve(&mut socket).await;
                drop(socket);
                read
            };
            let ((), read, _) = tokio::join!(write, serve, drain);
            read
        });
        prop_assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(&expected) {
            prop_assert!(read == expected, "a different message than was sent");
        }
    }

    #[test]
    fn frames_are_sent_whole_and_in_order_however_little_each_write_takes(
        lengths in prop::collection::vec(prop_oneof![0_usize..300, 300_usize..20_000], 1..80),
        capacity in 1_usize..5_000,
    ) {
        run(async {
            let (mut client, mut socket) = pair(capacity).await;
            lengths.iter().for_each(|length| socket.enqueue(frame(*length)));
            let receive = async {
                for length in &lengths {
                    let message = receive(&mut client).await.unwrap();
                    assert!(message.into_text().unwrap().as_str() == text(*length));
                }
            };
            tokio::join!(flush(&mut socket), receive);
            assert_eq!(socket.backlog(), Backlog::default());
            assert!(socket.take_has_written() && !socket.take_has_written());
        });
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways_and_the_read_buffer_shrinks() {
    let (mut client, mut socket) = pair(1024).await;
    let send = client.send(Message::text(text(MAX_MESSAGE_BYTES)));
    let (sent, incoming) = tokio::join!(send, next(&mut socket));
    sent.unwrap();
    assert_eq!(incoming, Incoming::Frame(text(MAX_MESSAGE_BYTES).into()));
    assert!(socket.grown);
    assert_eq!(poll_once(&mut socket).await, []);
    assert!(!socket.grown);

    socket.enqueue(frame(250_000));
    let (message, ()) = tokio::join!(receive(&mut client), flush(&mut socket));
    assert_eq!(message, Some(Message::text(text(250_000))));
}

#[tokio::test]
async fn a_pong_waits_for_the_end_of_the_frame_that_is_half_written() {
    let (mut client, mut socket) = pair(64).await;
    socket.enqueue(frame(10_000));
    assert_eq!(poll_once(&mut socket).await, []);
    client.send(Message::Ping("now".into())).await.unwrap();
    assert_eq!(poll_once(&mut socket).await, [Incoming::Ping]);
    socket.enqueue(frame(5));
    let receive = async {
        let mut received = Vec::new();
        while received.len() < 3 {
            received.push(receive(&mut client).await.unwrap());
        }
        received
    };
    let (received, ()) = tokio::join!(receive, flush(&mut socket));
    assert_eq!(received[0], Message::text(text(10_000)));
    assert!(received[1..].contains(&Message::Pong("now".into())));
    assert!(received[1..].contains(&Message::text(text(5))));
}

#[tokio::test]
async fn a_waiting_pong_survives_the_replacement_of_the_read_buffer() {
    let (near, far) = duplex(20_000);
    let mut socket = socket(far);
    let mut client: Client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    socket.enqueue(frame(100_000));
    assert_eq!(poll_once(&mut socket).await, []);
    client.send(Message::text(text(9_000))).await.unwrap();
    client.send(Message::Ping("still".into())).await.unwrap();
    let read = poll_once(&mut socket).await;
    assert_eq!(read, [Incoming::Frame(text(9_000).into()), Incoming::Ping]);
    assert!(socket.grown, "not while the pong waits");
    let receive = async { [receive(&mut client).await.unwrap(), receive(&mut client).await.unwrap()] };
    let (received, ()) = tokio::join!(receive, flush(&mut socket));
    assert_eq!(received, [Message::text(text(100_000)), Message::Pong("still".into())]);
    assert_eq!(poll_once(&mut socket).await, []);
    assert!(!socket.grown);
}

#[tokio::test]
async fn a_close_is_answered_after_waiting_frames() {
    let (mut client, mut socket) = pair(64).await;
    socket.enqueue(frame(1_000));
    socket.enqueue(frame(2));
    client.close(None).await.unwrap();
    let serve = async {
        assert_eq!(serve(&mut socket).await, [Incoming::Closed(None)]);
        flush(&mut socket).await;
        assert_eq!(next(&mut socket).await, Incoming::Broken);
        drop(socket);
    };
    let (received, ()) = tokio::join!(receive_all(&mut client), serve);
    let expected = [Message::text(text(1_000)), Message::text(text(2)), Message::Close(None)];
    assert_eq!(received, expected);
}

#[tokio::test]
async fn the_code_of_a_close_is_reported() {
    for code in [1000, 1001, 3000, 4000] {
        let (near, far) = duplex(1024);
        let mut socket = socket(far);
        let (_near_reads, mut near) = tokio::io::split(near);
        near.write_all(&Frame::close(code, "reason").encode()).await.unwrap();
        assert_eq!(next(&mut socket).await, Incoming::Closed(Some(code)));
    }
}

#[tokio::test]
async fn nothing_follows_our_own_close() {
    let (near, far) = duplex(1024);
    let mut socket = socket(far);
    let (mut reads, mut writes) = tokio::io::split(near);
    socket.enqueue(frame(3));
    socket.enqueue(Outgoing::Close(CloseCode::Replaced, "why"));
    socket.enqueue(frame(4));
    flush(&mut socket).await;
    writes.write_all(&Frame::ping(b"late".to_vec()).encode()).await.unwrap();
    writes.write_all(&Frame::close(4300, "").encode()).await.unwrap();
    assert_eq!(serve(&mut socket).await, [Incoming::Ping, Incoming::Closed(Some(4300))]);
    flush(&mut socket).await;
    drop(socket);
    let mut received = Vec::new();
    reads.read_to_end(&mut received).await.unwrap();
    let close = [&[0x88, 5][..], &4300_u16.to_be_bytes(), b"why"].concat();
    assert_eq!(received, [&[0x81, 3][..], b"xxx", &close].concat());
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_with_a_close_that_arrives() {
    let (near, far) = duplex(4096);
    let mut socket =
        Socket::new(Metered::new(far), &[], Codec::Json, MAX_UNAUTHENTICATED_MESSAGE_BYTES).unwrap();
    let (mut reads, mut writes) = tokio::io::split(near);
    let client = async {
        writes.write_all(&Frame::text(text(300_000)).encode()).await.unwrap();
        let mut received = Vec::new();
        reads.read_to_end(&mut received).await.unwrap();
        writes.shutdown().await.unwrap();
        received
    };
    let serve = async {
        let refused = next(&mut socket).await;
        assert!(matches!(refused, Incoming::Refused(CloseCode::TooLarge, _)), "{refused:?}");
        socket.enqueue(Outgoing::Close(CloseCode::TooLarge, ""));
        flush(&mut socket).await;
        assert_eq!(next(&mut socket).await, Incoming::Broken, "once the other side has ended too");
    };
    let (received, ()) = tokio::join!(client, serve);
    assert_eq!(received, [&[0x88, 2][..], &1009_u16.to_be_bytes()].concat());
}

#[tokio::test]
async fn a_larger_limit_applies_from_the_next_message_on() {
    let (near, far) = duplex(100_000);
    let already_read = Frame::text(b"early".to_vec()).encode();
    let mut socket =
        Socket::new(Metered::new(far), &already_read, Codec::Json, MAX_UNAUTHENTICATED_MESSAGE_BYTES)
            .unwrap();
    assert_eq!(next(&mut socket).await, Incoming::Frame("early".into()));
    socket.set_message_limit(MAX_MESSAGE_BYTES);
    let (_reads, mut writes) = tokio::io::split(near);
    writes.write_all(&Frame::text(text(MAX_MESSAGE_BYTES)).encode()).await.unwrap();
    assert_eq!(next(&mut socket).await, Incoming::Frame(text(MAX_MESSAGE_BYTES).into()));
}

#[tokio::test]
async fn protocol_violations_are_refused_with_their_code() {
    let binary = Frame::binary(b"x".to_vec());
    let wrong = [
        (binary, CloseCode::UnsupportedFrame),
        (Frame::text(vec![0xff]), CloseCode::InvalidUtf8),
        (Frame::text(b"x".to_vec()).unmasked(), CloseCode::ProtocolError),
        (Frame::text(b"x".to_vec()).reserved(4), CloseCode::ProtocolError),
        (Frame::continuation(b"x".to_vec()), CloseCode::ProtocolError),
        (Frame::new(0x3, b"x".to_vec()), CloseCode::ProtocolError),
        (Frame::ping(vec![0; 126]), CloseCode::ProtocolError),
    ];
    for (frame, code) in wrong {
        let (near, far) = duplex(1024);
        let mut socket = socket(far);
        let (_reads, mut writes) = tokio::io::split(near);
        writes.write_all(&frame.encode()).await.unwrap();
        let refused = next(&mut socket).await;
        assert!(matches!(refused, Incoming::Refused(given, _) if given == code), "{frame:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_close_is_broken() {
    let (near, far) = duplex(64);
    let mut socket = socket(far);
    socket.enqueue(frame(1_000));
    drop(near);
    assert_eq!(next(&mut socket).await, Incoming::Broken);
}

#[tokio::test]
async fn a_pong_goes_after_the_response_to_the_upgrade() {
    const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let (mut near, far) = duplex(1_024);
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let mut socket = Socket::new(Metered::new(far), &ping, Codec::Json, MAX_MESSAGE_BYTES).unwrap();
    socket.write_first(RESPONSE.to_vec());
    // The ping is read before anything is written.
    poll_fn(|cx| {
        while socket.poll_read(cx).is_ready() {}
        Poll::Ready(())
    })
    .await;
    flush(&mut socket).await;
    drop(socket);
    let mut written = Vec::new();
    near.read_to_end(&mut written).await.unwrap();
    assert_eq!(written, [RESPONSE, &[0x8a, 0]].concat());
}
