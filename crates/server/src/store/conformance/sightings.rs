//! When users were last seen, and pairs of users whose relation has changed.

use std::collections::{BTreeMap, HashMap};

use aldis_protocol::{UserId, api::ContactDecision};
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, fifty_at_once, log_in, suite};
use crate::store::{FamilyCreation, NewFamily, NewRequest, Sighting};

suite! {
    the_latest_sighting_of_a_user_counts,
    many_sightings_are_stored_at_once,
    a_deleted_account_has_no_sighting_and_gets_none,
    users_are_found_by_many_fingerprints_at_once,
    stances_with_many_equal_the_stances_with_each,
    every_change_between_two_users_is_listed,
    concurrent_changes_are_listed_without_gaps,
    the_list_is_swept_after_a_day,
}

fn some_user() -> UserId {
    UserId::new(Uuid::new_v4())
}

async fn see(at: &Fixture, seen: &[(UserId, i64)]) {
    let seen: BTreeMap<_, _> = seen.iter().copied().collect();
    at.store.set_sightings(&seen).await.unwrap();
}

async fn the_latest_sighting_of_a_user_counts(at: Fixture) {
    let (user, stranger, never) = (at.user().await, some_user(), at.user().await);
    see(&at, &[]).await;
    see(&at, &[(user, NOW), (stranger, NOW + 1)]).await;
    see(&at, &[(user, NOW - 1)]).await;
    let expected: HashMap<_, _> = [(user, Sighting::At(NOW)), (stranger, Sighting::At(NOW + 1))].into();
    assert_eq!(at.store.sightings_of(&[user, stranger, never]).await.unwrap(), expected);
    see(&at, &[(user, NOW + 2)]).await;
    assert_eq!(at.store.sightings_of(&[user]).await.unwrap()[&user], Sighting::At(NOW + 2));
    assert_eq!(at.store.sightings_of(&[]).await.unwrap(), HashMap::new());
}

async fn many_sightings_are_stored_at_once(at: Fixture) {
    let users: Vec<UserId> = (0..600).map(|_| some_user()).collect();
    let seen: Vec<_> = users.iter().map(|user| (*user, NOW)).collect();
    see(&at, &seen).await;
    see(&at, &seen).await;
    assert_eq!(at.store.sightings_of(&users).await.unwrap().len(), 600);
}

async fn a_deleted_account_has_no_sighting_and_gets_none(at: Fixture) {
    let users = [at.user().await, at.user().await];
    see(&at, &[(users[0], NOW)]).await;
    for user_id in users {
        let family_id = Uuid::new_v4();
        let mut token_hash = [0; 32];
        token_hash[..16].copy_from_slice(family_id.as_bytes());
        let family = NewFamily { family_id, user_id, device_id: None, token_hash, second_factor: false };
        assert_eq!(log_in(&at.store, &family, NOW).await, FamilyCreation::Created { auth_time_ms: NOW });
        at.store.delete_account(&by_token(user_id, family_id), NOW).await.unwrap();
    }
    see(&at, &users.map(|user| (user, NOW + 1))).await;
    let expected: HashMap<_, _> = users.map(|user| (user, Sighting::Deleted)).into();
    assert_eq!(at.store.sightings_of(&users).await.unwrap(), expected);
}

async fn users_are_found_by_many_fingerprints_at_once(at: Fixture) {
    let mut expected = HashMap::new();
    for key in 1..=3 {
        let user = some_user();
        at.store.create_account_for_key(user, [key; 32], NOW).await.unwrap();
        expected.insert(at.store.fingerprint_of(user).await.unwrap().unwrap(), user);
    }
    let asked: Vec<_> =
        expected.keys().copied().chain([aldis_protocol::Fingerprint::of_first_key(&[9; 32])]).collect();
    assert_eq!(at.store.users_of_fingerprints(&asked).await.unwrap(), expected);
    assert_eq!(at.store.users_of_fingerprints(&[]).await.unwrap(), HashMap::new());
}

async fn stances_with_many_equal_the_stances_with_each(at: Fixture) {
    let user = at.user().await;
    let mut peers = Vec::new();
    for number in 0..8 {
        let peer = at.user().await;
        if number & 1 != 0 {
            at.store.decide_contact(&acting(user), peer, ContactDecision::Blocked, NOW).await.unwrap();
        }
        if number & 2 != 0 {
            at.store.decide_contact(&acting(peer), user, ContactDecision::Allowed, NOW).await.unwrap();
        }
        if number & 4 != 0 {
            at.store.request_contact(&acting(peer), &request(peer, user), NOW).await.unwrap();
        }
        peers.push(peer);
    }
    // Changes between other users do not count.
    at.store.decide_contact(&acting(peers[0]), peers[1], ContactDecision::Blocked, NOW).await.unwrap();
    let stances = at.store.stances_with(user, &peers).await.unwrap();
    for peer in &peers {
        let each = at.store.stances(user, *peer).await.unwrap();
        assert_eq!(stances.get(peer).copied().unwrap_or_default(), each);
    }
    assert_eq!(stances.len(), 7, "the first is left out");
    assert_eq!(at.store.stances_with(user, &[]).await.unwrap(), HashMap::new());
}

fn request(from: UserId, to: UserId) -> NewRequest {
    let mut typed = [0; 32];
    typed[..16].copy_from_slice(to.as_uuid().as_bytes());
    NewRequest { from, to, typed, by_address: false, label: None }
}

/// The pairs in the list; checks that the numbers have no gaps.
async fn listed(at: &Fixture) -> Vec<(UserId, UserId)> {
    let entries = at.store.relation_changes_after(0, 1_000).await.unwrap();
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..).take(entries.len()).collect::<Vec<i64>>());
    assert_eq!(at.store.last_relation_change().await.unwrap(), i64::try_from(entries.len()).unwrap());
    entries.into_iter().map(|entry| (entry.user, entry.peer)).collect()
}

async fn every_change_between_two_users_is_listed(at: Fixture) {
    let (one, other, nobody) = (at.user().await, at.user().await, some_user());
    assert_eq!(listed(&at).await, []);
    at.store.decide_contact(&acting(one), other, ContactDecision::Allowed, NOW).await.unwrap();
    at.store.forget_contact(&acting(one), other, &[0; 32], NOW).await.unwrap();
    at.store.request_contact(&acting(other), &request(other, one), NOW).await.unwrap();
    at.store.request_contact(&acting(other), &request(other, nobody), NOW).await.unwrap();
    at.store.decide_contact(&acting(one), nobody, ContactDecision::Blocked, NOW).await.unwrap();
    assert_eq!(listed(&at).await, [(one, other), (one, other), (other, one), (other, nobody)]);
    let rest = at.store.relation_changes_after(2, 1).await.unwrap();
    assert_eq!(rest.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3]);
}

async fn concurrent_changes_are_listed_without_gaps(at: Fixture) {
    let user = at.user().await;
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(at.user().await);
    }
    let shared = peers.clone();
    fifty_at_once(&at.store, move |store, number| {
        let peer = shared[usize::from(number)];
        async move { store.decide_contact(&acting(user), peer, ContactDecision::Allowed, NOW).await.unwrap() }
    })
    .await;
    let mut listed: Vec<UserId> = listed(&at).await.into_iter().map(|(_, peer)| peer).collect();
    listed.sort_unstable();
    peers.sort_unstable();
    assert_eq!(listed, peers);
}

async fn the_list_is_swept_after_a_day(at: Fixture) {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let (one, other) = (at.user().await, at.user().await);
    for now_ms in [NOW, NOW + 1] {
        at.store.decide_contact(&acting(one), other, ContactDecision::Allowed, now_ms).await.unwrap();
    }
    at.store.sweep(NOW + DAY_MS).await.unwrap();
    let left = at.store.relation_changes_after(0, 10).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2]);
    assert_eq!(at.store.last_relation_change().await.unwrap(), 2, "no number is used twice");
}
