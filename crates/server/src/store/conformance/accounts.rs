//! Accounts and identities.

use aldis_protocol::{Fingerprint, UserId};
use uuid::Uuid;

use super::{Fixture, NOW, acting, device_id, fifty_at_once, suite};
use crate::store::{AccountCreation, Identity, IdentityCreation, NewDevice, Registration};

suite! {
    an_account_is_found_by_its_address,
    only_one_of_many_accounts_gets_an_address,
    a_password_is_replaced_only_if_it_is_the_expected_one,
    an_identity_is_found_by_key_and_fingerprint,
    only_one_of_many_identities_gets_a_key,
    a_device_key_that_becomes_an_identity_no_longer_proves_the_device,
}

async fn an_account_is_found_by_its_address(at: Fixture) {
    let user = UserId::new(Uuid::new_v4());
    assert_eq!(
        at.store.create_account(user, "bob@example.org", "hash", NOW).await.unwrap(),
        AccountCreation::Created
    );

    let found = at.store.find_email_account("bob@example.org").await.unwrap().unwrap();
    assert_eq!((found.user_id, &*found.password_hash, found.disabled_at_ms), (user, "hash", None));
    assert!(!format!("{found:?}").contains("hash\""));
    assert_eq!(at.store.find_email_account("eve@example.org").await.unwrap(), None);
    assert_eq!(at.store.fingerprint_of(user).await.unwrap(), None);
}

async fn only_one_of_many_accounts_gets_an_address(at: Fixture) {
    let outcomes = fifty_at_once(&at.store, |store, _| async move {
        let user = UserId::new(Uuid::new_v4());
        store.create_account(user, "bob@example.org", "hash", NOW).await.unwrap()
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AccountCreation::Created).count(), 1);
}

async fn a_password_is_replaced_only_if_it_is_the_expected_one(at: Fixture) {
    let user = UserId::new(Uuid::new_v4());
    at.store.create_account(user, "bob@example.org", "old", NOW).await.unwrap();

    assert!(at.store.replace_password_hash(user, "old", "new").await.unwrap());
    assert!(!at.store.replace_password_hash(user, "old", "stale").await.unwrap());
    let found = at.store.find_email_account("bob@example.org").await.unwrap().unwrap();
    assert_eq!(found.password_hash, "new");
}

async fn an_identity_is_found_by_key_and_fingerprint(at: Fixture) {
    let (user, key) = (UserId::new(Uuid::new_v4()), [7; 32]);
    let fingerprint = Fingerprint::of_first_key(&key);
    let expected = Identity { user_id: user, fingerprint, active_key: key, disabled_at_ms: None };
    assert_eq!(at.store.find_identity(&key).await.unwrap(), None);

    let created = at.store.create_account_for_key(user, key, NOW).await.unwrap();
    assert_eq!(created, IdentityCreation::Created);
    assert_eq!(at.store.find_identity(&key).await.unwrap(), Some(expected));
    assert_eq!(at.store.identity_of_fingerprint(fingerprint).await.unwrap(), Some(expected));
    assert_eq!(at.store.fingerprint_of(user).await.unwrap(), Some(fingerprint));

    let again = at.store.create_account_for_key(UserId::new(Uuid::new_v4()), key, NOW).await.unwrap();
    assert_eq!(again, IdentityCreation::AlreadyThere(expected));
}

async fn only_one_of_many_identities_gets_a_key(at: Fixture) {
    let outcomes = fifty_at_once(&at.store, |store, _| async move {
        store.create_account_for_key(UserId::new(Uuid::new_v4()), [7; 32], NOW).await.unwrap()
    })
    .await;
    let identity = at.store.find_identity(&[7; 32]).await.unwrap().unwrap();
    let (created, found): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| *outcome == IdentityCreation::Created);
    assert_eq!(created.len(), 1);
    assert!(found.into_iter().all(|outcome| outcome == IdentityCreation::AlreadyThere(identity)));
}

async fn a_device_key_that_becomes_an_identity_no_longer_proves_the_device(at: Fixture) {
    let user = at.user().await;
    let device = NewDevice {
        device_id: device_id("phone"),
        pubkey: Some([9; 32]),
        name: None,
        created_at_ms: NOW,
        signature: Some([1; 64]),
    };
    assert_eq!(
        at.store.register_device(&acting(user), &device, NOW).await.unwrap(),
        Registration::Registered
    );

    let identity = UserId::new(Uuid::new_v4());
    let created = at.store.create_account_for_key(identity, [9; 32], NOW).await.unwrap();
    assert_eq!(created, IdentityCreation::Created);
    assert_eq!(at.store.find_identity(&[9; 32]).await.unwrap().unwrap().user_id, identity);
    assert_eq!(at.store.find_device(&device.device_id).await.unwrap().unwrap().pubkey, None);
    assert_eq!(at.store.register_device(&acting(user), &device, NOW).await.unwrap(), Registration::KeyInUse);
}
