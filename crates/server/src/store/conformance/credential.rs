//! Credentials of changes.

use std::sync::Arc;

use aldis_auth::{Cancellation, Rotation, SecretKey};
use aldis_protocol::{UserId, api::ContactDecision};
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, chain::Owner, device_id, refused, rooms::new_room, suite};
use crate::store::{
    Credential, Evidence, FactorChange, FactorCheck, FamilyCreation, LoginProof, NewDevice, NewFamily,
    NewRequest, Precondition, PublishedKey, Registration, Revisions, Revocation, Store, StoreError,
    Unauthorized, accounts, revocations,
    tokens::{self, Choice},
};

suite! {
    every_change_needs_a_valid_credential,
    every_change_waits_for_a_running_revocation,
    devices_removed_during_a_cancellation_were_never_restored,
    a_device_registered_at_a_door_needs_the_current_key,
    a_login_without_the_second_factor_counted_as_step_up_after_it_was_enrolled,
    a_login_just_before_the_second_factor_skipped_it,
    a_login_by_a_device_key_counted_as_a_fresh_one,
    a_login_by_a_device_key_needs_the_current_key,
    lasting_changes_are_refused_while_a_rotation_can_be_cancelled,
}

/// How many changes there are.
const CHANGES: usize = 18;

fn secret() -> SecretKey {
    SecretKey::generate(&mut rand::rng())
}

fn new_device(id: &str, pubkey: Option<[u8; 32]>) -> NewDevice {
    NewDevice { device_id: device_id(id), pubkey, name: None, created_at_ms: NOW, signature: None }
}

/// Makes a change that takes a credential; each number is another change. It works on what [`a_life`] has created.
async fn change(store: &Store, by: &Credential, owner: &Owner, number: usize) -> Result<(), StoreError> {
    let (room, peer) = ("room".parse().unwrap(), owner.user);
    let code = |_: &[u8]| Evidence::Step { step: 1, sealed_secret: b"sealed".to_vec() };
    let key = PublishedKey { encryption_key: [1; 32], created_at_ms: Some(NOW), signature: Some([1; 64]) };
    let active = *owner.key.public_key().as_bytes();
    let rotation = || async {
        let head = store.chain_of(owner.user).await.unwrap().unwrap().head();
        Rotation::sign(owner.fingerprint, head, &owner.key, &secret(), "test", NOW.unsigned_abs())
    };
    match number {
        0 => store.register_device(by, &new_device("tablet", Some([9; 32])), NOW).await.map(drop),
        1 => store.remove_device(by, &device_id("phone"), NOW).await.map(drop),
        2 => store.decide_contact(by, peer, ContactDecision::Blocked, NOW).await.map(drop),
        3 => store.forget_contact(by, peer, &[0; 32], NOW).await,
        4 => {
            let request =
                NewRequest { from: by.user, to: peer, typed: [0; 32], by_address: false, label: None };
            store.request_contact(by, &request, NOW).await.map(drop)
        }
        5 => store.create_room(by, &new_room("another"), NOW).await.map(drop),
        6 => store.add_room_member(by, &room, peer, NOW).await.map(drop),
        7 => store.remove_room_member(by, &room, peer, NOW).await.map(drop),
        8 => store.set_room_state(by, &room, "1", &Revisions::OneOf(vec![0])).await.map(drop),
        9 => store.publish_blob(by, b"blob", &Precondition::Absent).await.map(drop),
        10 => store.publish_encryption_key(by, &key, Some(active)).await.map(drop),
        11 => store.link_identity(by, &[8; 32], NOW).await.map(drop),
        12 => store.rotate(by, rotation().await, 3, NOW).await.map(drop),
        13 => store.enroll_totp(by, b"sealed", &[], NOW).await.map(drop),
        14 => store.change_second_factor(by, FactorChange::Confirmation, NOW, code).await.map(drop),
        15 => store.change_password(by, "hash", "another", NOW).await.map(drop),
        16 => store.delete_account(by, NOW).await,
        _ => store.revoke_families(by, true, NOW).await,
    }
}

/// A user with an identity, a device `phone`, and a room.
async fn a_life(at: &Fixture) -> Owner {
    let owner = Owner::new(at).await;
    let phone = new_device("phone", Some([3; 32]));
    at.store.register_device(&acting(owner.user), &phone, NOW).await.unwrap();
    at.store.create_room(&acting(owner.user), &new_room("room"), NOW).await.unwrap();
    owner
}

async fn every_change_needs_a_valid_credential(at: Fixture) {
    let owner = a_life(&at).await;
    let (user, family) = (owner.user, owner.family);
    let stranger = Owner::new(&at).await;
    let revoked = Owner::new(&at).await;
    at.store.revoke_families(&by_token(revoked.user, revoked.family), false, NOW).await.unwrap();
    let disabled = Owner::new(&at).await;
    at.store.disable_account(disabled.user, NOW).await.unwrap();
    let deleted = Owner::new(&at).await;
    at.store.delete_account(&by_token(deleted.user, deleted.family), NOW).await.unwrap();
    let before = at.store.revocations_after(0, 100).await.unwrap();

    let refusals = [
        (by_token(revoked.user, revoked.family), Unauthorized::Revoked),
        (by_token(user, stranger.family), Unauthorized::Revoked),
        (by_token(user, Uuid::new_v4()), Unauthorized::Revoked),
        (Credential::token(user, family, Some(device_id("laptop"))), Unauthorized::Revoked),
        (by_token(disabled.user, disabled.family), Unauthorized::Revoked),
        (Credential::identity_key(disabled.user, [7; 32], false), Unauthorized::Disabled),
        (by_token(deleted.user, deleted.family), Unauthorized::NoAccount),
        (acting(UserId::new(Uuid::new_v4())), Unauthorized::NoAccount),
        (Credential::identity_key(user, [7; 32], false), Unauthorized::Revoked),
    ];
    for (credential, why) in refusals {
        for number in 0..CHANGES {
            let outcome = change(&at.store, &credential, &owner, number).await;
            assert_eq!(refused(outcome), why, "change {number} by {credential:?}");
        }
    }
    assert_eq!(at.store.revocations_after(0, 100).await.unwrap(), before);
    assert_eq!(at.store.devices_of(user).await.unwrap().len(), 1);
    assert_eq!(at.store.contacts_of(user, NOW).await.unwrap(), []);
}

async fn every_change_waits_for_a_running_revocation(at: Fixture) {
    let owner = Arc::new(a_life(&at).await);
    let (user, family) = (owner.user, owner.family);
    let mut tx = at.store.db.begin().await.unwrap();
    accounts::lock(&mut tx, user).await.unwrap();
    let asked = (0..CHANGES).map(|number| {
        let (store, owner) = (Arc::clone(&at.store), Arc::clone(&owner));
        tokio::spawn(async move { change(&store, &by_token(user, family), &owner, number).await })
    });
    let asked: Vec<_> = asked.collect();
    tokio::task::yield_now().await;
    let revoked = tokens::revoke(&mut tx, user, Choice::All, NOW).await.unwrap();
    assert_eq!(revoked, [Revocation::Family { user, family }]);
    revocations::append(&mut tx, &revoked, NOW).await.unwrap();
    tx.commit().await.unwrap();
    for (number, asked) in asked.into_iter().enumerate() {
        assert_eq!(refused(asked.await.unwrap()), Unauthorized::Revoked, "change {number}");
    }
    assert_eq!(at.store.devices_of(user).await.unwrap().len(), 1);
    assert!(at.store.has_account(user).await.unwrap());
}

async fn devices_removed_during_a_cancellation_were_never_restored(at: Fixture) {
    let owner = Owner::new(&at).await;
    let user = owner.user;
    let ids: Vec<_> = (0..12_u8).map(|number| format!("device-{number}")).collect();
    for (id, number) in ids.iter().zip(1..) {
        let device = new_device(id, Some([number; 32]));
        at.store.register_device(&acting(user), &device, NOW).await.unwrap();
    }
    owner.rotates(&at, &owner.key, &secret(), NOW + 1).await;
    let head = owner.head(&at).await;
    let cancellation = Cancellation::sign(owner.fingerprint, head, &owner.key, NOW.unsigned_abs());

    // The calls were authorized while the thief's sign-in was valid.
    let mut tx = at.store.db.begin().await.unwrap();
    accounts::lock(&mut tx, user).await.unwrap();
    let cancels = tokio::spawn({
        let store = Arc::clone(&at.store);
        async move { store.cancel_rotation(user, &cancellation, NOW + 2).await.unwrap() }
    });
    let removals = ids.iter().map(|id| {
        let (store, family, id) = (Arc::clone(&at.store), owner.family, device_id(id));
        tokio::spawn(async move { store.remove_device(&by_token(user, family), &id, NOW + 3).await })
    });
    let removals: Vec<_> = removals.collect();
    tokio::task::yield_now().await;
    tx.rollback().await.unwrap();
    cancels.await.unwrap();
    for removal in removals {
        // Either before the cancellation, which restores the device, or refused.
        let _ = removal.await.unwrap();
    }
    assert_eq!(at.store.devices_of(user).await.unwrap().len(), ids.len());
}

async fn a_device_registered_at_a_door_needs_the_current_key(at: Fixture) {
    let owner = Owner::new(&at).await;
    let first = *owner.key.public_key().as_bytes();
    let register = async |key, second_factor, id: &str| {
        let credential = Credential::identity_key(owner.user, key, second_factor);
        at.store.register_device(&credential, &new_device(id, None), NOW).await
    };
    assert_eq!(register(first, false, "phone").await.unwrap(), Registration::Registered);
    in_force(&at, owner.user, owner.family, NOW).await;
    assert_eq!(refused(register(first, false, "laptop").await), Unauthorized::FactorRequired);
    assert_eq!(register(first, true, "laptop").await.unwrap(), Registration::Registered);
    owner.rotates(&at, &owner.key, &secret(), NOW + 1).await;
    assert_eq!(refused(register(first, true, "tablet").await), Unauthorized::Revoked);
}

/// Activates a second factor with this family.
async fn in_force(at: &Fixture, user: UserId, family: Uuid, now_ms: i64) {
    let by = by_token(user, family);
    at.store.enroll_totp(&by, b"sealed", &[], now_ms).await.unwrap();
    let code = |_: &[u8]| Evidence::Step { step: 1, sealed_secret: b"sealed".to_vec() };
    let confirmed = at.store.change_second_factor(&by, FactorChange::Confirmation, now_ms, code).await;
    assert_eq!(confirmed.unwrap(), FactorCheck::Accepted);
}

fn new_family(user_id: UserId, device: Option<&str>, second_factor: bool) -> NewFamily {
    let family_id = Uuid::new_v4();
    let mut token_hash = [0; 32];
    token_hash[..16].copy_from_slice(family_id.as_bytes());
    NewFamily { family_id, user_id, device_id: device.map(device_id), token_hash, second_factor }
}

async fn a_login_without_the_second_factor_counted_as_step_up_after_it_was_enrolled(at: Fixture) {
    let user = at.user().await;
    let log_in = async |second_factor, now_ms| {
        let family = new_family(user, None, second_factor);
        let created = at.store.create_family(&family, LoginProof::Password("hash"), now_ms).await.unwrap();
        assert_eq!(created, FamilyCreation::Created { auth_time_ms: now_ms });
        family.family_id
    };
    let (enrolling, other) = (log_in(false, NOW).await, log_in(false, NOW).await);
    in_force(&at, user, enrolling, NOW + 1).await;
    let with_factor = log_in(true, NOW + 2).await;

    let register = async |family, id: &str| {
        let credential = Credential::recent_login(user, family, None);
        at.store.register_device(&credential, &new_device(id, None), NOW + 3).await
    };
    assert_eq!(refused(register(other, "phone").await), Unauthorized::StepUpRequired);
    assert_eq!(register(with_factor, "phone").await.unwrap(), Registration::Registered);
    assert_eq!(register(enrolling, "laptop").await.unwrap(), Registration::Registered);
    let blocks = at.store.create_room(&by_token(user, other), &new_room("room"), NOW).await;
    assert!(blocks.is_ok(), "calls without step-up still work");
}

async fn a_login_just_before_the_second_factor_skipped_it(at: Fixture) {
    let user = at.user().await;
    let family = at.sign_in(user).await;
    in_force(&at, user, family, NOW).await;
    let late = new_family(user, None, false);
    let created = at.store.create_family(&late, LoginProof::Password("hash"), NOW).await.unwrap();
    assert_eq!(created, FamilyCreation::FactorRequired);
}

async fn a_login_by_a_device_key_counted_as_a_fresh_one(at: Fixture) {
    let user = at.user().await;
    let logs_in = async |now_ms| {
        let family = new_family(user, None, false);
        at.store.create_family(&family, LoginProof::Password("hash"), now_ms).await.unwrap();
        Credential::recent_login(user, family.family_id, None)
    };
    let (first, second) = (logs_in(NOW - 500_000).await, logs_in(NOW).await);
    let phone = new_device("phone", Some([3; 32]));
    at.store.register_device(&first, &phone, NOW - 400_000).await.unwrap();
    at.store.register_device(&second, &phone, NOW).await.unwrap();
    let family = new_family(user, Some("phone"), false);
    let created = at.store.create_family(&family, LoginProof::DeviceKey(&[3; 32]), NOW).await.unwrap();
    assert_eq!(created, FamilyCreation::Created { auth_time_ms: NOW - 500_000 });
    let used = at.store.use_refresh_token(&family.token_hash, &[9; 32], NOW + 1).await.unwrap();
    let crate::store::RefreshUse::Rotated(refreshed) = used else { panic!("{used:?}") };
    assert_eq!(refreshed.auth_time_ms, NOW - 500_000, "a refresh is not a new proof");
}

async fn a_login_by_a_device_key_needs_the_current_key(at: Fixture) {
    let user = at.user().await;
    let log_in = async |key: [u8; 32]| {
        let family = new_family(user, Some("phone"), false);
        at.store.create_family(&family, LoginProof::DeviceKey(&key), NOW).await.unwrap()
    };
    assert_eq!(log_in([3; 32]).await, FamilyCreation::UnknownDevice);
    at.store.register_device(&acting(user), &new_device("phone", Some([3; 32])), NOW).await.unwrap();
    assert_eq!(log_in([3; 32]).await, FamilyCreation::Created { auth_time_ms: 0 });
    at.store.remove_device(&acting(user), &device_id("phone"), NOW).await.unwrap();
    at.store.register_device(&acting(user), &new_device("phone", Some([4; 32])), NOW).await.unwrap();
    assert_eq!(log_in([3; 32]).await, FamilyCreation::UnknownDevice);
    assert_eq!(log_in([4; 32]).await, FamilyCreation::Created { auth_time_ms: 0 });
}

async fn lasting_changes_are_refused_while_a_rotation_can_be_cancelled(at: Fixture) {
    let owner = a_life(&at).await;
    owner.rotates(&at, &owner.key, &secret(), NOW).await;
    let by = by_token(owner.user, owner.family);
    for number in [11, 13, 14, 15, 16] {
        let outcome = change(&at.store, &by, &owner, number).await;
        assert_eq!(refused(outcome), Unauthorized::Provisional, "change {number}");
    }
}
