//! Refresh tokens.

use aldis_protocol::{DeviceId, UserId};
use uuid::Uuid;

use super::{
    Fixture, NOW, acting, by_token, device_id, fifty_at_once, log_in, plain_device, suite, take_every_turn,
};
use crate::store::{
    FamilyCreation, LoginProof, NewFamily, NumberedRevocation, REFRESH_IDLE_MS, RefreshFamily, RefreshUse,
    Registration, Revocation,
    db::on,
    tokens::{REFRESH_GRACE_MS, REFRESH_LIFETIME_MS},
};

suite! {
    a_token_works_once,
    a_used_token_is_a_repetition_for_ten_seconds,
    after_its_successor_was_used_a_token_is_a_reuse,
    a_reuse_revokes_the_family,
    concurrent_uses_of_a_token_have_one_successor,
    concurrent_uses_of_an_old_token_revoke_once,
    a_family_begins_only_while_its_login_holds,
    a_family_ends_when_idle,
    a_family_ends_after_ninety_days_of_use,
    tokens_of_a_revoked_family_are_refused,
    ended_families_are_swept,
    tokens_that_can_never_be_used_again_took_a_transaction_each,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

async fn family(at: &Fixture, first_hash: u8) -> RefreshFamily {
    let user_id = at.user().await;
    let device_id = Some(registered(at, user_id).await);
    let token_hash = [first_hash; 32];
    let new = NewFamily { family_id: Uuid::new_v4(), user_id, device_id, token_hash, second_factor: false };
    assert_eq!(log_in(&at.store, &new, NOW).await, FamilyCreation::Created { auth_time_ms: NOW });
    RefreshFamily {
        family_id: new.family_id,
        user_id: new.user_id,
        device_id: new.device_id,
        auth_time_ms: NOW,
        expires_at_ms: NOW + REFRESH_IDLE_MS,
    }
}

async fn registered(at: &Fixture, user_id: UserId) -> DeviceId {
    let device_id = device_id("phone");
    let device = plain_device(&device_id);
    assert_eq!(
        at.store.register_device(&acting(user_id), &device, NOW).await.unwrap(),
        Registration::Registered
    );
    device_id
}

/// The family after a use at this time.
fn used(family: &RefreshFamily, now_ms: i64) -> RefreshFamily {
    let expires_at_ms = (now_ms + REFRESH_IDLE_MS).min(NOW + REFRESH_LIFETIME_MS);
    RefreshFamily { expires_at_ms, ..family.clone() }
}

async fn refresh(at: &Fixture, hash: u8, successor: u8, now_ms: i64) -> RefreshUse {
    at.store.use_refresh_token(&[hash; 32], &[successor; 32], now_ms).await.unwrap()
}

async fn a_token_works_once(at: Fixture) {
    let family = family(&at, 1).await;
    assert_eq!(refresh(&at, 9, 10, NOW).await, RefreshUse::Unknown);
    assert_eq!(refresh(&at, 1, 2, NOW + 1).await, RefreshUse::Rotated(used(&family, NOW + 1)));
    assert_eq!(refresh(&at, 2, 3, NOW + 2).await, RefreshUse::Rotated(used(&family, NOW + 2)));
}

async fn a_used_token_is_a_repetition_for_ten_seconds(at: Fixture) {
    let family = family(&at, 1).await;
    assert_eq!(refresh(&at, 1, 2, NOW).await, RefreshUse::Rotated(family.clone()));
    for later_ms in [0, REFRESH_GRACE_MS - 1] {
        assert_eq!(refresh(&at, 1, 2, NOW + later_ms).await, RefreshUse::Repeated(family.clone()));
    }
    assert_eq!(refresh(&at, 1, 2, NOW + REFRESH_GRACE_MS).await, RefreshUse::Reused(family));
}

async fn after_its_successor_was_used_a_token_is_a_reuse(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    refresh(&at, 2, 3, NOW).await;
    assert_eq!(refresh(&at, 1, 2, NOW).await, RefreshUse::Reused(family));
}

async fn a_reuse_revokes_the_family(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    assert_eq!(refresh(&at, 1, 9, NOW).await, RefreshUse::Reused(family.clone()));
    for token in [1, 2] {
        assert_eq!(refresh(&at, token, 3, NOW).await, RefreshUse::Revoked);
    }
    let written = at.store.revocations_after(0, 10).await.unwrap();
    let expected = Revocation::Family { user: family.user_id, family: family.family_id };
    // After the changes that the new device and the alert are.
    assert_eq!(written, [NumberedRevocation { number: 3, at_ms: NOW, revocation: expected }]);
}

async fn concurrent_uses_of_a_token_have_one_successor(at: Fixture) {
    let family = family(&at, 1).await;
    let outcomes = fifty_at_once(&at.store, |store, _| async move {
        store.use_refresh_token(&[1; 32], &[2; 32], NOW).await.unwrap()
    })
    .await;
    let (rotated, repeated) = (RefreshUse::Rotated(family.clone()), RefreshUse::Repeated(family.clone()));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == rotated).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == repeated).count(), 49);
    assert_eq!(refresh(&at, 2, 3, NOW).await, RefreshUse::Rotated(family));
}

async fn concurrent_uses_of_an_old_token_revoke_once(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    refresh(&at, 2, 3, NOW).await;
    let outcomes = fifty_at_once(&at.store, |store, _| async move {
        store.use_refresh_token(&[1; 32], &[2; 32], NOW).await.unwrap()
    })
    .await;
    let reused = RefreshUse::Reused(family);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == reused).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == RefreshUse::Revoked).count(), 49);
    assert_eq!(at.store.revocations_after(0, 10).await.unwrap().len(), 1);
}

async fn a_family_begins_only_while_its_login_holds(at: Fixture) {
    let user_id = at.user().await;
    let create = async |hash: u8, device: Option<&str>, proof: LoginProof<'_>| {
        let (device_id, token_hash) = (device.map(device_id), [hash; 32]);
        let new =
            NewFamily { family_id: Uuid::new_v4(), user_id, device_id, token_hash, second_factor: false };
        at.store.create_family(&new, proof, NOW).await.unwrap()
    };
    let (right, wrong) = (LoginProof::Password("hash"), LoginProof::Password("another"));
    assert_eq!(create(1, None, right).await, FamilyCreation::Created { auth_time_ms: NOW });
    assert_eq!(create(2, None, wrong).await, FamilyCreation::Refused);
    assert_eq!(create(3, Some("phone"), right).await, FamilyCreation::UnknownDevice);
    on!(&at.store.db, w, pool => {
        sqlx::query("UPDATE users SET disabled_at_ms = 1").execute(pool).await.unwrap();
    });
    assert_eq!(create(4, None, right).await, FamilyCreation::Disabled);
    assert_eq!(refresh(&at, 2, 9, NOW).await, RefreshUse::Unknown);
}

async fn a_family_ends_when_idle(at: Fixture) {
    let family = family(&at, 1).await;
    let last = NOW + REFRESH_IDLE_MS - 1;
    assert_eq!(refresh(&at, 1, 2, last).await, RefreshUse::Rotated(used(&family, last)));
    assert_eq!(refresh(&at, 2, 3, last + REFRESH_IDLE_MS).await, RefreshUse::Expired);
}

async fn a_family_ends_after_ninety_days_of_use(at: Fixture) {
    let family = family(&at, 1).await;
    for (hash, days) in [(1, 25), (2, 50), (3, 75)] {
        let now_ms = NOW + days * DAY_MS;
        assert_eq!(refresh(&at, hash, hash + 1, now_ms).await, RefreshUse::Rotated(used(&family, now_ms)));
    }
    assert_eq!(refresh(&at, 4, 5, NOW + REFRESH_LIFETIME_MS).await, RefreshUse::Expired);
    let last = NOW + REFRESH_LIFETIME_MS - 1;
    assert_eq!(refresh(&at, 4, 5, last).await, RefreshUse::Rotated(used(&family, last)));
}

async fn tokens_of_a_revoked_family_are_refused(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    at.store.revoke_families(&by_token(family.user_id, family.family_id), false, NOW).await.unwrap();
    assert_eq!(refresh(&at, 2, 3, NOW).await, RefreshUse::Revoked);
    assert_eq!(refresh(&at, 1, 2, NOW).await, RefreshUse::Revoked);
}

async fn ended_families_are_swept(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS - 1).await.unwrap(), 0);
    assert_eq!(refresh(&at, 2, 3, NOW + 10).await, RefreshUse::Rotated(used(&family, NOW + 10)));

    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS).await.unwrap(), 1);
    assert_eq!(refresh(&at, 1, 3, NOW).await, RefreshUse::Unknown);
    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS + 10).await.unwrap(), 2);
    assert_eq!(refresh(&at, 3, 4, NOW).await, RefreshUse::Unknown);
}

async fn tokens_that_can_never_be_used_again_took_a_transaction_each(at: Fixture) {
    let revoked = family(&at, 1).await;
    let by = by_token(revoked.user_id, revoked.family_id);
    at.store.revoke_families(&by, false, NOW).await.unwrap();
    let ended = NewFamily {
        family_id: Uuid::new_v4(),
        user_id: at.user().await,
        device_id: None,
        token_hash: [2; 32],
        second_factor: false,
    };
    log_in(&at.store, &ended, NOW).await;
    let late = NOW + REFRESH_IDLE_MS;
    let turns = take_every_turn(&at.store).await;
    let uses =
        async |hash: u8, now_ms| at.store.use_refresh_token(&[hash; 32], &[9; 32], now_ms).await.unwrap();
    assert_eq!(uses(1, NOW).await, RefreshUse::Revoked);
    assert_eq!(uses(2, late).await, RefreshUse::Expired);
    assert_eq!(uses(3, NOW).await, RefreshUse::Unknown);
    drop(turns);
}
