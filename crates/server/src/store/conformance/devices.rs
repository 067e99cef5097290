//! Devices: who can register an id, and who keeps it.

use aldis_protocol::UserId;
use uuid::Uuid;

use super::{Fixture, NOW, acting, device_id, fifty_at_once, suite};
use crate::store::{Device, DeviceOwner, NewDevice, Registration};

suite! {
    a_device_is_registered_listed_and_removed,
    a_repetition_changes_only_the_statement_if_newer,
    another_key_for_a_device_is_refused,
    a_device_without_a_key_can_get_one,
    an_id_stays_with_its_user_after_removal,
    an_identity_key_cannot_be_a_device_key,
    a_user_has_twenty_devices_at_most,
    twenty_devices_at_most_when_registered_at_once,
    only_one_of_many_users_gets_an_id,
    concurrent_devices_and_identities_never_share_a_key,
    the_latest_connection_of_a_device_counts,
}

fn new_device(id: &str) -> NewDevice {
    NewDevice {
        device_id: device_id(id),
        pubkey: Some([3; 32]),
        name: Some("Phone".into()),
        created_at_ms: NOW - 5,
        signature: Some([4; 64]),
    }
}

async fn register(at: &Fixture, user: UserId, device: &NewDevice) -> Registration {
    at.store.register_device(&acting(user), device, NOW).await.unwrap()
}

async fn a_device_is_registered_listed_and_removed(at: Fixture) {
    let user = at.user().await;
    let device = new_device("phone");
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap(), None);
    assert_eq!(register(&at, user, &device).await, Registration::Registered);

    let listed = Device {
        device_id: device.device_id.clone(),
        pubkey: device.pubkey,
        name: device.name.clone(),
        created_at_ms: NOW - 5,
        signature: device.signature,
        registered_at_ms: NOW,
        last_seen_at_ms: None,
    };
    assert_eq!(at.store.devices_of(user).await.unwrap(), [listed]);
    let owner = DeviceOwner { user_id: user, pubkey: Some([3; 32]), removed: false, disabled: false };
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap(), Some(owner));

    assert!(!at.store.remove_device(&acting(at.user().await), &device.device_id, NOW).await.unwrap());
    assert!(at.store.remove_device(&acting(user), &device.device_id, NOW).await.unwrap());
    assert!(!at.store.remove_device(&acting(user), &device.device_id, NOW).await.unwrap());
    assert_eq!(at.store.devices_of(user).await.unwrap(), []);
    let owner = DeviceOwner { user_id: user, pubkey: None, removed: true, disabled: false };
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap(), Some(owner));
}

async fn a_repetition_changes_only_the_statement_if_newer(at: Fixture) {
    let (user, device) = (at.user().await, new_device("phone"));
    register(&at, user, &device).await;
    let older = NewDevice { created_at_ms: NOW - 6, signature: Some([5; 64]), name: None, ..device.clone() };
    assert_eq!(register(&at, user, &older).await, Registration::Unchanged);
    let unsigned = NewDevice { created_at_ms: NOW, signature: None, ..device.clone() };
    assert_eq!(register(&at, user, &unsigned).await, Registration::Unchanged);
    let listed = at.store.devices_of(user).await.unwrap().remove(0);
    assert_eq!((listed.created_at_ms, listed.signature), (NOW - 5, Some([4; 64])));
    assert_eq!(listed.name.as_deref(), Some("Phone"));

    let newer = NewDevice { created_at_ms: NOW, signature: Some([6; 64]), ..device.clone() };
    assert_eq!(register(&at, user, &newer).await, Registration::Unchanged);
    let listed = at.store.devices_of(user).await.unwrap().remove(0);
    assert_eq!((listed.created_at_ms, listed.signature), (NOW, Some([6; 64])));
}

async fn another_key_for_a_device_is_refused(at: Fixture) {
    let (user, device) = (at.user().await, new_device("phone"));
    register(&at, user, &device).await;
    let other = NewDevice { pubkey: Some([8; 32]), ..device.clone() };
    assert_eq!(register(&at, user, &other).await, Registration::IdTaken);
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap().unwrap().pubkey, Some([3; 32]));
}

async fn a_device_without_a_key_can_get_one(at: Fixture) {
    let (user, with_key) = (at.user().await, new_device("phone"));
    let without = NewDevice { pubkey: None, signature: None, ..with_key.clone() };
    assert_eq!(register(&at, user, &without).await, Registration::Registered);
    assert_eq!(register(&at, user, &without).await, Registration::Unchanged);
    assert_eq!(register(&at, user, &with_key).await, Registration::Registered);
    assert_eq!(register(&at, user, &without).await, Registration::Unchanged);
    assert_eq!(at.store.find_device(&with_key.device_id).await.unwrap().unwrap().pubkey, Some([3; 32]));
}

async fn an_id_stays_with_its_user_after_removal(at: Fixture) {
    let (user, device) = (at.user().await, new_device("phone"));
    register(&at, user, &device).await;
    at.store.remove_device(&acting(user), &device.device_id, NOW).await.unwrap();

    assert_eq!(register(&at, at.user().await, &device).await, Registration::IdTaken);
    let with_new_key = NewDevice { pubkey: Some([8; 32]), ..device.clone() };
    assert_eq!(register(&at, user, &with_new_key).await, Registration::Registered);
    let owner = DeviceOwner { user_id: user, pubkey: Some([8; 32]), removed: false, disabled: false };
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap(), Some(owner));
}

async fn an_identity_key_cannot_be_a_device_key(at: Fixture) {
    let identity = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(identity, [3; 32], NOW).await.unwrap();
    for user in [identity, at.user().await] {
        assert_eq!(register(&at, user, &new_device("phone")).await, Registration::KeyInUse);
    }
    assert_eq!(at.store.find_device(&device_id("phone")).await.unwrap(), None);
}

async fn a_user_has_twenty_devices_at_most(at: Fixture) {
    let user = at.user().await;
    for number in 0..20 {
        assert_eq!(register(&at, user, &new_device(&format!("d{number}"))).await, Registration::Registered);
    }
    assert_eq!(register(&at, user, &new_device("d20")).await, Registration::TooMany);
    assert_eq!(register(&at, user, &new_device("d0")).await, Registration::Unchanged);

    at.store.remove_device(&acting(user), &device_id("d0"), NOW).await.unwrap();
    assert_eq!(register(&at, user, &new_device("d20")).await, Registration::Registered);
    assert_eq!(register(&at, user, &new_device("d0")).await, Registration::TooMany);
}

async fn twenty_devices_at_most_when_registered_at_once(at: Fixture) {
    let user = at.user().await;
    let outcomes = fifty_at_once(&at.store, |store, number| async move {
        let device = NewDevice { pubkey: Some([number; 32]), ..new_device(&format!("d{number}")) };
        store.register_device(&acting(user), &device, NOW).await.unwrap()
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Registration::Registered).count(), 20);
    assert_eq!(at.store.devices_of(user).await.unwrap().len(), 20);
}

async fn only_one_of_many_users_gets_an_id(at: Fixture) {
    let mut users = Vec::new();
    for _ in 0..50 {
        users.push(at.user().await);
    }
    let outcomes = fifty_at_once(&at.store, |store, number| {
        let (user, device) = (users[usize::from(number)], new_device("phone"));
        async move { store.register_device(&acting(user), &device, NOW).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Registration::Registered).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Registration::IdTaken).count(), 49);
}

async fn concurrent_devices_and_identities_never_share_a_key(at: Fixture) {
    let user = at.user().await;
    fifty_at_once(&at.store, |store, number| async move {
        let key = [number / 2; 32];
        if number % 2 == 0 {
            let device = NewDevice { pubkey: Some(key), ..new_device(&format!("d{number}")) };
            store.register_device(&acting(user), &device, NOW).await.unwrap();
        } else {
            store.create_account_for_key(UserId::new(Uuid::new_v4()), key, NOW).await.unwrap();
        }
    })
    .await;
    let devices = at.store.devices_of(user).await.unwrap();
    assert!(devices.iter().all(|device| device.pubkey.is_none()));
}

async fn the_latest_connection_of_a_device_counts(at: Fixture) {
    let (user, device) = (at.user().await, new_device("phone"));
    register(&at, user, &device).await;
    let seen = |at_ms| (device.device_id.clone(), at_ms);
    let unknown = (device_id("nobody"), NOW);
    at.store.set_last_seen(&[seen(NOW + 1), unknown, seen(NOW + 3), seen(NOW + 2)]).await.unwrap();
    at.store.set_last_seen(&[seen(NOW)]).await.unwrap();
    assert_eq!(at.store.devices_of(user).await.unwrap()[0].last_seen_at_ms, Some(NOW + 3));

    let many: Vec<_> = (0..1000).map(|number| seen(NOW + number)).collect();
    at.store.set_last_seen(&many).await.unwrap();
    assert_eq!(at.store.devices_of(user).await.unwrap()[0].last_seen_at_ms, Some(NOW + 999));
}
