//! The mailbox: into the application's hands, then acknowledged.

use aldis_protocol::{
    Delivered, EncryptedMessage, MailboxMessage, MessageId, PresenceSubscribe, Sync, Synced, UserRef,
};
use uuid::Uuid;

use super::*;
use crate::{Numbered, Restorable};

fn me() -> UserId {
    UserId::new(Uuid::nil())
}

fn other() -> UserId {
    UserId::new(Uuid::from_u128(9))
}

fn id_of(seq: u64) -> MessageId {
    MessageId::new(Uuid::from_u128(seq.into()))
}

fn message(seq: u64) -> MailboxMessage<'static> {
    MailboxMessage::new(
        id_of(seq),
        seq,
        other(),
        "phone".parse().unwrap(),
        me(),
        b"sealed".as_slice().into(),
        Timestamp::from_ms(0),
    )
}

fn sent_by_this_device(seq: u64, to: UserId) -> MailboxMessage<'static> {
    MailboxMessage::new(id_of(seq), seq, me(), device(), to, b"own".as_slice().into(), Timestamp::from_ms(0))
}

impl Rig {
    /// A client whose mailbox is at this number, with its first `sync` behind it.
    fn with_mailbox(cursor: u64) -> Self {
        let mut rig = Self::keeping(by_key(), Some(cursor));
        rig.connect();
        rig.is_synced(cursor, true);
        rig.sent.clear();
        rig
    }

    fn arrives(&mut self, message: MailboxMessage<'static>) {
        self.hear(None, ServerMessage::Message(message));
    }

    fn streams(&mut self, message: MailboxMessage<'static>) {
        let id = self.sync().0;
        self.hear(Some(&id), ServerMessage::Message(message));
    }

    /// The last `sync` that was sent: its id, and where it begins.
    fn sync(&self) -> (String, Sync) {
        let frames = self.sent.iter().rev().map(|frame| Codec::Json.decode_client(frame).unwrap());
        let sync = |frame: ClientFrame<'_>| {
            let ClientMessage::Sync(sync) = frame.message else { return None };
            Some((frame.id?.as_str().to_owned(), sync))
        };
        frames.into_iter().find_map(sync).unwrap()
    }

    fn is_synced(&mut self, seq: u64, complete: bool) {
        let id = self.sync().0;
        self.hear(Some(&id), ServerMessage::Synced(Synced::new(seq, 1, complete)));
    }

    /// The end of a `sync` by a server that keeps these numbers.
    fn is_synced_by(&mut self, seq: u64, first_seq: u64) {
        let id = self.sync().0;
        self.hear(Some(&id), ServerMessage::Synced(Synced::new(seq, first_seq, true)));
    }

    fn starts_over(&self) -> Vec<(Numbered, u64)> {
        let started = |event: &Event| {
            let Event::StartedOver { of, newest } = event else { return None };
            Some((of.clone(), *newest))
        };
        self.events.iter().filter_map(started).collect()
    }

    fn stores(&mut self, seq: u64) {
        assert_eq!(self.to_store.last().unwrap().message.seq, seq);
        self.act(|machine, now| machine.handle_stored(now, Ok(())));
    }

    fn fails_to_store(&mut self) {
        self.act(|machine, now| machine.handle_stored(now, Err("the disk is full".into())));
    }

    fn given(&self) -> Vec<u64> {
        self.to_store.iter().map(|message| message.message.seq).collect()
    }

    fn acknowledged(&self) -> Vec<Vec<MessageId>> {
        let ids = |frame: &Bytes| {
            let frame = Codec::Json.decode_client(frame).unwrap();
            let ClientMessage::Delivered(Delivered { message_ids }) = frame.message else { return None };
            Some(message_ids)
        };
        self.sent.iter().filter_map(ids).collect()
    }

    fn sends(&mut self, reply_to: u32, to: UserId) {
        let recipient = UserRef::Id(to);
        let message = ClientMessage::Message(EncryptedMessage {
            recipient,
            encrypted_content: b"own".as_slice().into(),
        });
        let purpose = Purpose::of(&message);
        self.request(reply_to, message, purpose);
    }

    fn answers_last(&mut self, message: ServerMessage<'static>) {
        let id = self.says_last().id.unwrap();
        self.hear(Some(id.as_str()), message);
    }
}

#[test]
fn a_message_is_acknowledged_when_the_application_has_it() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    rig.arrives(message(6));
    assert_eq!((rig.given(), rig.sent.len()), (vec![5], 0), "one at a time, and nothing is said yet");
    rig.stores(5);
    assert_eq!((rig.given(), rig.acknowledged()), (vec![5, 6], vec![vec![id_of(5)]]));
    assert_eq!(rig.cursors, [5]);
}

#[test]
fn acknowledgements_are_gathered() {
    let mut rig = Rig::with_mailbox(0);
    (1..=4).for_each(|seq| rig.arrives(message(seq)));
    (1..=3).for_each(|seq| rig.stores(seq));
    rig.answers_last(ack());
    assert_eq!(rig.acknowledged(), [[id_of(1)]], "the next ones go together");
    rig.pass(Duration::from_millis(200));
    assert_eq!(rig.acknowledged(), [vec![id_of(1)], vec![id_of(2), id_of(3)]]);
}

#[test]
fn a_message_that_cannot_be_stored_is_tried_again_and_the_rest_waits() {
    let mut rig = Rig::with_mailbox(0);
    rig.arrives(message(1));
    rig.arrives(message(2));
    rig.fails_to_store();
    let Some(Event::MessageNotStored { message_id, retry_in, .. }) = rig.events.last() else {
        panic!("{:?}", rig.events)
    };
    assert_eq!(*message_id, id_of(1));
    let retry_in = *retry_in;
    assert_eq!(rig.given(), [1]);
    rig.pass(retry_in);
    assert_eq!(rig.given(), [1, 1]);
    rig.stores(1);
    assert_eq!(rig.given(), [1, 1, 2]);
}

#[test]
fn it_is_tried_again_while_there_is_no_connection() {
    let mut rig = Rig::with_mailbox(0);
    rig.arrives(message(1));
    rig.act(|machine, now| machine.handle_broken(now, "reset".into()));
    rig.fails_to_store();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.given(), [1, 1]);
    rig.stores(1);
    assert_eq!(rig.cursors, [1]);
}

#[test]
fn a_fresh_session_asks_from_what_the_application_has() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    rig.arrives(message(6));
    rig.closed(1012);
    rig.wait();
    rig.connect();
    assert!(rig.sent.iter().all(|frame| !frame.starts_with(br#"{"type":"sync""#)));
    rig.stores(5);
    rig.answers_last(ack());
    rig.stores(6);
    let (_, sync) = rig.sync();
    assert_eq!((sync.since_seq, sync.limit), (6, Some(64)), "it acknowledges what is stored, and no more");
    rig.streams(message(7));
    rig.is_synced(7, true);
    rig.stores(7);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.given(), [5, 6, 7]);
    assert_eq!(rig.acknowledged(), [[id_of(5)], [id_of(7)]], "the `sync` has said it of 6");
}

#[test]
fn the_next_page_waits_for_the_application() {
    let mut rig = Rig::keeping(by_key(), Some(0));
    rig.connect();
    (1..=3).for_each(|seq| rig.streams(message(seq)));
    rig.is_synced(3, false);
    rig.arrives(message(9));
    rig.stores(1);
    rig.stores(2);
    assert_eq!(rig.sync().1.since_seq, 0);
    rig.stores(3);
    assert_eq!(rig.sync().1.since_seq, 3);
}

#[test]
fn what_comes_beyond_the_line_is_asked_for_later() {
    let mut rig = Rig::with_mailbox(0);
    (1..=200).for_each(|seq| rig.arrives(message(seq)));
    for seq in 1..=64 {
        rig.stores(seq);
        rig.pass(Duration::from_millis(300));
        if rig.sent.last().unwrap().starts_with(br#"{"type":"delivered""#) {
            rig.answers_last(ack());
        }
    }
    assert_eq!(rig.given().len(), 64);
    assert_eq!(rig.sync().1.since_seq, 64);
}

#[test]
fn a_gap_that_lasts_is_asked_for() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(6));
    rig.pass(Duration::from_millis(250));
    assert_eq!((rig.sync().1.since_seq, rig.given()), (4, vec![]));
    rig.streams(message(5));
    rig.streams(message(6));
    rig.is_synced(6, true);
    rig.stores(5);
    rig.stores(6);
    assert_eq!(rig.given(), [5, 6]);
}

#[test]
fn what_is_kept_no_longer_is_named() {
    let mut rig = Rig::keeping(by_key(), Some(4));
    rig.connect();
    rig.streams(message(8));
    let id = rig.sync().0;
    rig.hear(Some(&id), ServerMessage::Synced(Synced::new(8, 8, true)));
    assert!(matches!(rig.events.last(), Some(Event::Missed { of: Numbered::Mailbox, first: 5, last: 7 })));
    rig.stores(8);
    assert_eq!(rig.cursors, [7, 8]);
}

#[test]
fn what_this_device_sends_comes_as_its_ack_only() {
    let mut rig = Rig::with_mailbox(4);
    rig.sends(1, other());
    let ack = Ack::new(AckStatus::Stored, "stored").with_seq(5).with_message_id(id_of(5));
    rig.hear(Some("m-1"), ServerMessage::Ack(ack));
    rig.arrives(message(6));
    rig.stores(6);
    rig.pass(Duration::from_secs(1));
    assert_eq!((rig.given(), rig.cursors.clone()), (vec![6], vec![5, 6]));
    rig.closed(1012);
    rig.wait();
    rig.connect();
    rig.streams(sent_by_this_device(5, other()));
    assert_eq!(rig.given(), [6]);
}

#[test]
fn a_sync_that_has_it_answers_for_the_ack_that_was_lost() {
    let mut rig = Rig::keeping(by_key(), Some(4));
    rig.connect();
    rig.sends(1, other());
    rig.streams(sent_by_this_device(5, other()));
    let Some((1, Ok(Reply::Ack(ack)))) = rig.settled.last() else { panic!("{:?}", rig.settled) };
    assert_eq!((ack.seq, ack.message_id), (Some(5), Some(id_of(5))));
    assert!(rig.given().is_empty());
}

#[test]
fn what_another_device_sent_is_stored_and_not_acknowledged() {
    let mut rig = Rig::with_mailbox(4);
    let mut message = sent_by_this_device(5, other());
    message.sender_device_id = "desk-2".parse().unwrap();
    rig.arrives(message);
    rig.stores(5);
    rig.pass(Duration::from_secs(1));
    assert!(rig.acknowledged().is_empty(), "it was not for this user to receive");
}

#[test]
fn a_note_to_oneself_is_acknowledged_and_not_told_twice() {
    let mut rig = Rig::with_mailbox(4);
    rig.sends(1, me());
    let ack = Ack::new(AckStatus::Stored, "stored").with_seq(5).with_message_id(id_of(5));
    rig.hear(Some("m-1"), ServerMessage::Ack(ack));
    rig.arrives(sent_by_this_device(5, me()));
    assert_eq!((rig.given(), rig.acknowledged()), (vec![], vec![vec![id_of(5)]]));
}

#[test]
fn what_the_server_does_not_know_to_be_delivered_is_said_by_a_sync() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    rig.stores(5);
    rig.answers_last(ServerMessage::Error(ErrorReply::new(ErrorCode::UnknownMessage, "one is gone")));
    assert_eq!(rig.sync().1.since_seq, 5);
    rig.is_synced(5, true);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.acknowledged().len(), 1);
}

#[test]
fn an_acknowledgement_is_sent_again_until_it_is_answered() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    rig.stores(5);
    let busy = ErrorReply { retry_after: Some(1), ..ErrorReply::new(ErrorCode::Unavailable, "later") };
    rig.answers_last(ServerMessage::Error(busy));
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.acknowledged(), [[id_of(5)], [id_of(5)]]);
}

#[test]
fn a_goodbye_says_what_was_stored() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    rig.stores(5);
    rig.answers_last(ack());
    rig.arrives(message(6));
    rig.stores(6);
    rig.arrives(message(7));
    rig.act(Machine::handle_stop);
    assert_eq!(rig.acknowledged().last(), Some(&vec![id_of(6)]));
    rig.act(|machine, now| machine.handle_stored(now, Ok(())));
    assert_eq!(rig.given(), [5, 6, 7], "nothing is handed over any more");
}

#[test]
fn a_mailbox_that_is_refused_is_told_and_tried_in_the_next_session() {
    let mut rig = Rig::keeping(by_key(), Some(4));
    rig.connect();
    rig.answers_last(ServerMessage::Error(ErrorReply::new(ErrorCode::Forbidden, "no")));
    assert!(matches!(rig.events.last(), Some(Event::NotRestored { what: Restorable::Mailbox, .. })));
    rig.closed(1012);
    rig.wait();
    rig.sent.clear();
    rig.connect();
    assert_eq!(rig.sync().1.since_seq, 4);
}

#[test]
fn without_a_handler_messages_come_as_events() {
    let mut rig = Rig::with_key();
    rig.connect();
    rig.arrives(message(5));
    assert!(matches!(rig.events.last(), Some(Event::Message(_))));
    assert!(rig.sent.is_empty());
}

#[test]
fn a_fresh_session_shows_and_watches_what_the_last_one_did() {
    let mut rig = Rig::with_key();
    rig.connect();
    let away = SetPresence { status: Status::Away, note: Some("lunch".into()) };
    rig.request(1, ClientMessage::Presence(away.clone()), Purpose::Presence(away.clone()));
    rig.hear(Some("m-1"), ack());
    let users = vec![UserRef::Id(other())];
    let subscribe = PresenceSubscribe { user_ids: users.clone() };
    rig.request(2, ClientMessage::PresenceSubscribe(subscribe), Purpose::Subscribe(users.clone()));
    rig.hear(Some("m-2"), ack());
    rig.closed(1012);
    rig.wait();
    rig.sent.clear();
    rig.connect();
    let said: Vec<_> =
        rig.sent.iter().map(|frame| Codec::Json.decode_client(frame).unwrap().message).collect();
    let subscribe = ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids: users });
    assert_eq!(said, [ClientMessage::Presence(away), subscribe]);
    rig.answers_last(ServerMessage::Error(ErrorReply::new(ErrorCode::Conflict, "too many")));
    assert!(matches!(rig.events.last(), Some(Event::NotRestored { what: Restorable::Subscriptions(_), .. })));
}

#[test]
fn after_a_restored_backup_the_mailbox_was_never_heard_of_again() {
    let mut rig = Rig::keeping(by_key(), Some(1_000));
    rig.connect();
    assert_eq!(rig.sync().1.since_seq, 1_000);
    rig.is_synced_by(900, 5);
    assert_eq!(rig.starts_over(), [(Numbered::Mailbox, 900)]);
    assert_eq!(rig.sync().1.since_seq, 4, "behind the oldest that is kept");
    rig.streams(message(5));
    rig.stores(5);
    rig.is_synced_by(5, 5);
    rig.arrives(message(6));
    rig.stores(6);
    assert_eq!(rig.given(), [5, 6]);
    assert_eq!(rig.starts_over().len(), 1, "once");
}

#[test]
fn a_message_in_hand_is_stored_before_the_mailbox_starts_over() {
    let mut rig = Rig::with_mailbox(4);
    rig.arrives(message(5));
    assert_eq!(rig.given(), [5]);
    rig.closed(1012);
    rig.wait();
    rig.sent.clear();
    rig.connect();
    rig.stores(5);
    assert_eq!(rig.sync().1.since_seq, 5);
    rig.is_synced_by(3, 1);
    assert_eq!(rig.starts_over(), [(Numbered::Mailbox, 3)]);
    assert_eq!(rig.sync().1.since_seq, 0);
    for number in 1..=3 {
        rig.streams(message(number));
        rig.stores(number);
    }
    rig.is_synced_by(3, 1);
    rig.arrives(message(4));
    assert_eq!(rig.given(), [5, 1, 2, 3, 4], "old numbers stand for new messages");
}
