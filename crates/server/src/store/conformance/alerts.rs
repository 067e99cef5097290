//! Alerts are written in the transactions of the changes that they are about: a server that dies right after a change
//! loses none.

use aldis_protocol::{AlertKind, DeviceId, UserId};
use uuid::Uuid;

use super::{Fixture, NOW, acting, device_id, plain_device, suite};
use crate::store::{
    Credential, Evidence, FactorChange, FactorCheck, LoginProof, NewFamily, Notice, PasswordChange,
    RefreshUse, WaitingNotice,
};

suite! {
    the_alert_of_a_device_was_lost_if_the_server_died_after_its_change,
    the_alert_of_a_second_factor_was_lost_if_the_server_died_after_its_change,
    the_alert_of_a_password_was_lost_if_the_server_died_after_its_change,
    the_alert_of_a_stolen_refresh_token_was_lost_if_the_server_died_after_its_revocation,
    a_notice_was_gone_before_its_device_had_confirmed_it,
}

async fn register(at: &Fixture, credential: &Credential, id: &str) -> DeviceId {
    let device_id = device_id(id);
    let device = plain_device(&device_id);
    at.store.register_device(credential, &device, NOW).await.unwrap();
    device_id
}

/// A user with a phone and a laptop, and a token of the laptop.
async fn with_devices(at: &Fixture) -> (UserId, DeviceId, DeviceId, Credential) {
    let user = at.user().await;
    let phone = register(at, &acting(user), "phone").await;
    let laptop = register(at, &acting(user), "laptop").await;
    at.store.take_notices(user, &phone, NOW).await.unwrap();
    let family = begin_family(at, user, Some(laptop.clone()), [1; 32]).await;
    let by_laptop = Credential::token(user, family, Some(laptop.clone()));
    (user, phone, laptop, by_laptop)
}

async fn begin_family(at: &Fixture, user: UserId, device: Option<DeviceId>, token_hash: [u8; 32]) -> Uuid {
    let family_id = Uuid::now_v7();
    let new = NewFamily { family_id, user_id: user, device_id: device, token_hash, second_factor: true };
    let hash = at.store.password_hash_of(user).await.unwrap().unwrap();
    at.store.create_family(&new, LoginProof::Password(&hash), NOW).await.unwrap();
    family_id
}

/// What waits for a device that connects after the server was started again.
async fn waiting(at: &Fixture, user: UserId, device: &DeviceId) -> Vec<Notice> {
    at.store.take_notices(user, device, NOW + 1).await.unwrap()
}

async fn the_alert_of_a_device_was_lost_if_the_server_died_after_its_change(at: Fixture) {
    let (user, phone, laptop, by_laptop) = with_devices(&at).await;
    let tablet = register(&at, &by_laptop, "tablet").await;
    let added = Notice::of_device(AlertKind::DeviceAdded, &tablet);
    assert_eq!(waiting(&at, user, &phone).await, [added]);
    register(&at, &by_laptop, "tablet").await;
    assert_eq!(waiting(&at, user, &phone).await, [], "nothing was added");

    assert!(at.store.remove_device(&by_laptop, &tablet, NOW).await.unwrap());
    let removed = Notice::of_device(AlertKind::DeviceRemoved, &tablet);
    assert_eq!(waiting(&at, user, &phone).await, [removed]);
    assert_eq!(waiting(&at, user, &laptop).await, [], "it did both");
}

async fn the_alert_of_a_second_factor_was_lost_if_the_server_died_after_its_change(at: Fixture) {
    let (user, phone, laptop, by_laptop) = with_devices(&at).await;
    let changed = Notice::of_account(AlertKind::TotpChanged);
    let change = async |change, step| {
        let judge = |sealed: &[u8]| Evidence::Step { step, sealed_secret: sealed.to_vec() };
        let checked = at.store.change_second_factor(&by_laptop, change, NOW, judge).await.unwrap();
        assert_eq!(checked, FactorCheck::Accepted);
    };
    assert!(at.store.enroll_totp(&by_laptop, &[1], &[], NOW).await.unwrap());
    assert_eq!(waiting(&at, user, &phone).await, [], "it is not in force yet");
    for (what, step, alerts) in [
        (FactorChange::Confirmation, 1, 1),
        (FactorChange::Confirmation, 2, 0),
        (FactorChange::Removal, 3, 1),
    ] {
        change(what, step).await;
        for device in [&phone, &laptop] {
            assert_eq!(waiting(&at, user, device).await, vec![changed.clone(); alerts], "{what:?} {step}");
        }
    }
}

async fn the_alert_of_a_password_was_lost_if_the_server_died_after_its_change(at: Fixture) {
    let (user, phone, laptop, by_laptop) = with_devices(&at).await;
    let hash = at.store.password_hash_of(user).await.unwrap().unwrap();
    let overtaken = at.store.change_password(&by_laptop, "another", "new", NOW).await.unwrap();
    assert_eq!(overtaken, PasswordChange::Overtaken);
    assert_eq!(waiting(&at, user, &phone).await, []);
    let done = at.store.change_password(&by_laptop, &hash, "new", NOW).await.unwrap();
    assert_eq!(done, PasswordChange::Done);
    assert_eq!(waiting(&at, user, &phone).await, [Notice::of_account(AlertKind::PasswordChanged)]);
    assert_eq!(waiting(&at, user, &laptop).await, [], "its own doing");
}

async fn the_alert_of_a_stolen_refresh_token_was_lost_if_the_server_died_after_its_revocation(at: Fixture) {
    let (user, phone, laptop, _) = with_devices(&at).await;
    begin_family(&at, user, None, [2; 32]).await;
    let uses =
        async |successor, now_ms| at.store.use_refresh_token(&[2; 32], &successor, now_ms).await.unwrap();
    assert!(matches!(uses([3; 32], NOW).await, RefreshUse::Rotated(_)));
    assert!(matches!(uses([4; 32], NOW + 1).await, RefreshUse::Reused(_)));
    assert_eq!(uses([5; 32], NOW + 2).await, RefreshUse::Revoked);
    for device in [&phone, &laptop] {
        assert_eq!(waiting(&at, user, device).await, [Notice::of_account(AlertKind::RefreshReused)]);
    }
}

async fn a_notice_was_gone_before_its_device_had_confirmed_it(at: Fixture) {
    let (user, phone, laptop, by_laptop) = with_devices(&at).await;
    let tablet = register(&at, &by_laptop, "tablet").await;
    at.store.remove_device(&by_laptop, &tablet, NOW).await.unwrap();
    let waiting = async || at.store.waiting_notices(user, &phone, NOW + 1).await.unwrap();
    let first = waiting().await;
    assert_eq!(waiting().await, first, "with the same ids, as often as it connects");
    let [added, removed]: [WaitingNotice; 2] = first.try_into().unwrap();
    at.store.delete_notices(user, &laptop, &[added.id]).await.unwrap();
    at.store.delete_notices(user, &phone, &[added.id, Uuid::now_v7()]).await.unwrap();
    assert_eq!(waiting().await, std::slice::from_ref(&removed));
    at.store.delete_notices(user, &phone, &[removed.id]).await.unwrap();
    assert_eq!(waiting().await, []);
}
