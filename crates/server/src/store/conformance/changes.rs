//! Changes of accounts: what writes them, and that no reader misses one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aldis_protocol::{Alert, AlertKind, UserId};
use futures::future::join_all;
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, device_id, log_in, suite};
use crate::store::{
    Evidence, FactorChange, FactorCheck, IdentityLink, NewDevice, NewFamily, Notice, Registration,
};

suite! {
    every_change_of_a_cached_fact_is_recorded,
    a_write_that_changes_nothing_is_not_recorded,
    the_last_change_of_each_account_is_kept,
    changes_and_revocations_are_numbered_together,
    a_reader_misses_no_change,
}

/// Returns the accounts that changed since the last call.
struct Reader {
    last: i64,
}

impl Reader {
    async fn reads(&mut self, at: &Fixture) -> Vec<UserId> {
        let changed = at.store.changes_after(self.last, 100).await.unwrap();
        assert!(
            changed.is_sorted_by_key(|one| one.number) && changed.iter().all(|one| one.number > self.last)
        );
        self.last = changed.last().map_or(self.last, |last| last.number);
        assert_eq!(at.store.last_change().await.unwrap(), self.last);
        changed.into_iter().map(|one| one.user).collect()
    }
}

async fn register(at: &Fixture, user_id: UserId, pubkey: Option<[u8; 32]>) -> Registration {
    let device = NewDevice {
        device_id: device_id(&format!("phone-{user_id}")),
        pubkey,
        name: None,
        created_at_ms: NOW,
        signature: None,
    };
    at.store.register_device(&acting(user_id), &device, NOW).await.unwrap()
}

async fn notify(at: &Fixture, user: UserId) {
    let kind = AlertKind::TotpChanged;
    let alert = Alert::new(kind);
    at.store.add_notice(user, &Notice::Alert(alert), &[], NOW).await.unwrap();
}

/// Uses a code for a change, or to sign in.
async fn factor(at: &Fixture, user: UserId, change: Option<FactorChange>, step: i64) {
    let judge = |_: &[u8]| Evidence::Step { step, sealed_secret: b"sealed".to_vec() };
    let checked = match change {
        None => at.store.check_second_factor(user, NOW, judge).await.unwrap(),
        Some(change) => at.store.change_second_factor(&acting(user), change, NOW, judge).await.unwrap(),
    };
    assert_eq!(checked, FactorCheck::Accepted);
}

async fn every_change_of_a_cached_fact_is_recorded(at: Fixture) {
    let (user, mut reader) = (at.user().await, Reader { last: 0 });
    notify(&at, user).await;
    assert_eq!(reader.reads(&at).await, [user], "a notice waits");

    let family_id = Uuid::new_v4();
    let family =
        NewFamily { family_id, user_id: user, device_id: None, token_hash: [1; 32], second_factor: false };
    log_in(&at.store, &family, NOW).await;
    assert_eq!(
        at.store.link_identity(&by_token(user, family_id), &[2; 32], NOW).await.unwrap(),
        IdentityLink::Linked
    );
    assert_eq!(reader.reads(&at).await, [user], "an identity was linked");

    at.store.enroll_totp(&acting(user), b"sealed", &[], NOW).await.unwrap();
    factor(&at, user, Some(FactorChange::Confirmation), 1).await;
    assert_eq!(reader.reads(&at).await, [user], "a second factor is in force");
    factor(&at, user, Some(FactorChange::Removal), 2).await;
    assert_eq!(reader.reads(&at).await, [user], "it was removed");

    assert_eq!(register(&at, user, None).await, Registration::Registered);
    assert_eq!(reader.reads(&at).await, [user], "the other devices are alerted");
    assert_eq!(register(&at, user, Some([3; 32])).await, Registration::Registered);
    assert_eq!(reader.reads(&at).await, [user], "the device has a key");

    let somebody = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(somebody, [3; 32], NOW).await.unwrap();
    assert_eq!(reader.reads(&at).await, [user], "the key is an identity's");
}

async fn a_write_that_changes_nothing_is_not_recorded(at: Fixture) {
    let (user, mut reader) = (at.user().await, Reader { last: 0 });
    at.store.enroll_totp(&acting(user), b"sealed", &[], NOW).await.unwrap();
    factor(&at, user, Some(FactorChange::Confirmation), 1).await;
    register(&at, user, Some([3; 32])).await;
    reader.reads(&at).await;

    factor(&at, user, None, 2).await;
    assert_eq!(register(&at, user, Some([3; 32])).await, Registration::Unchanged);
    assert_eq!(register(&at, user, Some([4; 32])).await, Registration::IdTaken);
    notify(&at, UserId::new(Uuid::new_v4())).await;
    assert_eq!(reader.reads(&at).await, []);
}

async fn the_last_change_of_each_account_is_kept(at: Fixture) {
    let (one, two) = (at.user().await, at.user().await);
    for user in [one, two, one, one] {
        notify(&at, user).await;
    }
    assert_eq!(Reader { last: 0 }.reads(&at).await, [two, one]);
    assert_eq!(at.store.changes_after(0, 1).await.unwrap()[0].user, two);
}

async fn changes_and_revocations_are_numbered_together(at: Fixture) {
    let user = at.user().await;
    notify(&at, user).await;
    register(&at, user, None).await;
    at.store.remove_device(&acting(user), &device_id(&format!("phone-{user}")), NOW).await.unwrap();
    notify(&at, user).await;
    let revoked = at.store.revocations_after(0, 10).await.unwrap();
    assert_eq!(revoked.iter().map(|row| row.number).collect::<Vec<_>>(), [4]);
    assert_eq!(at.store.changes_after(0, 10).await.unwrap()[0].number, 5);
}

/// A reader asks for the changes after the last number that it has seen, while many are written.
async fn a_reader_misses_no_change(at: Fixture) {
    let users = join_all((0..4).map(|_| at.user())).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (Arc::clone(&at.store), Arc::clone(&done));
        async move {
            let (mut last, mut seen) = (0, HashMap::new());
            loop {
                let finished = done.load(Ordering::SeqCst);
                for changed in store.changes_after(last, 3).await.unwrap() {
                    last = changed.number;
                    seen.insert(changed.user, changed.number);
                }
                if finished && last == store.last_change().await.unwrap() {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let writing = (0..5).flat_map(|_| &users).map(|user| notify(&at, *user));
    join_all(writing).await;
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    let kept = at.store.changes_after(0, 100).await.unwrap();
    assert_eq!(seen, kept.into_iter().map(|one| (one.user, one.number)).collect());
    assert_eq!(seen.len(), users.len());
}
