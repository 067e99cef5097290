//! Mail: each message handled once and in order, and acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aldis_client::protocol::{Fingerprint, ServerMessage, UserRef};
use aldis_client::{Client, Event, Events, IncomingMessage};
use aldis_tests::{Proxy, TestServer};
use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use crate::person::Person;
use crate::trouble::{self, CUTS};
use crate::{PATIENCE, UNDER_WAY, server};

const MESSAGES: u32 = 200;

/// A user, and the store of their messages.
struct Reader {
    person: Person,
    shelf: Shelf,
}

/// The store of a handler: numbers and texts, in the order of arrival.
#[derive(Clone)]
struct Shelf {
    stored: Arc<Mutex<Vec<(u64, String)>>>,
    count: watch::Sender<usize>,
    asked: Arc<AtomicUsize>,
}

impl Shelf {
    fn new() -> Self {
        Self { stored: Arc::default(), count: watch::Sender::new(0), asked: Arc::default() }
    }

    /// Stores a message, but fails every seventeenth time.
    async fn store(self, message: IncomingMessage) -> Result<(), &'static str> {
        tokio::task::yield_now().await;
        if self.asked.fetch_add(1, Ordering::Relaxed) % 17 == 16 {
            return Err("the disk is busy");
        }
        let message = message.message;
        let text = String::from_utf8(message.encrypted_content.into_owned()).unwrap();
        let mut stored = self.stored.lock().unwrap();
        stored.push((message.seq, text));
        self.count.send_replace(stored.len());
        Ok(())
    }

    fn cursor(&self) -> u64 {
        self.stored.lock().unwrap().last().map_or(0, |(seq, _)| *seq)
    }

    fn texts(&self) -> Vec<String> {
        self.stored.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    async fn holds(&self, count: usize) {
        let mut counted = self.count.subscribe();
        let enough = counted.wait_for(|stored| *stored >= count);
        tokio::time::timeout(PATIENCE, enough).await.expect("all messages in time").unwrap();
    }
}

impl Reader {
    fn new(name: &str) -> Self {
        Self { person: Person::new(name), shelf: Shelf::new() }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.person.fingerprint()
    }

    /// A client that continues after the last stored message.
    fn starts(&self, url: &str) -> (Client, Events) {
        let shelf = self.shelf.clone();
        let options = self.person.options(url);
        Client::start(options.mailbox(shelf.cursor(), move |message| shelf.clone().store(message)))
    }
}

async fn send_all(client: &Client, to: Fingerprint) {
    let sending = stream::iter(0..MESSAGES).map(|number| async move {
        client.send_message(UserRef::Fingerprint(to), format!("to {number}").as_bytes()).await
    });
    let outcomes: Vec<_> = sending.buffered(UNDER_WAY).collect().await;
    for outcome in outcomes {
        outcome.expect("a stored message");
    }
}

fn sent_texts() -> Vec<String> {
    (0..MESSAGES).map(|number| format!("to {number}")).collect()
}

#[test]
fn messages_in_both_directions_arrive_once_and_in_order_despite_cuts_and_kills() {
    let server = server();
    let proxy = Proxy::before(&server);
    let (ann, bob) = (Reader::new("ann"), Reader::new("bob"));
    let networks = [&proxy];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (ann_client, ann_events) = ann.starts(&proxy.url());
        let (bob_client, bob_events) = bob.starts(&proxy.url());
        let watching = [ann_events, bob_events].map(|events| tokio::spawn(watch(events)));
        ann_client.connected().await.unwrap();
        bob_client.connected().await.unwrap();
        let enough = async |cut, _| {
            bob.shelf.holds(cut * MESSAGES as usize / (CUTS + 2)).await;
            ann_client.connected().await.unwrap();
            bob_client.connected().await.unwrap();
        };

        tokio::join!(
            send_all(&ann_client, bob.fingerprint()),
            send_all(&bob_client, ann.fingerprint()),
            trouble::make(&server, &networks, enough),
        );
        for (reader, client) in [(&ann, &ann_client), (&bob, &bob_client)] {
            reader.shelf.holds(MESSAGES as usize).await;
            let mut cursor = client.watch_mailbox_cursor();
            let whole = cursor.wait_for(|cursor| *cursor == Some(2 * u64::from(MESSAGES)));
            tokio::time::timeout(PATIENCE, whole).await.expect("a mailbox without gaps").unwrap();
            assert_eq!(reader.shelf.texts(), sent_texts());
        }
        assert_all_delivered(&bob.person, &server).await;
        ann_client.stop().await;
        bob_client.stop().await;
        for sessions in watching {
            let (fresh, resumed) = sessions.await.unwrap();
            assert!(
                resumed > fresh,
                "cuts are resumed from, {resumed} times, but for the kills: {fresh} sessions"
            );
        }
    });
}

/// How many sessions began and how many were resumed. Fails on any unusual event.
async fn watch(mut events: Events) -> (u32, u32) {
    let (mut fresh, mut resumed) = (0, 0);
    while let Some(event) = events.next().await {
        match event {
            Event::Connected(session) if session.resumed => resumed += 1,
            Event::Connected(_) => fresh += 1,
            Event::Closed { .. } | Event::MessageNotStored { .. } => {}
            Event::Message(frame) => assert!(matches!(frame.message, ServerMessage::Receipt(_)), "{frame:?}"),
            other => panic!("{other:?}"),
        }
    }
    (fresh, resumed)
}

/// Reads with another device until the server has marked each message as delivered.
async fn assert_all_delivered(person: &Person, server: &TestServer) {
    let (client, mut events) = Client::start(person.visits(&server.url("")));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_all_delivered(&client, &mut events).await {
        assert!(tokio::time::Instant::now() < deadline, "each message is acknowledged in time");
    }
    client.stop().await;
}

async fn is_all_delivered(client: &Client, events: &mut Events) -> bool {
    let me = client.connected().await.unwrap().user_id;
    let asking = async {
        let synced = client.sync(0, Some(500)).await.unwrap();
        assert!(synced.complete);
    };
    let listening = async {
        let (mut received, mut delivered) = (0, 0);
        while received < MESSAGES {
            let Some(Event::Message(frame)) = events.next().await else { continue };
            let ServerMessage::Message(message) = frame.message else { continue };
            if message.recipient_id == me {
                received += 1;
                delivered += u32::from(message.delivered_at.is_some());
            }
        }
        delivered
    };
    let ((), delivered) = tokio::join!(asking, listening);
    delivered == MESSAGES
}

#[test]
fn a_restarted_program_continues_after_its_last_stored_message() {
    let server = server();
    let (ann, bob) = (Reader::new("ann"), Reader::new("bob"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (ann_client, ann_events) = ann.starts(&server.url(""));
        drop(ann_events);
        let (bob_client, bob_events) = bob.starts(&server.url(""));
        drop(bob_events);
        bob_client.connected().await.unwrap();
        let restarting = async {
            let mut client = bob_client;
            for restart in 1..=5 {
                bob.shelf.holds(restart * 30).await;
                client.stop().await;
                client = bob.starts(&server.url("")).0;
            }
            bob.shelf.holds(MESSAGES as usize).await;
            client
        };
        let ((), bob_client) = tokio::join!(send_all(&ann_client, bob.fingerprint()), restarting);
        assert_eq!(bob.shelf.texts(), sent_texts());
        ann_client.stop().await;
        bob_client.stop().await;
    });
}
