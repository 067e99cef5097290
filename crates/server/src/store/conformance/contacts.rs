//! Contacts: what two users do about each other, and what each of them sees of it.

use aldis_protocol::{
    ContactRequest, Fingerprint, UserId,
    api::{
        ContactDecision::{self, Allowed, Blocked},
        ContactState,
    },
};
use aldis_registry::Stance;
use uuid::Uuid;

use super::{Fixture, NOW, fifty_at_once, suite};
use crate::store::{Decided, NewDevice, NewRequest, Notice, Recipients, Requested};

suite! {
    a_decision_is_listed_with_its_time_and_identity,
    a_request_is_listed_on_both_sides_and_leaves_a_notice,
    requests_that_cross_allow_both,
    requests_that_cross_at_once_allow_both,
    a_request_to_nobody_looks_like_any_other,
    a_request_to_whoever_blocked_looks_like_any_other,
    a_blocked_asker_is_not_reached_back_and_not_listed,
    what_is_forgotten_is_no_longer_listed,
    stances_are_those_of_each_side,
    a_decision_about_nobody_is_refused,
    a_user_has_so_many_contacts_at_most,
    a_users_list_takes_so_many_requests,
    so_many_are_remembered_who_were_reached_out_to,
}

type Listed = (UserId, ContactState, i64);

async fn listed(at: &Fixture, user: UserId) -> Vec<Listed> {
    let contacts = at.store.contacts_of(user).await.unwrap();
    contacts.into_iter().map(|contact| (contact.user_id, contact.state, contact.since.as_ms())).collect()
}

async fn decide(at: &Fixture, user: UserId, peer: UserId, decision: ContactDecision, now_ms: i64) {
    assert_eq!(at.store.decide_contact(user, peer, decision, now_ms).await.unwrap(), Decided::Done);
}

async fn ask(at: &Fixture, from: UserId, to: UserId, now_ms: i64) -> bool {
    let request = NewRequest { from, to, by_address: false };
    match at.store.request_contact(request, &Recipients::default(), now_ms).await.unwrap() {
        Requested::Noted { told } => told,
        Requested::TooMany => panic!("the asker has no room"),
    }
}

async fn a_decision_is_listed_with_its_time_and_identity(at: Fixture) {
    let (user, by_email) = (at.user().await, at.user().await);
    let by_key = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(by_key, [7; 32], NOW).await.unwrap();

    decide(&at, user, by_key, Allowed, NOW + 1).await;
    decide(&at, user, by_email, Blocked, NOW).await;
    decide(&at, user, by_key, Allowed, NOW + 9).await;
    let contacts = at.store.contacts_of(user).await.unwrap();
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
    let (asker, asked) = (at.user().await, at.user().await);
    let device = NewDevice {
        device_id: super::device_id("phone"),
        user_id: asked,
        pubkey: None,
        name: None,
        created_at_ms: NOW,
        signature: None,
        family: None,
    };
    at.store.register_device(&device, NOW).await.unwrap();
    assert!(ask(&at, asker, asked, NOW).await);
    assert!(!ask(&at, asker, asked, NOW + 1).await, "told once");
    assert_eq!(listed(&at, asker).await, [(asked, ContactState::Outgoing, NOW)]);
    assert_eq!(listed(&at, asked).await, [(asker, ContactState::Incoming, NOW)]);
    let notices = at.store.take_notices(asked, &device.device_id, NOW + 1).await.unwrap();
    assert_eq!(notices, [Notice::ContactRequest(ContactRequest { user_id: asker })]);
}

async fn requests_that_cross_allow_both(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    assert!(ask(&at, one, other, NOW).await);
    assert!(ask(&at, other, one, NOW + 1).await);
    assert_eq!(listed(&at, one).await, [(other, ContactState::Allowed, NOW + 1)]);
    assert_eq!(listed(&at, other).await, [(one, ContactState::Allowed, NOW + 1)]);
    assert!(!ask(&at, one, other, NOW + 2).await);
}

async fn requests_that_cross_at_once_allow_both(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    fifty_at_once(&at.store, |store, number| async move {
        let (from, to) = if number % 2 == 0 { (one, other) } else { (other, one) };
        let request = NewRequest { from, to, by_address: false };
        store.request_contact(request, &Recipients::default(), NOW).await.unwrap();
    })
    .await;
    for (user, peer) in [(one, other), (other, one)] {
        assert_eq!(listed(&at, user).await, [(peer, ContactState::Allowed, NOW)]);
    }
}

async fn a_request_to_nobody_looks_like_any_other(at: Fixture) {
    let (asker, nobody) = (at.user().await, UserId::new(Uuid::new_v4()));
    ask(&at, asker, nobody, NOW).await;
    assert_eq!(listed(&at, asker).await, [(nobody, ContactState::Outgoing, NOW)]);
    at.store.forget_contact(asker, nobody, NOW).await.unwrap();
    assert_eq!(listed(&at, asker).await, []);
}

async fn a_request_to_whoever_blocked_looks_like_any_other(at: Fixture) {
    let (asker, blocker) = (at.user().await, at.user().await);
    decide(&at, blocker, asker, Blocked, NOW).await;
    assert!(!ask(&at, asker, blocker, NOW + 1).await);
    assert_eq!(listed(&at, asker).await, [(blocker, ContactState::Outgoing, NOW + 1)]);
    assert_eq!(listed(&at, blocker).await, [(asker, ContactState::Blocked, NOW)]);
}

async fn a_blocked_asker_is_not_reached_back_and_not_listed(at: Fixture) {
    let (asker, asked) = (at.user().await, at.user().await);
    ask(&at, asker, asked, NOW).await;
    decide(&at, asker, asked, Blocked, NOW + 1).await;
    assert_eq!(listed(&at, asked).await, []);
    at.store.forget_contact(asker, asked, NOW).await.unwrap();
    assert_eq!(at.store.stances(asker, asked).await.unwrap(), [Stance::default(); 2]);
    assert!(!ask(&at, asked, asker, NOW + 2).await || listed(&at, asker).await.len() == 1);
}

async fn what_is_forgotten_is_no_longer_listed(at: Fixture) {
    let (one, other) = (at.user().await, at.user().await);
    decide(&at, one, other, Allowed, NOW).await;
    at.store.forget_contact(one, other, NOW).await.unwrap();
    assert_eq!(listed(&at, one).await, []);
    at.store.forget_contact(one, other, NOW).await.unwrap();

    ask(&at, one, other, NOW).await;
    at.store.forget_contact(other, one, NOW).await.unwrap();
    assert_eq!(listed(&at, other).await, [], "set aside by who was asked");
    assert_eq!(listed(&at, one).await, [(other, ContactState::Outgoing, NOW)], "who asked cannot tell");
    at.store.forget_contact(one, other, NOW).await.unwrap();
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

async fn a_decision_about_nobody_is_refused(at: Fixture) {
    let (user, nobody) = (at.user().await, UserId::new(Uuid::new_v4()));
    for decision in [Allowed, Blocked] {
        let decided = at.store.decide_contact(user, nobody, decision, NOW).await.unwrap();
        assert_eq!(decided, Decided::NoSuchUser);
    }
    assert_eq!(listed(&at, user).await, []);
}

/// Rows as so many requests would have left them.
async fn fill(at: &Fixture, user: UserId, count: usize, asked: Option<i64>, was_asked: Option<i64>) {
    let insert = "INSERT INTO contacts (user_id, peer_id, asked_at_ms, asked_by_address, was_asked_at_ms) \
         VALUES ($1, $2, $3, $4, $5)";
    let mut tx = at.store.db.begin().await.unwrap();
    for _ in 0..count {
        crate::store::db::within!(&mut tx, connection => {
            let query = sqlx::query(insert).bind(user.as_uuid()).bind(Uuid::new_v4()).bind(asked);
            query.bind(false).bind(was_asked).execute(connection).await.unwrap();
        });
    }
    tx.commit().await.unwrap();
}

async fn a_user_has_so_many_contacts_at_most(at: Fixture) {
    let (user, old, new) = (at.user().await, at.user().await, at.user().await);
    decide(&at, user, old, Allowed, NOW).await;
    fill(&at, user, 4_999, Some(NOW), None).await;
    assert_eq!(at.store.decide_contact(user, new, Allowed, NOW).await.unwrap(), Decided::TooMany);
    let request = NewRequest { from: user, to: new, by_address: true };
    let requested = at.store.request_contact(request, &Recipients::default(), NOW).await.unwrap();
    assert_eq!(requested, Requested::TooMany);
    assert_eq!(listed(&at, new).await, []);
    decide(&at, user, old, Blocked, NOW).await;
    assert!(ask(&at, new, user, NOW).await, "others may still ask");
}

async fn a_users_list_takes_so_many_requests(at: Fixture) {
    let (user, asker) = (at.user().await, at.user().await);
    fill(&at, user, 1_000, None, Some(NOW)).await;
    assert!(!ask(&at, asker, user, NOW).await);
    assert_eq!(listed(&at, asker).await, [(user, ContactState::Outgoing, NOW)]);
    assert_eq!(listed(&at, user).await.len(), 1_000);
    decide(&at, user, asker, Allowed, NOW + 1).await;
    assert_eq!(listed(&at, asker).await, [(user, ContactState::Allowed, NOW + 1)]);
}

async fn so_many_are_remembered_who_were_reached_out_to(at: Fixture) {
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
