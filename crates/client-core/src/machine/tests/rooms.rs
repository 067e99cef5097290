//! Rooms: joined again by the client itself, told in order, asked for where something is missing.

use aldis_protocol::{
    Broadcast, ChatContent, ChatMessage, History, HistoryMessage, HistoryRequest, Join, Leave, MemberLeft,
    RoomId, StoredChatMessage,
};

use super::*;
use crate::{Numbered, Restorable, Since};

fn hall() -> RoomId {
    "hall".parse().unwrap()
}

fn phone() -> DeviceId {
    "phone".parse().unwrap()
}

fn said(seq: u64, by: DeviceId) -> StoredChatMessage<'static> {
    let sender = Sender::new(by, UserId::new(uuid::Uuid::nil()));
    let payload = Payload::from_json(r#"{"content":"hello"}"#).unwrap();
    StoredChatMessage::new(hall(), seq, sender, payload)
}

fn page(numbers: &[u64], complete: bool, first_seq: u64) -> ServerMessage<'static> {
    let message = |seq: &u64| HistoryMessage::new(None, Timestamp::from_ms(0), said(*seq, phone()));
    let messages = numbers.iter().map(message).collect();
    ServerMessage::History(History::new(hall(), messages, complete, first_seq))
}

impl Rig {
    /// A client that is in the hall.
    fn in_hall(since: Since) -> Self {
        let mut rig = Self::with_key();
        rig.connect();
        rig.join(since);
        rig
    }

    fn join(&mut self, since: Since) {
        let message = ClientMessage::Join(Join { room: Some(hall()) });
        self.request(7, message, Purpose::Join(hall(), since));
        self.hear(Some("m-7"), ack());
    }

    fn hears(&mut self, seq: u64) {
        self.hear(None, ServerMessage::ChatMessage(said(seq, phone())));
    }

    fn says(&mut self, reply_to: u32) {
        let payload = Payload::of(&ChatContent { content: "hello".into() }).unwrap();
        let message = ClientMessage::ChatMessage(ChatMessage { room: Some(hall()), payload });
        self.request(reply_to, message, Purpose::Chat(hall()));
    }

    fn is_acked(&mut self, reply_to: u32, seq: u64) {
        let ack = Ack::new(AckStatus::Stored, "stored").with_seq(seq);
        self.hear(Some(&format!("m-{reply_to}")), ServerMessage::Ack(ack));
    }

    fn told(&self) -> Vec<u64> {
        let seq = |event: &Event| if let Event::Chat(said) = event { Some(said.chat.seq) } else { None };
        self.events.iter().filter_map(seq).collect()
    }

    /// The session is lost, and another begins.
    fn loses_session(&mut self) {
        self.closed(1012);
        self.wait();
        self.sent.clear();
        self.connect();
    }

    fn kinds(&self) -> Vec<MessageKind> {
        self.sent.iter().map(|frame| Codec::Json.decode_client(frame).unwrap().message.kind()).collect()
    }

    /// Answers what was asked last, and gives from where on the client has asked if it was `history`.
    fn asks_history(&self) -> (String, u64) {
        let frame = self.says_last();
        let ClientMessage::History(HistoryRequest { since_seq, .. }) = frame.message else {
            panic!("{frame:?}")
        };
        (frame.id.unwrap().as_str().to_owned(), since_seq)
    }

    fn answers(&mut self, message: ServerMessage<'static>) {
        let id = self.says_last().id.unwrap();
        self.hear(Some(id.as_str()), message);
    }
}

#[test]
fn a_room_is_read_from_the_number_that_the_application_names() {
    let mut rig = Rig::in_hall(Since::Seq(3));
    assert_eq!(rig.asks_history().1, 3);
    rig.answers(page(&[4, 5], false, 1));
    assert_eq!(rig.asks_history().1, 5, "the next page");
    rig.hears(7);
    rig.answers(page(&[6, 7], true, 1));
    rig.hears(8);
    assert_eq!(rig.told(), [4, 5, 6, 7, 8]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.sent.len(), 3, "there is nothing more to ask");
}

impl Rig {
    pub(super) fn release_rooms(&mut self) {
        let mut is_held = true;
        while is_held {
            self.act(|machine, now| is_held = machine.release_next_room(now));
        }
    }
}

#[test]
fn a_room_that_the_application_cannot_take_waits_and_is_fetched_later() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(1);
    rig.act(|machine, _| machine.hold_rooms(|_| false));
    (2..=80).for_each(|seq| rig.hears(seq));
    assert_eq!(rig.told(), [1]);
    assert!(!rig.kinds().contains(&MessageKind::History), "nothing is fetched meanwhile");
    rig.release_rooms();
    assert_eq!(rig.told().last(), Some(&65), "64 have waited");
    assert_eq!(rig.asks_history().1, 65);
    rig.answers(page(&(66..=80).collect::<Vec<_>>(), true, 1));
    assert_eq!(rig.told(), (1..=80).collect::<Vec<_>>());
}

#[test]
fn a_page_that_finds_no_place_is_no_gap() {
    let mut rig = Rig::in_hall(Since::Seq(0));
    let numbers: Vec<u64> = (1..=100).collect();
    for _ in 0..3 {
        rig.act(|machine, _| machine.hold_rooms(|_| false));
        rig.answers(page(&numbers, true, 1));
        let last = rig.told().last().copied().unwrap_or_default();
        rig.release_rooms();
        if last == 100 || rig.told().last() == Some(&100) {
            break;
        }
    }
    assert_eq!(rig.told(), numbers);
    assert!(!rig.events.iter().any(|event| matches!(event, Event::Missed { .. })));
}

#[test]
fn a_room_with_an_exception_goes_on() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.act(|machine, _| machine.hold_rooms(|room| *room == hall()));
    rig.hears(1);
    assert_eq!(rig.told(), [1]);
}

#[test]
fn from_now_on_nothing_is_asked() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.hears(41);
    rig.hears(42);
    assert_eq!((rig.told(), rig.kinds()), (vec![41, 42], vec![MessageKind::Join]));
}

#[test]
fn a_fresh_session_joins_again_and_asks_from_the_cursor() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.loses_session();
    assert_eq!(rig.kinds(), [MessageKind::Join]);
    rig.answers(ack());
    assert_eq!(rig.asks_history().1, 41);
    rig.hears(44);
    assert_eq!(rig.told(), [41], "what is in front of it comes first");
    rig.answers(page(&[42, 43, 44], true, 1));
    assert_eq!(rig.told(), [41, 42, 43, 44]);
}

#[test]
fn a_room_without_a_number_is_read_from_the_time_of_joining() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.request(7, ClientMessage::Join(Join { room: Some(hall()) }), Purpose::Join(hall(), Since::Now));
    rig.hear_at(1_000, Some("m-7"), ack());
    rig.loses_session();
    rig.answers(ack());
    assert_eq!(rig.asks_history().1, 0);
    let message = |seq, ms| HistoryMessage::new(None, Timestamp::from_ms(ms), said(seq, phone()));
    let messages = vec![message(5, 998), message(6, 999), message(7, 1_000), message(8, 999)];
    rig.answers(ServerMessage::History(History::new(hall(), messages, true, 5)));
    assert_eq!(rig.told(), [7, 8]);
    assert!(!rig.events.iter().any(|event| matches!(event, Event::Missed { .. })));
}

#[test]
fn a_resumed_session_is_in_its_rooms_still() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
    rig.wait();
    rig.dialed();
    rig.hear(None, challenge(AUDIENCE, 10_000));
    rig.sent.clear();
    let session = SessionInfo { resumed: true, ..connected().session };
    rig.hear(None, ServerMessage::Connected(Connected { session, ..connected() }));
    rig.hears(42);
    assert_eq!((rig.told(), rig.sent.len()), (vec![41, 42], 0));
}

#[test]
fn what_is_said_waits_until_the_room_is_joined_again() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.says(1);
    rig.loses_session();
    let payload = Payload::from_json("1").unwrap();
    let broadcast = Broadcast { room: Some(hall()), payload };
    rig.request(2, ClientMessage::Broadcast(broadcast), Purpose::InRoom(hall()));
    rig.ask(3, MessageKind::Ping);
    assert_eq!(rig.sent.len(), 2, "the `join`, and what needs no room");
    let join = Codec::Json.decode_client(&rig.sent[0]).unwrap().id.unwrap();
    rig.sent.remove(1);
    rig.hear(Some(join.as_str()), ack());
    let kinds = [MessageKind::Join, MessageKind::ChatMessage, MessageKind::Broadcast, MessageKind::History];
    assert_eq!(rig.kinds(), kinds);
}

#[test]
fn ones_own_numbers_are_no_gaps_in_whichever_order_they_come() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    (1..=3).for_each(|reply_to| rig.says(reply_to));
    rig.is_acked(1, 43);
    rig.hears(42);
    rig.hears(45);
    rig.is_acked(2, 44);
    rig.is_acked(3, 46);
    rig.hears(47);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.told(), [41, 42, 45, 47]);
    assert!(!rig.kinds().contains(&MessageKind::History));
}

#[test]
fn a_gap_that_lasts_is_asked_for() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.hears(43);
    rig.pass(Duration::from_millis(249));
    assert_eq!(rig.sent.len(), 1);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.asks_history().1, 41);
    rig.answers(page(&[42, 43], true, 1));
    assert_eq!(rig.told(), [41, 42, 43]);
}

#[test]
fn what_is_kept_no_longer_is_named() {
    let mut rig = Rig::in_hall(Since::Seq(3));
    rig.answers(page(&[8, 9], true, 8));
    assert!(rig.events.iter().any(|event| {
        matches!(event, Event::Missed { of: Numbered::Room(room), first: 4, last: 7 } if *room == hall())
    }));
    assert_eq!(rig.told(), [8, 9]);
    rig.loses_session();
    rig.answers(ack());
    rig.answers(page(&[], true, 21));
    rig.hears(21);
    assert_eq!(rig.told(), [8, 9, 21]);
}

#[test]
fn a_page_with_a_hole_is_asked_for_once_more() {
    let mut rig = Rig::in_hall(Since::Seq(3));
    rig.answers(page(&[4, 6], true, 1));
    assert_eq!((rig.asks_history().1, rig.told()), (4, vec![4]));
    rig.answers(page(&[6, 7], true, 1));
    assert_eq!(rig.told(), [4, 6, 7]);
    assert!(rig.events.iter().any(|event| matches!(event, Event::Missed { first: 5, last: 5, .. })));
}

#[test]
fn a_page_that_brings_nothing_is_the_last() {
    let mut rig = Rig::in_hall(Since::Seq(3));
    rig.answers(page(&[], false, 1));
    assert_eq!(rig.kinds(), [MessageKind::Join, MessageKind::History]);
}

#[test]
fn a_history_that_has_it_answers_for_the_ack_that_was_lost() {
    let mut rig = Rig::in_hall(Since::Seq(3));
    let (id, _) = rig.asks_history();
    rig.says(1);
    let message = HistoryMessage::new(Some("m-1".parse().unwrap()), Timestamp::from_ms(0), said(4, device()));
    let history = History::new(hall(), vec![message], true, 1);
    rig.hear(Some(&id), ServerMessage::History(history));
    let Some((1, Ok(Reply::Ack(ack)))) = rig.settled.last() else { panic!("{:?}", rig.settled) };
    assert_eq!(ack.seq, Some(4));
    rig.is_acked(1, 4);
    rig.hears(5);
    assert_eq!(rig.told(), [5]);
}

#[test]
fn what_nobody_waited_for_is_told() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.says(1);
    rig.pass(Duration::from_secs(19));
    rig.act(|machine, now| machine.handle_pong(now));
    rig.pass(Duration::from_secs(11));
    assert_eq!(rig.settled.last(), Some(&(1, Err(RequestError::TimedOut))));
    rig.is_acked(1, 42);
    assert_eq!(rig.asks_history().1, 41);
    let message =
        HistoryMessage::new(Some("m-1".parse().unwrap()), Timestamp::from_ms(0), said(42, device()));
    rig.answers(ServerMessage::History(History::new(hall(), vec![message], true, 1)));
    assert_eq!(rig.told(), [41, 42]);
}

#[test]
fn a_room_that_is_left_is_told_of_no_more() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.hears(41);
    rig.request(1, ClientMessage::Leave(Leave { room: Some(hall()) }), Purpose::Leave(hall()));
    rig.hears(42);
    rig.hear(Some("m-1"), ack());
    assert_eq!(rig.told(), [41]);
    rig.loses_session();
    assert!(rig.sent.is_empty());
}

#[test]
fn a_room_that_one_is_not_in_is_left_without_a_word() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.request(1, ClientMessage::Leave(Leave { room: Some(hall()) }), Purpose::Leave(hall()));
    rig.join(Since::Now);
    assert_eq!(rig.kinds(), [MessageKind::Join], "sent again after a break, the leave would undo the join");
    assert!(matches!(rig.settled[0], (1, Ok(Reply::Ack(_)))));
}

#[test]
fn a_room_is_left_with_its_session() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.request(1, ClientMessage::Leave(Leave { room: Some(hall()) }), Purpose::Leave(hall()));
    rig.loses_session();
    assert!(matches!(rig.settled.last(), Some((1, Ok(Reply::Ack(_))))));
    assert!(rig.sent.is_empty());
}

#[test]
fn a_room_is_left_without_a_session_too() {
    let mut rig = Rig::with_key();
    rig.request(1, ClientMessage::Join(Join { room: Some(hall()) }), Purpose::Join(hall(), Since::Now));
    rig.request(2, ClientMessage::Leave(Leave { room: Some(hall()) }), Purpose::Leave(hall()));
    assert!(matches!(rig.settled[..], [(1, Err(RequestError::NotConnected)), (2, Ok(Reply::Ack(_)))]));
    rig.connect();
    assert!(rig.sent.is_empty());
}

#[test]
fn a_refused_join_leaves_nothing_behind() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.request(7, ClientMessage::Join(Join { room: Some(hall()) }), Purpose::Join(hall(), Since::Now));
    rig.hear(Some("m-7"), ServerMessage::Error(ErrorReply::new(ErrorCode::UnknownRoom, "no")));
    rig.loses_session();
    assert!(rig.sent.is_empty());
}

#[test]
fn a_removal_ends_it() {
    let mut rig = Rig::in_hall(Since::Now);
    let left = |device_id| {
        ServerMessage::MemberLeft(MemberLeft::new(hall(), UserId::new(uuid::Uuid::nil()), device_id))
    };
    rig.hear(None, left(phone()));
    rig.hears(41);
    rig.hear(None, left(device()));
    rig.hears(42);
    assert_eq!(rig.told(), [41]);
    assert!(matches!(rig.events.last(), Some(Event::Message(_))), "the application is told");
    rig.loses_session();
    assert!(rig.sent.is_empty());
}

#[test]
fn a_room_that_cannot_be_joined_again_is_given_up_and_told() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.says(1);
    rig.loses_session();
    rig.answers(ServerMessage::Error(ErrorReply::new(ErrorCode::UnknownRoom, "no")));
    let Some(Event::NotRestored { what: Restorable::Room(room), refusal }) = rig.events.last() else {
        panic!("{:?}", rig.events)
    };
    assert_eq!((room, refusal.code), (&hall(), ErrorCode::UnknownRoom));
    assert_eq!(rig.kinds().last(), Some(&MessageKind::ChatMessage), "the server refuses the request");
}

#[test]
fn a_refusal_that_passes_is_asked_again_when_told() {
    let mut rig = Rig::in_hall(Since::Now);
    rig.loses_session();
    let busy = ErrorReply { retry_after: Some(3), ..ErrorReply::new(ErrorCode::RateLimited, "slower") };
    rig.answers(ServerMessage::Error(busy));
    rig.pass(Duration::from_millis(2_999));
    assert_eq!(rig.sent.len(), 1);
    rig.pass(Duration::from_millis(501));
    assert_eq!(rig.kinds(), [MessageKind::Join; 2]);
}

#[test]
fn the_101st_room_is_refused() {
    let mut rig = Rig::with_key();
    rig.connect();
    for number in 0..101 {
        let room: RoomId = format!("room-{number}").parse().unwrap();
        let message = ClientMessage::Join(Join { room: Some(room.clone()) });
        rig.request(number, message, Purpose::Join(room, Since::Now));
        rig.hear(Some(&format!("m-{number}")), ack());
    }
    let Some((100, Err(RequestError::Refused(refusal)))) = rig.settled.last() else {
        panic!("{:?}", rig.settled.last())
    };
    assert_eq!(refusal.code, ErrorCode::Conflict);
}

#[test]
fn a_hundred_rooms_are_joined_again_at_a_pace_that_leaves_room_for_others() {
    let mut rig = Rig::with_key();
    rig.connect();
    for number in 0..100 {
        let room: RoomId = format!("room-{number}").parse().unwrap();
        let message = ClientMessage::Join(Join { room: Some(room.clone()) });
        rig.request(number, message, Purpose::Join(room, Since::Seq(1)));
        rig.hear(Some(&format!("m-{number}")), ack());
    }
    rig.loses_session();
    let (mut answered, mut asked, mut asked_in_first_second) = (0, 0, 0);
    for tick in 0..400 {
        while let Some(frame) = rig.sent.get(answered).cloned() {
            answered += 1;
            let ClientFrame { id: Some(id), message } = Codec::Json.decode_client(&frame).unwrap() else {
                continue;
            };
            asked += 1;
            let ClientMessage::History(history) = message else {
                rig.hear(Some(id.as_str()), ack());
                continue;
            };
            let (room, messages) = (history.room.unwrap(), Vec::new());
            let history = History::new(room, messages, true, 1);
            rig.hear(Some(id.as_str()), ServerMessage::History(history));
        }
        if tick == 40 {
            asked_in_first_second = asked;
        }
        rig.pass(Duration::from_millis(25));
    }
    assert_eq!(asked, 200, "each room once, and its history once");
    assert!((90..=101).contains(&asked_in_first_second), "{asked_in_first_second}");
}

#[test]
fn after_a_restored_backup_a_room_was_never_heard_of_again() {
    let mut rig = Rig::in_hall(Since::Seq(1_000));
    assert_eq!(rig.asks_history().1, 1_000);
    let ServerMessage::History(mut history) = page(&[], true, 8) else { panic!() };
    history.last_seq = Some(9);
    rig.answers(ServerMessage::History(history));
    let started = |event: &&Event| matches!(event, Event::StartedOver { of: Numbered::Room(_), newest: 9 });
    assert_eq!(rig.events.iter().filter(started).count(), 1);
    assert_eq!(rig.asks_history().1, 7, "behind the oldest that is kept");
    rig.answers(page(&[8, 9], true, 8));
    rig.hears(10);
    assert_eq!(rig.told(), [8, 9, 10]);
}

#[test]
fn a_server_that_has_what_was_asked_from_is_not_started_over() {
    let mut rig = Rig::in_hall(Since::Seq(9));
    let ServerMessage::History(mut history) = page(&[], true, 8) else { panic!() };
    history.last_seq = Some(9);
    rig.answers(ServerMessage::History(history));
    assert!(!rig.events.iter().any(|event| matches!(event, Event::StartedOver { .. })));
    rig.hears(10);
    assert_eq!(rig.told(), [10]);
}
