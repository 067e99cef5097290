//! Rooms, presence and mailbox through the whole client: over sessions, each message once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aldis_client::{
    Client, Credentials, Event, Events, Options, RequestError, Since,
    protocol::{
        Ack, AckStatus, ClientMessage, DeviceId, ErrorCode, ErrorReply, History, HistoryMessage,
        MailboxMessage, MessageId, Payload, RoomId, Sender, ServerMessage, Status, StoredChatMessage, Synced,
        Timestamp, UserId, UserRef,
    },
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::peer::{Frame, Network, Peer, key};

pub(crate) fn hall() -> RoomId {
    "hall".parse().unwrap()
}

pub(crate) fn said(seq: u64) -> StoredChatMessage<'static> {
    let device_id: DeviceId = "phone".parse().unwrap();
    let sender = Sender::new(device_id, UserId::new(Uuid::from_u128(9)));
    let payload = Payload::from_json(r#"{"content":"hello"}"#).unwrap();
    StoredChatMessage::new(hall(), seq, sender, payload)
}

fn message(seq: u64) -> ServerMessage<'static> {
    ServerMessage::Message(MailboxMessage::new(
        MessageId::new(Uuid::from_u128(seq.into())),
        seq,
        UserId::new(Uuid::from_u128(9)),
        "phone".parse().unwrap(),
        UserId::new(Uuid::nil()),
        b"sealed".as_slice().into(),
        Timestamp::from_ms(0),
    ))
}

/// The client's next frame, but for confirmations.
pub(crate) async fn hear(peer: &mut Peer) -> Frame {
    loop {
        let frame = peer.hear().await;
        if !matches!(frame.read().message, ClientMessage::Received(_)) {
            return frame;
        }
    }
}

pub(crate) async fn ack_next(peer: &mut Peer) {
    let id = hear(peer).await.id();
    peer.ack(id).await;
}

pub(crate) async fn next_chat(events: &mut Events) -> u64 {
    loop {
        if let Event::Chat(said) = events.next().await.unwrap() {
            assert_eq!(said.content().unwrap(), "hello");
            return said.chat.seq;
        }
    }
}

/// Where the handler of a test stores what it gets.
#[derive(Clone, Default)]
struct Disk {
    stored: Arc<Mutex<Vec<u64>>>,
    /// How often it fails first.
    failures: Arc<AtomicUsize>,
}

impl Disk {
    fn failing(times: usize) -> Self {
        Self { failures: Arc::new(AtomicUsize::new(times)), ..Self::default() }
    }

    fn options(&self, cursor: u64, options: Options) -> Options {
        let disk = self.clone();
        options.mailbox(cursor, move |message| {
            let disk = disk.clone();
            async move {
                let left = disk.failures.load(Ordering::Relaxed);
                disk.failures.store(left.saturating_sub(1), Ordering::Relaxed);
                tokio::task::yield_now().await;
                if left > 0 {
                    return Err("the disk is full");
                }
                disk.stored.lock().unwrap().push(message.message.seq);
                Ok(())
            }
        })
    }

    fn stored(&self) -> Vec<u64> {
        self.stored.lock().unwrap().clone()
    }
}

async fn start_with(disk: &Disk, cursor: u64) -> (Network, Client, Events, Peer) {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (client, events) = Client::start(disk.options(cursor, options));
    let peer = network.welcome().await;
    client.connected().await.unwrap();
    (network, client, events, peer)
}

/// Answers the next frame, a `sync` from that number, with these messages.
async fn stream(peer: &mut Peer, since: u64, numbers: &[u64]) {
    let frame = hear(peer).await;
    let ClientMessage::Sync(sync) = frame.read().message else { panic!("no sync") };
    assert_eq!(sync.since_seq, since);
    for seq in numbers {
        peer.say(Some(frame.id()), message(*seq)).await;
    }
    let seq = numbers.last().copied().unwrap_or(since);
    peer.say(Some(frame.id()), ServerMessage::Synced(Synced::new(seq, 1, true))).await;
}

async fn hear_delivered(peer: &mut Peer) -> Vec<u128> {
    let frame = hear(peer).await;
    let ClientMessage::Delivered(delivered) = frame.read().message else { panic!("{:?}", frame.read()) };
    peer.ack(frame.id()).await;
    delivered.message_ids.iter().map(|id| id.as_uuid().as_u128()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_stored_then_acknowledged_and_comes_once() {
    let disk = Disk::failing(2);
    let (mut network, client, mut events, mut peer) = start_with(&disk, 4).await;
    stream(&mut peer, 4, &[5]).await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    for _ in 0..2 {
        let Some(Event::MessageNotStored { error, .. }) = events.next().await else { panic!("no failure") };
        assert_eq!(error.to_string(), "the disk is full");
        assert!(disk.stored().is_empty());
    }
    assert_eq!(hear_delivered(&mut peer).await, [5]);
    assert_eq!((disk.stored(), client.mailbox_cursor()), (vec![5], Some(5)));
    peer.say(None, message(6)).await;
    assert_eq!(hear_delivered(&mut peer).await, [6]);
    drop(peer);
    let mut peer = network.welcome().await;
    stream(&mut peer, 6, &[7, 8]).await;
    let mut delivered = hear_delivered(&mut peer).await;
    if delivered.len() < 2 {
        delivered.extend(hear_delivered(&mut peer).await);
    }
    assert_eq!((delivered, disk.stored()), (vec![7, 8], vec![5, 6, 7, 8]));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_stops_nothing_else() {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let options = options.mailbox(0, |_| std::future::pending::<Result<(), std::io::Error>>());
    let (client, mut events) = Client::start(options);
    let mut peer = network.welcome().await;
    stream(&mut peer, 0, &[1, 2]).await;
    let server = async {
        let id = hear(&mut peer).await.id();
        peer.say(Some(id), ServerMessage::Pong).await;
    };
    let (pong, ()) = tokio::join!(client.ping(), server);
    assert!(pong.is_ok());
    assert_eq!(client.mailbox_cursor(), Some(0));
    drop(peer);
    timeout(Duration::from_secs(10), client.stop()).await.unwrap();
    while events.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn with_a_mailbox_sync_is_the_clients_own() {
    let disk = Disk::default();
    let (_network, client, _events, _peer) = start_with(&disk, 0).await;
    assert_eq!(client.sync(0, None).await, Err(RequestError::Reserved));
}

#[tokio::test(start_paused = true)]
async fn a_room_is_followed_over_sessions() {
    let (mut network, client, mut events, mut peer) = Network::connected().await;
    let room = hall();
    let (joined, ()) = tokio::join!(client.join(&room, Since::Now), ack_next(&mut peer));
    joined.unwrap();
    peer.say(None, ServerMessage::ChatMessage(said(41))).await;
    assert_eq!(next_chat(&mut events).await, 41);
    drop(peer);
    let mut peer = network.welcome().await;
    let join = hear(&mut peer).await;
    assert!(matches!(join.read().message, ClientMessage::Join(join) if join.room == Some(hall())));
    peer.ack(join.id()).await;
    let history = hear(&mut peer).await;
    let ClientMessage::History(request) = history.read().message else { panic!("no history") };
    assert_eq!(request.since_seq, 41);
    let message = |seq| HistoryMessage::new(None, Timestamp::from_ms(0), said(seq));
    let messages = vec![message(42), message(43)];
    let page = History::new(hall(), messages, true, 1);
    peer.say(Some(history.id()), ServerMessage::History(page)).await;
    peer.say(None, ServerMessage::ChatMessage(said(43))).await;
    peer.say(None, ServerMessage::ChatMessage(said(44))).await;
    for seq in [42, 43, 44] {
        assert_eq!(next_chat(&mut events).await, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_has_typed_replies() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let server = async {
        let frame = hear(&mut peer).await;
        let ClientMessage::ChatMessage(chat) = frame.read().message else { panic!("no chat") };
        assert_eq!(
            (chat.room, chat.payload.as_bytes()),
            (Some(hall()), br#"{"content":"a \"b\""}"#.as_slice())
        );
        let ack = Ack::new(AckStatus::Stored, "stored").with_seq(7);
        peer.say(Some(frame.id()), ServerMessage::Ack(ack)).await;
        let frame = hear(&mut peer).await;
        assert!(matches!(frame.read().message, ClientMessage::History(it) if it.limit == Some(2)));
        let history = History::new(hall(), Vec::new(), true, 1);
        peer.say(Some(frame.id()), ServerMessage::History(history)).await;
        let frame = hear(&mut peer).await;
        assert!(matches!(frame.read().message, ClientMessage::Broadcast(_)));
        let error = ErrorReply::new(ErrorCode::UnknownRoom, "no");
        peer.say(Some(frame.id()), ServerMessage::Error(error)).await;
    };
    let asking = async {
        assert_eq!(client.chat(&hall(), "a \"b\"").await.unwrap().seq, Some(7));
        assert!(client.history(&hall(), 3, Some(2)).await.unwrap().complete);
        let refused = client.broadcast(&hall(), Payload::from_json("1").unwrap()).await;
        assert!(matches!(refused, Err(RequestError::Refused(it)) if it.code == ErrorCode::UnknownRoom));
        // It was in no room, so there is nobody to tell.
        client.leave(&hall()).await.unwrap();
    };
    tokio::join!(asking, server);
}

/// How many the message names.
fn length(message: &ClientMessage<'_>) -> usize {
    if let ClientMessage::PresenceSubscribe(subscribe) = message {
        subscribe.user_ids.len()
    } else if let ClientMessage::PresenceUnsubscribe(unsubscribe) = message {
        unsubscribe.user_ids.len()
    } else if let ClientMessage::Read(read) = message {
        read.message_ids.len()
    } else {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn long_lists_are_asked_for_in_parts() {
    let (_network, client, _events, mut peer) = Network::connected().await;
    let users: Vec<_> = (0..150).map(|it| UserRef::Id(UserId::new(Uuid::from_u128(it)))).collect();
    let ids: Vec<_> = (0..501).map(|it| MessageId::new(Uuid::from_u128(it))).collect();
    let server = async {
        let mut lengths = Vec::new();
        for _ in 0..7 {
            let frame = hear(&mut peer).await;
            lengths.push(length(&frame.read().message));
            peer.ack(frame.id()).await;
        }
        lengths
    };
    let asking = async {
        client.subscribe_presence(&users).await.unwrap();
        client.unsubscribe_presence(&users).await.unwrap();
        client.read(&ids).await.unwrap();
        client.set_presence(Status::Busy, None).await.unwrap();
    };
    let ((), lengths) = tokio::join!(asking, server);
    assert_eq!(lengths, [100, 50, 100, 50, 500, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_checked_before_it_is_sent() {
    let (_network, client, _events, _peer) = Network::connected().await;
    let recipient = UserRef::Id(UserId::new(Uuid::nil()));
    assert_eq!(client.send_message(recipient, &[0; 48_001]).await, Err(RequestError::TooLarge));
}
