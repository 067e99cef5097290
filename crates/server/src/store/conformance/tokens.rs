//! Refresh tokens.

use uuid::Uuid;

use super::{Fixture, NOW, device_id, fifty_at_once, suite};
use crate::store::{
    NewFamily, RefreshFamily, RefreshUse,
    db::on,
    tokens::{REFRESH_IDLE_MS, REFRESH_LIFETIME_MS},
};

suite! {
    a_token_serves_once,
    one_of_many_uses_of_a_token_succeeds,
    a_family_ends_when_idle,
    a_family_ends_after_ninety_days_of_use,
    tokens_of_a_revoked_family_are_refused,
    what_has_ended_is_swept,
}

async fn family(at: &Fixture, first_hash: u8) -> RefreshFamily {
    let new = NewFamily {
        family_id: Uuid::new_v4(),
        user_id: at.user().await,
        device_id: Some(device_id("phone")),
        token_hash: [first_hash; 32],
    };
    at.store.create_family(&new, NOW).await.unwrap();
    RefreshFamily {
        family_id: new.family_id,
        user_id: new.user_id,
        device_id: new.device_id,
        auth_time_ms: NOW,
    }
}

async fn refresh(at: &Fixture, hash: u8, successor: u8, now_ms: i64) -> RefreshUse {
    at.store.use_refresh_token(&[hash; 32], &[successor; 32], now_ms).await.unwrap()
}

async fn a_token_serves_once(at: Fixture) {
    let family = family(&at, 1).await;
    assert_eq!(refresh(&at, 9, 10, NOW).await, RefreshUse::Unknown);
    assert_eq!(refresh(&at, 1, 2, NOW).await, RefreshUse::Rotated(family.clone()));
    assert_eq!(refresh(&at, 1, 2, NOW).await, RefreshUse::Reused(family.clone()));
    assert_eq!(refresh(&at, 1, 3, NOW).await, RefreshUse::Reused(family.clone()));
    assert_eq!(refresh(&at, 2, 3, NOW).await, RefreshUse::Rotated(family));
}

async fn one_of_many_uses_of_a_token_succeeds(at: Fixture) {
    let family = family(&at, 1).await;
    let outcomes = fifty_at_once(&at.store, |store, _| async move {
        store.use_refresh_token(&[1; 32], &[2; 32], NOW).await.unwrap()
    })
    .await;
    let (rotated, reused) = (RefreshUse::Rotated(family.clone()), RefreshUse::Reused(family));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == rotated).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == reused).count(), 49);
}

async fn a_family_ends_when_idle(at: Fixture) {
    let family = family(&at, 1).await;
    let last = NOW + REFRESH_IDLE_MS - 1;
    assert_eq!(refresh(&at, 1, 2, last).await, RefreshUse::Rotated(family));
    assert_eq!(refresh(&at, 2, 3, last + REFRESH_IDLE_MS).await, RefreshUse::Expired);
}

async fn a_family_ends_after_ninety_days_of_use(at: Fixture) {
    let family = family(&at, 1).await;
    for (hash, days) in [(1, 25), (2, 50), (3, 75)] {
        let used = refresh(&at, hash, hash + 1, NOW + days * 24 * 60 * 60 * 1000).await;
        assert_eq!(used, RefreshUse::Rotated(family.clone()));
    }
    assert_eq!(refresh(&at, 4, 5, NOW + REFRESH_LIFETIME_MS).await, RefreshUse::Expired);
    assert_eq!(refresh(&at, 4, 5, NOW + REFRESH_LIFETIME_MS - 1).await, RefreshUse::Rotated(family));
}

async fn tokens_of_a_revoked_family_are_refused(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    on!(&at.store.db, w, pool => {
        sqlx::query("UPDATE refresh_families SET revoked_at_ms = $1").bind(NOW).execute(pool).await.unwrap();
    });
    assert_eq!(refresh(&at, 2, 3, NOW).await, RefreshUse::Revoked(family.clone()));
    assert_eq!(refresh(&at, 1, 3, NOW).await, RefreshUse::Revoked(family));
}

async fn what_has_ended_is_swept(at: Fixture) {
    let family = family(&at, 1).await;
    refresh(&at, 1, 2, NOW).await;
    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS - 1).await.unwrap(), 0);
    assert_eq!(refresh(&at, 2, 3, NOW + 10).await, RefreshUse::Rotated(family.clone()));

    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS).await.unwrap(), 1);
    assert_eq!(refresh(&at, 1, 3, NOW).await, RefreshUse::Unknown);
    assert_eq!(refresh(&at, 2, 3, NOW).await, RefreshUse::Reused(family));
    assert_eq!(at.store.sweep(NOW + REFRESH_IDLE_MS + 10).await.unwrap(), 2);
    assert_eq!(refresh(&at, 3, 4, NOW).await, RefreshUse::Unknown);
}
