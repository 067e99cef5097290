//! Contacts: how two users change their relation, and what each of them sees of it.

use aldis_protocol::{
    ContactLabel, ContactRequest, DeviceId, Fingerprint, Hash, UserId,
    api::{
        ContactDecision::{self, Allowed, Blocked},
        ContactState,
    },
};
use aldis_registry::Stance;
use uuid::Uuid;

use super::{Fixture, NOW, acting, fifty_at_once, plain_device, suite};
use crate::store::{Decided, NewRequest, Notice};

suite! {
    a_decision_is_listed_with_its_time_and_identity,
    a_request_is_listed_on_both_sides_and_leaves_a_notice,
    crossing_requests_allow_both,
    concurrent_crossing_requests_allow_both,
    a_request_to_an_unknown_user_looks_like_any_other,
    a_request_to_a_user_who_blocks_looks_like_any_other,
    a_blocked_sender_cannot_be_reached_and_is_not_listed,
    a_forgotten_contact_is_no_longer_listed,
    stances_are_those_of_each_side,
    a_decision_about_an_unknown_user_is_refused,
    the_contacts_of_a_user_are_limited,
    at_the_limit_a_request_revealed_whether_an_address_is_a_contact,
    a_thousand_strangers_hid_a_real_request,
    a_stranger_does_not_displace_a_user_who_was_answered,
    twenty_requests_of_a_user_wait,
    a_place_is_taken_by_the_typed_text,
    a_place_is_free_once_its_request_is_answered,
    a_place_is_free_once_its_request_is_withdrawn,
    a_place_is_free_after_thirty_days,
    concurrent_requests_take_twenty_places,
    requests_to_a_contact_and_a_stranger_take_the_same_place,
    a_label_is_shown_to_the_recipient,
    a_label_is_removed_with_its_request,
    a_phone_was_told_of_a_request_that_had_ended,
    the_users_who_were_reached_out_to_are_limited,
}

const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

type Listed = (UserId, ContactState, i64);

async fn listed(at: &Fixture, user: UserId) -> Vec<Listed> {
    listed_at(at, user, NOW).await
}

async fn listed_at(at: &Fixture, user: UserId, now_ms: i64) -> Vec<Listed> {
    let contacts = at.store.contacts_of(user, now_ms).await.unwrap();
    contacts.into_iter().map(|contact| (contact.user_id, contact.state, contact.since.as_ms())).collect()
}

async fn decide(at: &Fixture, user: UserId, peer: UserId, decision: ContactDecision, now_ms: i64) {
    assert_eq!(at.store.decide_contact(&acting(user), peer, decision, now_ms).await.unwrap(), Decided::Done);
}

fn typed(text: &str) -> [u8; 32] {
    Hash::of(text.as_bytes()).0
}

fn by_id(from: UserId, to: UserId) -> NewRequest {
    NewRequest { from, to, typed: typed(&to.to_string()), by_address: false, label: None }
}

fn by_address(from: UserId, to: UserId) -> NewRequest {
    NewRequest { typed: typed(&format!("{to}@example.org")), by_address: true, ..by_id(from, to) }
}

/// Whether the recipient is told of the request.
async fn asks(at: &Fixture, request: NewRequest, now_ms: i64) -> bool {
    at.store.request_contact(&acting(request.from), &request, now_ms).await.unwrap()
}

async fn ask(at: &Fixture, from: UserId, to: UserId, now_ms: i64) -> bool {
    asks(at, by_id(from, to), now_ms).await
}

async fn forget(at: &Fixture, user: UserId, peer: UserId) {
    at.store.forget_contact(&acting(user), peer, &typed(&peer.to_string()), NOW).await.unwrap();
}

async fn users<const N: usize>(at: &Fixture) -> [UserId; N] {
    let mut users = [UserId::new(Uuid::nil()); N];
    for user in &mut users {
        *user = at.user().await;
    }
    users
}

async fn phone(at: &Fixture, user_id: UserId) -> DeviceId {
    let device_id = super::device_id(&format!("phone-{user_id}"));
    let device = plain_device(&device_id);
    at.store.register_device(&acting(user_id), &device, NOW).await.unwrap();
    device_id
}

async fn a_decision_is_listed_with_its_time_and_identity(at: Fixture) {
    let (user, by_email) = (at.user().await, at.user().await);
    let by_key = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(by_key, [7; 32], NOW).await.unwrap();

    decide(&at, user, by_key, Allowed, NOW + 1).await;
    decide(&at, user, by_email, Blocked, NOW).await;
    decide(&at, user, by_key, Allowed, NOW + 9).await;
    let contacts = at.store.contacts_of(user, NOW).await.unwrap();
    assert_eq!(
        listed(&at, user).await,
        [(by_email, ContactState::Blocked, NOW), (by_key, ContactState::Allowed, NOW + 1)]
    );
    assert_eq!(contacts[0].fingerprint, None);
    assert_eq!(contacts[1].fingerprint, Some(Fingerprint::of_first_key(&[7; 32])));
    assert_eq!(listed(&at, by_key).await, []);

    decide(&at, user, by_email, Allowed, NOW + 10).await;
    assert_eq!(listed(&at, user).await[1], (by_email, ContactState::Allowed, NOW + 10));
}

async fn a_request_is_listed_on_both_sides_and_leaves_a_notice(at: Fixture) {
    let (requester, asked) = (at.user().await, at.user().await);
    let device = phone(&at, asked).await;
    assert!(ask(&at, requester, asked, NOW).await);
    assert!(!ask(&at, requester, asked, NOW + 1).await, "told once");
    assert_eq!(listed(&at, requester).await, [(asked, ContactState::Outgoing, NOW)]);
    assert_eq!(listed(&at, asked).await, [(requester, ContactState::Incoming, NOW)]);
    let notices = at.store.take_notices(asked, &device, NOW + 1).await.unwrap();
    assert_eq!(notices, [Notice::ContactRequest(ContactRequest::new(requester))]);
}

async fn crossing_requests_allow_both(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    assert!(ask(&at, one, other, NOW).await);
    assert!(ask(&at, other, one, NOW + 1).await);
    assert_eq!(listed(&at, one).await, [(other, ContactState::Allowed, NOW + 1)]);
    assert_eq!(listed(&at, other).await, [(one, ContactState::Allowed, NOW + 1)]);
    assert!(!ask(&at, one, other, NOW + 2).await);
}

async fn concurrent_crossing_requests_allow_both(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    fifty_at_once(&at.store, |store, number| async move {
        let (from, to) = if number % 2 == 0 { (one, other) } else { (other, one) };
        store.request_contact(&acting(from), &by_id(from, to), NOW).await.unwrap();
    })
    .await;
    for (user, peer) in [(one, other), (other, one)] {
        assert_eq!(listed(&at, user).await, [(peer, ContactState::Allowed, NOW)]);
    }
}

async fn a_request_to_an_unknown_user_looks_like_any_other(at: Fixture) {
    let (requester, nobody) = (at.user().await, UserId::new(Uuid::new_v4()));
    ask(&at, requester, nobody, NOW).await;
    assert_eq!(listed(&at, requester).await, [(nobody, ContactState::Outgoing, NOW)]);
    forget(&at, requester, nobody).await;
    assert_eq!(listed(&at, requester).await, []);
}

async fn a_request_to_a_user_who_blocks_looks_like_any_other(at: Fixture) {
    let (requester, blocker) = (at.user().await, at.user().await);
    decide(&at, blocker, requester, Blocked, NOW).await;
    assert!(!ask(&at, requester, blocker, NOW + 1).await);
    assert_eq!(listed(&at, requester).await, [(blocker, ContactState::Outgoing, NOW + 1)]);
    assert_eq!(listed(&at, blocker).await, [(requester, ContactState::Blocked, NOW)]);
}

async fn a_blocked_sender_cannot_be_reached_and_is_not_listed(at: Fixture) {
    let (requester, asked) = (at.user().await, at.user().await);
    ask(&at, requester, asked, NOW).await;
    decide(&at, requester, asked, Blocked, NOW + 1).await;
    assert_eq!(listed(&at, asked).await, []);
    forget(&at, requester, asked).await;
    assert_eq!(at.store.stances(requester, asked).await.unwrap(), [Stance::default(); 2]);
    assert!(!ask(&at, asked, requester, NOW + 2).await || listed(&at, requester).await.len() == 1);
}

async fn a_forgotten_contact_is_no_longer_listed(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    decide(&at, one, other, Allowed, NOW).await;
    forget(&at, one, other).await;
    assert_eq!(listed(&at, one).await, []);
    forget(&at, one, other).await;

    ask(&at, one, other, NOW).await;
    forget(&at, other, one).await;
    assert_eq!(listed(&at, other).await, [], "dismissed by the recipient");
    assert_eq!(listed(&at, one).await, [(other, ContactState::Outgoing, NOW)], "the sender cannot tell");
    forget(&at, one, other).await;
    assert_eq!(listed(&at, one).await, []);
    let reached_out = Stance { decision: None, reached_out: true };
    assert_eq!(at.store.stances(one, other).await.unwrap(), [reached_out, Stance::default()]);
}

async fn stances_are_those_of_each_side(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    assert_eq!(at.store.stances(one, other).await.unwrap(), [Stance::default(); 2]);
    decide(&at, one, other, Blocked, NOW).await;
    ask(&at, other, one, NOW).await;
    let blocks = Stance { decision: Some(Blocked), reached_out: false };
    let reached_out = Stance { decision: None, reached_out: true };
    assert_eq!(at.store.stances(one, other).await.unwrap(), [blocks, reached_out]);
    assert_eq!(at.store.stances(other, one).await.unwrap(), [reached_out, blocks]);
}

async fn a_decision_about_an_unknown_user_is_refused(at: Fixture) {
    let (user, nobody) = (at.user().await, UserId::new(Uuid::new_v4()));
    for decision in [Allowed, Blocked] {
        let decided = at.store.decide_contact(&acting(user), nobody, decision, NOW).await.unwrap();
        assert_eq!(decided, Decided::NoSuchUser);
    }
    assert_eq!(listed(&at, user).await, []);
}

/// Inserts the rows that this many decisions or requests would have left.
async fn fill(at: &Fixture, user: UserId, count: usize, allowed: Option<i64>, was_asked: Option<i64>) {
    let insert = "INSERT INTO contacts (user_id, peer_id, decision, decided_at_ms, was_asked_at_ms) \
         VALUES ($1, $2, $3, $4, $5)";
    let mut tx = at.store.db.begin().await.unwrap();
    for _ in 0..count {
        crate::store::db::within!(&mut tx, connection => {
            let query = sqlx::query(insert).bind(user.as_uuid()).bind(Uuid::new_v4());
            let query = query.bind(allowed.map(|_| Allowed.as_str())).bind(allowed).bind(was_asked);
            query.execute(connection).await.unwrap();
        });
    }
    tx.commit().await.unwrap();
}

async fn the_contacts_of_a_user_are_limited(at: Fixture) {
    let [user, old, new] = users(&at).await;
    decide(&at, user, old, Allowed, NOW).await;
    fill(&at, user, 4_999, Some(NOW), None).await;
    assert_eq!(at.store.decide_contact(&acting(user), new, Allowed, NOW).await.unwrap(), Decided::TooMany);
    decide(&at, user, old, Blocked, NOW).await;
    assert!(ask(&at, new, user, NOW).await, "others may still ask");
    assert!(!ask(&at, user, new, NOW).await, "an answer would be one contact more");
    assert_eq!(listed(&at, new).await, [(user, ContactState::Outgoing, NOW)]);
}

async fn at_the_limit_a_request_revealed_whether_an_address_is_a_contact(at: Fixture) {
    let [user, contact, stranger] = users(&at).await;
    decide(&at, user, contact, Allowed, NOW).await;
    fill(&at, user, 4_999, Some(NOW), None).await;
    let before = listed(&at, user).await;
    for to in [contact, stranger, UserId::new(Uuid::new_v4())] {
        for request in [by_address(user, to), by_id(user, to)] {
            assert!(!asks(&at, request, NOW).await);
        }
    }
    assert_eq!(listed(&at, user).await, before);
    assert_eq!((listed(&at, contact).await, listed(&at, stranger).await), (vec![], vec![]));

    // With one place left in the list, neither kind of request may take it.
    forget(&at, user, contact).await;
    assert!(asks(&at, by_address(user, contact), NOW).await);
    decide(&at, user, stranger, Allowed, NOW).await;
    forget(&at, user, stranger).await;
    decide(&at, user, contact, Allowed, NOW).await;
}

async fn a_thousand_strangers_hid_a_real_request(at: Fixture) {
    let [user, requester] = users(&at).await;
    let device = phone(&at, user).await;
    fill(&at, user, 1_000, None, Some(NOW - 1)).await;
    assert!(ask(&at, requester, user, NOW).await);
    assert_eq!(listed(&at, requester).await, [(user, ContactState::Outgoing, NOW)]);
    let waiting = listed(&at, user).await;
    assert_eq!((waiting.len(), waiting.last()), (1_000, Some(&(requester, ContactState::Incoming, NOW))));
    assert_eq!(at.store.take_notices(user, &device, NOW).await.unwrap().len(), 1);
    decide(&at, user, requester, Allowed, NOW + 1).await;
    assert_eq!(listed(&at, requester).await, [(user, ContactState::Allowed, NOW + 1)]);
}

async fn a_stranger_does_not_displace_a_user_who_was_answered(at: Fixture) {
    let [user, removed, written_to, first, second, third] = users(&at).await;
    decide(&at, user, removed, Allowed, NOW - 9).await;
    forget(&at, user, removed).await;
    reach_out(&at, &[(user, written_to)], NOW - 9).await;
    for (friend, at_ms) in [(removed, NOW - 6), (written_to, NOW - 5)] {
        assert!(ask(&at, friend, user, at_ms).await);
    }
    fill(&at, user, 998, None, Some(NOW - 1)).await;
    assert!(ask(&at, first, user, NOW).await);
    let is_waiting = async |requester| {
        let waiting = listed(&at, user).await;
        assert_eq!(waiting.len(), 1_000);
        waiting.iter().any(|(peer, _, _)| *peer == requester)
    };
    assert!(is_waiting(removed).await && is_waiting(written_to).await && is_waiting(first).await);

    // If the user has answered all who wait, a stranger's request is not heard.
    let mut tx = at.store.db.begin().await.unwrap();
    let answered = "UPDATE contacts SET answered_at_ms = $2 WHERE user_id = $1";
    crate::store::db::within!(&mut tx, connection => {
        sqlx::query(answered).bind(user.as_uuid()).bind(NOW).execute(connection).await.unwrap();
    });
    tx.commit().await.unwrap();
    assert!(!ask(&at, second, user, NOW + 1).await);
    assert!(!is_waiting(second).await);
    reach_out(&at, &[(user, third)], NOW).await;
    assert!(ask(&at, third, user, NOW + 1).await, "a user who was answered is heard");
    assert!(is_waiting(third).await && !is_waiting(removed).await);
}

async fn twenty_requests_of_a_user_wait(at: Fixture) {
    let requester = at.user().await;
    for number in 0..20 {
        let to = at.user().await;
        let request = if number % 2 == 0 { by_id(requester, to) } else { by_address(requester, to) };
        assert!(asks(&at, request, NOW).await);
    }
    let [late, allows] = users(&at).await;
    assert!(!ask(&at, requester, late, NOW).await);
    assert!(!asks(&at, by_address(requester, late), NOW).await);
    assert_eq!(listed(&at, late).await, []);
    assert_eq!(listed(&at, requester).await.len(), 10, "requests by id");
    assert_eq!(at.store.stances(requester, late).await.unwrap(), [Stance::default(); 2]);
    // An answer takes no place.
    ask(&at, allows, requester, NOW).await;
    assert!(asks(&at, by_address(requester, allows), NOW).await);
    assert_eq!(listed(&at, allows).await, [(requester, ContactState::Allowed, NOW)]);
}

/// How many more requests of a user the recipients would be told of.
async fn free_places(at: &Fixture, requester: UserId, now_ms: i64) -> usize {
    let mut requests = Vec::new();
    loop {
        let to = at.user().await;
        if !ask(at, requester, to, now_ms).await {
            break;
        }
        requests.push(to);
    }
    for to in &requests {
        at.store.forget_contact(&acting(requester), *to, &typed(&to.to_string()), now_ms).await.unwrap();
    }
    requests.len()
}

async fn a_place_is_taken_by_the_typed_text(at: Fixture) {
    let [requester, asked] = users(&at).await;
    let nobody = UserId::new(Uuid::new_v4());
    let by_fingerprint = NewRequest { typed: typed("fingerprint"), ..by_id(requester, asked) };
    let unknown = NewRequest { by_address: true, ..by_id(requester, nobody) };
    let requests = [by_id(requester, asked), by_address(requester, asked), by_fingerprint, unknown];
    for (taken, request) in requests.iter().enumerate() {
        assert_eq!(free_places(&at, requester, NOW).await, 20 - taken);
        for _ in 0..3 {
            asks(&at, request.clone(), NOW).await;
        }
    }
    assert_eq!(free_places(&at, requester, NOW).await, 16);
}

async fn a_place_is_free_once_its_request_is_answered(at: Fixture) {
    let [requester, allows, asks_back, blocks, sets_aside] = users(&at).await;
    for to in [allows, asks_back, blocks, sets_aside] {
        asks(&at, by_id(requester, to), NOW).await;
        asks(&at, by_address(requester, to), NOW).await;
    }
    assert_eq!(free_places(&at, requester, NOW).await, 12);
    decide(&at, blocks, requester, Blocked, NOW).await;
    forget(&at, sets_aside, requester).await;
    assert_eq!(free_places(&at, requester, NOW).await, 12, "the sender cannot tell");
    decide(&at, allows, requester, Allowed, NOW).await;
    assert_eq!(free_places(&at, requester, NOW).await, 14);
    asks(&at, by_address(asks_back, requester), NOW).await;
    assert_eq!(free_places(&at, requester, NOW).await, 16);
    assert_eq!(free_places(&at, asks_back, NOW).await, 20, "an answer takes none");
}

async fn a_place_is_free_once_its_request_is_withdrawn(at: Fixture) {
    let [requester, asked] = users(&at).await;
    let take_back = async |typed: &[u8; 32]| {
        at.store.take_back_request(&acting(requester), asked, typed, NOW).await.unwrap();
    };
    for request in [by_id(requester, asked), by_address(requester, asked)] {
        asks(&at, request, NOW).await;
    }
    forget(&at, requester, asked).await;
    assert_eq!(free_places(&at, requester, NOW).await, 19, "a request by address keeps its place");
    assert_eq!(listed(&at, asked).await, [(requester, ContactState::Incoming, NOW)]);
    take_back(&by_address(requester, asked).typed).await;
    assert_eq!(free_places(&at, requester, NOW).await, 20);
    assert_eq!(listed(&at, asked).await, []);

    // A withdrawal by address does nothing else, because that would reveal the owner of the address.
    decide(&at, requester, asked, Allowed, NOW).await;
    take_back(&by_address(requester, asked).typed).await;
    assert_eq!(listed(&at, requester).await, [(asked, ContactState::Allowed, NOW)]);
    forget(&at, requester, asked).await;
    ask(&at, requester, asked, NOW).await;
    take_back(&by_address(requester, asked).typed).await;
    assert_eq!(listed(&at, requester).await, [(asked, ContactState::Outgoing, NOW)]);

    decide(&at, requester, asked, Blocked, NOW).await;
    assert_eq!(free_places(&at, requester, NOW).await, 20, "a block withdraws the request too");
}

async fn a_place_is_free_after_thirty_days(at: Fixture) {
    let [requester, by_id_asked, by_address_asked] = users(&at).await;
    ask(&at, requester, by_id_asked, NOW).await;
    asks(&at, by_address(requester, by_address_asked), NOW).await;
    let end = NOW + MONTH_MS;
    ask(&at, requester, by_id_asked, end - 1).await;
    assert_eq!(free_places(&at, requester, end - 1).await, 18);
    assert_eq!(listed_at(&at, by_id_asked, end - 1).await.len(), 1);
    for _ in 0..2 {
        assert_eq!(free_places(&at, requester, end).await, 20);
        for user in [requester, by_id_asked, by_address_asked] {
            assert_eq!(listed_at(&at, user, end).await, []);
        }
        at.store.sweep(end).await.unwrap();
    }
    decide(&at, by_id_asked, requester, Allowed, end).await;
    assert_eq!(listed_at(&at, requester, end).await, [], "there is nothing to answer");
    assert!(asks(&at, by_address(requester, by_address_asked), end).await, "asked again");
}

async fn concurrent_requests_take_twenty_places(at: Fixture) {
    let requester = at.user().await;
    let told = fifty_at_once(&at.store, |store, number| async move {
        let to = UserId::new(Uuid::from_u128(u128::from(number) + 1));
        store.request_contact(&acting(requester), &by_id(requester, to), NOW).await.unwrap()
    })
    .await;
    assert_eq!(told.into_iter().filter(|told| *told).count(), 20);
    assert_eq!(listed(&at, requester).await.len(), 20);
}

async fn requests_to_a_contact_and_a_stranger_take_the_same_place(at: Fixture) {
    let [requester, contact, one_way, blocked, stranger] = users(&at).await;
    decide(&at, requester, contact, Allowed, NOW).await;
    decide(&at, contact, requester, Allowed, NOW).await;
    decide(&at, requester, one_way, Allowed, NOW).await;
    decide(&at, requester, blocked, Blocked, NOW).await;
    let before = listed(&at, requester).await;
    let nobody = UserId::new(Uuid::new_v4());
    for (taken, to) in [contact, one_way, blocked, stranger, nobody].into_iter().enumerate() {
        assert_eq!(free_places(&at, requester, NOW).await, 20 - taken, "{taken}");
        asks(&at, by_address(requester, to), NOW).await;
        assert_eq!(listed(&at, requester).await, before);
    }
}

async fn labels(at: &Fixture, user: UserId) -> Vec<Option<String>> {
    let contacts = at.store.contacts_of(user, NOW).await.unwrap();
    contacts.into_iter().map(|contact| contact.label.map(|label| label.to_string())).collect()
}

fn named(request: NewRequest, label: &str) -> NewRequest {
    NewRequest { label: Some(ContactLabel::new(label).unwrap()), ..request }
}

async fn a_label_is_shown_to_the_recipient(at: Fixture) {
    let [ann, bob] = users(&at).await;
    let device = phone(&at, bob).await;
    assert!(asks(&at, named(by_address(ann, bob), "Ann \"A\" \u{5d0}"), NOW).await);
    let label = Some(ContactLabel::new("Ann \"A\" \u{5d0}").unwrap());
    let notice = Notice::ContactRequest(ContactRequest::new(ann).with_label(label));
    assert_eq!(at.store.take_notices(bob, &device, NOW).await.unwrap(), [notice]);
    assert_eq!(labels(&at, bob).await, [Some("Ann \"A\" \u{5d0}".to_owned())]);
    assert_eq!(labels(&at, ann).await, []);
    // Both have given a name.
    assert!(asks(&at, named(by_id(bob, ann), "Bob"), NOW).await);
    assert_eq!(labels(&at, bob).await, [Some("Ann \"A\" \u{5d0}".to_owned())]);
    assert_eq!(labels(&at, ann).await, [Some("Bob".to_owned())]);
    asks(&at, named(by_id(ann, bob), "Somebody else"), NOW).await;
    assert_eq!(labels(&at, bob).await, [Some("Ann \"A\" \u{5d0}".to_owned())]);
}

async fn a_label_is_removed_with_its_request(at: Fixture) {
    let [ann, bob] = users(&at).await;
    asks(&at, named(by_id(ann, bob), "Ann"), NOW).await;
    forget(&at, ann, bob).await;
    asks(&at, by_id(ann, bob), NOW).await;
    assert_eq!(labels(&at, bob).await, [None]);
    asks(&at, named(by_id(ann, bob), "Ann B."), NOW).await;
    assert_eq!(labels(&at, bob).await, [Some("Ann B.".to_owned())]);
    decide(&at, bob, ann, Blocked, NOW).await;
    asks(&at, named(by_id(ann, bob), "Let me in"), NOW).await;
    assert_eq!(labels(&at, bob).await, [Some("Ann B.".to_owned())], "as when the user blocked them");
    forget(&at, bob, ann).await;
    decide(&at, bob, ann, Allowed, NOW).await;
    assert_eq!(labels(&at, bob).await, [None]);
}

async fn a_phone_was_told_of_a_request_that_had_ended(at: Fixture) {
    let [asked, taken_back, by_email, set_aside, blocked, waiting] = users(&at).await;
    let device = phone(&at, asked).await;
    for from in [taken_back, set_aside, blocked, waiting] {
        ask(&at, from, asked, NOW).await;
    }
    for request in [by_address(by_email, asked), by_address(waiting, asked)] {
        asks(&at, request, NOW).await;
    }
    forget(&at, taken_back, asked).await;
    forget(&at, asked, set_aside).await;
    decide(&at, asked, blocked, Blocked, NOW).await;
    for from in [by_email, waiting] {
        let typed = by_address(from, asked).typed;
        at.store.take_back_request(&acting(from), asked, &typed, NOW).await.unwrap();
    }
    let told = Notice::ContactRequest(ContactRequest::new(waiting));
    assert_eq!(at.store.take_notices(asked, &device, NOW).await.unwrap(), [told]);
}

async fn the_users_who_were_reached_out_to_are_limited(at: Fixture) {
    let (user, old, new) = (at.user().await, at.user().await, at.user().await);
    let others: Vec<_> = (0..999).map(|_| (user, UserId::new(Uuid::new_v4()))).collect();
    let has_reached = async |peer| at.store.stances(user, peer).await.unwrap()[0].reached_out;
    for (pairs, now_ms) in [(&[(user, old)][..], NOW), (&others, NOW + 1)] {
        reach_out(&at, pairs, now_ms).await;
    }
    assert!(has_reached(old).await);
    reach_out(&at, &[(user, new), (new, user)], NOW + 2).await;
    assert_eq!(
        [has_reached(old).await, has_reached(others[0].1).await, has_reached(new).await],
        [false, true, true]
    );
}

async fn reach_out(at: &Fixture, pairs: &[(UserId, UserId)], now_ms: i64) {
    let mut tx = at.store.db.begin().await.unwrap();
    crate::store::contacts::reach_out(&mut tx, pairs, now_ms).await.unwrap();
    tx.commit().await.unwrap();
}
