//! Chat messages of rooms: numbers, repetitions, pages, and expiry.

use aldis_protocol::{
    Fingerprint, Payload, RoomId, Sender, SessionId, Timestamp, UserId, limits::MAX_HISTORY_BYTES,
};
use futures::future::join_all;
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, device_id, rooms::new_room, suite};
use crate::store::{NewChat, PendingAppend, RoomPage, Said, Store, StoreError, StoreOptions};

suite! {
    a_message_is_stored_unchanged,
    numbers_of_many_writers_have_no_gaps,
    two_nodes_number_one_room_without_gaps,
    a_repetition_gets_the_first_number,
    the_same_id_with_another_content_is_a_conflict,
    repetitions_in_one_batch_are_recognised,
    the_same_id_is_another_message_elsewhere,
    messages_without_an_id_are_never_repetitions,
    an_unknown_room_accepts_no_message,
    times_do_not_go_back,
    pages_follow_each_other,
    the_bytes_of_a_page_are_limited,
    no_more_than_ten_thousand_are_kept,
    nothing_is_kept_for_more_than_thirty_days,
    a_swept_message_no_longer_blocks_its_id,
    the_sweep_deletes_messages_of_deleted_rooms,
}

const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

fn name(text: &str) -> RoomId {
    text.parse().unwrap()
}

async fn room(at: &Fixture, text: &str) -> UserId {
    let owner = at.user().await;
    at.store.create_room(&acting(owner), &new_room(text), NOW).await.unwrap();
    owner
}

fn chat(user: UserId, id: Option<&str>, payload: &str) -> NewChat {
    NewChat {
        room: name("room"),
        sender: Sender::new(device_id("phone"), user),
        request: id.map(|id| id.parse().unwrap()),
        session: SessionId::new(Uuid::nil()),
        payload: Payload::from_bytes(payload.to_owned().into()).unwrap(),
        now_ms: NOW,
    }
}

async fn say(at: &Fixture, chat: NewChat) -> Said {
    say_in(&at.store, chat).await.unwrap()
}

/// Queues at the call, before the future is polled.
fn say_in(store: &Store, chat: NewChat) -> impl Future<Output = Result<Said, StoreError>> {
    PendingAppend::by(|reply| store.say(chat, reply)).answer()
}

fn stored(seq: u64) -> Said {
    Said::Stored { seq, at: Timestamp::from_ms(NOW) }
}

async fn page_at(at: &Fixture, since: u64, limit: u32, now_ms: i64) -> RoomPage {
    at.store.room_history(&name("room"), since, limit, MAX_HISTORY_BYTES, now_ms).await.unwrap().unwrap()
}

async fn page(at: &Fixture, since: u64, limit: u32) -> RoomPage {
    page_at(at, since, limit, NOW).await
}

fn seqs(page: &RoomPage) -> Vec<u64> {
    page.messages.iter().map(|entry| entry.message.seq).collect()
}

async fn a_message_is_stored_unchanged(at: Fixture) {
    let user = room(&at, "room").await;
    let empty = page(&at, 0, 100).await;
    assert_eq!((seqs(&empty), empty.complete, empty.first_seq), (vec![], true, 1));

    let sender = Sender::new("~01900000-0000-7000-8000-000000000001".parse().unwrap(), user)
        .with_fingerprint(Fingerprint([7; 32]));
    let said = NewChat { sender: sender.clone(), ..chat(user, Some("m-1"), r#"{ "content" : "hi" } "#) };
    assert_eq!(say(&at, said).await, stored(1));
    assert_eq!(say(&at, chat(user, None, "2")).await, stored(2));
    let all = page(&at, 0, 100).await;
    assert_eq!((seqs(&all), all.complete, all.first_seq), (vec![1, 2], true, 1));
    let first = &all.messages[0];
    assert_eq!(first.id, Some("m-1".parse().unwrap()));
    assert_eq!((first.timestamp.as_ms(), &first.message.sender), (NOW, &sender));
    assert_eq!(
        (&first.message.room, first.message.payload.as_bytes()),
        (&name("room"), &br#"{ "content" : "hi" } "#[..])
    );
    assert_eq!(all.messages[1].id, None);
}

async fn numbers_of_many_writers_have_no_gaps(at: Fixture) {
    let user = room(&at, "room").await;
    let said = (0..1_000).map(|number| say_in(&at.store, chat(user, None, &number.to_string())));
    let mut seqs: Vec<u64> = join_all(said).await.into_iter().map(|outcome| seq(outcome.unwrap())).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=1_000).collect::<Vec<_>>());
    let page = page(&at, 990, 500).await;
    assert_eq!((self::seqs(&page), page.complete), ((991..=1_000).collect(), true));
}

fn seq(outcome: Said) -> u64 {
    match outcome {
        Said::Stored { seq, .. } => seq,
        Said::Duplicate { .. } | Said::Conflict | Said::NoRoom => panic!("{outcome:?}"),
    }
}

async fn two_nodes_number_one_room_without_gaps(at: Fixture) {
    let user = room(&at, "room").await;
    at.store.create_room(&acting(user), &new_room("other"), NOW).await.unwrap();
    let beside = Store::open(&at.url, &StoreOptions::default()).await.unwrap();
    let said = (0..400).map(|number| {
        let store = if number % 2 == 0 { &*at.store } else { &beside };
        let room = if number % 3 == 0 { "other" } else { "room" };
        say_in(store, NewChat { room: name(room), ..chat(user, Some(&format!("m-{number}")), "1") })
    });
    for outcome in join_all(said).await {
        seq(outcome.unwrap());
    }
    assert_eq!(seqs(&page(&at, 0, 500).await), (1..=266).collect::<Vec<_>>());
    let other = beside.room_history(&name("other"), 0, 500, MAX_HISTORY_BYTES, NOW).await.unwrap().unwrap();
    assert_eq!(seqs(&other), (1..=134).collect::<Vec<_>>());
    beside.close().await;
}

async fn a_repetition_gets_the_first_number(at: Fixture) {
    let user = room(&at, "room").await;
    for number in 1..=3 {
        let said = chat(user, Some(&format!("m-{number}")), "1");
        assert_eq!(say(&at, said).await, stored(number));
    }
    let later = NewChat { now_ms: NOW + 9, ..chat(user, Some("m-2"), "1") };
    assert_eq!(say(&at, later).await, Said::Duplicate { seq: 2 });
    assert_eq!(say(&at, chat(user, None, "4")).await, stored(4));
    assert_eq!(seqs(&page(&at, 0, 100).await), [1, 2, 3, 4]);
}

async fn the_same_id_with_another_content_is_a_conflict(at: Fixture) {
    let user = room(&at, "room").await;
    assert_eq!(say(&at, chat(user, Some("m"), "1")).await, stored(1));
    assert_eq!(say(&at, chat(user, Some("m"), "1 ")).await, Said::Conflict);
    assert_eq!(say(&at, chat(user, Some("n"), "1")).await, stored(2));
}

async fn repetitions_in_one_batch_are_recognised(at: Fixture) {
    let user = room(&at, "room").await;
    assert_eq!(say(&at, chat(user, Some("old"), "1")).await, stored(1));
    let said = [
        (Some("old"), "1"),
        (Some("new"), "2"),
        (None, "3"),
        (Some("new"), "2"),
        (Some("new"), "5"),
        (Some("old"), "5"),
        (Some("last"), "4"),
    ];
    let outcomes = join_all(said.map(|(id, payload)| say_in(&at.store, chat(user, id, payload)))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    let expected = [
        Said::Duplicate { seq: 1 },
        stored(2),
        stored(3),
        Said::Duplicate { seq: 2 },
        Said::Conflict,
        Said::Conflict,
        stored(4),
    ];
    assert_eq!(outcomes, expected);
    let all = page(&at, 0, 100).await;
    let payloads: Vec<_> = all.messages.iter().map(|entry| entry.message.payload.as_bytes()).collect();
    assert_eq!(payloads, [b"1", b"2", b"3", b"4"]);
}

async fn the_same_id_is_another_message_elsewhere(at: Fixture) {
    let user = room(&at, "room").await;
    at.store.create_room(&acting(user), &new_room("other"), NOW).await.unwrap();
    let said = chat(user, Some("m"), "1");
    let elsewhere = NewChat { room: name("other"), ..said.clone() };
    let mut by_another = said.clone();
    by_another.sender.device_id = device_id("laptop");
    for (chat, expected) in [(said, 1), (elsewhere, 1), (by_another, 2)] {
        assert_eq!(say(&at, chat).await, stored(expected));
    }
}

async fn messages_without_an_id_are_never_repetitions(at: Fixture) {
    let user = room(&at, "room").await;
    for number in 1..=3 {
        assert_eq!(say(&at, chat(user, None, "1")).await, stored(number));
    }
}

async fn an_unknown_room_accepts_no_message(at: Fixture) {
    let user = room(&at, "room").await;
    let nowhere = NewChat { room: name("nowhere"), ..chat(user, Some("m"), "1") };
    let said = [nowhere.clone(), chat(user, Some("m"), "1"), nowhere].map(|chat| say_in(&at.store, chat));
    let outcomes: Vec<_> = join_all(said).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [Said::NoRoom, stored(1), Said::NoRoom]);
    assert_eq!(at.store.room_history(&name("nowhere"), 0, 100, MAX_HISTORY_BYTES, NOW).await.unwrap(), None);
}

async fn times_do_not_go_back(at: Fixture) {
    let user = room(&at, "room").await;
    for (now_ms, at_ms) in [(NOW + 5, NOW + 5), (NOW, NOW + 5), (NOW + 6, NOW + 6)] {
        let outcome = say(&at, NewChat { now_ms, ..chat(user, None, "1") }).await;
        assert!(matches!(outcome, Said::Stored { at, .. } if at.as_ms() == at_ms), "{outcome:?}");
    }
}

async fn pages_follow_each_other(at: Fixture) {
    let user = room(&at, "room").await;
    for _ in 0..10 {
        say(&at, chat(user, None, "1")).await;
    }
    for (since, limit, expected, complete) in
        [(0, 4, 1..=4, false), (4, 4, 5..=8, false), (8, 4, 9..=10, true), (6, 4, 7..=10, true)]
    {
        let page = page(&at, since, limit).await;
        assert_eq!((seqs(&page), page.complete), (expected.collect(), complete), "since {since}");
    }
    for since in [10, 11, u64::MAX] {
        let page = page(&at, since, 4).await;
        assert_eq!((seqs(&page), page.complete, page.first_seq), (vec![], true, 1));
    }
}

async fn the_bytes_of_a_page_are_limited(at: Fixture) {
    let user = room(&at, "room").await;
    let long = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..7 {
        say(&at, chat(user, None, &long)).await;
    }
    let first = page(&at, 0, 500).await;
    assert_eq!((seqs(&first), first.complete), (vec![1, 2, 3, 4, 5], false), "256 KiB and one message");
    let rest = page(&at, 5, 500).await;
    assert_eq!((seqs(&rest), rest.complete), (vec![6, 7], true));
}

/// Makes a room look as if it had stored this many messages.
async fn fill(at: &Fixture, user: UserId, count: i64, at_ms: i64) {
    say(at, NewChat { now_ms: at_ms, ..chat(user, Some("first"), "0") }).await;
    let insert = "INSERT INTO chat_messages (room_id, seq, sender_device_id, sender_user_id, payload, created_at_ms) \
         WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
         SELECT m.room_id, n, m.sender_device_id, m.sender_user_id, m.payload, m.created_at_ms \
         FROM numbers, chat_messages m WHERE m.seq = 1";
    let mut tx = at.store.db.begin().await.unwrap();
    crate::store::db::within!(&mut tx, connection => {
        sqlx::query(insert).bind(count).execute(&mut *connection).await.unwrap();
        sqlx::query("UPDATE rooms SET last_seq = $1").bind(count).execute(connection).await.unwrap();
    });
    tx.commit().await.unwrap();
}

async fn no_more_than_ten_thousand_are_kept(at: Fixture) {
    let user = room(&at, "room").await;
    fill(&at, user, 11_001, NOW).await;
    for swept in [false, true] {
        let page = page(&at, 0, 2).await;
        assert_eq!(
            (seqs(&page), page.complete, page.first_seq),
            (vec![1_002, 1_003], false, 1_002),
            "{swept}"
        );
        if !swept {
            assert_eq!(at.store.sweep(NOW).await.unwrap(), 1_001);
        }
    }
    assert_eq!(at.store.sweep(NOW).await.unwrap(), 0);
    assert_eq!(say(&at, chat(user, None, "1")).await, stored(11_002));
    assert_eq!(page(&at, 0, 1).await.first_seq, 1_003);
}

async fn nothing_is_kept_for_more_than_thirty_days(at: Fixture) {
    let user = room(&at, "room").await;
    for at_ms in [NOW, NOW + 1, NOW + 2] {
        say(&at, NewChat { now_ms: at_ms, ..chat(user, None, "1") }).await;
    }
    let now_ms = NOW + 1 + MONTH_MS;
    for swept in [false, true] {
        let left = page_at(&at, 0, 100, now_ms).await;
        assert_eq!((seqs(&left), left.first_seq), (vec![3], 3), "{swept}");
        if !swept {
            assert_eq!(at.store.sweep(now_ms).await.unwrap(), 2);
        }
    }
    let now_ms = now_ms + 1;
    for swept in [false, true] {
        let left = page_at(&at, 0, 100, now_ms).await;
        assert_eq!((seqs(&left), left.complete, left.first_seq), (vec![], true, 4), "{swept}");
        if !swept {
            assert_eq!(at.store.sweep(now_ms).await.unwrap(), 1);
        }
    }
    assert!(matches!(say(&at, chat(user, None, "1")).await, Said::Stored { seq: 4, .. }));
}

async fn a_swept_message_no_longer_blocks_its_id(at: Fixture) {
    let user = room(&at, "room").await;
    fill(&at, user, 10_001, NOW).await;
    assert_eq!(at.store.sweep(NOW).await.unwrap(), 1);
    assert_eq!(say(&at, chat(user, Some("first"), "0")).await, stored(10_002));
}

async fn the_sweep_deletes_messages_of_deleted_rooms(at: Fixture) {
    let user = room(&at, "room").await;
    fill(&at, user, 1_200, NOW).await;
    let family = at.sign_in(user).await;
    at.store.delete_account(&by_token(user, family), NOW).await.unwrap();
    assert_eq!(say(&at, chat(user, None, "1")).await, Said::NoRoom);
    assert_eq!(at.store.room_history(&name("room"), 0, 100, MAX_HISTORY_BYTES, NOW).await.unwrap(), None);
    assert_eq!(at.store.sweep(NOW).await.unwrap(), 1_201);
    assert_eq!(at.store.sweep(NOW).await.unwrap(), 0);
}
