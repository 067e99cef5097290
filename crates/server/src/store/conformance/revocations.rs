//! Revocations: their order, and what writes them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aldis_protocol::UserId;
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, device_id, fifty_at_once, log_in, refused, suite};
use crate::store::{
    AccountCreation, FamilyCreation, IdentityCreation, KEPT_PER_USER, NewDevice, NewFamily, PasswordChange,
    Registration, Revocation, StoreError, Unauthorized, db::within, revocations,
};

suite! {
    revocations_are_numbered_in_order,
    each_kind_is_read_as_it_was_written,
    a_reader_misses_no_revocation,
    a_rollback_leaves_no_gap,
    one_family_is_revoked_once,
    all_families_of_a_user_are_revoked,
    a_new_password_revokes_the_other_families,
    only_a_signed_in_user_changes_a_password,
    removing_a_device_revokes_its_families,
    a_deleted_account_is_gone,
    only_a_signed_in_user_deletes_an_account,
    revocations_are_swept_when_no_token_is_left,
    one_user_filled_the_list_by_signing_out_again_and_again,
    many_revocations_at_once_are_trimmed_too,
}

pub(super) async fn family(at: &Fixture, user_id: UserId, device: Option<&str>) -> Uuid {
    let family_id = Uuid::new_v4();
    let mut token_hash = [0; 32];
    token_hash[..16].copy_from_slice(family_id.as_bytes());
    let new =
        NewFamily { family_id, user_id, device_id: device.map(device_id), token_hash, second_factor: false };
    assert_eq!(log_in(&at.store, &new, NOW).await, FamilyCreation::Created { auth_time_ms: NOW });
    family_id
}

async fn device(at: &Fixture, user_id: UserId, id: &str) -> Result<Registration, StoreError> {
    let device = NewDevice {
        device_id: device_id(id),
        pubkey: Some([3; 32]),
        name: Some("Phone".into()),
        created_at_ms: NOW,
        signature: None,
    };
    at.store.register_device(&acting(user_id), &device, NOW).await
}

/// All revocations in order. Changes of accounts have the numbers in between.
pub(super) async fn written(at: &Fixture) -> Vec<Revocation> {
    let rows = at.store.revocations_after(0, 1_000).await.unwrap();
    assert!(rows.is_sorted_by(|one, next| one.number < next.number));
    rows.into_iter().map(|row| row.revocation).collect()
}

async fn append(at: &Fixture, revocations: &[Revocation], now_ms: i64) {
    let mut tx = at.store.db.begin().await.unwrap();
    revocations::append(&mut tx, revocations, now_ms).await.unwrap();
    tx.commit().await.unwrap();
}

fn some_user() -> UserId {
    UserId::new(Uuid::new_v4())
}

async fn revocations_are_numbered_in_order(at: Fixture) {
    let many: Vec<_> =
        (0..2_500).map(|_| Revocation::Family { user: some_user(), family: Uuid::new_v4() }).collect();
    append(&at, &many[..1], NOW).await;
    append(&at, &[], NOW).await;
    append(&at, &many[1..], NOW + 1).await;

    let mut read = Vec::new();
    loop {
        let rows = at.store.revocations_after(i64::try_from(read.len()).unwrap(), 999).await.unwrap();
        if rows.is_empty() {
            break;
        }
        read.extend(rows.into_iter().map(|row| row.revocation));
    }
    assert_eq!(read, many);
    assert_eq!(at.store.last_revocation_until(NOW - 1).await.unwrap(), 0);
    assert_eq!(at.store.last_revocation_until(NOW).await.unwrap(), 1);
}

async fn each_kind_is_read_as_it_was_written(at: Fixture) {
    let user = some_user();
    let each = [
        Revocation::Family { user, family: Uuid::new_v4() },
        Revocation::KeyChanged { user },
        Revocation::DeviceRemoved { user, device: device_id("phone") },
        Revocation::AccountDisabled { user },
        Revocation::SignedOut { user },
        Revocation::AccountDeleted { user },
        Revocation::Trimmed { user, until_ms: NOW - 1 },
    ];
    append(&at, &each, NOW).await;
    assert_eq!(written(&at).await, each);
}

/// A reader asks for the rows after the last number that it has seen, while many are written.
async fn a_reader_misses_no_revocation(at: Fixture) {
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (Arc::clone(&at.store), Arc::clone(&done));
        async move {
            let mut seen = Vec::new();
            loop {
                let finished = done.load(Ordering::SeqCst);
                let rows = store.revocations_after(seen.last().copied().unwrap_or(0), 1_000).await.unwrap();
                seen.extend(rows.into_iter().map(|row| row.number));
                if finished {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    fifty_at_once(&at.store, |store, _| async move {
        for _ in 0..4 {
            let mut tx = store.db.begin().await.unwrap();
            let revocation = Revocation::KeyChanged { user: some_user() };
            revocations::append(&mut tx, &[revocation], NOW).await.unwrap();
            tx.commit().await.unwrap();
        }
    })
    .await;
    done.store(true, Ordering::SeqCst);
    assert_eq!(reader.await.unwrap(), (1..=200).collect::<Vec<i64>>());
}

async fn a_rollback_leaves_no_gap(at: Fixture) {
    let user = some_user();
    let mut tx = at.store.db.begin().await.unwrap();
    revocations::append(&mut tx, &[Revocation::KeyChanged { user }], NOW).await.unwrap();
    tx.rollback().await.unwrap();
    append(&at, &[Revocation::AccountDisabled { user }], NOW).await;
    let written = at.store.revocations_after(0, 10).await.unwrap();
    assert_eq!(written.iter().map(|row| row.number).collect::<Vec<_>>(), [1]);
}

async fn one_family_is_revoked_once(at: Fixture) {
    let user = at.user().await;
    let (one, _other) = (family(&at, user, None).await, family(&at, user, None).await);
    let sign_out = async |user, family| at.store.revoke_families(&by_token(user, family), false, NOW).await;
    assert_eq!(refused(sign_out(some_user(), one).await), Unauthorized::NoAccount);
    assert_eq!(refused(sign_out(at.user().await, one).await), Unauthorized::Revoked);
    assert_eq!(refused(sign_out(user, Uuid::new_v4()).await), Unauthorized::Revoked);
    assert_eq!(written(&at).await, []);
    sign_out(user, one).await.unwrap();
    assert_eq!(refused(sign_out(user, one).await), Unauthorized::Revoked);
    assert_eq!(written(&at).await, [Revocation::Family { user, family: one }]);
}

async fn all_families_of_a_user_are_revoked(at: Fixture) {
    let (user, stranger) = (at.user().await, at.user().await);
    let mut expected = Vec::new();
    for _ in 0..2 {
        expected.push(Revocation::Family { user, family: family(&at, user, None).await });
    }
    family(&at, stranger, None).await;
    at.store.revoke_families(&acting(user), true, NOW).await.unwrap();
    let revoked = written(&at).await;
    assert_eq!(revoked.len(), 2);
    assert!(expected.iter().all(|revocation| revoked.contains(revocation)), "{revoked:?}");
}

async fn a_new_password_revokes_the_other_families(at: Fixture) {
    let user = at.user().await;
    let (own, other) = (family(&at, user, None).await, family(&at, user, None).await);
    let change =
        async |old, new| at.store.change_password(&by_token(user, own), old, new, NOW).await.unwrap();
    assert_eq!(change("wrong", "new").await, PasswordChange::Overtaken);
    assert_eq!(written(&at).await, []);
    assert_eq!(change("hash", "new").await, PasswordChange::Done);
    assert_eq!(written(&at).await, [Revocation::Family { user, family: other }]);
    assert_eq!(at.store.password_hash_of(user).await.unwrap().as_deref(), Some("new"));
}

async fn only_a_signed_in_user_changes_a_password(at: Fixture) {
    let (user, stranger) = (at.user().await, at.user().await);
    let revoked = family(&at, user, None).await;
    at.store.revoke_families(&by_token(user, revoked), false, NOW).await.unwrap();
    let foreign = family(&at, stranger, None).await;
    for family in [revoked, foreign] {
        let changed = at.store.change_password(&by_token(user, family), "hash", "new", NOW).await;
        assert_eq!(refused(changed), Unauthorized::Revoked);
    }
    assert_eq!(at.store.password_hash_of(user).await.unwrap().as_deref(), Some("hash"));
}

async fn removing_a_device_revokes_its_families(at: Fixture) {
    let user = at.user().await;
    device(&at, user, "phone").await.unwrap();
    let bound = family(&at, user, Some("phone")).await;
    family(&at, user, None).await;
    let phone = device_id("phone");
    assert!(!at.store.remove_device(&acting(at.user().await), &phone, NOW).await.unwrap());
    assert_eq!(written(&at).await, []);
    assert!(at.store.remove_device(&acting(user), &phone, NOW).await.unwrap());
    assert!(!at.store.remove_device(&acting(user), &phone, NOW).await.unwrap());
    let expected =
        [Revocation::DeviceRemoved { user, device: phone }, Revocation::Family { user, family: bound }];
    assert_eq!(written(&at).await, expected);
}

async fn a_deleted_account_is_gone(at: Fixture) {
    let (user, key) = (some_user(), [7; 32]);
    assert_eq!(at.store.create_account_for_key(user, key, NOW).await.unwrap(), IdentityCreation::Created);
    set_address(&at, user, "bob@example.org").await;
    device(&at, user, "phone").await.unwrap();
    let family_id = family(&at, user, Some("phone")).await;
    at.store.delete_account(&by_token(user, family_id), NOW).await.unwrap();
    let expected = [Revocation::AccountDeleted { user }, Revocation::Family { user, family: family_id }];
    assert_eq!(written(&at).await, expected);

    assert_eq!(at.store.find_identity(&key).await.unwrap(), None);
    assert_eq!(at.store.devices_of(user).await.unwrap(), []);
    assert_eq!(at.store.password_hash_of(user).await.unwrap(), None);
    let again = at.store.create_account_for_key(some_user(), key, NOW).await.unwrap();
    assert_eq!(again, IdentityCreation::Deleted);
    assert_eq!(device(&at, at.user().await, "phone").await.unwrap(), Registration::IdTaken);
    assert_eq!(refused(device(&at, user, "phone").await), Unauthorized::NoAccount);
    let created = at.store.create_account(some_user(), "bob@example.org", "hash", NOW).await.unwrap();
    assert_eq!(created, AccountCreation::Created);
    let new = NewFamily {
        family_id: Uuid::new_v4(),
        user_id: user,
        device_id: None,
        token_hash: [1; 32],
        second_factor: false,
    };
    assert_eq!(log_in(&at.store, &new, NOW).await, FamilyCreation::Refused);
}

/// Gives the account of a key an address too.
async fn set_address(at: &Fixture, user: UserId, email: &str) {
    let mut tx = at.store.db.begin().await.unwrap();
    let update = "UPDATE users SET email = $2, password_hash = 'hash' WHERE user_id = $1";
    within!(&mut tx, connection => {
        sqlx::query(update).bind(user.as_uuid()).bind(email).execute(connection).await.unwrap();
    });
    tx.commit().await.unwrap();
}

async fn only_a_signed_in_user_deletes_an_account(at: Fixture) {
    let user = at.user().await;
    let revoked = family(&at, user, None).await;
    at.store.revoke_families(&by_token(user, revoked), false, NOW).await.unwrap();
    let deleted = at.store.delete_account(&by_token(user, revoked), NOW).await;
    assert_eq!(refused(deleted), Unauthorized::Revoked);
    assert!(at.store.password_hash_of(user).await.unwrap().is_some());
}

async fn revocations_are_swept_when_no_token_is_left(at: Fixture) {
    let kept_ms = 31 * 24 * 60 * 60 * 1000;
    append(&at, &[Revocation::KeyChanged { user: some_user() }], NOW).await;
    assert_eq!(at.store.sweep(NOW + kept_ms - 1).await.unwrap(), 0);
    assert_eq!(at.store.sweep(NOW + kept_ms).await.unwrap(), 1);
    let later = Revocation::KeyChanged { user: some_user() };
    append(&at, std::slice::from_ref(&later), NOW).await;
    let rows = at.store.revocations_after(0, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [2], "no number is used twice");
    assert_eq!(at.store.last_revocation_until(NOW).await.unwrap(), 2);
}

async fn one_user_filled_the_list_by_signing_out_again_and_again(at: Fixture) {
    let (user, other) = (some_user(), some_user());
    append(&at, &[Revocation::Family { user: other, family: Uuid::new_v4() }], NOW).await;
    append(&at, &[Revocation::KeyChanged { user }], NOW).await;
    for number in 1..=1_000 {
        append(&at, &[Revocation::Family { user, family: Uuid::new_v4() }], NOW + number).await;
        assert!(written(&at).await.len() < 2 + 2 * KEPT_PER_USER + 1);
    }
    let rows = at.store.revocations_after(0, 1_000).await.unwrap();
    assert_eq!((rows[0].revocation.user(), &rows[1].revocation), (other, &Revocation::KeyChanged { user }));
    let trimmed: Vec<_> = rows.iter().filter_map(|row| row.revocation.until_ms()).collect();
    let oldest =
        rows.iter().find(|row| row.revocation.user() == user && row.revocation.is_trimmed()).unwrap();
    assert_eq!(trimmed, [oldest.at_ms - 1], "one row records the deleted ones");
}

async fn many_revocations_at_once_are_trimmed_too(at: Fixture) {
    let user = at.user().await;
    let mut families = HashSet::new();
    for _ in 0..250 {
        families.insert(family(&at, user, None).await);
    }
    assert_eq!(at.store.families_in_force(user).await.unwrap(), families);
    at.store.revoke_families(&acting(user), true, NOW).await.unwrap();
    let rows = written(&at).await;
    assert_eq!(rows.len(), KEPT_PER_USER + 1);
    assert_eq!(rows.last(), Some(&Revocation::Trimmed { user, until_ms: NOW }));
    assert_eq!(at.store.families_in_force(user).await.unwrap(), HashSet::new());
}
