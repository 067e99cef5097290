//! Deletion of expired rows.

use super::{Fixture, NOW, suite};
use crate::{
    clock::Now,
    store::{REFRESH_IDLE_MS, SweepClock, db::on},
};

suite! {
    the_first_table_that_could_not_be_swept_stopped_the_others,
    a_clock_that_jumped_deleted_what_had_not_expired,
}

const HOUR_MS: u64 = 60 * 60 * 1000;

async fn families(at: &Fixture) -> i64 {
    on!(&at.store.db, r, pool => {
        sqlx::query_scalar("SELECT COUNT(*) FROM refresh_families").fetch_one(pool).await.unwrap()
    })
}

async fn the_first_table_that_could_not_be_swept_stopped_the_others(at: Fixture) {
    let user = at.user().await;
    at.sign_in(user).await;
    on!(&at.store.db, w, pool => {
        sqlx::query("DROP TABLE used_challenges").execute(pool).await.unwrap();
    });
    at.store.sweep(NOW + REFRESH_IDLE_MS).await.unwrap_err();
    assert_eq!(families(&at).await, 0);
}

fn after(ms: i64, tick: u64) -> Now {
    Now { tick, unix_ms: (NOW + ms).unsigned_abs() }
}

async fn a_clock_that_jumped_deleted_what_had_not_expired(at: Fixture) {
    let user = at.user().await;
    at.sign_in(user).await;
    let mut running = SweepClock::default();
    assert_eq!(at.store.sweep_by(&mut running, after(0, 0)).await.unwrap(), 0);
    // While the server runs, and at a start.
    let mut starting = SweepClock::default();
    for clock in [&mut running, &mut starting] {
        assert_eq!(at.store.sweep_by(clock, after(REFRESH_IDLE_MS, 60_000)).await.unwrap(), 0);
    }
    assert_eq!(families(&at).await, 1);
    let an_hour_later = after(REFRESH_IDLE_MS, 60_000 + HOUR_MS);
    assert_eq!(at.store.sweep_by(&mut running, an_hour_later).await.unwrap(), 1);
    assert_eq!(families(&at).await, 0);
}
