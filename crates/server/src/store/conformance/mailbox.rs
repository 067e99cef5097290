use aldis_protocol::{DeviceId, MessageId, RequestId, UserId, api::ContactDecision};
use aldis_registry::Stance;
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use tokio::sync::mpsc::error::TryRecvError;

use super::{Fixture, NOW, acting, by_token, device_id, fifty_at_once, suite};
use crate::store::{
    Committed, Marked, NewMessage, NewReceipt, PendingAppend, Posted, ReplyTo, Store, StoredMessage,
    StoredMeta, Which,
};

suite![
    numbers_go_up_by_one_in_both_mailboxes,
    a_message_to_oneself_takes_one_number,
    a_repetition_is_a_duplicate_and_other_content_a_conflict,
    concurrent_copies_are_stored_once,
    duplicates_among_new_ones_leave_no_gap,
    a_message_to_an_unknown_user_is_refused,
    a_full_mailbox_refuses_messages_and_leaves_no_gap,
    four_strangers_filled_the_mailbox_and_kept_out_a_contact,
    a_sender_counts_as_a_stranger_once_no_longer_allowed,
    a_delivered_message_makes_room,
    receipts_are_set_once_and_never_change,
    a_blocked_sender_saw_later_receipts_in_the_mailbox,
    a_masked_receipt_stays_masked_after_the_block,
    a_receipt_with_one_unknown_id_is_refused,
    all_messages_up_to_a_number_are_delivered_at_once,
    a_conversation_is_read_backwards,
    the_bytes_of_a_conversation_page_are_limited,
    messages_are_deleted_after_thirty_days,
    a_sender_may_be_answered_until_they_block,
    a_deleted_account_leaves_the_messages_of_others,
    fifty_writers_leave_no_gap,
    committed_messages_are_delivered_in_order,
    large_messages_fill_the_queue_before_many_do,
    concurrent_first_messages_and_decisions_lose_nothing,
];

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn message(sender: UserId, recipient: UserId, id: &str, content: &'static str) -> NewMessage {
    NewMessage {
        sender,
        sender_device: device_of(sender),
        request: request(id),
        addressee: recipient,
        recipient,
        encrypted_content: Bytes::from_static(content.as_bytes()),
        is_allowed: sender == recipient,
        reaches_out: false,
        now_ms: NOW,
    }
}

fn device_of(user: UserId) -> DeviceId {
    device_id(&format!("device-{user}"))
}

fn request(id: &str) -> RequestId {
    id.parse().unwrap()
}

fn posting(store: &Store, message: NewMessage) -> PendingAppend<Posted> {
    PendingAppend::by(|reply| store.post(message, reply))
}

async fn post(store: &Store, message: NewMessage) -> Posted {
    posting(store, message).answer().await.unwrap()
}

async fn keep(store: &Store, message: NewMessage) -> StoredMeta {
    let posted = post(store, message).await;
    let Posted::Stored(kept) = posted else { panic!("{posted:?}") };
    kept
}

async fn mark(
    store: &Store,
    user: UserId,
    which: Which,
    is_read: bool,
    may_hear: &[UserId],
    now_ms: i64,
) -> Marked {
    let (device, may_hear) = (device_of(user), may_hear.to_vec());
    let receipt = NewReceipt { user, which, is_read, device, may_hear, now_ms };
    PendingAppend::by(|reply| store.mark(receipt, reply)).answer().await.unwrap()
}

async fn delivered(store: &Store, user: UserId, ids: &[MessageId]) -> Marked {
    mark(store, user, Which::Ids(ids.to_vec()), false, &[], NOW + 1).await
}

/// When the messages of a mailbox were delivered and read, as its user sees it, in milliseconds.
async fn receipts(store: &Store, user: UserId, peer: UserId) -> Vec<(Option<i64>, Option<i64>)> {
    let times = |messages: &[StoredMessage]| -> Vec<_> {
        let after = |at_ms: Option<i64>| at_ms.map(|at_ms| at_ms - NOW);
        messages.iter().map(|one| (after(one.delivered_at_ms), after(one.read_at_ms))).collect()
    };
    let page = store.mailbox_page(user, 0, 100).await.unwrap();
    let mut conversation = store.conversation(user, peer, 1_000, 100, usize::MAX).await.unwrap().messages;
    conversation.reverse();
    assert_eq!(times(&page.messages), times(&conversation));
    times(&page.messages)
}

/// The numbers and contents of a mailbox.
async fn mailbox(store: &Store, user: UserId, since_seq: u64, limit: u32) -> Vec<(u64, String)> {
    let page = store.mailbox_page(user, since_seq, limit).await.unwrap();
    page.messages
        .into_iter()
        .map(|one| (one.seq, String::from_utf8(one.encrypted_content.to_vec()).unwrap()))
        .collect()
}

async fn numbers(store: &Store, user: UserId) -> Vec<u64> {
    mailbox(store, user, 0, 2_000).await.into_iter().map(|(seq, _)| seq).collect()
}

async fn numbers_go_up_by_one_in_both_mailboxes(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob, cid) = (fixture.user().await, fixture.user().await, fixture.user().await);
    let first = keep(store, message(ann, bob, "a", "one")).await;
    let second = keep(store, message(cid, bob, "b", "two")).await;
    let third = keep(store, message(bob, ann, "c", "three")).await;
    assert_eq!([first.sender_seq, first.recipient_seq], [1, 1]);
    assert_eq!([second.sender_seq, second.recipient_seq], [1, 2]);
    assert_eq!([third.sender_seq, third.recipient_seq], [3, 2]);
    let pairs = |pairs: &[(u64, &str)]| {
        pairs.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(mailbox(store, bob, 0, 10).await, pairs(&[(1, "one"), (2, "two"), (3, "three")]));
    assert_eq!(mailbox(store, ann, 0, 10).await, pairs(&[(1, "one"), (2, "three")]));
    assert_eq!(mailbox(store, bob, 1, 1).await, pairs(&[(2, "two")]));
    let page = store.mailbox_page(bob, 3, 10).await.unwrap();
    assert_eq!((page.messages.len(), page.first_seq, page.last_seq), (0, 1, 3));
    let stored = store.mailbox_page(bob, 0, 1).await.unwrap().messages.remove(0);
    assert_eq!((stored.sender, stored.sender_device, stored.recipient), (ann, device_of(ann), bob));
    assert_eq!((stored.message_id, stored.created_at_ms), (first.message_id, NOW));
    assert_eq!((stored.delivered_at_ms, stored.read_at_ms), (None, None));
}

async fn a_message_to_oneself_takes_one_number(fixture: Fixture) {
    let (store, ann) = (&fixture.store, fixture.user().await);
    let kept = keep(store, message(ann, ann, "a", "note")).await;
    assert_eq!([kept.sender_seq, kept.recipient_seq], [1, 1]);
    keep(store, message(ann, ann, "b", "another")).await;
    assert_eq!(numbers(store, ann).await, [1, 2]);
    assert_eq!(store.conversation(ann, ann, 10, 10, usize::MAX).await.unwrap().messages.len(), 2);
}

async fn a_repetition_is_a_duplicate_and_other_content_a_conflict(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob, cid) = (fixture.user().await, fixture.user().await, fixture.user().await);
    let kept = keep(store, message(ann, bob, "a", "one")).await;
    assert_eq!(post(store, message(ann, bob, "a", "one")).await, Posted::Duplicate(kept));
    assert_eq!(post(store, message(ann, bob, "a", "other")).await, Posted::Conflict);
    assert_eq!(post(store, message(ann, cid, "a", "one")).await, Posted::Conflict);
    // A sender who can no longer reach the recipient learns nothing from a repetition.
    let nobody = UserId::new(uuid::Uuid::new_v4());
    let out_of_reach = |id, content| NewMessage { recipient: nobody, ..message(ann, bob, id, content) };
    assert_eq!(post(store, out_of_reach("a", "one")).await, Posted::Duplicate(kept));
    assert_eq!(post(store, out_of_reach("a", "other")).await, Posted::Conflict);
    assert_eq!(post(store, out_of_reach("b", "one")).await, Posted::NoSuchUser);
    // Another device has separate ids.
    keep(store, message(cid, bob, "a", "one")).await;
    assert_eq!(numbers(store, bob).await, [1, 2]);
}

async fn concurrent_copies_are_stored_once(fixture: Fixture) {
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let posted = fifty_at_once(&fixture.store, move |store, _| async move {
        post(&store, message(ann, bob, "a", "one")).await
    })
    .await;
    let stored = posted.iter().filter(|posted| matches!(posted, Posted::Stored(_))).count();
    let duplicates = posted.iter().filter(|posted| matches!(posted, Posted::Duplicate(_))).count();
    assert_eq!((stored, duplicates), (1, 49));
    assert_eq!(numbers(&fixture.store, bob).await, [1]);
}

async fn duplicates_among_new_ones_leave_no_gap(fixture: Fixture) {
    let (store, ann, bob) = (&fixture.store, fixture.user().await, fixture.user().await);
    let first = keep(store, message(ann, bob, "a", "one")).await;
    let nobody = UserId::new(uuid::Uuid::new_v4());
    let batch = [
        message(ann, bob, "b", "two"),
        message(ann, bob, "a", "one"),
        message(bob, ann, "a", "three"),
        message(ann, bob, "a", "other"),
        message(ann, bob, "b", "two"),
        message(ann, bob, "c", "four"),
        message(ann, nobody, "d", "five"),
        message(ann, bob, "e", "six"),
    ];
    for batch in [&batch[..6], &batch[..]] {
        // Nothing is awaited in between, so that all of them are one batch.
        let submitted: Vec<_> = batch.iter().map(|message| posting(store, message.clone())).collect();
        let posted = join_all(submitted.into_iter().map(PendingAppend::answer)).await;
        let posted: Vec<Posted> = posted.into_iter().map(Result::unwrap).collect();
        assert_eq!([posted[1], posted[3]], [Posted::Duplicate(first), Posted::Conflict]);
        assert!(matches!(posted[4], Posted::Duplicate(_)));
        assert!(posted.get(6).is_none_or(|posted| *posted == Posted::NoSuchUser));
    }
    let texts = ["one", "two", "three", "four", "six"].map(str::to_owned);
    let expected: Vec<(u64, String)> = (1..).zip(texts).collect();
    assert_eq!([mailbox(store, ann, 0, 10).await, mailbox(store, bob, 0, 10).await], [&expected[..]; 2]);
}

async fn a_message_to_an_unknown_user_is_refused(fixture: Fixture) {
    let (store, ann) = (&fixture.store, fixture.user().await);
    let nobody = UserId::new(uuid::Uuid::new_v4());
    assert_eq!(post(store, message(ann, nobody, "a", "one")).await, Posted::NoSuchUser);
    assert_eq!(numbers(store, ann).await, [0_u64; 0]);
    let page = store.mailbox_page(ann, 0, 1).await.unwrap();
    assert_eq!((page.first_seq, page.last_seq), (1, 0));
}

/// Posts this many messages at once and returns how many were stored; for the others the mailbox was full.
async fn flood(store: &Store, from: UserId, to: UserId, is_allowed: bool, count: usize) -> usize {
    let posting: Vec<_> = (0..count)
        .map(|number| {
            let id = format!("{}-{number}", uuid::Uuid::new_v4().simple());
            posting(store, NewMessage { is_allowed, ..message(from, to, &id, "x") })
        })
        .collect();
    let mut stored = 0;
    for submitted in posting {
        let posted = submitted.answer().await.unwrap();
        assert!(matches!(posted, Posted::Stored(_) | Posted::MailboxFull), "{posted:?}");
        stored += usize::from(matches!(posted, Posted::Stored(_)));
    }
    stored
}

async fn allow(store: &Store, user: UserId, peer: UserId) {
    store.decide_contact(&acting(user), peer, ContactDecision::Allowed, NOW).await.unwrap();
}

async fn a_full_mailbox_refuses_messages_and_leaves_no_gap(fixture: Fixture) {
    let store = &fixture.store;
    let bob = fixture.user().await;
    let mut senders = Vec::new();
    for _ in 0..5 {
        let sender = fixture.user().await;
        allow(store, bob, sender).await;
        senders.push(sender);
    }
    assert_eq!(flood(store, senders[0], bob, true, 300).await, 250, "one sender has a quarter");
    for sender in &senders[1..4] {
        assert_eq!(flood(store, *sender, bob, true, 250).await, 250);
    }
    assert_eq!(flood(store, senders[4], bob, true, 1).await, 0, "all senders together fill it");
    assert_eq!(numbers(store, bob).await, (1..=1_000).collect::<Vec<u64>>());
    assert_eq!(numbers(store, senders[0]).await, (1..=250).collect::<Vec<u64>>());
    assert_eq!(numbers(store, senders[4]).await, [0_u64; 0]);
}

async fn four_strangers_filled_the_mailbox_and_kept_out_a_contact(fixture: Fixture) {
    let store = &fixture.store;
    let (bob, friend) = (fixture.user().await, fixture.user().await);
    allow(store, bob, friend).await;
    let mut stored = 0;
    for _ in 0..4 {
        let stranger = fixture.user().await;
        stored += flood(store, stranger, bob, false, 249).await;
    }
    assert_eq!(stored, 500, "strangers together have half");
    assert_eq!(flood(store, friend, bob, true, 251).await, 250);
    assert_eq!(flood(store, bob, bob, true, 251).await, 250, "so has the user");
    assert_eq!(flood(store, friend, bob, true, 1).await, 0);
    assert_eq!(numbers(store, bob).await, (1..=1_000).collect::<Vec<u64>>());
}

async fn a_sender_counts_as_a_stranger_once_no_longer_allowed(fixture: Fixture) {
    let store = &fixture.store;
    let (bob, stranger) = (fixture.user().await, fixture.user().await);
    for _ in 0..2 {
        let friend = fixture.user().await;
        allow(store, bob, friend).await;
        assert_eq!(flood(store, friend, bob, true, 250).await, 250);
        assert_eq!(flood(store, stranger, bob, false, 1).await, 1);
        store.decide_contact(&acting(bob), friend, ContactDecision::Blocked, NOW).await.unwrap();
    }
    let late = fixture.user().await;
    assert_eq!(flood(store, late, bob, false, 1).await, 0);
    assert_eq!(flood(store, late, bob, true, 1).await, 1);
}

async fn a_delivered_message_makes_room(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    for number in 0..250 {
        keep(store, message(ann, bob, &number.to_string(), "x")).await;
    }
    assert_eq!(post(store, message(ann, bob, "more", "x")).await, Posted::MailboxFull);
    let one = store.mailbox_page(bob, 0, 1).await.unwrap().messages[0].message_id;
    assert!(matches!(delivered(store, bob, &[one]).await, Marked::Done(_)));
    // A refused message was not stored, and can be sent again with the same id.
    let kept = keep(store, message(ann, bob, "more", "x")).await;
    assert_eq!(kept.recipient_seq, 251);
    assert_eq!(post(store, message(ann, bob, "again", "x")).await, Posted::MailboxFull);
}

async fn receipts_are_set_once_and_never_change(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let one = keep(store, message(ann, bob, "a", "one")).await.message_id;
    let two = keep(store, message(ann, bob, "b", "two")).await.message_id;
    let Marked::Done(by_sender) = mark(store, bob, Which::Ids(vec![one, one]), false, &[ann], NOW + 1).await
    else {
        panic!()
    };
    assert_eq!(by_sender.len(), 1);
    assert_eq!((by_sender[0].sender, by_sender[0].message_ids.as_slice()), (ann, [one].as_slice()));
    assert_eq!((by_sender[0].delivered_at_ms, by_sender[0].read_at_ms), (NOW + 1, None));
    assert_eq!(delivered(store, bob, &[one]).await, Marked::Done(vec![]));

    let Marked::Done(by_sender) = mark(store, bob, Which::Ids(vec![one, two]), true, &[ann], NOW + 9).await
    else {
        panic!()
    };
    let times: Vec<_> = by_sender.iter().map(|one| (one.delivered_at_ms, one.read_at_ms)).collect();
    assert_eq!(times, [(NOW + 1, Some(NOW + 9)), (NOW + 9, Some(NOW + 9))], "read implies delivered");
    assert_eq!(
        mark(store, bob, Which::Ids(vec![one, two]), true, &[ann], NOW + 20).await,
        Marked::Done(vec![])
    );

    let page = store.mailbox_page(ann, 0, 10).await.unwrap();
    let times: Vec<_> = page.messages.iter().map(|one| (one.delivered_at_ms, one.read_at_ms)).collect();
    assert_eq!(times, [(Some(NOW + 1), Some(NOW + 9)), (Some(NOW + 9), Some(NOW + 9))]);
}

async fn a_blocked_sender_saw_later_receipts_in_the_mailbox(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let mut ids = Vec::new();
    for id in ["read-before", "delivered-before", "delivered-later", "read-later"] {
        ids.push(keep(store, message(ann, bob, id, "x")).await.message_id);
    }
    let answer = keep(store, message(bob, ann, "answer", "x")).await.message_id;
    mark(store, bob, Which::Ids(vec![ids[0]]), true, &[ann], NOW + 1).await;
    mark(store, bob, Which::Ids(vec![ids[1]]), false, &[ann], NOW + 2).await;
    // From here on one of them blocks the other.
    mark(store, bob, Which::Ids(vec![ids[1], ids[3]]), true, &[], NOW + 3).await;
    mark(store, bob, Which::UpTo(4), false, &[], NOW + 4).await;
    mark(store, ann, Which::Ids(vec![answer]), true, &[], NOW + 5).await;
    let of_ann = [(Some(1), Some(1)), (Some(2), None), (None, None), (None, None), (Some(5), Some(5))];
    let of_bob = [(Some(1), Some(1)), (Some(2), Some(3)), (Some(4), None), (Some(3), Some(3)), (None, None)];
    assert_eq!(receipts(store, ann, bob).await, of_ann);
    assert_eq!(receipts(store, bob, ann).await, of_bob);
}

async fn a_masked_receipt_stays_masked_after_the_block(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let one = keep(store, message(ann, bob, "a", "one")).await.message_id;
    let two = keep(store, message(ann, bob, "b", "two")).await.message_id;
    mark(store, bob, Which::Ids(vec![one]), false, &[], NOW + 1).await;
    mark(store, bob, Which::Ids(vec![two]), true, &[], NOW + 2).await;
    let Marked::Done(by_sender) = mark(store, bob, Which::Ids(vec![one, two]), true, &[ann], NOW + 9).await
    else {
        panic!()
    };
    assert_eq!(by_sender.len(), 1, "the second was read before");
    let times = (by_sender[0].delivered_at_ms, by_sender[0].shown_delivered_at_ms, by_sender[0].read_at_ms);
    assert_eq!(times, (NOW + 1, NOW + 9, Some(NOW + 9)), "a message that is read counts as delivered");
    assert_eq!(receipts(store, ann, bob).await, [(Some(9), Some(9)), (None, None)]);
    assert_eq!(receipts(store, bob, ann).await, [(Some(1), Some(9)), (Some(2), Some(2))]);

    let note = keep(store, message(ann, ann, "c", "note")).await.message_id;
    mark(store, ann, Which::Ids(vec![note]), true, &[], NOW + 3).await;
    let own = store.mailbox_page(ann, 2, 1).await.unwrap().messages;
    assert_eq!(own[0].read_at_ms, Some(NOW + 3), "nothing is masked for the sender of a message to oneself");
}

async fn a_receipt_with_one_unknown_id_is_refused(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let one = keep(store, message(ann, bob, "a", "one")).await.message_id;
    let sent = keep(store, message(bob, ann, "b", "two")).await.message_id;
    let unknown = MessageId::new(uuid::Uuid::now_v7());
    for ids in [vec![one, unknown], vec![one, sent], vec![sent]] {
        assert_eq!(delivered(store, bob, &ids).await, Marked::Unknown);
    }
    assert_eq!(store.mailbox_page(bob, 0, 1).await.unwrap().messages[0].delivered_at_ms, None);
    assert_eq!(delivered(store, bob, &[]).await, Marked::Done(vec![]));
}

async fn all_messages_up_to_a_number_are_delivered_at_once(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    for id in ["a", "b", "c"] {
        keep(store, message(ann, bob, id, "x")).await;
    }
    keep(store, message(bob, ann, "d", "x")).await;
    assert_eq!(store.senders_of(bob, &Which::UpTo(2)).await.unwrap(), [ann]);
    let Marked::Done(by_sender) = mark(store, bob, Which::UpTo(2), false, &[], NOW + 1).await else {
        panic!()
    };
    assert_eq!(by_sender[0].message_ids.len(), 2);
    assert_eq!(mark(store, bob, Which::UpTo(2), false, &[], NOW + 2).await, Marked::Done(vec![]));
    let page = store.mailbox_page(bob, 0, 10).await.unwrap();
    let times: Vec<_> = page.messages.iter().map(|one| one.delivered_at_ms).collect();
    assert_eq!(times, [Some(NOW + 1), Some(NOW + 1), None, None]);
}

async fn a_conversation_is_read_backwards(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob, cid) = (fixture.user().await, fixture.user().await, fixture.user().await);
    keep(store, message(ann, bob, "a", "one")).await;
    keep(store, message(cid, bob, "b", "aside")).await;
    keep(store, message(bob, ann, "c", "two")).await;
    keep(store, message(ann, bob, "d", "three")).await;
    let read = |before_seq, limit| async move {
        let page = store.conversation(bob, ann, before_seq, limit, usize::MAX).await.unwrap();
        (page.messages.iter().map(|one| one.seq).collect::<Vec<u64>>(), page.is_more)
    };
    assert_eq!(read(100, 10).await, (vec![4, 3, 1], false));
    assert_eq!(read(100, 3).await, (vec![4, 3, 1], false));
    assert_eq!(read(100, 2).await, (vec![4, 3], true));
    assert_eq!(read(3, 10).await, (vec![1], false));
    assert_eq!(read(1, 10).await, (vec![], false));
}

async fn the_bytes_of_a_conversation_page_are_limited(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    for number in 0..6 {
        let (from, to) = if number % 2 == 0 { (ann, bob) } else { (bob, ann) };
        let letter = message(from, to, &number.to_string(), "");
        keep(store, NewMessage { encrypted_content: vec![7; 3_000].into(), ..letter }).await;
    }
    let read = |before_seq, most_bytes| async move {
        let page = store.conversation(bob, ann, before_seq, 5, most_bytes).await.unwrap();
        (page.messages.iter().map(|one| one.seq).collect::<Vec<u64>>(), page.bytes, page.is_more)
    };
    assert_eq!(read(100, 0).await, (vec![6], 4_400, true));
    assert_eq!(read(100, 4_399).await, (vec![6], 4_400, true));
    assert_eq!(read(100, 4_400).await, (vec![6, 5], 8_800, true));
    assert_eq!(read(3, 4_400).await, (vec![2, 1], 8_800, false));
    assert_eq!(read(100, usize::MAX).await, (vec![6, 5, 4, 3, 2], 22_000, true));
}

async fn messages_are_deleted_after_thirty_days(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    keep(store, message(ann, bob, "a", "old")).await;
    keep(store, NewMessage { now_ms: NOW + DAY_MS, ..message(ann, bob, "b", "young") }).await;
    store.sweep(NOW + 30 * DAY_MS).await.unwrap();
    assert_eq!(numbers(store, bob).await, [1, 2]);
    store.sweep(NOW + 30 * DAY_MS + 1).await.unwrap();
    assert_eq!(numbers(store, bob).await, [2]);
    assert_eq!(store.mailbox_page(bob, 0, 1).await.unwrap().first_seq, 2);
    store.sweep(NOW + 31 * DAY_MS + 1).await.unwrap();
    let page = store.mailbox_page(bob, 0, 1).await.unwrap();
    assert_eq!((page.messages.len(), page.first_seq, page.last_seq), (0, 3, 2));
    // The places of the expired messages are free again.
    for number in 0..250 {
        keep(store, message(ann, bob, &number.to_string(), "x")).await;
    }
}

async fn a_sender_may_be_answered_until_they_block(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    keep(store, NewMessage { reaches_out: true, ..message(ann, bob, "a", "one") }).await;
    let [of_ann, of_bob] = store.stances(ann, bob).await.unwrap();
    assert_eq!((of_ann, of_bob), (Stance { decision: None, reached_out: true }, Stance::default()));
    store.decide_contact(&acting(ann), bob, ContactDecision::Blocked, NOW).await.unwrap();
    keep(store, NewMessage { reaches_out: true, ..message(ann, bob, "b", "one") }).await;
    let [of_ann, _] = store.stances(ann, bob).await.unwrap();
    assert!(!of_ann.reached_out);
}

async fn a_deleted_account_leaves_the_messages_of_others(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    keep(store, message(ann, bob, "a", "one")).await;
    keep(store, message(ann, ann, "b", "note")).await;
    let family = super::revocations::family(&fixture, ann, None).await;
    store.delete_account(&by_token(ann, family), NOW).await.unwrap();
    assert_eq!(numbers(store, bob).await, [1]);
    assert_eq!(numbers(store, ann).await, [1], "messages in the other's mailbox too");
    assert_eq!(post(store, message(bob, ann, "c", "two")).await, Posted::NoSuchUser);
    assert_eq!(post(store, message(ann, bob, "d", "two")).await, Posted::NoSuchUser);
}

async fn fifty_writers_leave_no_gap(fixture: Fixture) {
    let bob = fixture.user().await;
    let ann = fixture.user().await;
    fifty_at_once(&fixture.store, move |store, number| async move {
        let (from, to) = if number % 2 == 0 { (ann, bob) } else { (bob, ann) };
        for round in 0..4 {
            keep(&store, message(from, to, &format!("{number}-{round}"), "x")).await;
        }
    })
    .await;
    for user in [ann, bob] {
        assert_eq!(numbers(&fixture.store, user).await, (1..=200).collect::<Vec<u64>>());
    }
}

async fn committed_messages_are_delivered_in_order(fixture: Fixture) {
    let store = &fixture.store;
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let mut committed = store.committed();
    let first = posting(store, message(ann, bob, "a", "one"));
    let batch = committed.recv().await.unwrap();
    let Committed::Message(durable) = &batch[0] else { panic!() };
    let Posted::Stored(kept) = durable.answer else { panic!() };
    batch.into_iter().for_each(Committed::answer);
    assert_eq!(first.answer().await.unwrap(), Posted::Stored(kept));

    let receipt = |ids| NewReceipt {
        user: bob,
        which: Which::Ids(ids),
        is_read: false,
        device: device_of(bob),
        may_hear: Vec::new(),
        now_ms: NOW,
    };
    store.mark(receipt(vec![kept.message_id]), ReplyTo::new(drop));
    store.post(message(ann, bob, "b", "two"), ReplyTo::new(drop));
    store.mark(receipt(vec![kept.message_id]), ReplyTo::new(drop));
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        for one in committed.recv().await.unwrap() {
            kinds.push(matches!(one, Committed::Message(_)));
            one.answer();
        }
    }
    assert_eq!(kinds, [false, true, false]);
    assert_eq!(
        store.committed().try_recv().err(),
        Some(TryRecvError::Disconnected),
        "there is one who delivers"
    );
}

async fn large_messages_fill_the_queue_before_many_do(fixture: Fixture) {
    const COUNT: usize = 900;
    let (store, ann, bob) = (&fixture.store, fixture.user().await, fixture.user().await);
    let content = Bytes::from(vec![b'x'; 48 * 1024]);
    let posted = |number: usize| {
        let encrypted_content = content.clone();
        posting(store, NewMessage { encrypted_content, ..message(ann, bob, &format!("m{number}"), "") })
    };
    // Nothing is taken from the queue in between, because nothing is awaited.
    let submitted: Vec<_> = (0..COUNT).map(posted).collect();
    let answers = join_all(submitted.into_iter().map(PendingAppend::answer)).await;
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((600..COUNT).contains(&stored), "{stored}");
    posted(COUNT).answer().await.unwrap();
}

async fn concurrent_first_messages_and_decisions_lose_nothing(fixture: Fixture) {
    let store = &fixture.store;
    let users: Vec<UserId> = stream::iter(0..4).then(|_| fixture.user()).collect().await;
    let pairs = || users.iter().flat_map(|one| users.iter().map(move |other| (*one, *other)));
    for round in 0..20 {
        let posts = pairs().filter(|(one, other)| one != other).map(async |(one, other)| {
            let first =
                NewMessage { reaches_out: true, ..message(one, other, &format!("r{round}-{other}"), "") };
            posting(store, first).answer().await.map(drop)
        });
        let decisions = pairs().filter(|(one, other)| one != other).map(async |(one, other)| {
            store.decide_contact(&acting(one), other, ContactDecision::Allowed, NOW).await.map(drop)
        });
        let (posted, decided) = join(join_all(posts), join_all(decisions)).await;
        posted.into_iter().chain(decided).for_each(|outcome| outcome.unwrap());
    }
}
