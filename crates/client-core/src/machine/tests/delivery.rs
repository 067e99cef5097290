//! Rooms, mailbox and watched users against a naive server, over wires that break anywhere: each message once and in
//! order, and in the end everything as it is.

mod server;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aldis_protocol::{
    ChatContent, ChatMessage, EncryptedMessage, History, HistoryMessage, HistoryRequest, Join, Leave,
    MailboxMessage, MessageId, Presence, PresenceSubscribe, PresenceUnsubscribe, RoomId, StoredChatMessage,
    Sync, Synced, UserRef,
};
use uuid::Uuid;

use self::server::{Held, Log, Server, at, is_stored};
use super::{
    net::{Net, dated},
    *,
};
use crate::{Numbered, Restorable, Since};

const ROOMS: [(&str, Since); 3] = [("hall", Since::Seq(0)), ("attic", Since::Now), ("cellar", Since::Seq(3))];

#[derive(Debug, Clone)]
enum Happens {
    Attempt,
    AtServer(usize),
    AtClient(usize),
    /// The server carries out so many requests; some of them, it refuses for now.
    CarryOut(usize, bool),
    /// It answers so many.
    Answer(usize),
    /// It sends on so many messages.
    Tell(usize),
    /// Somebody else says something; to the mailbox where it names no room.
    Said(usize),
    Say(usize),
    SendToOther,
    SendToSelf,
    /// Another device of the same user sends something.
    SentElsewhere,
    /// The application enters and leaves a room besides.
    Enter,
    GoOut,
    Show(Status),
    /// A user who may be watched changes their presence.
    Changes(u128),
    Watch(u128),
    Unwatch(u128),
    /// The application has stored what it was given, or could not.
    Store(bool),
    /// The application takes no messages of rooms, or takes them again.
    Hold(bool),
    /// So much is kept no longer.
    Trim(usize, u64),
    /// A message out of the middle is gone.
    Remove(usize, u64),
    Break(bool),
    Close(u16),
    Forget,
    /// The server is killed: what it had in its hands is gone.
    Crash,
    Pass(u64),
}

struct World {
    server: Server,
    requests: u32,
    /// What the application's requests were.
    sent: HashMap<u32, (RequestId, Option<RoomId>)>,
    is_on_porch: bool,
    shown: Option<Status>,
    watched: HashSet<UserRef>,
    changes: HashMap<u32, ClientMessage<'static>>,
    settled: usize,
    stored: Vec<u64>,
    given: usize,
}

fn room_at(at: usize) -> Option<RoomId> {
    ROOMS.get(at).map(|(name, _)| name.parse().unwrap())
}

fn porch() -> RoomId {
    "porch".parse().unwrap()
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

const ME: u128 = 0;

fn message_id(seq: u64) -> MessageId {
    MessageId::new(Uuid::from_u128(seq.into()))
}

impl World {
    fn new() -> Self {
        let rig = Rig::keeping(Proof::Token, Some(0));
        let mut world = Self {
            server: Server::new(rig),
            requests: 0,
            sent: HashMap::new(),
            is_on_porch: false,
            shown: None,
            watched: HashSet::new(),
            changes: HashMap::new(),
            settled: 0,
            stored: Vec::new(),
            given: 0,
        };
        world.server.logs.insert(Some(porch()), Log::default());
        for (name, since) in ROOMS {
            let room: RoomId = name.parse().unwrap();
            world.server.logs.insert(Some(room.clone()), Log::default());
            for _ in 0..5 {
                world.server.append(Some(room.clone()), None, true);
            }
            let message = ClientMessage::Join(Join { room: Some(room.clone()) });
            let (reply_to, _) = world.ask(message, Some(Purpose::Join(room.clone(), since)));
            if let Since::Seq(seq) = since {
                world.server.followed.insert(room, (seq, seq));
            } else {
                world.server.joining.insert(reply_to, room);
            }
        }
        world
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Attempt => self.server.net.attempt(),
            Happens::Hold(true) => {
                self.server.net.rig.act(|machine, _| machine.hold_rooms(|_| false));
            }
            Happens::Hold(false) => self.server.net.rig.release_rooms(),
            Happens::AtServer(count) => self.server.arrive(count),
            Happens::AtClient(count) => self.server.net.arrive_at_client(count),
            Happens::CarryOut(count, refused) => (0..count).for_each(|_| self.server.carry_out(refused)),
            Happens::Answer(count) => (0..count).for_each(|_| self.server.answer()),
            Happens::Tell(count) => (0..count).for_each(|_| self.server.tell()),
            Happens::Said(at) => drop(self.server.append(room_at(at), None, true)),
            Happens::SentElsewhere => drop(self.server.append(None, None, false)),
            Happens::Say(at) => self.say(at),
            Happens::SendToOther => self.send(9),
            Happens::SendToSelf => self.send(ME),
            Happens::Enter => {
                let since = Purpose::Join(porch(), Since::Now);
                self.ask(ClientMessage::Join(Join { room: Some(porch()) }), Some(since));
                self.is_on_porch = true;
            }
            Happens::GoOut => {
                self.ask(ClientMessage::Leave(Leave { room: Some(porch()) }), None);
                self.is_on_porch = false;
            }
            Happens::Show(status) => {
                self.change(ClientMessage::Presence(SetPresence { status, note: None }));
            }
            Happens::Changes(number) => self.server.change(UserRef::Id(user(number))),
            Happens::Watch(number) => {
                let user_ids = vec![UserRef::Id(user(number))];
                self.change(ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids }));
            }
            Happens::Unwatch(number) => {
                let user_ids = vec![UserRef::Id(user(number))];
                self.change(ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids }));
            }
            Happens::Store(is_stored) => self.store(is_stored),
            Happens::Trim(at, count) => {
                let log = self.server.logs.get_mut(&room_at(at)).unwrap();
                log.first_kept = (log.first_kept() + count).min(log.head() + 1);
            }
            Happens::Remove(at, seq) => {
                let log = self.server.logs.get_mut(&room_at(at)).unwrap();
                if seq > 0 && seq < log.head() {
                    log.gone.insert(seq);
                }
            }
            Happens::Break(noticed) => self.server.net.break_wire(noticed),
            Happens::Close(code) => self.server.net.close(code),
            Happens::Forget => self.server.net.forget(),
            Happens::Crash => {
                self.server.net.break_wire(true);
                self.server.net.forget();
            }
            Happens::Pass(ms) => self.server.net.rig.pass(Duration::from_millis(ms)),
        }
        self.look();
    }

    /// Carries out what the machine wants, and looks at each step whether it says no more than is true.
    fn look(&mut self) {
        for bytes in self.server.net.carry_out() {
            if let Ok(ClientFrame { message: ClientMessage::Sync(sync), .. }) =
                Codec::Json.decode_client(&bytes)
            {
                self.check_told(sync.since_seq);
            }
        }
        let settled: Vec<_> = self.server.net.rig.settled[self.settled..].to_vec();
        self.settled += settled.len();
        for (reply_to, outcome) in settled {
            self.server.joining.remove(&reply_to);
            if let (Some(change), Ok(_)) = (self.changes.remove(&reply_to), outcome) {
                self.note_change(&change);
            }
        }
        let requests = self.server.net.rig.machine.pending.background_requests();
        assert!(requests <= 32, "{requests} background requests are in flight");
        if let Some(cursor) = self.server.net.rig.cursors.last() {
            self.check_told(*cursor);
        }
    }

    fn note_change(&mut self, change: &ClientMessage<'static>) {
        if let ClientMessage::Presence(presence) = change {
            self.shown = Some(presence.status);
        } else if let ClientMessage::PresenceSubscribe(subscribe) = change {
            self.watched.extend(&subscribe.user_ids);
        } else if let ClientMessage::PresenceUnsubscribe(unsubscribe) = change {
            self.watched.retain(|user| !unsubscribe.user_ids.contains(user));
        }
    }

    fn say(&mut self, at: usize) {
        let Some(room) = room_at(at) else { return };
        let payload = Payload::of(&ChatContent { content: "own".into() }).unwrap();
        let message = ClientMessage::ChatMessage(ChatMessage { room: Some(room.clone()), payload });
        let (reply_to, id) = self.ask(message, None);
        self.sent.insert(reply_to, (id, Some(room)));
    }

    fn send(&mut self, to: u128) {
        let content = format!("own {}", self.requests).into_bytes();
        let recipient = UserRef::Id(user(to));
        let message =
            ClientMessage::Message(EncryptedMessage { recipient, encrypted_content: content.into() });
        let (reply_to, id) = self.ask(message, None);
        self.sent.insert(reply_to, (id, None));
    }

    fn change(&mut self, message: ClientMessage<'static>) {
        let (reply_to, _) = self.ask(message.clone(), None);
        self.changes.insert(reply_to, message);
    }

    fn ask(&mut self, message: ClientMessage<'_>, purpose: Option<Purpose>) -> (u32, RequestId) {
        let reply_to = self.requests;
        self.requests += 1;
        let id: RequestId = format!("own-{reply_to}").parse().unwrap();
        let purpose = purpose.unwrap_or_else(|| Purpose::of(&message));
        let kind = message.kind();
        let frame = Codec::Json.encode_client(&ClientFrame { id: Some(id.clone()), message });
        // Only of what is stored is it known in the end whether it was carried out.
        let patience = if is_stored(kind) { 4 } else { 1_000_000 };
        let deadline = self.server.net.rig.now.instant + Duration::from_secs(patience);
        let origin = Origin::Application { purpose, deadline, reply_to };
        self.server.net.rig.act(|machine, now| {
            machine.take_request(now, Request { id: id.clone(), kind, frame, origin });
        });
        (reply_to, id)
    }

    fn store(&mut self, is_stored: bool) {
        let Some(message) = self.server.net.rig.to_store.get(self.given) else { return };
        self.given += 1;
        let seq = message.message.seq;
        if is_stored {
            self.stored.push(seq);
        }
        let result = if is_stored { Ok(()) } else { Err("the disk is full".into()) };
        self.server.net.rig.act(|machine, now| machine.handle_stored(now, result));
    }

    /// Lets everything come to rest, over wires that hold.
    fn settle(&mut self) {
        for _ in 0..400 {
            if self.is_quiet() {
                break;
            }
            self.happens(Happens::Attempt);
            self.happens(Happens::AtServer(usize::MAX));
            self.happens(Happens::CarryOut(200, false));
            self.happens(Happens::Answer(200));
            self.happens(Happens::Tell(200));
            self.happens(Happens::AtClient(usize::MAX));
            self.happens(Happens::Store(true));
            self.happens(Happens::Hold(false));
            self.happens(Happens::Pass(250));
        }
        // What arrived is confirmed within 5 s.
        self.happens(Happens::Pass(5_000));
        self.happens(Happens::AtServer(usize::MAX));
    }

    fn is_quiet(&mut self) -> bool {
        let has_nothing =
            |held: &mut Held| held.asked.is_empty() && held.carried_out.is_empty() && held.to_tell.is_empty();
        let machine = &self.server.net.rig.machine;
        let is_done = machine.pending.background_requests() == 0
            && machine.pending.next_deadline().is_none()
            && machine.delivery_deadline().is_none()
            && matches!(machine.phase, Phase::Live(_));
        is_done
            && self.given == self.server.net.rig.to_store.len()
            && self.server.net.is_quiet()
            && self.server.held(has_nothing).unwrap_or(false)
    }

    /// The numbers of the application's own messages, by what it was told.
    fn acked(&self, room: Option<&RoomId>) -> Vec<u64> {
        let seq = |(reply_to, outcome): &(u32, Result<Reply, RequestError>)| {
            let (_, sent_to) = self.sent.get(reply_to)?;
            let Ok(Reply::Ack(ack)) = outcome else { return None };
            (sent_to.as_ref() == room).then(|| ack.seq.unwrap())
        };
        self.server.net.rig.settled.iter().filter_map(seq).collect()
    }

    fn missed(&self, of: &Numbered) -> Vec<(u64, u64)> {
        let range = |event: &Event| {
            let Event::Missed { of: other, first, last } = event else { return None };
            (other == of).then_some((*first, *last))
        };
        self.server.net.rig.events.iter().filter_map(range).collect()
    }

    /// All up to a number of the mailbox is in the application's hands.
    fn check_told(&self, up_to: u64) {
        let acked = self.acked(None);
        let missed = self.missed(&Numbered::Mailbox);
        for seq in 1..=up_to {
            let is_missed = missed.iter().any(|(first, last)| (*first..=*last).contains(&seq));
            let is_told = self.stored.contains(&seq) || acked.contains(&seq);
            assert!(is_told || is_missed, "{seq} of {up_to} is acknowledged and was not stored");
        }
    }

    fn check(&self) {
        let session = self.server.net.sessions.session.as_ref().unwrap();
        assert_eq!(session.confirmed, session.sent.len(), "all is confirmed");
        let rooms = ROOMS.len() + usize::from(self.is_on_porch);
        assert_eq!(session.state.joined.len(), rooms, "{:?}", session.state.joined);
        assert_eq!(session.state.watched, self.watched);
        self.check_presence();
        assert_eq!(session.state.shown.unwrap_or(Status::Online), self.shown.unwrap_or(Status::Online));
        assert!(
            self.server.net.rig.cursors.is_sorted_by(|one, next| one < next),
            "{:?}",
            self.server.net.rig.cursors
        );
        for (room, (may, must)) in &self.server.followed {
            let told: Vec<u64> =
                self.server.net.rig.events.iter().filter_map(|event| said_in(room, event)).collect();
            let missed = self.missed(&Numbered::Room(room.clone()));
            assert!(told.iter().all(|seq| seq > may), "{room:?} since {may}: {told:?}");
            self.check_log(Some(room), *must, &told, &missed);
        }
        self.check_log(None, 0, &self.stored, &self.missed(&Numbered::Mailbox));
        let log = &self.server.logs[&None];
        for entry in log.entries.iter().filter(|entry| entry.is_received && log.is_kept(entry.seq)) {
            assert!(entry.delivered, "{} was never acknowledged", entry.seq);
        }
        for event in &self.server.net.rig.events {
            assert!(
                !matches!(event, Event::NotRestored { what: Restorable::Room(_) | Restorable::Mailbox, .. }),
                "{event:?}"
            );
        }
    }

    /// The application knows the present presence of each user that it watches.
    fn check_presence(&self) {
        for watched in &self.watched {
            let told = self.server.net.rig.events.iter().rev().find_map(|event| {
                let Event::Presence(presence) = event else { return None };
                (UserRef::Id(presence.user_id) == *watched).then_some(presence.devices)
            });
            let changes = self.server.changes.get(watched).copied().unwrap_or_default();
            assert_eq!(told, Some(changes), "what is known of {watched:?}");
        }
    }

    fn check_log(&self, room: Option<&RoomId>, since: u64, told: &[u64], missed: &[(u64, u64)]) {
        let log = &self.server.logs[&room.cloned()];
        let acked = self.acked(room);
        assert!(told.is_sorted_by(|one, next| one < next), "{room:?}: {told:?}");
        for seq in since + 1..=log.head() {
            let times = told.iter().chain(&acked).filter(|it| **it == seq).count();
            // Followed from now on, a room may begin behind a message of one's own that nobody waited for any more, and
            // nobody knows of one that went before it began.
            let may_be_before = log.entries[at(seq)].own.is_some() || !log.is_kept(seq);
            let is_before = room == room_at(1).as_ref() && told.first().is_none_or(|it| seq < *it);
            if times == 0 && is_before && may_be_before {
                continue;
            }
            let is_missed = missed.iter().any(|(first, last)| (*first..=*last).contains(&seq));
            assert!(
                times == 1 || (times == 0 && !log.is_kept(seq)),
                "{room:?}: {seq} was told {times} times"
            );
            assert!(times == 1 || is_missed, "{room:?}: {seq} was neither told nor missed");
        }
    }
}

fn said_in(room: &RoomId, event: &Event) -> Option<u64> {
    if let Event::Chat(said) = event { (said.chat.room == *room).then_some(said.chat.seq) } else { None }
}

fn happening() -> impl Strategy<Value = Happens> {
    let status = prop::sample::select(vec![Status::Online, Status::Away, Status::Busy]);
    prop_oneof![
        8 => Just(Happens::Attempt),
        2 => any::<bool>().prop_map(Happens::Hold),
        10 => (1..9_usize).prop_map(Happens::AtServer),
        10 => (1..9_usize).prop_map(Happens::AtClient),
        10 => (1..6_usize, prop::bool::weighted(0.1)).prop_map(|(count, refused)| Happens::CarryOut(count, refused)),
        10 => (1..6_usize).prop_map(Happens::Answer),
        8 => (1..6_usize).prop_map(Happens::Tell),
        8 => (0..4_usize).prop_map(Happens::Said),
        4 => (0..3_usize).prop_map(Happens::Say),
        2 => Just(Happens::SendToOther),
        1 => Just(Happens::SendToSelf),
        1 => Just(Happens::SentElsewhere),
        2 => Just(Happens::Enter),
        2 => Just(Happens::GoOut),
        1 => status.prop_map(Happens::Show),
        2 => (0..3_u128).prop_map(Happens::Changes),
        1 => (0..3_u128).prop_map(Happens::Watch),
        1 => (0..3_u128).prop_map(Happens::Unwatch),
        8 => prop::bool::weighted(0.8).prop_map(Happens::Store),
        1 => (0..4_usize, 0..4_u64).prop_map(|(at, count)| Happens::Trim(at, count)),
        1 => (0..4_usize, 0..9_u64).prop_map(|(at, seq)| Happens::Remove(at, seq)),
        2 => any::<bool>().prop_map(Happens::Break),
        1 => prop::sample::select(vec![1011, 1012, 4100, 4101, 4103]).prop_map(Happens::Close),
        1 => Just(Happens::Forget),
        1 => Just(Happens::Crash),
        3 => (0..3_000_u64).prop_map(Happens::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_breaks_each_message_is_told_once_and_in_order(
        happenings in prop::collection::vec(happening(), 0..250),
    ) {
        let mut world = World::new();
        for what in happenings {
            world.happens(what);
        }
        world.settle();
        world.check();
    }
}
