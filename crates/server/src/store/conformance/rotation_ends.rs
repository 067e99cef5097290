//! The ends of rotation windows: every device is alerted once, and never before the end.

use std::sync::Arc;

use aldis_auth::{CANCELLATION_WINDOW_MS, SecretKey};
use aldis_protocol::{Alert, AlertKind, DeviceId, UserId};

use super::{Fixture, NOW, acting, by_token, chain::Owner, device_id, fifty_at_once, suite};
use crate::store::{ChainChange, EndedRotation, NewDevice, Notice, Store, StoreOptions};

suite! {
    every_device_is_told_once_when_the_window_has_ended,
    a_cancelled_rotation_has_no_end,
    a_device_registered_after_the_end_is_not_told,
    a_device_registered_inside_the_window_is_told,
    only_one_of_many_nodes_tells,
    each_rotation_has_its_own_end,
    the_end_is_told_for_thirty_days,
    ends_are_found_by_their_time,
    a_deleted_account_is_told_of_no_end,
}

const WINDOW: i64 = CANCELLATION_WINDOW_MS as i64;
const DAY: i64 = WINDOW / 3;

fn secret() -> SecretKey {
    SecretKey::generate(&mut rand::rng())
}

async fn device(at: &Fixture, user_id: UserId, name: &str, now_ms: i64) -> DeviceId {
    let device = NewDevice {
        device_id: device_id(&format!("{name}-{user_id}")),
        pubkey: None,
        name: None,
        created_at_ms: now_ms,
        signature: None,
    };
    at.store.register_device(&acting(user_id), &device, now_ms).await.unwrap();
    device.device_id
}

/// Rotates to a new key, and returns the alert that is due at the end.
async fn rotates(at: &Fixture, owner: &Owner, by: &SecretKey, to: &SecretKey, now_ms: i64) -> Notice {
    let change = owner.rotates(at, by, to, now_ms).await;
    let ChainChange::Added(link) = change else { panic!("{change:?}") };
    let head = owner.head(at).await;
    assert_eq!(head.hash, link.hash());
    Notice::Alert(
        Alert::new(AlertKind::RotationFinal)
            .with_fingerprint(owner.fingerprint)
            .with_sequence(head.sequence)
            .with_hash(head.hash),
    )
}

/// Takes the notices of a device, and returns those about ends of windows.
async fn taken(at: &Fixture, user: UserId, device: &DeviceId, now_ms: i64) -> Vec<Notice> {
    ends(at.store.take_notices(user, device, now_ms).await.unwrap())
}

fn ends(mut notices: Vec<Notice>) -> Vec<Notice> {
    let is_end =
        |notice: &Notice| matches!(notice, Notice::Alert(alert) if alert.kind == AlertKind::RotationFinal);
    notices.retain(is_end);
    notices
}

async fn every_device_is_told_once_when_the_window_has_ended(at: Fixture) {
    let (owner, stranger) = (Owner::new(&at).await, Owner::new(&at).await);
    let (phone, laptop) =
        (device(&at, owner.user, "phone", NOW).await, device(&at, owner.user, "laptop", NOW).await);
    let foreign = device(&at, stranger.user, "phone", NOW).await;
    let end = rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    assert_eq!(taken(&at, owner.user, &phone, NOW + WINDOW).await, [], "it can still be cancelled");
    let first = taken(&at, owner.user, &phone, NOW + 1 + WINDOW).await;
    assert_eq!(first, std::slice::from_ref(&end));
    assert_eq!(taken(&at, owner.user, &phone, NOW + 2 + WINDOW).await, []);
    assert_eq!(taken(&at, owner.user, &laptop, NOW + 9 + WINDOW).await, [end]);
    assert_eq!(taken(&at, owner.user, &laptop, NOW + 10 + WINDOW).await, []);
    assert_eq!(taken(&at, stranger.user, &foreign, NOW + 10 + WINDOW).await, []);
}

async fn a_cancelled_rotation_has_no_end(at: Fixture) {
    let owner = Owner::new(&at).await;
    let phone = device(&at, owner.user, "phone", NOW).await;
    rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    let cancelled = owner.cancels(&at, &owner.key, NOW + WINDOW).await;
    assert!(matches!(cancelled, ChainChange::Added(_)), "{cancelled:?}");
    assert_eq!(taken(&at, owner.user, &phone, NOW + 1 + WINDOW).await, []);
    assert_eq!(at.store.rotations_ended(0, NOW + 2 * WINDOW, 10).await.unwrap(), []);
    assert_eq!(taken(&at, owner.user, &phone, NOW + 2 * WINDOW).await, []);
}

async fn a_device_registered_after_the_end_is_not_told(at: Fixture) {
    let owner = Owner::new(&at).await;
    rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    let late = device(&at, owner.user, "late", NOW + 2 + WINDOW).await;
    assert_eq!(taken(&at, owner.user, &late, NOW + 3 + WINDOW).await, []);
}

async fn a_device_registered_inside_the_window_is_told(at: Fixture) {
    let owner = Owner::new(&at).await;
    let end = rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    let new = device(&at, owner.user, "new", NOW + WINDOW).await;
    let removed = device(&at, owner.user, "removed", NOW + WINDOW).await;
    assert!(at.store.remove_device(&acting(owner.user), &removed, NOW + WINDOW).await.unwrap());
    assert_eq!(taken(&at, owner.user, &new, NOW + 1 + WINDOW).await, [end]);
    assert_eq!(taken(&at, owner.user, &removed, NOW + 1 + WINDOW).await, []);
}

async fn only_one_of_many_nodes_tells(at: Fixture) {
    let owner = Owner::new(&at).await;
    let phone = device(&at, owner.user, "phone", NOW).await;
    let end = rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    let other = Arc::new(Store::open(&at.url, &StoreOptions::default()).await.unwrap());
    let user = owner.user;
    let told = fifty_at_once(&at.store, move |store, number| {
        let store = if number % 2 == 0 { store } else { Arc::clone(&other) };
        let phone = phone.clone();
        async move { store.waiting_notices(user, &phone, NOW + 1 + WINDOW).await.unwrap() }
    })
    .await;
    assert!(told.iter().all(|waiting| *waiting == told[0]), "it is stored once");
    assert_eq!(ends(told[0].iter().map(|waiting| waiting.notice.clone()).collect()), [end]);
}

async fn each_rotation_has_its_own_end(at: Fixture) {
    let owner = Owner::new(&at).await;
    let phone = device(&at, owner.user, "phone", NOW).await;
    let (second, third) = (secret(), secret());
    let one = rotates(&at, &owner, &owner.key, &second, NOW + 1).await;
    let other = rotates(&at, &owner, &second, &third, NOW + 1 + WINDOW).await;
    assert_eq!(taken(&at, owner.user, &phone, NOW + 1 + 2 * WINDOW).await, [one, other]);
}

async fn the_end_is_told_for_thirty_days(at: Fixture) {
    let owner = Owner::new(&at).await;
    let (phone, laptop) =
        (device(&at, owner.user, "phone", NOW).await, device(&at, owner.user, "laptop", NOW).await);
    let end = rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    let kept_until = NOW + 1 + WINDOW + 30 * DAY;
    assert_eq!(taken(&at, owner.user, &phone, kept_until - 1).await, [end]);
    at.store.sweep(kept_until).await.unwrap();
    assert_eq!(taken(&at, owner.user, &laptop, kept_until).await, []);
}

async fn ends_are_found_by_their_time(at: Fixture) {
    let (one, other) = (Owner::new(&at).await, Owner::new(&at).await);
    let end = rotates(&at, &one, &one.key, &secret(), NOW + 1).await;
    rotates(&at, &other, &other.key, &secret(), NOW + 2).await;
    let ended =
        async |after_ms, until_ms, limit| at.store.rotations_ended(after_ms, until_ms, limit).await.unwrap();
    let (first, second) = (NOW + 1 + WINDOW, NOW + 2 + WINDOW);
    let expected = [
        EndedRotation { user_id: one.user, sequence: 1, ended_at_ms: first },
        EndedRotation { user_id: other.user, sequence: 1, ended_at_ms: second },
    ];
    assert_eq!(ended(0, first - 1, 10).await, []);
    assert_eq!(ended(first - 1, first, 10).await, expected[..1]);
    assert_eq!(ended(first, second, 10).await, expected[1..]);
    assert_eq!(ended(second, second + DAY, 10).await, []);
    assert_eq!(ended(0, second, 10).await, expected);
    assert_eq!(ended(0, second, 1).await, expected[..1]);
    assert_eq!(at.store.rotation_end(&expected[0]).await.unwrap(), Some(end));
    let unknown = EndedRotation { sequence: 9, ..expected[0] };
    assert_eq!(at.store.rotation_end(&unknown).await.unwrap(), None);
}

async fn a_deleted_account_is_told_of_no_end(at: Fixture) {
    let owner = Owner::new(&at).await;
    let phone = device(&at, owner.user, "phone", NOW).await;
    rotates(&at, &owner, &owner.key, &secret(), NOW + 1).await;
    taken(&at, owner.user, &phone, NOW + 1 + WINDOW).await;
    at.store.delete_account(&by_token(owner.user, owner.family), NOW + 2 + WINDOW).await.unwrap();
    assert_eq!(at.store.rotations_ended(0, NOW + 2 * WINDOW, 10).await.unwrap(), []);
    assert_eq!(taken(&at, owner.user, &phone, NOW + 3 + WINDOW).await, []);
}
