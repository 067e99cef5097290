//! A server newer than the client (docs/protocol/evolution.md).

use aldis_client::{
    Client, Credentials, Event, Events, RequestError,
    protocol::{
        Ack, Alert, ClientMessage, Codec, ErrorReply, Payload, Presence, ServerFrame, ServerMessage,
        SignalKind, Target, UserId,
    },
};
use bytes::Bytes;
use uuid::Uuid;

use crate::peer::{AUDIENCE, Network, Peer, key};

/// A message of a type that the client does not know.
fn unknown(codec: Codec, uncounted: bool) -> Bytes {
    match codec {
        Codec::Json => {
            let flag = if uncounted { r#","uncounted":true"# } else { "" };
            let head = r#""type":"reaction","id":"r-1","timestamp":"2026-01-01T00:00:00.000Z""#;
            format!(r#"{{{head}{flag},"emoji":"+1"}}"#).into()
        }
        Codec::Proto => {
            let mut frame = b"\x0a\x03r-1\x10\x01".to_vec();
            if uncounted {
                frame.extend_from_slice(&[0x50, 1]);
            }
            // Body 158, which holds a text.
            frame.extend_from_slice(b"\xf2\x09\x04\x0a\x02+1");
            frame.into()
        }
    }
}

async fn connected(codec: Codec) -> (Network, Client, Events, Peer) {
    let (mut network, options) = Network::with(Credentials::key(key()));
    let (client, mut events) = Client::start(options.codec(codec));
    let mut peer = Peer::accept(network.stream().await, codec).await;
    peer.check_key(AUDIENCE).await;
    peer.let_in().await;
    client.connected().await.unwrap();
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    (network, client, events, peer)
}

async fn next_message(events: &mut Events) -> ServerFrame<'static> {
    let event = events.next().await.unwrap();
    let Event::Message(frame) = event else { panic!("{event:?}") };
    *frame
}

#[tokio::test(start_paused = true)]
async fn a_message_of_an_unknown_type_is_counted_as_the_server_counts_it() {
    for codec in Codec::ALL {
        let (mut network, _client, mut events, mut peer) = connected(codec).await;
        for uncounted in [false, true, false, true, true] {
            peer.say_raw(unknown(codec, uncounted)).await;
            let frame = next_message(&mut events).await;
            assert_eq!(frame.id, "r-1".parse().ok());
            let ServerMessage::Unknown(message) = frame.message else { panic!("{frame:?}") };
            assert_eq!(message.uncounted, uncounted);
            assert_eq!(message.kind.as_str(), if codec == Codec::Json { "reaction" } else { "158" });
        }
        let frame = peer.hear().await;
        assert!(matches!(frame.read().message, ClientMessage::Received(received) if received.count == 2));
        drop(peer);
        let mut peer = Peer::accept(network.stream().await, codec).await;
        let claim = peer.check_key(AUDIENCE).await.unwrap();
        assert_eq!(claim.received, 2, "{codec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn words_of_a_newer_server_reach_the_application() {
    for codec in Codec::ALL {
        let (_network, client, mut events, mut peer) = connected(codec).await;
        let kind = "keys_low".parse().unwrap();
        peer.say(None, ServerMessage::Alert(Alert::new(kind))).await;
        assert!(matches!(events.next().await, Some(Event::Alert(alert)) if alert.kind == kind));
        let status = "asleep".parse().unwrap();
        peer.say(None, ServerMessage::Presence(Presence::new(UserId::new(Uuid::nil()), status, 1))).await;
        assert!(matches!(events.next().await, Some(Event::Presence(presence)) if presence.status == status));

        let send = || {
            let target = Target::Device("phone".parse().unwrap());
            client.signal(SignalKind::Signal, target, Payload::from_json("1").unwrap())
        };
        let postponed = "postponed".parse().unwrap();
        let server = async {
            let id = peer.hear().await.id();
            peer.say(Some(id), ServerMessage::Ack(Ack::new(postponed, "later"))).await;
        };
        let (ack, ()) = tokio::join!(send(), server);
        assert_eq!(ack.unwrap().status, postponed);
        let too_early = "too_early".parse().unwrap();
        let server = async {
            let id = peer.hear().await.id();
            peer.say(Some(id), ServerMessage::Error(ErrorReply::new(too_early, "not yet"))).await;
        };
        let (refused, ()) = tokio::join!(send(), server);
        assert!(matches!(refused, Err(RequestError::Refused(refusal)) if refusal.code == too_early));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_an_unknown_type_ends_the_request() {
    for codec in Codec::ALL {
        let (_network, client, _events, mut peer) = connected(codec).await;
        let server = async {
            let id = peer.hear().await.id();
            let frame = unknown(codec, false);
            peer.say(Some(id), codec.decode_server(&frame).unwrap().message).await;
        };
        let (reply, ()) = tokio::join!(client.ping(), server);
        assert!(matches!(reply, Err(RequestError::UnexpectedReply)), "{reply:?}");
    }
}
