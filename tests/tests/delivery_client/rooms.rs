//! Rooms: all messages arrive in order, and the members are correct.

use std::collections::{BTreeMap, BTreeSet};

use aldis_client::protocol::{Payload, RoomId, ServerMessage};
use aldis_client::{Client, Event, Events, IncomingChat, RequestError, Since};
use aldis_tests::{Proxy, TestServer, User, unique};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::person::Person;
use crate::trouble::{self, CUTS};
use crate::{PATIENCE, UNDER_WAY, server};

/// How many messages each guest sends to each of its rooms.
const SAID: usize = 100;

/// A client, with the events that it got.
pub(crate) struct Guest {
    pub(crate) device: String,
    pub(crate) client: Client,
    told: watch::Receiver<Told>,
    listening: JoinHandle<()>,
}

/// The events of a client.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) fresh: usize,
    pub(crate) resumed: usize,
    pub(crate) not_restored: usize,
    rooms: BTreeMap<RoomId, Heard>,
}

/// The events of one room.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Chat messages: numbers and texts.
    pub(crate) said: Vec<(u64, String)>,
    /// The numbers in the broadcasts of each device.
    called: BTreeMap<String, Vec<usize>>,
    /// The devices in the room.
    pub(crate) members: BTreeSet<String>,
    /// States: revision and document.
    states: Vec<(u64, Value)>,
}

impl Guest {
    pub(crate) async fn starts(person: &Person, network: &Proxy) -> Self {
        let (client, events) = Client::start(person.options(&network.url()));
        let (sender, told) = watch::channel(Told::default());
        let listening = tokio::spawn(listen(events, sender));
        client.connected().await.unwrap();
        Self { device: person.device.to_string(), client, told, listening }
    }

    /// Waits until it has got the expected events.
    pub(crate) async fn awaits(&self, what: &str, is_it: impl Fn(&Told) -> bool) {
        let mut told = self.told.clone();
        let awaited = tokio::time::timeout(PATIENCE, told.wait_for(|told| is_it(told))).await;
        let came = awaited.is_ok_and(|told| told.is_ok());
        assert!(came, "{what}, for {}: {:?}", self.device, self.told.borrow());
    }

    /// Waits until it sees exactly these guests in a room.
    pub(crate) async fn sees(&self, room: &RoomId, guests: &[&Self]) {
        let devices = guests.iter().map(|guest| guest.device.clone()).collect();
        self.awaits(&format!("{devices:?} in {room}"), |told| told.in_room(room).members == devices).await;
    }

    pub(crate) fn told(&self) -> watch::Ref<'_, Told> {
        self.told.borrow()
    }

    /// Stops the client, so that its events are complete.
    pub(crate) async fn stops(self) {
        self.client.stop().await;
        self.listening.await.unwrap();
    }
}

impl Told {
    pub(crate) fn in_room(&self, room: &RoomId) -> &Heard {
        static NOTHING: Heard =
            Heard { said: Vec::new(), called: BTreeMap::new(), members: BTreeSet::new(), states: Vec::new() };
        self.rooms.get(room).unwrap_or(&NOTHING)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected(session) if session.resumed => self.resumed += 1,
            Event::Connected(_) => self.fresh += 1,
            Event::Chat(chat) => self.room(&chat.chat.room).said.push((chat.chat.seq, text(&chat))),
            Event::Message(frame) => self.take_message(frame.message),
            Event::NotRestored { .. } => self.not_restored += 1,
            // The first device of a person is told of the second one.
            Event::Closed { .. } | Event::Alert(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn take_message(&mut self, message: ServerMessage<'static>) {
        match message {
            ServerMessage::RoomMembers(is) => {
                let devices = is.members.unwrap().into_iter().flat_map(|member| member.device_ids);
                self.room(&is.room).members = devices.map(|device| device.to_string()).collect();
            }
            ServerMessage::MemberJoined(joined) => {
                let device = joined.device_id.to_string();
                self.room(&joined.room).members.insert(device);
            }
            ServerMessage::MemberLeft(left) => {
                self.room(&left.room).members.remove(left.device_id.as_str());
            }
            ServerMessage::Broadcast(broadcast) => {
                let device = broadcast.sender.device_id.to_string();
                let number = broadcast.payload.parse().unwrap();
                self.room(&broadcast.room).called.entry(device).or_default().push(number);
            }
            ServerMessage::RoomUpdate(update) => {
                let state = (update.revision, update.state.parse().unwrap());
                self.room(&update.room).states.push(state);
            }
            other => panic!("{other:?}"),
        }
    }

    fn room(&mut self, room: &RoomId) -> &mut Heard {
        self.rooms.entry(room.clone()).or_default()
    }
}

async fn listen(mut events: Events, sender: watch::Sender<Told>) {
    while let Some(event) = events.next().await {
        sender.send_modify(|told| told.take(event));
    }
}

fn text(chat: &IncomingChat) -> String {
    chat.content().expect("a text")
}

/// A public room with an owner, so that the first member does not create it.
pub(crate) fn room_of(owner: &User, name: &str) -> RoomId {
    let room = unique(name);
    owner.http().post("/api/rooms", &json!({"room": room, "visibility": "public"})).expects(201);
    room.parse().unwrap()
}

/// Sets the state of a room from the revision `revision`.
fn sets_state(owner: &User, room: &RoomId, revision: usize) {
    let headers = [("Content-Type", "application/json"), ("If-Match", &*format!("\"{revision}\""))];
    let body = json!({"state": {"topic": revision + 1}}).to_string().into_bytes();
    owner.http().send("PUT", &format!("/api/rooms/{room}/state"), &headers, body).expects(200);
}

/// Sends the messages of a guest to a room, with broadcasts in between that may get lost; returns numbers and texts.
async fn say_all(guest: &Guest, room: &RoomId) -> Vec<(u64, String)> {
    let saying = stream::iter(0..SAID).map(|number| async move {
        let text = format!("{} {number}", guest.device);
        let payload = number.to_string();
        let call = guest.client.broadcast(room, Payload::from_json(&payload).unwrap());
        let (ack, called) = tokio::join!(guest.client.chat(room, &text), call);
        let is_called =
            matches!(called, Ok(_) | Err(RequestError::ConnectionLost | RequestError::NotConnected));
        assert!(is_called, "{called:?}");
        (ack.expect("a stored message").seq.expect("its number"), text)
    });
    saying.buffered(UNDER_WAY).collect().await
}

/// All messages by number.
fn whole(said: &[Vec<(u64, String)>]) -> BTreeMap<u64, String> {
    let whole: BTreeMap<u64, String> = said.iter().flatten().cloned().collect();
    assert_eq!(whole.len(), said.iter().map(Vec::len).sum::<usize>(), "each has a number of its own");
    assert!(whole.keys().copied().eq(1..=whole.len() as u64), "numbers without a gap: {whole:?}");
    whole
}

/// The guest got all messages of the others, in order and once, and none of its own.
fn assert_heard(guest: &Guest, room: &RoomId, own: &[(u64, String)], whole: &BTreeMap<u64, String>) {
    let of_others = whole.iter().filter(|(number, _)| own.iter().all(|(own, _)| own != *number));
    let of_others: Vec<_> = of_others.map(|(number, text)| (*number, text.clone())).collect();
    assert_eq!(guest.told().in_room(room).said, of_others, "what {} heard in {room}", guest.device);
}

/// Broadcasts come at most once and in order. States come in order too, and the last one is the newest.
fn assert_told_in_order(guest: &Guest, room: &RoomId, revision: usize) {
    let told = guest.told();
    let heard = told.in_room(room);
    for (device, called) in &heard.called {
        assert!(called.is_sorted_by(|one, next| one < next), "{device} called {called:?}");
        assert_ne!(*device, guest.device, "a device does not get its own broadcasts");
    }
    assert!(heard.states.is_sorted_by_key(|(revision, _)| *revision), "{:?}", heard.states);
    let last = (revision as u64, json!({"topic": revision}));
    assert_eq!(heard.states.last(), Some(&last), "the state of {room} as {} has it", guest.device);
}

/// Three people on four devices. One of the two rooms has only two devices.
struct Party {
    server: TestServer,
    owner: User,
    hall: RoomId,
    attic: RoomId,
}

impl Party {
    fn begins() -> Self {
        let server = server();
        let owner = server.user();
        let (hall, attic) = (room_of(&owner, "hall"), room_of(&owner, "attic"));
        Self { server, owner, hall, attic }
    }

    /// Before each fault, every guest has got a part of the messages, the guests to be cut off are connected, and the
    /// state of the hall changes once more.
    async fn goes_on(&self, guests: &[Guest], cut: usize, next: usize) {
        let enough = cut * of_others(guests) / (CUTS + 2);
        guests[0].awaits("what others say", |told| told.in_room(&self.hall).said.len() >= enough).await;
        guests[next].client.connected().await.unwrap();
        let (owner, hall) = (self.owner.clone(), self.hall.clone());
        tokio::task::spawn_blocking(move || sets_state(&owner, &hall, cut - 1)).await.unwrap();
    }
}

/// How many messages the others send to each of these guests.
fn of_others(guests: &[Guest]) -> usize {
    (guests.len() - 1) * SAID
}

#[test]
fn every_member_gets_all_messages_despite_cuts_and_kills() {
    let party = Party::begins();
    let Party { server, hall, attic, .. } = &party;
    let ann = Person::new("ann");
    let people = [ann.elsewhere(), ann, Person::new("bob"), Person::new("cat")];
    let networks = people.each_ref().map(|_| Proxy::before(server));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let starting = people.iter().zip(&networks).map(|(person, network)| Guest::starts(person, network));
        let guests: Vec<Guest> = futures::future::join_all(starting).await;
        for (guest, since) in guests.iter().zip([Since::Now, Since::Seq(0)].into_iter().cycle()) {
            guest.client.join(hall, since).await.unwrap();
        }
        let [first, second, ..] = &*guests else { panic!("four guests") };
        let upstairs = [first, second];
        for guest in upstairs {
            guest.client.join(attic, Since::Now).await.unwrap();
        }

        let in_hall = futures::future::join_all(guests.iter().map(|guest| say_all(guest, hall)));
        let in_attic = futures::future::join_all(upstairs.map(|guest| say_all(guest, attic)));
        let networks: Vec<&Proxy> = networks.iter().collect();
        let enough = async |cut, next| party.goes_on(&guests, cut, next).await;
        let troubles = trouble::make(server, &networks, enough);
        let (in_hall, in_attic, ()) = tokio::join!(in_hall, in_attic, troubles);

        let (all, above) = (whole(&in_hall), whole(&in_attic));
        let everybody: Vec<&Guest> = guests.iter().collect();
        for (guest, own) in guests.iter().zip(&in_hall) {
            guest.awaits("all", |told| told.in_room(hall).said.len() >= of_others(&guests)).await;
            guest.awaits("the last state", |told| told.in_room(hall).has_revision(CUTS)).await;
            guest.sees(hall, &everybody).await;
            assert_heard(guest, hall, own, &all);
            assert_told_in_order(guest, hall, CUTS);
        }
        for (guest, own) in upstairs.into_iter().zip(&in_attic) {
            guest.awaits("all", |told| told.in_room(attic).said.len() >= SAID).await;
            guest.sees(attic, &upstairs).await;
            assert_heard(guest, attic, own, &above);
        }
        for guest in guests {
            let (fresh, resumed) = (guest.told().fresh, guest.told().resumed);
            assert!(resumed > 0 && fresh < 5, "{resumed} times resumed, {fresh} sessions");
            assert_eq!(guest.told().not_restored, 0);
            guest.stops().await;
        }
    });
}

impl Heard {
    fn has_revision(&self, revision: usize) -> bool {
        self.states.last().is_some_and(|(last, _)| *last == revision as u64)
    }
}
