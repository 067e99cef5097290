//! Streams of rooms and of presence, and what a slow application loses.

use aldis_client::{
    Client, Credentials, Event, Events, PresenceEvent, RoomEvent, Since,
    protocol::{ClientMessage, History, HistoryMessage, Presence, ServerMessage, Status, Timestamp, UserId},
};
use uuid::Uuid;

use crate::{
    delivery::{ack_next, hall, hear, next_chat, said},
    peer::{Network, Peer, key},
};

async fn in_hall(event_capacity: usize) -> (Network, Client, Events, Peer) {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let options = options.event_capacity(event_capacity).stream_capacity(4);
    let (client, events) = Client::start(options);
    let mut peer = network.welcome().await;
    client.connected().await.unwrap();
    let room = hall();
    let ((), joined) = tokio::join!(ack_next(&mut peer), client.join(&room, Since::Now));
    joined.unwrap();
    (network, client, events, peer)
}

async fn say(peer: &mut Peer, numbers: impl IntoIterator<Item = u64>) {
    for seq in numbers {
        peer.say(None, ServerMessage::ChatMessage(said(seq))).await;
    }
}

/// Answers the next frame, a `history`, with what follows up to this number.
async fn page(peer: &mut Peer, last: u64) {
    let frame = hear(peer).await;
    let ClientMessage::History(asked) = frame.read().message else { panic!("{:?}", frame.read()) };
    let message = |seq| HistoryMessage::new(None, Timestamp::from_ms(0), said(seq));
    let messages = (asked.since_seq + 1..=last).map(message).collect();
    let history = History::new(hall(), messages, true, 1).with_last_seq(last);
    peer.say(Some(frame.id()), ServerMessage::History(history)).await;
}

fn presence(devices: u32) -> ServerMessage<'static> {
    let user_id = UserId::new(Uuid::from_u128(9));
    ServerMessage::Presence(Presence::new(user_id, Status::Online, devices))
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_gets_every_message_of_a_room() {
    let (_network, _client, mut events, mut peer) = in_hall(2).await;
    say(&mut peer, 1..=100).await;
    // More than the queue and the client itself hold is fetched when the application reads.
    let read = async {
        for seq in 1..=100 {
            assert_eq!(next_chat(&mut events).await, seq);
        }
    };
    tokio::join!(read, page(&mut peer, 100));
}

#[tokio::test(start_paused = true)]
async fn a_room_with_a_stream_of_its_own_does_not_wait_for_other_events() {
    let (_network, client, mut events, mut peer) = in_hall(1).await;
    say(&mut peer, 1..=3).await;
    let pong = async {
        let id = hear(&mut peer).await.id();
        peer.say(Some(id), ServerMessage::Pong).await;
    };
    // From then on `connected` fills the queue, the first message waits behind it, and the room is held.
    tokio::join!(pong, client.ping()).1.unwrap();
    let mut messages = client.room(&hall()).messages();
    say(&mut peer, [4]).await;
    for seq in 2..=4 {
        let event = messages.next().await.unwrap();
        assert!(matches!(&event, RoomEvent::Chat(chat) if chat.chat.seq == seq), "{event:?}");
    }
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert_eq!(next_chat(&mut events).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_what_it_dropped_and_the_connection_goes_on() {
    let (_network, client, _events, mut peer) = in_hall(16).await;
    let mut messages = client.room(&hall()).messages();
    say(&mut peer, 1..=9).await;
    let room = client.room(&hall());
    let answers = async {
        let id = hear(&mut peer).await.id();
        peer.ack(id).await;
    };
    let ((), said) = tokio::join!(answers, room.chat("still here"));
    said.unwrap();
    for seq in 1..=4 {
        let event = messages.next().await.unwrap();
        assert!(matches!(&event, RoomEvent::Chat(chat) if chat.chat.seq == seq), "{event:?}");
    }
    assert!(matches!(messages.next().await, Some(RoomEvent::Lagged(5))));
    say(&mut peer, [10]).await;
    assert!(matches!(messages.next().await, Some(RoomEvent::Chat(chat)) if chat.chat.seq == 10));
    assert_eq!(client.statistics().lagged, 5);
}

#[tokio::test(start_paused = true)]
async fn presence_has_a_stream_of_its_own() {
    let (_network, client, mut events, mut peer) = in_hall(16).await;
    let mut stream = client.presence();
    peer.say(None, presence(3)).await;
    assert!(matches!(stream.next().await, Some(PresenceEvent::Changed(presence)) if presence.devices == 3));
    drop(stream);
    peer.say(None, presence(4)).await;
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert!(matches!(events.next().await, Some(Event::Presence(presence)) if presence.devices == 4));
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_client() {
    let (_network, client, _events, peer) = in_hall(16).await;
    let (mut messages, mut presence) = (client.room(&hall()).messages(), client.presence());
    drop(peer);
    client.stop().await;
    assert!(messages.next().await.is_none() && presence.next().await.is_none());
    assert!(client.presence().next().await.is_none(), "one that is made afterwards ends as well");
}
